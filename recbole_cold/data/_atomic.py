"""Atomic files as typed columns: pyarrow reads them, token numbers follow RecBole's own loader.

RecBole's loader numbers the tokens of a field by first appearance, 0 being padding. That order is
kept through every step here, so ids are the same as RecBole's.
"""

import csv
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from recbole.utils import FeatureType

from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.distinct import first_positions
from recbole_cold.errors import UserError

TYPES = {kind.value: kind for kind in FeatureType}

# What pandas, and with it RecBole's loader, reads as a missing value.
MISSING = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
]  # fmt: skip


_FLOAT = pa.float64()


class Format(NamedTuple):
    """How the files of one data set are written.

    Attributes:
        kinds: what the configuration says of fields; for columns whose file says nothing.
    """

    field_separator: str = "\t"
    seq_separator: str = " "
    encoding: str = "utf-8"
    kinds: Mapping[str, FeatureType] = MappingProxyType({})


@dataclass
class Column:
    """One field of one file.

    Args:
        kind: RecBole's type of the field.
        values: token codes (int32, -1 is missing) or numbers (float64, NaN is missing); of
            sequences, all elements one after the other.
        offsets: of sequences, where each row starts in ``values`` ([rows + 1]); else None.
        vocab: of tokens, the token of each code.
    """

    kind: FeatureType
    values: np.ndarray
    offsets: np.ndarray | None = None
    vocab: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.values if self.offsets is None else self.offsets) - (
            self.offsets is not None
        )

    @property
    def lengths(self) -> np.ndarray:
        """Elements per row of a sequence."""
        assert self.offsets is not None
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray) -> "Column":
        """The column restricted to ``rows``, in their order."""
        if self.offsets is None:
            return Column(self.kind, self.values[rows], None, self.vocab)
        return self._cut(self.offsets[:-1][rows], self.lengths[rows])

    def shorten(self, longest: int) -> "Column":
        """The first ``longest`` elements of each row of a sequence."""
        assert self.offsets is not None
        return self._cut(self.offsets[:-1], np.minimum(self.lengths, longest))

    def _cut(self, starts: np.ndarray, lengths: np.ndarray) -> "Column":
        offsets = np.r_[0, np.cumsum(lengths)]
        index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Column(self.kind, self.values[index], offsets, self.vocab)

    def padded(self, width: int, fill: float = 0) -> np.ndarray:
        """Sequences as a matrix [rows, width], shorter ones filled up at the end."""
        lengths = self.lengths
        matrix = np.full((len(lengths), width), fill, dtype=self.values.dtype)
        matrix[np.arange(width) < lengths[:, None]] = self.values
        return matrix


def read_header(path: Path, form: Format) -> dict[str, FeatureType]:
    """Field -> type, as the first line of an atomic file declares them.

    Raises:
        UserError: the file is absent, empty, or its header is not ``field:type`` throughout.
    """
    try:
        with path.open(encoding=form.encoding, newline="") as file:
            line = file.readline().rstrip("\r\n")
    except FileNotFoundError as error:
        raise UserError(
            f"the atomic file '{path}' does not exist; check --dataset and --data_path"
        ) from error
    except UnicodeError as error:
        raise UserError(_other_encoding(path, form)) from error
    except (OSError, LookupError) as error:
        raise UserError(
            f"cannot read '{path}' ({error}); check the file and its encoding"
        ) from error
    fields: dict[str, FeatureType] = {}
    for column in _header_columns(line.removeprefix("\ufeff"), form):
        name, colon, kind = column.partition(":")
        if not name or not colon or ":" in kind:
            raise UserError(
                f"the header of '{path}' has the column {column!r}, which is not of the form "
                f"field:type; {_about_separator(line, form)}"
            )
        if kind not in TYPES:
            raise UserError(
                f"field {name!r} in the header of '{path}' has the unknown type {kind!r}; use one "
                f"of {', '.join(TYPES)}"
            )
        if name in fields:
            raise UserError(f"field {name!r} occurs twice in the header of '{path}'; rename one")
        fields[name] = TYPES[kind]
    return fields


