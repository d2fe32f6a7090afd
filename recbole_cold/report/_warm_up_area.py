"""Figures of a row over all its phases: area under the warm-up curve, rows to reach the yardstick.

The warm-up curve is a metric against the number n of rows that were seen of each new item: 0 in the
cold phase, K, 2K, 3K after the warm-up sets. Between phases it is taken as straight.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from recbole_cold.evaluation.metrics import COMPARISONS, cost
from recbole_cold.report._comparison import Comparison
from recbole_cold.report._document import Document
from recbole_cold.report._statistics import phase_values


class WarmUp(NamedTuple):
    """The curve of one row as numbers; nan where unknown.

    Attributes:
        area: mean of the metric over the rows seen, from none to all; mean over the seeds.
        area_std: sample deviation of it over the seeds.
        log_area: the same over log2(1 + n), which weighs an item's first rows.
        reach: rows of an item after which the row is as good as ItemBias is after all of them; inf
            where it never is, nan where there is no such row.
        seeds: seeds with a value in every phase.
    """

    area: float
    area_std: float
    log_area: float
    reach: float
    seeds: int


def rows_seen(doc: Document) -> list[float] | None:
    """Rows seen of a new item in each phase, on average; None where the split does not say.

    In the warm-up sets every item has the same number, in common phases nearly.
    """
    split = doc["split"]
    counts, new = split.get("counts", {}), split.get("new")
    learned = {phase[0]: phase[1] for phase in split.get("phases", []) if len(phase) > 1}
    parts = [learned.get(name, name) for name in doc["phases"][1:]]
    if not new or not parts or not all(part in counts for part in parts):
        return None
    return [0.0, *accumulate(counts[part] / new for part in parts)]


def area(n: Sequence[float], values: Sequence[float]) -> float:
    """Mean height of the curve of ``values`` over ``n``, by trapezoids; ``n`` ascends from 0."""
    curve = pairwise(zip(n, values, strict=True))
    total = sum((right - left) * (low + high) / 2 for (left, low), (right, high) in curve)
    return total / (n[-1] - n[0])


def log_area(n: Sequence[float], values: Sequence[float]) -> float:
    """The same over log2(1 + n): the step from no row to one counts like that from 1 to 3."""
    return area([math.log2(1 + rows) for rows in n], values)


def rows_to_reach(n: Sequence[float], costs: Sequence[float], goal: float) -> float:
    """The smallest number of rows at which the curve is at ``goal`` or better; inf if it never is.

    Args:
        costs: values of the metric, turned so that lower is better; so is ``goal``.
    """
    if costs[0] <= goal:
        return n[0]
    for (left, before), (right, after) in pairwise(zip(n, costs, strict=True)):
        if after <= goal:
            return left + (right - left) * (before - goal) / (before - after)
    return math.inf


def warm_up(comparison: Comparison, metric: str) -> dict[tuple[str, str], WarmUp]:
    """The figures of every row by backbone and label; empty where the rows seen are not known."""
    if metric in COMPARISONS or metric not in comparison.metrics:
        return {}
    found = {}
    for backbone, doc in comparison.by_backbone.items():
        n = rows_seen(doc)
        if n is None:
            continue
        curves = {run["label"]: _curves(doc, run, metric) for run in doc["runs"]}
        yardstick = curves.get(comparison.references(backbone)["ItemBias"] or "", [])
        goal = cost(metric, _means(yardstick)[-1]) if yardstick else math.nan
        for label, each in curves.items():
            if each:
                found[backbone, label] = _figures(n, each, metric, goal)
    return found


def _curves(doc: Document, run: Mapping[str, Any], metric: str) -> list[list[float]]:
    """The values of all phases for each seed that has all of them."""
    by_phase = [phase_values(doc, run, phase, metric) for phase in doc["phases"]]
    whole = set.intersection(*(set(values) for values in by_phase))
    return [[values[seed] for values in by_phase] for seed in sorted(whole)]


def _means(curves: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(values) for values in zip(*curves, strict=True)]


def _figures(
    n: Sequence[float], curves: Sequence[Sequence[float]], metric: str, goal: float
) -> WarmUp:
    areas = [area(n, curve) for curve in curves]
    mean = _means(curves)
    reach = math.nan
    if not math.isnan(goal):
        reach = rows_to_reach(n, [cost(metric, value) for value in mean], goal)
    return WarmUp(
        statistics.fmean(areas),
        statistics.stdev(areas) if len(areas) > 1 else math.nan,
        log_area(n, mean),
        reach,
        len(areas),
    )
