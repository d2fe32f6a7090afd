"""What a leak check found: a verdict, one number, one sentence."""

import math
from typing import NamedTuple

OK, LEAK, NOTE = "ok", "leak", "note"
# The data set or the method lacks what a check needs.
NOT_APPLICABLE = "not applicable"
# The training of a check did not end; nothing is known.
FAILED = "failed"

# Verdicts with which a command does not end with 0.
BAD = (LEAK, FAILED)


class Finding(NamedTuple):
    """The outcome of a check.

    Attributes:
        verdict: one of the words above.
        sentence: what was found, in plain words.
        number: what the verdict rests on; the table of checks says what it is. nan: there is none.
    """

    verdict: str
    sentence: str
    number: float = math.nan


def not_applicable(why: str) -> Finding:
    """A check that cannot be made here, and why."""
    return Finding(NOT_APPLICABLE, why)


def share(part: float) -> str:
    """A share as per cent; one that is not nothing does not look like nothing."""
    return f"{part:.1%}" if part == 0 or part >= 0.001 else f"{part:.1g}"


def counted(number: int, word: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
