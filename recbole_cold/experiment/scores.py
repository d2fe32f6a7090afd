"""The scores of evaluated rows: what is kept of them, in which files, and how they are read back.

A method's scores of one seed are one file. In the folder of a run it is
``<row>/scores-seed-<seed>.npz``, beside a trial of a comparison ``trials/<key>.npz``. The seed's
entry in the results document names it under ``scores``, from the document's own folder or, where
``from`` stands beside it, from that one. Shape letters: n rows, k items, u users.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.distinct import codes_in
from recbole_cold.errors import UserError
from recbole_cold.store import write_bytes

Array = np.ndarray
# Version 1 had tokens as fixed-width texts, each as wide as the longest.
VERSION = 2
NAMED = "scores"  # in a seed's entry of a results document
SUFFIX = ".npz"
_CHUNK = 1 << 16  # rows whose tokens are digested at a time


class DamagedScores(Exception):
    """A file of scores is missing, cut short, altered or of a later version."""


def scores_name(seed: int) -> str:
    """The file of one seed in the folder of a row."""
    return f"scores-seed-{seed}{SUFFIX}"


class ScoredRows(NamedTuple):
    """The rows that a phase scores, in the order of their scores.

    Attributes:
        number: their places in the data set, int [n]: two methods scored the same rows where
            numbers, labels, items and users are equal.
        label: uint8 [n]. item, user: places in the tokens of the file, int [n].
    """

    number: Array
    label: Array
    item: Array
    user: Array


@dataclass(frozen=True)
class RowScores:
    """One method's scores of one seed, phase by phase.

    Attributes:
        scores: phase -> float32 [n].
        parts: phase -> the name of the part that it scores.
        rows: part -> its rows.
        items, users: the tokens of the data set, [k] and [u], of the items and users that occur:
            they mean the same in all seeds and files, whatever the split. Texts in any array will
            do, and become a ``Vocabulary``.
        cold_side: whose ids are new, ``item`` or ``user``: WithinAUC is inside these.
    """

    scores: Mapping[str, Array]
    parts: Mapping[str, str]
    rows: Mapping[str, ScoredRows]
    items: Vocabulary
    users: Vocabulary
    cold_side: str = "item"

    def __post_init__(self) -> None:
        for name in ("items", "users"):
            tokens = getattr(self, name)
            if not isinstance(tokens, Vocabulary):
                texts = pa.array(np.asarray(tokens).tolist(), pa.large_string())
                object.__setattr__(self, name, Vocabulary(texts))

    def rows_of(self, phase: str) -> ScoredRows:
        return self.rows[self.parts[phase]]

    def tokens(self, side: str) -> Array:
        """The tokens of ``item`` or ``user``, which codes are places in: objects, so that one long
        token makes no other one longer."""
        tokens = self.items if side == "item" else self.users
        return np.array(tokens.tolist(), dtype=object)

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Phase -> what is equal where two methods scored the same rows."""
        by_part = {part: self._digest(rows) for part, rows in self.rows.items()}
        return {phase: by_part[part] for phase, part in self.parts.items()}

    def _digest(self, rows: ScoredRows) -> str:
        digest = hashlib.sha256()
        for column in (rows.number.astype("<i8"), rows.label.astype("u1")):
            digest.update(column.tobytes())
        for side, codes in (("item", rows.item), ("user", rows.user)):
            tokens = self.tokens(side)
            for start in range(0, len(codes), _CHUNK):
                texts = tokens[codes[start : start + _CHUNK]].tolist()
                told = ("\0" if start else "") + "\0".join(texts)
                digest.update(told.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    # ---------------------------------------------------------------- files
    def content(self) -> bytes:
        """The file: equal scores give equal bytes."""
        about = {"version": VERSION, "phases": dict(self.parts), "cold_side": self.cold_side}
        arrays = {"about": np.array(json.dumps(about))}
        for side, tokens in (("items", self.items), ("users", self.users)):
            letters, ends = tokens.parts()
            # Lengths, which are small numbers, shrink to less than places.
            arrays[f"{side}.letters"] = letters
            arrays[f"{side}.lengths"] = _smallest(np.diff(ends))
        for phase, scores in self.scores.items():
            arrays[f"score.{phase}"] = scores
        for part, rows in self.rows.items():
            for name, column in rows._asdict().items():
                arrays[f"{name}.{part}"] = _smallest(column)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @staticmethod
    def read(content: bytes, place: Any = "the scores") -> "RowScores":
        """The scores in a file of this content.

        Raises:
            DamagedScores: it is none.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                if about["version"] not in _TOKENS:
                    raise ValueError(f"version {about['version']}")
                tokens_in = _TOKENS[about["version"]]
                found = RowScores(
                    {phase: stored[f"score.{phase}"] for phase in about["phases"]},
                    dict(about["phases"]),
                    {
                        part: ScoredRows(*(stored[f"{name}.{part}"] for name in ScoredRows._fields))
                        for part in dict.fromkeys(about["phases"].values())
                    },
                    tokens_in(stored, "items"), tokens_in(stored, "users"), str(about["cold_side"]),
                )  # fmt: skip
            found._check()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
            raise DamagedScores(f"'{place}' is damaged ({error})") from error
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, IndexError) as error:
            raise DamagedScores(f"'{place}' is damaged ({error})") from error
        return found

    def _check(self) -> None:
        for phase, scores in self.scores.items():
            rows = self.rows_of(phase)
            if any(column.shape != scores.shape for column in rows):
                raise ValueError(f"columns of {phase} differ in length")
        for rows in self.rows.values():
            for codes, tokens in ((rows.item, self.items), (rows.user, self.users)):
                if codes.dtype.kind not in "iu":
                    raise ValueError("codes are no whole numbers")
                if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < len(tokens):
                    raise IndexError(f"a row has a code that none of {len(tokens)} tokens has")


def _tokens_in(stored: Mapping[str, Array], side: str) -> Vocabulary:
    letters, lengths = stored[f"{side}.letters"], stored[f"{side}.lengths"]
    ends = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=ends[1:])
    if letters.dtype != np.uint8 or ends[-1] != len(letters):
        raise ValueError(f"the tokens of {side} are cut short")
    tokens = Vocabulary.from_parts(letters, ends)
    tokens.tolist()  # what is no UTF-8 is told here
    return tokens


# The version of a file -> what reads tokens in it.
_TOKENS: dict[int, Callable[[Mapping[str, Array], str], Any]] = {
    1: lambda stored, side: stored[side],
    2: _tokens_in,
}


def _smallest(column: Array) -> Array:
    """Whole numbers in the smallest type that holds them."""
    return column.astype(np.min_scalar_type(int(column.max(initial=0))))


def row_scores(dataset: ColdStartDataset, scores: Mapping[str, Any]) -> RowScores:
    """What is kept of a run.

    Args:
        dataset: the run's view, with its split.
        scores: phase -> scores of the rows that it scores, [n].
    """
    split = dataset.split
    parts = {phase.name: phase.score_on for phase in split.phases if phase.name in scores}
    numbers = {part: np.asarray(split[part]) for part in dict.fromkeys(parts.values())}
    every = np.concatenate(list(numbers.values())) if numbers else np.zeros(0, np.int64)
    columns, tokens = {}, {}
    for side, field in (("item", dataset.iid_field), ("user", dataset.uid_field)):
        codes = np.asarray(dataset.inter[field])
        used = codes_in(codes[every])
        tokens[side] = dataset.field2id_token[field].some(used)
        columns[side] = {part: np.searchsorted(used, codes[rows]) for part, rows in numbers.items()}
    label = np.asarray(dataset.inter[dataset.label_field])
    return RowScores(
        {phase: np.asarray(scores[phase], dtype=np.float32) for phase in parts},
        parts,
        {
            part: ScoredRows(
                rows, label[rows].astype(np.uint8), columns["item"][part], columns["user"][part]
            )
            for part, rows in numbers.items()
        },
        tokens["item"],
        tokens["user"],
        split.cold_side,
    )


# ------------------------------------------------------------------------------- of a document
FRAME = ("method", "backbone", "seed", "phase", "item", "user", "label", "score")
CATEGORIES = {"method", "backbone", "phase", "item", "user"}

NOT_KEPT = "no row scores were kept (an older version, or keep_scores: False)"

Find = Callable[[str, Mapping[str, Any]], RowScores]
"""The scores of a row, by its label and the seed's entry in the document.

Raises:
    DamagedScores: there are none, with the reason.
"""


def write_scores(path: Path, scores: RowScores) -> None:
    """Write a file of scores whole.

    Raises:
        WriteError: the folder cannot be written.
    """
    write_bytes(path, scores.content())


def in_folder(folder: Path) -> Find:
    """The scores of a results document that lies in ``folder``."""

    def find(label: str, seed: Mapping[str, Any]) -> RowScores:
        name = seed.get(NAMED)
        if not isinstance(name, str):
            raise DamagedScores(NOT_KEPT)
        # A folder that was moved with its comparison is found beside it.
        places = [Path(str(seed["from"])) / name] if "from" in seed else []
        places.append(folder / name)
        for path in places:
            try:
                content = path.read_bytes()
            except OSError:
                continue
            found = RowScores.read(content, path)
            _refuse_others(found, seed, path)
            return found
        raise DamagedScores(f"'{places[0]}' is not there")

    return find


def _refuse_others(scores: RowScores, seed: Mapping[str, Any], path: Path) -> None:
    """Scores must be those of the rows that the document counts."""
    for phase, result in seed["phases"].items():
        if phase not in scores.parts:
            raise DamagedScores(f"'{path}' has no scores of {phase}")
        label = scores.rows_of(phase).label
        if (len(label), int(label.sum())) != (result["rows"], result["positives"]):
            raise DamagedScores(f"'{path}' is not of these results")


def find_in(folder: Path | None, kept: Mapping[tuple[str, int], RowScores]) -> Find:
    """The scores in a folder; without one those that were ``kept``, by label and seed."""
    if folder is not None:
        return in_folder(folder)

    def find(label: str, seed: Mapping[str, Any]) -> RowScores:
        try:
            return kept[label, seed["seed"]]
        except KeyError:
            raise DamagedScores(NOT_KEPT) from None

    return find


def scores_frame(documents: Mapping[str | None, Mapping[str, Any]], find: Find) -> Any:
    """One line per evaluated row: method, backbone, seed, phase, item, user, label, score.

    Args:
        documents: backbone -> results document; for None each run names its backbone.

    Raises:
        UserError: there are no scores, or those that there are cannot be read.
    """
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [] for name in FRAME}
    for backbone, document in documents.items():
        for run in document["runs"]:
            for seed in run["seeds"]:
                label = str(run["label"])
                try:
                    scores = find(label, seed)
                except DamagedScores as error:
                    raise UserError(f"{label}, seed {seed['seed']}: {error}") from error
                for phase, score in scores.scores.items():
                    rows = scores.rows_of(phase)
                    texts = {
                        "method": label, "backbone": str(backbone or run["backbone"]),
                        "phase": phase,
                    }  # fmt: skip
                    for name, text in texts.items():
                        codes = np.zeros(len(score), np.int8)
                        columns[name].append(pd.Categorical.from_codes(codes, [text]))
                    for side, codes in (("item", rows.item), ("user", rows.user)):
                        tokens = scores.tokens(side)
                        columns[side].append(pd.Categorical.from_codes(codes, tokens))
                    columns["seed"].append(np.full(len(score), seed["seed"]))
                    columns["label"].append(rows.label)
                    columns["score"].append(score)
    if not columns["score"]:
        raise UserError("there are no results, and so no scores of rows")
    join = pd.api.types.union_categoricals
    return pd.DataFrame(
        {
            name: join(parts) if name in CATEGORIES else np.concatenate(parts)
            for name, parts in columns.items()
        }
    )
