"""Differentiable adaptation, batched over tasks: the inner loop of meta-learning.

Shape letters: t tasks, k rows of a task, d size of a vector.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from recbole_cold.device import whole
from recbole_cold.errors import Diverged

logger = logging.getLogger(__name__)
T = TypeVar("T")


def adapt(
    loss: Callable[[dict[str, Tensor]], Tensor],
    fast: Mapping[str, Tensor],
    *,
    learning_rates: float | Mapping[str, float | Tensor],
    steps: int = 1,
    second_order: bool = True,
    name_of: Callable[[int], str] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient steps of every task's parameters on its own loss, and the losses before them.

    Tasks are batched, not looped over: each has its own copy of what adapts along the leading axis,
    and a loss that depends on its own copy only has the gradient of the sum, task by task. Works
    under ``no_grad``, too: the result is part of a graph where the caller builds one.

    Args:
        loss: of the adapted tensors, one number per task [t].
        fast: what adapts and where it starts, each [t, ...]; ``expand`` a shared start.
        learning_rates: of the steps, one for all or one per name.
        steps: how many, each on the whole of ``loss``; 0 adapts nothing.
        second_order: keep the steps' own graph, so that a loss after them sees the Hessian.
        name_of: the name of a task for messages; without it NaN is not looked for.

    Returns:
        The adapted tensors, under the names of ``fast``, and the losses [t] at the start.

    Raises:
        Diverged: a step that gave no finite number: which task, which step.
    """
    outside = torch.is_grad_enabled()
    history: list[Tensor] = []
    with torch.enable_grad():
        # A node of its own for each: one start may be made from another, as a graph from a vector,
        # and a step's gradient to the one must not go through the other.
        fast = {name: whole(value) for name, value in fast.items()}  # steps are small beside them
        fast = {
            name: value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
            for name, value in fast.items()
        }
        if not isinstance(learning_rates, Mapping):
            learning_rates = dict.fromkeys(fast, learning_rates)
        start_t = None
        for _ in range(max(steps, 1)):
            loss_t = loss(fast)
            start_t = loss_t if start_t is None else start_t
            if steps == 0:
                break
            # The graph is kept in any case: the first losses may be part of the outer loss.
            gradients = torch.autograd.grad(
                loss_t.sum(),
                list(fast.values()),
                retain_graph=True,
                create_graph=second_order and outside,
            )
            if not (second_order and outside):
                gradients = tuple(gradient.detach() for gradient in gradients)
            if name_of is not None:
                history.append(_finite(loss_t, gradients))
            fast = {
                name: value - learning_rates[name] * gradient
                for (name, value), gradient in zip(fast.items(), gradients, strict=True)
            }
    assert start_t is not None
    if history:
        _refuse_infinite(torch.stack(history), name_of)
    if not outside:
        fast, start_t = {k: v.detach() for k, v in fast.items()}, start_t.detach()
    return fast, start_t


