"""What an optimizer step costs before and after a change: this checkout against another one.

A process for each method and checkout; the two take turns. Both take the same batches from the same
start, so what they score afterwards tells whether they compute the same.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch

from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks._steps import STAGES
from benchmarks.learning import every_method

HERE = Path(__file__).resolve().parents[1]
PROGRAM = Path(__file__).with_name("_one_side.py")
# Batches of each fit that are used, and how many of them come before the clock counts.
BATCHES, UNTIMED = 24, 8


def run_once(options: Options, checkout: Path, model: str, scores: Path) -> dict[str, float | None]:
    """CPU ms of an optimizer step by stage, of one method with the code of ``checkout``."""
    if options.data_path is not None:
        options = replace(options, data_path=str(Path(options.data_path).resolve()))
    asked = {
        "checkout": str(checkout),
        "options": asdict(options),
        "model": model,
        "scores": str(scores),
        "batches": BATCHES,
        "untimed": UNTIMED,
    }
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), json.dumps(asked)],
        env={**os.environ, **one_thread},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{model} failed with the code of '{checkout}':\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: Options) -> Table:
    """A row per method: ms of a step in each stage before and after, ratios, and what differs."""
    assert options.against is not None
    sides = [Path(options.against).resolve(), HERE]
    rows, agreement = [], {}
    for name in options.models or every_method():
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / side for side in ("before.pt", "after.pt")]
            turns = [
                [run_once(options, side, name, file)
                 for side, file in zip(sides, files, strict=True)]
                for _ in range(options.repeats)
            ]  # fmt: skip
            before, after = (torch.load(file) for file in files)
        agreement[name] = common.largest_difference([before], [after])
        cells: list[float | str] = []
        for stage in STAGES:
            pairs = [[side[stage] for side in turn] for turn in turns]
            if any(ms is None for ms in pairs[0]):
                cells += ["", "", ""]
                continue
            was, now = (min(column) for column in zip(*pairs, strict=True))
            cells += [round(was, 2), round(now, 2), round(now / was, 2)]
        rows.append([name, *cells, f"{agreement[name]:.1e}"])
    return Table(
        f"A training step before and after, {options.dataset}: CPU ms",
        ["method", *(f"{stage}, {what}" for stage in STAGES
                     for what in ("before", "after", "ratio")), "scores apart"],
        rows,
        [],
        agreement,
        [
            f"Before: the checkout named by `--against`{_commit(sides[0])}. The median of "
            f"{BATCHES - UNTIMED} batches of each fit and the mean of the fits, the least of "
            f"{options.repeats} turns.",
            "Scores of `test` after these steps: rounding, and what Adam makes of it.",
        ],
    )  # fmt: skip


def _commit(checkout: Path) -> str:
    found = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return f", commit {found.stdout.strip()}" if found.returncode == 0 else ""
