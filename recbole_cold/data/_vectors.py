"""Content vectors as files hold them: ``float_seq`` cells, ``.npy`` and ``.npz``, ordered by code.

A field has one width m. A missing vector, and a vector of zeros, which says nothing either, is a
row of zeros; models mask it. The dtype of a file, float16 or float32, is kept.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from recbole.utils import FeatureType

from recbole_cold import paths
from recbole_cold.data._atomic import Column
from recbole_cold.data._file_names import SUFFIXES
from recbole_cold.data._mending import refuse_infinite
from recbole_cold.data._names import instead
from recbole_cold.data._sources import place_of
from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.errors import UserError

_CHUNK = 1 << 16  # rows looked at at a time: bounds the memory beside a mapped file


@dataclass
class VectorColumn(Column):
    """A column of vectors: rows of a matrix that stays where it is, on disk perhaps.

    Args:
        values: the row of ``source`` of each row of the table.
        source: float16 or float32 [rows as read, m].
    """

    source: np.ndarray | None = None

    @property
    def width(self) -> int:
        """m."""
        assert self.source is not None
        return self.source.shape[1]

    def take(self, rows: np.ndarray) -> "VectorColumn":
        return VectorColumn(self.kind, self.values[rows], source=self.source)

    def by_code(self, codes: np.ndarray, n: int) -> np.ndarray:
        """The vectors as a matrix [n, m], those of the table's rows at ``codes``, else zeros."""
        assert self.source is not None
        return arranged(self.source, self.values, codes, n)

    def in_order(self) -> np.ndarray:
        """The vectors of the table's rows: [rows, m]."""
        return self.by_code(np.arange(len(self.values)), len(self.values))


class Named(NamedTuple):
    """Vectors whose file says whose they are.

    Attributes:
        ids: a token per vector.
        vectors: float16 or float32 [len(ids), m].
        path: the file, for sentences.
    """

    ids: np.ndarray
    vectors: np.ndarray
    path: Path

    def by_code(self, tokens: Vocabulary) -> tuple[np.ndarray, list[str]]:
        """The vectors as a matrix [n, m] by code, and a note on ids that are unknown.

        Args:
            tokens: the token of each code, padding first.

        Raises:
            UserError: no id is known.
        """
        codes = dict(zip(tokens.tolist()[1:], range(1, len(tokens)), strict=True))
        code = np.array([codes.get(token, 0) for token in self.ids.tolist()], dtype=np.int64)
        known = np.flatnonzero(code)
        if not len(known):
            raise UserError(
                f"no id of '{self.path}' is in the data: they look like {str(self.ids[0])!r} there "
                f"and like {tokens[-1]!r} here; write them alike"
            )
        matrix = arranged(self.vectors, known, code[known], len(tokens))
        unknown = len(self.ids) - len(known)
        note = (
            f"{unknown:,} of {len(self.ids):,} ids of '{self.path.name}' are unknown to the data "
            "and are left out"
        )
        return matrix, [note] if unknown else []


def arranged(source: np.ndarray, rows: np.ndarray, codes: np.ndarray, n: int) -> np.ndarray:
    """``source[rows]`` at the rows ``codes`` of a matrix [n, m] of zeros, in the source's dtype."""
    matrix = np.zeros((n, source.shape[1]), dtype=source.dtype.newbyteorder("="))
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        matrix[codes[part]] = source[rows[part]]
    return matrix


def missing(matrix: np.ndarray) -> np.ndarray:
    """Which rows of a matrix [n, m] are missing vectors, all zeros: bool [n]."""
    pieces = [~(matrix[at : at + _CHUNK] != 0).any(axis=1) for at in range(0, len(matrix), _CHUNK)]
    return np.concatenate([*pieces, np.zeros(0, bool)])


def lacking(matrix: np.ndarray, side: str, field: str) -> list[str]:
    """A note on the missing vectors of a matrix [n, m] by code, the padding left out."""
    count = int(missing(matrix[1:]).sum())
    if not count:
        return []
    of_all = f"{count:,} of {len(matrix) - 1:,} {side}s"
    return [f"{of_all} have no vector {field!r}; models read zeros there"]


