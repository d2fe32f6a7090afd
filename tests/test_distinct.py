"""Distinct numbers by sorting and by marking are those of ``np.unique``."""

from unittest import mock

import numpy as np
import pytest

from recbole_cold import distinct
from recbole_cold.data._atomic import Column, renumber, share_codes, tokens_of

# Few values many times, many values seldom, one value, one row, none; beyond int32.
CASES = [(1000, 7), (1000, 10**6), (50, 1), (1, 5), (0, 5), (3000, 2**40)]


@pytest.fixture(params=CASES, ids=str)
def values(request):
    n, high = request.param
    return np.random.default_rng(n + high).integers(-3, high, n)


def test_ascending_and_their_number(values):
    before = values.copy()
    np.testing.assert_array_equal(distinct.ascending(values), np.unique(values))
    np.testing.assert_array_equal(values, before)
    assert distinct.count_in_place(values) == len(np.unique(before))
    np.testing.assert_array_equal(values, np.sort(before))


def test_first_and_last_of_each(values):
    first = np.unique(values, return_index=True)[1]
    np.testing.assert_array_equal(distinct.first_of_each(values), np.sort(first))
    last = len(values) - 1 - np.unique(values[::-1], return_index=True)[1]
    np.testing.assert_array_equal(distinct.last_of_each(values), np.sort(last))


@pytest.mark.parametrize("shape", [(1000,), (40, 25), (0,), (1,), (0, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_codes_that_occur(shape, dtype):
    codes = np.random.default_rng(1).integers(0, 600, shape).astype(dtype)
    with mock.patch.object(distinct, "_CHUNK", 64):
        found = distinct.codes_in(codes)
    np.testing.assert_array_equal(found, np.unique(codes))
    assert found.dtype == dtype


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_counts_of_some(n):
    rng = np.random.default_rng(n)
    codes, keep = rng.integers(0, 70, n).astype(np.int32), rng.random(n) < 0.5
    with mock.patch.object(distinct, "_CHUNK", 64):
        found = distinct.counts_of(codes, 80, keep)
    np.testing.assert_array_equal(found, np.bincount(codes[keep], minlength=80))


@pytest.mark.parametrize("n", [0, 1, 64, 1000])
def test_counts_and_places_of_all(n):
    rng = np.random.default_rng(n)
    codes, wanted = rng.integers(0, 70, n).astype(np.int32), rng.random(80) < 0.5
    with mock.patch.object(distinct, "_CHUNK", 64):
        counts, places = distinct.counts_of(codes, 80), distinct.positions_of(codes, wanted)
    np.testing.assert_array_equal(counts, np.bincount(codes, minlength=80))
    np.testing.assert_array_equal(places, np.flatnonzero(wanted[codes]))
    assert places.dtype == np.int64


@pytest.mark.parametrize("shape", [(300,), (300, 3)], ids=str)
def test_codes_of_some_rows(shape):
    rng = np.random.default_rng(len(shape))
    codes, rows = rng.integers(0, 400, shape).astype(np.int32), rng.permutation(300)[:150]
    with mock.patch.object(distinct, "_CHUNK", 64):
        found = distinct.codes_at(codes, rows, 410)
    np.testing.assert_array_equal(np.flatnonzero(found), np.unique(codes[rows]))
    assert found.shape == (410,)


def test_runs_of_ordered_values(values):
    ordered = np.sort(values)
    wanted = np.unique(ordered, return_index=True, return_counts=True)
    for found, each in zip(distinct.runs_of(ordered), wanted, strict=True):
        np.testing.assert_array_equal(found, each)


@pytest.mark.parametrize("lengths", [[500], [300, 200], [0, 130], [64, 0, 1]], ids=str)
def test_first_positions(lengths):
    columns = [np.random.default_rng(n).integers(-1, 90, n) for n in lengths]
    codes = np.concatenate(columns)
    with mock.patch.object(distinct, "_CHUNK", 64):
        found = distinct.first_positions(columns, 95)
    wanted = [np.flatnonzero(codes == code)[:1] for code in range(95)]
    assert found.tolist() == [int(each[0]) if len(each) else -1 for each in wanted]


def test_numbers_follow_first_appearance():
    """Over several columns, with missing tokens, and tokens of a vocabulary that no row has."""
    import pyarrow as pa

    texts = [["b", None, "c", "b"], ["d", "a", "c", None]]
    columns = [
        tokens_of(pa.chunked_array([pa.array(each).dictionary_encode()]), None) for each in texts
    ]
    columns[0].vocab = pa.concat_arrays([columns[0].vocab, pa.array(["unused"])])
    share_codes(columns)
    columns[1] = Column(columns[1].kind, columns[1].values[1:], None, columns[1].vocab)
    assert list(renumber(columns)) == ["[PAD]", "b", "c", "a"]
    assert [column.values.tolist() for column in columns] == [[1, 0, 2, 1], [3, 2, 0]]
