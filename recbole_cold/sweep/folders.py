"""Reads and writes the files of a sweep."""

import json
import math
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from recbole_cold import report
from recbole_cold.errors import UserError
from recbole_cold.store import write_bytes
from recbole_cold.sweep.tables import trials_csv


def one_line_per_key(values: Mapping[str, Any]) -> str:
    """One line per key."""
    lines = []
    for key, value in values.items():
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
        lines.append(f"{key}: {text.strip().removesuffix('...').strip()}\n")
    return "".join(lines)


def move_aside(folder: Path) -> None:
    for number in count(1):
        target = folder.with_name(f"{folder.name}-before-{number}")
        if not target.exists():
            folder.rename(target)
            return


def read_sweep(folder: Path) -> dict[str, Any]:
    """The ``sweep.json`` of a folder; null is nan again.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / "sweep.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        for each in [*document["settings"], *filter(None, [document["best"]])]:
            for key in ("mean", "std"):
                each[key] = math.nan if each[key] is None else each[key]
        return document
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' cannot be read ({error}); resume the sweep") from error


def write_files(document: Mapping[str, Any], folder: Path) -> None:
    """``sweep.json``, ``trials.csv`` and, once a trial is done, the picture."""
    report.write_json(folder / "sweep.json", document)
    write_bytes(folder / "trials.csv", trials_csv(document).encode())
    if any(trial["status"] == "done" for trial in document["trials"]):
        report.plot_sweep(document, folder / "figures" / "sweep.png")
