"""KuaiRand-Pure: what Kuaishou showed 27,285 users in a month of 2022, part of it at random.

Three logs, all with the same columns, and the features of users and videos; commas, a header, all
ids renumbered. Of each row's outcomes only ``is_click`` is read: it is the label. On pages of one
column it means that the video was played for more than seven seconds, or to its end.
``video_features_statistic_pure.csv`` is not read: its means are over the whole month, and so over
the rows that are scored.

Source: C. Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly
Exposed Videos", CIKM 2022, and the README of the data.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from operator import itemgetter
from typing import Any

from recbole_cold.converters._converting import Converter, Label, Option, Table, choice
from recbole_cold.converters._drawing import NOT_DRAWN, SAMPLE, Sample
from recbole_cold.converters._official import Official
from recbole_cold.converters._source import RawFile, Source

LOG = (
    "user_id", "video_id", "date", "hourmin", "time_ms", "is_click", "is_like", "is_follow",
    "is_comment", "is_forward", "is_hate", "long_view", "play_time_ms", "duration_ms",
    "profile_stay_time", "comment_stay_time", "is_profile_enter", "is_rand", "tab",
)  # fmt: skip
OUTCOMES = (
    "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view", "play_time_ms",
    "profile_stay_time", "comment_stay_time", "is_profile_enter",
)  # fmt: skip
STANDARD = ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv")
RANDOM = ("log_random_4_22_to_5_08_pure.csv",)
LOGS = {"all": (*STANDARD, *RANDOM), "standard": STANDARD, "random": RANDOM}

USERS = (
    "user_id", "user_active_degree", "is_lowactive_period", "is_live_streamer", "is_video_author",
    "follow_user_num", "follow_user_num_range", "fans_user_num", "fans_user_num_range",
    "friend_user_num", "friend_user_num_range", "register_days", "register_days_range",
    *(f"onehot_feat{number}" for number in range(18)),
)  # fmt: skip
# Numbers that were counted once, nobody knows when: their ranges stand beside them.
COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
OF_USERS = tuple(column for column in USERS if column not in COUNTS)
VIDEOS = (
    "video_id", "author_id", "video_type", "upload_dt", "upload_type", "visible_status",
    "video_duration", "server_width", "server_height", "music_id", "music_type", "tag",
)  # fmt: skip
AGAIN = "unpack KuaiRand-Pure.tar.gz anew"


def code(text: str) -> str:
    """A number of a category; a column with gaps was written as decimals, ``9.0``."""
    return text.removesuffix(".0")


def digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def impressions(
    files: Sequence[RawFile], drawn: Callable[[str], bool], left_out: Counter[str]
) -> Iterator[Sequence[str]]:
    """User, video, time in seconds, page, hour of the day in Beijing, whether at random, click.

    Raises:
        UserError: a line has another form than KuaiRand writes.
    """
    read = itemgetter(
        *map(LOG.index, ("user_id", "video_id", "hourmin", "time_ms", "is_click", "is_rand", "tab"))
    )
    for file in files:
        for user, video, clock, time, click, at_random, tab in map(read, file.rows(LOG, AGAIN)):
            if click not in ("0", "1"):
                raise file.fault(f"has the is_click '{click}', not 0 or 1; {AGAIN}")
            if not (digits(time) and len(time) > 3):
                raise file.fault(f"has the time_ms '{time}', no milliseconds since 1970; {AGAIN}")
            if not digits(clock):
                raise file.fault(f"has the hourmin '{clock}', not hours and minutes; {AGAIN}")
            if not drawn(user):
                left_out[NOT_DRAWN] += 1
                continue
            moment, hour = f"{time[:-3]}.{time[-3:]}", str(int(clock) // 100)
            yield user, video, moment, tab, hour, at_random, click


def users(file: RawFile) -> Iterator[Sequence[str]]:
    """User and his features, without counts."""
    read = itemgetter(*map(USERS.index, OF_USERS))
    for cells in file.rows(USERS, AGAIN):
        user, *features = read(cells)
        yield user, *map(code, features)


def week(file: RawFile, day: str) -> str:
    """The ISO week of a day as 2022-14; '' where there is no day.

    Raises:
        UserError: it is no day.
    """
    if not day:
        return ""
    try:
        year, number, _ = date.fromisoformat(day).isocalendar()
    except ValueError:
        raise file.fault(f"has the upload_dt '{day}', no date as 2022-04-08; {AGAIN}") from None
    return f"{year}-{number:02}"


def length(file: RawFile, milliseconds: str) -> str:
    """The seconds of a video; '' where they are not known, or zero.

    Raises:
        UserError: it is no length.
    """
    try:
        seconds = float(milliseconds or 0) / 1000
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise file.fault(f"has the video_duration '{milliseconds}', no milliseconds; {AGAIN}")
    return f"{seconds:.3f}" if seconds else ""


def videos(file: RawFile) -> Iterator[Sequence[str]]:
    """Video, author, type, upload: how and in which week, music and its type, tags, length.

    ``visible_status`` is how the video was when the data were published, so it is not read.
    """
    for cells in file.rows(VIDEOS, AGAIN):
        video, author, kind, day, upload, _, duration, _, _, music, music_type, tags = cells
        yield (
            video, author, kind, upload, week(file, day), code(music), code(music_type),
            " ".join(tags.split(",")), length(file, duration),
        )  # fmt: skip


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    def read(name: str) -> RawFile:
        return source.file(name, f"data/{name}")

    sample, left_out = Sample(options), Counter[str]()
    rows = impressions([read(name) for name in LOGS[options["logs"]]], sample.keeps, left_out)
    yield Table(
        "inter",
        "user_id:token item_id:token timestamp:float tab:token hour:token is_rand:token "
        "label:float",
        sample.interactions(rows),
        left_out,
    )
    header = " ".join(f"{column}:token" for column in OF_USERS)
    left_out = Counter()
    rows = sample.users(users(read("user_features_pure.csv")), left_out)
    yield Table("user", header, rows, left_out)
    header = (
        "item_id:token author_id:token video_type:token upload_type:token upload_week:token "
        "music_id:token music_type:token tag:token_seq duration:float"
    )
    left_out = Counter()
    rows = sample.items(videos(read("video_features_basic_pure.csv")), left_out)
    yield Table("item", header, rows, left_out)


CONVERTER = Converter(
    name="kuairand-pure",
    title="KuaiRand-Pure",
    source="the unpacked folder of KuaiRand-Pure.tar.gz, or the folder data in it",
    origin="https://zenodo.org/records/10439422",
    terms="CC BY-SA 4.0; cite Gao et al., CIKM 2022",
    size="2,622,668 impressions of 7,583 videos to 27,285 users, 1,186,059 of them at random",
    tables=tables,
    label=lambda options: Label(
        "label", 1, "is_click: a click, or on pages of one column a play of over seven seconds"
    ),
    options=(
        Option(
            "logs", "all", choice(*LOGS),
            "standard: what the recommender showed; random: what was shown at random; is_rand of "
            "a row says which",
        ),
        *SAMPLE,
    ),
    time="timestamp",
    notes=(
        "is_rand says how a row came about and is no feature: properties/dataset leaves it out",
        "left out: means over the whole month (video_features_statistic_pure.csv), the users' "
        "undated counts (their ranges stay), and how a video was seen later (visible_status)",
        "duration is in seconds; hours are Beijing's",
    ),
    refused=OUTCOMES,
    official=(
        Official(
            "all three logs",
            {"rows": 2_622_668, "users": 27_285, "items": 7_583, "rows of users": 27_285,
             "rows of items": 7_583},
        ),
        Official("the standard logs", {"rows": 1_436_609, "users": 27_285, "items": 7_551}),
        Official("the random log", {"rows": 1_186_059, "users": 27_285, "items": 7_583}),
    ),
)  # fmt: skip
