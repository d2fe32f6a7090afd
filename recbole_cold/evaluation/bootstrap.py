"""Intervals over items or users: the paired cluster bootstrap of AUC and log-loss.

Rows of one item stand or fall together, so that a bootstrap of rows, or DeLong's formula, takes
differences for about half as uncertain as they are. Here whole items (or users) are drawn with
replacement, the same ones for all methods, so that what methods have in common cancels in their
differences. Scores are sorted once; a resample only changes the weights of rows.
Shape letters: n rows, k clusters, r resamples.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from recbole_cold.evaluation._groups import aucs_by_group

Array = np.ndarray

_CHUNK = 60_000  # numbers of a piece of [r, n]: half a megabyte, which stays in the fast memory


class Interval(NamedTuple):
    """A difference, or a mean, and where it lies with 95 % confidence; ``error`` is its standard
    error."""

    difference: float
    low: float
    high: float
    error: float


def cluster_weights(n_clusters: int, resamples: int, seed: int | np.random.Generator) -> Array:
    """How often each cluster is drawn in each resample: int32 [r, k], rows summing to k.

    Args:
        seed: of the draws; a generator goes on from where it is.
    """
    draws = np.random.default_rng(seed)
    even = np.full(n_clusters, 1 / n_clusters)
    return draws.multinomial(n_clusters, even, size=resamples).astype(np.int32)


class RankedScores:
    """One method's scores of the evaluated rows, sorted, for weighted AUC many times over.

    Args:
        scores: [n]. labels: 0 or 1, [n]. cluster: a place below ``n_clusters`` per row, [n].
    """

    def __init__(self, scores: Array, labels: Array, cluster: Array) -> None:
        scores, cluster = np.asarray(scores), np.asarray(cluster, dtype=np.intp)
        positive = np.asarray(labels) == 1
        clicks, others = (np.sort(scores[rows]) for rows in (positive, ~positive))
        self._clicks, self._others = (
            cluster[rows][np.argsort(scores[rows], kind="stable")] for rows in (positive, ~positive)
        )
        # For each click, how many no-clicks have a lower score; for those with the score of some
        # no-click, how many have a lower or equal one.
        self._below = np.searchsorted(others, clicks)
        upto = np.searchsorted(others, clicks, side="right")
        self._tied = np.flatnonzero(upto != self._below)
        self._upto = upto[self._tied]

    def auc(self, weights: Array) -> Array:
        """AUC [r] with each row counted as often as ``weights`` [r, k] draws its cluster.

        Ties count one half; nan where a resample has one class only. Counts are whole numbers, so
        the result is exact to rounding, and equal to the AUC of rows written out repeatedly.
        """
        found = np.empty(len(weights))
        step = max(1, _CHUNK // max(1, len(self._clicks) + len(self._others)))
        for start in range(0, len(weights), step):
            piece = weights[start : start + step].astype(np.float64, copy=False)
            found[start : start + step] = self._auc(piece)
        return found

    def _auc(self, weights: Array) -> Array:
        click = _columns(weights, self._clicks)
        behind = np.zeros((len(weights), len(self._others) + 1))  # weight of no-clicks up to each
        np.cumsum(_columns(weights, self._others), axis=1, out=behind[:, 1:])
        won = np.einsum("rc,rc->r", click, _columns(behind, self._below))
        if len(self._tied):
            level = _columns(behind, self._upto) - _columns(behind, self._below[self._tied])
            won += np.einsum("rc,rc->r", click[:, self._tied], level) / 2
        pairs = click.sum(axis=1) * behind[:, -1]
        return np.divide(won, pairs, out=np.full(len(won), math.nan), where=pairs > 0)


def _columns(table: Array, places: Array) -> Array:
    """``table[:, places]`` in less time: the places are known to be there."""
    return np.take(table, places, axis=1, mode="clip")


def weighted_mean(values: Array, cluster: Array, weights: Array) -> Array:
    """Means [r] of a number per row, ``row_log_loss`` for instance, clusters drawn repeatedly."""
    return sums_by_cluster(values, cluster, weights.shape[1]).mean(weights)


class ClusterSums(NamedTuple):
    """All that a resample of clusters needs of a metric that is a ratio of sums over clusters.

    Attributes:
        total: numerator of each cluster, float64 [k]. weight: its denominator [k].
    """

    total: Array
    weight: Array

    def mean(self, weights: Array) -> Array:
        """The metric [r] with each cluster counted as often as ``weights`` [r, k] draws it.

        nan where a resample has no cluster that counts.
        """
        total, weight = weights @ self.total, weights @ self.weight
        return np.divide(total, weight, out=np.full(len(weights), math.nan), where=weight > 0)


def sums_by_cluster(values: Array, cluster: Array, n_clusters: int) -> ClusterSums:
    """Sums of a number per row, ``row_log_loss`` for instance: their mean is that over rows."""
    total = np.bincount(cluster, values, n_clusters)
    return ClusterSums(total, np.bincount(cluster, minlength=n_clusters).astype(np.float64))


def within_auc_by_cluster(
    scores: Array, labels: Array, cluster: Array, n_clusters: int
) -> ClusterSums:
    """AUC inside each cluster times its rows: the mean is the row-weighted AUC inside clusters.

    A cluster drawn twice counts with twice its rows and with the same AUC; one of one class only
    does not count. There is no such form for resamples that cut through the groups (users, for the
    AUC inside items): every row's weight would change every group's AUC.
    """
    positive = torch.from_numpy(np.asarray(labels) == 1)
    code = torch.from_numpy(np.asarray(cluster).astype(int))
    each, rows = aucs_by_group(torch.from_numpy(np.asarray(scores)), positive, code, n_clusters)
    used = rows.double() * each.isfinite()
    return ClusterSums((each.nan_to_num() * used).numpy(), used.numpy())


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
        nested_seed: as of :func:`seed_interval`.
    """
    gaps = [np.asarray(a) - np.asarray(b) for a, b in zip(ours, theirs, strict=True)]
    return seed_interval(gaps, level, nested_seed)


