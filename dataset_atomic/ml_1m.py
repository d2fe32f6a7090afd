"""MovieLens-1M's raw files as RecBole atomic files.

Usage: python dataset_atomic/ml_1m.py --raw FOLDER_WITH_RATINGS_DAT [--out dataset_atomic/ml-1m]

Needs nothing but Python. Origin and terms of the data: README.md beside this file.
"""

import re
import sys
from pathlib import Path

from converting import BadInput, content, parser, run, write

NAME = "ml-1m"
ORIGIN = "https://grouplens.org/datasets/movielens/1m/"

# What a line of each raw file looks like; `convert` says which line is the first that does not.
RATING = re.compile(rb"(?:\d+::\d+::[1-5]::\d+\n)*")
USER = re.compile(rb"(?:\d+::[FM]::\d+::\d+::[^\t\n]+\n)*")
MOVIE = re.compile(rb"(?:\d+::[^\t\n]+\(\d{4}\)::[^\t\n]+\n)*")


def ratings(raw: bytes) -> bytes:
    """``user::movie::rating::time`` lines as interactions, in the order of the file."""
    header = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    return header + raw.replace(b"::", b"\t")


def users(raw: bytes) -> bytes:
    """``user::gender::age::occupation::zip`` lines as user features."""
    header = b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    return header + re.sub(rb"(?m)^(\d+)::([FM])::(\d+)::(\d+)::(.+)$", rb"\1\t\3\t\2\t\4\t\5", raw)


def movies(raw: bytes) -> bytes:
    """``movie::title (year)::genre|genre`` lines as item features."""
    header = b"item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq\n"
    pattern = re.compile(rb"(?m)^(\d+)::(.+)\((\d{4})\)::(.+)$")

    def features(line: re.Match[bytes]) -> bytes:
        number, title, year, genres = line.groups()
        # One title has no space before its year; it keeps the year, as in the files in use.
        title = title[:-1] if title.endswith(b" ") else title + b"(" + year + b")"
        return b"\t".join((number, title, year, genres.replace(b"|", b" ")))

    lines = pattern.sub(features, raw)
    return header + lines.decode("latin-1").encode("utf-8")


FILES = (
    ("ratings.dat", RATING, ratings, "inter"),
    ("users.dat", USER, users, "user"),
    ("movies.dat", MOVIE, movies, "item"),
)


def convert(raw: Path, out: Path) -> list[Path]:
    """The atomic files written to ``out``; either all of them or none.

    Raises:
        BadInput: a raw file is missing or has a line of another form, or ``out`` cannot be written.
    """
    converted = {
        f"{NAME}.{suffix}": to_atomic(read(raw / name, line))
        for name, line, to_atomic, suffix in FILES
    }
    return write(out, converted)


def read(path: Path, line: re.Pattern[bytes]) -> bytes:
    """A raw file whose lines all have the expected form, each ended by a newline."""
    found = content(path, f"the unpacked folder of ml-1m.zip from {ORIGIN}")
    if not found.endswith(b"\n"):
        found += b"\n"
    matched = line.match(found)
    assert matched is not None  # the pattern matches an empty beginning
    if matched.end() < len(found):
        number = found.count(b"\n", 0, matched.end()) + 1
        raise BadInput(
            f"line {number} of '{path}' is not as MovieLens-1M writes it; unpack ml-1m.zip anew"
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    asked = parser("MovieLens-1M", NAME, "ratings.dat").parse_args(arguments)
    return run(lambda: convert(asked.raw, asked.out))


if __name__ == "__main__":
    sys.exit(main())
