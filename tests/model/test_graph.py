"""The graph of old items: best by shared attribute values, and no quadratic number of pairs."""

import numpy as np
import pytest

from recbole_cold.model import _gme_neighbours as _graph
from recbole_cold.model._gme_neighbours import _Pairs, attribute_matrix, neighbours

# Everything multiplied out; rare values multiplied out and popular ones as sets; sets only.
BUDGETS = {"direct": 10**9, "both": 200, "sets": 0}


@pytest.fixture(params=BUDGETS)
def budget(request, monkeypatch):
    monkeypatch.setattr(_graph, "_PAIRS", BUDGETS[request.param])
    monkeypatch.setattr(_graph, "_PAIRS_PER_ITEM", 0)
    return request.param


def catalogue(seed, n_items=60, words=4):
    """Columns of attributes (few values, so many ties), who is old, and rows of each item."""
    rng = np.random.default_rng(seed)
    columns = [
        rng.integers(0, 3, n_items),
        rng.integers(0, 6, (n_items, words)),
        rng.integers(0, 25, n_items),
    ]
    old = rng.permutation(np.arange(1, n_items))[: n_items // 2]
    return columns, old, rng.integers(0, 4, n_items)


def value_sets(columns):
    """What each item has, as a set of (column, value); 0 is no value."""
    rows = [column.reshape(len(column), -1) for column in columns]
    return [
        {(number, int(v)) for number, row in enumerate(rows) for v in row[item] if v}
        for item in range(len(columns[0]))
    ]


def by_intersection(columns, old, counts, size, item):
    """The definition: neighbours of one item, from sets."""
    sets = value_sets(columns)
    shared = [(len(sets[item] & sets[j]), counts[j], j) for j in old if j != item]
    best = sorted((-score, -count, j) for score, count, j in shared if score)
    return [int(j) for _, _, j in best[:size]]


def matrix(columns):
    return attribute_matrix(columns, len(columns[0]))


def found(result, item):
    pairs = zip(result.index_nk[item], result.mask_nk[item], strict=True)
    return [int(j) for j, real in pairs if real]


@pytest.mark.parametrize("seed", range(8))
def test_neighbours_are_those_of_the_definition(budget, seed, monkeypatch):
    columns, old, counts = catalogue(seed)
    monkeypatch.setattr(_graph, "_CHUNK_PAIRS", 10 + 60 * seed)
    result = neighbours(matrix(columns), old, counts, 4)
    for item in range(60):
        assert found(result, item) == by_intersection(columns, old, counts, 4, item)


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_symmetric_and_count_shared_values(budget, seed):
    """On old x old; where sets give the candidates, of those pairs that are candidates."""
    columns, old, _ = catalogue(seed)
    has, sets = matrix(columns), value_sets(columns)
    has_ov, length = has[old], np.bincount(has[old].indices, minlength=has.shape[1])
    direct, popular = _graph._divided(has_ov, length, len(old))
    pairs = _Pairs(has_ov, has_ov, direct, popular, 4)
    row, rank, score = pairs.scored(slice(0, len(old)))
    dense = np.zeros((len(old), len(old)), int)
    dense[row, rank] = score
    for a, b in zip(row, rank, strict=True):
        assert dense[a, b] == len(sets[old[a]] & sets[old[b]])
    both = (dense > 0) & (dense.T > 0)
    assert (dense[both] == dense.T[both]).all() and both.sum() > len(old)
    if budget == "direct":
        assert both.sum() == (dense > 0).sum()


def test_only_old_items_and_never_the_item_itself(budget):
    columns, old, counts = catalogue(3)
    result = neighbours(matrix(columns), old, counts, 10)
    for item in range(60):
        mine = found(result, item)
        assert item not in mine and set(mine) <= set(old.tolist())
        assert len(set(mine)) == len(mine)


def test_ties_go_to_more_rows_then_to_the_lower_id(budget):
    column = np.array([0, 1, 1, 1, 1, 1, 2])
    counts = np.array([9, 1, 5, 1, 5, 1, 9])
    result = neighbours(matrix([column]), np.array([5, 4, 3, 2, 6]), counts, 3)
    assert found(result, 1) == [2, 4, 3]
    assert found(result, 2) == [4, 3, 5]
    assert found(result, 6) == []


def test_a_better_score_goes_before_more_rows(budget):
    columns = [np.array([0, 1, 1, 1]), np.array([0, 2, 2, 3])]
    result = neighbours(matrix(columns), np.array([2, 3]), np.array([0, 0, 1, 9]), 1)
    assert found(result, 1) == [2]


def test_a_word_twice_is_shared_once():
    title = np.array([[0, 0, 0], [1, 1, 1], [1, 1, 2], [1, 2, 0]])
    assert matrix([title]).toarray().tolist() == [
        [0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 1, 1],
    ]  # fmt: skip
    counts = np.array([0, 0, 3, 9])
    result = neighbours(matrix([title]), np.array([2, 3]), counts, 2)
    assert found(result, 1) == [3, 2]


def test_equal_codes_of_different_fields_are_different_values():
    columns = [np.array([0, 1, 2, 3]), np.array([0, 2, 1, 3])]
    result = neighbours(matrix(columns), np.array([2, 3]), np.zeros(4), 2)
    assert found(result, 1) == []


def test_a_value_that_all_items_have(budget):
    """Everybody's neighbours are the items with most rows; without such values nobody has one."""
    columns, old = [np.ones(40, int)], np.arange(1, 21)
    counts = np.arange(40) % 13
    result = neighbours(matrix(columns), old, counts, 3)
    for item in range(40):
        assert found(result, item) == by_intersection(columns, old, counts, 3, item)
    assert found(result, 30) == [12, 11, 10]
    none = neighbours(matrix(columns), old, counts, 3, max_share=0.5)
    assert not none.mask_nk.any()


def test_max_share_leaves_out_what_too_many_have():
    columns = [np.array([0, 1, 1, 1, 1, 1]), np.array([0, 1, 2, 2, 1, 3])]
    old, counts = np.array([2, 3, 4, 5]), np.array([0, 0, 1, 2, 3, 4])
    has = matrix(columns)
    assert found(neighbours(has, old, counts, 2, max_share=0.5), 1) == [4]
    assert found(neighbours(has, old, counts, 2, max_share=1.0), 1) == [4, 5]
    assert found(neighbours(has, old, counts, 2, max_share=0.3), 2) == []


def test_no_attributes_at_all(budget):
    for columns in ([np.zeros(6, int)], [np.zeros((6, 2), int), np.zeros(6, int)]):
        result = neighbours(matrix(columns), np.array([1, 2]), np.zeros(6), 2)
        assert not result.mask_nk.any() and result.index_nk.shape == (6, 2)
    result = neighbours(attribute_matrix([], 6), np.array([1, 2]), np.zeros(6), 2)
    assert not result.mask_nk.any() and result.index_nk.shape == (6, 2)


def test_an_item_without_attributes_has_none_and_is_nobodys(budget):
    columns, old, counts = catalogue(1)
    for column in columns:
        column[old[0]] = 0
    result = neighbours(matrix(columns), old, counts, 5)
    assert found(result, old[0]) == []
    assert not (result.index_nk[result.mask_nk] == old[0]).any()


def test_only_who_is_asked_for(budget):
    columns, old, counts = catalogue(2)
    has, asked = matrix(columns), np.array([7, 3, 55])
    result, whole = neighbours(has, old, counts, 4, asked), neighbours(has, old, counts, 4)
    for item in range(60):
        assert found(result, item) == (found(whole, item) if item in asked else [])


def test_more_popular_values_than_sets_are_made_of(monkeypatch):
    """Only candidates may be missed: who is found is scored in full and in the right order."""
    monkeypatch.setattr(_graph, "_PAIRS", 0)
    monkeypatch.setattr(_graph, "_PAIRS_PER_ITEM", 0)
    monkeypatch.setattr(_graph, "_MOST_POPULAR", 2)
    columns, old, counts = catalogue(5)
    result = neighbours(matrix(columns), old, counts, 4)
    sets = value_sets(columns)
    hits = 0
    for item in range(60):
        mine, best = found(result, item), by_intersection(columns, old, counts, 4, item)
        keys = [(-len(sets[item] & sets[j]), -counts[j], j) for j in mine]
        assert keys == sorted(keys) and all(score < 0 for score, _, _ in keys)
        assert len(mine) == len(best)
        hits += len(set(mine) & set(best)) / max(len(best), 1)
    assert hits > 0.7 * 60


def test_the_number_of_pairs_is_linear_in_the_items(monkeypatch):
    """Four attributes with a handful of values each: a product would look at half of all pairs."""
    monkeypatch.setattr(_graph, "_PAIRS", 0)
    made = []
    original = _Pairs.chunks
    monkeypatch.setattr(
        _Pairs, "chunks", lambda pairs: made.append(int(pairs.made[-1])) or original(pairs)
    )
    for n_items in (500, 2000):
        rng = np.random.default_rng(0)
        columns = [rng.integers(1, 4, n_items) for _ in range(4)]
        old = np.arange(n_items // 2)
        neighbours(matrix(columns), old, rng.integers(0, 99, n_items), 10)
    sets, listed = 15, 11
    assert made[1] <= sets * listed * 2000
    assert made[1] < 5 * made[0]
