"""Scales of float fields: what they are fitted on, what they give, whatever the unit."""

import numpy as np
import pytest

from recbole_cold.data import numbers
from recbole_cold.data.numbers import MOST_SDS, WIDE, as_recbole, fit, signed_log

PRICES = np.array([0.01, 3.0, 12.5, 30.0, 31.0, 45.0, 99.0, 250.0, 4_000.0, 99_999_999.0])
SMALL = np.array([4.0, 5.0, 5.5, 6.0, 8.0])


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


@pytest.mark.parametrize("rule", ["auto", "standard", "minmax"])
@pytest.mark.parametrize("values", [PRICES, SMALL, -PRICES, np.r_[-PRICES, SMALL]], ids=len)
@pytest.mark.parametrize("factor", [1000.0, 1e-9, 1e200, 1e-200])
def test_the_unit_of_a_field_does_not_matter(rule, values, factor):
    here, there = fit(values, rule), fit(factor * values, rule)
    assert here.rule == there.rule
    wanted, found = here.apply(values), there.apply(factor * values)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_the_logarithm_is_taken_where_the_tail_is_heavy(rng):
    light = {
        "normal": rng.normal(size=100_000),
        "uniform": rng.uniform(size=1000),
        "times": 1.3e9 + rng.uniform(0, 1e7, 1000),
    }
    heavy = {"lognormal": rng.lognormal(sigma=2, size=1000), "one": np.r_[np.ones(50), 1e6]}
    assert {name: fit(values, "auto").rule for name, values in light.items()} == dict.fromkeys(
        light, "standard"
    )
    assert {fit(values, "auto").rule for values in heavy.values()} == {"log"}
    # The line between them; zeros say nothing about the size of what is not zero.
    ones = np.r_[np.ones(9), np.zeros(90)]
    assert fit(np.r_[ones, 0.99 * WIDE], "auto").rule == "standard"
    assert fit(np.r_[ones, 1.01 * WIDE], "auto").rule == "log"
    assert fit(PRICES, "standard").rule == "standard"


@pytest.mark.parametrize("rule", ["auto", "standard"])
def test_seen_values_have_mean_0_and_deviation_1(rule, rng):
    values = rng.uniform(300, 500, size=1000)
    found = fit(values, rule).apply(values).astype(np.float64)
    assert abs(found.mean()) < 1e-6 and abs(found.std() - 1) < 1e-6
    np.testing.assert_allclose(found, (values - values.mean()) / values.std(), rtol=1e-4, atol=1e-5)


def test_the_logarithm_by_hand():
    scale = fit(PRICES, "auto")
    assert scale.rule == "log" and scale.unit == 31.0  # the fifth of ten: a value that occurs
    log = np.sign(PRICES) * np.log1p(np.abs(PRICES) / 31.0)
    wanted = (log - log.mean()) / log.std()
    np.testing.assert_allclose(scale.apply(PRICES), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(signed_log(-PRICES, 31.0), -log, rtol=1e-12)
    assert signed_log(np.zeros(1), 31.0) == 0.0


def test_minmax_is_the_seen_range():
    found = fit(SMALL, "minmax").apply(np.array([4.0, 5.0, 8.0, 3.0, 9.0]))
    assert found.dtype == np.float32 and found.tolist() == [0.0, 0.25, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("rule", ["auto", "standard", "minmax"])
def test_what_is_beyond_the_seen_range_is_clipped_and_counted(rule):
    scale = fit(SMALL, rule)
    beyond = np.array([-1e30, 3.9, 4.0, 8.0, 8.1, 1e39, np.nan])
    found = scale.apply(beyond)
    assert np.isfinite(found).all()
    assert (found[:2] == found[2]).all() and (found[4:6] == found[3]).all()
    assert scale.clipped(beyond).tolist() == [True, True, False, False, True, True, False]


def test_one_value_among_many_does_not_outshout_the_rest():
    values = np.r_[np.zeros(9_999), 1.0]
    scale = fit(values, "standard")
    assert scale.apply(values).max() == MOST_SDS
    assert scale.clipped(values).sum() == 1


@pytest.mark.parametrize("rule", ["auto", "standard", "minmax"])
def test_gaps_take_the_mean_of_what_was_seen(rule):
    with_gaps = np.r_[SMALL, np.nan, np.nan]
    assert fit(with_gaps, rule) == fit(SMALL, rule)
    found = fit(SMALL, rule).apply(with_gaps)
    np.testing.assert_allclose(found[5:], found[:5].mean(), atol=1e-6)


@pytest.mark.parametrize("rule", ["auto", "standard", "minmax"])
@pytest.mark.parametrize(
    ("seen", "name"),
    [([7.0, 7.0], "constant"), ([7.0], "constant"), ([0.0, 0.0], "constant"),
     ([np.nan, np.nan], "unseen"), ([], "unseen")],
)  # fmt: skip
def test_a_field_without_variation_says_nothing(rule, seen, name):
    scale = fit(np.array(seen), rule)
    found = scale.apply(np.array([7.0, 8.0, np.nan, -1e300]))
    assert scale.rule == name and found.tolist() == [0.0] * 4 and found.dtype == np.float32
    assert scale.clipped(np.array([8.0])).tolist() == [name == "constant"]


@pytest.mark.parametrize("rule", ["auto", "standard", "minmax"])
@pytest.mark.parametrize(
    "values",
    [
        np.array([-1.7e308, 1.0, 1.7e308]),
        np.array([1e39, 2e39, 5e39]),
        np.array([5e-324, 1e-323, 1.0]),
        np.array([0.0, 5e-324]),
        np.array([1e-300, 1e-300, 1e300]),
    ],
    ids=str,
)
def test_no_number_is_too_large(rule, values):
    with np.errstate(all="raise", under="ignore", divide="warn"):
        found = fit(values, rule).apply(np.r_[values, np.nan])
    assert np.isfinite(found).all() and np.abs(found).max() <= MOST_SDS


class TestAsRecBole:
    def test_gaps_are_the_mean_of_all_values(self):
        found = as_recbole(np.array([1.0, np.nan, 4.0]), False)
        assert found.tolist() == [1.0, 2.5, 4.0] and found.dtype == np.float32

    def test_range(self):
        assert as_recbole(np.array([1.0, np.nan, 3.0]), True).tolist() == [0.0, 0.5, 1.0]
        assert as_recbole(np.array([3.0, 3.0]), True).tolist() == [1.0, 1.0]

    def test_who_asks(self):
        ask = numbers.asks_for_range
        assert ask({"normalize_field": ["a"], "normalize_all": True}, "a")
        assert not ask({"normalize_field": ["a"], "normalize_all": True}, "b")
        assert ask({"normalize_field": None, "normalize_all": True}, "b")
        assert not ask({"normalize_field": None, "normalize_all": None}, "b")
