"""A graph of the old items that share most attribute values with an item.

``score(i, j)`` is the number of attribute values that i and j share; the neighbours of i are the n
old items with the highest positive score, i itself left out; at equal scores the item with more
rows comes first, then the lower id.

Everything is sparse matrix products in chunks of bounded size. A plain product ``A A^T`` looks at
all pairs that share a value, which for a value that half the catalogue has is a quadratic number.
So values are divided by the length of their lists of old items:

* rare ones are multiplied out, as many as a number of pairs linear in the items allows;
* of popular ones, every *set* of them that an item has is a key, and of a key's list only the first
  n + 1 (by rows, then id) are candidates. Nobody else can be among the n best: if j shares no rare
  value with i and exactly the popular set T, all who come before j in the list of T share T too,
  so they score at least as high and win the tie.

Scores of candidates are exact. Only an item with more popular values than ``_MOST_POPULAR`` may
miss a candidate: sets of two and more are made of its rarest ones.
Shape letters: n all items, o old items by rank, v attribute values, k neighbours.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

# Pairs that the product of rare values may make, in all and per item.
_PAIRS, _PAIRS_PER_ITEM = 20_000_000, 100
_CHUNK_PAIRS = 250_000  # pairs at a time: bounds the memory, and stays in the cache
_MOST_POPULAR = 6  # popular values of an item that are combined: at most 63 sets
_SCORES = 2047  # the highest score that is told from a higher one


class Neighbours(NamedTuple):
    """Neighbours of every item, best first: ids [n, k] and which of them are real."""

    index_nk: np.ndarray
    mask_nk: np.ndarray


def attribute_matrix(columns: Sequence[np.ndarray], n_items: int) -> sparse.csr_array:
    """Which item has which attribute value, as ones in a matrix [n, v].

    Args:
        columns: token codes [n] or token sequences [n, length] of all items; 0 is no value. Equal
            codes of different columns are different values.
        n_items: how many items there are, for a catalogue without columns.
    """
    places, values, start = [], [], 0
    for column in columns:
        codes = column.reshape(len(column), -1)
        place, position = np.nonzero(codes)
        places.append(place.astype(np.int32))
        values.append((codes[place, position] + start).astype(np.int32))
        start += int(codes.max(initial=0)) + 1
    place = np.concatenate([*places, np.zeros(0, np.int32)])
    value = np.concatenate([*values, np.zeros(0, np.int32)])
    ones = np.ones(len(place), np.int8)
    matrix = sparse.coo_array((ones, (place, value)), shape=(n_items, max(start, 1))).tocsr()
    matrix.sum_duplicates()
    matrix.data[:] = 1  # a word that a title has twice is shared once
    return matrix


def neighbours(
    has_nv: sparse.csr_array,
    old_ids: np.ndarray,
    rows_n: np.ndarray,
    size: int,
    ids: np.ndarray | None = None,
    max_share: float = 1.0,
) -> Neighbours:
    """The ``size`` best old neighbours of each item.

    Args:
        has_nv: ones where an item has an attribute value.
        old_ids: who may be a neighbour.
        rows_n: rows of each item; more rows win at equal scores.
        size: neighbours per item.
        ids: whose neighbours are wanted; the others get none. ``None``: everybody's.
        max_share: values that a larger share of old items has do not count.
    """
    n_items = has_nv.shape[0]
    ids = np.arange(n_items) if ids is None else np.unique(ids)
    ranked = old_ids[np.lexsort((old_ids, -rows_n[old_ids]))]
    old_ov, asked_av = has_nv[ranked], has_nv[ids]
    length_v = np.bincount(old_ov.indices, minlength=has_nv.shape[1])
    direct, popular = _divided(asked_av, length_v, max_share * len(ranked))
    pairs = _Pairs(asked_av, old_ov, direct, popular, size)
    index = np.zeros((n_items, size), np.int32)
    mask = np.zeros((n_items, size), bool)
    for part in pairs.chunks():
        row, rank, score = pairs.scored(part)
        other = ranked[rank] != ids[part][row]
        row, rank = _best(row[other], rank[other], score[other], size)
        place = _position(row)
        index[ids[part][row], place] = ranked[rank]
        mask[ids[part][row], place] = True
    return Neighbours(index, mask)


def _divided(
    asked_av: sparse.csr_array, length_v: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values that are multiplied out, and popular ones, rarest first; others do not count."""
    asked_v = np.bincount(asked_av.indices, minlength=len(length_v))
    by_length = np.argsort(length_v, kind="stable")
    by_length = by_length[(length_v[by_length] > 0) & (length_v[by_length] <= longest)]
    made = np.cumsum(asked_v[by_length] * length_v[by_length].astype(np.int64))
    allowed = max(_PAIRS, _PAIRS_PER_ITEM * asked_av.shape[0])
    many = int(np.searchsorted(made, allowed, side="right"))
    return by_length[:many], by_length[many:]


