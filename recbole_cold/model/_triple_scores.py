"""Scores ``l . r`` of drawn triples, from tables in which many triples share a row.

On a CPU the gradients are made by hand: each table's is filled with zeros once, where autograd
does it for every look-up, and nothing of size [t, e] is kept or made that is not needed. Elsewhere
the plain equations stay: sums of rows would come in no fixed order there, and look-ups have one.
Shape letters: t triples, u rows of the left side (users), n rows of the right side (items), e
numbers of a row.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.device import in_float32


def dot(left_te: Tensor, right_te: Tensor) -> Tensor:
    """Inner product of each row: [t]."""
    return (left_te * right_te).sum(dim=-1)


def plain_scores(
    left_ue: Tensor, right_ne: Tensor, at: Tensor, at_i: Tensor, at_j: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """``l . r_i`` and ``l . r_j`` of every triple, twice [t], and the squares of all its numbers.

    The last one is a scalar, ``sum |l|^2 + |r_i|^2 + |r_j|^2``.

    Args:
        left_ue: rows of which each triple has one.
        right_ne: rows of which each triple has two.
        at: where the left row of each triple is: [t].
        at_i: where its first right row is: [t].
        at_j: where its second right row is: [t].
    """
    left, i, j = lookup(left_ue, at), lookup(right_ne, at_i), lookup(right_ne, at_j)
    return dot(left, i), dot(left, j), sum(part.square().sum() for part in (left, i, j))


class _Scores(torch.autograd.Function):
    """``plain_scores``, the last part only if asked for."""

    @staticmethod
    def forward(
        ctx: Any,
        left_ue: Tensor,
        right_ne: Tensor,
        at: Tensor,
        at_i: Tensor,
        at_j: Tensor,
        squared: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        left, i, j = (
            table.index_select(0, places)
            for table, places in ((left_ue, at), (right_ne, at_i), (right_ne, at_j))
        )
        ctx.save_for_backward(left, i, j, at, at_i, at_j)
        ctx.shapes = left_ue.shape, right_ne.shape
        size = None
        if squared:
            flat = [part.view(-1) for part in (left, i, j)]
            size = torch.stack([torch.dot(part, part) for part in flat]).sum()
        return torch.linalg.vecdot(left, i), torch.linalg.vecdot(left, j), size

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_i: Any, by_j: Any, by_size: Any) -> tuple[Tensor | None, ...]:
        left, i, j, at, at_i, at_j = ctx.saved_tensors
        zero = left.new_zeros(len(left))
        by_i, by_j = ((zero if part is None else part)[:, None] for part in (by_i, by_j))
        twice = None if by_size is None else 2.0 * by_size.item()

        def with_size(gradient_te: Tensor, row_te: Tensor) -> Tensor:
            return gradient_te if twice is None else gradient_te.add_(row_te, alpha=twice)

        to_left = to_right = None
        if ctx.needs_input_grad[0]:
            to_left = left.new_zeros(ctx.shapes[0])
            to_left.index_add_(0, at, with_size((i * by_i).addcmul_(j, by_j), left))
        if ctx.needs_input_grad[1]:
            to_right = left.new_zeros(ctx.shapes[1])
            to_right.index_add_(0, at_i, with_size(left * by_i, i))
            to_right.index_add_(0, at_j, with_size(left * by_j, j))
        return to_left, to_right, None, None, None, None


@in_float32
def scores(
    left_ue: Tensor, right_ne: Tensor, at: Tensor, at_i: Tensor, at_j: Tensor
) -> tuple[Tensor, Tensor]:
    """The first two of ``plain_scores``."""
    if left_ue.device.type != "cpu":
        left = lookup(left_ue, at)
        return dot(left, lookup(right_ne, at_i)), dot(left, lookup(right_ne, at_j))
    return _Scores.apply(left_ue, right_ne, at, at_i, at_j, False)[:2]


@in_float32
def scores_and_size(
    left_ue: Tensor, right_ne: Tensor, at: Tensor, at_i: Tensor, at_j: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``plain_scores``."""
    if left_ue.device.type != "cpu":
        return plain_scores(left_ue, right_ne, at, at_i, at_j)
    return _Scores.apply(left_ue, right_ne, at, at_i, at_j, True)


def scores_through(
    layer: nn.Linear, left_uh: Tensor, right_ne: Tensor, at: Tensor, at_i: Tensor, at_j: Tensor
) -> tuple[Tensor, Tensor]:
    """``(W l + c) . r`` of both right rows of every triple: twice [t].

    The layer multiplies the side that has fewer rows: ``(W l + c) . r = l . (W^T r) + c . r``.
    """
    if len(left_uh) <= len(right_ne):
        return scores(layer(left_uh), right_ne, at, at_i, at_j)
    score_i, score_j = scores(left_uh, right_ne @ layer.weight, at, at_i, at_j)
    offset_n = right_ne @ layer.bias
    return score_i + lookup(offset_n, at_i), score_j + lookup(offset_n, at_j)


class _Identification(torch.autograd.Function):
    """``|v_n|^2 - v_n . m`` with ``m = sum_n share_n v_n``, of every row: [n]."""

    @staticmethod
    def forward(ctx: Any, rows_nd: Tensor, share_n: Tensor) -> Tensor:
        mean_d = share_n @ rows_nd
        ctx.save_for_backward(rows_nd, share_n, mean_d)
        return torch.linalg.vecdot(rows_nd, rows_nd - mean_d)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_n: Tensor) -> tuple[Tensor, None]:
        rows_nd, share_n, mean_d = ctx.saved_tensors
        own_nd = (rows_nd * (2.0 * by_n)[:, None]).addr_(by_n, mean_d, alpha=-1.0)
        return own_nd.addr_(share_n, by_n @ rows_nd, alpha=-1.0), None


@in_float32
def identification_by_item(rows_nd: Tensor, at_i: Tensor, at_j: Tensor) -> Tensor:
    """``aldi.identification(rows[at_i], rows[at_j])``, once per item and not per pair: [p].

    Args:
        rows_nd: the items' vectors.
        at_i: where the clicked item of each pair is: [p].
        at_j: where the other one is: [p].
    """
    one = torch.ones_like(at_j, dtype=rows_nd.dtype)
    share_n = rows_nd.new_zeros(len(rows_nd)).index_add_(0, at_j, one) / max(len(at_j), 1)
    return lookup(_Identification.apply(rows_nd, share_n), at_i)
