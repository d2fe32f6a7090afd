"""Tests over seeds: the paired t-test, Wilcoxon's signed ranks, Holm's correction."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.95


class PairedTest(NamedTuple):
    """Two runs compared seed by seed: mean difference, t statistic, two-sided p, shared seeds.

    ``half``: half the 95 % confidence interval of the difference by Student's t, which reaches as
    far to both sides; nan without a test. It says how far the difference would move if everything
    were trained again on the same split, and nothing about other items.
    """

    difference: float
    statistic: float
    p_value: float
    n: int
    half: float = math.nan


def t_test(ours: Sequence[float], theirs: Sequence[float]) -> PairedTest:
    """Paired t-test of two equally long samples, as :func:`paired_test` takes them."""
    if not ours:
        return PairedTest(math.nan, math.nan, math.nan, 0)
    differences = [x - y for x, y in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(differences)
    # Differences that are equal up to rounding would give an infinite statistic out of noise.
    noise = 1e-12 * max(map(abs, (*ours, *theirs)))
    if len(ours) < 2 or max(differences) - min(differences) < noise:
        return PairedTest(mean, math.nan, math.nan, len(ours))
    from scipy import stats

    found = stats.ttest_rel(ours, theirs)
    half = float(found.confidence_interval(CONFIDENCE).high) - mean
    return PairedTest(mean, float(found.statistic), float(found.pvalue), len(ours), half)


FEWEST_FOR_WILCOXON = 6  # with five pairs its smallest two-sided p is .0625


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p-values; nan means no test and stays nan.

    The k-th smallest of m is multiplied by m - k + 1, and none is smaller than one before it.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected, highest = [math.nan] * len(p_values), 0.0
    for k, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - k) * p))
        corrected[place] = highest
    return corrected


def wilcoxon_p(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test; nan below six pairs and where nothing differs."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    if len(differences) < FEWEST_FOR_WILCOXON or not any(differences):
        return math.nan
    from scipy import stats

    # Exact where no difference is zero or tied, which scores with all their digits are not.
    return float(stats.wilcoxon(differences).pvalue)
