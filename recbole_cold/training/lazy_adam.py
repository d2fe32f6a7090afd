"""Adam for embedding tables: a step moves the rows that have a gradient, and looks at no other.

Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, in the lazy form of
``torch.optim.SparseAdam``. The numbers are the same, bit for bit where no row is looked up twice;
else its look-ups are summed in their order in the batch, and there in that of a sort.
Shape letters: n rows of a table, d numbers of a row, l look-ups of a batch, u different rows.
"""

import math
from typing import Any

import torch
from torch import Tensor

from recbole_cold.training.light_optimizers import Adam


def summed_by_row(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows that a sparse gradient [n, d] has, ascending, and the sum of each: [u], [u, d]."""
    code_l, value_ld = gradient._indices()[0], gradient._values()
    if gradient.is_coalesced():
        return code_l, value_ld
    row_u, place_l = code_l.unique(return_inverse=True)
    return row_u, value_ld.new_zeros(len(row_u), *value_ld.shape[1:]).index_add_(
        0, place_l, value_ld
    )


def moved(
    moments_u2d: Tensor, gradient_ud: Tensor, betas: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """The two moments after a gradient, ``m + (1 - b1) (g - m)`` and ``v + (1 - b2) (g^2 - v)``."""
    first_ud, second_ud = moments_u2d.unbind(dim=1)
    return (
        gradient_ud.sub(first_ud).mul_(1 - betas[0]).add_(first_ud),
        gradient_ud.square().sub_(second_ud).mul_(1 - betas[1]).add_(second_ud),
    )


class LazyAdam(Adam):
    """Adam for tables [n, d] with sparse gradients.

    The moments of a row lie side by side, so that a row is found once for both.
    With ``weight_decay`` the L2 term is that of rows that have a gradient, in the steps in which
    they have one; dense Adam has that of all rows in every step.
    """

    @torch.no_grad()
    def step(self) -> None:
        """Move the rows that have a gradient."""
        [group] = self.param_groups
        for table in group["params"]:
            if table.grad is not None:
                self._move(table, group)

    def _move(self, table: Tensor, group: dict[str, Any]) -> None:
        if table not in self.state:
            moments = table.new_zeros(len(table), 2, *table.shape[1:])
            self.state[table] = {"step": 0, "moments": moments}
        state = self.state[table]
        state["step"] += 1
        row_u, gradient_ud = summed_by_row(table.grad)
        if group["weight_decay"]:
            now_ud = table.index_select(0, row_u)
            gradient_ud = gradient_ud.add(now_ud, alpha=group["weight_decay"])
        first_ud, second_ud = moved(
            state["moments"].index_select(0, row_u), gradient_ud, group["betas"]
        )
        state["moments"].index_copy_(0, row_u, torch.stack([first_ud, second_ud], dim=1))
        beta_1, beta_2 = (1 - beta ** state["step"] for beta in group["betas"])
        size = group["lr"] * math.sqrt(beta_2) / beta_1
        step_ud = first_ud.div_(second_ud.sqrt_().add_(group["eps"])).mul_(-size)
        table.index_add_(0, row_u, step_ud)
