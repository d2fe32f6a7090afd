"""CIKM 2019 EComm AI (Tianchi 231721): ``user.csv``, ``item.csv`` and ``user_behavior.csv``, as
they are downloaded, without headers.

Of this set only totals and forms are published, so nearly all distributions are assumptions; they
are in ``assumed``, and the main ones are options. A click is a ``buy``.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from recbole_cold.testing.big import _arrow
from recbole_cold.testing.big._draws import (
    Owners,
    apportioned,
    grouped,
    lognormal_counts,
    permuted,
    uniform,
)
from recbole_cold.testing.big._log import Drawn, Log, Shape, Side, Text
from recbole_cold.testing.big._time import HOURS_OF_DAY, Clock, Hours, births, evening

DAYS = 16  # day 0 is a Friday; the seventeenth is the competition's target and not in the file
CATEGORIES, SHOPS, BRANDS = 12_000, 900_000, 250_000
GENDERS = (0.33, 0.62, 0.05)  # 0, 1, and 2: not known
POWER = (0.06, 0.10, 0.14, 0.18, 0.18, 0.14, 0.10, 0.06, 0.04)  # 1 to 9
YOUNGEST, OLDEST = 10, 80
OTHERS = {"pv": 93.5, "cart": 3.3, "fav": 1.7}  # behaviours that are no buy, by their shares
BEHAVIOURS = (*OTHERS, "buy")


def hours() -> Hours:
    """Every hour of the days, in seconds since the first midnight; all days alike."""
    starts = 3600.0 * np.arange(24 * DAYS + 1)
    return Hours(starts, np.tile(HOURS_OF_DAY, DAYS))


class Cikm2019(Log):
    """62,428,486 behaviours of 1,050,000 users with 3,934,201 items, 1.5 % of them buys."""

    name, file, header = "cikm2019", "user_behavior.csv", ""
    paper_split = (350, 50)
    full = Shape(
        rows=62_428_486, users=1_050_000, items=3_934_201, ctr=0.015, sigma_users=1.5,
        sigma_items=2.0, crossed=0.6, item=0.8, user=0.5, row_bytes=26,
    )  # fmt: skip
    assumed = (
        "rows per user and per item are lognormal: --sigma_users, --sigma_items",
        "shares of the behaviours, after a log of the same company: --ctr is the share of buys",
        "numbers of categories, shops and brands, and their sizes",
        "codes and shares of gender, age and purchasing power",
        "features of an item do not depend on each other; who sees an item not on what he likes",
        "the file is grouped by user; hours of the day; births of items; strengths in the logit",
    )

    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__(shape, seed)
        n, part, rng = shape.items, self.part_of_items, self.rng("items")
        self.of_item = {
            "category": grouped(n, part(CATEGORIES), 1.8, rng),
            "shop": grouped(n, part(SHOPS), 1.0, rng),
            "brand": grouped(n, part(BRANDS), 1.5, rng),
        }
        n, rng = shape.users, self.rng("profiles")
        years = np.rint(rng.normal(31, 10, n))
        self.of_user = {
            "gender": apportioned(n, GENDERS, rng),
            "age": np.clip(years, YOUNGEST, OLDEST).astype(np.int32),
            "power": 1 + apportioned(n, POWER, rng),
        }
        rng = self.rng("rows per item")
        self.of_items = Owners(
            lognormal_counts(shape.items, shape.rows, shape.sigma_items or 0.0, rng, "items")
        )
        rng = self.rng("rows per user")
        self.of_users = Owners(lognormal_counts(n, shape.rows, shape.sigma_users, rng, "users"))
        born = births(shape.items, self.rng("births"))
        self.clock = Clock(born, self.of_items.counts, hours())
        self.finish(
            {name: Side(codes, 1.0) for name, codes in self.of_user.items()},
            {
                "category": Side(self.of_item["category"], 0.5),
                "brand": Side(self.of_item["brand"], 0.3),
                "shop": Side(self.of_item["shop"], 0.2),
            },
        )

    @property
    def item_counts(self) -> np.ndarray:
        return self.of_items.counts

    def draw(self, rows: np.ndarray) -> Drawn:
        user = self.of_users.of(rows)
        item = self.of_items.of(permuted(self.key("item"), rows, self.shape.rows))
        seconds = self.clock.seconds(item, uniform(self.key("time"), rows))
        return Drawn(user, item, evening(seconds), {"seconds": seconds})

    def cells(self, rows: np.ndarray, drawn: Drawn, click: np.ndarray) -> list[pa.Array]:
        shares = np.cumsum(list(OTHERS.values())) / sum(OTHERS.values())
        other = np.searchsorted(shares, uniform(self.key("behaviour"), rows), side="right")
        behaviour = np.where(click, len(OTHERS), np.minimum(other, len(OTHERS) - 1))
        return [
            pa.array(drawn.user + 1),
            pa.array(drawn.item + 1),
            _arrow.words(behaviour, BEHAVIOURS),
            pa.array(drawn.columns["seconds"]),
        ]

    def side_files(self) -> Iterator[Text]:
        """All users and all items, by number."""
        for name, columns, first in (("user.csv", self.of_user, 0), ("item.csv", self.of_item, 1)):
            values = [pa.array(each + first) for each in columns.values()]
            yield Text(name, "", [pa.array(np.arange(1, len(values[0]) + 1)), *values])
