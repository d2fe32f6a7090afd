"""Rows on which an exported scorer must agree with its model: drawn ones, and unseen values.

A kept model has no interactions, so rows are drawn from its items, users and tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from recbole.utils import FeatureType
from torch import Tensor

from recbole_cold import seeding
from recbole_cold.experiment.model_folder import LISTED, WITH_VECTORS
from recbole_cold.serving.encoding import MEAN
from recbole_cold.serving.fitted import Fitted

EACH = 16  # rows of every kind of unseen value

_NOBODY = "\0nobody"  # an id or a token that no data set has


@dataclass
class Checked:
    """Rows, encoded as ``Fitted.scored`` takes them.

    Attributes:
        columns: field -> codes or numbers of all rows.
        counts: kind of rows -> how many.
        unknown_tokens: field of sequences -> rows whose second token is an unknown one. A model
            leaves it out while it encodes, a scorer while it scores.
    """

    columns: dict[str, Tensor]
    counts: dict[str, int] = field(default_factory=dict)
    unknown_tokens: dict[str, Tensor] = field(default_factory=dict)


def rows_to_check(fitted: Fitted, number: int, bake: bool) -> Checked:
    """``number`` rows of what the model knows, and ``EACH`` of every kind that it does not.

    Args:
        fitted: gets some items and users that nobody has.
        bake: whether the scorer has no vectors but those of the run's items.
    """
    drawing = _Drawing(fitted)
    if bake:  # one vector answers every ID that is not inside
        fitted.policies[fitted.method.id_field] = MEAN
    parts = [("drawn", drawing.rows(number), "")]
    parts += list(drawing.unseen())
    columns = {
        name: torch.cat([fitted.tensor(rows[name]) for _, rows, _ in parts]) for name in parts[0][1]
    }
    found = Checked(columns, {kind: len(next(iter(rows.values()))) for kind, rows, _ in parts})
    begin = 0
    for _, rows, sequence in parts:
        end = begin + len(next(iter(rows.values())))
        if sequence:
            found.unknown_tokens[sequence] = torch.arange(begin, end)
        begin = end
    return found


class _Drawing:
    """Draws encoded rows of a model's own items, users and tokens."""

    def __init__(self, fitted: Fitted) -> None:
        self.fitted, self.dataset = fitted, fitted.dataset
        seed = seeding.derive(int(fitted.about["seed"]), "rows of an export")
        self.draw = np.random.default_rng(seed)
        self.cold = self.dataset.split.cold_side
        self.made = 0  # items and users that nobody has
        self.sides = {side: self.dataset.id_field_of(side) for side in ("item", "user")}

    def rows(self, number: int) -> dict[str, np.ndarray]:
        """Rows of known values, by field."""
        found = {}
        for side, name in self.sides.items():
            known = np.arange(1, self.dataset.num(name))
            if side == self.cold:
                known = np.flatnonzero(np.isin(self.dataset.status[side], WITH_VECTORS))
            found[name] = self.draw.choice(known, number)
        return found | {name: self._context(name, number) for name in self.fitted.context}

    def _context(self, name: str, number: int) -> np.ndarray:
        """Values of a field of interactions."""
        spec = self.dataset.spec[name]
        if not spec["tokens"]:
            scale = self.dataset.scales[name]
            ends = np.nan_to_num([scale.low, scale.high], nan=scale.mean)
            return scale.apply(self.draw.uniform(*ends, number))
        codes = np.r_[0, np.flatnonzero(self.dataset.trained[name])]
        if spec["type"] == FeatureType.TOKEN.value:
            return self.draw.choice(codes, number)
        found = self.draw.choice(codes, (number, spec["length"]))
        length = self.draw.integers(0, spec["length"] + 1, (number, 1))
        return np.where(np.arange(spec["length"]) < length, found, 0)

    # ---------------------------------------------------------------- what the run has never seen
    def unseen(self) -> Iterator[tuple[str, dict[str, np.ndarray], str]]:
        """Kind, rows, and the field of sequences that have an unknown token."""
        listed = np.flatnonzero(self.dataset.status[self.cold] == LISTED)[
            1:
        ]  # padding is the first
        if len(listed):
            name = self.sides[self.cold]
            yield f"{name}: without rows", self._with(name, self.draw.choice(listed, EACH)), ""
        for side, name in self.sides.items():
            bare = np.full(EACH, self.dataset.num(name))
            yield f"{name}: unknown", self._with(name, bare), ""
            policy = self.fitted.policies[name]
            yield f"{name}: {policy}, with features", self._with(name, self._others(side)), ""
        for name, spec in self.dataset.spec.items():
            if not spec["tokens"] or name not in self.fitted.policies or name in self._ids():
                continue
            sequence = spec["type"] == FeatureType.TOKEN_SEQ.value
            if sequence and (spec["length"] < 2 or not self.dataset.trained[name].any()):
                continue  # an unknown token has no place beside a known one
            rows = self._with_unknown(name, sequence)
            yield f"{name}: unknown token", rows, name if sequence else ""

    def _ids(self) -> tuple[str, ...]:
        return tuple(self.sides.values())

    def _with(self, name: str, column: np.ndarray) -> dict[str, np.ndarray]:
        return {**self.rows(EACH), name: column}

    def _with_unknown(self, name: str, sequence: bool) -> dict[str, np.ndarray]:
        """Rows with an unknown token; in a sequence it is the second one, behind a known one."""
        side = self.dataset.spec[name]["side"]
        known = self.fitted.encoder.known(name)
        value: Any = _NOBODY
        if sequence:
            value = [str(known[int(self.dataset.trained[name].argmax()) - 1]), _NOBODY]
        kind = pa.list_(pa.large_string()) if sequence else pa.large_string()
        column = pa.array([value] * EACH, kind)
        if side == "inter":
            return self._with(name, self.fitted.encoder.column(name, column))
        return self._with(self.sides[side], self._others(side, {name: column}))

    def _others(self, side: str, instead: dict[str, pa.Array] | None = None) -> np.ndarray:
        """Places of new items (users) with the features of some that the run has."""
        name = self.sides[side]
        table = self.fitted.kept.table(side)
        table = table.take(self.draw.integers(1, len(table), EACH))
        ids = pa.array([f"{_NOBODY} {self.made + at}" for at in range(EACH)], pa.large_string())
        self.made += EACH
        for field_name, column in {name: ids, **(instead or {})}.items():
            table = table.set_column(table.column_names.index(field_name), field_name, column)
        self.fitted.add(side, table)
        return self.fitted.places(side, ids)
