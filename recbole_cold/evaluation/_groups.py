"""AUC inside groups of rows (one item, one user) and between groups, counted exactly.

Shape letters: n rows, g groups.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class GroupedAUC(NamedTuple):
    """AUC inside groups, and what it rests on.

    Attributes:
        value: mean of the groups' AUC, weighted by their rows; nan without a group that has one.
        macro: the plain mean.
        groups: how many groups have clicks and no-clicks, and so an AUC.
        of: how many groups there are.
        rows: share of all rows in the groups that were used.
    """

    value: float
    macro: float
    groups: int
    of: int
    rows: float


def auc_within(scores: Tensor, positive: Tensor, group: Tensor) -> GroupedAUC:
    """AUC inside each group, ties counting one half (GAUC where groups are users).

    Pairs are counted in integers: the order of rows, and a strictly monotone transform of the
    scores of a group, leave it unchanged to the last bit.

    Args:
        scores: [n]. positive: bool [n]. group: a code per row, [n].
    """
    _, code = group.unique(return_inverse=True)
    n_groups = int(code.max()) + 1 if len(code) else 0
    if not n_groups:
        return GroupedAUC(math.nan, math.nan, 0, 0, math.nan)
    each, rows = aucs_by_group(scores, positive, code, n_groups)
    has = each.isfinite()
    used = rows[has].sum()
    if not int(used):
        return GroupedAUC(math.nan, math.nan, 0, n_groups, 0.0)
    each, rows = each[has], rows[has]
    return GroupedAUC(
        float((each * rows).sum() / used),
        float(each.mean()),
        len(each),
        n_groups,
        int(used) / len(code),
    )


def aucs_by_group(
    scores: Tensor, positive: Tensor, code: Tensor, n_groups: int
) -> tuple[Tensor, Tensor]:
    """AUC of each group (float64 [g], nan where it has one class only) and its rows [g].

    Args:
        scores: [n]. positive: bool [n]. code: of the group, below ``n_groups``, [n].
    """
    levels, level = scores.unique(return_inverse=True)  # sorted: equal scores share a level
    key = code * len(levels) + level
    negatives, of_positive = key[~positive].sort().values, code[positive]
    first = torch.searchsorted(negatives, of_positive * len(levels))
    below = torch.searchsorted(negatives, key[positive]) - first
    below_or_tied = torch.searchsorted(negatives, key[positive], right=True) - first
    twice_won = _sums(of_positive, below + below_or_tied, n_groups)
    rows = torch.bincount(code, minlength=n_groups)
    clicks = torch.bincount(of_positive, minlength=n_groups)
    pairs = clicks * (rows - clicks)
    return twice_won.double() / (2 * pairs).double(), rows  # 0 / 0 is nan


def auc_between(scores: Tensor, positive: Tensor, group: Tensor) -> float:
    """Chance that of two groups the one with the higher share of clicks has the higher mean score.

    A pair of groups weighs as much as it has pairs of rows; equal mean scores count one half, and
    pairs with equal shares of clicks do not count. ``nan`` where no pair counts.
    """
    _, code = group.unique(return_inverse=True)
    if not len(code):
        return math.nan
    rows = torch.bincount(code)
    clicks = torch.bincount(code, weights=positive.double()).long()
    total = torch.zeros(len(rows), dtype=torch.float64, device=scores.device)
    # Each group is summed in the order of its scores, so that the order of rows does not matter.
    order = scores.argsort()
    total.index_add_(0, code[order], scores[order].double())
    share, score = clicks.double() / rows, total / rows
    by_share = _levels(share)
    by_score = _levels(score)
    order = (by_share * (int(by_score.max()) + 1) + by_score).argsort()
    return _concordance(by_share[order], by_score[order], rows[order])


def _levels(value: Tensor) -> Tensor:
    """Ranks from 0, equal values sharing one."""
    return value.unique(return_inverse=True)[1]


def _sums(code: Tensor, value: Tensor, size: int) -> Tensor:
    """Integer sums by code: ``bincount`` with weights would go through floats."""
    return torch.zeros(size, dtype=torch.long, device=code.device).index_add_(0, code, value)


def _concordance(share: Tensor, score: Tensor, weight: Tensor) -> float:
    """Weighted chance that a later entry has the higher score; entries are in (share, score) order.

    Merge sort's count of ordered pairs, all blocks of one size at once; pairs with equal share are
    taken out afterwards.
    """
    n, width = len(share), int(score.max()) + 1
    place = torch.arange(n, device=share.device)
    won, size = 0, 1  # twice the weight of pairs in order
    while size < n:
        block, right = place // (2 * size), (place // size) % 2 == 1
        key = block * width + score
        order = key[~right].argsort()
        keys = key[~right][order]
        behind = torch.cat([weight.new_zeros(1), weight[~right][order].cumsum(0)])
        start = torch.searchsorted(keys, block[right] * width)
        lower = torch.searchsorted(keys, key[right])
        upper = torch.searchsorted(keys, key[right], right=True)
        sums = behind[lower] + behind[upper] - 2 * behind[start]
        won += int((sums * weight[right]).sum())
        size *= 2
    all_pairs = _pairs(torch.zeros_like(share), weight)
    same_share = _pairs(share, weight)
    same_both = _pairs(share * width + score, weight)
    counted = all_pairs - same_share
    # In (share, score) order, pairs of equal share were counted as won, or half where tied.
    return (won - 2 * same_share + same_both) / (2 * counted) if counted else math.nan


def _pairs(code: Tensor, weight: Tensor) -> int:
    """Weight of all unordered pairs of entries with equal code."""
    _, place = code.unique(return_inverse=True)
    size = int(place.max()) + 1
    total = _sums(place, weight, size)
    return int((total.square().sum() - weight.square().sum()) // 2)
