"""Data sets and splits, made once for all configurations that agree on them."""

import json
from pathlib import Path

import numpy as np

from recbole_cold import keys
from recbole_cold.config import ColdConfig
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.phases import protocol
from recbole_cold.data.rows import Rows
from recbole_cold.data.split import (
    Split,
    common_phases,
    frequency_split,
    pseudo_new,
    split_from_parts,
)


def load_data(config: ColdConfig) -> ColdStartDataset:
    """The data set of a configuration, with its rows on the training device."""
    dataset = ColdStartDataset(config)
    dataset.rows = Rows(dataset, config["device"])
    return dataset


def make_split(dataset: ColdStartDataset, config: ColdConfig) -> Split:
    """The split that a configuration asks for; the part to be scored is always ``test``."""
    id_field = dataset.uid_field if config["cold_side"] == "user" else dataset.iid_field
    ids, seed = np.asarray(dataset.inter[id_field]), config["seed"]
    if dataset.parts is not None:
        split = split_from_parts(
            dataset.parts, ids, data_hash=dataset.data_hash, cold_side=config["cold_side"]
        )
    else:
        split = frequency_split(
            ids,
            dataset.time,
            threshold=config["cold_threshold"],
            size=config["warm_size"],
            n_warm=config["warm_sets"],
            seed=seed,
            data_hash=dataset.data_hash,
            cold_side=config["cold_side"],
        )
    if config["fit_on"] == "valid":
        split = pseudo_new(
            split,
            ids,
            dataset.time,
            fraction=config["valid_fraction"],
            size=config["warm_size"],
            seed=seed,
        )
    return common_phases(split, ids, config["common_phases"], config["common_size"])


def phases_of(split: Split, config: ColdConfig):
    """The phases that a split and a configuration give."""
    own = [name for name in split.warm_parts if name.startswith("warm_")]
    return protocol(own, config["eval_on"], common=len(split.warm_parts) - len(own))


def _data_key(config: ColdConfig) -> str:
    """What tells data sets apart; taken before loading, which completes the configuration."""
    if "data_key" not in vars(config):
        names = {*config.parameters["Dataset"], *keys.names(touching=[keys.DATA])}
        values = {name: config[name] for name in sorted(names)}
        folder = Path(config["data_path"])
        files = [
            (str(path), path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(folder.glob(f"{config.dataset}.*"))
        ]
        parts = [config.dataset, str(config["device"]), files, values]
        vars(config)["data_key"] = json.dumps(parts, default=str)
    return vars(config)["data_key"]


class DataStore:
    """Data sets and their splits, made once for all configurations that agree on them.

    Args:
        most: data sets that are kept; the one that was made first goes first.
    """

    def __init__(self, most: int = 4) -> None:
        self.most = most
        self._data: dict[str, ColdStartDataset] = {}
        self._splits: dict[str, dict[int, Split]] = {}

    def data(self, config: ColdConfig) -> ColdStartDataset:
        """The data set of a configuration, carrying the split of its seed."""
        key = _data_key(config)
        if key not in self._data:
            while len(self._data) >= self.most:
                oldest = next(iter(self._data))
                del self._data[oldest], self._splits[oldest]
            self._data[key], self._splits[key] = load_data(config), {}
        dataset, splits = self._data[key], self._splits[key]
        # What loading adds to the configuration, for those that found the data loaded.
        config["numerical_features"] = dataset.config["numerical_features"]
        if config["seed"] not in splits:
            splits[config["seed"]] = make_split(dataset, config)
        dataset.split = splits[config["seed"]]
        return dataset
