"""Parquet and Arrow files as typed columns, the same that an atomic file of their content gives.

Names of columns are ``field:type``, as in atomic files, or plain; then the kind follows from the
column's Arrow type, as ``from_frames`` takes it from the type of a frame's column. A file is read
batch by batch, and only the columns that are asked for; texts become codes at once.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from recbole.utils import FeatureType

from recbole_cold.data._atomic import MISSING, TYPES, Column, Format, numbers_of, tokens_of
from recbole_cold.data._frame_cells import reads_as_missing, token_text
from recbole_cold.errors import UserError

_ROWS = 1 << 18  # rows of a batch: bounds the memory for texts that are not codes yet
_CODED = pa.dictionary(pa.int32(), pa.string())
# A column that pandas adds where the rows of a frame have labels of their own.
_INDEX = re.compile(r"__index_level_\d+__")
_SEQUENCES = {FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ}


class _Opened(NamedTuple):
    """A file of columns.

    Attributes:
        schema: its columns.
        rows: counts its rows.
        batches: the columns of these names, some rows at a time.
        table: all of it.
    """

    schema: pa.Schema
    rows: Callable[[], int]
    batches: Callable[[list[str]], Iterator[pa.RecordBatch]]
    table: Callable[[], pa.Table]


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    """Context: the file, open.

    Raises:
        UserError: it does not exist, or is not what its name says.
    """
    what = "parquet" if path.suffix == ".parquet" else "Arrow"
    try:
        with (_parquet if what == "parquet" else _arrow)(path) as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(
            f"the file '{path}' does not exist; check --dataset and --data_path"
        ) from error
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot read '{path}' ({first}); it is no whole {what} file: write it again"
        ) from error


@contextmanager
def _parquet(path: Path) -> Iterator[_Opened]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(
            f"'{path}' is a parquet file, and the pyarrow that is installed cannot read such "
            f"({error}); pip install --force-reinstall pyarrow, or write an .arrow file"
        ) from error
    with pq.ParquetFile(path) as file:
        yield _Opened(
            file.schema_arrow,
            lambda: file.metadata.num_rows,
            lambda names: file.iter_batches(batch_size=_ROWS, columns=names),
            file.read,
        )


@contextmanager
def _arrow(path: Path) -> Iterator[_Opened]:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:

        def batches(names: list[str]) -> Iterator[pa.RecordBatch]:
            wanted = pa.ipc.IpcReadOptions(
                included_fields=list(map(file.schema.names.index, names))
            )
            with pa.ipc.open_file(source, options=wanted) as some:
                for number in range(some.num_record_batches):
                    batch = some.get_batch(number)
                    for start in range(0, batch.num_rows, _ROWS):
                        yield batch.slice(start, _ROWS)

        yield _Opened(
            file.schema,
            lambda: sum(batch.num_rows for batch in batches(file.schema.names[:1])),
            batches,
            file.read_all,
        )


def rows_of(path: Path) -> int:
    """How many rows a file has."""
    with _opened(path) as file:
        return file.rows()


def table_of(path: Path) -> pa.Table:
    """All of a file, as it is."""
    with _opened(path) as file:
        return file.table()


def payload(table: pa.Table, ending: str) -> pa.Buffer:
    """The content of a file of columns; ``ending`` says of which form."""
    sink = pa.BufferOutputStream()
    if ending == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, sink)
    else:
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
    return sink.getvalue()


# ------------------------------------------------------------------------------- kinds
def column_header(path: Path, form: Format) -> dict[str, FeatureType]:
    """Field -> kind, as names, configuration and types of columns say.

    Raises:
        UserError: the file cannot be read, or has a column whose name or type no field has.
    """
    with _opened(path) as file:
        return {field: kind for field, (kind, _) in _fields(path, file.schema, form.kinds).items()}


def _fields(
    path: Path, schema: pa.Schema, said: Mapping[str, FeatureType]
) -> dict[str, tuple[FeatureType, str]]:
    """Field -> its kind, and the name of its column."""
    fields: dict[str, tuple[FeatureType, str]] = {}
    for column in schema:
        if _INDEX.fullmatch(column.name):
            continue
        name, colon, declared = column.name.partition(":")
        if not name.strip() or re.search(r'[\t\r\n"]', name):
            raise UserError(
                f"column {column.name!r} of '{path}' has an empty name or one with a quotation "
                "mark, a tab or a line break; rename it"
            )
        if colon and declared not in TYPES:
            raise UserError(
                f"column {column.name!r} of '{path}' has the unknown type {declared!r}; use one "
                f"of {', '.join(TYPES)}"
            )
        if name in fields:
            raise UserError(f"field {name!r} occurs twice in '{path}'; rename one")
        kind = TYPES[declared] if colon else said.get(name) or _kind_of(path, name, column.type)
        fields[name] = kind, column.name
    return fields


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"


def _is_date(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _kind_of(path: Path, name: str, kind: pa.DataType) -> FeatureType:
    """RecBole's kind of a column, by its type."""
    if _is_list(kind):
        element = kind.value_type
        if pa.types.is_dictionary(element):
            element = element.value_type
        if _is_text(element) or pa.types.is_null(element):
            return FeatureType.TOKEN_SEQ
        if _is_number(element):
            return FeatureType.FLOAT_SEQ
    elif _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind):
        return FeatureType.TOKEN
    elif _is_number(kind) or _is_date(kind):
        return FeatureType.FLOAT
    raise UserError(
        f"{_place(path, name)} is of type {kind}; make it texts, truth values, numbers, dates, or "
        "lists of texts or of numbers, or leave it out of the file"
    )


