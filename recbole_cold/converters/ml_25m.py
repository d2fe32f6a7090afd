"""MovieLens-25M: ``ratings.csv`` and ``movies.csv``; UTF-8, commas, a header, CRLF in the archive.

Ratings have half stars. A title with a comma is in quotation marks, and marks in it are doubled.
The year stands behind the title; some films have none. There is nothing about users.

Source: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS
5(4), 2015, and the README of the archive.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from recbole_cold.converters._converting import Converter, Label, Table
from recbole_cold.converters._drawing import NOT_DRAWN, SAMPLE, Sample
from recbole_cold.converters._official import Official
from recbole_cold.converters._source import RawFile, Source

RATINGS = ("userId", "movieId", "rating", "timestamp")
MOVIES = ("movieId", "title", "genres")
STARS = frozenset(f"{half / 2:.1f}" for half in range(1, 11))  # 0.5, 1.0, ... 5.0
NO_GENRE = "(no genres listed)"
# A series has its first and last year, or an open end: (2006-2007), (2009- ).
TITLE = re.compile(r"(.*?)\s*\((\d{4})(?:\s*[-\u2013]\s*(?:\d{4})?\s*)?\)\s*", re.DOTALL)


def title_and_year(text: str) -> tuple[str, str]:
    """A title without its year, and the year; '' where there is none."""
    found = TITLE.fullmatch(text)
    title, year = found.groups() if found else (text, "")
    return " ".join(title.split()), year


def ratings(
    file: RawFile, drawn: Callable[[str], bool], left_out: Counter[str]
) -> Iterator[Sequence[str]]:
    """User, movie, stars, time.

    Raises:
        UserError: a line has another form than MovieLens writes.
    """
    for user, movie, stars, time in file.rows(RATINGS, "unpack the archive anew"):
        if stars not in STARS:
            raise file.fault(f"has the rating '{stars}', not 0.5 to 5.0 in halves; unpack it anew")
        if not (time.isascii() and time.isdigit()):
            raise file.fault(f"has the time '{time}', not seconds since 1970; unpack it anew")
        if not drawn(user):
            left_out[NOT_DRAWN] += 1
            continue
        yield user, movie, stars, time


def movies(file: RawFile) -> Iterator[Sequence[str]]:
    """Movie, title, year, genres."""
    for movie, text, genres in file.rows(MOVIES, "unpack the archive anew"):
        title, year = title_and_year(text)
        yield movie, title, year, "" if genres == NO_GENRE else genres.replace("|", " ")


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    sample, left_out = Sample(options), Counter[str]()
    rows = ratings(source.file("ratings.csv"), sample.keeps, left_out)
    header = "user_id:token item_id:token rating:float timestamp:float"
    yield Table("inter", header, sample.interactions(rows), left_out)
    left_out = Counter()
    rows = sample.items(movies(source.file("movies.csv")), left_out)
    header = "item_id:token movie_title:token_seq release_year:token genre:token_seq"
    yield Table("item", header, rows, left_out)


CONVERTER = Converter(
    name="ml-25m",
    title="MovieLens-25M",
    source="the unpacked folder of ml-25m.zip, or ml-25m.zip itself",
    origin="https://grouplens.org/datasets/movielens/25m/",
    terms="research use, no redistribution without permission; cite Harper, Konstan, ACM TiiS 2015",
    size="25,000,095 ratings of 59,047 movies by 162,541 users",
    tables=tables,
    label=lambda options: Label("rating", 4, "a rating of 4 to 5; three and a half stars are none"),
    options=SAMPLE,
    time="timestamp",
    notes=(
        "there are no features of users; tags.csv, links.csv and the genome are not read",
        "many users enter a whole history in minutes: rows of one second keep the order of the "
        "file, which is that of the movies' numbers",
    ),
    # Ratings, users and movies: https://files.grouplens.org/datasets/movielens/ml-25m-README.html;
    # movies that are rated: https://seljuk.me/movielens-25m-dataset-published.html, which counted.
    official=(
        Official(
            "MovieLens-25M",
            {"rows": 25_000_095, "users": 162_541, "items": 59_047, "rows of items": 62_423},
        ),
    ),
)
