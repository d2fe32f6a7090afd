"""L9: a history must have nothing in it that happened later, or that is hidden.

A history is a sequence of items (of users) that the row's user (item) has rows with. Which fields
are histories is read off the data: most of what they hold must be such rows. A list of genres that
are numbered like items is none.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from recbole.utils import FeatureType

from recbole_cold.data._vocabulary import Vocabulary
from recbole_cold.distinct import runs_of
from recbole_cold.leaks.finding import LEAK, OK, Finding, counted, not_applicable
from recbole_cold.leaks.subject import Array, Subject

# A field is a history if so much of it are rows of the log.
_MOST = 0.5
# Rows that are looked at; of more, so many are drawn.
_ROWS = 200_000
_CHUNK = 20_000


class Sequence(NamedTuple):
    """A field whose tokens may be items of the row's user, or users of the row's item.

    Attributes:
        field: its name.
        holder, element: the id fields: whose history it is, and what it is of.
        column: its tokens [.., w], by row or by holder.
        by_row: which of the two.
        ids: the code of ``element`` with the text of each token, 0 where there is none.
    """

    field: str
    holder: str
    element: str
    column: Array
    by_row: bool
    ids: Array


class Counts(NamedTuple):
    """Elements of histories: tokens in all, rows of the log among them, and what is wrong.

    Attributes:
        later: elements that are later than their row, or the row itself.
        hidden: of the others, rows that stand in parts other than ``train`` only.
    """

    tokens: int
    elements: int
    later: int
    hidden: int


def find(subject: Subject) -> Finding:
    """Elements of histories that are later than their row, or rows outside of ``train``."""
    rows = np.sort(np.concatenate(list(subject.split.parts.values())))
    if len(rows) > _ROWS:
        rows = np.sort(np.random.default_rng(subject.seed).choice(rows, _ROWS, replace=False))
    found = {}
    for sequence in _sequences(subject):
        counts = count(subject, sequence, rows)
        if counts.elements > _MOST * counts.tokens:
            found[sequence.field] = counts
    if not found:
        return not_applicable("no field holds a history")
    later, hidden = (sum(getattr(c, name) for c in found.values()) for name in ("later", "hidden"))
    total = sum(counts.elements for counts in found.values())
    names = ", ".join(found)
    without = "" if subject.time is not None else " (no timestamp: only the row itself is later)"
    said = f"of {counted(total, 'element')} of {names} in {len(rows):,} rows"
    if later or hidden:
        return Finding(
            LEAK,
            f"{said} {later:,} are later than their row, or the row itself{without}, and "
            f"{hidden:,} are rows outside of train",
            float(later + hidden),
        )
    return Finding(
        OK, f"{said} none is later than its row{without}, or a row outside of train", 0.0
    )


def count(subject: Subject, sequence: Sequence, rows: Array) -> Counts:
    """What the elements of a history in ``rows`` are, by the earliest row of the two that meet."""
    loaded = subject.loaded
    n = max(loaded.user_num, loaded.item_num)
    holder, element = (
        np.asarray(loaded.inter[name]).astype(np.int64)
        for name in (sequence.holder, sequence.element)
    )
    key = holder * n + element
    time = np.zeros(len(key)) if subject.time is None else subject.time
    order = np.lexsort((time, key))
    known, at, _ = runs_of(key[order])
    first = time[order][at]
    in_train, in_part = np.zeros((2, len(key)), dtype=bool)
    in_train[subject.split["train"]] = True
    in_part[np.concatenate(list(subject.split.parts.values()))] = True
    hidden = np.logical_or.reduceat(in_part[order], at)
    hidden &= ~np.logical_or.reduceat(in_train[order], at)
    found = np.zeros(4, dtype=np.int64)
    for part in np.array_split(rows, -(-len(rows) // _CHUNK)):
        tokens = np.asarray(sequence.column[part if sequence.by_row else holder[part]])
        ids = sequence.ids[tokens]
        wanted = holder[part][:, None] * n + ids
        place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        meets = (known[place] == wanted) & (ids != 0)
        now = time[part][:, None]
        later = first[place] > now
        # The row itself, where there is no earlier one of the same two.
        later |= (ids == element[part][:, None]) & (first[place] >= now)
        kinds = (tokens != 0, meets, meets & later, meets & ~later & hidden[place])
        found += [int(kind.sum()) for kind in kinds]
    return Counts(*found.tolist())


def _sequences(subject: Subject) -> Iterator[Sequence]:
    """The sequences of tokens that are ids at all."""
    loaded = subject.loaded
    user, item = loaded.uid_field, loaded.iid_field
    for holder, element, table in (
        (user, item, loaded.user_table),
        (item, user, loaded.item_table),
    ):
        for source in (loaded.inter, table):
            for field, column in source.items():
                if loaded.field2type[field] != FeatureType.TOKEN_SEQ:
                    continue
                ids = as_ids(loaded.field2id_token[field], loaded.field2id_token[element])
                if ids.any():
                    by_row = source is loaded.inter
                    yield Sequence(field, holder, element, column, by_row, ids)


def as_ids(tokens: Array | Vocabulary, id_tokens: Array | Vocabulary) -> Array:
    """The code of the id with each token's text, 0 where there is none; both begin with padding."""
    code_of = {token: code for code, token in enumerate(id_tokens.tolist()) if code}
    return np.array([0, *(code_of.get(token, 0) for token in tokens.tolist()[1:])], dtype=np.int64)
