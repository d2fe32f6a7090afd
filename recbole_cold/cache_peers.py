"""The cache of another machine, which is asked for what this machine's cache lacks.

In a trial on a cluster the driver's machine is asked (``trials.cache_offer`` reaches it through
Ray). An entry, a file or a folder, comes in pieces; it is compared with its digests, and moved into
the cache whole or not at all. Outside of ``asking``, and where both see one folder, all of this
does nothing.
"""

import hashlib
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from recbole_cold.locks import locked

logger = logging.getLogger(__name__)

PIECE = 8 * 2**20  # bytes that travel at a time

# Name of each file below the entry ('' where the entry is a file itself) -> bytes, SHA-256.
Listing = Mapping[str, tuple[int, str]]


class PeerError(Exception):
    """The other machine cannot be reached, or what it sent is not what it has."""


class Peer(Protocol):
    """The cache folder of another machine; an entry is named by its path in it."""

    def sees(self, name: str) -> bool:
        """Whether a file of that name is in its folder."""

    def listing(self, entry: str) -> Listing | None:
        """The files of an entry; None where it has no such entry."""

    def pieces(self, entry: str, name: str, size: int) -> Iterator[bytes]:
        """The content of one of its files, in order."""

    def turn(self, lock: str, stop: Callable[[], bool]) -> AbstractContextManager[None]:
        """Context: this process holds the lock file of that name there, if that can be."""

    def take(self, entry: str, root: Path) -> None:
        """Copy an entry from this machine's cache folder ``root`` into its own."""


# ------------------------------------------------------------------------------- who has it
def listing(root: str, entry: str) -> dict[str, tuple[int, str]] | None:
    """The files of an entry of the cache folder ``root`` with bytes and digest; None without it."""
    path = Path(root, entry)
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    found = {}
    for file in files:
        digest, size = hashlib.sha256(), 0
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
                size += len(block)
        name = "" if file == path else file.relative_to(path).as_posix()
        found[name] = (size, digest.hexdigest())
    return found or None


def piece(root: str, entry: str, name: str, start: int) -> bytes:
    """A piece of a file of an entry, from byte ``start`` on."""
    with Path(root, entry, name).open("rb") as file:
        file.seek(start)
        return file.read(PIECE)


def write_copy(peer: Peer, entry: str, files: Listing, path: Path) -> None:
    """Copy an entry to ``path``: all of it, compared with its digests, or nothing.

    Raises:
        PeerError: a digest differs, or the peer is lost; nothing is left behind.
        OSError: there is no room, or ``path`` cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted, free = sum(size for size, _ in files.values()), shutil.disk_usage(path.parent).free
    if wanted > free:
        raise PeerError(f"{wanted:,} bytes are needed here, {free:,} are free")
    is_file = set(files) == {""}
    # The names are those that `recbole-cold cache --prune` knows for what killed processes left.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    if not is_file:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        temporary.chmod(0o755)
    try:
        for name, (size, digest) in files.items():
            _write_file(temporary / name, peer.pieces(entry, name, size), digest)
        try:
            os.replace(temporary, path)
        except OSError:
            if is_file or not path.exists():  # otherwise another process was first, with the same
                raise
    finally:
        if is_file:
            temporary.unlink(missing_ok=True)
        else:
            shutil.rmtree(temporary, ignore_errors=True)


def _write_file(path: Path, pieces: Iterator[bytes], wanted: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in pieces:
            digest.update(part)
            file.write(part)
    if digest.hexdigest() != wanted:
        raise PeerError(f"the digest of '{path.name}' differs")


# ------------------------------------------------------------------------------- who lacks it
@dataclass
class Asking:
    """A peer that is asked for entries of a cache folder of this machine, and what came of it.

    Attributes:
        root: the cache folder of this machine.
        fetched: the entries that came.
        failed: entry -> a sentence on why it did not come, though the peer has it or may have it.
    """

    peer: Peer
    root: Path
    fetched: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _is_elsewhere(self) -> bool:
        """Whether the peer's folder is another one: it does not see what is written here."""
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".is-this-shared-", dir=self.root) as file:
            return not self.peer.sees(Path(file.name).name)

    def entry(self, path: Path) -> str | None:
        """The name of an entry that may be asked for; None where asking makes no sense."""
        if not path.is_relative_to(self.root):
            return None
        entry = path.relative_to(self.root).as_posix()
        try:
            return entry if entry not in self.failed and self._is_elsewhere else None
        except OSError:  # nothing can be kept here
            return None
        except PeerError as problem:
            self._tell(entry, problem)
            return None

    def copy(self, entry: str, path: Path) -> bool:
        """Bring an entry here; whether it came."""
        try:
            files = self.peer.listing(entry)
            if files is None:
                return False
            write_copy(self.peer, entry, files, path)
        except (PeerError, OSError) as problem:
            self._tell(entry, problem)
            return False
        self.fetched.append(entry)
        return True

    def _tell(self, entry: str, problem: Exception) -> None:
        self.failed[entry] = (
            f"'{entry}' of the cache was not fetched from the driver's machine ({problem}); "
            f"{socket.gethostname()} makes it again"
        )
        logger.warning("%s", self.failed[entry])


_asking: ContextVar[Asking | None] = ContextVar("asking", default=None)


@contextmanager
def asking(peer: Peer, root: Path) -> Iterator[Asking]:
    """Context: what this thread lacks in the cache folder ``root`` is asked of ``peer``."""
    token = _asking.set(Asking(peer, root))
    try:
        yield _asking.get()  # type: ignore[misc]
    finally:
        _asking.reset(token)


def fetch(path: Path) -> bool:
    """Bring an entry of the cache here, once per machine; whether it is there now."""
    now = _asking.get()
    if os.path.exists(path) or now is None:
        return os.path.exists(path)
    entry = now.entry(path)
    if entry is None:
        return False
    with ExitStack() as held:
        with suppress(OSError):  # no locks: each process fetches its own, and the last one stays
            held.enter_context(locked(path.with_name(f".{path.name}.lock")))
        return os.path.exists(path) or now.copy(entry, path)


@contextmanager
def turn(path: Path, lock: Path, stop: Callable[[], bool]) -> Iterator[None]:
    """Context: no other machine makes the entry ``path``; what one of them made has come here.

    Args:
        lock: the lock file that whoever makes it holds on the peer's machine.

    Raises:
        Interrupted: ``stop`` was asked for while waiting.
    """
    now = _asking.get()
    entry = None if now is None else now.entry(path)
    if now is None or entry is None or now.copy(entry, path) or entry in now.failed:
        yield
        return
    with now.peer.turn(lock.relative_to(now.root).as_posix(), stop):
        now.copy(entry, path)  # what the holder before has made
        yield


def hand_over(path: Path) -> None:
    """Give an entry that was made here to the peer, where others ask for it."""
    now = _asking.get()
    entry = None if now is None else now.entry(path)
    if now is None or entry is None:
        return
    try:
        now.peer.take(entry, now.root)
    except PeerError as problem:
        logger.warning("'%s' stays on this machine alone: %s", path, problem)
