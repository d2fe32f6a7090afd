"""Loads data sets and makes splits, once for all configurations that need the same."""

import glob
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cold import keys
from recbole_cold.config import ColdConfig
from recbole_cold.data._file_names import is_source
from recbole_cold.data._in_time import until_first_scored
from recbole_cold.data._vectors import vector_paths
from recbole_cold.data._visible import visible
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.held_out import hold_out
from recbole_cold.data.histories import notes
from recbole_cold.data.pseudo_new import pseudo_new
from recbole_cold.data.rows import Rows
from recbole_cold.data.session_split import (
    Columns,
    session_split,
    subsets_of,
    until_held_out,
    validation,
)
from recbole_cold.data.sessions import SessionRule, one_class
from recbole_cold.data.split import Split, common_phases, frequency_split, split_from_parts
from recbole_cold.errors import UserError
from recbole_cold.kinds import text_of

# Views of one data set that are kept, each with its split and scaled columns: numbers per row.
_MOST_SPLITS = 16


def load_data(config: ColdConfig) -> ColdStartDataset:
    """The data set of a configuration, not split, with its rows on the training device."""
    dataset = ColdStartDataset(config)
    return dataset.view(rows=Rows(dataset, config["device"]))


def split_data(dataset: ColdStartDataset, config: ColdConfig) -> ColdStartDataset:
    """A view of a loaded data set for one run: with its split, and with rows of its own.

    Its numbers are scaled, and its tokens masked, by what this split may see.
    """
    return _with_split(dataset, make_split(dataset, config), config)


def _with_split(dataset: ColdStartDataset, split: Split, config: ColdConfig) -> ColdStartDataset:
    view = visible(dataset.view(split), config)
    view.notes = [*view.notes, *one_class(view.split.manifest)]
    return view


def run_data(config: ColdConfig) -> ColdStartDataset:
    """The data set of one run, split, with rows; follows from configuration and seed alone."""
    return split_data(load_data(config), config)


def make_split(dataset: ColdStartDataset, config: ColdConfig) -> Split:
    """The split that a configuration asks for; the part to be scored is always ``test``.

    Raises:
        UserError: the rule cannot be followed on these data, or a key has no meaning with it.
    """
    rule = config["split_rule"]
    if dataset.parts is not None and rule != "frequency":
        raise UserError(
            f"benchmark_filename gives ready parts, and split_rule: {rule} makes parts of whole "
            "data; leave one of them out"
        )
    return RULES[rule](dataset, config)


