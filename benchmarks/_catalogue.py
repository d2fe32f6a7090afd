"""Generated data with any number of items, as a loaded data set: no file is written or parsed.

A tenth of the items is old, but at least ``LEAST_OLD``; ``NEW`` are new, since EmerG's warm steps
take all of them at once; the others are in the catalogue alone. Every old item has the same number
of rows, and so has every new one: a step's work differs with the size of the catalogue alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from recbole.utils import FeatureSource, FeatureType

from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.rows import Rows
from recbole_cold.experiment.data_store import split_data

OLD_ROWS, NEW_ROWS = 24, 14
LEAST_OLD, NEW = 2_000, 1_000
USERS, CATEGORIES, WORDS, AGES = 20_000, 1_000, 500, 7
# What makes items with so many rows old and new.
KEYS = {"cold_threshold": 20, "warm_size": 4, "warm_sets": 3}

_FIELDS = [
    ("user_id", FeatureType.TOKEN, FeatureSource.USER_ID, 1),
    ("item_id", FeatureType.TOKEN, FeatureSource.ITEM_ID, 1),
    ("label", FeatureType.FLOAT, FeatureSource.INTERACTION, 1),
    ("timestamp", FeatureType.FLOAT, FeatureSource.INTERACTION, 1),
    ("age", FeatureType.TOKEN, FeatureSource.USER, 1),
    ("category", FeatureType.TOKEN, FeatureSource.ITEM, 1),
    ("words", FeatureType.TOKEN_SEQ, FeatureSource.ITEM, 3),
]


def columns_of(n_items: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays that loading would give: rows, features by code, and the tokens of each field."""
    rng = np.random.default_rng(seed)
    n_old, n_new = max(n_items // 10, LEAST_OLD), NEW
    codes = 1 + rng.permutation(n_items)[: n_old + n_new]
    item = np.repeat(codes, np.repeat([OLD_ROWS, NEW_ROWS], [n_old, n_new]))
    n_rows = len(item)
    columns = {
        "inter/user_id": rng.integers(1, USERS + 1, n_rows, dtype=np.int32),
        "inter/item_id": item.astype(np.int32),
        "inter/label": (rng.random(n_rows) < 0.3).astype(np.float32),
        "inter/timestamp": rng.permutation(n_rows).astype(np.float64),
        "user/age": _feature(rng, AGES, USERS),
        "item/category": _feature(rng, CATEGORIES, n_items),
        "item/words": _feature(rng, WORDS, (n_items, 3)),
    }
    sizes = {
        "user_id": USERS,
        "item_id": n_items,
        "age": AGES,
        "category": CATEGORIES,
        "words": WORDS,
    }
    for field, n in sizes.items():
        tokens = Vocabulary.of(pa.array(range(1, n + 1)).cast(pa.string()))
        columns[f"tokens/{field}"], columns[f"ends/{field}"] = tokens.parts()
    return columns


def _feature(rng: np.random.Generator, values: int, shape: Any) -> np.ndarray:
    """Codes 1 to ``values``, and padding in front."""
    column = rng.integers(1, values + 1, shape, dtype=np.int32)
    return np.concatenate([np.zeros_like(column[:1]), column])


class Catalogue(ColdStartDataset):
    """A data set of arrays at hand.

    Args:
        config: of a method on the data set ``generated``.
        columns: as ``columns_of`` gives them.
    """

    def __init__(self, config: Any, columns: dict[str, np.ndarray]) -> None:
        self._columns = columns
        super().__init__(config)

    def _find_files(self) -> dict[str, list]:
        return {"inter": [], "user": [], "item": []}

    def _stored(self, folder: Path) -> None:
        """No cache knows these arrays."""

    def _built(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        fields = [
            [field, kind.value, source.value, length] for field, kind, source, length in _FIELDS
        ]
        n_rows = len(self._columns["inter/item_id"])
        return dict(self._columns), {"fields": fields, "part_rows": [n_rows], "notes": []}

    def _kept(
        self, columns: dict[str, np.ndarray], meta: dict[str, Any], folder: Path, root: Path
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return columns, meta


def load(config: Any, columns: dict[str, np.ndarray]) -> ColdStartDataset:
    """The data set of a configuration, split, with its rows on the training device."""
    dataset = Catalogue(config, columns)
    return split_data(dataset.view(rows=Rows(dataset, config["device"])), config)
