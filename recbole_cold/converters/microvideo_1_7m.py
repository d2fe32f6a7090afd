"""MicroVideo-1.7M as reczoo publishes it (``MicroVideo1.7M_x1``): videos shown and clicked.

``train.csv`` and ``test.csv``: commas, a header. All items of the test are new: its item numbers
go on where those of the training end. So the split comes with the data, and the atomic files are
its parts, ``train`` and ``test``, for runs without warm-up (``warm_sets: 0``). With
``--warm_size=K`` the oldest K rows of each new item are in ``warm_a``, the next in ``warm_b`` and
``warm_c``, and the rest is ``test``. Of the columns the clicks before each row (``clicked_items``,
``clicked_categories``) are not read: histories are made of rows that a run may see.

The vectors of covers (``item_image_emb_dim64.h5``) are not read either: their form needs h5py,
which neither this package nor a bare Python has. dataset_atomic/README.md has the lines that make
a file for ``vector_fields`` of them.

Source: X. Chen et al., "Temporal Hierarchical Attention at Category- and Item-Level for
Micro-Video Click-Through Prediction", MM 2018, and https://huggingface.co/datasets/reczoo.
"""

import bisect
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from recbole_cold.converters._converting import Converter, Label, Option, Table, number
from recbole_cold.converters._drawing import NOT_DRAWN, SAMPLE, draw
from recbole_cold.converters._official import Official
from recbole_cold.converters._source import RawFile, Source
from recbole_cold.errors import UserError

COLUMNS = ("user_id", "item_id", "timestamp", "is_click", "cate_id")
NOT_READ = ("clicked_items", "clicked_categories")
WARM = ("warm_a", "warm_b", "warm_c")
HEADER = "user_id:token item_id:token timestamp:float label:float"
RARE = "of new items with fewer rows than the warm-up sets take (--warm_size)"
AGAIN = "unpack MicroVideo1.7M_x1.zip anew"


class Row(NamedTuple):
    """One row, in the order of the atomic file."""

    user: str
    item: str
    time: str
    click: str


class New:
    """A new item: how many rows it has, and its oldest ones after their time and place in the file.

    Rows of one time keep the order of the file. There are millions of them, so texts that many rows
    share are kept once.
    """

    __slots__ = ("_oldest", "count", "name")

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0
        self._oldest: list[tuple[float, int, str, str, str]] = []

    def add(self, place: int, row: Row, most: int) -> None:
        """One more row; the oldest ``most`` are remembered."""
        self.count += 1
        key = float(row.time), place
        if len(self._oldest) < most or key < self._oldest[-1][:2]:
            kept = (*key, sys.intern(row.user), row.time, sys.intern(row.click))
            bisect.insort(self._oldest, kept)
            del self._oldest[most:]

    def oldest(self, first: int, last: int) -> Iterator[Row]:
        """The rows that are remembered, from the one number to before the other."""
        for _, _, user, time, click in self._oldest[first:last]:
            yield Row(user, self.name, time, click)

    def has(self, place: int, row: Row) -> bool:
        """Whether a row is among the oldest."""
        return (float(row.time), place) <= self._oldest[-1][:2]


class Videos:
    """The category of each item, and which of them are in the training part."""

    def __init__(self) -> None:
        self.category: dict[str, str] = {}
        self.old: frozenset[str] = frozenset()

    def add(self, file: RawFile, item: str, category: str) -> None:
        """
        Raises:
            UserError: an item has two categories, or an item of the test is not new.
        """
        known = self.category.setdefault(item, category)
        if known != category:
            raise file.fault(f"has item '{item}' with cate_id '{category}', and '{known}' before")
        if item in self.old:
            raise file.fault(f"has item '{item}', which is in train.csv, too; {AGAIN}")

    def from_here_on_new(self) -> None:
        """The items so far are the old ones."""
        self.old = frozenset(self.category)

    def rows(self, new: Mapping[str, "New"], left_out: Counter[str]) -> Iterator[Sequence[str]]:
        """Item and category, of old items and those of ``new``: each row of the file makes an id,
        which takes its place in a model's tables."""
        for item, category in self.category.items():
            if item in self.old or item in new:
                yield item, category
            else:
                left_out[RARE] += 1


