"""A share of the users with all their rows: the options that every large data set takes alike."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from recbole_cold.converters._converting import Option, number

NOT_DRAWN = "of users who are not drawn (--sample_users)"
UNSEEN = "of items without an interaction of a user who is drawn (--sample_users)"
SAMPLE = (
    Option(
        "sample_users", "1", number(float, 1e-6, 1),
        "this share of the users, with all their rows, drawn by a hash",
    ),
    Option("seed", "2020", number(int, 0, 2**63), "of that draw"),
)  # fmt: skip


def is_drawn(user: str, share: float, seed: int) -> bool:
    """Whether a user is among a share of them, by a hash of the user and the seed."""
    digest = hashlib.blake2b(f"{seed}/{user}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64


def draw(options: Mapping[str, Any]) -> Callable[[str], bool]:
    """What says of a user whether the options of ``SAMPLE`` keep his rows."""
    share, seed = options["sample_users"], options["seed"]
    if share == 1:
        return lambda user: True
    return lambda user: is_drawn(user, share, seed)


class Sample:
    """The users who are drawn, with their rows, and the items of these rows.

    A part has the features of its own users and items alone: every row of a feature file makes an
    id, and every id takes its place in a model's tables.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.keeps = draw(options)
        self._items = None if options["sample_users"] == 1 else set[str]()

    def interactions(self, rows: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
        """The rows of users who are kept as they are; their items are remembered."""
        return rows if self._items is None else self._remembered(rows, self._items)

    def users(
        self, rows: Iterable[Sequence[str]], left_out: Counter[str]
    ) -> Iterator[Sequence[str]]:
        """The features of users who are drawn."""
        return _those(self.keeps, rows, NOT_DRAWN, left_out)

    def items(
        self, rows: Iterable[Sequence[str]], left_out: Counter[str]
    ) -> Iterator[Sequence[str]]:
        """The features of items that were in the interactions, which have been read."""
        keeps = (lambda item: True) if self._items is None else self._items.__contains__
        return _those(keeps, rows, UNSEEN, left_out)

    @staticmethod
    def _remembered(rows: Iterator[Sequence[str]], items: set[str]) -> Iterator[Sequence[str]]:
        for row in rows:
            items.add(row[1])
            yield row


def _those(
    keeps: Callable[[str], bool], rows: Iterable[Sequence[str]], why: str, left_out: Counter[str]
) -> Iterator[Sequence[str]]:
    """The rows of ids that are kept; the others are counted."""
    for row in rows:
        if keeps(row[0]):
            yield row
        else:
            left_out[why] += 1
