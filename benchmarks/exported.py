"""The exported scorer on one core, against the kept model that it is of."""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks._kept import kept_run, rows_of
from recbole_cold.serving.export import export
from recbole_cold.serving.fitted import load
from recbole_cold.serving.frames import as_table
from recbole_cold.serving.graph import VECTOR, WEIGHT

SIZES = (1, 100, 1000)
CALLS = {1: 300, 100: 100, 1000: 30}  # in one measurement, so that the clock's steps are small
ONNX, PT2, TORCH = "onnxruntime", "scorer.pt2", "Fitted.scored"
LIMIT_MS = {1: 0.3, 1000: 6.0}


def scorer(folder: Path, kind: str):
    """The reader that lies beside an exported file."""
    spec = importlib.util.spec_from_file_location(f"score_{kind}", folder / f"score_{kind}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Scorer(folder)


def feed_of(fitted, columns, names) -> dict[str, np.ndarray]:
    """What an exported file is given for encoded rows."""
    vector, weight, _ = fitted.served_at(columns[fitted.method.id_field])
    whole = fitted.shown(columns).batch(torch.arange(len(vector)))
    given = {name: whole[name].numpy() for name in names if name not in (VECTOR, WEIGHT)}
    return {**given, VECTOR: vector.numpy(), WEIGHT: weight.numpy()}


def measure(options: Options) -> Table:
    """CPU milliseconds of a request, by the number of rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fitted = load(kept_run(options, "MetaE", folder) / "MetaE", device="cpu")
        told = export(fitted.kept.folder, folder / "exported", formats=["pt2", "onnx"], check=100)
        place = folder / "exported"
        scorers = {ONNX: scorer(place, "onnx"), PT2: scorer(place, "pt2")}
    names = [each["name"] for each in told["inputs"]]
    contestants, agreement = {}, {}
    for size in SIZES:
        columns = fitted.encoded(as_table(rows_of(fitted, size)))
        feed = feed_of(fitted, columns, names)
        expected = fitted.scored(columns).numpy()
        for kind, each in scorers.items():
            difference = float(np.abs(each.score(feed) - expected).max())
            agreement[f"{kind}, {size} rows"] = difference
            contestants[kind, size] = _calls(size, each.score, feed)
        contestants[TORCH, size] = _calls(size, fitted.scored, columns)
    seconds = common.alternate(contestants, options.repeats)
    each_ms = {
        key: [1000 * value / CALLS[key[1]] for value in values] for key, values in seconds.items()
    }
    rows = [
        [f"{size:,}", *(cell for kind in (ONNX, PT2, TORCH)
                        for cell in (round(min(each_ms[kind, size]), 3),
                                     round(common.median(each_ms[kind, size]), 3)))]
        for size in SIZES
    ]  # fmt: skip
    claims = [
        (f"onnxruntime, ms for {size:,} rows", min(each_ms[ONNX, size]), limit, "<=")
        for size, limit in LIMIT_MS.items()
    ]
    return Table(
        f"Exported DeepFM on one core, {options.dataset}: CPU ms of a request",
        ["rows", *(head for kind in (ONNX, PT2, TORCH) for head in (kind, "median"))],
        rows,
        claims,
        agreement,
        ["The files are given their inputs gathered; the model gathers the fields of its rows."],
    )


def _calls(size: int, score, given):
    def work() -> None:
        for _ in range(CALLS[size]):
            score(given)

    return lambda: work
