"""Files that are whole or absent (written, then renamed), state files with a checksum."""

import contextlib
import glob
import hashlib
import io
import os
import pickletools
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from recbole_cold.errors import WriteError
from recbole_cold.locks import try_lock as try_lock
from recbole_cold.paths import digest_of

_MAGIC = b"recbole_cold state 1\n"
_DIGEST = 64  # hexadecimal digits of a SHA-256
_CHUNK = 2**20  # bytes that are copied at a time


class DamagedFile(Exception):
    """A state or cache file is truncated or altered; the reader decides what to do about it."""


def write_bytes(path: Path, payload: bytes) -> None:
    """Write ``payload`` to ``path`` so that no reader ever sees half of it.

    Raises:
        WriteError: the folder is missing, read-only or full; nothing is left behind.
    """
    with whole_file(path) as file:
        file.write(payload)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Context: a new file, which is at ``path`` when the context ends, whole, or not at all.

    Raises:
        WriteError: the folder is missing, read-only or full; nothing is left behind.
    """
    # Named by process: two runs may write one cache file at once, and the last one stays.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise WriteError(
            f"cannot write '{path}' ({error.strerror or error}); free some space there or choose "
            "another folder with --saved_dir or --cache_dir"
        ) from error


@contextlib.contextmanager
def whole_folder(folder: Path, *, new: bool = False) -> Iterator[Path]:
    """Context: a new folder beside ``folder``, which takes its place when the context ends.

    What processes that were killed have left beside it is removed.

    Args:
        new: whether one that somebody has put there meanwhile stays; an empty one does not.

    Raises:
        OSError: it cannot be written; nothing is left behind, and what was there is as before.
    """
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        pid = left.name.removeprefix(f".{folder.name}.").partition(".")[0]
        if pid.isdigit() and (int(pid) == os.getpid() or not _is_alive(int(pid))):
            shutil.rmtree(left, ignore_errors=True)
    place = folder.with_name(f".{folder.name}.{os.getpid()}")
    before = folder.with_name(f".{folder.name}.{os.getpid()}.before")
    try:
        place.mkdir(parents=True)
        yield place
        if folder.exists() and not new:
            folder.rename(before)
        try:
            place.rename(folder)
        except OSError:
            if before.exists():
                before.rename(folder)
            raise
    finally:
        for left in (place, before):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def also_at(source: Path, path: Path) -> bool:
    """Give a file that nobody changes a second name; a copy, where the file system has none.

    Whoever removes ``source`` leaves ``path`` whole.

    Returns:
        Whether its bytes had to be copied.

    Raises:
        FileNotFoundError: ``source`` is not there.
        WriteError: as ``write_bytes``.
    """
    second = path.with_name(f".{path.name}.{os.getpid()}.link")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        second.unlink(missing_ok=True)
        os.link(source, second)
        second.replace(path)
        return False
    except OSError:  # another file system, one without links, or another user's file
        pass
    finally:
        with contextlib.suppress(OSError):
            # A rename leaves it where both are names of one file already.
            second.unlink(missing_ok=True)
    with source.open("rb") as file, whole_file(path) as copy:
        shutil.copyfileobj(file, copy, _CHUNK)
    return True


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values with a checksum; ``load_state`` reads them back.

    They are written from where they lie: no copy of them is made in memory.
    """
    with whole_file(path) as file:
        file.write(_MAGIC + bytes(_DIGEST) + b"\n")
        payload = _Hashed(file)
        try:
            torch.save(state, payload)
        finally:
            if payload.error is not None:
                raise payload.error
        file.seek(len(_MAGIC))
        file.write(payload.digest.hexdigest().encode())


class _Hashed:
    """What ``torch.save`` writes to: a file, and the SHA-256 of what went there."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()
        self.error: BaseException | None = None

    def write(self, content: Any) -> int:
        # An error that passes through torch comes out as another one, so it waits until the end.
        if self.error is None:
            try:
                self.digest.update(content)
                self.file.write(content)
            except BaseException as error:
                self.error = error
        return len(content)

    def flush(self) -> None:
        """Nothing: the file is flushed when it is whole."""


class _Payload(io.RawIOBase):
    """A file without its first bytes, to be read: torch takes a stream's beginning for zero."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file, self._start = file, start
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            offset += self._start
        return self._file.seek(offset, whence) - self._start

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined,no-any-return]


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state saved at ``path``, unpickled with ``weights_only=True``.

    Raises:
        DamagedFile: the file is not one of ours, is cut short, or its checksum differs.
    """
    try:
        with path.open("rb") as file:
            return _state_in(file, path, device)
    except OSError as error:
        raise DamagedFile(f"'{path}' cannot be read ({error.strerror or error})") from error


def _state_in(file: IO[bytes], path: Path, device: torch.device | str) -> dict[str, Any]:
    """Twice through the file: nothing is unpickled before all of it is known to be whole."""
    size = len(_MAGIC) + _DIGEST + 1
    head = file.read(size)
    if not head.startswith(_MAGIC) or len(head) < size:
        raise DamagedFile(f"'{path}' is cut short or is not a state file of recbole_cold")
    digest = digest_of(file)
    if digest.hexdigest().encode() != head[len(_MAGIC) : size - 1]:
        raise DamagedFile(f"'{path}' is damaged: its checksum differs")
    try:
        state = torch.load(_Payload(file, size), map_location=device, weights_only=True)
    except Exception as error:  # whatever a foreign pickle makes of it
        raise DamagedFile(f"'{path}' is whole, but no state ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise DamagedFile(f"'{path}' is whole, but no state (it holds a {type(state).__name__})")
    return state


def is_state(path: Path) -> bool:
    """Whether a file begins as ``save_state`` writes it."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def text_in(path: Path, name: str) -> str:
    """A text of a saved state, by its name, without the tensors: nothing is unpickled.

    Raises:
        ValueError: the file is damaged, or has no such text.
    """
    try:
        # torch writes an archive; what stands before it does no harm.
        with zipfile.ZipFile(path) as archive:
            (inner,) = (each for each in archive.namelist() if each.endswith("/data.pkl"))
            texts = [said for _, said, _ in pickletools.genops(archive.read(inner))
                     if isinstance(said, str)]  # fmt: skip
        return texts[texts.index(name) + 1]
    except (OSError, ValueError, LookupError, zipfile.BadZipFile) as error:
        raise ValueError(f"'{path}' has no text '{name}'") from error
