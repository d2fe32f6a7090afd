"""Carries a method's tensors to one that is built for another data set: rows by their tokens.

A row of a table that has one per token goes where its token is there; rows of tokens that were not
there before keep what they are. Padding stays padding. Tensors without such rows are copied where
their shapes are equal.
Shape letters: n old tokens, m new tokens, r rows of a tensor.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.model._token_rows import TokenRows, rows_by_token, without_owner

Array = np.ndarray


class Held(NamedTuple):
    """A method's tensors, and whose rows are in them.

    Attributes:
        state: the state dict.
        tokens: the token of each code by field, padding first; whatever ``pyarrow.array`` takes.
        rows: of each tensor with rows by token, whose they are.
        unowned: tensors with rows of which nothing says whose they are; they are never copied.
    """

    state: Mapping[str, Tensor]
    tokens: Mapping[str, Any]
    rows: Mapping[str, tuple[TokenRows, ...]]
    unowned: Collection[str] = ()

    @classmethod
    def by(cls, method: ColdStartRecommender, dataset: Any) -> "Held":
        """What a method that was built on ``dataset`` holds."""
        rows = rows_by_token(method)
        fields = dict.fromkeys(part.field for parts in rows.values() for part in parts)
        tokens = {name: dataset.field2id_token[name] for name in fields}
        return cls(method.state_dict(), tokens, rows, without_owner(method))


@dataclass(frozen=True)
class Carried:
    """What came along.

    Attributes:
        state: a whole state for the new method: what was carried, and else its own tensors.
        found: field -> how many of its tokens were there before, and how many it has; padding is
            not counted.
        whole: the tensors that were copied as they are.
        rows: tensor -> how many of its rows were carried, padding rows included.
        left: tensor -> why nothing of it was carried.
    """

    state: dict[str, Tensor]
    found: dict[str, tuple[int, int]] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def places_of(old: Any, new: Any) -> Array:
    """The old code of each new token, -1 for one that was not there: int64 [m]. Padding is 0.

    Args:
        old, new: the token of each code, padding first.
    """
    before, now = (
        pa.array(each if isinstance(each, pa.Array) else list(each), pa.large_string())
        for each in (old, new)
    )
    at = np.full(len(now), -1, dtype=np.int64)
    found = pc.index_in(now[1:], value_set=before[1:])  # a token may be called as padding is
    at[1:] = found.fill_null(-2).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    at[0] = 0
    return at


def carry(
    old: Held,
    new: Held,
    *,
    taken: Collection[str] | None = None,
    trained: Mapping[str, Array] | None = None,
    fresh: Mapping[str, Array] | None = None,
) -> Carried:
    """Carry the tensors of ``old`` to the places that they have in ``new``; neither is changed.

    Args:
        taken: names of the tensors that are asked for; ``None``: all.
        trained: field -> which old codes have a row worth carrying, bool [n]; all without it.
        fresh: field -> new codes whose rows stay as they are in ``new``, int64.
    """
    trained, fresh = trained or {}, fresh or {}
    source = {}
    result = Carried({name: each.detach().clone() for name, each in new.state.items()})
    for name, tokens in new.tokens.items():
        if name not in old.tokens:
            result.found[name] = (0, len(tokens) - 1)
            continue
        at = places_of(old.tokens[name], tokens)
        if name in trained:
            at[1:] = np.where((at[1:] >= 0) & trained[name][at[1:]], at[1:], -1)
        at[np.asarray(fresh.get(name, ()), dtype=np.int64)] = -1
        result.found[name] = (int((at[1:] >= 0).sum()), len(at) - 1)
        source[name] = at
    for name in new.state:
        if taken is not None and name not in taken:
            result.left[name] = "it was not asked for"
        elif name not in old.state:
            result.left[name] = "there was none"
        elif name in new.rows and not new.rows[name]:
            result.left[name] = "it holds numbers of the data's rows"
        elif name in new.unowned or name in old.unowned:
            result.left[name] = "nothing says whose rows are in it"
        elif (name in old.rows) != (name in new.rows):
            result.left[name] = "only one of the two has rows by token"
        elif name in new.rows:
            _carry_rows(name, old, new, source, result)
        elif old.state[name].shape != new.state[name].shape:
            result.left[name] = (
                f"its shape was {list(old.state[name].shape)} and is {list(new.state[name].shape)}"
            )
        else:
            result.state[name].copy_(old.state[name])
            result.whole.append(name)
    return result


def _carry_rows(
    name: str, old: Held, new: Held, source: Mapping[str, Array], result: Carried
) -> None:
    """Put the rows of a tensor that are in both where they belong."""
    axis = new.rows[name][0].axis
    before = old.state[name].movedim(old.rows[name][0].axis, 0)
    now = result.state[name].movedim(axis, 0)  # a view: what is put there is in the state
    if before.shape[1:] != now.shape[1:]:
        result.left[name] = (
            f"its rows had the shape {list(before.shape[1:])} and have {list(now.shape[1:])}"
        )
        return
    places = rows_by_code(old, name)
    start = 0
    number = 0
    for part in new.rows[name]:
        size = _size(new, part)
        if part.field in places and part.field in source:
            codes = np.arange(size) if part.codes is None else part.codes.cpu().numpy()
            at = source[part.field][codes]
            row = np.where(at >= 0, places[part.field][at], -1)
            put = np.flatnonzero(row >= 0)
            here = torch.from_numpy(put + start).to(now.device)
            there = torch.from_numpy(row[put]).to(before.device)
            now[here] = before[there].to(now.device, now.dtype)
            number += len(put)
        start += size
    result.rows[name] = number


def _size(held: Held, part: TokenRows) -> int:
    return len(held.tokens[part.field]) if part.codes is None else len(part.codes)


def rows_by_code(held: Held, name: str) -> dict[str, Array]:
    """Of each field of a tensor, the row of each code, -1 where it has none: int64 [n]."""
    found, start = {}, 0
    for part in held.rows[name]:
        size = _size(held, part)
        row = np.full(len(held.tokens[part.field]), -1, dtype=np.int64)
        codes = slice(None) if part.codes is None else part.codes.cpu().numpy()
        row[codes] = np.arange(start, start + size)
        found[part.field] = row
        start += size
    return found