def _place(path: Path, field: str) -> str:
    return f"column '{field}' of '{path}'"


# ------------------------------------------------------------------------------- columns
def read_columns(
    path: Path, form: Format, wanted: Callable[[str], bool], notes: list[str]
) -> dict[str, Column]:
    """The wanted fields of a file of columns, in its order.

    Args:
        notes: gets a sentence where a column is left out.

    Raises:
        UserError: a column holds what its kind does not; names the column and the file.
    """
    with _opened(path) as file:
        fields = {
            field: known
            for field, known in _fields(path, file.schema, form.kinds).items()
            if wanted(field)
        }
        for name in filter(_INDEX.fullmatch, file.schema.names):
            notes.append(f"'{name}' of '{path.name}', the index that pandas wrote, is not read")
        if not fields:
            return {}
        readers = {
            field: _Reader(kind, file.schema.field(name).type, _place(path, field))
            for field, (kind, name) in fields.items()
        }
        for batch in file.batches([name for _, name in fields.values()]):
            for field, (_, name) in fields.items():
                readers[field].add(batch.column(name))
    return {field: reader.column() for field, reader in readers.items()}


class _Reader:
    """One column, batch by batch.

    Args:
        kind: RecBole's, which the column has to become.
        arrow: its type in the file.
        place: the column in words.
    """

    def __init__(self, kind: FeatureType, arrow: pa.DataType, place: str) -> None:
        self.kind, self.place = kind, place
        values = arrow.value_type if pa.types.is_dictionary(arrow) else arrow
        self.is_list = _is_list(values)
        self.of_words = kind == FeatureType.TOKEN_SEQ and _is_text(values)
        if (kind in _SEQUENCES) != (self.is_list or self.of_words):
            wanted = "a list" if kind in _SEQUENCES else "one value"
            raise UserError(f"{place} is of type {arrow} where {wanted} is wanted; mend it")
        element = values.value_type if self.is_list else values
        if pa.types.is_dictionary(element):
            element = element.value_type
        # Texts that have to be numbers are read once per different text.
        self.as_tokens = kind in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ) or _is_text(element)
        self.pieces: list[Any] = []
        self.lengths: list[np.ndarray] = []

    def add(self, array: pa.Array) -> None:
        """Take the next rows."""
        if self.kind in _SEQUENCES:
            array = self._elements(array)
        self.pieces.append((_tokens if self.as_tokens else _numbers)(array, self.place))

    def _elements(self, array: pa.Array) -> pa.Array:
        """All elements of the rows, one after the other; notes the rows' lengths."""
        if self.of_words:
            if pa.types.is_dictionary(array.type):
                array = array.dictionary_decode()
            array = pc.utf8_split_whitespace(array.cast(pa.string()))
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        flat = pc.list_flatten(array)
        if flat.null_count:
            raise UserError(f"{self.place} has a list with a missing element; leave that one out")
        if pa.types.is_dictionary(flat.type):
            flat = flat.dictionary_decode()
        if _is_text(flat.type):
            # As in the files: an empty text between two separators is no element.
            filled = pc.greater(pc.binary_length(flat.cast(pa.large_string())), 0)
            before = np.r_[0, np.cumsum(filled.to_numpy(zero_copy_only=False))]
            lengths = np.diff(before[np.r_[0, np.cumsum(lengths)]])
            flat = flat.filter(filled)
        self.lengths.append(lengths)
        return flat

    def column(self) -> Column:
        """All rows."""
        offsets = None
        if self.kind in _SEQUENCES:
            offsets = np.r_[0, np.cumsum(np.concatenate([np.zeros(0, np.int64), *self.lengths]))]
        if not self.as_tokens:
            values = np.concatenate([np.zeros(0), *self.pieces])
            if offsets is not None and not np.isfinite(values).all():
                raise UserError(
                    f"{self.place} has a list with a number that is not finite; replace it"
                )
            return Column(self.kind, values, offsets)
        column = tokens_of(pa.chunked_array(self.pieces, type=_CODED), self.kind)
        if self.kind in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ):
            return Column(self.kind, column.values, offsets, column.vocab)
        numbers = numbers_of(column.vocab)
        if numbers is None:
            raise UserError(f"{self.place} holds what is no number; make it numbers")
        return Column(self.kind, np.r_[numbers[0], np.nan][column.values], offsets)