class _Pairs:
    """Pairs of asked items and old items of which every pair of neighbours is one."""

    def __init__(
        self,
        asked_av: sparse.csr_array,
        old_ov: sparse.csr_array,
        direct: np.ndarray,
        popular: np.ndarray,
        size: int,
    ) -> None:
        self.asked_av = asked_av[:, direct].astype(np.int32)
        self.old_vo = old_ov[:, direct].astype(np.int32).T.tocsr()
        self.has_popular = len(popular) > 0
        cost = self.asked_av @ np.diff(self.old_vo.indptr)
        if self.has_popular:
            self.popular_ap = _sorted(asked_av[:, popular])
            self.popular_op = _sorted(old_ov[:, popular])
            self.keys_ax, self.first_xo = _keys(self.popular_ap, self.popular_op, size + 1)
            cost = cost + self.keys_ax @ np.diff(self.first_xo.indptr)
        self.made = np.cumsum(cost, dtype=np.int64)

    def chunks(self) -> Iterator[slice]:
        """Stretches of asked items with at most ``_CHUNK_PAIRS`` pairs, or a single item."""
        start, before = 0, 0
        while start < len(self.made):
            end = int(np.searchsorted(self.made, before + _CHUNK_PAIRS, side="right"))
            # The number within the chunk is part of a sort key of 20 bits.
            end = min(max(end, start + 1), start + (1 << 20))
            yield slice(start, end)
            start, before = end, int(self.made[end - 1])

    def scored(self, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of a chunk: number within it, rank of the old item, values shared."""
        shared = self.asked_av[part] @ self.old_vo
        if self.has_popular:
            found = self.keys_ax[part] @ self.first_xo
            found.data[:] = 1
            shared.data <<= 1  # the last bit keeps pairs that share no rare value
            shared = shared + found
        row = _row_of(shared)
        rank, score = shared.indices.astype(np.int64), shared.data
        if self.has_popular:
            both = self.popular_ap[part][row].multiply(self.popular_op[rank])
            score = (score >> 1) + np.diff(both.tocsr().indptr)
        return row, rank, score


def _position(group: np.ndarray) -> np.ndarray:
    """How many equal numbers stand before each number of an ascending array."""
    place = np.arange(len(group))
    begins = np.concatenate([[True], group[1:] != group[:-1]])[: len(group)]
    return place - np.maximum.accumulate(np.where(begins, place, 0))


def _sorted(matrix: sparse.csr_array) -> sparse.csr_array:
    matrix.sort_indices()
    return matrix


def _best(
    row: np.ndarray, rank: np.ndarray, score: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the ``size`` pairs with the highest score, the lower rank first at a tie."""
    low = _SCORES - np.minimum(score, _SCORES).astype(np.int64)
    key = np.sort((row.astype(np.int64) << 43) | (low << 32) | rank)
    row = key >> 43
    best = _position(row) < size
    return row[best], key[best] & ((1 << 32) - 1)


def _keys(
    asked_ap: sparse.csr_array, old_op: sparse.csr_array, size: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Sets of popular values: who asks for which [a, x], and the first old items with it [x, o]."""
    n_old, n_values = old_op.shape
    has_nw = np.concatenate([_padded(old_op), _padded(asked_ap)])
    # A single value is always a key, so that an item that shares anything has a neighbour.
    places = [_row_of(old_op), n_old + _row_of(asked_ap)]
    keys, start = [old_op.indices, asked_ap.indices], n_values
    for width in range(2, has_nw.shape[1] + 1):
        place, key = _sets(has_nw, width, n_values)
        if len(key) == 0:
            break
        places.append(place)
        keys.append(key + start)
        start += int(key.max()) + 1
    place, key = np.concatenate(places), np.concatenate(keys)
    old = place < n_old
    owner, rank = key[old], place[old]
    order = np.lexsort((rank, owner))
    owner, rank = owner[order], rank[order]
    first = _position(owner) < size
    first_xo = _ones(owner[first], rank[first], (start, n_old))
    keys_ax = _ones(place[~old] - n_old, key[~old], (asked_ap.shape[0], start))
    return keys_ax, first_xo


def _ones(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.coo_array((np.ones(len(row), np.int32), (row, column)), shape=shape).tocsr()


def _row_of(matrix: sparse.csr_array) -> np.ndarray:
    """The row of each stored number."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))


def _padded(has_np: sparse.csr_array) -> np.ndarray:
    """The first ``_MOST_POPULAR`` values of each row, -1 behind them: [n, at most that]."""
    width = min(int(np.diff(has_np.indptr).max(initial=0)), _MOST_POPULAR)
    row = _row_of(has_np)
    place = np.arange(has_np.nnz) - has_np.indptr[row]
    out = np.full((has_np.shape[0], _MOST_POPULAR), -1, np.int32)
    out[row[place < width], place[place < width]] = has_np.indices[place < width]
    return out


def _sets(has_nw: np.ndarray, width: int, n_values: int) -> tuple[np.ndarray, np.ndarray]:
    """All sets of ``width`` values within the rows: which row, and a number for each set."""
    places, codes = [], []
    combinations = list(itertools.combinations(range(has_nw.shape[1]), width))
    for positions in combinations:
        place = np.flatnonzero(has_nw[:, positions[-1]] >= 0)
        places.append(place.astype(np.int32))
        codes.append(has_nw[place][:, positions])
    place, code = np.concatenate(places), np.concatenate(codes)
    number = code[:, 0]
    for column in range(1, width):
        # Numbered anew after each value, or the product would overflow.
        pair = number.astype(np.int64) * n_values + code[:, column]
        number = pd.factorize(pair)[0].astype(np.int32)
    return place, number
