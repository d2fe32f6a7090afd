"""Taobao's display advertisements: eight days of impressions, Tianchi's data set 56.

``raw_sample.csv`` has the impressions, ``ad_feature.csv`` the advertisements, which are the items,
``user_profile.csv`` users; commas between cells, UTF-8, an empty cell or NULL where a value is
missing. ``behavior_log.csv``, 723 million visits of categories, is not read.

An impression tells its outcome twice, for ``nonclk`` is 1 - ``clk``. How often an ad was shown, the
``count`` that published programs compute over the whole log, is no column: it counts test rows.

Source: https://tianchi.aliyun.com/dataset/56
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from recbole_cold.converters._converting import Converter, Label, Option, Table, choice
from recbole_cold.converters._drawing import NOT_DRAWN, SAMPLE, Sample
from recbole_cold.converters._official import Official
from recbole_cold.converters._source import RawFile, Source

IMPRESSIONS = ("user", "time_stamp", "adgroup_id", "pid", "nonclk", "clk")
ADS = ("adgroup_id", "cate_id", "campaign_id", "customer", "brand", "price")
# The official header has a blank behind the last name.
PROFILES = (
    "userid", "cms_segid", "cms_group_id", "final_gender_code", "age_level", "pvalue_level",
    "shopping_level", "occupation", "new_user_class_level",
)  # fmt: skip
OTHER_NAMES = {"noclk": "nonclk"}  # of a copy in use
CLICK = {("1", "0"): "0", ("0", "1"): "1"}  # of nonclk and clk
NO_PROFILE = "of users without a profile (--no_profile=keep keeps them)"
KEPT_ROWS = "of users without a profile (--no_profile=drop leaves them out)"
KEPT_USERS = "users without a profile"
AGAIN = "unpack it anew"


def impressions(
    file: RawFile, rows: Iterable[Sequence[str]], drawn: Callable[[str], bool],
    profiles: set[str], keep: bool, left_out: Counter[str], among: Counter[str],
) -> Iterator[Sequence[str]]:  # fmt: skip
    """User, ad, position on the page, time, and the click.

    Args:
        rows: cells as ``IMPRESSIONS`` names them.
        drawn: whether to keep a user.
        profiles: users with a profile.
        keep: whether to keep the others.

    Raises:
        UserError: a line has another form than the official file.
    """
    without = set[str]()
    for user, time, ad, position, no_click, click in rows:
        label = CLICK.get((no_click, click))
        if label is None:
            raise file.fault(
                f"has nonclk '{no_click}' and clk '{click}', not 0 and 1 or 1 and 0; {AGAIN}"
            )
        if not (time.isascii() and time.isdigit()):
            raise file.fault(f"has the time '{time}', no seconds since 1970; {AGAIN}")
        if not drawn(user):
            left_out[NOT_DRAWN] += 1
            continue
        if user not in profiles:
            if not keep:
                left_out[NO_PROFILE] += 1
                continue
            among[KEPT_ROWS] += 1
            if user not in without:
                without.add(user)
                among[KEPT_USERS] += 1
        yield user, ad, position, time, label


def present(cell: str) -> str:
    """A cell, '' where it says that there is no value."""
    return "" if cell == "NULL" else cell


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def ads(file: RawFile, rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Ad, category, campaign, advertiser, brand, and the price as it is in the file.

    Raises:
        UserError: a price is no number.
    """
    for row in rows:
        *_, price = ad = [present(cell) for cell in row]
        if not is_number(price or "0"):
            raise file.fault(f"has the price '{price}', no number; {AGAIN}")
        yield ad


def users(rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """User and profile."""
    for row in rows:
        yield [present(cell) for cell in row]


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    log, ad_file, user_file = (
        source.file(f"{name}.csv", f"{name}.csv.tar.gz", f"{name}.csv.gz")
        for name in ("raw_sample", "ad_feature", "user_profile")
    )
    sample, keep = Sample(options), options["no_profile"] == "keep"
    profiles = {row[0] for row in user_file.rows(PROFILES, AGAIN)}
    left_out, among = Counter[str](), Counter[str]()
    rows = log.rows(IMPRESSIONS, AGAIN, OTHER_NAMES)
    yield Table(
        "inter",
        "user_id:token item_id:token pid:token timestamp:float label:float",
        sample.interactions(impressions(log, rows, sample.keeps, profiles, keep, left_out, among)),
        left_out,
        among,
    )
    header = " ".join(f"{each}:token" for each in ("user_id", *PROFILES[1:]))
    left_out = Counter()
    rows = user_file.rows(PROFILES, AGAIN)
    yield Table("user", header, sample.users(users(rows), left_out), left_out)
    header = "item_id:token cate_id:token campaign_id:token customer:token brand:token price:float"
    left_out = Counter()
    rows = ad_file.rows(ADS, AGAIN)
    yield Table("item", header, sample.items(ads(ad_file, rows), left_out), left_out)


CONVERTER = Converter(
    name="taobao-ad",
    title="Taobao display ads",
    source="a folder with raw_sample.csv, ad_feature.csv and user_profile.csv, as .csv.tar.gz will "
    "do, or a .zip of them",
    origin="https://tianchi.aliyun.com/dataset/56",
    terms="Tianchi's terms, which you accept there: non-commercial research; no redistribution",
    size="26,557,961 impressions of 846,811 ads to 1,141,729 users in eight days, 5.1 % of them "
    "clicks",
    tables=tables,
    label=lambda options: Label("label", 1, "as logged (clk)"),
    options=(
        Option(
            "no_profile", "keep", choice("keep", "drop"),
            "rows of users without a row in user_profile.csv, one of 17: keep has them, with "
            "features missing, as papers on warming up; drop leaves them out, as other work",
        ),
        *SAMPLE,
    ),
    time="timestamp",
    notes=(
        "rows of the same user and ad stay: each is an impression",
        "a day of the data is one of Beijing's, it begins at 16:00 UTC",
        "prices are as in the file, .01 to 99,999,999; a run scales them (number_scale)",
        "behavior_log.csv is not read",
    ),
    refused=("nonclk", "noclk"),
    official=(
        Official(
            "the official files",
            {
                "rows": 26_557_961,
                "clicks": 1_366_056,
                "users": 1_141_729,
                "items": 846_811,
                "rows of users": 1_061_768,
                "rows of items": 846_811,
            },
        ),
    ),
)  # fmt: skip
