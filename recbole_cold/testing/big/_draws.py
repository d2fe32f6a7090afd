"""Random draws of a row from its number alone, and exact shares and sizes of groups.

A row's draws are a hash of its number and of a key: rows can be drawn in any order, in chunks of
any length and one by one, and are the same. What belongs to users and items is drawn once, from
NumPy's generators, and so that shares and sizes are exact, not merely right on average.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri

from recbole_cold.errors import UserError

# Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014: SplitMix64.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ONE = np.uint64(1)
_ROUNDS = 6


def mixed(key: int, rows: np.ndarray) -> np.ndarray:
    """A hash of 64 bits of every row number, uint64; no two rows have the same one."""
    state = np.asarray(rows).astype(np.uint64)
    state *= _STEP
    state += np.uint64(key)
    state ^= state >> np.uint64(30)
    state *= _FIRST
    state ^= state >> np.uint64(27)
    state *= _SECOND
    state ^= state >> np.uint64(31)
    return state


def uniform(key: int, rows: np.ndarray) -> np.ndarray:
    """A draw from [0, 1) for every row number."""
    return (mixed(key, rows) >> np.uint64(11)) * 2.0**-53


def permuted(key: int, index: np.ndarray, size: int | np.ndarray) -> np.ndarray:
    """Where a permutation of ``range(size)`` takes ``index``, int64.

    A Feistel network whose two halves differ by at most one bit permutes the numbers of that many
    bits; where it leaves the range, it is applied again until it comes back (Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). Nothing is as long as the range.

    Args:
        size: one for all, or one for each of ``index``: as many permutations side by side.
    """
    value = np.asarray(index).astype(np.uint64)
    limit = np.broadcast_to(np.asarray(size, dtype=np.uint64), value.shape)
    inside = np.frexp((limit - _ONE).astype(np.float64))[1].astype(np.uint64)  # bits of a number
    low = inside // np.uint64(2)
    masks = (_ONE << (inside - low)) - _ONE, (_ONE << low) - _ONE
    value = _network(key, value, low, masks)
    out = np.flatnonzero(value >= limit)
    while len(out):
        again = _network(key, value[out], low[out], (masks[0][out], masks[1][out]))
        value[out] = again
        out = out[again >= limit[out]]
    return value.astype(np.int64)


def _network(
    key: int, value: np.ndarray, low: np.ndarray, masks: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    left, right = value >> low, value & masks[1]
    for number in range(0, _ROUNDS, 2):
        left = left ^ (mixed(key + number, right) & masks[0])
        right = right ^ (mixed(key + number + 1, left) & masks[1])
    return (left << low) | right


class Owners:
    """Whose a slot is, where everybody has as many neighbouring slots as ``counts`` says."""

    def __init__(self, counts: np.ndarray) -> None:
        self.counts, self._ends = counts, np.cumsum(counts)

    def of(self, slots: np.ndarray) -> np.ndarray:
        """The owner of each slot; slots count from 0 to the sum of ``counts``."""
        return np.searchsorted(self._ends, slots, side="right")


def lognormal_counts(
    n: int, total: int, sigma: float, rng: np.random.Generator, what: str = "groups"
) -> np.ndarray:
    """``n`` counts of at least 1 that sum to ``total`` and are distributed as a rounded lognormal.

    They are the lognormal's values at ``n`` evenly spaced quantiles, in random order, so that no
    seed and no size has another distribution; its median follows from the sum.

    Args:
        sigma: standard deviation of a count's logarithm.
        what: is counted, for messages.

    Raises:
        UserError: the total is not enough for 1 each.
    """
    if not 0 < n <= total:
        raise UserError(
            f"{total:,} cannot be divided among {n:,} {what} with at least 1 each; choose other "
            "numbers"
        )
    size = np.exp(sigma * ndtri((np.arange(n) + 0.5) / n))

    def counts(factor: float) -> np.ndarray:
        return np.maximum(1, np.rint(factor * size)).astype(np.int64)

    low, high = 0.0, 2.0 * total / size.sum() + 1.0
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if counts(middle).sum() <= total else (low, middle)
    found = counts(low)
    # Those that a slightly larger factor would round up, all of them at once: the largest get it.
    found[n - (total - int(found.sum())) :] += 1
    return rng.permutation(found)


def grouped(n: int, groups: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """The group of each of ``n`` members; no group is empty, sizes are lognormal, int32 [n]."""
    sizes = lognormal_counts(groups, n, sigma, rng)
    return rng.permutation(np.repeat(np.arange(groups, dtype=np.int32), sizes))


def portions(n: int, shares: Sequence[float] | np.ndarray) -> np.ndarray:
    """How many of ``n`` each value gets by its share: largest remainders, and at least one where
    ``n`` is enough; int64, one per value."""
    weights = np.asarray(shares, dtype=np.float64)
    exact = n * weights / weights.sum()
    number = np.floor(exact).astype(np.int64)
    number[np.argsort(number - exact, kind="stable")[: n - number.sum()]] += 1
    if n >= len(weights):
        for value in np.flatnonzero(number == 0):
            number[np.argmax(number)] -= 1
            number[value] = 1
    return number


def apportioned(n: int, shares: Sequence[float] | np.ndarray, rng: np.random.Generator):
    """A value for each of ``n``, as often as ``portions`` says, in random order; int32 [n]."""
    values = np.arange(len(shares), dtype=np.int32)
    return rng.permutation(np.repeat(values, portions(n, shares)))


def cumulative(n: int, heads: Mapping[int, float]) -> np.ndarray:
    """The share of the r most frequent of ``n`` values together, for r = 1 ... n.

    Args:
        heads: that share for some ranks r; between them it is linear in the logarithm of r, and 1
            at the last rank. Of fewer values than the largest r the shares are in proportion.
    """
    ranks = np.array([*heads, max(n, max(heads) + 1)], dtype=np.float64)
    known = np.array([*heads.values(), 1.0])
    found = np.interp(np.log(np.arange(1, n + 1)), np.log(ranks), known)
    return found / found[-1]


def picked(shares: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The value that each chance of [0, 1) falls on, by the cumulative shares of the values."""
    return np.searchsorted(shares, chance, side="right")


def by_weight(weights: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A value for each of n members, so that values have about their shares of the weight.

    Args:
        weights: of the members, [n].
        shares: of the values, cumulative; values without a member get a light one, where there are
            enough members.
    """
    order = rng.permutation(len(weights))
    ends = np.cumsum(weights[order], dtype=np.float64)
    value = np.empty(len(weights), dtype=np.int32)
    value[order] = picked(shares, (ends - weights[order] / 2) / ends[-1])
    absent = np.setdiff1d(np.arange(len(shares)), value)
    heavy_first = np.argsort(-weights, kind="stable")
    keepers = heavy_first[np.unique(value[heavy_first], return_index=True)[1]]
    spare = np.setdiff1d(np.arange(len(weights)), keepers)
    light = spare[np.argsort(weights[spare], kind="stable")][: len(absent)]
    value[light] = absent[: len(light)]
    return value
