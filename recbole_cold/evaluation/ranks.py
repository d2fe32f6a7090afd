"""Methods over several data sets: ranks, Friedman's and Nemenyi's tests, a Bayesian test.

A block is one data set (or one backbone on it) that every method was scored on; blocks are ranked
one by one, so that their levels do not matter (Demsar, JMLR 2006).
Shape letters: b blocks, k methods. Costs are lower where a method is better.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recbole_cold.errors import UserError
from recbole_cold.evaluation.significance import holm, wilcoxon_p

Array = np.ndarray

FEWEST_BLOCKS = 5  # below, Nemenyi's difference is nearly the whole range of ranks
FEWEST_METHODS = 3  # two methods are compared by a paired test
FEWEST_FOR_BAYES = 3
PRIOR_STRENGTH = 0.5  # the weight of the pseudo-observation, in blocks; the authors' own
_DRAWS = 20_000
_CHUNK = 2_000_000  # numbers of a piece of [draws, b + 1, b + 1]


class Friedman(NamedTuple):
    """Friedman's chi-squared, corrected for ties, and its p; 0 and 1 where all ranks are tied."""

    statistic: float
    p_value: float


class Chances(NamedTuple):
    """Posterior chances that one of two methods is better, as good as the other, or worse."""

    better: float
    rope: float
    worse: float


def ranks(costs: Array) -> Array:
    """Ranks of the methods in each block [b, k]: 1 is the best, ties share their mean rank."""
    from scipy import stats

    return np.apply_along_axis(stats.rankdata, 1, _table(costs))


def mean_ranks(costs: Array) -> Array:
    """Mean rank of each method over the blocks [k]."""
    return ranks(costs).mean(axis=0)


def friedman(costs: Array) -> Friedman:
    """Friedman's test that all methods are alike, on the chi-squared distribution.

    Raises:
        UserError: fewer than three methods, or fewer than two blocks.
    """
    costs = _table(costs)
    if costs.shape[1] < FEWEST_METHODS or len(costs) < 2:
        raise UserError(
            f"Friedman's test needs {FEWEST_METHODS} methods on two data sets or backbones, and "
            f"these results have {costs.shape[1]} methods on {len(costs)}"
        )
    if (costs == costs[:, :1]).all():
        return Friedman(0.0, 1.0)
    from scipy import stats

    found = stats.friedmanchisquare(*costs.T)
    return Friedman(float(found.statistic), float(found.pvalue))


def critical_difference(methods: int, blocks: int, level: float = 0.05) -> float:
    """How far apart two mean ranks must be to be distinguished by Nemenyi's test.

    ``q * sqrt(k (k + 1) / (6 b))``; q is the studentized range of k means over the square root of
    2 (Demsar 2006, table 5).

    Raises:
        UserError: fewer than five blocks, or fewer than two methods.
    """
    if blocks < FEWEST_BLOCKS or methods < 2:
        raise UserError(
            f"a critical difference needs at least {FEWEST_BLOCKS} data sets (or data sets x "
            f"backbones) and two methods on all of them, and there are {blocks} and {methods}; "
            "add folders of comparisons on other data"
        )
    from scipy import stats

    q = float(stats.studentized_range.ppf(1 - level, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def cliques(mean_rank: Sequence[float], difference: float) -> list[tuple[int, ...]]:
    """Largest groups of methods of which no two are ``difference`` or more apart.

    Places in ``mean_rank``, best first; a method that is distinguished from all is in no group.
    """
    order = sorted(range(len(mean_rank)), key=lambda place: (mean_rank[place], place))
    found: list[tuple[int, ...]] = []
    end = 0  # of the group before: one that ends there is a part of it
    for start, first in enumerate(order):
        stop = start
        while stop < len(order) and mean_rank[order[stop]] - mean_rank[first] < difference:
            stop += 1
        if stop > end and stop - start > 1:
            found.append(tuple(order[start:stop]))
        end = max(end, stop)
    return found


def pairwise(costs: Array, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """Wilcoxon's signed-rank p over the blocks for pairs of methods, corrected by Holm's method.

    nan below six blocks, where no p could fall under .05, and where a pair differs nowhere.
    """
    costs = _table(costs)
    return holm([wilcoxon_p(costs[:, one].tolist(), costs[:, two].tolist()) for one, two in pairs])


def signed_rank_chances(
    gains: Sequence[float],
    rope: float,
    seed: int = 0,
    strength: float = PRIOR_STRENGTH,
    draws: int = _DRAWS,
) -> Chances:
    """The Bayesian signed-rank test with a region of practical equivalence.

    Benavoli, Corani, Demsar and Zaffalon, JMLR 2017, section 4.2: weights w of the gains and of a
    pseudo-observation at 0 are drawn from Dirichlet(strength, 1, ..., 1). A draw goes to the
    region with the greatest sum of ``w_i w_j``: pairs whose mean gain is above ``rope``, between,
    or below ``-rope``; regions that are equal share it.

    Args:
        gains: of one method over another, one per block; positive is better.
        rope: a gain up to it, either way, does not matter.

    Raises:
        UserError: fewer than three blocks.
    """
    if len(gains) < FEWEST_FOR_BAYES:
        raise UserError(
            f"the Bayesian signed-rank test needs at least {FEWEST_FOR_BAYES} data sets (or data "
            f"sets x backbones), and there are {len(gains)}"
        )
    observed = np.array([0.0, *gains])
    mean = (observed[:, None] + observed) / 2
    regions = np.stack([mean > rope, abs(mean) <= rope, mean < -rope]).astype(float)
    alpha = np.array([strength, *np.ones(len(gains))])
    weights = np.random.default_rng(seed).dirichlet(alpha, size=draws)
    won = np.zeros(3)
    size = max(1, _CHUNK // mean.size)
    for start in range(0, draws, size):
        part = weights[start : start + size]
        sums = np.einsum("di,rij,dj->dr", part, regions, part, optimize=True)
        winner = sums >= sums.max(axis=1, keepdims=True) - 1e-12
        won += (winner / winner.sum(axis=1, keepdims=True)).sum(axis=0)
    better, same, worse = (won / draws).tolist()
    return Chances(better, same, worse)


def _table(costs: Array) -> Array:
    costs = np.asarray(costs, dtype=np.float64)
    if costs.ndim != 2 or not np.isfinite(costs).all():
        raise ValueError(f"one finite cost per block and method, not {costs.shape}")
    return costs
