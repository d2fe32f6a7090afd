"""Data sets from pandas frames: written once as atomic files, then read like any other.

Other processes (trials on Ray) and a later ``resume`` find the files by their content, under
``<cache_dir>/frames/<hash>/<name>/``. What a file cannot hold is refused in one sentence that names
frame and column.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from recbole_cold.compat import parse_text
from recbole_cold.data._atomic import TYPES
from recbole_cold.data._frame_cells import Cells, FrameColumn, cells_of
from recbole_cold.data._frames_folder import frames_in_use, frames_root
from recbole_cold.errors import UserError, WriteError, nearest

# Between the elements of a sequence: the first one that no element has. Each of them reads as
# itself where texts are read as yaml.
SEPARATORS = (" ", ";", "^", "$", "\x1f")
_ROLES = {"user": "USER_ID_FIELD", "item": "ITEM_ID_FIELD", "label": "LABEL_FIELD",
          "time": "TIME_FIELD"}  # fmt: skip
_FILES = {"inter": "interactions", "item": "items", "user": "users"}


def from_frames(
    interactions: pd.DataFrame,
    items: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    *,
    label: str = "label",
    threshold: float | None = None,
    time: str | None = None,
    user: str = "user_id",
    item: str = "item_id",
    name: str = "frames",
    kinds: Mapping[str, str] | None = None,
    vectors: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> "Frames":
    """A data set for ``dataset=``, from pandas frames.

    RecBole's kind of a column follows from its type: ids, texts, categories and truth values are
    tokens; numbers are floats; dates are seconds since 1970; lists are sequences of either. A
    missing value is padding, or the mean of a number.

    Args:
        interactions: one row per (user, item), with a label.
        items: one row per item, with its features.
        users: one row per user, with its features.
        label: the column with 0 and 1, or with numbers for ``threshold``.
        threshold: from this value on, a label is 1.
        time: the column that orders rows; ``timestamp`` where there is one.
        user: the column of user ids.
        item: the column of item ids.
        name: what tables call the data set.
        kinds: column -> token, float, token_seq or float_seq, where another one is wanted: a year
            as ``token``, or a title as ``token_seq`` (its words).
        vectors: content vectors, ``{"items": {"emb": matrix}}``: one per row of ``items`` (of
            ``users``, of ``interactions``), in its order; float16 stays, other numbers become
            float32. Zeros are a missing vector. A column of lists of one length says the same.

    Raises:
        UserError: a column is missing, or holds what a file cannot; names frame and column.
    """
    frames = {"inter": interactions, "item": items, "user": users}
    frames = {suffix: frame for suffix, frame in frames.items() if frame is not None}
    _check_name(name)
    for suffix, frame in frames.items():
        _check_frame(frame, _FILES[suffix])
    if time is None and "timestamp" in interactions.columns:
        time = "timestamp"
    roles = {"user": user, "item": item, "label": label, "time": time}
    _check_roles(roles, frames)
    _check_kinds(kinds or {}, frames)
    tables = {}
    for suffix, frame in frames.items():
        columns = [
            FrameColumn(_FILES[suffix], str(column), frame[column]) for column in frame.columns
        ]
        tables[suffix] = [cells_of(column, roles, threshold, kinds or {}) for column in columns]
    _check_ids_meet(tables, {"item": item, "user": user})
    keys: dict[str, Any] = {
        _ROLES[role]: column for role, column in roles.items() if column is not None
    }
    keys |= {"load_col": None, "threshold": None if threshold is None else {label: threshold}}
    return Frames(name, tables, keys, _matrices(vectors or {}, frames))


class Frames:
    """A data set that is not written yet; ``from_frames`` makes it, ``dataset=`` takes it.

    Args:
        name: of the data set.
        tables: suffix of the atomic file -> its columns as text, numbers or lists.
        keys: configuration keys that say what the columns are.
        matrices: suffix -> field -> content vectors, one per row.
    """

    def __init__(
        self,
        name: str,
        tables: Mapping[str, list["Cells"]],
        keys: Mapping[str, Any],
        matrices: Mapping[str, Mapping[str, np.ndarray]],
    ) -> None:
        self.name, self._matrices = name, matrices
        files = {
            suffix: {field: f"{suffix}.{number}.npy" for number, field in enumerate(fields)}
            for suffix, fields in matrices.items()
        }
        keys = {**keys, "vector_fields": files} if files else keys
        self.separator = _separator(tables)
        self._tables = tables
        self._keys = {**keys, "field_separator": "\t", "seq_separator": self.separator}

    def configuration(self, root: Path) -> dict[str, Any]:
        """Configuration keys of the data set, written under the cache folder ``root``.

        Raises:
            WriteError: the folder cannot be written.
        """
        return {**self._keys, "data_path": str(self.write(root).parent)}

    def write(self, root: Path) -> Path:
        """The folder of the atomic files, which is written unless it is there.

        Raises:
            WriteError: it cannot be.
        """
        base = frames_root(root)
        temporary = None
        try:
            base.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=base))
            files = self._write_files(temporary / self.name)
            target = base / _content(self.name, files)
            folder = target / self.name
            if not all(_same_size(path, folder / path.name) for path in files):
                shutil.rmtree(target, ignore_errors=True)  # there, but cut short or incomplete
                temporary.chmod(0o755)
                try:
                    os.replace(temporary, target)
                except OSError:
                    if not folder.is_dir():  # else another process was first, with the same
                        raise
            self._use = frames_in_use(folder, root)
            return folder
        except OSError as error:
            raise WriteError(
                f"cannot write the frames under '{base}' ({error.strerror or error}); free some "
                "space there or choose another folder with cache_dir"
            ) from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)

    def _write_files(self, folder: Path) -> list[Path]:
        folder.mkdir()
        paths = []
        for suffix, columns in self._tables.items():
            path = folder / f"{self.name}.{suffix}"
            header = "\t".join(f"{cells.name}:{cells.kind}" for cells in columns)
            table = pa.table({cells.name: cells.text(self.separator) for cells in columns})
            options = pa_csv.WriteOptions(
                include_header=False, delimiter="\t", quoting_style="needed"
            )
            with path.open("wb") as file:
                file.write(header.encode() + b"\n")
                pa_csv.write_csv(table, file, options)
            paths.append(path)
        for suffix, fields in self._keys.get("vector_fields", {}).items():
            for field, file_name in fields.items():
                np.save(folder / file_name, self._matrices[suffix][field], allow_pickle=False)
                paths.append(folder / file_name)
        return paths

    def __repr__(self) -> str:
        rows = {_FILES[suffix]: len(columns[0].values) for suffix, columns in self._tables.items()}
        told = ", ".join(f"{count:,} {what}" for what, count in rows.items())
        return f"<data set '{self.name}': {told}>"


# ------------------------------------------------------------------------------- what is asked
def _check_name(name: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"name '{name}' is no name of a data set; use letters, digits, - and _")


def _check_frame(frame: Any, what: str) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{what} must be a pandas DataFrame, not a {type(frame).__name__}")
    if frame.empty:
        raise UserError(f"{what} has no rows or no columns; give at least one of each")
    for column in frame.columns:
        if not isinstance(column, str):
            raise UserError(f"column {column!r} of {what} has no text as its name; rename it")
        if not column.strip() or re.search(r'[:\t\r\n"]', column):
            raise UserError(
                f"column {column!r} of {what} has an empty name or one with a colon, a quotation "
                "mark, a tab or a line break; rename it"
            )
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise UserError(f"column '{twice[0]}' occurs twice in {what}; rename or drop one")


def _check_roles(roles: Mapping[str, str | None], frames: Mapping[str, pd.DataFrame]) -> None:
    for role, column in roles.items():
        if column is None:
            continue
        for suffix in ("inter", role) if role in frames else ("inter",):
            if column not in frames[suffix].columns:
                raise UserError(_no_column(column, role, _FILES[suffix], frames[suffix]))
        if parse_text(column) != column:
            raise UserError(
                f"column '{column}' reads as {parse_text(column)!r} in a configuration; rename it"
            )
    named = [column for column in roles.values() if column is not None]
    for column in named:
        if named.count(column) > 1:
            first, second = [role for role, name in roles.items() if name == column][:2]
            raise UserError(f"column '{column}' is given as {first}= and as {second}=; it is one")
    ids = {"user": roles["user"], "item": roles["item"]}
    seen = dict.fromkeys(frames["inter"].columns, "interactions")
    for suffix in frames.keys() - {"inter"}:
        for column in frames[suffix].columns:
            if column == ids[suffix]:
                continue
            if column in seen:
                raise UserError(
                    f"column '{column}' is in {seen[column]} and in {_FILES[suffix]}; rename or "
                    "drop one"
                )
            seen[column] = _FILES[suffix]


def _no_column(column: str, role: str, what: str, frame: pd.DataFrame) -> str:
    guess = nearest(column, frame.columns)
    return (
        f"{what} has no column '{column}'; "
        + (f"did you mean '{guess}'? " if guess else f"it has {', '.join(frame.columns)}; ")
        + f"name the right one with {role}="
    )


def _check_kinds(kinds: Mapping[str, str], frames: Mapping[str, pd.DataFrame]) -> None:
    known = [column for frame in frames.values() for column in frame.columns]
    for column, kind in kinds.items():
        if column not in known:
            guess = nearest(str(column), known)
            raise UserError(
                f"kinds names '{column}', which no frame has"
                + (f"; did you mean '{guess}'?" if guess else "")
            )
        if kind not in TYPES:
            raise UserError(
                f"kinds says '{kind}' of column '{column}'; it is one of {', '.join(TYPES)}"
            )


def _matrices(
    vectors: Mapping[str, Mapping[str, Any]], frames: Mapping[str, pd.DataFrame]
) -> dict[str, dict[str, np.ndarray]]:
    """Suffix -> field -> matrix of the argument ``vectors``, checked."""
    suffixes = {what: suffix for suffix, what in _FILES.items() if suffix in frames}
    columns = {str(column) for frame in frames.values() for column in frame.columns}
    found: dict[str, dict[str, np.ndarray]] = {}
    for what, fields in vectors.items():
        if what not in suffixes:
            raise UserError(
                f"vectors names '{what}', which is none of the frames: {', '.join(suffixes)}"
            )
        for field, given in fields.items():
            place = f"the vectors '{field}' of {what}"
            if field in columns:
                raise UserError(f"{place} have the name of a column; choose another one")
            columns.add(field)
            matrix = np.asarray(given)
            rows = len(frames[suffixes[what]])
            if matrix.ndim != 2 or len(matrix) != rows or not matrix.shape[1]:
                raise UserError(
                    f"{place} are an array of shape {list(matrix.shape)}; give a matrix with a row "
                    f"for each of the {rows:,} rows of {what}"
                )
            if matrix.dtype.kind not in "fiu":
                raise UserError(f"{place} are of type {matrix.dtype}; make them numbers")
            with np.errstate(over="ignore"):
                matrix = matrix if matrix.dtype == np.float16 else matrix.astype(np.float32)
            if not np.isfinite(matrix).all():
                row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
                raise UserError(
                    f"{place} have nan or inf in row {row} (counted from 0); correct it, or write "
                    "zeros for a missing vector"
                )
            found.setdefault(suffixes[what], {})[field] = matrix
    return found


def _check_ids_meet(tables: Mapping[str, list[Cells]], ids: Mapping[str, str]) -> None:
    """Refuse features without any known id: ids are, say, numbers here and texts elsewhere."""
    for suffix in tables.keys() - {"inter"}:
        ours, theirs = (
            next(cells for cells in tables[each] if cells.name == ids[suffix])
            for each in ("inter", suffix)
        )
        if not set(ours.values.unique().to_pylist()) & set(theirs.values.unique().to_pylist()):
            raise UserError(
                f"no '{ids[suffix]}' of {_FILES[suffix]} occurs in interactions; write the ids "
                "alike in both"
            )


# ------------------------------------------------------------------------------- files
def _separator(tables: Mapping[str, list[Cells]]) -> str:
    lists = [cells for columns in tables.values() for cells in columns if cells.kind == "token_seq"]
    letters = {
        letter for cells in lists for row in cells.values for text in row or () for letter in text
    }
    free = [separator for separator in SEPARATORS if separator not in letters]
    if not free:
        names = ", ".join(cells.place for cells in lists)
        raise UserError(
            f"the lists in {names} have elements with every separator that there is "
            f"({' '.join(map(repr, SEPARATORS))}); replace one of them in the data"
        )
    return free[0]


def _content(name: str, files: Iterable[Path]) -> str:
    digest = hashlib.sha256(name.encode())
    for path in files:
        digest.update(f"/{path.name}/{path.stat().st_size}/".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def _same_size(ours: Path, theirs: Path) -> bool:
    return theirs.is_file() and theirs.stat().st_size == ours.stat().st_size
