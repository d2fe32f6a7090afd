"""From atomic files to the arrays of a ``ColdStartDataset``, in RecBole's order of steps.

Read, drop rows, number tokens, order features by id, label. Single numbers stay as read.
"""

from pathlib import Path
from typing import Any

import numpy as np
from recbole.utils import FeatureSource, FeatureType

from recbole_cold.data import _filters as filters
from recbole_cold.data._atomic import (
    Column,
    Format,
    renumber,
    share_codes,
    stack,
)
from recbole_cold.data._memory import refuse_more_codes
from recbole_cold.data._mending import align_ids, in_order, look_at
from recbole_cold.data._names import (
    check_fields,
    check_suffixes,
    given,
    instead,
    stated_kinds,
    wanted_fields,
)
from recbole_cold.data._sources import place_of, read_header, read_source
from recbole_cold.data._vectors import Named, VectorColumn, as_vectors, lacking, read_vectors
from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.distinct import count_in_place, first_positions
from recbole_cold.errors import UserError, nearest
from recbole_cold.kinds import text_of

# To be raised when the same files and settings give other arrays, so that caches are remade.
READER = 4

Table = dict[str, Column]

TOKENS = {FeatureType.TOKEN, FeatureType.TOKEN_SEQ}


class Build:
    """One pass over the files: ``columns`` makes the arrays, ``meta`` describes them.

    Args:
        config: as ``ColdStartDataset`` takes it.
        files: suffix (inter, user, item) -> files.
        vectors: suffix -> field -> the file of its content vectors.
    """

    def __init__(
        self, config: Any, files: dict[str, list[Path]], vectors: dict[str, dict[str, Path]]
    ) -> None:
        self.config, self.files, self.vectors = config, files, vectors
        self.uid, self.iid = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.id_of = {"user": self.uid, "item": self.iid}
        self.label, self.time = config["LABEL_FIELD"], config["TIME_FIELD"]
        self.form = Format(
            (config["field_separator"] or "\t").replace("\\t", "\t"),  # as shells leave it
            config["seq_separator"] or " ",
            config["encoding"] or "utf-8",
            stated_kinds(config),
        )
        self.ready = config["benchmark_filename"] is not None
        self.fields: dict[str, tuple[FeatureType, FeatureSource, int]] = {}
        self.tables: dict[str, Table] = {}
        self.named: list[tuple[str, str, Named]] = []  # suffix, field, vectors with ids
        self.notes: list[str] = []
        self.part_rows: list[int] = []
        self.origin: np.ndarray | None = None

    def columns(self) -> dict[str, np.ndarray]:
        """Arrays by ``inter/<field>``, ``user/<field>``, ``item/<field>``, ``tokens/<field>`` and
        ``ends/<field>`` (``Vocabulary.parts``) and, where rows were dropped or sorted, ``origin/``:
        the row number as read.
        """
        self._read()
        self._filter()
        tokens = self._number()
        columns = {}
        for field, vocabulary in tokens.items():
            columns[f"tokens/{field}"], columns[f"ends/{field}"] = vocabulary.parts()
        for suffix in ("user", "item"):
            for field, values in self._feature_table(suffix, len(tokens[self.id_of[suffix]])):
                columns[f"{suffix}/{field}"] = values
        for suffix, field, vectors in self.named:
            matrix, notes = vectors.by_code(tokens[self.id_of[suffix]])
            columns[f"{suffix}/{field}"] = matrix
            self.notes += [*notes, *lacking(matrix, suffix, field)]
        for field, values in self._rows():
            columns[f"inter/{field}"] = values
        if self.origin is not None:
            columns["origin/"] = self.origin
        self._tell_side_information()
        return columns

    def meta(self) -> dict[str, Any]:
        """Facts beside the arrays: fields in RecBole's order, rows per part, notes."""
        fields = [
            [field, kind.value, source.value, length]
            for field, (kind, source, length) in self.fields.items()
        ]
        return {"fields": fields, "part_rows": self.part_rows, "notes": self.notes}

    # Reading

    def _read(self) -> None:
        check_suffixes(self.config)
        seq_len = self.config["seq_len"] or {}
        for suffix, paths in self.files.items():
            wanted = wanted_fields(self.config, suffix, paths[0], self.form)
            numbers = self._numbers() if suffix == "inter" else ()
            pieces = [
                read_source(path, self.form, wanted, seq_len, numbers, self.notes) for path in paths
            ]
            for number, (path, piece) in enumerate(zip(paths, pieces, strict=True)):
                pieces[number] = in_order(piece, pieces[0], path, paths[0])
            if suffix == "inter":
                self.part_rows = [len(next(iter(piece.values()), ())) for piece in pieces]
            self._check_ids(suffix, paths[0], pieces[0])
            table = stack(pieces) if len(pieces) > 1 else pieces[0]
            self.tables[suffix] = as_vectors(table, paths)
            # Rows of numbers with an interval may go yet.
            rest = self.tables[suffix].keys() - set(self.config["val_interval"] or ())
            self.notes += look_at(self.tables[suffix], rest, paths, self.form, self.time)
        for suffix, field, vectors in read_vectors(self.vectors, self.tables):
            if isinstance(vectors, VectorColumn):
                self.tables[suffix][field] = vectors
            else:
                self.named.append((suffix, field, vectors))
        for suffix, paths in self.files.items():
            self._register(suffix, paths[0])
        for suffix, field, vectors in self.named:
            kind, width = FeatureType.FLOAT_SEQ, vectors.vectors.shape[1]
            self.fields[field] = (kind, FeatureSource(suffix), width)
        for side in sorted(self.id_of.keys() & self.tables.keys()):
            field = self.id_of[side]
            ids = self.tables["inter"][field], self.tables[side][field]
            self.notes += align_ids(*ids, side, field)
        check_fields(self.config, {field: known[0] for field, known in self.fields.items()})

    def _numbers(self) -> set[str]:
        """Fields of the interactions that have to be numbers: label, time, what gives labels."""
        return {self.label, self.time, *(self.config["threshold"] or ())} - {self.uid, self.iid}

    def _check_ids(self, suffix: str, path: Path, table: Table) -> None:
        for field in (self.uid, self.iid) if suffix == "inter" else (self.id_of[suffix],):
            if field not in table:
                raise UserError(
                    f"the id field {field!r} is not loaded from '{path}'; add it to the header or "
                    "to load_col, or set USER_ID_FIELD and ITEM_ID_FIELD"
                )
            if table[field].kind != FeatureType.TOKEN:
                raise UserError(f"the id field {field!r} of '{path}' must be declared as token")

    def _register(self, suffix: str, path: Path) -> None:
        for field, column in self.tables[suffix].items():
            refuse_more_codes(field, column, path)
            if field in self.fields and field != self.id_of.get(suffix):
                raise UserError(
                    f"the field {field!r} of '{path}' is in another atomic file too; rename it or "
                    "leave it out with unload_col"
                )
            length = 1
            if isinstance(column, VectorColumn):
                length = column.width
            elif column.offsets is not None:
                # Models read at least the padding of a field that is empty throughout.
                length = max(1, int(column.lengths.max(initial=0)))
            self.fields[field] = (column.kind, FeatureSource(suffix), length)
        for side, field in self.id_of.items():
            if suffix in ("inter", side):
                self.fields[field] = (FeatureType.TOKEN, FeatureSource(f"{side}_id"), 1)

    # Dropping rows

    def _filter(self) -> None:
        for suffix, field in self.id_of.items():
            present = [self.tables[s][field] for s in ("inter", suffix) if s in self.tables]
            share_codes(present)
        n_read = len(self.tables["inter"][self.uid])
        rows = np.arange(n_read, dtype=np.int32 if n_read < 2**31 else np.int64)
        for suffix, field in self.id_of.items():
            if suffix in self.tables:
                self._list_once(suffix, field)
        keep = (self._codes("inter", self.uid) >= 0) & (self._codes("inter", self.iid) >= 0)
        self._count_dropped("have no user or no item", keep)
        rows = self._keep_rows(rows, keep)
        if not self.ready:
            rows = self._drop_repeated(rows)
            rows = self._by_value(rows)
            rows = self._by_listed(rows)
            rows = self._by_core(rows)
        elif any(given(self.config, key) for key in _FILTERS):
            self.notes.append("filters of rows do not apply to ready parts (benchmark_filename)")
        if not len(rows):
            raise UserError(
                f"no interaction of '{self.files['inter'][0]}' is left after the filters; check "
                "val_interval, user_inter_num_interval and item_inter_num_interval"
            )
        if len(rows) < n_read or (rows[1:] < rows[:-1]).any():
            self.origin = rows
            if self.ready:
                ends = np.searchsorted(rows, np.cumsum(self.part_rows))
                self.part_rows = np.diff(np.r_[0, ends]).tolist()
        if not self.ready:
            self.part_rows = [len(rows)]
        self._count_repeated()

    def _codes(self, suffix: str, field: str) -> np.ndarray:
        return self.tables[suffix][field].values

    def _keep_rows(self, rows: np.ndarray, keep: np.ndarray) -> np.ndarray:
        """Restrict the interactions by a mask, or a list of positions; returns ``rows`` so."""
        if keep.dtype == bool and keep.all():
            return rows
        self.tables["inter"] = filters.restrict(self.tables["inter"], keep)
        return rows[keep]

    def _list_once(self, suffix: str, field: str) -> None:
        """Of a feature file, the first row of each id."""
        column = self.tables[suffix][field]
        codes = column.values
        assert column.vocab is not None
        first = first_positions([codes], len(column.vocab))
        first = np.sort(first[first >= 0])
        if len(first) < len(codes):
            self.notes.append(
                f"{len(codes) - len(first):,} rows of '.{suffix}' have no id or repeat one and are "
                "left out"
            )
            self.tables[suffix] = filters.restrict(self.tables[suffix], first)

    def _drop_repeated(self, rows: np.ndarray) -> np.ndarray:
        keep = self.config["rm_dup_inter"]
        if keep is None:
            return rows
        if keep not in ("first", "last"):
            raise UserError(f"rm_dup_inter is {keep!r}; use 'first' or 'last', or leave it out")
        time = self.tables["inter"].get(self.time)
        order = filters.first_or_last(
            self._codes("inter", self.uid),
            self._codes("inter", self.iid),
            None if time is None else time.values,
            keep,
        )
        dropped = len(rows) - len(order)
        self.notes.append(f"rm_dup_inter={keep} removed {dropped:,} repeated interactions")
        return self._keep_rows(rows, order)

    def _by_value(self, rows: np.ndarray) -> np.ndarray:
        for field, rule in (self.config["val_interval"] or {}).items():
            if field not in self.fields:
                raise UserError(
                    f"val_interval names the field {field!r}, which is not loaded"
                    + instead(field, self.fields)
                )
            for suffix in [s for s, table in self.tables.items() if field in table]:
                keep = filters.keep_by_value(self.tables[suffix][field], rule, field)
                if suffix == "inter":
                    self._count_dropped(f"are outside val_interval of '{field}'", keep)
                    rows = self._keep_rows(rows, keep)
                else:
                    self.tables[suffix] = filters.restrict(self.tables[suffix], keep)
        return rows

    def _by_listed(self, rows: np.ndarray) -> np.ndarray:
        if self.config["filter_inter_by_user_or_item"] is not True:
            return rows
        for suffix, field in self.id_of.items():
            if suffix in self.tables:
                keep = np.isin(self._codes("inter", field), self._codes(suffix, field))
                self._count_dropped(
                    f"belong to {suffix}s without a row in '.{suffix}' "
                    "(filter_inter_by_user_or_item)",
                    keep,
                )
                rows = self._keep_rows(rows, keep)
        return rows

    def _by_core(self, rows: np.ndarray) -> np.ndarray:
        keys = [f"{suffix}_inter_num_interval" for suffix in self.id_of]
        intervals = [
            None if self.config[key] is None else filters.parse_intervals(self.config[key], key)
            for key in keys
        ]
        if intervals == [None, None]:
            return rows
        listed = [
            self._codes(suffix, field) if suffix in self.tables else None
            for suffix, field in self.id_of.items()
        ]
        codes = [self._codes("inter", field) for field in self.id_of.values()]
        core = filters.Core(codes, listed, intervals)
        keep = core.rows(np.ones(len(rows), dtype=bool))
        for gone, (suffix, field) in zip(core.gone, self.id_of.items(), strict=True):
            if suffix in self.tables:
                left = ~gone[self._codes(suffix, field)]
                self.tables[suffix] = filters.restrict(self.tables[suffix], left)
        self._count_dropped("belong to users or items outside the *_inter_num_interval", keep)
        return self._keep_rows(rows, keep)

    def _count_dropped(self, why: str, keep: np.ndarray) -> None:
        if not keep.all():
            self.notes.append(f"{int((~keep).sum()):,} interactions {why} and are left out")

    def _count_repeated(self) -> None:
        items = self._codes("inter", self.iid)
        pair = self._codes("inter", self.uid) * (np.int64(items.max(initial=0)) + 1)
        pair += items
        repeated = len(pair) - count_in_place(pair)
        if repeated:
            self.notes.append(
                f"{repeated:,} interactions repeat a (user, item) pair and are kept; "
                "rm_dup_inter: first or last drops them"
            )

    # Numbering tokens

    def _number(self) -> dict[str, Vocabulary]:
        """Field -> tokens by id; the columns then hold ids."""
        tokens = {}
        for suffix, field in self.id_of.items():
            both = [self.tables[s][field] for s in ("inter", suffix) if s in self.tables]
            tokens[field] = renumber(both)
        for table in self.tables.values():
            for field, column in table.items():
                if column.kind in TOKENS and field not in tokens:
                    tokens[field] = renumber([column])
        return tokens

    # Features by id

    def _feature_table(self, suffix: str, n: int) -> list[tuple[str, np.ndarray]]:
        table = self.tables.get(suffix)
        if table is None:
            return []
        ids = table[self.id_of[suffix]].values
        missing = n - 1 - len(ids)
        if missing:
            self.notes.append(
                f"{missing:,} of {n - 1:,} {suffix}s have no row in '.{suffix}'; their features "
                "are padding (numbers: the mean)"
            )
        return [
            (field, self._by_id(field, column, ids, n))
            for field, column in table.items()
            if field != self.id_of[suffix]
        ]

    def _by_id(self, field: str, column: Column, ids: np.ndarray, n: int) -> np.ndarray:
        if isinstance(column, VectorColumn):
            matrix = column.by_code(ids, n)
            self.notes += lacking(matrix, self.fields[field][1].value, field)
            return matrix
        if column.offsets is not None:
            matrix = column.padded(self.fields[field][2])
            values = np.zeros((n, matrix.shape[1]), dtype=_small(matrix.dtype))
            values[ids] = matrix
            return values
        if column.kind == FeatureType.TOKEN:
            values = np.zeros(n, dtype=np.int32)
            values[ids] = column.values
            return values
        full = np.full(n, np.nan)
        full[ids] = self._not_empty(field, column.values)
        return full

    # Row columns

    def _rows(self) -> list[tuple[str, np.ndarray]]:
        table = self.tables["inter"]
        label = self._labels(table)
        rows = []
        dropped = set(self.config["threshold"] or {}) - {self.label}
        for field, column in table.items():
            if field in dropped:
                del self.fields[field]
            elif field == self.time:
                rows.append((field, self._times(column)))
            elif field != self.label:
                rows.append((field, self._row_column(field, column)))
        if dropped and self.label in table:
            self.notes.append(
                f"threshold on {min(dropped)!r} gives the labels; the column {self.label!r} of the "
                "files is not read"
            )
        self.fields[self.label] = (FeatureType.FLOAT, FeatureSource.INTERACTION, 1)
        rows.append((self.label, label))
        if self.time not in table:
            self._tell_no_time()
        return rows

    def _row_column(self, field: str, column: Column) -> np.ndarray:
        if column.kind == FeatureType.TOKEN:
            return column.values
        if isinstance(column, VectorColumn):
            return column.in_order()
        if column.offsets is not None:
            matrix = column.padded(self.fields[field][2])
            return matrix.astype(_small(matrix.dtype), copy=False)
        return self._not_empty(field, column.values)

    def _times(self, column: Column) -> np.ndarray:
        if column.kind != FeatureType.FLOAT:
            raise UserError(f"the time field {self.time!r} must be declared as float")
        self._refuse_nan(self.time, column.values)
        return column.values

    def _labels(self, table: Table) -> np.ndarray:
        threshold = self.config["threshold"]
        if threshold is not None and len(threshold) != 1:
            raise UserError(f"threshold is {threshold}; it must name exactly one field")
        field, least = next(iter((threshold or {self.label: None}).items()))
        path = self.files["inter"][0]
        if field not in table:
            header = read_header(path, self.form)
            unused, guess = field in header, nearest(field, header)
            where = "is not loaded (see load_col)" if unused else f"is not in '{path}'"
            wrong = "the field of threshold" if threshold else "there is no threshold and the label"
            raise UserError(
                f"{wrong} {field!r} {where}; "
                + (f"did you mean '{guess}'? " if guess and not unused else "")
                + "give a 0/1 field as LABEL_FIELD or set threshold, for example "
                "--threshold=\"{'rating': 4}\""
            )
        if table[field].kind != FeatureType.FLOAT:
            raise UserError(f"the field {field!r} gives the label and must be declared as float")
        values = table[field].values
        self._refuse_nan(field, values)
        if threshold is not None:
            labels = values >= least
        elif np.isin(values, (0.0, 1.0)).all():
            labels = values
        else:
            odd = values[~np.isin(values, (0.0, 1.0))][0]
            raise UserError(
                f"the label {field!r} of '{path}' has the value {odd:g}; use only 0 and 1, or set "
                f"threshold to say from which value on it is 1"
            )
        labels = labels.astype(np.float32)
        one_class = labels.min() == labels.max()
        if one_class and threshold is not None and values.min() < values.max():
            raise UserError(
                f"threshold {text_of(threshold)} makes all labels {labels[0]:g}: {field!r} reaches "
                f"from {values.min():g} to {values.max():g}; choose a number in between"
            )
        if one_class:
            self.notes.append(f"all labels are {labels[0]:g}; no metric can tell models apart")
        return labels

    def _refuse_nan(self, field: str, values: np.ndarray) -> None:
        if not np.isnan(values).any():
            return
        row = int(np.flatnonzero(np.isnan(values))[0])
        row = row if self.origin is None else int(self.origin[row])
        raise UserError(
            f"{int(np.isnan(values).sum()):,} interactions have no {field!r}, the first in "
            f"{place_of(self.files['inter'], row)}; fill it or remove the rows"
        )

    # Numbers

    @staticmethod
    def _not_empty(field: str, values: np.ndarray) -> np.ndarray:
        """Numbers as they were read, NaN where there is none."""
        if np.isnan(values).all():
            raise UserError(f"the float field {field!r} has no value at all; leave it out")
        return values

    # What to tell

    def _tell_no_time(self) -> None:
        unused = self.time in read_header(self.files["inter"][0], self.form)
        why = "is not loaded (see load_col)" if unused else "is not in the data"
        self.notes.append(
            f"the time field {self.time!r} {why}; rows are ordered by a seeded permutation"
        )

    def _tell_side_information(self) -> None:
        for suffix in self.id_of:
            if FeatureSource(suffix) not in {source for _, source, _ in self.fields.values()}:
                self.notes.append(
                    f"there are no {suffix} features; methods that read {suffix} side information "
                    "have none"
                )


_FILTERS = (
    "rm_dup_inter", "val_interval", "user_inter_num_interval", "item_inter_num_interval",
)  # fmt: skip


def _small(kind: np.dtype) -> type:
    return np.float32 if kind == np.float64 else np.int32
