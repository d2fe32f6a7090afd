"""Errors that are answers to the user: one sentence each, shown without a traceback."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """What is wrong, where, and what to do, in one sentence; the command line exits with 2."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show instead of a traceback: the sentence."""
        return [f"error: {self}"]


class Diverged(UserError):
    """Training left the numbers; other runs of the same command are not concerned."""


class WriteError(UserError):
    """A file could not be written; what was written before is whole and can be continued."""


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
    """The known name most like ``name``, capitals aside; None when nothing comes near."""
    by_lower = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None
