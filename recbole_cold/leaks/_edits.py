"""Views of a data set with something exchanged; the view that they are made from stays as it is.

A method on such a view sees the exchanged columns wherever it looks: in the arrays of the data set
and in the rows on the training device.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from recbole_cold.data._visible import visible
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.numbers import as_recbole, asks_for_range, unit_range
from recbole_cold.data.rows import Rows
from recbole_cold.data.split import Split

Array = np.ndarray

# RecBole's data set as one table: made of the columns, and so out of date when they are exchanged.
_MADE_OF_COLUMNS = ("inter_feat", "user_feat", "item_feat")


def _fresh_view(data: ColdStartDataset) -> ColdStartDataset:
    view = data.view()
    for name in _MADE_OF_COLUMNS:
        vars(view).pop(name, None)
    return view


def cold_table(data: ColdStartDataset, side: str) -> tuple[str, dict[str, Array]]:
    """``side``, which is ``item`` or ``user``, and its feature columns by code."""
    return side, data.user_table if side == "user" else data.item_table


def with_labels(data: ColdStartDataset, rows: Array, labels: Array) -> ColdStartDataset:
    """``data`` with other labels [k] of the rows ``rows`` [k]."""
    view = _fresh_view(data)
    column = np.array(data.inter[data.label_field])
    column[rows] = labels
    view.inter[data.label_field] = column
    view.rows.exchange("inter", data.label_field, column)
    return view


def with_codes(data: ColdStartDataset, code_of: Array) -> ColdStartDataset:
    """``data`` with the code ``code_of[c]`` [n] for code c of the cold side; features go along.

    The tokens stay with the codes: an item gets another one's id altogether.
    """
    view = _fresh_view(data)
    field = data.uid_field if data.split.cold_side == "user" else data.iid_field
    kind, table = cold_table(view, data.split.cold_side)
    column = code_of[np.asarray(data.inter[field])].astype(data.inter[field].dtype)
    view.inter[field] = column
    view.rows.exchange("inter", field, column)
    old_code = np.argsort(code_of)
    for name in list(table):
        table[name] = np.asarray(table[name])[old_code]
    view.raw = {**data.raw, kind: {n: np.asarray(c)[old_code] for n, c in data.raw[kind].items()}}
    _move_features(view, old_code, view.rows.features_of(field))
    return view


def with_features_moved(
    data: ColdStartDataset, fields: Iterable[str], source: Array
) -> ColdStartDataset:
    """``data`` in which code c of the cold side has the features ``fields`` of ``source[c]``."""
    view = _fresh_view(data)
    field = data.uid_field if data.split.cold_side == "user" else data.iid_field
    kind, table = cold_table(view, data.split.cold_side)
    view.raw = {**data.raw, kind: dict(data.raw[kind])}
    for name in fields:
        table[name] = np.asarray(table[name])[source]
        if name in view.raw[kind]:
            view.raw[kind][name] = np.asarray(view.raw[kind][name])[source]
        _move_features(view, source, view.rows.features_of(field), [name])
    return view


def _move_features(
    view: ColdStartDataset, source: Array, features: dict[str, Any], only: Any = None
) -> None:
    """Columns on the training device, of this view alone; content vectors move by their codes."""
    index = view.rows.index(source)
    for name in list(features) if only is None else only:
        features[name] = features[name][index]


def without_later_rows(loaded: ColdStartDataset, split: Split, config: Any) -> ColdStartDataset:
    """The data set as if no row outside of ``train`` had ever been in its files, but their ids.

    Numbers are scaled and tokens masked anew. Parts other than ``train`` are empty.

    Args:
        loaded: not split, as it was loaded.
    """
    kept = split["train"]
    view = _fresh_view(loaded)
    inter = {field: np.asarray(column)[kept] for field, column in loaded.inter.items()}
    raw = {field: np.asarray(column)[kept] for field, column in loaded.raw["inter"].items()}
    for field, column in raw.items():
        inter[field] = as_recbole(column, asks_for_range(config, field))
    if loaded.time is not None:
        view.time = np.asarray(loaded.time)[kept]
        if loaded.time_field in loaded.numbers:
            inter[loaded.time_field] = unit_range(view.time)
    view.inter, view.raw = inter, {**loaded.raw, "inter": raw}
    view.n_rows, view.parts = len(kept), None
    parts = {name: np.zeros(0, np.int64) for name in split.parts}
    parts["train"] = np.arange(len(kept))
    return visible(view.view(replace(split, parts=parts), Rows(view, config["device"])), config)
