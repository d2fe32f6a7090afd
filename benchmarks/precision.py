"""The AUC that ``precision: bf16`` costs: whole runs in either precision, seed by seed.

    python benchmarks/precision.py --data_path=../shared/data --seeds=3

On a processor without units for bfloat16 torch multiplies it thirty times as slowly as float32, so
its products are taken here in float32 and then rounded. That is what a card does: factors in
bfloat16, sums in float32, the result in bfloat16. Nothing here says how fast a card would be.
"""

import argparse
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


def scores_of(precision: str, model: str, seeds: int, folder: str, **keys: Any) -> dict[str, list]:
    """AUC of every seed by phase; pre-trained backbones stay in ``folder``."""
    keys |= {"cache_dir": folder, "saved_dir": None, "precision": precision}
    (run,) = recbole_cold.run(model, seeds=seeds, **BARE, **keys).document["runs"]
    return {
        phase: [each["phases"][phase]["metrics"]["AUC"] for each in run["seeds"]]
        for phase in run["seeds"][0]["phases"]
    }


def row(label: str, float32: dict[str, list], bf16: dict[str, list]) -> str:
    """AUC of bf16 less that of float32, mean and deviation over seeds; in brackets that of float32.

    A line of a table in Markdown.
    """
    cells = []
    for phase, found in float32.items():
        apart = [b - a for a, b in zip(found, bf16[phase], strict=True)]
        spread = f" ± {statistics.stdev(apart):.5f}" if len(apart) > 1 else ""
        cells.append(f"{statistics.mean(apart):+.5f}{spread} ({statistics.mean(found):.4f})")
    return f"| {label} | " + " | ".join(cells) + " |"


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_path", help="folder above ml-1m/; without it: ml-100k")
    parser.add_argument("--models", default="Base,MWUF,CVAR,MetaE")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args(words)
    keys = {"dataset": "ml-1m" if asked.data_path else "ml-100k"}
    if asked.data_path:
        keys["data_path"] = asked.data_path
    with tempfile.TemporaryDirectory() as folder:
        for model in asked.models.split(","):
            plain = scores_of("float32", model, asked.seeds, folder, **keys)
            with Rounded() as products:
                narrow = scores_of("bf16", model, asked.seeds, folder, **keys)
            print(row(model, plain, narrow), flush=True)
            print(f"{products.count:,} products in bfloat16", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