def _finite(loss_t: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Whether each task's loss and gradients are finite numbers: bool [t]."""
    with torch.no_grad():
        total_t = loss_t + sum(gradient.flatten(1).sum(dim=1) for gradient in gradients)
        return torch.isfinite(total_t)


def _refuse_infinite(finite_st: Tensor, name_of: Callable[[int], str]) -> None:
    """Check all steps at once, so that a GPU is waited for only once."""
    if not bool(finite_st.all()):
        step, task = torch.nonzero(~finite_st)[0].tolist()
        raise Diverged(
            f"inner step {step + 1} of {len(finite_st)} gives no finite number for "
            f"{name_of(task)}; try a smaller inner learning rate"
        )


def inner_step(
    loss: Callable[[Tensor], Tensor],
    vector_td: Tensor,
    learning_rate: float,
    second_order: bool = True,
    name_of: Callable[[int], str] | None = None,
) -> tuple[Tensor, Tensor]:
    """``adapt`` for one vector [t, d] per task and one step."""
    fast, loss_t = adapt(
        lambda fast: loss(fast["vector"]),
        {"vector": vector_td},
        learning_rates=learning_rate,
        second_order=second_order,
        name_of=name_of,
    )
    return fast["vector"], loss_t


def stacked_linear(x_tki: Tensor, weight_toi: Tensor, bias_to: Tensor | None = None) -> Tensor:
    """A linear layer of its own for every task: rows [t, k, in] to [t, k, out]."""
    if bias_to is None:
        return torch.bmm(x_tki, weight_toi.transpose(1, 2))
    return torch.baddbmm(bias_to[:, None], x_tki, weight_toi.transpose(1, 2))


def loss_in_chunks(
    loss: Callable[[Tensor, Any], Tensor], vector_td: Tensor, chunks: Sequence[Any], size: int
) -> Tensor:
    """The sum of ``loss(vectors, chunk)`` over chunks of tasks, and its gradient to the vectors.

    Each chunk is differentiated and forgotten before the next one: memory, and with it the time in
    which the system hands out fresh memory, does not grow with the number of tasks. Gradients
    reach nothing but ``vector_td``, and only once.

    Args:
        loss: vectors [at most size, d] and their chunk to a number.
        vector_td: of all tasks; part of a graph.
        chunks: what goes with each ``size`` vectors.
        size: tasks of a chunk.
    """
    vector_td = whole(vector_td)
    total, gradients = vector_td.new_zeros(()), []
    for part_td, chunk in zip(vector_td.detach().split(size), chunks, strict=True):
        value = loss(part_td.requires_grad_(), chunk)
        gradients.append(torch.autograd.grad(value, part_td)[0])
        total += value.detach()
    # Zero, with the gradient that was computed already.
    return total + (torch.cat(gradients) * (vector_td - vector_td.detach())).sum()


class Chunks:
    """Works on many tasks in chunks, and halves the chunks each time memory is short.

    Args:
        most: how much is worked on at a time, in ``unit``.
        unit: what is counted, "tasks" or their "rows".
    """

    def __init__(self, most: int, unit: str = "tasks") -> None:
        self.most, self.unit = most, unit

    def each(self, total: int, work: Callable[[slice], T], width: int = 1) -> Iterator[T]:
        """``work`` applied to each chunk of ``total`` tasks, which have ``width`` units each."""
        start = 0
        while start < total:
            size = max(1, self.most // width)
            try:
                part = work(slice(start, start + size))
            except (MemoryError, RuntimeError) as error:
                self.halve(error, min(size, total - start), width)
                continue
            yield part
            start += size

    def halve(self, error: Exception, tried: int, width: int = 1) -> None:
        """Halve the chunks if ``error`` means that memory was short; raise it otherwise."""
        if tried == 1 or not short_of_memory(error):
            raise error
        self.most = width * (tried // 2)
        logger.warning("memory is short: going on with %d %s at a time", self.most, self.unit)

    def summed(
        self,
        loss: Callable[[slice], Tensor],
        total: int,
        parameters: Sequence[Tensor],
        width: int = 1,
    ) -> Tensor:
        """The sum of ``loss(tasks)`` over chunks, and its gradient to the parameters.

        Each chunk is differentiated and forgotten before the next one.
        """

        def learn(tasks: slice) -> tuple[Tensor, Sequence[Tensor | None]]:
            value = loss(tasks)
            return value.detach(), torch.autograd.grad(value, parameters, allow_unused=True)

        value, sums = torch.zeros(()), [None] * len(parameters)
        for more, gradients in self.each(total, learn, width):
            value = value + more
            for at, gradient in enumerate(gradients):
                if gradient is not None:
                    # Of a table that is updated lazily, the rows of this chunk.
                    gradient = gradient.coalesce() if gradient.is_sparse else gradient
                    sums[at] = gradient if sums[at] is None else sums[at] + gradient
        return _Known.apply(value, sums, *parameters)


class _Known(torch.autograd.Function):
    """A number with gradients that were computed already; sparse ones stay sparse."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, gradients: list[Tensor | None], *parameters: Tensor
    ) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if upstream.device.type == "cpu" and upstream == 1:  # the loss itself, as a rule
            return None, None, *ctx.gradients
        return None, None, *(g if g is None else g * upstream for g in ctx.gradients)


def short_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; on a CPU torch says so by a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "DefaultCPUAllocator" in str(error)
    )
