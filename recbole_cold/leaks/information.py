"""L8: a feature that tells the label as nothing known before the click could.

Mutual information of a feature with the label, by counts, less what as many values tell by chance.
A feature of items is dealt out anew among items for that, rows staying with their item: what a
feature tells only because items differ, and a feature of as many values as there are items tells
all of it, is so no merit of the feature. Features of users likewise; what varies within both is
dealt out among rows.
Shape letters: e entities (items, users or rows), s symbols, w width.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from recbole.utils import FeatureType

from recbole_cold.distinct import codes_in
from recbole_cold.leaks.finding import LEAK, OK, Finding, not_applicable, share
from recbole_cold.leaks.subject import Array, Subject

# A leak tells so many times what the next feature tells ...
TIMES = 10.0
# ... and this share of the label at least: among features that tell next to nothing, one tells ten
# times as much as the others by chance.
LEAST = 0.1
# No feature known before the click tells this share of the label, whatever others tell.
MOST = 0.5

_BINS, _IN_A_BIN = 32, 6
_DRAWS = 5
# A token of a row that has fewer rows than this on average is an id.
_ROWS_OF_A_TOKEN = 20


class Entities(NamedTuple):
    """What features belong to: rows [e] of each, and clicks [e] among them."""

    rows: Array
    clicks: Array


def find(subject: Subject) -> Finding:
    """The features that models read, by how much of the label each tells."""
    rows = np.concatenate(list(subject.split.parts.values()))
    labels = subject.labels[rows].astype(np.float64)
    whole = float(entropy(labels.mean()))
    if not whole > 0:
        return not_applicable("all labels are equal")
    told = {}
    left_out = []
    for field, column, kind, entity in _features(subject, rows):
        entities = of_rows(entity, labels, len(column))
        present = entities.rows > 0
        values = np.asarray(column)[present]
        entities = Entities(entities.rows[present], entities.clicks[present])
        if field not in subject.data.user_table | subject.data.item_table and is_id(values, kind):
            left_out.append(field)
            continue
        told[field] = corrected(values, kind, entities, subject.seed) / whole
    if not told:
        return not_applicable("no feature that a model reads")
    order = sorted(told, key=lambda field: -told[field])
    beside = f"; left out as ids: {', '.join(left_out)}" if left_out else ""
    out = outstanding(told)
    rest = [field for field in order if field not in out][:3]
    shares = {field: f"{field} {share(max(told[field], 0.0))}" for field in order}
    if out:
        next_one = f"; the next one tells {shares[rest[0]]}" if rest else ""
        return Finding(
            LEAK,
            f"of what there is to know of the label tells {', '.join(shares[f] for f in out)}"
            f"{next_one}: known only after the click?{beside}",
            told[out[0]],
        )
    return Finding(
        OK,
        "of what there is to know of the label no feature tells far more than others: "
        f"{', '.join(shares[field] for field in rest)}{beside}",
        told[order[0]],
    )


def outstanding(told: dict[str, float]) -> list[str]:
    """The features that tell ``TIMES`` what all others tell, and ``LEAST``; or ``MOST`` alone.

    Several that leak the same are outstanding together.

    Args:
        told: share of the label's entropy by feature.
    """
    order = sorted(told, key=lambda field: -told[field])
    found = sum(told[field] > MOST for field in order)
    for number, (field, after) in enumerate(pairwise(order), 1):
        if told[field] > LEAST and told[field] > TIMES * told[after]:
            found = max(found, number)
    return order[:found]


def _features(subject: Subject, rows: Array) -> Iterator[tuple[str, Array, FeatureType, Array]]:
    """Field, its values by entity, its kind, and the entity of each row."""
    data, kinds = subject.data, subject.data.field2type
    user, item = (np.asarray(data.inter[f])[rows] for f in (data.uid_field, data.iid_field))
    for table, entity in ((data.user_table, user), (data.item_table, item)):
        for field, column in table.items():
            yield field, column, kinds[field], entity
    apart = {data.uid_field, data.iid_field, data.label_field}
    for field in data.rows.columns:
        if field in apart:
            continue
        column = np.asarray(data.inter[field])[rows]
        for entity in (item, user):
            by_entity = constant_within(column, entity)
            if by_entity is not None:
                yield field, by_entity, kinds[field], entity
                break
        else:
            yield field, column, kinds[field], np.arange(len(rows))


def constant_within(column: Array, entity: Array) -> Array | None:
    """The values of a column by entity, if all rows of each have the same; else None."""
    first = np.zeros((int(entity.max(initial=0)) + 1, *column.shape[1:]), column.dtype)
    first[entity[::-1]] = column[::-1]
    same = first[entity] == column
    return first if bool(same.all()) else None


def is_id(values: Array, kind: FeatureType) -> bool:
    """Whether a column of rows has so many different tokens that it names single things."""
    if kind != FeatureType.TOKEN:
        return False
    return len(values) < _ROWS_OF_A_TOKEN * len(codes_in(values))


def of_rows(entity: Array, labels: Array, size: int) -> Entities:
    """Rows and clicks of each entity."""
    rows = np.bincount(entity, minlength=size).astype(np.float64)
    return Entities(rows, np.bincount(entity, labels, size))


def corrected(values: Array, kind: FeatureType, entities: Entities, seed: int) -> float:
    """Nats that ``values`` tell of the label, less the mean of dealing them out anew."""
    tells = _TELLS[kind](values)
    draws = np.random.default_rng(seed)
    orders = [draws.permutation(len(values)) for _ in range(_DRAWS)]
    chance = [tells(Entities(entities.rows[o], entities.clicks[o])) for o in orders]
    return float(tells(entities) - np.mean(chance))


Tells = Callable[[Entities], float]


def _symbols_tell(symbols: Array) -> Tells:
    size = int(symbols.max(initial=0)) + 1

    def tell(entities: Entities) -> float:
        rows, clicks = (np.bincount(symbols, part, size) for part in entities)
        return information(rows, clicks)

    return tell


def _tokens_tell(values: Array) -> Tells:
    return _symbols_tell(np.asarray(values, dtype=np.int64))


def _numbers_tell(values: Array) -> Tells:
    return _symbols_tell(binned(np.asarray(values, dtype=np.float64)))


def _sequences_tell(values: Array) -> Tells:
    """By the token whose presence tells most."""
    entity, token = np.nonzero(values)[0], values[values != 0].astype(np.int64)
    entity, token = np.unique(np.stack([entity, token]), axis=1)
    size = int(token.max(initial=0)) + 1

    def tell(entities: Entities) -> float:
        rows, clicks = (np.bincount(token, part[entity], size) for part in entities)
        with_it = np.stack([rows, entities.rows.sum() - rows])
        clicked = np.stack([clicks, entities.clicks.sum() - clicks])
        return float(information(with_it, clicked).max(initial=0.0))

    return tell


def _vectors_tell(values: Array) -> Tells:
    """By the coordinate that tells most."""
    each = [_numbers_tell(column) for column in np.asarray(values).T]
    return lambda entities: max(tell(entities) for tell in each)


_TELLS: dict[FeatureType, Callable[[Array], Tells]] = {
    FeatureType.TOKEN: _tokens_tell,
    FeatureType.FLOAT: _numbers_tell,
    FeatureType.TOKEN_SEQ: _sequences_tell,
    FeatureType.FLOAT_SEQ: _vectors_tell,
}


def binned(values: Array) -> Array:
    """Numbers [e] as symbols: each its own if there are few, else bins of equal mass; NaN apart.

    A bin holds some entities: one of a single entity would be its name.
    """
    there = ~np.isnan(values)
    known = np.unique(values[there])
    bins = min(_BINS, max(2, int(there.sum()) // _IN_A_BIN))
    if len(known) > bins:
        known = np.unique(np.quantile(values[there], np.linspace(0, 1, bins + 1)[1:-1]))
    return np.where(there, 1 + np.searchsorted(known, values, side="right"), 0)


def entropy(chance: Array | float) -> Array:
    """Of a label that is 1 with this chance, in nats."""
    p = np.asarray(chance, dtype=np.float64)
    inside = (p > 0) & (p < 1)
    q = np.where(inside, p, 0.5)
    return np.where(inside, -(q * np.log(q) + (1 - q) * np.log(1 - q)), 0.0)


def information(rows: Array, clicks: Array) -> Array:
    """Mutual information of symbols and labels in nats, from rows and clicks of each: [s, ...]."""
    total = rows.sum(axis=0)
    share_of_clicks = np.divide(clicks, rows, out=np.zeros_like(clicks), where=rows > 0)
    inside = (rows * entropy(share_of_clicks)).sum(axis=0) / total
    return entropy(clicks.sum(axis=0) / total) - inside
