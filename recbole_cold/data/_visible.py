"""What a run may read of its features: numbers scaled, and tokens masked, by the training rows.

May be seen: each old item once, each user with a row in ``train`` once, and the rows of ``train``
for what belongs to a row; with ``cold_side: user`` users and items change places. Values of new
items, of other users and of other rows move nothing, they are only read through what was fitted.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from recbole.utils import FeatureSource, FeatureType

from recbole_cold.data import numbers
from recbole_cold.data.numbers import AsRead, Scale
from recbole_cold.distinct import codes_at, codes_in

Array = np.ndarray

_TOKENS = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
# RecBole's data set as one table, made from columns that are exchanged here.
_MADE_OF_COLUMNS = ("inter_feat", "user_feat", "item_feat")


class Part(NamedTuple):
    """Rows of the interactions, or codes of users or items, that may be seen, and those to come.

    Others (rare items, say) are in neither.
    """

    seen: Array
    later: Array
    words: str  # what the later ones are


def parts_of(dataset: Any) -> dict[str, Part]:
    """The parts of ``inter``, ``user`` and ``item`` by the split of a view."""
    split = dataset.split
    train = split["train"]
    rest = [rows for name, rows in split.parts.items() if name != "train"]
    rest = np.concatenate([*rest, np.zeros(0, np.int64)])
    cold = split.cold_side
    other, field = ("user", dataset.uid_field) if cold == "item" else ("item", dataset.iid_field)
    partner = np.asarray(dataset.inter[field])
    known = np.flatnonzero(codes_at(partner, train, dataset.num(field))).astype(partner.dtype)
    later = np.setdiff1d(codes_in(partner[rest]), known, assume_unique=True)
    return {
        "inter": Part(train, rest, "rows outside of train"),
        cold: Part(split.old_ids, split.new_ids, f"new {cold}s"),
        other: Part(known, later, f"{other}s without a row in train"),
    }


def visible(dataset: Any, config: Any) -> Any:
    """The view of a run: ``dataset`` (split, with rows) as ``number_scale`` and ``unseen_tokens``
    ask for it. Other views of the same data keep their columns.
    """
    view, parts = dataset.view(), parts_of(dataset)
    for name in _MADE_OF_COLUMNS:
        vars(view).pop(name, None)
    notes = [*_scale_numbers(view, parts, config), *_mask_tokens(view, parts, config)]
    view.notes = [*dataset.notes, *notes]
    return view


def _exchange(view: Any, kind: str, field: str, column: Array) -> None:
    _table(view, kind)[field] = column
    view.rows.exchange(kind, field, column)


def _table(view: Any, kind: str) -> dict[str, Array]:
    return {"inter": view.inter, "user": view.user_table, "item": view.item_table}[kind]


# ------------------------------------------------------------------------------- numbers
def _scale_numbers(view: Any, parts: dict[str, Part], config: Any) -> Iterator[str]:
    """Scale the float fields; a sentence for each says what was done."""
    rule = config["number_scale"]
    columns = [(kind, f, c) for kind, table in view.raw.items() for f, c in table.items()]
    scales: dict[str, Scale | AsRead] = {}
    if view.time is not None and view.time_field in view.numbers:
        columns.append(("inter", view.time_field, view.time))
    for kind, field, values in columns:
        readers = _readers(view, kind, field)
        in_range = numbers.asks_for_range(config, field)
        if kind == "inter" and field not in view.numbers:
            done = "as in the files"
        elif rule == "recbole":
            in_range |= field == view.time_field
            scales[field] = numbers.fit_as_read(values, in_range)
            done = "scaled to 0..1 over all rows" if in_range else "as in the files, not scaled"
        else:
            part = parts[kind]
            scale = numbers.fit(values[part.seen], "minmax" if in_range else rule)
            scales[field] = scale
            _exchange(view, kind, field, scale.apply(values))
            done = _told(scale, values, part)
        yield f"number '{field}' ({kind}): {done}; {readers}"
    view.scales = scales


def _told(scale: Scale, values: Array, part: Part) -> str:
    if scale.rule == "unseen":
        return "no value that training may see, so it is 0 throughout"
    if scale.rule == "constant":
        return f"{_number(scale.low)} throughout training, so it is 0 throughout"
    done = {
        "standard": "standardised",
        "log": f"logarithm (of 1 + |x| / {_number(scale.unit)}), then standardised",
        "minmax": "scaled to 0..1",
    }[scale.rule]
    said = [f"{done} by the seen {_number(scale.low)} to {_number(scale.high)}"]
    later = values[part.later]
    gaps = int(np.isnan(values[part.seen]).sum() + np.isnan(later).sum())
    if gaps:
        said.append(f"{gaps:,} of {len(part.seen) + len(later):,} are missing and take the mean")
    clipped = int(scale.clipped(later).sum())
    if clipped:
        said.append(f"{clipped:,} of {len(later):,} {part.words} are beyond and clipped")
    return ", ".join(said)


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def _readers(view: Any, kind: str, field: str) -> str:
    """Who reads a float field."""
    if field in view.numbers:
        return "the backbone reads it"
    if kind == view.split.cold_side:
        return "methods read it, the backbone does not (numerical_features)"
    return "nothing reads it (numerical_features gives it to the backbone)"


# ------------------------------------------------------------------------------- tokens
def _mask_tokens(view: Any, parts: dict[str, Part], config: Any) -> Iterator[str]:
    """Note the tokens that no training row has and, under ``mask``, read them as missing."""
    mask = config["unseen_tokens"] == "mask"
    cold_id = view.iid_field if view.split.cold_side == "item" else view.uid_field
    trained, unseen = {}, {}
    for field, kind in view.field2type.items():
        if kind not in _TOKENS:
            continue
        if field == cold_id:
            trained[field] = np.zeros(view.num(field), dtype=bool)
            trained[field][view.split.old_ids] = True
            continue
        whose = _owner(view.field2source[field])
        column, part = np.asarray(_table(view, whose)[field]), parts[whose]
        has = codes_at(column, part.seen, view.num(field))
        unseen[field] = np.flatnonzero(~has)
        trained[field] = has.copy()
        trained[field][0] = False  # padding moves nothing
        is_id = field in (view.uid_field, view.iid_field)
        if mask and not is_id and len(unseen[field]):
            masked = np.where(has[column], column, 0).astype(column.dtype, copy=False)
            if not np.array_equal(masked, column):
                _exchange(view, whose, field, masked)
        yield from _told_unseen(field, column[part.later], has, part.words, mask, is_id)
    view.trained = trained
    if mask:
        view.unseen = unseen


def _told_unseen(
    field: str, codes: Array, has: Array, words: str, mask: bool, is_id: bool
) -> list[str]:
    """A sentence on the tokens of later rows or items [n, ...] that no training row has."""
    new = (codes != 0) & ~has[codes]
    if not new.any():
        return []
    found, all_of_them = len(codes_in(codes[new])), len(codes_in(codes[codes != 0]))
    if is_id:
        said = f"{found:,} of {all_of_them:,} tokens of '{field}' outside of train are not in it"
        how = "their rows of every table are zero"
    else:
        touched = int(new.reshape(len(new), -1).any(axis=1).sum())
        said = (
            f"{found:,} of {all_of_them:,} tokens of '{field}' in {words} occur in no training "
            f"row, in {touched:,} of {len(codes):,}"
        )
        how = "they are read as missing"
    untrained = "they are read as drawn, untrained (unseen_tokens: draw)"
    return [f"{said}; {how if mask else untrained}"]


def _owner(source: FeatureSource) -> str:
    """Whose column holds a field: both ids are columns of the interactions."""
    return {FeatureSource.USER: "user", FeatureSource.ITEM: "item"}.get(source, "inter")
