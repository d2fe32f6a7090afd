"""GME's graph of old neighbours on generated catalogues: seconds and peak memory by size.

The plain product ``A A^T``, which looks at every pair that shares a value, runs beside it on the
smallest catalogue, where it can.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks._common import Options, Table

PROGRAM = Path(__file__).with_name("_one_graph.py")


def run_once(kind: str, items: int, plain: bool = False) -> dict:
    """The figures of one graph in a fresh process."""
    asked = json.dumps({"kind": kind, "items": items, "plain": plain})
    done = subprocess.run(
        [sys.executable, str(PROGRAM), asked],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the graph of {items} items failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def best_of(repeats: int, **asked) -> dict:
    several = [run_once(**asked) for _ in range(repeats)]
    return min(several, key=lambda figures: figures["cpu_seconds"])


def measure(options: Options) -> Table:
    """Catalogues of three sizes, each ten times the one before (``--full``: up to a million)."""
    small, middle, large = options.catalogue if options.full else options.small_catalogue
    asked = {
        f"{small:,} items": {"kind": "mixed", "items": small},
        f"{small:,} items, plain product": {"kind": "mixed", "items": small, "plain": True},
        f"{middle:,} items": {"kind": "mixed", "items": middle},
        f"{large:,} items": {"kind": "mixed", "items": large},
        f"{large:,} items, all attributes alike": {"kind": "one value", "items": large},
    }
    repeats = min(options.repeats, 2)
    figures = {name: best_of(repeats, **words) for name, words in asked.items()}
    table = Table(
        f"Neighbours of {large:,} items with 4 attributes",
        ["catalogue", "CPU s", "µs an item", "peak MB", "MB above the catalogue", "bytes an item"],
        [],
    )
    for name, found in figures.items():
        items = asked[name]["items"]
        table.rows.append(
            [
                name,
                round(found["cpu_seconds"], 2),
                round(1e6 * found["cpu_seconds"] / items, 1),
                round(found["peak_memory_mb"]),
                round(found["above_mb"]),
                round(2**20 * found["above_mb"] / items),
            ]
        )
    ours, plain, tenth, whole, _ = figures.values()
    grown = large / middle
    table.claims = [
        (f"{grown:g} times the items, times the seconds", whole["cpu_seconds"]
         / tenth["cpu_seconds"], 1.5 * grown, "<="),
        (f"{grown:g} times the items, times the memory", whole["above_mb"]
         / max(tenth["above_mb"], 1.0), 1.5 * grown, "<="),
    ]  # fmt: skip
    table.agreement = {"neighbours of the plain product": float(abs(ours["sum"] - plain["sum"]))}
    table.notes = [
        "Category (1,000 values), brand (50,000), colour (12), each with few frequent and many "
        "rare values, and year (50). Half of the items are old; all are asked for ten neighbours.",
        "A quadratic step would take a hundred times as long for ten times the items.",
    ]
    return table
