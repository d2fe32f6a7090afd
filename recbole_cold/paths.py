"""Paths as users give them: a home folder, links and odd letters, told in one sentence; and files
that change while they are read."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from recbole_cold.errors import UserError


def expanded(path: str | Path) -> Path:
    """A path with ``~`` put in; every path that a user gives goes through here.

    Raises:
        UserError: the home folder is unknown, or the path holds what no file of ours can name.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise UserError(f"the path {text!r} holds a null byte; give another one")
    try:
        found = Path(text).expanduser()
        # Every file that we write is UTF-8 and names others.
        str(found.absolute()).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"the path {os.fsencode(Path(text).absolute())!r} has bytes that are no UTF-8; rename "
            "that folder or file, or work elsewhere"
        ) from None
    except RuntimeError:
        raise UserError(
            f"the home folder in the path '{text}' is unknown; write the whole path instead of ~"
        ) from None
    except FileNotFoundError:  # the working directory is gone
        raise UserError("the working directory does not exist any more; go to another") from None
    return found


def absolute(path: str | Path) -> Path:
    """``expanded``, and named from the root, links followed.

    Raises:
        UserError: as ``expanded``; or links lead in a circle.
    """
    found = expanded(path)
    try:
        return found.resolve()
    except (RuntimeError, OSError) as error:  # RuntimeError: a circle of links
        why = getattr(error, "strerror", None) or error
        raise UserError(f"the path '{found}' leads nowhere ({why}); mend it") from None


def text_of(path: str | Path) -> str:
    """What a text file holds; read again and again, so a pipe cannot stand for one.

    Raises:
        UserError: it is a pipe or a device, or its path cannot be.
        OSError, UnicodeError: it cannot be read.
    """
    path = expanded(path)
    if os.path.exists(path) and not (path.is_file() or path.is_dir() or str(path) == os.devnull):
        raise UserError(f"'{path}' is a pipe or a device; write its text into a file and name that")
    return path.read_text(encoding="utf-8")


def state_of(path: Path) -> tuple[int, int, int]:
    """What tells whether a file changed: its size, the time of its last change, and its place."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


def refuse_changed(
    before: Mapping[Path, tuple[int, int, int]], why: Exception | None = None
) -> None:
    """Compare files that were read with what they were before (``state_of``).

    Args:
        why: the error that reading gave, if it did.

    Raises:
        UserError: names a file that was changed, moved or removed.
    """
    for path, state in before.items():
        try:
            now = state_of(path)
        except OSError as error:
            raise UserError(
                f"'{path}' was removed while it was read; put it back, and start again"
            ) from why or error
        if now != state:
            size = f" (from {state[0]:,} to {now[0]:,} bytes)" if now[0] != state[0] else ""
            raise UserError(
                f"'{path}' changed while it was read{size}; wait until it is whole, and start again"
            ) from why


def digest_of(file: IO[bytes]) -> Any:
    """SHA-256 (of ``hashlib``) of what is left to read of a file.

    As ``hashlib.file_digest``, which Python has from 3.11 on.
    """
    digest = hashlib.sha256()
    while block := file.read(1 << 18):
        digest.update(block)
    return digest


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return str(digest_of(file).hexdigest())
