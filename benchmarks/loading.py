"""Reading a data set: first time, cached, and by RecBole's own loader."""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
from recbole.utils import FeatureType

from benchmarks import _common as common
from benchmarks._common import Options, Table
from recbole_cold import compat
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.experiment.data_store import load_data

FIRST, CACHED, RECBOLE = "recbole_cold, first time", "recbole_cold, cached", "RecBole's loader"


@contextmanager
def recbole_config(config) -> Iterator:
    """RecBole's own Config for the same files and settings; it reads argv and the environment."""
    from recbole.config import Config
    from recbole.model.context_aware_recommender import FM

    class OwnConfig(Config):
        def compatibility_settings(self) -> None:
            compat.restore_numpy_names()

    settings = {
        "gpu_id": "",
        "data_path": os.path.dirname(config["data_path"]),
        "load_col": config["load_col"],
        "threshold": config["threshold"],
        "normalize_all": False,
    }
    keeps = config["filter_inter_by_user_or_item"]
    if keeps is not None:  # of rows without features RecBole drops all, unless it is told
        settings["filter_inter_by_user_or_item"] = keeps
    with mock.patch.object(sys, "argv", ["benchmark"]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": ""}):
            yield OwnConfig(model=FM, dataset=config.dataset, config_dict=settings)


def differences(ours: ColdStartDataset, theirs) -> float:
    """Largest difference over all token and number columns of the interactions and over tokens."""
    largest = float(len(theirs.inter_feat) != ours.n_rows)
    for field, kind in ours.field2type.items():
        if kind in {FeatureType.TOKEN, FeatureType.TOKEN_SEQ}:
            same = np.array_equal(ours.field2id_token[field], theirs.field2id_token[field])
            largest = max(largest, float(not same))
    for field, column in ours.inter.items():
        other = theirs.inter_feat[field].to_numpy()
        largest = max(largest, float(np.abs(column - other).max()))
    return largest


def measure(options: Options) -> Table:
    """CPU seconds until the data set can be used; RecBole's loader runs once, it is slow."""
    config, seen = common.configuration(options), {}

    def ours(folder: str):
        def run() -> None:
            own = common.configuration(options, cache_dir=folder)
            seen[folder] = load_data(own)

        return run

    with tempfile.TemporaryDirectory() as root:
        first, cached = [], []
        for number in range(options.repeats):
            folder = os.path.join(root, str(number))
            first.append(common.cpu_seconds(ours(folder)))
            assert not seen[folder].from_cache
            cached.append(common.cpu_seconds(ours(folder)))
            assert seen[folder].from_cache
        with recbole_config(config) as theirs_config:
            from recbole.data.dataset import Dataset

            theirs = common.cpu_seconds(lambda: seen.update(theirs=Dataset(theirs_config)))
        difference = differences(seen[folder], seen["theirs"])
    least = {FIRST: min(first), CACHED: min(cached), RECBOLE: theirs}
    return Table(
        f"Loading {options.dataset}: {seen[folder].n_rows:,} rows",
        ["contestant", "CPU s", "RecBole's loader to this"],
        [[name, round(value, 3), round(theirs / value, 1)] for name, value in least.items()],
        [("cached, CPU seconds", least[CACHED], 2.0, "<=")],
        {"columns and tokens": difference},
        [
            "Ours includes reading the configuration and the rows as tensors; RecBole's, which ran "
            "once, only its frames."
        ],
    )
