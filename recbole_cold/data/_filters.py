"""RecBole's row filters, applied to columns instead of data frames.

The order of the steps is RecBole's; each works on boolean masks over the rows read.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from recbole.utils import FeatureType

from recbole_cold.data._atomic import Column
from recbole_cold.distinct import counts_of, first_of_each, last_of_each
from recbole_cold.errors import UserError

Table = dict[str, Column]
Interval = list[tuple[str, float, float, str]]


def parse_intervals(text: Any, key: str) -> Interval:
    """``'[1,5);(7,9]'`` as (bracket, low, high, bracket) tuples.

    Raises:
        UserError: a part is not of this form.
    """
    intervals = []
    for part in str(text).split(";"):
        part = part.strip()
        try:
            low, high = map(float, part[1:-1].split(","))
        except ValueError:
            low, high = 1.0, 0.0
        if low > high or part[:1] not in ("[", "(") or part[-1:] not in ("]", ")"):
            raise UserError(
                f"{key} has {part!r}, which is not an interval; write it like '[5,inf)' or '(0,9]'"
            )
        intervals.append((part[0], low, high, part[-1]))
    return intervals


def within(values: np.ndarray, intervals: Interval) -> np.ndarray:
    """Where ``values`` lie in one of the intervals; NaN lies in none."""
    inside = np.zeros(len(values), dtype=bool)
    for left, low, high, right in intervals:
        above = values >= low if left == "[" else values > low
        inside |= above & (values <= high if right == "]" else values < high)
    return inside


def keep_by_value(column: Column, rule: Any, field: str) -> np.ndarray:
    """Rows whose value ``val_interval`` allows: an interval for numbers, a list for tokens."""
    if column.kind == FeatureType.FLOAT:
        return within(column.values, parse_intervals(rule, f"val_interval of '{field}'"))
    if column.kind != FeatureType.TOKEN:
        raise UserError(f"val_interval names the sequence field {field!r}; use a token or a float")
    allowed = [str(token) for token in (rule if isinstance(rule, list | tuple | set) else [rule])]
    in_vocab = np.asarray(pc.is_in(column.vocab, value_set=pa.array(allowed, pa.string())))
    return np.r_[in_vocab, False][column.values]


def first_or_last(
    users: np.ndarray, items: np.ndarray, time: np.ndarray | None, keep: str
) -> np.ndarray:
    """Row numbers, oldest first, that keep one row per (user, item)."""
    order = np.arange(len(users)) if time is None else np.argsort(time, kind="stable")
    pair = users[order].astype(np.int64) * (int(items.max(initial=0)) + 1) + items[order]
    return order[last_of_each(pair) if keep == "last" else first_of_each(pair)]


class Core:
    """RecBole's interval filter on rows per user and per item, repeated until nothing changes.

    Args:
        codes: for each side the codes of the interactions.
        listed: for each side the codes of its feature file, or None without one.
        intervals: for each side the allowed numbers of rows, or None.
    """

    def __init__(
        self,
        codes: list[np.ndarray],
        listed: list[np.ndarray | None],
        intervals: list[Interval | None],
    ) -> None:
        self.codes, self.intervals = codes, intervals
        self.sizes = [
            1 + max(int(c.max(initial=0)), int(x.max(initial=0)) if x is not None else 0)
            for c, x in zip(codes, listed, strict=True)
        ]
        self.listed = [
            None if x is None else np.bincount(x, minlength=size).astype(bool)
            for x, size in zip(listed, self.sizes, strict=True)
        ]
        self.gone = [np.zeros(size, dtype=bool) for size in self.sizes]

    def rows(self, keep: np.ndarray) -> np.ndarray:
        """``keep`` after the filter; ``gone`` then marks the removed codes of each side."""
        while any([self._ban(side, keep) for side in (0, 1)]):
            keep = keep & ~self.gone[0][self.codes[0]] & ~self.gone[1][self.codes[1]]
        return keep

    def _ban(self, side: int, keep: np.ndarray) -> bool:
        interval = self.intervals[side]
        if interval is None:
            return False
        counts = counts_of(self.codes[side], self.sizes[side], keep)
        banned = (counts > 0) & ~within(counts, interval)
        if self.listed[side] is not None:
            banned |= self.listed[side] & (counts < interval[0][1])
        banned &= ~self.gone[side]
        self.gone[side] |= banned
        return bool(banned.any())


def restrict(table: Table, keep: np.ndarray) -> Table:
    """The rows of a table that a mask, or a list of row numbers, keeps; empties the table.

    So its columns go one by one, and are not there a second time all together.
    """
    rows = np.flatnonzero(keep) if keep.dtype == bool else keep
    if len(rows) == len(next(iter(table.values()))) and keep.dtype == bool:
        return table
    kept = {}
    for field in list(table):
        kept[field] = table.pop(field).take(rows)
        pa.default_memory_pool().release_unused()  # numpy cannot use what Arrow keeps
    return kept
