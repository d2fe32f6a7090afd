"""A log of clicks with a known truth: who sees what is drawn, and the click by its chance.

``logit p = b + s_x u.v / sqrt(8) + s_v v_0 + s_u u_0 + effects of the row``. The vectors v of
items [8] and their biases v_0 are ``sqrt(a)`` times a sum over the item's features, plus
``sqrt(1 - a)`` times noise of its own; each sum and each noise has variance 1. So the share ``a``
of their variance can be learned from the features of other items, and the rest only from rows of
the item itself. Users alike. b is solved so that the mean chance is the wanted share of clicks.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from recbole_cold.errors import UserError
from recbole_cold.seeding import derive
from recbole_cold.testing.big._draws import uniform

WIDTH = 8
USERS_SIDE = 0.3  # the share that follows from features, for users
_SAMPLE = 1 << 18  # rows that the intercept is solved on: its error is below 0.3 % of the clicks


@dataclass(frozen=True)
class Shape:
    """Sizes and distributions of a data set.

    Args:
        rows, users, items: numbers of them.
        ctr: the mean chance of a click.
        sigma_users, sigma_items: standard deviations of the logarithms of their numbers of rows;
            None where these follow measured shares.
        side: the share of the variance of item vectors that follows from the items' features.
        crossed, item, user: standard deviations s_x, s_v, s_u in the logit.
        row_bytes: about as long is a line of the log.
    """

    rows: int
    users: int
    items: int
    ctr: float
    sigma_users: float
    sigma_items: float | None
    crossed: float
    item: float
    user: float
    row_bytes: int
    side: float = 0.7

    def scaled(self, scale: float, **changes: Any) -> "Shape":
        """Rows, users and items times ``scale``; then what ``changes`` says instead.

        Raises:
            UserError: one of ``changes`` is not to be had here.
        """
        if changes.get("sigma_items") is not None and self.sigma_items is None:
            raise UserError(
                "--sigma_items has no meaning here: the items have measured shares of the rows; "
                "leave it out"
            )
        sizes = {
            name: max(1, round(scale * getattr(self, name))) for name in ("rows", "users", "items")
        }
        return replace(self, **{**sizes, **changes})


class Side(NamedTuple):
    """A feature: codes from 0 or, of floats, a number, one per item; its share of the side part."""

    values: np.ndarray
    weight: float


def factors(n: int, side: Mapping[str, Side], share: float, seed: int) -> np.ndarray:
    """Vectors [n, WIDTH + 1], float32, each column of mean 0 and variance 1; the last is the bias.

    Args:
        side: the features by name; each has its own draws.
        share: of the variance that follows from them.
    """
    known = np.zeros((n, WIDTH + 1), dtype=np.float32)
    for name, (values, weight) in side.items():
        rng = np.random.default_rng(derive(seed, name))
        if values.dtype.kind == "f":
            part = np.outer(values, rng.standard_normal(WIDTH + 1)).astype(np.float32)
        else:
            table = rng.standard_normal((int(values.max()) + 1, WIDTH + 1), dtype=np.float32)
            part = table[values]
        known += np.float32(np.sqrt(weight)) * _standard(part)
    known = _standard(known)
    own = np.random.default_rng(derive(seed, "own"))
    known *= np.float32(np.sqrt(share))
    known += np.float32(np.sqrt(1 - share)) * _standard(
        own.standard_normal((n, WIDTH + 1), dtype=np.float32)
    )
    return known


def _standard(table: np.ndarray) -> np.ndarray:
    """The columns less their means, divided by their standard deviations where these are not 0."""
    table -= table.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.sqrt(np.mean(np.square(table), axis=0, dtype=np.float64))
    table /= np.where(scale > 0, scale, 1).astype(np.float32)
    return table


def difference_of(share: float, other: float) -> float:
    """What must be added to a logit so that a chance of ``other`` becomes ``share``."""
    return float(np.log(share / (1 - share)) - np.log(other / (1 - other)))


class Drawn(NamedTuple):
    """Rows of the log but for the click: codes of users and items, what the row itself adds to the
    logit, and the other columns."""

    user: np.ndarray
    item: np.ndarray
    effect: np.ndarray
    columns: dict[str, np.ndarray]


class Text(NamedTuple):
    """A file beside the log: its header ('' without one), and its columns as Arrow arrays."""

    name: str
    header: str
    columns: Sequence[Any]


class Log(ABC):
    """A data set; a subclass draws users, items and rows, and says how they are written.

    A subclass calls ``finish`` when it can draw rows.

    Args:
        shape: its sizes.
        seed: of all draws.
    """

    name: ClassVar[str]
    full: ClassVar[Shape]
    file: ClassVar[str]
    header: ClassVar[str]
    user_name: ClassVar[str] = "users"
    item_name: ClassVar[str] = "items"
    # (N, K): an item is old with more than N rows, new with 3K to N, as the papers divide it.
    paper_split: ClassVar[tuple[int, int] | None] = None
    assumed: ClassVar[tuple[str, ...]] = ()

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape, self.seed = shape, seed

    def key(self, *names: object) -> int:
        """The seed of one purpose."""
        return derive(self.seed, self.name, *names)

    def rng(self, *names: object) -> np.random.Generator:
        """The generator of one purpose."""
        return np.random.default_rng(self.key(*names))

    def part_of_items(self, number: int) -> int:
        """As many of the complete data's ``number`` as there are of its items, at least 1."""
        return min(self.shape.items, max(1, round(number * self.shape.items / self.full.items)))

    def finish(self, of_users: Mapping[str, Side], of_items: Mapping[str, Side]) -> None:
        """Draw the vectors from the features, and solve the intercept."""
        shape = self.shape
        self.user_factors = factors(shape.users, of_users, USERS_SIDE, self.key("user vectors"))
        self.item_factors = factors(shape.items, of_items, shape.side, self.key("item vectors"))
        self.intercept = 0.0
        sample = np.arange(0, shape.rows, max(1, shape.rows // _SAMPLE))
        logit = self.logit(self.draw(sample))
        self.intercept = brentq(lambda b: expit(logit + b).mean() - shape.ctr, -40, 40)

    @property
    @abstractmethod
    def item_counts(self) -> np.ndarray:
        """Rows of each item."""

    @abstractmethod
    def draw(self, rows: np.ndarray) -> Drawn:
        """The rows of these numbers; numbers are places in the file."""

    @abstractmethod
    def cells(self, rows: np.ndarray, drawn: Drawn, click: np.ndarray) -> list[Any]:
        """The columns of the log, as Arrow arrays."""

    @abstractmethod
    def side_files(self) -> Iterator[Text]:
        """The files beside the log."""

    def logit(self, drawn: Drawn) -> np.ndarray:
        """The logit of a click for each row, float64."""
        user, item = self.user_factors[drawn.user], self.item_factors[drawn.item]
        product = user[:, 0] * item[:, 0]
        # Term by term: a product of matrices sums in an order that depends on the rows beside.
        for k in range(1, WIDTH):
            product += user[:, k] * item[:, k]
        shape = self.shape
        return (
            self.intercept
            + shape.crossed / np.sqrt(WIDTH) * product.astype(np.float64)
            + shape.item * item[:, WIDTH].astype(np.float64)
            + shape.user * user[:, WIDTH]
            + drawn.effect
        )

    def chances(self, drawn: Drawn) -> np.ndarray:
        """The chance of a click for each row, float32: what the file of true chances has."""
        return expit(self.logit(drawn)).astype(np.float32)

    def clicks(self, rows: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """The click of each row, drawn by its chance."""
        return uniform(self.key("click"), rows) < chance