def _about_separator(line: str, form: Format) -> str:
    """What to do about a header that is none: often another letter separates its columns."""
    for letter in "\t,;| ":
        columns = _header_columns(line, form._replace(field_separator=letter))
        if len(columns) > 1 and all(column.partition(":")[2] in TYPES for column in columns):
            return f"its columns are separated by {letter!r}: set field_separator to that"
    return f"check the first line and field_separator ({form.field_separator!r})"


def _header_columns(line: str, form: Format) -> list[str]:
    """The columns of a header; spreadsheets put each into quotation marks."""
    if not line.startswith('"') or len(form.field_separator) != 1:
        return line.split(form.field_separator)
    return next(csv.reader([line], delimiter=form.field_separator))


def read_atomic(
    path: Path,
    form: Format,
    wanted: Callable[[str], bool],
    seq_len: dict[str, int],
    numbers: Collection[str] = (),
    notes: list[str] | None = None,
) -> dict[str, Column]:
    """The wanted fields of an atomic file, in the order of its header.

    Args:
        numbers: fields that are numbers whatever the header says; truth values and ISO dates will
            do for them, as for all fields that it declares as float.
        notes: gets sentences on fields that were read so.

    Raises:
        UserError: the file cannot be read as its header says; names the file and the line.
    """
    header = read_header(path, form)
    kinds = {field: kind for field, kind in header.items() if wanted(field)}
    if not kinds:
        return {}
    told = [] if notes is None else notes
    table = _read_csv(path, form, header, list(kinds), told)
    if table.num_rows == 0:
        raise UserError(f"'{path}' has a header but no rows; check how it was converted")
    read = dict(zip(table.column_names, table.columns, strict=True))
    del table  # so that each column goes when it is taken, and not all of them at the end
    columns = {}
    for field, kind in kinds.items():
        columns[field] = _column(read.pop(field), kind, form, path)
        pa.default_memory_pool().release_unused()  # numpy cannot use what Arrow keeps
    return as_wanted(columns, path, seq_len, numbers, told)


def as_wanted(
    columns: dict[str, Column],
    path: Path,
    seq_len: Mapping[str, int],
    numbers: Collection[str],
    told: list[str],
) -> dict[str, Column]:
    """Columns of a file with tokens made numbers and sequences cut where that is asked for."""
    for field in columns.keys() & set(numbers):
        if columns[field].kind == FeatureType.TOKEN:
            columns[field] = _as_numbers(field, columns[field], path, told)
    for field, column in columns.items():
        if column.offsets is not None and field in seq_len:
            columns[field] = column.shorten(int(seq_len[field]))
    return columns


