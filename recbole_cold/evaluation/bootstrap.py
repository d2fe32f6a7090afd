"""Intervals over items or users: the paired cluster bootstrap of AUC and log-loss.

Rows of one item stand or fall together, so that a bootstrap of rows, or DeLong's formula, takes
differences for about half as uncertain as they are. Here whole items (or users) are drawn with
replacement, the same ones for all methods, so that what methods have in common cancels in their
differences. Scores are sorted once; a resample only changes the weights of rows.
Shape letters: n rows, k clusters, r resamples, u different scores.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Array = np.ndarray

_CHUNK = 4_000_000  # numbers of a piece of [r, u]: 32 MB


class Interval(NamedTuple):
    """A difference and where it lies with 95 % confidence; ``error`` is its standard error."""

    difference: float
    low: float
    high: float
    error: float


def cluster_weights(n_clusters: int, resamples: int, seed: int) -> Array:
    """How often each cluster is drawn in each resample: int32 [r, k], rows summing to k."""
    draws = np.random.default_rng(seed)
    even = np.full(n_clusters, 1 / n_clusters)
    return draws.multinomial(n_clusters, even, size=resamples).astype(np.int32)


class RankedScores:
    """One method's scores of the evaluated rows, sorted, for weighted AUC many times over.

    Args:
        scores: [n]. labels: 0 or 1, [n]. cluster: a place below ``n_clusters`` per row, [n].
    """

    def __init__(self, scores: Array, labels: Array, cluster: Array) -> None:
        order = np.argsort(scores, kind="stable")
        ranked = np.asarray(scores)[order]
        self.cluster = np.asarray(cluster)[order]
        self.positive = np.asarray(labels)[order] == 1
        new = np.r_[True, ranked[1:] != ranked[:-1]] if len(ranked) else np.zeros(0, dtype=bool)
        self._starts = np.flatnonzero(new)

    def auc(self, weights: Array) -> Array:
        """AUC [r] with each row counted as often as ``weights`` [r, k] draws its cluster.

        Ties count one half; nan where a resample has one class only. Counts are whole numbers, so
        the result is exact to rounding, and equal to the AUC of rows written out repeatedly.
        """
        found = np.empty(len(weights))
        rows = max(1, _CHUNK // max(1, len(self.cluster)))
        for start in range(0, len(weights), rows):
            found[start : start + rows] = self._auc(weights[start : start + rows])
        return found

    def _auc(self, weights: Array) -> Array:
        times = weights[:, self.cluster].astype(np.float64)
        click = np.where(self.positive, times, 0.0)
        clicks = np.add.reduceat(click, self._starts, axis=1)
        others = np.add.reduceat(times - click, self._starts, axis=1)
        below = np.cumsum(others, axis=1) - others
        won = (clicks * (below + others / 2)).sum(axis=1)
        pairs = clicks.sum(axis=1) * others.sum(axis=1)
        return np.divide(won, pairs, out=np.full(len(won), math.nan), where=pairs > 0)


def weighted_mean(values: Array, cluster: Array, weights: Array) -> Array:
    """Means [r] of a number per row, ``row_log_loss`` for instance, clusters drawn repeatedly."""
    size = weights.shape[1]
    total = np.bincount(cluster, values, size)
    rows = np.bincount(cluster, minlength=size)
    return (weights @ total) / (weights @ rows)


def paired_interval(
    ours: Sequence[Array],
    theirs: Sequence[Array],
    level: float = 0.95,
    nested_seed: int | None = None,
) -> Interval:
    """The interval of a difference of means over seeds, by percentiles of the resamples.

    Args:
        ours, theirs: for each seed the metric [1 + r]: on the rows as they are, then in each
            resample; both with the same weights.
        nested_seed: also draw seeds with replacement in each resample, from this seed: the interval
            then holds for training again and for other items; ``None`` averages the seeds.
    """
    gap = np.stack([np.asarray(a) - np.asarray(b) for a, b in zip(ours, theirs, strict=True)])
    whole, resampled = gap[:, 0].mean(), gap[:, 1:]
    if nested_seed is None:
        means = resampled.mean(axis=0)
    else:
        n_seeds, count = resampled.shape
        drawn = np.random.default_rng(nested_seed).integers(0, n_seeds, size=(n_seeds, count))
        means = np.take_along_axis(resampled, drawn, axis=0).mean(axis=0)
    means = means[np.isfinite(means)]
    if len(means) < 2:
        return Interval(float(whole), math.nan, math.nan, math.nan)
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(float(whole), float(low), float(high), float(means.std(ddof=1)))


def delong(ours: Array, theirs: Array, labels: Array) -> Interval:
    """AUC difference with DeLong's error (1988), in the fast form of Sun and Xu (2014).

    For independent rows only. Rows of new items are not: items make this error about twice too
    small, so that it is a lower bound.
    """
    positive = np.asarray(labels) == 1
    first, second = (_placements(np.asarray(scores), positive) for scores in (ours, theirs))
    of_clicks, of_others = first[0] - second[0], first[1] - second[1]
    if min(len(of_clicks), len(of_others)) < 2:
        return Interval(math.nan, math.nan, math.nan, math.nan)
    difference = float(of_clicks.mean())
    variance = of_clicks.var(ddof=1) / len(of_clicks) + of_others.var(ddof=1) / len(of_others)
    error = math.sqrt(variance)
    return Interval(difference, difference - 1.96 * error, difference + 1.96 * error, error)


def _placements(scores: Array, positive: Array) -> tuple[Array, Array]:
    """Each click's share of no-clicks below it, each no-click's share of clicks above it."""
    clicks, others = scores[positive], scores[~positive]
    return _below(clicks, others), 1 - _below(others, clicks)


def _below(values: Array, of: Array) -> Array:
    ranked = np.sort(of)
    both = np.searchsorted(ranked, values) + np.searchsorted(ranked, values, side="right")
    return both / (2 * max(1, len(ranked)))
