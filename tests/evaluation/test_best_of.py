"""The expected best of n trials: by enumeration, at its ends, with a first that is no draw."""

import itertools
import math
import random
import statistics

import pytest

from recbole_cold.evaluation.best_of import best_of_curve, expected_best

VALUES = [0.61, 0.7, 0.55, 0.7]


class TestExpectedBest:
    @pytest.mark.parametrize("n", [1, 2, 3, 4])
    @pytest.mark.parametrize("lower", [False, True])
    def test_by_enumeration(self, n, lower):
        """The mean of the best over all 4^n ways to draw."""
        best = min if lower else max
        every = [best(draws) for draws in itertools.product(VALUES, repeat=n)]
        assert expected_best(VALUES, n, lower) == pytest.approx(statistics.fmean(every))

    def test_one_draw_is_the_mean_and_many_are_the_best(self):
        assert expected_best(VALUES, 1) == pytest.approx(statistics.fmean(VALUES))
        assert expected_best(VALUES, 500) == pytest.approx(0.7)
        assert expected_best(VALUES, 500, lower=True) == pytest.approx(0.55)

    def test_more_draws_are_never_worse(self):
        rng = random.Random(4)
        for count in range(1, 12):
            values = [rng.gauss(0.6, 0.1) for _ in range(count)]
            curve = [expected_best(values, n) for n in range(1, 40)]
            assert all(a <= b + 1e-12 for a, b in itertools.pairwise(curve))

    @pytest.mark.parametrize(("values", "n"), [([], 1), ([0.5], 0)])
    def test_nothing_to_draw(self, values, n):
        with pytest.raises(ValueError, match="is nothing"):
            expected_best(values, n)


class TestCurve:
    @pytest.mark.parametrize("lower", [False, True])
    def test_the_first_is_tried_in_any_case(self, lower):
        """The best of n: of the first, and of n - 1 draws from the others."""
        best = min if lower else max
        found = best_of_curve(0.65, VALUES, 4, lower)
        assert found[0] == 0.65
        for n in (2, 3, 4):
            every = [best(0.65, *draws) for draws in itertools.product(VALUES, repeat=n - 1)]
            assert found[n - 1] == pytest.approx(statistics.fmean(every))

    def test_a_failed_trial_gains_nothing(self):
        assert best_of_curve(0.6, [math.nan, 0.7], 2) == pytest.approx([0.6, 0.65])

    def test_without_a_first_they_are_draws(self):
        for first in (None, math.nan):
            found = best_of_curve(first, [*VALUES, math.nan], 3)
            assert found == pytest.approx([expected_best(VALUES, n) for n in (1, 2, 3)])

    def test_one_trial_and_none(self):
        assert best_of_curve(0.6, [], 1) == [0.6]
        assert best_of_curve(None, [math.nan], 2) == []
