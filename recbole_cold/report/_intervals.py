"""Intervals of differences between rows, as they stand in a results document.

A record says how far one row is from a reference row in one phase and metric, averaged over the
seeds that both have, and where that difference lies with 95 % confidence when other items (or
other users) are drawn. A document without records is whole: nothing is known then.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from recbole_cold.errors import UserError
from recbole_cold.report._document import Document

Place = tuple[str, str, str, str, str]
"""Backbone, row, reference row, phase, metric."""

_TEXTS = ("backbone", "row", "against", "phase", "metric", "by")
_SIDES = ("item", "user")
_NUMBERS = ("difference", "low", "high", "error")


class Known(NamedTuple):
    """A difference and its 95 % interval.

    Attributes:
        by: whose draw the interval is about: ``item`` or ``user``.
        seeds: the seeds that both rows have.
        nested: whether seeds were drawn as well.
    """

    difference: float
    low: float
    high: float
    by: str
    seeds: int
    nested: bool


def read_intervals(
    document: Document, aliases: Mapping[tuple[str, str], str], one_group: bool
) -> dict[Place, list[Known]]:
    """The records of ``document["intervals"]`` by place, those over items and over users.

    Records without limits are left out.

    Args:
        aliases: (backbone, label in the file) -> the label that the table has for it; the backbone
            is '' where there is one group.
        one_group: the table has one backbone, so that labels alone say which row it is: there a
            method with a network of its own may be filed under that network's name.

    Raises:
        UserError: a record is not of the form above.
    """
    found: dict[Place, list[Known]] = {}
    for number, record in enumerate(document.get("intervals") or []):
        where = f"intervals[{number}]"
        if not isinstance(record, Mapping):
            raise UserError(f"{where} of these results is no mapping; repeat the run.")
        for name in (*_TEXTS, *_NUMBERS, "seeds"):
            value = record.get(name)
            if name not in record or isinstance(value, str) != (name in _TEXTS):
                raise UserError(
                    f"{where}.{name} of these results is {value!r:.40}; repeat the run."
                )
        if record["by"] not in _SIDES:
            continue  # DeLong's, of rows: too narrow for a claim
        difference, low, high = (_number(record[name]) for name in _NUMBERS[:3])
        if not math.isfinite(difference + low + high):
            continue
        group = "" if one_group else record["backbone"]
        row, against = (
            aliases.get((group, record[name]), record[name]) for name in ("row", "against")
        )
        place = (group, row, against, record["phase"], record["metric"])
        seeds, nested = int(record["seeds"]), bool(record.get("nested"))
        known = Known(difference, low, high, record["by"], seeds, nested)
        found.setdefault(place, []).append(known)
    return found


def widest(known: list[Known]) -> Known | None:
    """The interval that claims least: over items or users, whichever vary more; None without."""
    return max(known, key=lambda one: one.high - one.low, default=None)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
