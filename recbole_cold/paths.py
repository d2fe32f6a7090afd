"""Paths as users give them: a home folder, links and odd letters, told in one sentence."""

import os
from pathlib import Path

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