def _by_frequency(dataset: ColdStartDataset, config: ColdConfig) -> Split:
    """Old and new ids by their rows, or as ready parts have them."""
    ids, seed = _cold_ids(dataset, config), config["seed"]
    if dataset.parts is not None:
        split = split_from_parts(
            dataset.parts,
            ids,
            warm_up=bool(config["warm_sets"]),
            data_hash=dataset.data_hash,
            cold_side=config["cold_side"],
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
    until = config["train_until"] == "first_test"
    if until:
        split = _scored_later(split, config, ids, dataset.time)
    if config["fit_on"] == "valid":
        split = pseudo_new(
            split,
            ids,
            dataset.time,
            fraction=config["valid_fraction"],
            size=config["warm_size"],
            seed=seed,
            draw=config["valid_draw"],
        )
        if until:
            split = _scored_later(split, config, ids, dataset.time)
    split = common_phases(split, ids, config["common_phases"], config["common_size"])
    split = hold_out(split, ids, config["old_test_fraction"], seed)
    return split.scored_on(config["eval_on"])


def _cold_ids(dataset: ColdStartDataset, config: ColdConfig) -> np.ndarray:
    field = dataset.uid_field if config["cold_side"] == "user" else dataset.iid_field
    return np.asarray(dataset.inter[field])


# Keys that speak of new items -> the value that asks for nothing, and what is missing.
_NEW_ITEMS_ONLY = {
    "common_phases": (0, "cuts shared warm-up sets out of the test rows of each new item"),
    "old_test_fraction": (0.0, "holds out rows of old items while new ones are learned"),
    "eval_on": ("test", "scores the rows that new items get next"),
}


def _by_sessions(dataset: ColdStartDataset, config: ColdConfig) -> Split:
    """Sessions of warm or cold users; the last of each user is held out."""
    for key, (nothing, what) in _NEW_ITEMS_ONLY.items():
        if config[key] != nothing:
            raise UserError(
                f"{key} {what}, and split_rule: sessions has no new {config['cold_side']}; "
                f"leave {key} out"
            )
    columns = Columns(
        np.asarray(dataset.inter[dataset.uid_field]),
        np.asarray(dataset.inter[dataset.iid_field]),
        dataset.time,
        np.asarray(dataset.inter[dataset.label_field]),
    )
    split = session_split(
        columns,
        session_rule(config),
        seed=config["seed"],
        cold_side=config["cold_side"],
        label_rule=_label_rule(config),
        data_hash=dataset.data_hash,
    )
    until = config["train_until"] == "first_test"
    if until:
        split = until_held_out(split, columns)
    if config["fit_on"] == "valid":
        split = validation(split, columns, config["valid_fraction"], config["seed"])
        if until:
            split = until_held_out(split, columns)
    return split


def session_rule(config: ColdConfig) -> SessionRule:
    """What a configuration says of sessions.

    Raises:
        UserError: it names several subsets, and here there can be one.
    """
    subset, *others = subsets_of(config["session_subset"])
    if others:
        raise UserError(
            f"session_subset: {text_of(config['session_subset'])} names several data sets, with a "
            "model each, and only run, compare and check take them one after the other; here give "
            f"one, session_subset: {subset} or {' or '.join(others)}"
        )
    return SessionRule(
        subset=subset,
        form=config["session_form"],
        length=config["session_length"],
        stride=config["session_stride"],
        gap=config["session_gap"],
        least=config["session_min"],
        user_min=config["session_user_min"],
        count_source=config["count_source"],
    )


def _label_rule(config: ColdConfig) -> str:
    """How labels were made, in words."""
    rules = [f"{field} >= {value:g}" for field, value in (config["threshold"] or {}).items()]
    return ", ".join(rules) or f"{config['LABEL_FIELD']}, as in the files"


# The value of split_rule -> what makes the split.
RULES: dict[str, Callable[[ColdStartDataset, ColdConfig], Split]] = {
    "frequency": _by_frequency,
    "sessions": _by_sessions,
}


def _scored_later(split: Split, config: ColdConfig, ids: Any, time: Any) -> Split:
    """``split`` with a training part that is not later than what ``eval_on`` scores."""
    scored = until_first_scored(split.scored_on(config["eval_on"]), ids, time)
    return replace(scored, phases=split.phases)


def _data_key(config: ColdConfig) -> str:
    """The key of a data set in a store; a configuration keeps its first even if files change."""
    if "data_key" not in vars(config):
        names = {*config.parameters["Dataset"], *keys.names(touching=[keys.DATA])}
        values = {name: config[name] for name in sorted(names)}
        folder = Path(config["data_path"])
        found = sorted(folder.glob(f"{glob.escape(config.dataset)}.*"))
        found = [path for path in found if is_source(path)]
        vectors = vector_paths(config, folder).values()
        found += [path for fields in vectors for path in fields.values()]
        files = [_stamp(path) for path in found]
        parts = [config.dataset, str(config["device"]), files, values]
        vars(config)["data_key"] = json.dumps(parts, default=str)
    return vars(config)["data_key"]


def _stamp(path: Path) -> tuple[str, int, int]:
    """What tells whether a file changed.

    Raises:
        UserError: it is a link that leads nowhere.
    """
    try:
        state = path.stat()
    except OSError as error:
        link = f", a link to '{os.readlink(path)}'," if path.is_symlink() else ""
        raise UserError(
            f"the atomic file '{path}'{link} cannot be read ({error.strerror}); mend or remove it"
        ) from error
    return str(path), state.st_size, state.st_mtime_ns


def _split_key(config: ColdConfig) -> tuple[str, int]:
    """What a split follows from, the seed apart."""
    # Sessions halve items by the counts of count_source, which touches no other split: it stays a
    # key that can be searched.
    names = {*keys.names(touching=[keys.SPLIT]), "count_source"} - {"seed"}
    return json.dumps([config[name] for name in sorted(names)], default=str), config["seed"]


class DataStore:
    """Keeps data sets and their views, one per split, for all configurations that need the same.

    It hands out views, which do not change when another caller asks.

    Args:
        most: data sets that are kept; the oldest is dropped first.
    """

    def __init__(self, most: int = 4) -> None:
        self.most = most
        self._data: dict[str, ColdStartDataset] = {}
        self._views: dict[str, dict[tuple[str, int], ColdStartDataset]] = {}

    def data(self, config: ColdConfig) -> ColdStartDataset:
        """A view of the data set of a configuration, with the split of its seed."""
        key = _data_key(config)
        if key not in self._data:
            _make_room(self._data, self.most)
            self._data[key] = load_data(config)
            self._views = {known: self._views.get(known, {}) for known in self._data}
        views, wanted = self._views[key], _split_key(config)
        if wanted not in views:
            _make_room(views, _MOST_SPLITS)
            split = make_split(self._data[key], config)
            # Where rows have times, seeds may draw nothing: equal splits are kept once.
            equal = [v for (rule, _), v in views.items() if rule == wanted[0] and v.split == split]
            views[wanted] = equal[0] if equal else _with_split(self._data[key], split, config)
        view = views[wanted].view()
        view.notes = [*view.notes, *notes(config, view)]
        return view


def _make_room(kept: dict[str, Any], most: int) -> None:
    """Drop the oldest data sets until there is room for one more."""
    while len(kept) >= most:
        del kept[next(iter(kept))]
