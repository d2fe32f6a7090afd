"""Adam for the parameters of a step; big embedding tables get the lazy form."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from recbole_cold.errors import UserError
from recbole_cold.model._fit import Step

# Dense Adam costs 50 ms a step at a million rows of 16 numbers, lazy Adam 13 ms; below a few
# hundred thousand rows dense is the faster one.
_LAZY_FROM_ROWS = 500_000


def embedding_weights(module: nn.Module) -> dict[nn.Parameter, nn.Embedding]:
    return {child.weight: child for child in module.modules() if isinstance(child, nn.Embedding)}


class Optimizers:
    """Adam for one step's parameters; big embedding tables get the lazy form.

    The lazy form (``SparseAdam``) moves only rows that occur in the batch. It is not the same
    optimizer as dense Adam, which keeps moving absent rows by their moments; ``name`` says which
    ran.
    """

    def __init__(self, step: Step, method: nn.Module, table_update: str) -> None:
        tables = embedding_weights(method)
        if table_update == "auto" and step.weight_decay:
            table_update = "dense"  # the lazy form has no L2 term
        lazy = [p for p in step.parameters if p in tables and self._is_lazy(p, table_update)]
        if lazy and step.weight_decay:
            raise UserError(
                "table_update: lazy has no L2 term; set weight_decay: 0 or table_update: dense"
            )
        for parameter in lazy:
            tables[parameter].sparse = True
        marks = {id(p) for p in lazy}
        dense = [p for p in step.parameters if id(p) not in marks]
        self.parameters, self.lazy = [*dense, *lazy], lazy
        self.parts: list[torch.optim.Optimizer] = []
        if dense:
            self.parts.append(
                torch.optim.Adam(
                    dense, lr=step.learning_rate, weight_decay=step.weight_decay, fused=True
                )
            )
        if lazy:
            self.parts.append(torch.optim.SparseAdam(lazy, lr=step.learning_rate))
        self.name = "dense Adam" + (f", lazy on {len(lazy)} tables" if lazy else "")

    @staticmethod
    def _is_lazy(parameter: nn.Parameter, table_update: str) -> bool:
        return table_update == "lazy" or (
            table_update == "auto" and parameter.shape[0] >= _LAZY_FROM_ROWS
        )

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        for parameter in self.lazy:
            if parameter.grad is not None and not parameter.grad.is_sparse:
                # The method read the table past its module: rows without gradient are zero.
                parameter.grad = parameter.grad.to_sparse(1)
        for part in self.parts:
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
