"""MovieLens-1M: ``ratings.dat``, ``users.dat``, ``movies.dat``; latin-1, ``::`` between cells.

Source: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS
5(4), 2015, and the README of the archive.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recbole_cold.converters._converting import Converter, Label, Table
from recbole_cold.converters._source import RawFile, Source

RATING = re.compile(r"(\d+)::(\d+)::([1-5])::(\d+)")
USER = re.compile(r"(\d+)::([FM])::(\d+)::(\d+)::([^\t]+)")
MOVIE = re.compile(r"(\d+)::([^\t]+)\((\d{4})\)::([^\t]+)")


def matched(file: RawFile, form: re.Pattern[str]) -> Iterator[tuple[str, ...]]:
    """The cells of each line.

    Raises:
        UserError: a line has another form than MovieLens-1M writes.
    """
    for line in file.lines():
        found = form.fullmatch(line)
        if found is None:
            raise file.fault("is not as MovieLens-1M writes it; unpack ml-1m.zip anew")
        yield found.groups()


def users(lines: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
    """User, age, gender, occupation, zip code."""
    for user, gender, age, occupation, zip_code in lines:
        yield user, age, gender, occupation, zip_code


def movies(lines: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Movie, title, year, genres."""
    for movie, title, year, genres in lines:
        # One title has no space before its year; it keeps the year, as in the files in use.
        title = title[:-1] if title.endswith(" ") else f"{title}({year})"
        yield movie, title, year, genres.replace("|", " ")


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    def read(name: str, form: re.Pattern[str]) -> Iterator[tuple[str, ...]]:
        return matched(source.file(name, encoding="latin-1"), form)

    yield Table(
        "inter",
        "user_id:token item_id:token rating:float timestamp:float",
        read("ratings.dat", RATING),
        Counter(),
    )
    yield Table(
        "user",
        "user_id:token age:token gender:token occupation:token zip_code:token",
        users(read("users.dat", USER)),
        Counter(),
    )
    yield Table(
        "item",
        "item_id:token movie_title:token_seq release_year:token genre:token_seq",
        movies(read("movies.dat", MOVIE)),
        Counter(),
    )


CONVERTER = Converter(
    name="ml-1m",
    title="MovieLens-1M",
    source="the unpacked folder of ml-1m.zip, or ml-1m.zip itself",
    origin="https://grouplens.org/datasets/movielens/1m/",
    terms="research use, no redistribution without permission; cite Harper, Konstan, ACM TiiS 2015",
    size="1,000,209 ratings of 3,706 movies by 6,040 users",
    tables=tables,
    label=lambda options: Label("rating", 4, "a rating of 4 or 5"),
    time="timestamp",
)