def seed_interval(
    each: Sequence[Array], level: float = 0.95, nested_seed: int | None = None
) -> Interval:
    """The interval of a mean over seeds, by percentiles of the resamples.

    Args:
        each: for each seed the metric [1 + r]: on the rows as they are, then in each resample.
        nested_seed: also draw seeds with replacement in each resample, from this seed: the interval
            then holds for training again and for other items; ``None`` averages the seeds.
    """
    values = np.stack([np.asarray(one) for one in each])
    whole, resampled = values[:, 0].mean(), values[:, 1:]
    if nested_seed is None:
        means = resampled.mean(axis=0)
    else:
        n_seeds, count = resampled.shape
        drawn = np.random.default_rng(nested_seed).integers(0, n_seeds, size=(n_seeds, count))
        means = np.take_along_axis(resampled, drawn, axis=0).mean(axis=0)
    means = means[np.isfinite(means)]
    if len(means) < 2:
        return Interval(float(whole), math.nan, math.nan, math.nan)
    means.sort()  # np.percentile of sorted numbers, at a tenth of its time
    tail = (1 - level) / 2
    low, high = np.interp([tail, 1 - tail], np.linspace(0, 1, len(means)), means)
    return Interval(float(whole), float(low), float(high), float(means.std(ddof=1)))


def delong(ours: Array, theirs: Array, labels: Array) -> Interval:
    """AUC difference with DeLong's error (1988), in the fast form of Sun and Xu (2014).

    For independent rows only. Rows of new items are not: items make this error about twice too
    small, so that it is a lower bound.
    """
    positive = np.asarray(labels) == 1
    first, second = (_placements(np.asarray(scores), positive) for scores in (ours, theirs))
    of_clicks, of_others = first[0] - second[0], first[1] - second[1]
    error = _error(of_clicks, of_others)
    if math.isnan(error):
        return Interval(math.nan, math.nan, math.nan, math.nan)
    difference = float(of_clicks.mean())
    return Interval(difference, difference - 1.96 * error, difference + 1.96 * error, error)


def auc_error(scores: Array, labels: Array) -> float:
    """DeLong's standard error of one AUC, for independent rows; nan with fewer than two of a class.

    A session's target is the only scored row of its user, so that rows of sessions are nearly
    independent; those of new items are not (:func:`delong`).
    """
    return _error(*_placements(np.asarray(scores), np.asarray(labels) == 1))


def _error(of_clicks: Array, of_others: Array) -> float:
    if min(len(of_clicks), len(of_others)) < 2:
        return math.nan
    variance = of_clicks.var(ddof=1) / len(of_clicks) + of_others.var(ddof=1) / len(of_others)
    return math.sqrt(variance)


def _placements(scores: Array, positive: Array) -> tuple[Array, Array]:
    """Each click's share of no-clicks below it, each no-click's share of clicks above it."""
    clicks, others = scores[positive], scores[~positive]
    return _below(clicks, others), 1 - _below(others, clicks)


def _below(values: Array, of: Array) -> Array:
    ranked = np.sort(of)
    both = np.searchsorted(ranked, values) + np.searchsorted(ranked, values, side="right")
    return both / (2 * max(1, len(ranked)))
