"""Splits: the rows that are learned from, that warm up new items, and that are scored.

Pure functions of columns (code of the cold side, time). The cold side is the item, or the user
with ``cold_side='user'``: the same code with the columns swapped. Shape letters do not occur; an
``ids`` column holds one code per row.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from recbole_cold.data._suggest import why_empty
from recbole_cold.data.phases import (
    LETTERS,
    Phase,
    common_names,
    is_warm_file,
    protocol,
    scored_on_next,
    warm_names,
)
from recbole_cold.data.sessions import SessionTable, sessions_told
from recbole_cold.distinct import codes_in, counts_of, positions_of
from recbole_cold.errors import UserError

Array = np.ndarray

# The format of the files that ``save`` writes. Format 1 had no version and no phases, format 2 no
# histories; the oldest that ``load`` reads.
VERSION, _OLDEST = 3, 2
# Entries of the manifest that are no part of the hash, which covers the rule and the rows.
_BESIDE_THE_RULE = ("hash", "version", "phases", "check")


@dataclass(frozen=True, eq=False)
class Split:
    """Named row numbers of one data set, the phases over them, and the rule they came from.

    Args:
        parts: part name -> row numbers (int64). ``train`` is in file order, and so are all parts of
            sessions, whose rows are the targets. In every other part the rows of one new id stand
            together, ids ascending, oldest row first; a warm-up part of the frequency rule can
            therefore be read as ``split['warm_a'].reshape(-1, K)``.
        old_ids: codes of the old items (or users), ascending.
        new_ids: codes of the new items (or users), ascending.
        manifest: rule, N, K, cold_side, order ('time', 'file' or 'seeded permutation'), rows per
            part (``counts``), data_hash and the hash of all of it; the format's ``version`` and the
            ``phases`` stand beside it. Plain values, ready for JSON.
        phases: the phases in their order: name, part learned on, part scored. They are given
            explicitly; they do not follow from the names of parts.
        histories: what came before each target, where rows are targets of sessions.

    Raises:
        ValueError: a phase names a part that there is not.
    """

    parts: Mapping[str, Array]
    old_ids: Array
    new_ids: Array
    manifest: Mapping[str, Any] = field(default_factory=dict)
    phases: Sequence[Phase] = ()
    histories: SessionTable | None = None

    def __post_init__(self) -> None:
        parts = {name: _frozen(rows) for name, rows in self.parts.items()}
        phases = tuple(Phase(*phase) for phase in self.phases)
        for phase in phases:
            unknown = {phase.warm_up_on, phase.score_on} - {None, *parts}
            if unknown:
                raise ValueError(f"phase '{phase.name}' names parts that there are not: {unknown}")
        object.__setattr__(self, "phases", phases)
        object.__setattr__(self, "parts", MappingProxyType(parts))
        object.__setattr__(self, "old_ids", _frozen(self.old_ids))
        object.__setattr__(self, "new_ids", _frozen(self.new_ids))
        manifest = {k: v for k, v in self.manifest.items() if k not in _BESIDE_THE_RULE}
        manifest["counts"] = {name: len(rows) for name, rows in parts.items()}
        manifest["old"], manifest["new"] = len(self.old_ids), len(self.new_ids)
        manifest["hash"] = self._digest(manifest)
        manifest["version"] = VERSION
        manifest["phases"] = [list(phase) for phase in phases]
        object.__setattr__(self, "manifest", MappingProxyType(manifest))

    def _digest(self, manifest: Mapping[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
        arrays = [*self.parts.values(), self.old_ids, self.new_ids]
        if self.histories is not None:
            arrays += [self.histories.targets, self.histories.rows]
        for array in arrays:
            digest.update(len(array).to_bytes(8, "little"))
            digest.update(array.reshape(-1).astype("<i8", copy=False))  # type: ignore[arg-type]
        return digest.hexdigest()

    @property
    def hash(self) -> str:
        """Hexadecimal SHA-256 over rule, data hash and all row numbers.

        What the phases score (``eval_on``) is no part of it: pre-training is the same for all.
        """
        return str(self.manifest["hash"])

    @property
    def warm_parts(self) -> list[str]:
        """The parts that phases learn on, in the order of the phases."""
        return [phase.warm_up_on for phase in self.phases if phase.warm_up_on is not None]

    @property
    def warm_size(self) -> int | None:
        """K, the rows per new id in a warm-up part; None where there is none, or no number that all
        parts have."""
        return self.manifest.get("K")

    @property
    def cold_side(self) -> str:
        """Whose ids are old and new: ``item`` or ``user``."""
        return str(self.manifest.get("cold_side", "item"))

    @property
    def task_side(self) -> str:
        """Whose rows a meta-learner takes as a task: those of the side that can be new, or, where
        rows are sessions, those of a user."""
        return self.cold_side if self.histories is None else "user"

    def scored_on(self, eval_on: str) -> "Split":
        """The same rows with phases scored on ``test``, as they are made, or on the ``next``
        phase's rows."""
        return self if eval_on == "test" else replace(self, phases=scored_on_next(self.phases))

    def __getitem__(self, name: str) -> Array:
        return self.parts[name]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Split):
            return False
        return self.hash == other.hash and self.phases == other.phases

    def __hash__(self) -> int:
        return hash(self.hash)

    # A mappingproxy cannot be pickled; sweeps ship splits between processes.
    def __reduce__(self) -> tuple[Any, ...]:
        arrays = (dict(self.parts), self.old_ids, self.new_ids)
        return Split, (*arrays, dict(self.manifest), self.phases, self.histories)

    def __str__(self) -> str:
        if self.histories is not None:
            return sessions_told(self.manifest)
        total = sum(map(len, self.parts.values())) + sum(
            int(self.manifest.get(name, 0)) for name in ("dropped_rows", "later_rows", "cut_rows")
        )
        lines = [f"{'part':<10}{'rows':>12}{'share':>9}"]
        for name, rows in self.parts.items():
            lines.append(f"{name:<10}{len(rows):>12,}{len(rows) / max(total, 1):>9.1%}")
        told = f"{len(self.old_ids):,} old and {len(self.new_ids):,} new {self.cold_side}s"
        if self.manifest.get("dropped"):
            told += (
                f", {self.manifest['dropped']:,} dropped "
                f"with {self.manifest['dropped_rows']:,} rows"
            )
        lines.append(f"{told}; order: {self.manifest.get('order', 'time')}")
        if self.manifest.get("draw") == "rare":
            lines.append(
                f"new: drawn from the rarest old {self.cold_side}s; each keeps its oldest "
                f"{self.manifest['kept']:,} rows, {self.manifest['cut_rows']:,} more are in no part"
            )
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write ``<path>.json`` (manifest) and ``<path>.npz`` (row numbers), each whole or not.

        Raises:
            UserError: the folder cannot be written.
        """
        from recbole_cold.store import whole_file, write_bytes

        arrays = {f"part.{name}": _short(rows) for name, rows in self.parts.items()}
        if self.histories is not None:
            arrays |= {"targets": self.histories.targets, "histories": self.histories.rows}
        arrays |= {"old_ids": self.old_ids, "new_ids": self.new_ids}
        manifest = {**self.manifest, "check": _check(self.manifest)}
        with whole_file(_beside(path, ".npz")) as file:
            np.savez(file, allow_pickle=False, **arrays)
        write_bytes(_beside(path, ".json"), json.dumps(manifest, indent=1).encode())

    @staticmethod
    def load(path: str | Path) -> "Split":
        """The split that ``save`` wrote at ``path``.

        Raises:
            UserError: a file is missing, cut short, altered, or of another version.
        """
        try:
            manifest = read_manifest(path)
            version = manifest.get("version", 1)
            if version < _OLDEST:
                raise UserError(
                    f"the split stored at '{_beside(path, '.json')}' was written by an older "
                    "recbole_cold, which did not store its phases; make the split again"
                )
            with (
                _beside(path, ".npz").open("rb") as file,
                np.load(file, allow_pickle=False) as stored,
            ):
                arrays = {name: stored[name] for name in stored.files}
            order = manifest["counts"]
            split = Split(
                {name: arrays[f"part.{name}"] for name in order},
                arrays["old_ids"],
                arrays["new_ids"],
                manifest,
                manifest["phases"],
                SessionTable(arrays["targets"], arrays["histories"])
                if "histories" in arrays
                else None,
            )
        except FileNotFoundError as error:
            raise UserError(
                f"no split is stored at '{error.filename}'; give the path that it was saved to"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
            raise _damaged(path) from error
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise _damaged(path) from error
        now = _check({**split.manifest, "version": version})
        if split.hash != manifest.get("hash") or now != manifest.get("check"):
            raise _damaged(path)
        return split


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest that ``Split.save`` wrote at ``path``; its ``hash`` means the same in all
    versions so far.

    Raises:
        UserError: a newer version of recbole_cold wrote it.
        OSError, ValueError, TypeError: there is none, or it is damaged.
    """
    manifest = json.loads(_beside(path, ".json").read_text())
    version = manifest.get("version", 1)
    if not isinstance(version, int):
        raise TypeError(f"version {version!r}")
    if version > VERSION:
        raise UserError(
            f"the split stored at '{_beside(path, '.json')}' is of version {version}, and this "
            f"recbole_cold reads versions up to {VERSION}; install a newer one"
        )
    return manifest


