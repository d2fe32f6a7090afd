"""MIND-small: what 94,057 users of Microsoft News were shown in six days of 2019, and clicked.

Two folders, ``MINDsmall_train`` and ``MINDsmall_dev`` (the day after), with ``behaviors.tsv`` and
``news.tsv`` each: tabs, no header, no quotation. A line of behaviors has all that one page showed
(``N55689-1 N35729-0``: clicked or not) and becomes a row each. Both folders number their pages from
1 on. Many news items are in both folders, and copies of the data are about that have the lines of
``MINDsmall_train`` in both.

Source: F. Wu et al., "MIND: A Large-scale Dataset for News Recommendation", ACL 2020, and the
description of the data.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from recbole_cold.converters._converting import Converter, Label, Table
from recbole_cold.converters._drawing import NOT_DRAWN, SAMPLE, Sample
from recbole_cold.converters._official import Official
from recbole_cold.converters._source import RawFile, Source
from recbole_cold.errors import UserError

PARTS = {"train": "MINDsmall_train", "dev": "MINDsmall_dev"}
BEHAVIORS = 5  # page, user, time, clicks before, what the page showed
NEWS = 8  # news, category, subcategory, title, abstract, address, entities of title, of abstract
TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d\d):(\d\d) (AM|PM)")
WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
AGAIN = "unpack the archive anew"


def moment(text: str) -> str:
    """A time as ``11/11/2019 9:05:58 AM`` in seconds since 1970, taken as UTC.

    Raises:
        ValueError: it is no such time.
    """
    found = TIME.fullmatch(text)
    if found is None:
        raise ValueError
    *numbers, half = found.groups()
    month, day, year, hour, minute, second = map(int, numbers)
    if not 1 <= hour <= 12:
        raise ValueError
    hour = hour % 12 + 12 * (half == "PM")  # midnight is 12 AM, noon 12 PM
    when = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    return str(int(when.timestamp()))


def cells(file: RawFile, width: int) -> Iterator[list[str]]:
    """The cells of each line: no mark in them means anything.

    Raises:
        UserError: a line has another number of cells.
    """
    for line in file.lines():
        found = line.split("\t")
        if len(found) != width:
            raise file.fault(f"has {len(found)} cells, not {width}; {AGAIN}")
        yield found


def impressions(
    files: Mapping[str, RawFile], drawn: Callable[[str], bool], left_out: Counter[str]
) -> Iterator[Sequence[str]]:
    """User, news, time, page, and the click: a row for each news item that a page showed.

    Raises:
        UserError: a line has another form than MIND writes.
    """
    for part, file in files.items():
        for page, user, text, _, shown in cells(file, BEHAVIORS):
            try:
                time = moment(text)
            except ValueError:
                raise file.fault(f"has the time '{text}', not as 11/11/2019 9:05:58 AM") from None
            news = shown.split()
            if not drawn(user):
                left_out[NOT_DRAWN] += len(news)
                continue
            for each in news:
                item, _, click = each.rpartition("-")
                if click not in ("0", "1"):
                    raise file.fault(
                        f"has '{each}', not news-0 or news-1; the files of the test have no clicks"
                    )
                yield user, item, time, f"{part}-{page}", click


def entities(file: RawFile, *texts: str) -> str:
    """The Wikidata identifiers in lists of entities, each once.

    Raises:
        UserError: a text is no such list.
    """
    found: dict[str, None] = {}
    for text in texts:
        try:
            found |= dict.fromkeys(each["WikidataId"] for each in json.loads(text or "[]"))
        except (ValueError, TypeError, KeyError):
            raise file.fault(f"has entities that are no list of them in JSON; {AGAIN}") from None
    return " ".join(each for each in found if each)


def news(files: Sequence[RawFile]) -> Iterator[Sequence[str]]:
    """News, category, subcategory, the words of the title, entities of title and abstract."""
    for file in files:
        for item, category, subcategory, title, _, _, *lists in cells(file, NEWS):
            words = " ".join(WORD.findall(title.lower()))
            yield item, category, subcategory, words, entities(file, *lists)


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    folders = {part: source.part(name) for part, name in PARTS.items()}
    pages = {part: folder.file("behaviors.tsv") for part, folder in folders.items()}
    first, second = ([*itertools.islice(file.lines(), 1)] for file in pages.values())
    if first == second:
        raise UserError(
            f"'{pages['dev'].place}' begins as '{pages['train'].place}' does, so it is a copy of "
            "it; get MINDsmall_dev from another place"
        )
    sample, left_out = Sample(options), Counter[str]()
    yield Table(
        "inter",
        "user_id:token item_id:token timestamp:float impression_id:token label:float",
        sample.interactions(impressions(pages, sample.keeps, left_out)),
        left_out,
    )
    left_out = Counter()
    yield Table(
        "item",
        "item_id:token category:token subcategory:token title:token_seq entity:token_seq",
        sample.items(news([folder.file("news.tsv") for folder in folders.values()]), left_out),
        left_out,
    )


CONVERTER = Converter(
    name="mind-small",
    title="MIND-small",
    source="a folder with MINDsmall_train and MINDsmall_dev in it, unpacked or as .zip",
    origin="https://msnews.github.io",
    terms="Microsoft Research License: research only, no redistribution; cite Wu et al., ACL 2020",
    size="8,584,442 news items shown to 94,057 users, 4 % of them clicked",
    tables=tables,
    label=lambda options: Label("label", 1, "clicked on the page that showed it"),
    options=SAMPLE,
    time="timestamp",
    notes=(
        "times have no zone and are taken as UTC; all rows of a page have one time",
        "impression_id is a page, as train-1 or dev-1, and no feature: properties/dataset leaves "
        "it out; clicks before the first page (History), abstracts and addresses are not written",
        "most news items live for a day: choose N and K by the rows per item above, or let check "
        "suggest them",
    ),
    # Rows: https://huggingface.co/datasets/reczoo/MIND_small_x1. Users and clicks: table 1 of
    # https://arxiv.org/abs/2305.06566, whose 8,236,715 rows without a click make up the rest.
    official=(
        Official(
            "MINDsmall_train and MINDsmall_dev",
            {"rows": 8_584_442, "users": 94_057, "clicks": 347_727},
        ),
    ),
)
