"""When rows happen: items are born over the whole period, and every hour has its share of rows.

An item's rows are spread evenly from its birth to the end, on a clock on which nothing else is
known. All rows together would then come more and more often. The clock is therefore bent, by one
increasing function, until the rows follow the hours: what came after a birth still does.
"""

from typing import NamedTuple

import numpy as np

FROM_THE_START = 0.5  # share of the items that are there when the period begins
LATEST = 0.97  # no item is born later, on the unbent clock: its rows need room
_POINTS = 1 << 14
# Shares of the hours of a day in a Chinese shop, from midnight. Counted in Taobao's log: together
# the first eight are the share of its first date; most rows are in the evening, least from 3 to 6.
HOURS_OF_DAY = (
    0.034, 0.021, 0.013, 0.008, 0.006, 0.006, 0.010, 0.036, 0.041, 0.046, 0.049, 0.047,
    0.048, 0.047, 0.045, 0.045, 0.044, 0.043, 0.047, 0.058, 0.075, 0.083, 0.082, 0.066,
)  # fmt: skip


class Hours(NamedTuple):
    """``starts``: of cells of time and, last, the end, in seconds [n + 1]; ``weights``: the cells'
    shares of the rows [n], in any unit."""

    starts: np.ndarray
    weights: np.ndarray


def evening(seconds: np.ndarray) -> np.ndarray:
    """What the hour adds to a logit: most at 21 o'clock; ``seconds`` since some midnight there."""
    return 0.1 * np.cos((seconds / 3600 - 21) * (2 * np.pi / 24))


def births(n: int, rng: np.random.Generator) -> np.ndarray:
    """When each of ``n`` items is born on the unbent clock, which goes from 0 to 1."""
    return np.where(rng.random(n) < FROM_THE_START, 0.0, LATEST * rng.random(n))


def share_before(moment: np.ndarray, birth: np.ndarray) -> np.ndarray:
    """The share of an item's rows before a moment of the unbent clock."""
    return np.clip((moment - birth) / (1 - birth), 0, 1)


class Clock:
    """The bent clock.

    Args:
        birth: of each item on the unbent clock.
        counts: rows of each item.
        hours: what the rows shall follow.
    """

    def __init__(self, birth: np.ndarray, counts: np.ndarray, hours: Hours) -> None:
        self.birth, self.hours = birth, hours
        # sum of counts * (x - birth) / (1 - birth) over those born before x, as x * a - b.
        order = np.argsort(birth, kind="stable")
        rate = counts[order] / (1 - birth[order])
        a, b = (np.r_[0.0, np.cumsum(part)] for part in (rate, rate * birth[order]))
        self._grid = np.linspace(0, 1, _POINTS + 1)
        born = np.searchsorted(birth[order], self._grid, side="right")
        self._before = (self._grid * a[born] - b[born]) / counts.sum()
        weights = np.r_[0.0, np.cumsum(hours.weights)]
        self._ends = weights / weights[-1]
        self._seconds = np.interp(self._before, self._ends, hours.starts)

    def seconds(self, items: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """When each row happens, in whole seconds: ``chance`` is a draw from [0, 1) of the row."""
        birth = self.birth[items]
        place = (birth + (1 - birth) * chance) * _POINTS
        cell = place.astype(np.int64)
        low, high = self._seconds[cell], self._seconds[cell + 1]
        return (low + (high - low) * (place - cell)).astype(np.int64)

    def born(self) -> np.ndarray:
        """When each item is born, in seconds."""
        return np.interp(self.birth, self._grid, self._seconds)

    def shares(self) -> np.ndarray:
        """The share of each item's rows in each cell of time, [items, cells]."""
        edges = np.interp(self._ends, self._before, self._grid)
        edges[0], edges[-1] = 0.0, 1.0
        return np.diff(share_before(edges, self.birth[:, None]), axis=1)
