"""The items of a kept model, with some dropped and some that are new to it.

Codes are never used again: a dropped item keeps its row, without token, features and counts.
With ``cold_side: user`` these are the users.
"""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from recbole.utils import FeatureType

from recbole_cold.errors import UserError
from recbole_cold.experiment.model_folder import (
    DROPPED,
    GENERATED,
    GROWN,
    LISTED,
    OLD,
    PHASE,
    TOKEN_KINDS,
    WARM,
    WARMING,
    WITH_VECTORS,
    texts_of,
)
from recbole_cold.serving.encoding import as_numbers, as_texts
from recbole_cold.serving.fitted import Fitted
from recbole_cold.serving.frames import as_table, index_in, refuse_missing, refuse_twice, whole

Array = np.ndarray


class Catalogue:
    """The side of a model that grows.

    Args:
        fitted: the model.

    Attributes:
        ids: columns ``token`` and ``trained`` by code.
        table: features, counts and vectors by code, ``status`` and ``phase`` among them.
        given: field -> tokens of the items that were added, those unseen among them.
        grown: how many items this call has added, and ``listed``: those of them that the model had
            features of.
        dropped, known: how many were dropped, and how many of the given ones it knew.
    """

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted
        kept, dataset = fitted.kept, fitted.dataset
        self.side = dataset.split.cold_side
        self.id_field = dataset.id_field_of(self.side)
        (field,) = (each for each in kept.about["fields"] if each["name"] == self.id_field)
        self.ids, table = kept.tokens(field), kept.table(self.side)
        if PHASE not in table.column_names:
            table = table.append_column(PHASE, pa.nulls(len(table), pa.string()))
        elif PHASE in dataset.spec:
            raise UserError(
                f"a feature is called '{PHASE}', as a column of grown models; rename it in the data"
            )
        self.table = table
        self.given: Counter[str] = Counter()
        self.grown = self.listed = self.dropped = self.known = 0

    @property
    def status(self) -> Array:
        return np.asarray(self.table["status"].to_numpy(zero_copy_only=False), dtype=object)

    def codes(self, texts: pa.Array) -> Array:
        """Codes int64 [k] of ids, -1 where nothing is known of them."""
        place = index_in(texts, whole(self.ids["token"]).cast(pa.large_string())[1:])  # no padding
        return np.where(place >= 0, place + 1, -1)

    # ---------------------------------------------------------------- drop
    def drop(self, values: Any) -> None:
        """Forget items.

        Args:
            values: a frame with their id column, or a list of ids.

        Raises:
            UserError: one is not known, or none is left that is old, or new.
        """
        texts = self._texts(values, f"the {self.side}s to drop")
        code = self.codes(texts)
        if (code < 0).any():
            first = str(texts[int(np.flatnonzero(code < 0)[0])])
            raise UserError(
                f"'{first[:80]}' is to be dropped and is not known ({int((code < 0).sum()):,} "
                "such); leave it out"
            )
        gone = np.zeros(len(self.table), dtype=bool)
        gone[code] = True
        where = pa.array(np.arange(len(gone)), mask=gone)
        counts, ours = ("visible_rows", "clicks"), ("status", "vector", "first_order")
        columns = {}
        for name in self.table.column_names:
            column = whole(self.table[name])
            if name in counts:
                column = pa.array(np.where(gone, 0, column.to_numpy()), column.type)
            elif name == "status":
                column = pa.array(np.where(gone, DROPPED, self.status), column.type)
            elif name not in ours:
                column = column.take(where)
            columns[name] = column
        self.table = pa.table(columns)
        trained = self.ids["trained"].to_numpy() & ~gone
        tokens = whole(self.ids["token"]).take(where)
        self.ids = pa.table({"token": tokens, "trained": pa.array(trained)})
        self.dropped = int(gone.sum())

    def refuse_empty(self) -> None:
        """
        Raises:
            UserError: no item is old any more, or none is new: there is nothing to grow from.
        """
        status = self.status
        for word, there in (("old", status == OLD), ("new", np.isin(status, WITH_VECTORS[1:]))):
            if not there.any():
                raise UserError(
                    f"no {self.side} would be {word} any more, and a model needs one; drop fewer, "
                    "or give others in the same call"
                )

    # ---------------------------------------------------------------- add
    def add(self, frame: Any) -> None:
        """Items that the model does not know, by their features.

        Args:
            frame: one row of each; a feature that has no column is missing.

        Raises:
            UserError: there is no id column, or an id stands there twice.
        """
        table = as_table(frame)
        texts = self._texts(table, f"the {self.side}s")
        code = self.codes(texts)
        status = self.status[code]
        listed = (code > 0) & (status == LISTED)
        self.known += int(((code >= 0) & ~listed).sum())
        self.claim(code[listed])
        new = pa.array(code < 0)
        self._append(table.filter(new), texts.filter(new))

    def claim(self, codes: Array) -> None:
        """Items without a vector, of which the model has the features, are grown from these."""
        status, phase = self.status, self.table[PHASE].to_numpy(zero_copy_only=False).astype(object)
        status[codes], phase[codes] = GROWN, GENERATED
        self.table = _exchanged(self.table, status=status, phase=phase)
        self.listed += len(np.unique(codes))

    def _append(self, table: pa.Table, texts: pa.Array) -> None:
        n, schema = len(texts), self.table.schema
        # Null of any type: of a vector, too, which is made when the method is there.
        columns = {name: pa.nulls(n, schema.field(name).type) for name in schema.names}
        columns[self.id_field] = texts.cast(schema.field(self.id_field).type)
        firsts = {"status": GROWN, PHASE: GENERATED, "visible_rows": 0, "clicks": 0}
        for name, value in firsts.items():
            columns[name] = pa.repeat(pa.scalar(value, schema.field(name).type), n)
        read = {*table.column_names} & {*self.fitted.policies} - {self.id_field}
        for name in schema.names:
            if name in read:
                feature = self._feature(name, whole(table[name]))
                columns[name] = feature.cast(schema.field(name).type)
        self.table = pa.concat_tables([self.table, pa.table(columns, schema)])
        more = pa.table({"token": texts, "trained": pa.array(np.zeros(n, dtype=bool))})
        self.ids = pa.concat_tables([self.ids, more.cast(self.ids.schema)])
        self.grown += n

    def _feature(self, field: str, values: pa.Array) -> pa.Array:
        """As a model's folder has it: numbers as given; of tokens those that the run reads."""
        encoder, dataset = self.fitted.encoder, self.fitted.dataset
        column = encoder.column(field, values)
        if FeatureType(dataset.spec[field]["type"]) not in TOKEN_KINDS:
            return pa.array(as_numbers(field, values), from_pandas=True)
        self.given[field] += int((column != 0).sum()) + encoder.report.unseen[field]
        return texts_of(dataset, field, column)

    def _texts(self, values: Any, what: str) -> pa.Array:
        """Ids, each once."""
        if isinstance(values, list | tuple):
            values = {self.id_field: [str(value) for value in values]}
        table = as_table(values)
        refuse_missing(table, [self.id_field], what)
        texts = as_texts(self.id_field, whole(table[self.id_field]))
        if texts.null_count:
            raise UserError(f"{texts.null_count:,} of {what} have no '{self.id_field}'; fill it")
        refuse_twice(texts, self.side)
        return texts

    # ---------------------------------------------------------------- after a phase
    def served(
        self, rows: Array, clicks: Array, promote_after: int, vector: Array, weight: Array | None
    ) -> dict[str, int]:
        """Count rows [n] and clicks [n] of a phase, and put in what is served now.

        Args:
            promote_after: from how many rows on an item is warm.
            vector: [n, d]. weight: scalar weights [n], if the click model has some.

        Returns:
            How many items are in each phase.
        """
        seen = self.table["visible_rows"].to_numpy() + rows
        clicked = self.table["clicks"].to_numpy() + clicks
        phase = np.where(seen >= promote_after, WARM, np.where(seen > 0, WARMING, GENERATED))
        is_new = np.isin(self.status, WITH_VECTORS[1:])
        words = np.where(is_new, phase, None)
        self.table = _exchanged(self.table, visible_rows=seen, clicks=clicked, phase=words)
        flat = pa.array(vector.reshape(-1), pa.float32())
        columns = {name: self.table[name] for name in self.table.column_names}
        columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, vector.shape[1])
        if weight is not None:
            columns["first_order"] = pa.array(weight, pa.float32())
        self.table = pa.table(columns)
        return {word: int((phase[is_new] == word).sum()) for word in (GENERATED, WARMING, WARM)}


def with_rows(table: pa.Table, codes: Array, label: Array) -> pa.Table:
    """The other side's table, with the rows of a phase counted.

    Args:
        codes: int [r], of the rows; those beyond the table are of nobody it knows.
    """
    n = len(table)
    known = codes < n
    rows = np.bincount(codes[known], minlength=n)
    clicks = np.bincount(codes[known], weights=label[known], minlength=n).astype(np.int64)
    status = table["status"].to_numpy(zero_copy_only=False).astype(object)
    status[rows > 0] = OLD
    return _exchanged(
        table,
        visible_rows=table["visible_rows"].to_numpy() + rows,
        clicks=table["clicks"].to_numpy() + clicks,
        status=status,
    )


def _exchanged(table: pa.Table, **columns: Any) -> pa.Table:
    """The table with other values in some of its columns, of the types that these have."""
    for name, column in columns.items():
        at, kind = table.column_names.index(name), table.schema.field(name).type
        table = table.set_column(at, name, pa.array(column, kind))
    return table
