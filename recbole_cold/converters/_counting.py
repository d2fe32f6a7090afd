"""Counts for a converter's report, in bounded memory however many rows there are."""

import math
from typing import Any

from recbole_cold.errors import UserError

MOST = 1 << 20  # ids whose rows are counted one by one; above, distinct ids alone are counted
SHARES = (10, 20, 40, 60, 80, 90)  # per cent


class Ids:
    """How many distinct ids there are, and how many rows each has.

    Above ``MOST`` ids, rows per id are given up, and the ids are known by 64-bit hashes: 8 bytes
    each, in a sorted array. Two of n ids have one hash with probability n² / 2^65: one in 10^5 for
    20 million ids.
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] | None = {}
        self._fresh: set[int] = set()
        self._sorted: Any = None

    def add(self, text: str) -> None:
        if self.rows is None:
            self._fresh.add(hash(text))
            if len(self._fresh) > MOST:
                self._sort()
            return
        self.rows[text] = self.rows.get(text, 0) + 1
        if len(self.rows) > MOST:
            self._fresh, self.rows = set(map(hash, self.rows)), None

    def __len__(self) -> int:
        if self.rows is not None:
            return len(self.rows)
        self._sort()
        return len(self._sorted)

    def shares(self) -> dict[str, int] | None:
        """Per cent -> the rows that so many per cent of the ids have at most; None: not known."""
        if not self.rows:
            return None
        counts = sorted(self.rows.values())
        return {str(share): counts[(len(counts) * share - 1) // 100] for share in SHARES}

    def _sort(self) -> None:
        try:
            import numpy as np

            from recbole_cold.distinct import ascending
        except ImportError:  # a bare Python
            raise UserError(f"counting more than {MOST:,} ids needs numpy; install it") from None
        fresh = np.fromiter(self._fresh, np.int64, len(self._fresh))
        known = fresh if self._sorted is None else np.concatenate([self._sorted, fresh])
        self._sorted = ascending(known)
        self._fresh = set()


class Interactions:
    """Users, items, clicks and times of the interactions that are kept.

    Args:
        fields: of an interaction, in their order; users and items first.
        label: the field that says whether it is a click.
        least: from this value on it is one.
        time: the field of the time; '' for none.
    """

    def __init__(self, fields: list[str], label: str, least: float, time: str) -> None:
        self.users, self.items, self.clicks = Ids(), Ids(), 0
        self.first: str | None = None
        self.last: str | None = None
        self._label, self._least = fields.index(label), least
        self._is_click: dict[str, bool] = {}  # by text: a label has few values
        self._time = fields.index(time) if time else None
        self._bounds = [math.inf, -math.inf]

    def add(self, row: Any) -> None:
        self.users.add(row[0])
        self.items.add(row[1])
        text = row[self._label]
        known = self._is_click.get(text)
        if known is None:
            known = self._is_click[text] = float(text) >= self._least
        self.clicks += known
        if self._time is not None:
            text = row[self._time]
            moment = float(text)
            if moment < self._bounds[0]:
                self.first, self._bounds[0] = text, moment
            if moment > self._bounds[1]:
                self.last, self._bounds[1] = text, moment
