"""Runs whose data set is gone afterwards, and its files as frames."""

import pickletools
import shutil
import zipfile
from types import SimpleNamespace

import pandas as pd
import torch
from tiny_here import tiny_files

import recbole_cold
from recbole_cold.experiment.scores import RowScores

KEYS = {
    "threshold": {"rating": 4}, "cold_threshold": 30, "warm_size": 3, "train_batch_size": 64,
    "embedding_size": 4, "bootstrap_resamples": 0, "matched_row": False, "show_progress": False,
}  # fmt: skip


# What weights may name: no code of anybody is run when they are read.
ALLOWED = {
    "collections OrderedDict", "torch FloatStorage", "torch DoubleStorage", "torch LongStorage",
    "torch BoolStorage", "torch._utils _rebuild_tensor_v2",
}  # fmt: skip


def assert_no_pickle(path):
    """Weights are tensors, and load without any pickled class (V12)."""
    state = torch.load(path, weights_only=True)
    assert state and all(isinstance(each, torch.Tensor) for each in state.values())
    with zipfile.ZipFile(path) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/data.pkl"))
        named = {said for op, said, _ in pickletools.genops(archive.read(name))
                 if op.name in ("GLOBAL", "STACK_GLOBAL")}  # fmt: skip
    assert named <= ALLOWED


def frame_of(rows):
    """Rows of texts, the header of an atomic file first."""
    head, *rest = rows
    return pd.DataFrame(rest, columns=[name.partition(":")[0] for name in head])


def kept_run(models, folder, write_atomic, backbone="DeepFM", **keys):
    """A finished run of one seed and the rows it scored; data set and cache are removed."""
    files = tiny_files()
    write_atomic(folder / "data" / "tiny", "tiny", **files)
    found = recbole_cold.run(
        models, "tiny", backbone, 1,
        config={**KEYS, "data_path": str(folder / "data"), "keep_phases": ["cold", "warm_c"],
                "cache_dir": str(folder / "cache"), **keys},
        saved_dir=str(folder / "saved"),
    )  # fmt: skip
    shutil.rmtree(folder / "data")
    shutil.rmtree(folder / "cache")

    def scored(method, phase):
        """Scores of the run, and the rows as the files had them."""
        (path,) = found.folder.glob(f"{method}/scores-seed-*.npz")
        kept = RowScores.read(path.read_bytes())
        return kept.scores[phase], inter.iloc[kept.rows_of(phase).number].reset_index(drop=True)

    def metrics(method, phase):
        (run,) = (run for run in found.document["runs"] if run["label"] == method)
        return run["seeds"][0]["phases"][phase]["metrics"]

    inter = frame_of(files["inter"])
    return SimpleNamespace(
        folder=found.folder, document=found.document, scored=scored, metrics=metrics,
        items=frame_of(files["item"]), users=frame_of(files["user"]), inter=inter,
    )  # fmt: skip
