"""How uncertain an AUC is on rows of the same items and of the same users."""

import math

import numpy as np

from recbole_cold.evaluation.bootstrap import RankedScores, cluster_weights, delong
from recbole_cold.evaluation.metrics import auc

Array = np.ndarray

RESAMPLES = 500


def auc_with_error(scores: Array, labels: Array, *groups: Array) -> tuple[float, float]:
    """AUC and its standard error, rows of one item and rows of one user going together.

    The variances over items and over users are added and that of single rows, which both contain,
    is taken off (Cameron, Gelbach and Miller, 2011); never less than the larger of the two.

    Args:
        scores, labels: [n]. groups: codes of items, of users, ...: [n] each.
    """
    value = auc(scores, labels)
    if not math.isfinite(value):
        return math.nan, math.nan
    each = [_cluster_error(scores, labels, group) ** 2 for group in groups]
    single = delong(scores, np.zeros(len(scores)), labels).error ** 2
    both = sum(each) - (len(each) - 1) * single
    return value, math.sqrt(np.nanmax([both, *each]))


def difference_error(ours: Array, theirs: Array, labels: Array, group: Array) -> float:
    """The standard error of a difference of two methods' AUC on the same rows, over ``group``."""
    place, weights = _drawn(group)
    aucs = [RankedScores(scores, labels, place).auc(weights) for scores in (ours, theirs)]
    return float(np.nanstd(aucs[0] - aucs[1], ddof=1))


def _cluster_error(scores: Array, labels: Array, group: Array) -> float:
    place, weights = _drawn(group)
    return float(np.nanstd(RankedScores(scores, labels, place).auc(weights), ddof=1))


def _drawn(group: Array) -> tuple[Array, Array]:
    """Places of rows among the groups, and how often each group is drawn in each resample."""
    known, place = np.unique(group, return_inverse=True)
    return place, cluster_weights(len(known), RESAMPLES, seed=len(known))
