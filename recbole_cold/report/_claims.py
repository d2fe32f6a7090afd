"""Which differences are real: the rule that decides it, apart from where the numbers stand.

A gain of a row in one phase is real where all of this holds:

* five seeds or more;
* in AUC the row is above the plain backbone, above the plain backbone at equal optimizer steps and
  above ``ItemBias`` (one fitted number per new item), each by more than the smallest effect that
  is of interest, with the whole 95 % interval - over items or over users, whichever is wider;
* within items it is not worse: no interval of WithinAUC against these rows lies wholly below zero.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from recbole_cold.report._intervals import Known

SMALLEST_EFFECT = 0.002
"""Of AUC, where a document does not say; see :func:`smallest_within`."""
FEWEST_SEEDS = 5
SIGN = "+"
"""Marks a real gain in every table. No other sign does, and it marks nothing else."""

TOO_FEW = "too few seeds"
NO_SCORES = "no scores kept"
WORSE_WITHIN = "worse within {unit}s"
UNKNOWN_WITHIN = "nothing known within {unit}s"


class Against(NamedTuple):
    """What is known of a row's distance to one reference row in one phase.

    Attributes:
        name: the reference row.
        difference: of AUC, mean over the seeds that both rows have; nan without any.
        seeds: how many these are.
        auc: the wider of the intervals over items and users; None where no scores were kept.
        within: the same for AUC within items; None also where it is not asked for.
    """

    name: str
    difference: float
    seeds: int
    auc: Known | None = None
    within: Known | None = None


class Claim(NamedTuple):
    """Whether a row's gain in one phase is real.

    Attributes:
        real: whether it is.
        reason: the condition that failed first, in plain words; '' where none did.
        nearest: of the reference rows the one that the row is least surely above; None if unknown.
    """

    real: bool
    reason: str
    nearest: Against | None


def smallest_within(smallest: float) -> float:
    """The smallest effect within items: half of that of pooled AUC, which has more to gain."""
    return smallest / 2


def claim(
    against: Sequence[Against],
    missing: Sequence[str] = (),
    smallest: float = SMALLEST_EFFECT,
    fewest: int = FEWEST_SEEDS,
    unit: str = "item",
) -> Claim:
    """The claim of one row in one phase.

    Args:
        against: what is known against each reference row that the table has.
        missing: reference rows that the table lacks.
        smallest: the smallest effect of interest, in AUC.
        fewest: seeds that a claim needs.
        unit: what is new: ``item`` or ``user``.
    """
    nearest = min(against, key=_surely, default=None)
    reason = _first_failure(against, missing, smallest, fewest, unit)
    return Claim(not reason, reason, nearest)


def _first_failure(
    against: Sequence[Against], missing: Sequence[str], smallest: float, fewest: int, unit: str
) -> str:
    for name in missing:
        return f"no row of {name}"
    if any(max(1, fewest) > one.seeds for one in against):
        return TOO_FEW
    for one in sorted(against, key=lambda one: one.difference):
        if not one.difference > 0:
            return f"not above {one.name}"
        if not one.difference > smallest:
            return f"less than {smallest:g} above {one.name}"
    if any(one.auc is None for one in against):
        return NO_SCORES
    for one in sorted(against, key=_surely):
        if one.auc is not None and not one.auc.low > smallest:
            over = f"the interval over {one.auc.by}s includes {smallest:g}"
            return f"above {one.name}, but {over}"
    within = [one.within for one in against if one.within is not None]
    if not within:
        return UNKNOWN_WITHIN.format(unit=unit)
    return WORSE_WITHIN.format(unit=unit) if any(one.high < 0 for one in within) else ""


def _surely(one: Against) -> float:
    """How far the row is above at least; without an interval, how far it seems to be."""
    if one.auc is not None:
        return one.auc.low
    return one.difference if math.isfinite(one.difference) else -math.inf
