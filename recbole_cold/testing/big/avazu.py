"""Avazu's ten days of mobile advertisements (Kaggle): ``train.csv``, as it is unpacked.

An item is ``C14``; a user is a device, with an address of its own and, on the rows of four of five,
no ``device_id``. Shares of values are those of a sample of 15,000 real rows, numbers of values
those of the complete file; the rest is in ``assumed``. Rows come by the hour, and inside an hour in
random order.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from recbole_cold.errors import UserError
from recbole_cold.testing.big import _arrow
from recbole_cold.testing.big._draws import (
    Owners,
    apportioned,
    by_weight,
    cumulative,
    lognormal_counts,
    mixed,
    permuted,
    picked,
    portions,
    uniform,
)
from recbole_cold.testing.big._log import Drawn, Log, Shape, Side, Text, difference_of
from recbole_cold.testing.big._time import Clock, Hours, births

DAYS, LAST_DAY = 10, 4_218_938
DEVICES, ADDRESSES = 2_686_408, 6_729_486  # different ones; the null device is one of the former
NULL_DEVICE, NULL_ROWS = 0xA99F214A, 0.8247
# What stands in the columns of sites on the rows of apps, and the other way round.
NO_SITE = {"site_id": 0x85F751FD, "site_domain": 0xC4E18DD6, "site_category": 0x50E219E0}
NO_APP = {"app_id": 0xECAD2386, "app_domain": 0x7801E8D9, "app_category": 0x07D7DF22}
APPS = 0.361  # share of the rows that come of apps
APP_CTR, SITE_CTR = 0.118, 0.200
# Number of values, and the share of the most frequent ones by how many these are.
VALUES: Mapping[str, tuple[int, Mapping[int, float]]] = {
    "site_id": (4_737, {1: APPS, 10: 0.703, 50: 0.863, 100: 0.911}),
    "site_domain": (7_745, {1: 0.375, 10: 0.742, 50: 0.899, 100: 0.939}),
    "site_category": (26, {1: 0.409, 2: 0.722, 3: 0.904, 4: 0.979}),
    "app_id": (8_552, {1: 1 - APPS, 10: 0.800, 50: 0.920, 100: 0.949}),
    "app_domain": (559, {1: 0.675, 10: 0.968, 50: 0.9995}),
    "app_category": (36, {1: 0.647, 2: 0.884, 3: 0.927, 4: 0.963, 5: 0.991}),
    "device_model": (8_251, {1: 0.062, 10: 0.248, 50: 0.528, 100: 0.647}),
    "C14": (2_626, {1: 0.026, 10: 0.181, 50: 0.497, 100: 0.651}),
    "C17": (435, {1: 0.112, 10: 0.346, 50: 0.716, 100: 0.864}),
    "C19": (68, {1: 0.301, 10: 0.789}),
    "C20": (172, {1: 0.465, 10: 0.793}),
    "C21": (60, {1: 0.218, 10: 0.772}),
}
# Values of columns with few, and their shares.
FEW: Mapping[str, Mapping[int, float]] = {
    "C1": {1005: 0.919, 1002: 0.055, 1010: 0.022, 1012: 0.0028, 1007: 9e-4, 1001: 2e-4, 1008: 1e-4},
    "banner_pos": {0: 0.713, 1: 0.2856, 7: 0.001, 2: 1e-4, 4: 1e-4, 5: 1e-4, 3: 1e-4},
    "device_type": {1: 0.924, 0: 0.055, 4: 0.019, 5: 0.0019, 2: 1e-4},
    "device_conn_type": {0: 0.863, 2: 0.082, 3: 0.054, 5: 0.001},
    "C18": {0: 0.42, 3: 0.34, 2: 0.17, 1: 0.07},
}
BANNER_CTR = {0: 0.164, 1: 0.185, 7: 0.57}
SIZES = (
    (320, 50), (300, 250), (216, 36), (480, 320), (728, 90), (320, 480), (1024, 768), (768, 1024),
    (120, 20),
)  # fmt: skip
SIZE_SHARES = (0.93, 0.055, 0.0075, 0.0025, 0.002, 0.001, 0.0008, 0.0007, 0.0005)
HOURS = [f"1410{21 + n // 24}{n % 24:02}" for n in range(24 * DAYS)]
PUBLISHER = 0.3  # standard deviation of what a site or an app adds to the logit


def hours() -> Hours:
    """Every hour of the days; the last day has its rows, the others as many as each other."""
    number = np.arange(24 * DAYS)
    of_day = 1 + 0.6 * np.cos((number % 24 - 13) * (2 * np.pi / 24))
    rows = np.full(DAYS, (Avazu.full.rows - LAST_DAY) / (DAYS - 1))
    rows[-1] = LAST_DAY
    starts = np.arange(24 * DAYS + 1, dtype=np.float64)
    return Hours(starts, rows[number // 24] * of_day / 24)


def _sums(shares: Sequence[float]) -> np.ndarray:
    """Cumulative shares; the last is 1 exactly, or a chance could fall beyond it."""
    sums = np.cumsum(shares)
    return sums / sums[-1]


class Avazu(Log):
    """40,428,967 impressions of 2,626 C14 on 6,729,486 devices, 16.98 % clicks."""

    name, file = "avazu", "train.csv"
    header = (
        "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,"
        "app_category,device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,"
        "C17,C18,C19,C20,C21\n"
    )
    user_name, item_name = "devices", "C14"
    full = Shape(
        rows=40_428_967, users=ADDRESSES, items=VALUES["C14"][0], ctr=0.1698, sigma_users=1.2,
        sigma_items=None, crossed=0.5, item=0.45, user=0.5, row_bytes=166,
    )  # fmt: skip
    assumed = (
        "rows per device are lognormal: --sigma_users; each device has its own address",
        "C15 to C19 and C21 belong to C14; shares of values beyond the hundredth",
        "shares of categories of sites and apps, of C1, C18, connections and rare types",
        "rows of the first nine days; hours of the day; births of C14; strengths in the logit, but "
        "for apps and sites, and banner positions",
    )

    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__(shape, seed)
        self._known: dict[str, list[str]] = {}
        self.shares = {name: cumulative(*VALUES[name]) for name in VALUES}
        self.few = {name: _sums([*each.values()]) for name, each in FEW.items()}
        self._items()
        self._devices()
        self._calendar()
        names = ("site_id", "app_id")
        self.publisher = {
            each: PUBLISHER * self.rng(each).standard_normal(VALUES[each][0]) for each in names
        }
        banners = [BANNER_CTR.get(each, BANNER_CTR[0]) for each in FEW["banner_pos"]]
        self.banner = np.array([difference_of(each, BANNER_CTR[0]) for each in banners])
        models = ("device_model", "device_type", "device_conn_type")
        weights = {"C17": 0.4, "C21": 0.3, "C19": 0.2, "size": 0.1}
        self.finish(
            {name: Side(self.of_device[name], 1.0) for name in models},
            {name: Side(self.of_item[name], weight) for name, weight in weights.items()},
        )

    def _items(self) -> None:
        """Rows of each C14, and the columns that belong to it."""
        n, rng = self.shape.items, self.rng("items")
        if n > self.shape.rows:
            raise UserError(f"{self.shape.rows:,} rows are too few for {n:,} C14; choose others")
        self.counts = portions(self.shape.rows, np.diff(self._shares_of_items(), prepend=0.0))
        self.of_item = {
            name: by_weight(self.counts, cumulative(min(n, VALUES[name][0]), VALUES[name][1]), rng)
            for name in ("C17", "C19", "C21")
        }
        self.of_item["C18"] = by_weight(self.counts, self.few["C18"], rng)
        self.of_item["size"] = by_weight(self.counts, _sums(SIZE_SHARES), rng)
        # Numbers that differ, and do not tell how frequent an item is.
        self.c14 = 375 + 9 * rng.permutation(n)

    def _shares_of_items(self) -> np.ndarray:
        return cumulative(self.shape.items, VALUES["C14"][1])

    def _devices(self) -> None:
        """Rows of each device, first those without an id; and the columns of devices."""
        users, rows, rng = self.shape.users, self.shape.rows, self.rng("devices")
        named = max(1, round(users * (DEVICES - 1) / ADDRESSES))
        self.nameless, of_nameless = users - named, round(NULL_ROWS * rows)
        parts = ((self.nameless, of_nameless), (named, rows - of_nameless))
        counts = [lognormal_counts(*part, self.shape.sigma_users, rng, "devices") for part in parts]
        self.of_devices = Owners(np.concatenate(counts))
        # As their shares say, and no rare model more often because there are few devices.
        model = picked(self.shares["device_model"], (np.arange(users) + 0.5) / users)
        self.of_device = {"device_model": rng.permutation(model).astype(np.int16)}
        for name in ("device_type", "device_conn_type"):
            self.of_device[name] = apportioned(users, [*FEW[name].values()], rng)

    def _calendar(self) -> None:
        """Rows of each C14 in each hour: in cells of an hour and an item, the hours in order."""
        rng = self.rng("births")
        clock = Clock(births(self.shape.items, rng), self.counts, hours())
        shares = clock.shares()
        number = rng.multinomial(self.counts, shares / shares.sum(axis=1, keepdims=True))
        self.cells_of_hours = Owners(number.T.reshape(-1))
        self.of_hour = number.sum(axis=0)
        self.hour_ends = np.cumsum(self.of_hour)

    @property
    def item_counts(self) -> np.ndarray:
        return self.counts

    def draw(self, rows: np.ndarray) -> Drawn:
        hour = np.searchsorted(self.hour_ends, rows, side="right")
        size = self.of_hour[hour]
        start = self.hour_ends[hour] - size
        place = start + permuted(self.key("place"), rows - start, size)
        item = self.cells_of_hours.of(place) % self.shape.items
        device = self.of_devices.of(permuted(self.key("device"), rows, self.shape.rows))
        is_app = uniform(self.key("app"), rows) < APPS
        # One chance for id, domain and category: what is frequent in one column is in the others.
        chance = uniform(self.key("publisher"), rows)
        site = np.where(is_app, 0, APPS + (1 - APPS) * chance)
        app = np.where(is_app, 1 - APPS + APPS * chance, 0)
        columns = {"hour": hour}
        columns |= {name: picked(self.shares[name], site) for name in NO_SITE}
        columns |= {name: picked(self.shares[name], app) for name in NO_APP}
        columns["C20"] = picked(self.shares["C20"], uniform(self.key("C20"), rows))
        for name in ("C1", "banner_pos"):
            columns[name] = picked(self.few[name], uniform(self.key(name), rows))
        effect = (
            np.where(is_app, difference_of(APP_CTR, SITE_CTR), 0.0)
            + self.publisher["site_id"][columns["site_id"]]
            + self.publisher["app_id"][columns["app_id"]]
            + self.banner[columns["banner_pos"]]
        )
        return Drawn(device, item, effect, columns)

    def cells(self, rows: np.ndarray, drawn: Drawn, click: np.ndarray) -> list[pa.Array]:
        device, item, found = drawn.user, drawn.item, drawn.columns
        # Code 0 is the null device; the code of no other device becomes its number.
        codes = np.where(device < self.nameless, 0, device - self.nameless + 1)
        of_item = {name: values[item] for name, values in self.of_item.items()}
        return [
            pa.array(mixed(self.key("id"), rows)),
            pa.array(click.astype(np.int8)),
            _arrow.words(found["hour"], HOURS),
            *(_arrow.words(found[name], [*FEW[name]]) for name in ("C1", "banner_pos")),
            *(_arrow.words(found[name], self._names(name)) for name in (*NO_SITE, *NO_APP)),
            _arrow.hexadecimal(self._numbers("device_id", codes, NULL_DEVICE)),
            _arrow.hexadecimal(self._numbers("device_ip", device)),
            _arrow.words(self.of_device["device_model"][device], self._names("device_model")),
            *(
                _arrow.words(self.of_device[name][device], [*FEW[name]])
                for name in ("device_type", "device_conn_type")
            ),
            pa.array(self.c14[item]),
            *(_arrow.words(of_item["size"], [size[n] for size in SIZES]) for n in (0, 1)),
            pa.array(112 + 7 * of_item["C17"]),
            _arrow.words(of_item["C18"], [*FEW["C18"]]),
            pa.array(33 + 4 * of_item["C19"]),
            _arrow.words(found["C20"], [-1, *(100_000 + 2 * np.arange(VALUES["C20"][0] - 1))]),
            pa.array(1 + 5 * of_item["C21"]),
        ]

    def side_files(self) -> Iterator[Text]:
        """None: everything is in the log."""
        return iter(())

    def _numbers(self, name: str, codes: np.ndarray, first: int | None = None) -> np.ndarray:
        """Different numbers of 32 bits for different codes; ``first`` for code 0."""
        numbers = permuted(self.key(name), codes, 1 << 32)
        if first is not None:
            numbers ^= permuted(self.key(name), np.zeros(1), 1 << 32) ^ first
        return numbers.astype(np.uint32)

    def _names(self, name: str) -> list[str]:
        """The values of a column of hexadecimal names, by their codes."""
        if name not in self._known:
            first = {**NO_SITE, **NO_APP}.get(name)
            numbers = self._numbers(name, np.arange(VALUES[name][0]), first)
            self._known[name] = [f"{number:08x}" for number in numbers]
        return self._known[name]
