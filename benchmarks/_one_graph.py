"""One graph in a process of its own: ``python _one_graph.py '<request as JSON>'`` prints figures.

A generated catalogue with four attributes; every item is asked for its ten best old neighbours.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np


def cpu_so_far() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def zipf(rng: np.random.Generator, values: int, power: float, n_items: int) -> np.ndarray:
    """Codes from 1, the first ones the most frequent."""
    share = 1.0 / np.arange(1, values + 1) ** power
    return 1 + rng.choice(values, n_items, p=share / share.sum()).astype(np.int32)


def catalogue(kind: str, n_items: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Columns of attributes, which half of the items is old, and rows of each item."""
    rng = np.random.default_rng(0)
    if kind == "one value":  # every attribute says the same of all items
        columns = [np.ones(n_items, np.int32) for _ in range(4)]
    else:  # category, brand, year, colour
        columns = [
            zipf(rng, 1000, 0.8, n_items),
            zipf(rng, 50_000, 1.0, n_items),
            rng.integers(1, 51, n_items, dtype=np.int32),
            zipf(rng, 12, 0.5, n_items),
        ]
    old = np.sort(rng.permutation(n_items)[: n_items // 2])
    return columns, old, rng.poisson(50, n_items)


def main(asked: dict) -> dict:
    """CPU seconds, memory above the catalogue, and a sum over the neighbours found."""
    from recbole_cold.model import _gme_neighbours as _graph
    from recbole_cold.training.meter import peak_memory_mb

    columns, old, counts = catalogue(asked["kind"], asked["items"])
    if asked["plain"]:
        _graph._PAIRS = 2**62  # everything is multiplied out
    before, start = peak_memory_mb(), cpu_so_far()
    has = _graph.attribute_matrix(columns, asked["items"])
    found = _graph.neighbours(has, old, counts, 10)
    seconds = cpu_so_far() - start
    position = np.arange(1, found.index_nk.size + 1).reshape(found.index_nk.shape)
    return {
        "cpu_seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "above_mb": peak_memory_mb() - before,
        "neighbours": int(found.mask_nk.sum()),
        # Who is whose neighbour at which place, in one number.
        "sum": int((found.index_nk.astype(np.int64) * found.mask_nk * position).sum() % 2**53),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(json.dumps(main(json.loads(sys.argv[1]))))
