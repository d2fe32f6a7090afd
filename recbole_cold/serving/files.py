"""Files of rows, items and users, and of scores: csv, tsv, parquet, and atomic files.

Rows are read and written some at a time, so a file may be larger than memory.
"""

import contextlib
import csv
import gzip
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recbole_cold import paths
from recbole_cold.errors import UserError, WriteError
from recbole_cold.store import whole_file

ATOMIC = (".inter", ".user", ".item")
_SEPARATORS = {".csv": ",", ".tsv": "\t", **dict.fromkeys(ATOMIC, "\t")}
_PARQUET = ".parquet"
_STEP = 1 << 16  # rows of a parquet file at a time
_BLOCK = 1 << 22  # bytes of a text file at a time
SCREEN = "-"


def new_folder(out: str | Path) -> Path:
    """The folder ``out``, from the root; it is absent or empty.

    Raises:
        UserError: it is there.
    """
    folder = paths.absolute(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{out}' is there already; name a new folder, or remove it")
    return folder


class Source:
    """A file of rows.

    Args:
        path: ``.csv``, ``.tsv``, ``.parquet``, or atomic with ``name:type`` in its header;
            texts may be ``.gz``.

    Attributes:
        names: its columns, types of atomic headers left out.

    Raises:
        UserError: it cannot be read, or has another suffix.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = paths.expanded(path)
        self.suffix = _suffix(self.path)
        with self._told():
            if self.suffix == _PARQUET:
                self.header = list(pq.ParquetFile(self.path).schema_arrow.names)
            else:
                self.header = self._first_line()
        self.names = [
            name.partition(":")[0] if self.suffix in ATOMIC else name for name in self.header
        ]
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise UserError(f"'{self.path}' has the column '{twice[0]}' twice; rename one")

    def _first_line(self) -> list[str]:
        opened = gzip.open if self.path.suffix == ".gz" else open
        with opened(self.path, "rt", encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, delimiter=_SEPARATORS[self.suffix]), [])

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot read '{self.path}' ({error.strerror or error}); check the path"
            ) from error
        except (pa.ArrowException, UnicodeError, csv.Error, EOFError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"'{self.path}' is damaged or of another kind ({why})") from error

    def whole(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows."""
        parts = list(self._pieces(self.names if columns is None else columns))
        return pa.concat_tables(parts)

    def parts(self, columns: Sequence[str], size: int) -> Iterator[pa.Table]:
        """The rows in their order, ``size`` at a time; the last part may be shorter, and a file
        without rows has one part without rows."""
        kept: list[pa.Table] = []
        number, began = 0, False
        for piece in self._pieces(columns):
            kept.append(piece)
            number += len(piece)
            while number >= size:
                table = pa.concat_tables(kept)
                yield table.slice(0, size)
                began = True
                kept, number = [table.slice(size)], number - size
        if number or not began:
            yield pa.concat_tables(kept)

    def _pieces(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        headers = [self.header[self.names.index(name)] for name in columns]
        with self._told():
            if self.suffix == _PARQUET:
                file = pq.ParquetFile(self.path)
                yield file.schema_arrow.empty_table().select(headers).rename_columns(list(columns))
                for batch in file.iter_batches(_STEP, columns=headers):
                    yield pa.table(batch).rename_columns(list(columns))
                return
            texts = pa.schema([(name, pa.string()) for name in self.header])
            # All columns are texts: '007' is an id, and numbers are read where they are due.
            convert = pa_csv.ConvertOptions(
                column_types=texts, include_columns=headers, strings_can_be_null=True,
                null_values=[""], quoted_strings_can_be_null=True,
            )  # fmt: skip
            yield pa.table({name: pa.array([], pa.string()) for name in columns})
            with pa.input_stream(str(self.path), compression="detect") as stream:
                reader = pa_csv.open_csv(
                    stream,
                    pa_csv.ReadOptions(block_size=_BLOCK),
                    pa_csv.ParseOptions(delimiter=_SEPARATORS[self.suffix]),
                    convert,
                )
                for batch in reader:
                    yield pa.table(batch).rename_columns(list(columns))


def _suffix(path: Path) -> str:
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if suffix not in _SEPARATORS and suffix != _PARQUET:
        raise UserError(
            f"'{path}' has no suffix that tells its form; use .csv, .tsv, .parquet, or an atomic "
            f"file ({', '.join(ATOMIC)})"
        )
    return suffix


@contextlib.contextmanager
def sink(out: str, schema: pa.Schema) -> Iterator[Any]:
    """Context: ``write(table)`` of a file of scores, which is there when the context ends, whole.

    Args:
        out: ``.csv``, ``.tsv`` or ``.parquet``; ``-`` for standard output, as csv.

    Raises:
        UserError: another suffix, or it cannot be written.
    """
    if out == SCREEN:
        buffer = getattr(sys.stdout, "buffer", None)
        with _writer(".csv", _Texts() if buffer is None else buffer, schema) as writer:
            yield writer
        return
    path = paths.expanded(out)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", _PARQUET):
        raise UserError(
            f"--out={out} has no suffix that tells its form; use .csv, .tsv or .parquet"
        )
    try:
        with whole_file(path) as file, _writer(suffix, file, schema) as writer:
            yield writer
    except WriteError as error:
        why = str(error).rpartition(";")[0]
        raise UserError(f"{why}; choose another --out") from error


@contextlib.contextmanager
def _writer(suffix: str, file: Any, schema: pa.Schema) -> Iterator[Any]:
    if suffix == _PARQUET:
        # Scores are all different: a dictionary of them costs time and is thrown away.
        repeated = [field.name for field in schema if not pa.types.is_floating(field.type)]
        with pq.ParquetWriter(file, schema, use_dictionary=repeated) as writer:
            yield writer.write_table
        return
    options = pa_csv.WriteOptions(delimiter=_SEPARATORS[suffix], quoting_style="needed")
    with pa_csv.CSVWriter(pa.PythonFile(file, mode="w"), schema, write_options=options) as writer:
        yield writer.write_table


class _Texts:
    """Standard output that takes texts alone, as a file of bytes."""

    closed = False

    def write(self, content: bytes) -> int:
        return sys.stdout.write(bytes(content).decode("utf-8"))

    def flush(self) -> None:
        sys.stdout.flush()

    def writable(self) -> bool:
        return True
