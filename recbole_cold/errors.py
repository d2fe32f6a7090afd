"""Errors that are answers to the user: one sentence each, shown without a traceback."""

from collections.abc import Iterable


class UserError(Exception):
    """What is wrong, where, and what to do, in one sentence; the command line exits with 2."""


class Diverged(UserError):
    """Training left the numbers; other runs of the same command are not concerned."""


class WriteError(UserError):
    """A file could not be written; what was written before is whole and can be continued."""


class Interrupted(Exception):
    """The user stopped the run; its state is on disk."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` may be a slip of, capitals aside; None when nothing is close.

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
