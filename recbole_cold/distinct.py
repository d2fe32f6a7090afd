"""Distinct numbers of long arrays, by sorting and by marking.

``np.unique`` of numpy 2.3 and later puts integers into a hash table. For two million pairs, most of
which differ, that takes 1.9 s, and sorting them 0.03 s; for codes 0.24 s, and marking them 0.01 s.
"""

import numpy as np

Array = np.ndarray

# Codes that are marked at a time: indexing makes 8 bytes of each.
_CHUNK = 1 << 20


def ascending(values: Array) -> Array:
    """The distinct ones of integers [n], ascending."""
    values = np.sort(values)
    return values[_begins(values)]


def count_in_place(values: Array) -> int:
    """How many of integers [n] differ. Sorts ``values``, so that no copy of them is needed."""
    values.sort()
    return int(np.count_nonzero(values[1:] != values[:-1])) + (len(values) > 0)


def first_of_each(values: Array) -> Array:
    """Positions [k], ascending, of the first of each distinct integer in ``values`` [n]."""
    return _extreme_of_each(values, np.minimum)


def last_of_each(values: Array) -> Array:
    """Positions [k], ascending, of the last of each distinct integer in ``values`` [n]."""
    return _extreme_of_each(values, np.maximum)


def _extreme_of_each(values: Array, extreme: np.ufunc) -> Array:
    if not len(values):
        return np.zeros(0, np.int64)
    # Equal values may come in any order: what counts is the extreme of their positions.
    order = np.argsort(values)
    starts = np.flatnonzero(_begins(values[order]))
    return np.sort(extreme.reduceat(order, starts))


def _begins(ordered: Array) -> Array:
    """Where another value begins in ordered values [n]: bool [n]."""
    begins = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    return begins


def codes_in(codes: Array) -> Array:
    """The distinct ones of codes (integers from 0, of any shape), ascending, in their dtype."""
    codes = codes.reshape(-1)
    there = np.zeros(int(codes.max(initial=-1)) + 1, dtype=bool)
    for start in range(0, len(codes), _CHUNK):
        there[codes[start : start + _CHUNK]] = True
    return np.flatnonzero(there).astype(codes.dtype)


def codes_at(codes: Array, rows: Array, size: int) -> Array:
    """Which codes from 0 to ``size - 1`` are in ``codes[rows]``: bool [size].

    Args:
        codes: of any shape [n, ...].
        rows: positions [k].
    """
    there = np.zeros(size, dtype=bool)
    for start in range(0, len(rows), _CHUNK):
        there[codes[rows[start : start + _CHUNK]].reshape(-1)] = True
    return there


def positions_of(codes: Array, wanted: Array) -> Array:
    """Where codes [n] are wanted, ascending: ``np.flatnonzero(wanted[codes])``, int64 [k].

    Args:
        wanted: bool, by code.
    """
    starts = range(0, len(codes), _CHUNK)
    # Counted first: a list of stretches would be there twice when they are joined.
    number = sum(np.count_nonzero(wanted[codes[start : start + _CHUNK]]) for start in starts)
    found, end = np.empty(number, dtype=np.int64), 0
    for start in starts:
        here = np.flatnonzero(wanted[codes[start : start + _CHUNK]])
        begin, end = end, end + len(here)
        np.add(here, start, out=found[begin:end])
    return found


def counts_of(codes: Array, size: int, keep: Array | None = None) -> Array:
    """How often each code from 0 to ``size - 1`` is among ``codes[keep]``: int64 [size].

    Args:
        keep: a mask [n]; None for all.
    """
    counts = np.zeros(size, dtype=np.int64)
    # A stretch at a time: ``np.bincount`` makes 8 bytes of each code.
    step = max(_CHUNK, size)
    for start in range(0, len(codes), step):
        part = slice(start, start + step)
        there = codes[part] if keep is None else codes[part][keep[part]]
        counts += np.bincount(there, minlength=size)
    return counts


def runs_of(ordered: Array) -> tuple[Array, Array, Array]:
    """The distinct ones of ordered values [n], where each begins, and how often each is there.

    As ``np.unique`` has them, which would sort again: [k], int64 [k], int64 [k].
    """
    starts = np.flatnonzero(_begins(ordered))
    return ordered[starts], starts, np.diff(np.append(starts, len(ordered)))


def first_positions(columns: list[Array], size: int) -> Array:
    """Where each code from 0 to ``size - 1`` comes first: [size], -1 where it never does.

    Args:
        columns: codes, as if one column followed the other; -1 stands for none.
    """
    end = sum(map(len, columns))
    # The last entry is where code -1 is written.
    first = np.full(size + 1, -1, dtype=np.int32 if end < 2**31 else np.int64)
    for column in reversed(columns):
        # Backwards, so that what stays is the first position.
        for stop in range(len(column), 0, -_CHUNK):
            part = column[max(0, stop - _CHUNK) : stop]
            first[part[::-1]] = np.arange(end - 1, end - len(part) - 1, -1)
            end -= len(part)
    return first[:-1]
