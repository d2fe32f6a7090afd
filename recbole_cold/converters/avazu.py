"""Avazu's click log of ten days: ``train.gz`` of the Kaggle competition, or the file in it.

There is neither a user nor an item in it. A user is a device: ``device_id``, or, on the rows of the
null device (four of five rows), the address and the model of the device. An item is ``C14`` unless
another column is chosen: the finest of the anonymous columns that behave like an advertisement. Row
numbers of 64 bits stay texts, for no float can hold them. Clicks and other rows were drawn at
different rates, so the share of clicks is not that of real traffic.

Source: https://www.kaggle.com/c/avazu-ctr-prediction
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from operator import itemgetter
from typing import Any

from recbole_cold.converters._converting import Converter, Label, Option, Table, choice
from recbole_cold.converters._drawing import NOT_DRAWN, SAMPLE, draw
from recbole_cold.converters._official import Official
from recbole_cold.converters._source import RawFile, Source

COLUMNS = (
    "id", "click", "hour", "C1", "banner_pos", "site_id", "site_domain", "site_category", "app_id",
    "app_domain", "app_category", "device_id", "device_ip", "device_model", "device_type",
    "device_conn_type", "C14", "C15", "C16", "C17", "C18", "C19", "C20", "C21",
)  # fmt: skip
# Columns that a model reads. device_id and device_ip are in the user: as fields they are millions
# of tokens, most of them seen once.
FEATURES = tuple(
    column for column in COLUMNS if column not in ("id", "click", "hour", "device_id", "device_ip")
)
NULL_DEVICE = "a99f214a"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NO_DEVICE = "of the null device (--null_device=address or one keeps them)"


def moment(hour: str) -> tuple[str, str, str]:
    """YYMMDDHH (UTC) as seconds since 1970, the hour of the day, and the weekday.

    Raises:
        ValueError: it is no such hour.
    """
    if len(hour) != 8 or not (hour.isascii() and hour.isdigit()):
        raise ValueError
    found = datetime(
        2000 + int(hour[:2]), int(hour[2:4]), int(hour[4:6]), int(hour[6:]), tzinfo=timezone.utc
    )
    return str(int(found.timestamp())), str(found.hour), WEEKDAYS[found.weekday()]


def user_of(device: str, address: str, model: str, null_device: str) -> str:
    """The user of a row; '' where there is none.

    Args:
        null_device: what the null device is: ``address`` (address and model of the device),
            ``one`` (one user) or ``drop`` (no user).
    """
    if device != NULL_DEVICE or null_device == "one":
        return device
    return f"{address}_{model}" if null_device == "address" else ""


class Items:
    """The columns that belong to items: one value each, the same on all rows of an item."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns, self._values = columns, dict[str, list[str]]()

    def add(self, file: RawFile, item: str, values: list[str]) -> None:
        """
        Raises:
            UserError: an item has two values of a column.
        """
        known = self._values.setdefault(item, values)
        if known != values:
            column, one, other = next(
                each for each in zip(self.columns, known, values, strict=True) if each[1] != each[2]
            )
            raise file.fault(
                f"has item '{item}' with {column} '{other}', and '{one}' before: {column} does not "
                "belong to the item; leave it out of --item_columns"
            )

    def rows(self) -> Iterator[list[str]]:
        """Item and its values."""
        for item, values in self._values.items():
            yield [item, *values]


def impressions(
    file: RawFile, options: Mapping[str, Any], features: Sequence[str], items: Items,
    left_out: Counter[str],
) -> Iterator[Sequence[str]]:  # fmt: skip
    """User, item, time, hour of the day, weekday, the features, and the click.

    Raises:
        UserError: a line has another form than Avazu writes.
    """
    place = {column: number for number, column in enumerate(COLUMNS)}
    needed = ("click", "hour", options["item_field"], "device_id", "device_ip", "device_model")
    read = itemgetter(*(place[column] for column in needed))
    places, item_places = (
        [place[each] for each in columns] for columns in (features, items.columns)
    )
    null_device, drawn = options["null_device"], draw(options)
    moments: dict[str, tuple[str, str, str]] = {}
    for cells in file.rows(COLUMNS, "download it anew"):
        click, hour, item, device, address, model = read(cells)
        if click not in ("0", "1"):
            raise file.fault(f"has the click '{click}', not 0 or 1; download it anew")
        when = moments.get(hour)
        if when is None:
            try:
                when = moments[hour] = moment(hour)
            except ValueError:
                raise file.fault(f"has the hour '{hour}', not YYMMDDHH; download it anew") from None
        user = user_of(device, address, model, null_device)
        if not user:
            left_out[NO_DEVICE] += 1
            continue
        if not drawn(user):
            left_out[NOT_DRAWN] += 1
            continue
        if item_places:
            items.add(file, item, [cells[n] for n in item_places])
        yield [user, item, *when, *[cells[n] for n in places], click]


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    file = source.file("train.gz", "train.csv", "train", alone=True)
    of_items = [each for each in options["item_columns"] if each != options["item_field"]]
    features = [each for each in FEATURES if each not in (*of_items, options["item_field"])]
    items, left_out = Items(of_items), Counter[str]()
    header = ["user_id", "item_id", "timestamp:float", "hour_of_day", "weekday", *features]
    yield Table(
        "inter",
        " ".join(each if ":" in each else f"{each}:token" for each in header) + " label:float",
        impressions(file, options, features, items, left_out),
        left_out,
    )
    if of_items:
        header = ["item_id", *of_items]
        yield Table("item", " ".join(f"{each}:token" for each in header), items.rows(), Counter())


def columns(text: str) -> list[str]:
    """Columns separated by commas; none of '' ."""
    found = text.split(",") if text else []
    for column in found:
        if column not in FEATURES:
            raise ValueError(f"no list of columns out of {','.join(FEATURES)}")
    return list(dict.fromkeys(found))


CONVERTER = Converter(
    name="avazu",
    title="Avazu",
    source="train.gz of the competition, the file in it, a folder with either, or Kaggle's .zip",
    origin="https://www.kaggle.com/c/avazu-ctr-prediction",
    terms="the rules of the Kaggle competition, which you accept there; no redistribution",
    size="40,428,967 impressions of ten days, 17 % of them clicks",
    tables=tables,
    label=lambda options: Label("label", 1, "as logged; not the share of real traffic"),
    options=(
        Option(
            "item_field", "C14", choice("id", *FEATURES),
            "the column that is the item; app_id or site_id make publishers new",
        ),
        Option(
            "item_columns", "", columns,
            "columns, as C17,C21, that go to the .item file; refused where they differ on an "
            "item's rows. Methods that read side information need some",
        ),
        Option(
            "null_device", "address", choice("address", "one", "drop"),
            "whose a row of the null device is: address makes a user of its address and model, one "
            "makes all of them one user, drop leaves them out",
        ),
        *SAMPLE,
    ),
    time="timestamp",
    notes=(
        "device_id and device_ip are in the user and no features; C20 = -1 is a value of its own",
        "times are hours: rows of one hour keep the order of the file",
    ),
    official=(Official("the competition's file", {"rows": 40_428_967}),),
)  # fmt: skip
