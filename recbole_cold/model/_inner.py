"""Differentiable adaptation of vectors: the inner loop of meta-learning."""

from collections.abc import Callable

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
