"""The settings of a sweep as a table and as CSV."""

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_cold import report
from recbole_cold.kinds import text_of


def trials_csv(document: Mapping[str, Any]) -> str:
    """One line per trial: setting, seed, status, value, every phase and metric, seconds."""
    axes = [axis["key"] for axis in document["space"]]
    columns = [
        (phase, metric)
        for phase in document["phases"]
        for metric in dict.fromkeys(
            name for trial in document["trials"] for name in trial["phases"].get(phase, {})
        )
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["key", "setting", *axes, "seed", "status", "value"]
        + [f"{phase} {metric}" for phase, metric in columns]
        + ["seconds", "error"]
    )
    for trial in document["trials"]:
        cells = [trial["phases"].get(phase, {}).get(metric) for phase, metric in columns]
        writer.writerow(
            [trial["key"], trial["setting"]]
            + [_cell(trial["params"][key]) for key in axes]
            + [trial["seed"], trial["status"], _cell(trial["value"])]
            + [_cell(cell) for cell in cells]
            + [_cell(trial["seconds"]), _cell(trial["error"])]
        )
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def settings_table(document: Mapping[str, Any]) -> str:
    """Settings from the best down: value with deviation over seeds, and every phase."""
    selection = document["selection"]
    axes = [axis["key"] for axis in document["space"]]
    lower, total = selection["better"] == "lower", len(document["seeds"])
    head = [*axes, f"{selection['metric']} ({selection['select_on']})", *document["phases"], ""]
    lines = []
    for number, each in enumerate(document["settings"]):
        value = "-" if not each["n"] else f"{each['mean']:.4f}"
        if each["n"] > 1:
            value += f" ± {each['std']:.4f}"
        note = "best" if each["params"] == (document["best"] or {}).get("params") else ""
        if each["n"] < total:
            note = f"{each['n']} of {total} seeds"
        order = (each["n"] < total, each["mean"] if lower else -each["mean"], number)
        cells = [
            f"{each['phases'][phase]:.4f}" if phase in each["phases"] else "-"
            for phase in document["phases"]
        ]
        params = [text_of(each["params"][key]) for key in axes]
        lines.append((order, [*params, value, *cells, note]))
    grid = [head, *(cells for _, cells in sorted(lines, key=lambda line: line[0]))]
    sizes = [max(len(row[column]) for row in grid) for column in range(len(head))]
    text = [
        "  ".join(
            cell.ljust(size) if column < len(axes) or column == len(head) - 1 else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ).rstrip()
        for row in grid
    ]
    title = (
        f"{document['dataset']}, {document['model']} on {document['backbone']}: "
        f"{len(document['settings'])} settings x {total} seed{'s' * (total > 1)}, scored on "
        "pseudo-new items of the training part"
    )
    failed = sum(trial["status"] == "failed" for trial in document["trials"])
    early = sum(trial["status"] == "stopped" for trial in document["trials"])
    told = [f"{failed} of {len(document['trials'])} trials failed"] if failed else []
    told += [f"{early} trials were stopped early"] if early else []
    return "\n".join([title, "", *text, *told])


def sweep_table(document: Mapping[str, Any], folder: Path) -> str:
    """The settings from the best down, then the table of the final run that ``folder`` holds."""
    parts = [settings_table(document)]
    if document["final"]:
        final = report.load(folder / document["final"])
        parts.append("the best setting, fitted on all old items, on test\n\n" + report.table(final))
    return "\n\n".join(parts) + "\n"