def _numbers(array: pa.Array, place: str) -> np.ndarray:
    """Numbers, truth values, and dates as seconds since 1970: float64, NaN where one is missing."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if _is_date(kind):
        try:
            nanoseconds = pc.cast(pc.cast(array, pa.timestamp("ns")), pa.int64())
        except pa.ArrowInvalid:
            raise UserError(
                f"{place} has a date before 1678 or after 2261; leave it empty"
            ) from None
        seconds = pc.fill_null(nanoseconds, 0).to_numpy(zero_copy_only=False) / 1e9
        return np.where(array.is_null().to_numpy(zero_copy_only=False), np.nan, seconds)
    if pa.types.is_decimal(kind):
        array = array.cast(pa.float64())
    elif pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif pa.types.is_null(kind) or not _is_number(kind):
        raise UserError(f"{place} is of type {kind} where numbers are wanted; make it numbers")
    return array.to_numpy(zero_copy_only=False).astype(np.float64)


def _tokens(array: pa.Array, place: str) -> pa.DictionaryArray:
    """Tokens as codes of this batch; only different values become texts."""
    if pa.types.is_dictionary(array.type):
        coded = array.indices.dictionary_encode()
        values = array.dictionary.take(coded.dictionary)
    elif pa.types.is_null(array.type):
        return pa.nulls(len(array), _CODED)
    else:
        coded = array.dictionary_encode()
        values = coded.dictionary
    # Two values may have one text (-0.0 and 0.0), and a category may be a missing one.
    known = _texts(values, place).dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        known.indices.take(coded.indices).cast(pa.int32()), known.dictionary
    )


def _texts(values: pa.Array, place: str) -> pa.Array:
    """Values as the texts of tokens; whole numbers have no decimals, whatever their type."""
    kind = values.type
    if _is_text(kind):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raise UserError(f"{place} has a text that is no UTF-8; write it anew") from None
        texts = values.cast(pa.string())
    elif pa.types.is_integer(kind):
        return values.cast(pa.string())
    elif pa.types.is_boolean(kind):
        return pc.if_else(values, "True", "False")
    else:
        plain = pa.types.is_floating(kind)  # a Series would make doubles of them
        listed = values.to_numpy(zero_copy_only=False) if plain else values.to_pandas()
        listed = [None if value != value else value for value in listed]
        return pa.array(
            [None if value is None else token_text(value, place) for value in listed], pa.string()
        )
    broken = texts.filter(pc.match_substring_regex(texts, "[\r\n]"))
    if len(broken):
        text = broken[0].as_py()[:40]
        raise UserError(f"{place} has a line break in {text!r}; replace it, by a space say")
    missing = texts.filter(pc.is_in(texts, value_set=pa.array(MISSING)))
    if len(missing):
        raise UserError(reads_as_missing(place, missing[0].as_py()))
    return texts