# ------------------------------------------------------------------------------- cells
def as_vectors(table: Mapping[str, Column], files: Sequence[Path]) -> dict[str, Column]:
    """A table with its number sequences as content vectors.

    Raises:
        UserError: sequences of a field have several lengths, or one holds nan or inf.
    """
    return {
        field: _from_cells(field, column, files)
        if column.kind == FeatureType.FLOAT_SEQ and column.offsets is not None
        else column
        for field, column in table.items()
    }


def _from_cells(field: str, column: Column, files: Sequence[Path]) -> VectorColumn:
    lengths, n = column.lengths, len(column)
    there = lengths > 0
    if not there.any():
        raise UserError(
            f"the float_seq field {field!r} of '{files[0]}' has no value at all; leave it out with "
            "unload_col"
        )
    counts = np.bincount(lengths[there])
    width = int(counts.argmax())
    odd = there & (lengths != width)
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        shortest = int(lengths[there].min())
        raise UserError(
            f"{place_of(files, row)} has {lengths[row]} numbers in the float_seq field {field!r}, "
            f"where {counts[width]:,} rows have {width}; a content vector has one width: correct "
            "the line, leave the cell empty for a missing vector, cut all with "
            f'--seq_len="{{{field}: {shortest}}}", or leave the field out with unload_col'
        )
    refuse_infinite(field, column, files, gaps=False)
    matrix = np.zeros((n, width), dtype=np.float32)
    matrix[there] = column.values.reshape(-1, width)
    return VectorColumn(column.kind, np.arange(n), source=matrix)


# ------------------------------------------------------------------------------- files of numpy
def vector_paths(config: Any, folder: Path) -> dict[str, dict[str, Path]]:
    """Side -> field -> file of ``vector_fields``; relative paths start at the data set's folder.

    Raises:
        UserError: a side is none, a field cannot be, or a file does not exist.
    """
    found: dict[str, dict[str, Path]] = {}
    for side, fields in (config["vector_fields"] or {}).items():
        if side not in SUFFIXES:
            raise UserError(f"vector_fields names the side {side!r}{instead(side, SUFFIXES)}")
        for field, name in fields.items():
            if field in (config["seq_len"] or {}):
                raise UserError(
                    f"seq_len names the field {field!r}, whose vectors are in '{name}' "
                    "(vector_fields); seq_len cuts columns of atomic files: save fewer numbers"
                )
            if field == config["LABEL_FIELD"]:
                raise UserError(
                    f"vector_fields names the label {field!r}; choose another name for the vectors"
                )
            path = folder / paths.expanded(name)
            if path.suffix not in (".npy", ".npz"):
                raise UserError(
                    f"vector_fields names '{name}' for the field {field!r}, which is neither .npy "
                    "nor .npz; save the vectors with numpy.save or numpy.savez"
                )
            if not path.is_file():
                raise UserError(
                    f"vector_fields names the file '{path}' for the field {field!r}, which does "
                    "not exist; relative paths start at the data set's folder"
                )
            found.setdefault(side, {})[field] = path
    return found


def read_vectors(
    files: Mapping[str, Mapping[str, Path]], tables: Mapping[str, dict[str, Column]]
) -> Iterator[tuple[str, str, VectorColumn | Named]]:
    """Side, field and vectors of every file: a column beside the table's, or vectors with ids.

    Args:
        files: as ``vector_paths`` gives them.
        tables: the atomic files as they were read.

    Raises:
        UserError: a file is not what it has to be, or a field has the name of another one.
    """
    known = {field: suffix for suffix, table in tables.items() for field in table}
    for side, fields in files.items():
        for field, path in fields.items():
            if field in known:
                raise UserError(
                    f"vector_fields names the field {field!r}, which the data set has already (in "
                    f"'.{known[field]}'); choose another name, or leave that one out with "
                    "unload_col"
                )
            known[field] = side
            if path.suffix == ".npz":
                yield side, field, _read_named(path, side)
            else:
                yield side, field, _read_rows(path, side, tables.get(side))