def head_of(file: RawFile, line: str) -> list[str]:
    """The columns that a header names.

    Raises:
        UserError: one is missing, or unknown.
    """
    head = [name.strip() for name in line.split(",")]
    absent = [column for column in COLUMNS if column not in head]
    more = [column for column in head if column not in (*COLUMNS, *NOT_READ)]
    if absent or more:
        told = f"no {', '.join(absent)}" if absent else f"{', '.join(more)}, which is unknown"
        raise file.fault(f"is not as it must be (its header has {told}); {AGAIN}")
    return head


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def rows(
    file: RawFile, options: Mapping[str, Any], videos: Videos, left_out: Counter[str]
) -> Iterator[tuple[int, Row]]:
    """The rows of the drawn users, each with its place in the file.

    Lines are cut at commas: nothing is quoted, and a user's clicks are longer than a cell that
    ``csv`` reads.

    Raises:
        UserError: a line has another form than reczoo writes.
    """
    drawn, lines = draw(options), file.lines()
    head = head_of(file, next(lines, ""))
    read = itemgetter(*map(head.index, COLUMNS))
    for place, line in enumerate(lines):
        cells = line.split(",")
        if len(cells) != len(head):
            raise file.fault(f"has {len(cells)} cells, not {len(head)}; {AGAIN}")
        user, item, time, click, category = read(cells)
        if click not in ("0", "1"):
            raise file.fault(f"has the is_click '{click}', not 0 or 1; {AGAIN}")
        if not is_number(time):
            raise file.fault(f"has the timestamp '{time}', no number; {AGAIN}")
        if not drawn(user):
            left_out[NOT_DRAWN] += 1
            continue
        videos.add(file, item, category)
        yield place, Row(user, item, time, click)


def new_items(file: RawFile, options: Mapping[str, Any], videos: Videos) -> dict[str, New]:
    """The new items that have rows for all warm-up sets.

    Raises:
        UserError: none of them has a row that is left for the test.
    """
    most = len(WARM) * options["warm_size"]  # of an item in them
    found: dict[str, New] = {}
    for place, row in rows(file, options, videos, Counter()):
        item = found.get(row.item)
        if item is None:
            item = found[row.item] = New(row.item)
        item.add(place, row, most)
    if not any(item.count > most for item in found.values()):
        raise UserError(
            f"no item of '{file.place}' has more than {most} rows, so none is left for the test; "
            "give a smaller --warm_size, or another --sample_users"
        )
    return {name: item for name, item in found.items() if item.count >= most}


def test_rows(
    lines: Iterator[tuple[int, Row]], new: Mapping[str, New], left_out: Counter[str]
) -> Iterator[Row]:
    """The rows that are in no warm-up set, of items that are in all of them."""
    for place, row in lines:
        item = new.get(row.item)
        if item is None:
            left_out[RARE] += 1
        elif not item.has(place, row):
            yield row


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    def part(name: str, lines: Iterator[Row], left_out: Counter[str]) -> Table:
        return Table("inter", HEADER, lines, left_out, part=name)

    videos, left_out = Videos(), Counter[str]()
    train = rows(source.file("train.csv"), options, videos, left_out)
    yield part("train", (row for _, row in train), left_out)
    videos.from_here_on_new()
    file, size = source.file("test.csv"), options["warm_size"]
    left_out = Counter()
    header = "item_id:token cate_id:token"
    if not size:
        test = rows(file, options, videos, left_out)
        yield part("test", (row for _, row in test), left_out)
        yield Table("item", header, videos.category.items(), Counter())
        return
    new = new_items(file, options, videos)
    for step, name in enumerate(WARM):
        yield part(
            name,
            (row for item in new.values() for row in item.oldest(step * size, (step + 1) * size)),
            Counter(),
        )
    yield part("test", test_rows(rows(file, options, videos, left_out), new, left_out), left_out)
    left_out = Counter()
    yield Table("item", header, videos.rows(new, left_out), left_out)


CONVERTER = Converter(
    name="microvideo-1.7m",
    title="MicroVideo-1.7M",
    source="the unpacked folder of MicroVideo1.7M_x1.zip, or MicroVideo1.7M_x1.zip itself",
    origin="https://huggingface.co/datasets/reczoo/MicroVideo1.7M_x1",
    terms="none stated; research, cite Chen et al., MM 2018",
    size="12,737,617 impressions of 1,704,880 videos to 10,986 users, 30 % of them in the test",
    tables=tables,
    label=lambda options: Label("label", 1, "clicked when it was shown"),
    options=(
        Option(
            "warm_size", "0", number(int, 0, 1000),
            "K: rows of a new item in each of three warm-up sets; a new item has some seven rows, "
            "and one with fewer than 3K is left out; 0: no such sets, all rows are in the test",
        ),
        *SAMPLE,
    ),
    time="timestamp",
    since="a moment that is not told; perhaps no seconds, for their order alone counts",
    notes=(
        "the split is that of the data: all items of test.csv are new; a run scores all of it in "
        "the cold phase (warm_sets: 0), or with --warm_size what warm-up sets leave of it",
        "clicked_items and clicked_categories are not written: histories are made of rows that a "
        "run may see; vectors of covers: dataset_atomic/README.md",
    ),
    official=(
        Official("MicroVideo1.7M_x1", {"rows": 12_737_617, "users": 10_986, "items": 1_704_880}),
    ),
)  # fmt: skip
