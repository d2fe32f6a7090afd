"""The vector of an item that the run has never seen: the method's own cold answer.

Methods answer for the new items of their run. Features of another item take the place of those of a
new one while it is asked, and what the new one has seen is put aside. For cold users, read users.
Shape letters: k unseen items, m new items, d embedding size.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from recbole_cold import seeding
from recbole_cold.data.rows import Rows
from recbole_cold.errors import blaming
from recbole_cold.model._method import ColdStartRecommender

Features = Mapping[str, Tensor]


@torch.no_grad()
def cold_vectors(
    method: ColdStartRecommender,
    own: Features,
    values: Features,
    names: Sequence[str],
    seed: int,
) -> Tensor:
    """Vectors [k, d] of unseen items.

    Args:
        method: one with a cold answer; it is as before afterwards.
        own: the feature columns [n, ..] of the run's items.
        values: the same fields of the unseen items, [k, ..].
        names: their ids in the outside world.
        seed: of draws, where a method makes some.
    """
    number, room = len(next(iter(values.values()))), len(method.new_ids)
    state = seeding.layer_state(method.device)
    made = []
    try:
        for start in range(0, number, room):
            part = {field: column[start : start + room] for field, column in values.items()}
            seeding.seed_layers(seed, "unseen items", start, device=method.device)
            with _in_place_of_new(method, own, part), blaming(type(method), "cold_vectors()"):
                made.append(method.unseen_vectors(names[start : start + room]))
    finally:
        seeding.restore_layers(state, method.device)
    return torch.cat(made)


@contextmanager
def _in_place_of_new(
    method: ColdStartRecommender, own: Features, values: Features
) -> Iterator[None]:
    """Context: the first new items have the features ``values`` and have never been seen."""
    features = method.rows.features_of(method.id_field)
    served, untouched = dict(features), method.untouched() or []
    kept = [each.state[each.index].clone() for each in untouched]
    number = len(next(iter(values.values())))
    loggers = logging.getLogger("recbole_cold.model")
    level = loggers.level
    loggers.setLevel(logging.WARNING)  # what is said of new items is not said of these
    try:
        for field, column in own.items():
            features[field] = column.clone()
            if field in values:
                features[field][method.new_ids[:number]] = values[field].to(column.dtype)
        for each in untouched:
            each.state[each.index] = each.value
        method.feed_counts()
        yield
    finally:
        for each, before in zip(untouched, kept, strict=True):
            each.state[each.index] = before
        features.update(served)
        loggers.setLevel(level)


def count_of_unseen(method: ColdStartRecommender) -> Tensor:
    """What the popularity column holds for an item without rows."""
    low, high = method.count_range
    return ((0.0 - low) / (high - low).clamp(min=1.0)).clamp(0.0, 1.0)


def extended(rows: Rows, id_field: str, more: Features) -> None:
    """Add rows to the feature columns of one side, in place: methods hold the dictionary."""
    features = rows.features_of(id_field)
    for field, column in more.items():
        features[field] = torch.cat([features[field], column.to(features[field].dtype)])
