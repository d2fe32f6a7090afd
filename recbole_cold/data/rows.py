"""The rows of a data set on the training device; batches gather their fields on demand.

User and item features are kept once per user and item and gathered by code, never joined per row.
"""

import copy
import warnings
from typing import Any

import numpy as np
import torch
from recbole.utils import FeatureType
from torch import Tensor

from recbole_cold.data._vectors import missing
from recbole_cold.data.histories import LENGTH, PREFIX, Histories
from recbole_cold.data.vectors import Scaled, Vectors, vector_fields, vectors_of


class Batch(dict):
    """The rows of an index; asking for a field gathers it once.

    RecBole's context models read an interaction only by ``interaction[field]``, so a field that a
    backbone does not use costs nothing.
    """

    def __init__(self, rows: "Rows", index: Tensor) -> None:
        super().__init__()
        self.rows = rows
        self.index = index
        self.memo: dict[Any, Any] = {}  # values that users compute from the batch alone

    def __missing__(self, field: str) -> Tensor:
        value = self[field] = self.rows.input(field, self)
        return value

    def __len__(self) -> int:
        return int(self.index.shape[0])

    def inputs(self) -> tuple[Tensor, ...]:
        """All that tells this batch from others of its size."""
        return (self.index,)

    def of_inputs(self, index: Tensor) -> "Batch":
        """A batch of other ``inputs``, of which nothing is computed yet."""
        return self.rows.batch(index)

    def unique(self, field: str) -> tuple[Tensor, Tensor]:
        """The different codes [u] of a field, and each row's place [b] among them."""
        key = ("unique", field)
        if key not in self.memo:
            self.memo[key] = self[field].unique(return_inverse=True)
        return self.memo[key]


class _Elements(Batch):
    """The rows of a batch's histories, one history after the other, padded; 0 where there is none.

    Args:
        row_bn: row numbers [b, n], -1 where there is none.
    """

    def __init__(self, rows: "Rows", row_bn: Tensor) -> None:
        super().__init__(rows, row_bn.clamp(min=0).view(-1))
        self.none_bn = row_bn < 0

    def __missing__(self, field: str) -> Tensor:
        value = self.rows.input(field, self)
        # Ids and columns of rows are emptied. Features of an emptied id are those of the padding:
        # 0 already, but for numbers, which are read as pairs.
        if field in self.rows.columns or value.is_floating_point():
            empty = self.none_bn.view(-1, *(1 for _ in value.shape[1:]))
            value = value.masked_fill_(empty, 0)
        self[field] = value
        return value

    def length(self) -> Tensor:
        """How many rows each history has [b]."""
        return self.none_bn.shape[1] - self.none_bn.sum(dim=1)


