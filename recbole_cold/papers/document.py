"""The reproduction's document: numbers of a comparison beside those of the paper."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_cold import keys, report
from recbole_cold.papers.files import Numbers, PaperItem, PaperRow
from recbole_cold.papers.requests import Part, ReproduceRequest, fast_settings, label_of

Document = dict[str, Any]


def merged(documents: Sequence[Mapping[str, Any]], parts: Sequence[Part]) -> Document:
    """One comparison of all parts, which stand on a backbone each, or on none."""
    pairs = list(zip(documents, parts, strict=True))
    rows = dict.fromkeys(row for document, _ in pairs for row in document["rows"])
    return {
        **documents[0],
        "rows": list(rows),
        "alone": [row for document, part in pairs for row in document["rows"] if part.own],
        "backbones": [part.backbone for part in parts],
        "ran": sum(document["ran"] for document in documents),
        "reused": sum(document["reused"] for document in documents),
        "failures": [each for document in documents for each in document["failures"]],
        "documents": [
            {**inner, "backbone_label": part.backbone}
            for document, part in pairs
            for inner in document["documents"]
        ],
    }


def reproduction(
    request: ReproduceRequest, parts: Sequence[Part], comparison: Mapping[str, Any]
) -> Document:
    """The document that ``reproduce.json`` holds.

    Args:
        comparison: what ``merged`` gives.
    """
    item = request.paper_item()
    shown = report.Comparison(dict(comparison))
    first = comparison["documents"][0]
    data = item.data.get(request.dataset)
    groups = {(row.block, row.name): part.backbone for part in parts for row in part.rows}
    rows = [
        _row(row, groups.get((row.block, row.name), ""), shown, item, request.dataset)
        for row in item.rows
    ]
    known = {(row["group"], row["label"]) for row in rows}
    rows += [
        _extra(shown, group, run["label"], first["metrics"])
        for group, doc in shown.by_backbone.items()
        for run in doc["runs"]
        if (group, run["label"]) not in known
    ]
    return {
        "schema": report.SCHEMA,
        "command": request.command,
        "created": report.now(),
        "name": item.name,
        "title": item.title,
        "item": item.item,
        "paper": dict(item.paper),
        "shows": item.shows,
        "dataset": request.dataset,
        "called": data.called if data is not None else request.dataset,
        "protocol": first["protocol"],
        "counts": dict(first["split"].get("counts", {})),
        "seeds": list(comparison["seeds"]),
        "published_seeds": item.seeds,
        "metrics": [name for name in first["metrics"] if name in shown.metrics],
        "phases": list(first["phases"]),
        "forms": list(item.forms),
        "fast": fast_settings(request),
        "overrides": dict(request.overrides),
        "marks": marks(request, item, first, comparison["seeds"]),
        "notes": list(item.notes),
        "failures": list(comparison["failures"]),
        "rows": rows,
    }


def marks(
    request: ReproduceRequest, item: PaperItem, document: Mapping[str, Any], seeds: Sequence[int]
) -> dict[str, str]:
    """What the data and settings at hand leave open, a sentence per letter."""
    data, found = item.data.get(request.dataset), {}
    if data is None:
        called = ", ".join(each.called for each in item.data.values())
        found["d"] = (
            f"the paper has no numbers for {request.dataset}, only for {called}; ours stand alone"
        )
    elif data.counts:
        ours = document["split"].get("counts", {})
        other = [
            f"{name} {ours.get(name, 0):,} rows here, {rows:,} there"
            for name, rows in data.counts.items()
            if ours.get(name) != rows
        ]
        found["s"] = (
            f"another split than the paper's: {'; '.join(other)}"
            if other
            else "the split has the published numbers of rows; which rows they are cannot be told"
        )
    else:
        found["s"] = "whether the split is the paper's cannot be told: its counts are not at hand"
    if item.seeds is None:
        found["n"] = f"{len(seeds)} seeds here; the paper does not say how many"
    elif len(seeds) != item.seeds:
        found["n"] = f"{len(seeds)} seeds here, {item.seeds} runs in the paper"
    if request.fast:
        found["f"] = "a fast run: NOT COMPARABLE with the paper"
    changed = {key: value for key, value in request.overrides.items() if key in _counts(request)}
    if changed:
        told = ", ".join(f"{key}={value}" for key, value in changed.items())
        found["k"] = f"other settings than the file's: {told}"
    if any(row.doubt for row in item.rows):
        found["v"] = "the paper leaves open what this row is; what stands for it here:"
    return found


def _counts(request: ReproduceRequest) -> set[str]:
    """The overrides that change a number: not where a run happens, nor what is shown of it."""
    idle = keys.names(without=[keys.COLUMNS, keys.DATA, keys.SPLIT, keys.PRETRAINING, keys.SCORES])
    return set(request.overrides) - idle


def _row(
    row: PaperRow, group: str, shown: report.Comparison, item: PaperItem, dataset: str
) -> Document:
    label = label_of(row) if row.model is not None else ""
    cells: dict[str, dict[str, Any]] = {}
    missing = "not run yet or failed" if row.model is not None else None
    for metric in shown.metrics:
        for phase in shown.phases:
            ours = _ours(shown, metric, (group, label, phase))
            theirs = published(row.published, dataset, metric, phase, item)
            spread = published(row.std, dataset, metric, phase, item)
            if ours["seeds"]:
                missing = None
            elif theirs is None:
                continue
            cells.setdefault(metric, {})[phase] = {
                **ours,
                "published": theirs,
                "published_std": spread,
                "difference": difference(ours["ours"], theirs),
            }
    return {
        "block": row.block, "name": row.name, "model": row.model, "label": label, "group": group,
        "backbone": row.backbone, "absent": row.absent, "at": row.at, "doubt": row.doubt,
        "missing": missing, "cells": cells,
    }  # fmt: skip


def _ours(shown: report.Comparison, metric: str, key: tuple[str, str, str]) -> dict[str, Any]:
    """Our half of a cell: backbone, row and phase in one metric's table."""
    cell = shown.cells(metric).get(key)
    error = shown.auc_error(key) if metric == "AUC" else math.nan
    return {
        "ours": cell.row.mean if cell is not None else None,
        "std": cell.row.std if cell is not None and cell.row.n > 1 else None,
        "error": None if math.isnan(error) else error,
        "seeds": cell.row.n if cell is not None else 0,
        "unadapted": cell is not None and cell.row.unadapted,
    }


def _extra(shown: report.Comparison, group: str, label: str, metrics: Sequence[str]) -> Document:
    """A row of ours that the paper does not have: the plain backbone at equal steps, say."""
    cells: dict[str, dict[str, Any]] = {}
    for metric in metrics:
        for phase in shown.phases:
            found = _ours(shown, metric, (group, label, phase))
            if found["seeds"]:
                cells.setdefault(metric, {})[phase] = found
    return {
        "block": "not in the paper", "name": f"{label} on {group}", "model": label, "label": label,
        "group": group, "backbone": group, "absent": None, "at": None, "doubt": None,
        "missing": None, "extra": True, "cells": cells,
    }  # fmt: skip


def published(
    numbers: Numbers | None, dataset: str, metric: str, phase: str, item: PaperItem
) -> float | None:
    """The paper's number in one place; None where it has none or it is not at hand."""
    values = (numbers or {}).get(dataset, {}).get(metric)
    if values is None or phase not in item.phases:
        return None
    return values[item.phases.index(phase)]


def difference(ours: float | None, theirs: float | None) -> float | None:
    """Ours minus theirs, where both are there."""
    return None if ours is None or theirs is None else ours - theirs
