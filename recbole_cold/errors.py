"""Errors for the user, each one sentence and shown without a traceback, and helpers for them."""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """What is wrong, where, and what to do, in one sentence; the command line exits with 2."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show instead of a traceback: the sentence."""
        return [f"error: {self}"]


class Diverged(UserError):
    """Training gave NaN or infinity; other runs of the same command go on."""


class WriteError(UserError):
    """A file could not be written; what was written before is whole and can be continued."""


class CallbackError(UserError):
    """A callback of the user raised: it watches all runs of the command, so all of them end."""


class Misuse(UserError):
    """A mistake in the code of a method or backbone; ``blaming`` adds the class and its file."""


class Interrupted(Exception):
    """The user stopped the run; its state is on disk, in ``folder`` where that is known."""

    def __init__(self, told: str = "", folder: Path | None = None) -> None:
        super().__init__(told)
        self.folder = folder


class Stopped(KeyboardInterrupt):
    """A Ctrl-C during a call from Python: says how to go on from ``folder``."""

    def __init__(self, told: str = "", folder: Path | None = None) -> None:
        super().__init__(told)
        self.folder = folder

    def _render_traceback_(self) -> list[str]:
        """As for ``UserError``: no traceback in notebooks."""
        return [str(self)]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` may be a misspelling of, ignoring case; None if none is close.

    Close is one slip in a short word, one in three letters of a long one. In a word of three
    letters another letter makes another word (DIN is not DCN): only a letter that is missing, too
    many or swapped is a slip there.
    """
    wanted = name.lower()
    distances = sorted((_slips(wanted, other.lower()), other) for other in known)
    for slips, other in distances:
        longest = max(len(wanted), len(other))
        if slips <= min((longest - 1) / 2, max(1.5, longest / 3)) or slips == 0:
            return other
    return None


def _slips(a: str, b: str) -> float:
    """Edit distance: 1 for a letter missing or too many, or two swapped; 1.5 for another letter."""
    before, last = [0.0] * (len(b) + 1), [float(column) for column in range(len(b) + 1)]
    for row, letter in enumerate(a, 1):
        line = [float(row)]
        for column, other in enumerate(b, 1):
            cost = min(line[-1] + 1, last[column] + 1, last[column - 1] + 1.5 * (letter != other))
            if row > 1 and column > 1 and letter == b[column - 2] and a[row - 2] == other:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        before, last = last, line
    return last[-1]


def named(cls: type) -> str:
    """A class with the file it is defined in, for messages."""
    try:
        return f"'{cls.__name__}' ({inspect.getfile(cls)})"
    except (TypeError, OSError):  # made in a console or built in
        return f"'{cls.__name__}' ({cls.__module__})"


def told(error: BaseException) -> str:
    """An exception's type and text on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def is_plugin(cls: type) -> bool:
    """Whether a method or backbone belongs neither to this package nor to RecBole."""
    return cls.__module__.partition(".")[0] not in ("recbole_cold", "recbole")


@contextmanager
def blaming(cls: type, what: str) -> Iterator[None]:
    """Context: an exception in a plug-in's code becomes one sentence with its class and file.

    Exceptions in code of this package and of RecBole pass through: they are ours to mend. The cause
    stays chained, for ``--debug``.

    Args:
        cls: the method or backbone whose code runs.
        what: the part that is called, for instance ``trainable('learn')``.
    """
    try:
        yield
    except Misuse as error:
        raise UserError(f"{named(cls)}: {error}") from error
    except (UserError, Interrupted):
        raise
    except (Exception, SystemExit) as error:
        if not is_plugin(cls):
            raise
        raise UserError(
            f"{named(cls)}: {what} raises {told(error)}; mend it (--debug shows where)"
        ) from error
