"""A share of the users with all their rows: the options that every large data set takes alike."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from recbole_cold.converters._converting import Option, number

NOT_DRAWN = "of users who are not drawn (--sample_users)"
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
