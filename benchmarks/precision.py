"""The AUC that ``precision: bf16`` costs: whole runs in either precision, seed by seed.

    python benchmarks/precision.py --data_path=../shared/data --seeds=3

On a processor without units for bfloat16 torch multiplies it thirty times as slowly as float32, so
its products are taken here in float32 and then rounded. That is what a card does: factors in
bfloat16, sums in float32, the result in bfloat16. Nothing here says how fast a card would be.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # the script's folder would make modules importable under a second name
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]
    sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import recbole_cold  # noqa: E402

# Of matrices, as torch calls them once shapes are settled.
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot"}
# What a run needs for nothing but its metrics.
BARE = {
    "metrics": ["AUC"], "bootstrap_resamples": 0, "keep_scores": False, "keep_model": False,
    "matched_row": False, "reference_rows": [], "show_progress": False, "device": "cpu",
}  # fmt: skip


class Rounded(TorchDispatchMode):
    """Products of bfloat16 by those of float32, rounded once; how many there were in ``count``."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in PRODUCTS and args[0].dtype == torch.bfloat16:
            self.count += 1
            wide = [each.float() if isinstance(each, torch.Tensor) else each for each in args]
            return func(*wide, **(kwargs or {})).bfloat16()
        return func(*args, **(kwargs or {}))


def scores_of(precision: str, models: str, seeds: int, **keys: Any) -> dict[str, dict[str, list]]:
    """AUC of every seed by method and phase."""
    with tempfile.TemporaryDirectory() as folder:
        cache = {"cache_dir": folder, "saved_dir": None}
        results = recbole_cold.run(
            models, seeds=seeds, precision=precision, **BARE, **cache, **keys
        )
        return {
            run["label"]: {
                phase: [each["phases"][phase]["metrics"]["AUC"] for each in run["seeds"]]
                for phase in run["seeds"][0]["phases"]
            }
            for run in results.document["runs"]
        }


def table(float32: dict[str, dict[str, list]], bf16: dict[str, dict[str, list]]) -> str:
    """AUC of bf16 less that of float32, mean and deviation over seeds; below it that of float32."""
    phases = list(next(iter(float32.values())))
    lines = ["| | " + " | ".join(phases) + " |", "|---" * (len(phases) + 1) + "|"]
    for label, found in float32.items():
        cells = []
        for phase in phases:
            apart = [b - a for a, b in zip(found[phase], bf16[label][phase], strict=True)]
            spread = statistics.stdev(apart) if len(apart) > 1 else float("nan")
            mean = statistics.mean(found[phase])
            cells.append(f"{statistics.mean(apart):+.5f} ± {spread:.5f} ({mean:.4f})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", help="folder above ml-1m/; without it: ml-100k")
    parser.add_argument("--models", default="Base,MWUF,MetaE,CVAR")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    keys = {"dataset": "ml-1m" if asked.data_path else "ml-100k"}
    if asked.data_path:
        keys["data_path"] = asked.data_path
    float32 = scores_of("float32", asked.models, asked.seeds, **keys)
    with Rounded() as products:
        bf16 = scores_of("bf16", asked.models, asked.seeds, **keys)
    print(json.dumps({"float32": float32, "bf16": bf16}))
    print(f"{products.count:,} products in bfloat16")
    print(table(float32, bf16))


if __name__ == "__main__":
    main()
