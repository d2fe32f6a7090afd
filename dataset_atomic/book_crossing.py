"""Book-Crossing's official dump as RecBole atomic files.

Usage: python dataset_atomic/book_crossing.py --raw FOLDER_WITH_BX_FILES [--zeros]
                                              [--out dataset_atomic/book-crossing]

Needs nothing but Python. There are no times in this data: the order of an item's rows is drawn from
a run's seed. A rating of 0 means that none was given, not that the book was disliked; such rows are
left out unless ``--zeros`` keeps them. Origin and terms of the data: README.md beside this file.
"""

import csv
import html
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from converting import BadInput, content, parser, run, write

NAME = "book-crossing"
ORIGIN = "BX-CSV-Dump.zip (Ziegler et al., WWW 2005)"
FIRST_YEAR, LAST_YEAR = 1900, 2005  # the dump is of 2004; other years are mistakes
YOUNGEST, OLDEST = 5, 100

RATINGS = ("User-ID", "ISBN", "Book-Rating")
USERS = ("User-ID", "Location", "Age")
BOOKS = (
    "ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Publisher", "Image-URL-S",
    "Image-URL-M", "Image-URL-L",
)  # fmt: skip
NOTHING = ("NULL", "n/a", "")


def read(folder: Path, name: str, columns: Sequence[str]) -> Iterator[list[str]]:
    """The lines of a raw file, cell by cell.

    Raises:
        BadInput: the file is missing, or has other columns than the dump.
    """
    path = folder / name
    text = content(path, f"the unpacked folder of {ORIGIN}").decode("latin-1")
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=";", escapechar="\\", doublequote=False
    )
    if next(lines, []) != list(columns):
        raise BadInput(f"line 1 of '{path}' is not as Book-Crossing writes it; unpack it anew")
    for cells in lines:
        if len(cells) != len(columns):
            raise BadInput(
                f"line {lines.line_num} of '{path}' has {len(cells)} cells, not {len(columns)}; "
                "unpack it anew"
            )
        yield cells


def clean(text: str) -> str:
    """One line without tabs; entities as letters. What the dump garbled itself stays so."""
    text = " ".join(html.unescape(text).split())
    return "" if text in NOTHING else text


def isbn(text: str) -> str:
    """A book's number; the dump writes a final x in both cases."""
    return clean(text).upper()


def number(text: str, least: int, most: int) -> int | None:
    """A whole number in a range, None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and least <= int(text) <= most else None


def ratings(lines: Iterable[Sequence[str]], zeros: bool, path: Path) -> Iterator[Sequence[str]]:
    """User, book and rating; of a book's two spellings the first one counts.

    Raises:
        BadInput: a rating is no whole number from 0 to 10.
    """
    seen = set()
    for place, (user, book, rating) in enumerate(lines, 2):
        if number(rating, 0, 10) is None:
            raise BadInput(f"row {place} of '{path}' has the rating '{rating}', not 0 to 10")
        pair = clean(user), isbn(book)
        if pair not in seen and (zeros or rating != "0"):
            seen.add(pair)
            yield (*pair, rating)


def users(lines: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """User, country, region, and the decade of the age."""
    for user, location, age in lines:
        places = [clean(part) for part in location.split(",")]
        known = number(age, YOUNGEST, OLDEST)
        group = "" if known is None else str(known // 10 * 10)
        yield clean(user), places[-1], places[-2] if len(places) > 1 else "", group


def books(lines: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Book, author, year, publisher, and the words of the title."""
    seen = set()
    for book, title, author, year, publisher, *_ in lines:
        name = isbn(book)
        if name in seen:
            continue
        seen.add(name)
        known = number(year, FIRST_YEAR, LAST_YEAR)
        yield name, clean(author).lower(), str(known or ""), clean(publisher), clean(title)


def atomic(header: str, lines: Iterable[Sequence[str]]) -> bytes:
    """An atomic file."""
    return "".join("\t".join(line) + "\n" for line in [header.split(), *lines]).encode()


def convert(raw: Path, out: Path, zeros: bool = False) -> list[Path]:
    """The atomic files written to ``out``; either all of them or none.

    Raises:
        BadInput: a raw file is missing or of another form, or ``out`` cannot be written.
    """
    names = ("BX-Book-Ratings.csv", "BX-Users.csv", "BX-Books.csv")
    rated = ratings(read(raw, names[0], RATINGS), zeros, raw / names[0])
    converted = {
        "inter": atomic("user_id:token item_id:token rating:float", rated),
        "user": atomic(
            "user_id:token country:token region:token age_group:token",
            users(read(raw, names[1], USERS)),
        ),
        "item": atomic(
            "item_id:token author:token release_year:token publisher:token book_title:token_seq",
            books(read(raw, names[2], BOOKS)),
        ),
    }
    return write(out, {f"{NAME}.{suffix}": text for suffix, text in converted.items()})


def main(arguments: list[str] | None = None) -> int:
    flags = parser("Book-Crossing", NAME, "BX-Book-Ratings.csv, BX-Users.csv and BX-Books.csv")
    flags.add_argument("--zeros", action="store_true", help="keep rows without a rating, as 0")
    asked = flags.parse_args(arguments)
    return run(lambda: convert(asked.raw, asked.out, asked.zeros))


if __name__ == "__main__":
    sys.exit(main())
