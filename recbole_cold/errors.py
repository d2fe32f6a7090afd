"""Errors that are answers to the user: one sentence each, shown without a traceback."""

import difflib
import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """What is wrong, where, and what to do, in one sentence; the command line exits with 2."""


class Diverged(UserError):
    """Training left the numbers; other runs of the same command are not concerned."""


class WriteError(UserError):
    """A file could not be written; what was written before is whole and can be continued."""


class Misuse(UserError):
    """What the code of a method or backbone does wrong; ``blaming`` adds whose code it is."""


class Interrupted(Exception):
    """The user stopped the run; its state is on disk."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, capitals aside; None when nothing comes near."""
    by_lower = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def named(cls: type) -> str:
    """A class and the file it stands in, for sentences."""
    try:
        return f"'{cls.__name__}' ({inspect.getfile(cls)})"
    except (TypeError, OSError):  # made in a console or built in
        return f"'{cls.__name__}' ({cls.__module__})"


def told(error: BaseException) -> str:
    """An exception's type and text on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def is_plugin(cls: type) -> bool:
    """Whether a method or backbone is somebody else's: neither ours nor RecBole's."""
    return cls.__module__.partition(".")[0] not in ("recbole_cold", "recbole")


@contextmanager
def blaming(cls: type, what: str) -> Iterator[None]:
    """While open, faults in a plug-in's code become one sentence that names its class and file.

    Exceptions in code of this package and of RecBole pass through: they are ours to mend. The cause
    stays chained, for ``--debug``.

    Args:
        cls: the method or backbone whose code runs.
        what: of it, for instance ``trainable('learn')``.
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