def is_split_at(path: str | Path, digest: str) -> bool:
    """Whether ``Split.save`` left the split with this hash at ``path``, by its manifest."""
    try:
        return read_manifest(path)["hash"] == digest and _beside(path, ".npz").exists()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        return False


def _check(manifest: Mapping[str, Any]) -> str:
    """A digest of a whole manifest, by which a change is noticed."""
    plain = {key: value for key, value in manifest.items() if key != "check"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def frequency_split(
    ids: Array,
    time: Array | None,
    *,
    threshold: int,
    size: int,
    n_warm: int = 3,
    seed: int = 0,
    data_hash: str = "",
    cold_side: str = "item",
) -> Split:
    """Old ids (more than ``threshold`` rows) train; new ids give warm-up parts and ``test``.

    Without warm-up parts (``n_warm=0``) K means nothing: every id with at most N rows is new, and
    all of its rows are in ``test``.

    Args:
        ids: codes of the cold side, one per row.
        time: one number per row, or None: the order is then a permutation drawn from ``seed``.
        threshold: N; an id with n > N rows is old, one with n_warm * K <= n <= N is new, and the
            rest is dropped.
        size: K, the rows per new id in each warm-up part.
        n_warm: number of warm-up parts, from 0 on.

    Raises:
        UserError: no old id, no new id, or no row to test on; the sentence names counts that work.
    """
    ids = np.asarray(ids)
    for key, value, least in (
        ("cold_threshold", threshold, 1), ("warm_sets", n_warm, 0), ("warm_size", size, 1)
    ):  # fmt: skip
        if key == "warm_size" and not n_warm:
            continue  # nothing is made of K
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise UserError(f"{key} is {value!r}; it must be a whole number of {least} or more")
    if n_warm > len(LETTERS):
        raise UserError(f"warm_sets is {n_warm}; at most {len(LETTERS)} warm-up sets can be named")
    counts = counts_of(ids, int(ids.max(initial=0)) + 1)
    warm_rows = int(n_warm * size) if n_warm else 0
    is_old = counts > threshold
    is_new = (counts >= warm_rows) & (counts <= threshold) & (counts > 0)
    if not is_old.any() or not (counts[is_new] > warm_rows).any():
        raise UserError(why_empty(counts, int(threshold), size, int(n_warm), cold_side))
    row_is_new = positions_of(ids, is_new)
    dropped = (counts > 0) & ~is_old & ~is_new
    manifest = {
        "rule": "frequency",
        "N": int(threshold),
        "K": int(size) if n_warm else None,
        "warm_sets": int(n_warm),
        "cold_side": cold_side,
        "order": order_of(time),
        "seed": None if time is not None else int(seed),
        "data_hash": data_hash,
        "dropped": int(dropped.sum()),
        "dropped_rows": int(counts[dropped].sum()),
    }
    names, times = warm_names(int(n_warm)), times_of(time, len(ids), seed)
    return Split(
        {
            "train": _read_only(positions_of(ids, is_old)),
            **parts_in_order(row_is_new, ids, times, size, names),
        },
        np.flatnonzero(is_old),
        np.flatnonzero(is_new),
        manifest,
        protocol(names),
    )


def common_phases(split: Split, ids: Array, n: int, size: int) -> Split:
    """``split`` with the oldest ``size`` test rows of each new id in ``common_1``, the next in
    ``common_2``, up to ``common_<n>``; what is left stays ``test``.

    Raises:
        UserError: no test row would be left.
    """
    if n == 0:
        return split
    for key, value in (("common_phases", n), ("common_size", size)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise UserError(f"{key} is {value!r}; it must be a whole number of 1 or more")
    test = split["test"]
    rank = rank_in_run(np.asarray(ids)[test])
    if not (rank >= n * size).any():
        longest = int(rank.max(initial=-1)) + 1
        raise UserError(
            f"{n} common phases of {size} rows leave no test row: the longest test history has "
            f"{longest} rows; keep common_phases times common_size below {longest}"
        )
    phase = np.minimum(rank // size, n)
    parts = {name: rows for name, rows in split.parts.items() if name != "test"}
    names = common_names(n)
    parts |= {name: test[phase == k] for k, name in enumerate(names)}
    parts["test"] = test[phase == n]
    manifest = {**split.manifest, "common_phases": int(n), "common_size": int(size)}
    phases = [*split.phases, *(Phase(name, name, "test") for name in names)]
    return Split(parts, split.old_ids, split.new_ids, manifest, phases)


def split_from_parts(
    parts: Mapping[str, Array],
    ids: Array,
    *,
    warm_up: bool = True,
    data_hash: str = "",
    cold_side: str = "item",
) -> Split:
    """The split that ready files (RecBole's ``benchmark_filename``) already are.

    Args:
        parts: part name -> row numbers, with ``train``, ``test`` and the ``warm_*``; these are the
            phases, in this order.
        warm_up: whether there are warm-up parts: at least one, or none.

    Raises:
        UserError: a part is missing or empty, there are warm-up parts and none were to be there, or
            an id of ``train`` is in another part too.
    """
    missing = [name for name in ("train", "test") if not len(parts.get(name, ()))]
    names = [name for name in parts if is_warm_file(name)]
    given = f"benchmark_filename gives the parts {', '.join(parts)}"
    if missing or (warm_up and not names):
        raise UserError(
            f"{given}; a split needs rows in 'train' and 'test' and the warm-up parts 'warm_a', "
            "'warm_b', ... (or warm_sets: 0, for the cold phase alone)"
        )
    if names and not warm_up:
        raise UserError(
            f"{given}, and warm_sets: 0 asks for no warm-up; leave {' and '.join(names)} out of "
            "benchmark_filename, or leave out warm_sets"
        )
    ids = np.asarray(ids)
    old = codes_in(ids[parts["train"]])
    others = [ids[rows] for name, rows in parts.items() if name != "train"]
    new = codes_in(np.concatenate(others))
    both = np.intersect1d(old, new)
    if len(both):
        raise UserError(
            f"{len(both)} {cold_side}s are in the training file and in another part; a new "
            f"{cold_side} must not be in 'train'"
        )
    sizes = {int(np.bincount(ids[parts[name]]).max(initial=0)) for name in names}
    manifest = {
        "rule": "files",
        "N": None,
        "K": sizes.pop() if len(sizes) == 1 else None,
        "warm_sets": len(names),
        "cold_side": cold_side,
        "order": "file",
        "seed": None,
        "data_hash": data_hash,
    }
    return Split(parts, old, new, manifest, protocol(names))


def order_of(time: Array | None) -> str:
    """What orders the rows of an item, for the manifest."""
    if time is None:
        return "seeded permutation"
    # Rows of equal time keep the order of the file.
    return "file" if len(time) and bool((np.asarray(time) == time[0]).all()) else "time"


def times_of(time: Array | None, n_rows: int, seed: int) -> Array:
    if time is None:
        return np.random.default_rng(seed).permutation(n_rows)
    time = np.asarray(time)
    if np.isnan(time).any():
        raise UserError("the time column has missing values; fill them or leave the column out")
    return time


def rank_in_run(sorted_ids: Array) -> Array:
    """Position of each row within its run of equal ids."""
    positions = np.arange(len(sorted_ids))
    starts = np.flatnonzero(np.r_[True, sorted_ids[1:] != sorted_ids[:-1]])
    return positions - np.repeat(starts, np.diff(np.r_[starts, len(sorted_ids)]))


def parts_in_order(
    rows: Array, ids: Array, time: Array, size: int, warm: Sequence[str], most: int | None = None
) -> dict[str, Array]:
    """``size`` rows of each id in each part of ``warm``, oldest first, and the rest in ``test``.

    Args:
        size: of no meaning where ``warm`` is empty.
        most: rows of an id that are used; later ones are in no part.
    """
    # lexsort is stable: rows of equal time keep the order of the file.
    rows = rows[np.lexsort((time[rows], ids[rows]))]
    rank = rank_in_run(ids[rows])
    if most is not None:
        rows, rank = rows[rank < most], rank[rank < most]
    part = np.minimum(rank // size, len(warm)) if warm else np.zeros_like(rank)
    return {name: rows[part == number] for number, name in enumerate([*warm, "test"])}


def _frozen(rows: Array) -> Array:
    """Row numbers that nobody can change, int64: a copy, unless they are so already."""
    given = np.asarray(rows)
    if given.dtype == np.int64 and given.flags.owndata and not given.flags.writeable:
        return given
    return _read_only(np.array(rows, dtype=np.int64))


def _short(rows: Array) -> Array:
    """Row numbers in four bytes each where they fit; ``_frozen`` reads any whole numbers."""
    return rows.astype(np.int32) if rows.max(initial=0) < 2**31 else rows


def _read_only(rows: Array) -> Array:
    rows.flags.writeable = False
    return rows


def _beside(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    return path.with_suffix(suffix) if path.suffix in {".json", ".npz"} else Path(f"{path}{suffix}")


def _damaged(path: str | Path) -> UserError:
    return UserError(
        f"the split stored at '{_beside(path, '.json')}' is damaged or incomplete; delete it and "
        "make the split again"
    )
