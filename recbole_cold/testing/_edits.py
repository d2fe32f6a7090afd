"""Changes of a data set that was split: what a method must not notice is changed, and it is run
again."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from recbole_cold.config import ColdConfig


def replace_column(dataset: Any, name: str, column: np.ndarray) -> None:
    """Exchange one row column of a data set; arrays of the cache are left alone."""
    dataset.inter = {**dataset.inter, name: column.astype(dataset.inter[name].dtype)}


def permute_new(dataset: Any, config: ColdConfig, code_of: np.ndarray) -> None:
    """Give every id the code ``code_of[id]``, in the rows and in the feature table."""
    user_side = config["cold_side"] == "user"
    name = dataset.uid_field if user_side else dataset.iid_field
    table = dataset.user_table if user_side else dataset.item_table
    replace_column(dataset, name, code_of[np.asarray(dataset.inter[name])])
    id_of = np.argsort(code_of)
    permuted = {feature: np.asarray(column)[id_of] for feature, column in table.items()}
    setattr(dataset, "user_table" if user_side else "item_table", permuted)


def scramble_later_rows(dataset: Any, config: ColdConfig) -> None:
    """Other labels, partners and new ids in all rows outside ``train``."""
    rng = np.random.default_rng(1)
    later = np.ones(dataset.n_rows, dtype=bool)
    later[dataset.split["train"]] = False
    user_side = config["cold_side"] == "user"
    own = dataset.uid_field if user_side else dataset.iid_field
    other = dataset.iid_field if user_side else dataset.uid_field
    label = np.array(dataset.inter[dataset.label_field])
    label[later] = 1 - label[later]
    partner = np.array(dataset.inter[other])
    partner[later] = rng.permutation(partner[later])
    ids = np.array(dataset.inter[own])
    # Most rows go to few ids, so that counts differ by much.
    ids[later] = dataset.split.new_ids[(len(dataset.split.new_ids) * rng.uniform(size=later.sum())
                                        ** 3).astype(int)]  # fmt: skip
    for name, column in ((dataset.label_field, label), (other, partner), (own, ids)):
        replace_column(dataset, name, column)


def turn_labels_unseen(dataset: Any, learned: Iterable[str]) -> None:
    """Sessions: the other label for every target outside the parts ``learned``, and for rows that
    are in no session."""
    kept = np.zeros(dataset.n_rows, dtype=bool)
    rows = dataset.split.histories.rows
    kept[rows[rows >= 0]] = True
    for part in learned:
        kept[dataset.split[part]] = True
    label = np.array(dataset.inter[dataset.label_field])
    replace_column(dataset, dataset.label_field, np.where(kept, label, 1 - label))
