"""A comparison as CSV: everything that is known of every cell, with all digits."""

import csv
import io
import math
from typing import Any

from recbole_cold.evaluation.metrics import COMPARISONS
from recbole_cold.evaluation.significance import t_test
from recbole_cold.report._comparison import ITEM_BIAS, MATCHED, Cell, Comparison, Key
from recbole_cold.report._intervals import widest
from recbole_cold.report._statistics import cost_figures, paired_values
from recbole_cold.report._warm_up_area import WarmUp, warm_up

_REFERENCES = {"base": "Base", "matched": MATCHED, "item_bias": ITEM_BIAS}

CSV_COLUMNS = (
    "dataset", "protocol", "backbone", "method", "phase", "metric", "mean", "std", "seeds",
    "seeds_wanted", "rows", "items", "positives", "place", "claim", "against", "difference",
    "t", "t_low", "t_high", "p", "p_holm", "p_wilcoxon", "p_wilcoxon_holm",
    *(f"{name}_{what}" for name in _REFERENCES
      for what in ("difference", "item_low", "item_high", "user_low", "user_high")),
    "warm_up_area", "warm_up_area_std", "warm_up_log_area", "rows_to_reach_item_bias",
    "matched_steps", "pretrain_seconds", "learn_seconds", "warm_seconds",
    "cpu_seconds", "steps_per_warm_phase", "parameters_backbone", "parameters_method",
)  # fmt: skip
"""``<reference>_difference`` is the mean over seeds of row minus reference; its limits are those of
the 95 % intervals over items and over users. ``claim``: ``real``, or why not, in the lines of AUC.
"""


def comparison_csv(comparison: Comparison) -> str:
    """One line per backbone, method, phase and metric, with all digits; what is unknown is empty.

    Cells that were asked for and are missing have a line without values.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for metric in comparison.metrics:
        cells, curves = comparison.cells(metric), warm_up(comparison, metric)
        for backbone in comparison.backbones:
            for row in comparison.rows_of(backbone):
                whole = _csv_costs(comparison, backbone, row)
                whole |= _csv_warm_up(curves.get((backbone, row)))
                for phase in comparison.phases:
                    cell = cells.get((backbone, row, phase))
                    place = {"backbone": backbone, "method": row, "phase": phase, "metric": metric}
                    values = {**place, **_csv_cell(comparison, cell), **whole}
                    if cell is not None:
                        key = (backbone, row, phase)
                        values |= _csv_scored(comparison, key)
                        values |= _csv_references(comparison, key, metric)
                    writer.writerow({key: _blank_nan(value) for key, value in values.items()})
    return buffer.getvalue()


def _csv_cell(comparison: Comparison, cell: Cell | None) -> dict[str, Any]:
    doc = comparison.document["documents"][0]
    known: dict[str, Any] = {
        "dataset": doc["dataset"],
        "protocol": doc["protocol"],
        "seeds": 0,
        "seeds_wanted": len(comparison.seeds),
    }
    if cell is None:
        return known
    known |= {"mean": cell.row.mean, "std": cell.row.std, "seeds": cell.row.n}
    known |= {"place": cell.place or None, "against": comparison.against}
    if cell.test is not None:
        known |= {
            "difference": cell.test.difference,
            "t": cell.test.statistic,
            "t_low": cell.test.difference - cell.test.half,
            "t_high": cell.test.difference + cell.test.half,
            "p": cell.test.p_value,
            "p_holm": cell.p_holm,
            "p_wilcoxon": cell.wilcoxon,
            "p_wilcoxon_holm": cell.wilcoxon_holm,
        }
    return known


def _csv_scored(comparison: Comparison, key: Key) -> dict[str, Any]:
    """Rows, items and clicks that a phase was scored on, means over the seeds where they differ."""
    run = comparison.run(key[0], key[1]) or {"seeds": []}
    phases = [seed["phases"][key[2]] for seed in run["seeds"] if key[2] in seed["phases"]]
    items = [found["groups"]["WithinAUC"]["of"] for found in phases
             if "WithinAUC" in found.get("groups", {})]  # fmt: skip
    return {
        "rows": _mean([phase["rows"] for phase in phases]),
        "items": _mean(items),
        "positives": _mean([phase["positives"] for phase in phases]),
    }


def _mean(counts: list[int]) -> float | int | None:
    if not counts:
        return None
    mean = sum(counts) / len(counts)
    return int(mean) if mean == int(mean) else mean


def _csv_references(comparison: Comparison, key: Key, metric: str) -> dict[str, Any]:
    """Differences to the reference rows, the claim that follows from them in the lines of AUC."""
    known: dict[str, Any] = {}
    if metric in COMPARISONS:
        return known
    rows = comparison.references(key[0])
    for short, name in _REFERENCES.items():
        row = rows.get(name)
        if row is None or row == key[1]:
            continue
        pairs = paired_values(comparison.by_backbone[key[0]], key[1], row, key[2], metric)
        known[f"{short}_difference"] = t_test(*pairs).difference
        for by in ("item", "user"):
            interval = widest([i for i in comparison.intervals(key, row, metric) if i.by == by])
            if interval is not None:
                known[f"{short}_{by}_low"] = interval.low
                known[f"{short}_{by}_high"] = interval.high
    claim = comparison.claims().get(key) if metric == "AUC" else None
    if claim is not None:
        known["claim"] = "real" if claim.real else claim.reason
    return known


def _csv_warm_up(known: WarmUp | None) -> dict[str, Any]:
    if known is None:
        return {}
    return {
        "warm_up_area": known.area,
        "warm_up_area_std": known.area_std,
        "warm_up_log_area": known.log_area,
        "rows_to_reach_item_bias": "never" if math.isinf(known.reach) else known.reach,
    }


def _csv_costs(comparison: Comparison, backbone: str, row: str) -> dict[str, Any]:
    run = comparison.run(backbone, row)
    if run is None:
        return {}
    costs = cost_figures(run)
    return {
        "matched_steps": run.get("matched_steps"),
        "pretrain_seconds": costs["pretrain"],
        "learn_seconds": costs["learn"],
        "warm_seconds": costs["warm"],
        "cpu_seconds": costs["cpu"],
        "steps_per_warm_phase": costs["phase_steps"],
        "parameters_backbone": run["parameters"].get("backbone"),
        "parameters_method": run["parameters"].get("method"),
    }


def _blank_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
