"""CIKM 2019 EComm AI: sixteen days of page views, purchases, carts and favourites at Alibaba.

Three files without headers, commas between cells, UTF-8: ``user.csv`` (user, gender, age,
purchasing power), ``item.csv`` (item, category, shop, brand) and ``user_behavior.csv`` (user, item,
behaviour, seconds since a Friday 00:00 that is not disclosed).

The competition handed out several rounds; the report says by the counts which one it saw. The
behaviour is the label, so it is no column.

Source: https://tianchi.aliyun.com/competition/entrance/231721. The label is that of Zhu et al.,
"Learning to Warm Up Cold Item Embeddings for Cold-start Recommendation with Meta Scaling and
Shifting Networks", SIGIR 2021.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from recbole_cold.converters._converting import Converter, Label, Table
from recbole_cold.converters._drawing import NOT_DRAWN, SAMPLE, Sample
from recbole_cold.converters._official import Official
from recbole_cold.converters._source import RawFile, Source

LABEL = {"pv": "0", "cart": "0", "fav": "0", "buy": "1"}
AGAIN = "unpack it anew"


def events(
    file: RawFile, rows: Iterable[Sequence[str]], drawn: Callable[[str], bool],
    left_out: Counter[str],
) -> Iterator[Sequence[str]]:  # fmt: skip
    """User, item, time, and whether the item was bought.

    Args:
        rows: user, item, behaviour, time.
        drawn: whether to keep a user.

    Raises:
        UserError: a line has another form than the official file.
    """
    for user, item, behaviour, time in rows:
        label = LABEL.get(behaviour)
        if label is None:
            raise file.fault(
                f"has the behaviour '{behaviour}', none of {', '.join(LABEL)}; {AGAIN}"
            )
        if not (time.isascii() and time.isdigit()):
            raise file.fault(f"has the time '{time}', no whole number of seconds; {AGAIN}")
        if not drawn(user):
            left_out[NOT_DRAWN] += 1
            continue
        yield user, item, time, label


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    log, user_file, item_file = (
        source.file(f"{name}.csv", f"{name}.csv.tar.gz", f"{name}.csv.gz")
        for name in ("user_behavior", "user", "item")
    )
    sample, left_out = Sample(options), Counter[str]()
    rows = events(log, log.rows_without_header(4, AGAIN), sample.keeps, left_out)
    header = "user_id:token item_id:token timestamp:float label:float"
    yield Table("inter", header, sample.interactions(rows), left_out)
    header = "user_id:token gender:token age:token purchase_power:token"
    left_out = Counter()
    found = sample.users(user_file.rows_without_header(4, AGAIN), left_out)
    yield Table("user", header, found, left_out)
    header = "item_id:token category:token shop:token brand:token"
    left_out = Counter()
    found = sample.items(item_file.rows_without_header(4, AGAIN), left_out)
    yield Table("item", header, found, left_out)


CONVERTER = Converter(
    name="cikm2019",
    title="CIKM 2019 EComm AI",
    source="a folder with user.csv, item.csv and user_behavior.csv (.gz will do), or a .zip of "
    "them",
    origin="https://tianchi.aliyun.com/competition/entrance/231721",
    terms="the competition's terms, which you accept there; no redistribution",
    size="62,428,486 rows of 3,934,201 items and 1,050,000 users in the papers, 80,475,452 rows in "
    "round 2",
    tables=tables,
    label=lambda options: Label("label", 1, "bought; views, carts and favourites are no clicks"),
    options=SAMPLE,
    time="timestamp",
    since="a Friday 00:00 that is not disclosed",
    notes=(
        "a view, a cart and a purchase of the same user and item are three rows, seconds apart; a "
        "split that is not by time has some of them on either side",
    ),
    refused=("behavior", "behaviour"),
    official=(
        Official("the papers' data", {"rows": 62_428_486, "users": 1_050_000, "items": 3_934_201}),
        Official(
            "round 2",
            {"rows": 80_475_452, "rows of users": 1_396_951, "rows of items": 4_318_202},
        ),
    ),
)