def _read_rows(path: Path, side: str, table: Mapping[str, Column] | None) -> VectorColumn:
    """The vectors of a ``.npy`` file, one per row of an atomic file; mapped, not read."""
    if table is None:
        raise UserError(
            f"the rows of '{path}' belong to the rows of '.{side}', which is not there or not "
            "loaded; add it, or save ids and vectors with numpy.savez"
        )
    vectors = _matrix(_load(path, mmap_mode="r"), path)
    n = len(next(iter(table.values())))
    if len(vectors) != n:
        raise UserError(
            f"'{path}' has {len(vectors):,} vectors, but '.{side}' has {n:,} rows; give one vector "
            "per row, in the order of the file"
        )
    _refuse_odd(vectors, path)
    return VectorColumn(FeatureType.FLOAT_SEQ, np.arange(n), source=vectors)


def _read_named(path: Path, side: str) -> Named:
    """The vectors and ids of a ``.npz`` file."""
    if side == "inter":
        raise UserError(
            f"vector_fields names '{path}' for '.inter', whose rows have no id; save one vector "
            "per row with numpy.save"
        )
    archive = _load(path)
    lacking = {"ids", "vectors"} - set(archive.files)
    if lacking:
        raise UserError(
            f"'{path}' has no array {min(lacking)!r}; save it with numpy.savez(path, ids=tokens, "
            "vectors=matrix)"
        )
    try:
        ids, vectors = archive["ids"], _matrix(archive["vectors"], path)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"cannot read '{path}' ({error}); save ids as texts (numpy.array(ids, dtype=str)) and "
            "vectors as numbers"
        ) from error
    if ids.shape != (len(vectors),):
        raise UserError(
            f"'{path}' has ids of shape {list(ids.shape)} for {len(vectors):,} vectors; give one "
            "id per vector"
        )
    tokens = _tokens(ids, path)
    unique, counts = np.unique(tokens, return_counts=True)
    if (counts > 1).any():
        raise UserError(
            f"'{path}' has the id {str(unique[counts.argmax()])!r} {counts.max()} times; give one "
            "vector per id"
        )
    _refuse_odd(vectors, path)
    return Named(tokens, vectors, path)


def _tokens(ids: np.ndarray, path: Path) -> np.ndarray:
    """Ids as texts; whole numbers have no decimals."""
    if ids.dtype.kind == "f" and (ids == np.floor(ids)).all():
        ids = ids.astype(np.int64)
    if ids.dtype.kind not in "iuUS" or not len(ids):
        raise UserError(f"the ids of '{path}' are no texts or whole numbers; save them as such")
    return np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids.astype(str)


def _load(path: Path, **how: Any) -> Any:
    try:
        return np.load(path, allow_pickle=False, **how)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"cannot read '{path}' ({str(error).splitlines()[0]}); save it with numpy.save or "
            "numpy.savez"
        ) from error


def _matrix(vectors: np.ndarray, path: Path) -> np.ndarray:
    """A matrix of float16 or float32, one vector per row."""
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise UserError(
            f"'{path}' has an array of shape {list(vectors.shape)}; vectors are a matrix "
            "[rows, width]"
        )
    if vectors.dtype.kind != "f" or vectors.dtype.itemsize not in (2, 4):
        raise UserError(
            f"'{path}' holds {vectors.dtype}; save the vectors as float32 or float16, with "
            ".astype('float32')"
        )
    return vectors


def _refuse_odd(vectors: np.ndarray, path: Path) -> None:
    for start in range(0, len(vectors), _CHUNK):
        fine = np.isfinite(vectors[start : start + _CHUNK]).all(axis=1)
        if not fine.all():
            raise UserError(
                f"row {start + int(np.flatnonzero(~fine)[0])} of '{path}' (counted from 0) holds "
                "nan or inf; correct it, or write zeros for a missing vector"
            )
