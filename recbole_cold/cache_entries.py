"""What a cache folder holds, entry by entry: its size, its last use, who uses it now; its removal.

A process that uses an entry holds a shared lock on one of its files. Whoever removes an entry asks
for that lock alone, and leaves the entry where it is if he does not get it.
"""

import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_cold.locks import try_lock

LEFTOVERS, HASHES = "leftovers", "file hashes"
# What was begun and not changed for so long belongs to no process that still writes it.
ABANDONED = 24 * 3600.0  # seconds


@dataclass(frozen=True)
class Entry:
    """Something that a cache has stored, to be removed as a whole or not at all.

    Args:
        kind: what it is, in words.
        path: the folder or file.
        used: when it was last used, seconds since 1970.
        lock: the file that its users lock; None where it has none.
        dataset: the data set that it belongs to; '' where nothing says so.
        origin: what it was made of, in a few words; '' where nothing says so.
        is_needed: false for what no process will ever read.
    """

    kind: str
    path: Path
    used: float
    lock: Path | None = None
    dataset: str = ""
    origin: str = ""
    is_needed: bool = True

    def files(self) -> list[os.stat_result]:
        """State of each of its files."""
        return [state for state in map(_state, _below(self.path)) if state is not None]


class Use:
    """The use of an entry by this process, while anything refers to this.

    Args:
        descriptor: an open file with a shared lock; None where there are no locks.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is not None:
            weakref.finalize(self, os.close, descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and other processes have what they need in memory.
        return Use, ()


def use(lock: Path, entry: Path) -> Use:
    """Note that an entry is used now, and keep it from being removed while the answer is held.

    Where that cannot be (a read-only folder, no locks, an entry that is just being removed) nothing
    is lost: what a process has read stays readable, and what is gone is made again.

    Args:
        lock: the file of the entry that is locked.
        entry: the folder or file whose time says when it was last used.
    """
    with suppress(OSError):
        os.utime(entry)
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return Use()
    try:
        for _ in range(3):  # somebody may just be asking whether it is in use
            if try_lock(descriptor, shared=True):
                return Use(descriptor)
            time.sleep(0.01)
    except OSError:
        pass
    os.close(descriptor)
    return Use()


# ------------------------------------------------------------------------------- what there is
def abandoned(folder: Path, names: str) -> Iterator[Entry]:
    """What killed processes left half-written in a folder.

    Args:
        names: how such names begin, as a regular expression.
    """
    for path in listed(folder):
        if re.match(names, path.name):
            states = [state for state in map(_state, [path, *_below(path)]) if state is not None]
            used = max((state.st_mtime for state in states), default=0.0)
            is_old = time.time() - used > ABANDONED
            yield Entry(LEFTOVERS, path, used, origin="killed processes", is_needed=not is_old)


def listed(folder: Path) -> list[Path]:
    """The names in a folder, but links; nothing where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.is_symlink())
    except OSError:
        return []


def last_used(path: Path) -> float:
    """When an entry was last used, as ``use`` notes it; 0 where it is gone."""
    state = _state(path)
    return 0.0 if state is None else state.st_mtime


def _below(path: Path) -> list[Path]:
    if not path.is_dir() or path.is_symlink():
        return [path]
    return [Path(folder, name) for folder, _, names in os.walk(path) for name in names]


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:  # another process has just removed it
        return None


# ------------------------------------------------------------------------------- what goes
def unwanted(
    sizes: Mapping[Entry, int],
    busy: Collection[Entry],
    older: float | None,
    keep: float | None,
    now: float,
) -> list[Entry]:
    """The entries that rules remove, the longest unused first.

    Args:
        sizes: bytes of each entry that there is.
        busy: the entries in use; they stay.
        older: seconds; what was not used for longer goes.
        keep: bytes; the longest unused goes until the rest fits.
        now: seconds since 1970.
    """
    oldest_first = sorted(sizes, key=lambda entry: (entry.is_needed, entry.used))
    left = sum(sizes.values())
    gone = []
    for entry in oldest_first:
        if entry in busy:
            continue
        is_old = older is not None and now - entry.used > older
        # What is being written is not offered: its size and age mean nothing yet.
        may_go = entry.kind not in (LEFTOVERS, HASHES)
        if not entry.is_needed or (may_go and (is_old or (keep is not None and left > keep))):
            gone.append(entry)
            left -= sizes[entry]
    return gone


def in_use(entry: Entry) -> bool:
    """Whether a process uses an entry, or may use it: where there are no locks nobody can tell."""
    try:
        with open(entry.lock, "r+b") if entry.lock else nullcontext() as file:
            return file is not None and not try_lock(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def remove(entry: Entry) -> bool:
    """Remove an entry unless a process uses it; no reader ever sees half of it.

    Raises:
        OSError: the folder may not be changed, or has no locks.
    """
    try:
        with open(entry.lock, "r+b") if entry.lock else nullcontext() as file:
            if file is not None and not try_lock(file):
                return False
            _remove(entry.path)
    except FileNotFoundError:  # another process was first
        return not entry.path.exists()
    return True


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink()
        return
    # Readers find all of it or nothing; a kill leaves what the next removal takes for abandoned.
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name.lstrip('.')}.old.", dir=path.parent))
    try:
        os.replace(path, aside / "old")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
