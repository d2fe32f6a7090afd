"""Book-Crossing: the three files of ``BX-CSV-Dump.zip``.

Cells are in quotation marks, except a bare ``NULL``; marks inside have a backslash; latin-1. There
are no times. A rating of 0 means that none was given, not that the book was disliked.

Source: C.-N. Ziegler, S. McNee, J. Konstan, G. Lausen, "Improving Recommendation Lists Through
Topic Diversification", WWW 2005.
"""

import html
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from recbole_cold.converters._converting import Converter, Label, Option, Table, choice, number
from recbole_cold.converters._source import RawFile, Source

FIRST_YEAR, LAST_YEAR = 1900, 2005  # the dump is of 2004; other years are mistakes
YOUNGEST, OLDEST = 5, 100

RATINGS = ("User-ID", "ISBN", "Book-Rating")
USERS = ("User-ID", "Location", "Age")
BOOKS = (
    "ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Publisher", "Image-URL-S",
    "Image-URL-M", "Image-URL-L",
)  # fmt: skip
NOTHING = ("NULL", "n/a", "")
UNRATED = "without a rating (--rows=all keeps them)"
TWICE = "of a book that the user has rated before, perhaps in its other spelling"


def clean(text: str) -> str:
    """One line without tabs; entities as letters. What the dump garbled itself stays so."""
    text = " ".join(html.unescape(text).split())
    return "" if text in NOTHING else text


def isbn(text: str) -> str:
    """A book's number; the dump writes a final x in both cases."""
    return clean(text).upper()


def whole(text: str, least: int, most: int) -> int | None:
    """A whole number in a range, None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and least <= int(text) <= most else None


def ratings(
    file: RawFile, lines: Iterable[Sequence[str]], all_rows: bool, left_out: Counter[str]
) -> Iterator[Sequence[str]]:
    """User, book and rating.

    Raises:
        UserError: a rating is no whole number from 0 to 10.
    """
    seen = set()
    for user, book, rating in lines:
        if whole(rating, 0, 10) is None:
            raise file.fault(f"has the rating '{rating}', not 0 to 10; unpack it anew")
        if rating == "0" and not all_rows:
            left_out[UNRATED] += 1
            continue
        user, book = clean(user), isbn(book)
        pair = f"{user}\t{book}"
        if pair in seen:
            left_out[TWICE] += 1
            continue
        seen.add(pair)
        yield user, book, rating


def users(lines: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """User, country, region, and the decade of the age."""
    for user, location, age in lines:
        places = [clean(part) for part in location.split(",")]
        known = whole(age, YOUNGEST, OLDEST)
        group = "" if known is None else str(known // 10 * 10)
        yield clean(user), places[-1], places[-2] if len(places) > 1 else "", group


def books(lines: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Book, author, year, publisher, and the words of the title."""
    for book, title, author, year, publisher, *_ in lines:
        known = whole(year, FIRST_YEAR, LAST_YEAR)
        year = "" if known is None else str(known)
        yield isbn(book), clean(author).lower(), year, clean(publisher), clean(title)


def tables(source: Source, options: Mapping[str, Any]) -> Iterator[Table]:
    def read(name: str, columns: tuple[str, ...]) -> tuple[RawFile, Iterator[list[str]]]:
        file = source.file(name, encoding="latin-1")
        form = {"delimiter": ";", "escapechar": "\\", "doublequote": False}
        return file, file.rows(columns, "unpack BX-CSV-Dump.zip anew", **form)

    left_out: Counter[str] = Counter()
    file, lines = read("BX-Book-Ratings.csv", RATINGS)
    rated = ratings(file, lines, options["rows"] == "all", left_out)
    yield Table("inter", "user_id:token item_id:token rating:float", rated, left_out)
    _, lines = read("BX-Users.csv", USERS)
    header = "user_id:token country:token region:token age_group:token"
    yield Table("user", header, users(lines), Counter())
    _, lines = read("BX-Books.csv", BOOKS)
    header = "item_id:token author:token release_year:token publisher:token book_title:token_seq"
    yield Table("item", header, books(lines), Counter())


def label(options: Mapping[str, Any]) -> Label:
    """A rating from ``positive`` on; rows without a rating, which are 0, are never clicks."""
    rows = "all rows, those without a rating are no clicks"
    rows = rows if options["rows"] == "all" else "rated rows only"
    return Label("rating", options["positive"], f"a rating of {options['positive']} to 10; {rows}")


CONVERTER = Converter(
    name="book-crossing",
    title="Book-Crossing",
    source="the unpacked folder of BX-CSV-Dump.zip, or BX-CSV-Dump.zip itself",
    origin="C.-N. Ziegler, University of Freiburg (the page is gone; copies of the archive exist)",
    terms="research use with citation of Ziegler et al., WWW 2005",
    size="1,149,780 rows of 278,858 users, 433,671 of them with a rating",
    tables=tables,
    label=label,
    options=(
        Option(
            "rows", "rated", choice("rated", "all"),
            "rated: rows with a rating of 1 to 10; all: also those without one, as 0",
        ),
        Option(
            "positive", "8", number(int, 1, 10),
            "from this rating on a row is a click; with another value than 8 every run needs the "
            "printed --threshold",
        ),
    ),
)  # fmt: skip