class Rows:
    """All rows of a data set as tensors on one device.

    Tensors are shared by all views and never written to; a view's dictionaries are its own.

    A content vector is kept once, in ``vectors``; its column, and what a batch has of it, is a code
    [.., 1]: where the vector is, 0 if it is missing.

    Args:
        dataset: a ``ColdStartDataset``.
        device: where the columns live and where batches are made.
    """

    def __init__(self, dataset, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.user_field, self.item_field = dataset.uid_field, dataset.iid_field
        self.label_field = dataset.label_field
        self.numerical = set(dataset.numbers)
        self._float_fields = {
            field for field, kind in dataset.field2type.items() if kind == FeatureType.FLOAT
        }
        # Row columns keep their small dtype; codes become int64 (what embeddings index with)
        # one batch at a time.
        self.vectors: dict[str, Vectors] = {}
        # Of one method's view, where its model reads them.
        self.histories: Histories | None = None
        wide = vector_fields(dataset)
        self.columns = {
            field: self._vector(field, column, by_row=True)
            if field in wide
            else self._tensor(column)
            for field, column in dataset.inter.items()
            if field == self.label_field or field in self._inputs(dataset)
        }
        self.user_features = self._features(dataset.user_table, self.user_field, wide)
        self.item_features = self._features(dataset.item_table, self.item_field, wide)

    def view(self) -> "Rows":
        """The same rows in a new dictionary: columns exchanged in it change no other view."""
        view = copy.copy(self)
        view.columns = dict(self.columns)
        view.user_features = dict(self.user_features)
        view.item_features = dict(self.item_features)
        view.histories = copy.copy(self.histories)
        return view

    def show(self, index: Tensor) -> None:
        """Let the rows ``index`` be in this view's histories, if it has any, from now on."""
        if self.histories is not None:
            self.histories.show(index)

    def exchange(self, kind: str, field: str, column: np.ndarray) -> None:
        """Put another column of a field into this view; other views keep theirs.

        Args:
            kind: whose field it is: ``inter``, ``user`` or ``item``.
        """
        if kind == "inter":
            self.columns[field] = self._tensor(column)
        else:
            table = self.user_features if kind == "user" else self.item_features
            table[field] = self._feature(column)

    def _inputs(self, dataset) -> set[str]:
        tokens = {field for field, kind in dataset.field2type.items() if kind != FeatureType.FLOAT}
        return tokens | self.numerical

    def _tensor(self, column: np.ndarray) -> Tensor:
        if column.dtype == np.float64:
            column = column.astype(np.float32)
        with warnings.catch_warnings():
            # Columns of the cache are mapped read-only: on a CPU all processes share their pages,
            # and nobody writes to a column.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(np.ascontiguousarray(column)).to(self.device)

    def _vector(self, field: str, matrix: np.ndarray, by_row: bool) -> Tensor:
        """Keep the vectors of a field; returns the column of their codes."""
        kept = vectors_of(
            field, self._tensor(matrix), missing(matrix), by_row=by_row, device=self.device
        )
        self.vectors[field] = kept
        return kept.codes

    def _features(
        self, table: dict[str, np.ndarray], id_field: str, wide: list[str]
    ) -> dict[str, Tensor]:
        return {
            field: self._vector(field, column, by_row=False)
            if field in wide
            else self._feature(column)
            for field, column in table.items()
            if field != id_field
        }

    def _feature(self, column: np.ndarray) -> Tensor:
        tensor = self._tensor(column)
        return tensor if tensor.is_floating_point() else tensor.long()

    def index(self, numbers: Any) -> Tensor:
        """Row numbers or codes of any kind as an int64 tensor on the device."""
        if isinstance(numbers, np.ndarray):
            # Row numbers of a split cannot be changed by anybody, so they need no copy.
            is_frozen = numbers.dtype == np.int64 and not numbers.flags.writeable
            numbers = self._tensor(numbers if is_frozen else np.array(numbers, dtype=np.int64))
        return torch.as_tensor(numbers, dtype=torch.long).to(self.device)

    def batch(self, index: Tensor) -> Batch:
        """The rows ``index`` ([b], int64) as a RecBole interaction."""
        return Batch(self, index)

    def gather(self, field: str, batch: Batch) -> Tensor:
        """One field of a batch: as ``input``, but content vectors as they were given: [b, m]."""
        if field in self.vectors:
            return self.vectors[field].raw(self.input(field, batch)[:, 0])
        return self.input(field, batch)

    def input(self, field: str, batch: Batch) -> Tensor:
        """One field of a batch as models read it: codes as int64, numbers as RecBole feeds them."""
        # index_select takes a third of the time of indexing with brackets.
        if field in self.columns:
            value = self.columns[field].index_select(0, batch.index)
        elif field in self.item_features:
            value = self.item_features[field].index_select(0, batch[self.item_field])
        elif field in self.user_features:
            value = self.user_features[field].index_select(0, batch[self.user_field])
        elif self.histories is not None and field.startswith(PREFIX):
            return self._in_history(field, self.histories, batch)
        else:
            raise KeyError(field)
        if value.is_floating_point():
            return self.as_number(value) if field in self.numerical else value
        return value.long()

    def _in_history(self, field: str, histories: Histories, batch: Batch) -> Tensor:
        """``history/<field>``: as ``input`` for each row of the histories, [b, n, ..], 0 where
        there is none; ``history/length``: how many there are, [b]."""
        if PREFIX not in batch.memo:
            batch.memo[PREFIX] = _Elements(self, histories.of(batch.index))
        elements = batch.memo[PREFIX]
        if field == LENGTH:
            return elements.length()
        value = elements[field.removeprefix(PREFIX)]
        return value.view(*elements.none_bn.shape, *value.shape[1:])

    @staticmethod
    def as_number(value: Tensor) -> Tensor:
        """RecBole's FLEmbedding reads a number as the pair (value, index of its only vector)."""
        return torch.stack([value, torch.ones_like(value)], dim=-1)

    def scaled_vectors(self, dataset) -> dict[str, Scaled]:
        """Content vectors by field, on the scale of what the split of ``dataset`` lets be seen."""
        return {field: vectors.scaled(dataset) for field, vectors in self.vectors.items()}

    def features_of(self, id_field: str) -> dict[str, Tensor]:
        """Feature columns of all items, or of all users, by code; content vectors as codes."""
        return self.item_features if id_field == self.item_field else self.user_features
