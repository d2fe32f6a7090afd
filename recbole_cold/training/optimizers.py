"""Adam for the parameters of a step; big embedding tables get the lazy form. Or plain SGD."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from recbole_cold.model._fit import Step
from recbole_cold.training.lazy_adam import LazyAdam
from recbole_cold.training.light_optimizers import FusedAdam, GradientDescent, LightOptimizer

# Dense Adam costs 50 ms a step at a million rows of 16 numbers, lazy Adam 13 ms; below a few
# hundred thousand rows dense is the faster one.
_LAZY_FROM_ROWS = 500_000


def embedding_weights(module: nn.Module) -> dict[nn.Parameter, nn.Embedding]:
    return {child.weight: child for child in module.modules() if isinstance(child, nn.Embedding)}


class Optimizers:
    """Adam for one step's parameters; big embedding tables get the lazy form. Or plain SGD.

    The lazy form (``LazyAdam``) moves only rows that occur in the batch. It is not the same
    optimizer as dense Adam, which keeps moving absent rows by their moments, and by the L2 term if
    there is one; ``name`` says which ran.

    Args:
        step: whose parameters these are.
        method: that has them.
        table_update: the key of that name.
        shared: those of the fit's next step, which take this step as well; None: its own.
    """

    def __init__(
        self, step: Step, method: nn.Module, table_update: str, shared: "Optimizers | None" = None
    ) -> None:
        self.own, self.decay = list(step.parameters), step.decay
        self.start_rate = self.rate = step.learning_rate
        if shared is not None:
            self.parameters, self.lazy = shared.parameters, shared.lazy
            self.parts, self.name = shared.parts, shared.name
            return
        tables = embedding_weights(method)
        adam = step.optimizer == "adam"
        lazy = [
            p for p in step.parameters if adam and p in tables and self._is_lazy(p, table_update)
        ]
        for parameter in lazy:
            tables[parameter].sparse = True
        marks = {id(p) for p in lazy}
        dense = [p for p in step.parameters if id(p) not in marks]
        self.parameters, self.lazy = [*dense, *lazy], lazy
        self.parts: list[LightOptimizer] = []
        rate, decay, betas = step.learning_rate, step.weight_decay, step.betas
        if not adam:
            self.parts.append(GradientDescent(dense, lr=rate, weight_decay=decay))
            self.name = "SGD"
            return
        if dense:
            self.parts.append(FusedAdam(dense, lr=rate, betas=betas, weight_decay=decay))
        if lazy:
            self.parts.append(LazyAdam(lazy, lr=rate, betas=betas, weight_decay=decay))
        self.name = "dense Adam"
        if lazy:
            self.name += f", lazy on {len(lazy)} tables"
            self.name += " (L2 of rows with a gradient)" if decay else ""

    @staticmethod
    def _is_lazy(parameter: nn.Parameter, table_update: str) -> bool:
        return table_update == "lazy" or (
            table_update == "auto" and parameter.shape[0] >= _LAZY_FROM_ROWS
        )

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of an epoch of the fit, the first being 0."""
        self.rate = self.start_rate * self.decay**epoch

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        if len(self.own) < len(self.parameters):  # shared with a step that moves more
            marks = {id(parameter) for parameter in self.own}
            for parameter in self.parameters:
                if id(parameter) not in marks:
                    parameter.grad = None
        for parameter in self.lazy:
            if parameter.grad is not None and not parameter.grad.is_sparse:
                parameter.grad = with_gradient(parameter.grad)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.rate
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def with_gradient(gradient: Tensor) -> Tensor:
    """The rows of a dense gradient that are not zero, as a sparse one: [n, d].

    For a method that reads a table past its module; it looks at every row of the table.
    """
    return gradient.to_sparse(1)


def optimizers_of(steps: Sequence[Step], method: nn.Module, table_update: str) -> list[Optimizers]:
    """The optimizers of a fit's steps, in their order."""
    made: list[Optimizers] = []
    for step in reversed(steps):
        shared = made[-1] if step.with_next and made else None
        made.append(Optimizers(step, method, table_update, shared))
    return made[::-1]


def continue_from(optimizers: Sequence[Optimizers], kept: Sequence[Any]) -> None:
    """Load the states of an earlier fit's steps, the last into the last and so on backwards."""
    for optimizer, state in zip(reversed(optimizers), reversed(kept), strict=False):
        optimizer.load_state_dict(state)


def names_of(optimizers: Sequence[Optimizers]) -> str:
    """Which optimizers a fit has, each named once."""
    return " and ".join(dict.fromkeys(optimizer.name for optimizer in optimizers))
