"""Differentiable adaptation of vectors: the inner loop of meta-learning."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def inner_step(
    loss: Callable[[Tensor], Tensor],
    vector_td: Tensor,
    learning_rate: float,
    second_order: bool = True,
) -> tuple[Tensor, Tensor]:
    """One gradient step of every task's vector on its own loss, and the losses before it.

    Tasks are batched, not looped over: a loss that depends on its own vector only has the
    gradient of the sum, row by row.

    Args:
        loss: vectors [t, d] to one loss per task [t].
        vector_td: where the step starts, [t, d]; part of a graph.
        learning_rate: of the inner step.
        second_order: keep the step's own graph, so that a loss after it sees the Hessian.

    Returns:
        The stepped vectors [t, d] and the losses [t] at ``vector_td``.
    """
    loss_t = loss(vector_td)
    # The graph is kept either way: the losses before the step are part of what is learned from.
    (gradient_td,) = torch.autograd.grad(
        loss_t.sum(), vector_td, retain_graph=True, create_graph=second_order
    )
    if not second_order:
        gradient_td = gradient_td.detach()
    return vector_td - learning_rate * gradient_td, loss_t


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
    total, gradients = vector_td.new_zeros(()), []
    for part_td, chunk in zip(vector_td.detach().split(size), chunks, strict=True):
        value = loss(part_td.requires_grad_(), chunk)
        gradients.append(torch.autograd.grad(value, part_td)[0])
        total += value.detach()
    # Zero, with the gradient that was computed already.
    return total + (torch.cat(gradients) * (vector_td - vector_td.detach())).sum()