def _read_csv(
    path: Path,
    form: Format,
    header: dict[str, FeatureType],
    fields: list[str],
    notes: list[str],
    floats: pa.DataType = _FLOAT,
) -> pa.Table:
    arrow_types = {
        FeatureType.TOKEN: pa.dictionary(pa.int32(), pa.string()),
        FeatureType.FLOAT: floats,
    }
    try:
        return pa_csv.read_csv(
            path,
            pa_csv.ReadOptions(
                column_names=list(header), skip_rows=1, encoding=form.encoding, block_size=1 << 22
            ),
            pa_csv.ParseOptions(delimiter=form.field_separator),
            pa_csv.ConvertOptions(
                column_types={f: arrow_types.get(k, pa.string()) for f, k in header.items()},
                include_columns=fields,
                null_values=MISSING,
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, UnicodeError) as error:
        if floats == _FLOAT:
            with suppress(UserError):
                texts = _read_csv(path, form, header, fields, notes, pa.string())
                mended = _mended(texts, header, path, notes)
                if mended is not None:
                    return mended
        raise UserError(_why_unreadable(path, form, header, error)) from error
    except (TypeError, ValueError, OSError, LookupError) as error:
        raise UserError(
            f"cannot read '{path}' ({error}); check field_separator (one character) and encoding"
        ) from error


def _mended(
    texts: pa.Table, header: dict[str, FeatureType], path: Path, notes: list[str]
) -> pa.Table | None:
    """A table whose floats were read as texts, with their numbers; None where one has none."""
    told = []
    for place, field in enumerate(texts.column_names):
        if header[field] == FeatureType.FLOAT:
            found = numbers_of(texts[field])
            if found is None:
                return None
            texts = texts.set_column(place, field, pa.array(found[0], from_pandas=True))
            told += [_read_as(field, path, found[1])] if found[1] else []
    notes += told
    return texts


def _as_numbers(field: str, column: Column, path: Path, notes: list[str]) -> Column:
    """A token field that has to be numbers as such; the field itself where its tokens are none."""
    found = numbers_of(column.vocab)
    if found is None:
        return column
    values, what = found
    notes.append(_read_as(field, path, what or "numbers"))
    return Column(FeatureType.FLOAT, np.r_[values, np.nan][column.values])


def _read_as(field: str, path: Path, what: str) -> str:
    meaning = {"truth values": " (true is 1)", "dates": " (seconds since 1970)"}.get(what, "")
    return f"the field {field!r} of '{path.name}' is read as {what}{meaning}"


def numbers_of(texts: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, str] | None:
    """Texts that stand for numbers, and what they are ('' for numbers, 'truth values', 'dates').

    Truth values are 1 and 0, ISO dates seconds since 1970 (UTC where they say nothing else). None
    where a text is none of these, or the kinds are mixed. Missing texts are NaN.
    """
    texts = pc.utf8_trim_whitespace(texts)
    low = pc.utf8_lower(texts)
    if pc.all(pc.is_in(low.drop_null(), value_set=pa.array(["true", "false"]))).as_py():
        return _floats(pc.cast(pc.equal(low, "true"), pa.float64())), "truth values"
    try:
        return _floats(pc.cast(texts, pa.float64())), ""
    except pa.ArrowInvalid:
        pass
    for zone in ("UTC", None):
        try:
            moments = pc.cast(texts, pa.timestamp("us", tz=zone))
        except pa.ArrowInvalid:
            continue
        return _floats(pc.cast(pc.cast(moments, pa.int64()), pa.float64())) / 1e6, "dates"
    return None


def _floats(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    plain = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return plain.to_numpy(zero_copy_only=False).astype(np.float64)


def _why_unreadable(
    path: Path, form: Format, header: dict[str, FeatureType], error: Exception
) -> str:
    """A message for a file that pyarrow cannot read; looks for the first bad line."""
    fields = list(header)
    numbers = [n for n, field in enumerate(fields) if header[field] == FeatureType.FLOAT]
    try:
        with path.open(encoding=form.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=form.field_separator)
            next(reader)
            before = reader.line_num
            for row in reader:
                begins, before = before + 1, reader.line_num
                if not row:
                    continue
                if begins != reader.line_num:
                    return (
                        f"line {begins} of '{path}' opens a quotation mark that the line does not "
                        "close; double or remove it"
                    )
                if len(row) != len(fields):
                    return (
                        f"line {reader.line_num} of '{path}' has {len(row)} columns but the header "
                        f"has {len(fields)}; correct the line or field_separator"
                    )
                for n in numbers:
                    if row[n] not in MISSING and not _is_number(row[n]):
                        return (
                            f"line {reader.line_num} of '{path}' has {row[n]!r} in the float field "
                            f"{fields[n]!r}; write a number (or true and false, or "
                            "ISO dates, in the whole column) or leave it out with unload_col"
                        )
    except UnicodeError:
        return _other_encoding(path, form)
    except csv.Error:
        pass
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"cannot read '{path}' ({first}); check its lines and quotation marks"


def _other_encoding(path: Path, form: Format) -> str:
    return (
        f"'{path}' is not written in {form.encoding}; convert it, or name what it is written in, "
        "for instance --encoding=latin-1"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(data: pa.ChunkedArray, kind: FeatureType, form: Format, path: Path) -> Column:
    if kind == FeatureType.FLOAT:
        return Column(kind, data.to_numpy().astype(np.float64, copy=False))
    if kind == FeatureType.TOKEN:
        return tokens_of(data, kind)
    # The longest sequences may need more than 2 GB of text, so chunks stay apart until they are
    # codes.
    pieces, lengths = [], []
    for chunk in data.chunks:
        lists = pc.split_pattern(pc.fill_null(chunk, ""), form.seq_separator)
        values, ends = lists.flatten(), np.asarray(lists.offsets)
        filled = pc.greater(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
        before = np.r_[0, np.cumsum(filled)]
        lengths.append(np.diff(before[ends - ends[0]]))
        pieces.append(values.filter(pa.array(filled)))
    offsets = np.r_[0, np.cumsum(np.concatenate(lengths))]
    flat = pa.chunked_array(pieces, type=pa.string())
    if kind == FeatureType.TOKEN_SEQ:
        column = tokens_of(flat.dictionary_encode(), kind)
        return Column(kind, column.values, offsets, column.vocab)
    try:
        numbers = flat.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise UserError(
            f"a float_seq field of '{path}' has an element that is not a number ({error}); correct "
            "it or check seq_separator"
        ) from error
    return Column(kind, numbers, offsets)


def tokens_of(data: pa.ChunkedArray, kind: FeatureType) -> Column:
    data = data.unify_dictionaries()
    codes, start = np.empty(len(data), np.int32), 0
    for chunk in data.chunks:
        codes[start : start + len(chunk)] = pc.fill_null(chunk.indices, -1)
        start += len(chunk)
    vocab = data.chunk(0).dictionary if data.num_chunks else pa.array([], pa.string())
    return Column(kind, codes, None, vocab)


def share_codes(columns: list[Column]) -> None:
    """Give token columns one vocabulary, in the order of first appearance over the list."""
    tokens = [
        pa.DictionaryArray.from_arrays(pa.array(np.arange(len(c.vocab)), pa.int32()), c.vocab)
        for c in columns
    ]
    unified = pa.chunked_array(tokens, type=pa.dictionary(pa.int32(), pa.string()))
    unified = unified.unify_dictionaries()
    for column, chunk in zip(columns, unified.chunks, strict=True):
        # The last entry is what code -1, a missing token, picks.
        new_code = np.r_[np.asarray(chunk.indices), -1].astype(np.int32)
        column.values, column.vocab = new_code[column.values], chunk.dictionary


def stack(tables: list[dict[str, Column]]) -> dict[str, Column]:
    """Tables of equal fields, one below the other."""
    stacked = {}
    for field in tables[0]:
        columns = [table[field] for table in tables]
        if columns[0].vocab is not None:
            share_codes(columns)
        offsets = None
        if columns[0].offsets is not None:
            offsets = np.r_[0, np.cumsum(np.concatenate([column.lengths for column in columns]))]
        values = np.concatenate([column.values for column in columns])
        stacked[field] = Column(columns[0].kind, values, offsets, columns[0].vocab)
    return stacked


def renumber(columns: list[Column]) -> Vocabulary:
    """The tokens by id, after numbering the columns as RecBole does.

    The columns share a vocabulary (``share_codes``). Afterwards their values are ids: 0 for a
    missing token, then 1, 2, ... by first appearance over the list.
    """
    vocab = columns[0].vocab
    assert vocab is not None
    first = first_positions([column.values for column in columns], len(vocab))
    there = np.flatnonzero(first >= 0)
    order = there[np.argsort(first[there], kind="stable")]
    new_id = np.zeros(len(vocab) + 1, dtype=np.int32)
    new_id[order] = np.arange(1, len(order) + 1)
    for column in columns:
        # Its codes are ids from here on, which the vocabulary of the file does not fit.
        column.values, column.vocab = new_id[column.values], None
    return Vocabulary.of(vocab.take(pa.array(order)))


def line_numbers(path: Path) -> Iterator[int]:
    """Line number in the file of each row, counting as editors do; for error messages."""
    with path.open("rb") as file:
        for number, line in zip(itertools.count(1), file, strict=False):
            if number > 1 and line.strip(b"\r\n"):
                yield number
