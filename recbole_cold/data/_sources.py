"""The files of a data set, whatever their form: fields, columns, and the places of rows."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from recbole.utils import FeatureType

from recbole_cold.data import _atomic, _column_files
from recbole_cold.data._atomic import Column, Format
from recbole_cold.data._file_names import is_column_file
from recbole_cold.errors import UserError


def read_header(path: Path, form: Format) -> dict[str, FeatureType]:
    """Field -> kind of a file.

    Raises:
        UserError: the file cannot be read, or says of a field what ``form.kinds`` contradicts.
    """
    read = _column_files.column_header if is_column_file(path) else _atomic.read_header
    return read(path, form)


def read_source(
    path: Path,
    form: Format,
    wanted: Callable[[str], bool],
    seq_len: dict[str, int],
    numbers: Collection[str] = (),
    notes: list[str] | None = None,
) -> dict[str, Column]:
    """The wanted fields of a file, in its order; arguments and errors of ``read_atomic``."""
    if not is_column_file(path):
        return _atomic.read_atomic(path, form, wanted, seq_len, numbers, notes)
    told = [] if notes is None else notes
    columns = _column_files.read_columns(path, form, wanted, told)
    if columns and not len(next(iter(columns.values()))):
        raise UserError(f"'{path}' has no rows; check how it was written")
    return _atomic.as_wanted(columns, path, seq_len, numbers, told)


def place_of(paths: Sequence[Path], row: int) -> str:
    """A row of files that follow one another, in words: its line, or its number, and its file."""
    for path in paths:
        if is_column_file(path):
            count = _column_files.rows_of(path)
            if row < count:
                return f"row {row} of '{path}' (counted from 0)"
        else:
            count = 0
            for line in _atomic.line_numbers(path):
                if count == row:
                    return f"line {line} of '{path}'"
                count += 1
        row -= count
    raise IndexError(row)


def parts_of(
    paths: Sequence[Path], parts: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, bytes | pa.Buffer]]:
    """Names, and the content of a file with the rows of each, in the form of those they come from.

    Args:
        paths: files of interactions that follow one another.
        parts: name -> numbers of rows.

    Raises:
        UserError: the files are of several forms, or of several headers.
    """
    endings = {path.suffix if is_column_file(path) else "" for path in paths}
    if len(endings) > 1:
        raise UserError(
            f"the files {', '.join(repr(path.name) for path in paths)} are of several forms; "
            "write them all in one"
        )
    (ending,) = endings
    if not ending:
        header, lines = _lines(paths)
        for name, rows in parts.items():
            yield name, header + b"".join(map(lines.__getitem__, rows.tolist()))
        return
    tables = [_column_files.table_of(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.schema != tables[0].schema:
            raise UserError(f"the columns of '{path}' differ from those of the other parts")
    whole = pa.concat_tables(tables)
    for name, rows in parts.items():
        yield name, _column_files.payload(whole.take(pa.array(rows)), ending)


def _lines(paths: Sequence[Path]) -> tuple[bytes, list[bytes]]:
    """Header and lines of atomic files, one behind the other."""
    header, lines = b"", []
    for path in paths:
        first, *rest = path.read_bytes().splitlines()
        if header and first != header:
            raise UserError(f"the header of '{path}' differs from that of the other parts")
        header = first
        lines += [line + b"\n" for line in rest if line]
    return header + b"\n", lines
