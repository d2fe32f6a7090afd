"""Ranks over data sets: hand tables, Demsar's table of critical values, and tests by definition."""

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats

from recbole_cold.errors import UserError
from recbole_cold.evaluation import ranks
from recbole_cold.evaluation.ranks import (
    cliques,
    critical_difference,
    friedman,
    mean_ranks,
    pairwise,
    signed_rank_chances,
)

# Four methods on fourteen data sets: AUC of C4.5 and variants (Demsar, JMLR 2006, table 6).
DEMSAR = np.array([
    [.763, .768, .771, .798], [.599, .591, .590, .569], [.954, .971, .968, .967],
    [.628, .661, .654, .657], [.882, .888, .886, .898], [.936, .931, .916, .931],
    [.661, .668, .609, .685], [.583, .583, .563, .625], [.775, .838, .866, .875],
    [1.000, 1.000, 1.000, 1.000], [.940, .962, .965, .962], [.619, .666, .614, .669],
    [.972, .981, .9751, .975], [.957, .978, .946, .970],
])  # fmt: skip


def a_table(blocks, methods, seed=3):
    return np.random.default_rng(seed).normal(size=(blocks, methods))


class TestRanks:
    def test_mean_ranks_share_ties(self):
        costs = np.array([[1.0, 2.0, 2.0, 3.0], [5.0, 5.0, 5.0, 1.0]])
        assert mean_ranks(costs).tolist() == [(1 + 3) / 2, (2.5 + 3) / 2, (2.5 + 3) / 2, 2.5]

    def test_mean_ranks_of_the_paper(self):
        assert mean_ranks(-DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)

    def test_are_the_means_of_rankdata(self):
        costs = np.round(a_table(9, 7), 1)
        wanted = np.mean([stats.rankdata(block) for block in costs], axis=0)
        assert mean_ranks(costs) == pytest.approx(wanted)

    def test_the_level_of_a_block_does_not_matter(self):
        costs = a_table(6, 4)
        moved = costs * 3 + np.arange(6)[:, None]
        assert (mean_ranks(costs) == mean_ranks(moved)).all()


class TestFriedman:
    def test_by_hand(self):
        """12 b / (k (k + 1)) * (sum of squared mean ranks - k (k + 1)^2 / 4), without ties."""
        costs = a_table(8, 5)
        mean, b, k = mean_ranks(costs), 8, 5
        wanted = 12 * b / (k * (k + 1)) * ((mean**2).sum() - k * (k + 1) ** 2 / 4)
        found = friedman(costs)
        assert found.statistic == pytest.approx(wanted)
        assert found.p_value == pytest.approx(stats.chi2.sf(wanted, k - 1))

    def test_equal_methods(self):
        assert friedman(np.ones((5, 3))) == (0.0, 1.0)

    @pytest.mark.parametrize("shape", [(5, 2), (1, 4)])
    def test_too_few(self, shape):
        told = f"Friedman's test needs 3 methods .* {shape[1]} methods on {shape[0]}"
        with pytest.raises(UserError, match=told):
            friedman(a_table(*shape))


class TestNemenyi:
    @pytest.mark.parametrize(
        ("level", "values"),
        [
            (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
            (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
        ],
    )
    def test_critical_values_of_the_paper(self, level, values):
        """Demsar 2006, table 5, two to ten methods; its last digit is rounded and cut by turns."""
        for k, q in enumerate(values, start=2):
            wanted = q * math.sqrt(k * (k + 1) / (6 * 14))
            assert critical_difference(k, 14, level) == pytest.approx(wanted, rel=6e-4)

    def test_the_papers_example(self):
        """2.569 sqrt(4 * 5 / (6 * 14)) = 1.25."""
        assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)

    def test_too_few(self):
        with pytest.raises(UserError, match=r"at least 5 data sets .* there are 4 and 3"):
            critical_difference(3, 4)
        with pytest.raises(UserError, match="there are 6 and 1"):
            critical_difference(1, 6)
        assert critical_difference(3, 5) > 0


class TestCliques:
    def test_by_hand(self):
        mean = [3.0, 1.0, 1.9, 2.6, 9.0]
        assert cliques(mean, 1.0) == [(1, 2), (2, 3), (3, 0)]
        assert cliques(mean, 1.7) == [(1, 2, 3), (2, 3, 0)]
        assert cliques(mean, 0.1) == []

    def test_a_group_ends_before_the_critical_difference(self):
        assert cliques([1.0, 2.0], 1.0) == []

    @pytest.mark.parametrize("seed", range(20))
    def test_are_the_largest_groups_of_all_groups(self, seed):
        draws = random.Random(seed)
        mean, difference = [draws.uniform(1, 7) for _ in range(7)], draws.uniform(0.3, 3)
        groups = [
            set(group)
            for size in range(2, 8)
            for group in itertools.combinations(range(7), size)
            if all(abs(mean[a] - mean[b]) < difference for a in group for b in group)
        ]
        largest = {frozenset(g) for g in groups if not any(g < other for other in groups)}
        assert {frozenset(group) for group in cliques(mean, difference)} == largest


class TestPairwise:
    def test_is_holms_correction_of_wilcoxons_p(self):
        costs = a_table(9, 3)
        pairs = [(0, 1), (0, 2), (1, 2)]
        raw = [stats.wilcoxon(costs[:, a], costs[:, b]).pvalue for a, b in pairs]
        order, highest, wanted = np.argsort(raw), 0.0, [0.0] * 3
        for k, place in enumerate(order):
            highest = max(highest, min(1, (3 - k) * raw[place]))
            wanted[place] = highest
        assert pairwise(costs, pairs) == pytest.approx(wanted)

    def test_five_blocks_have_none(self):
        assert np.isnan(pairwise(a_table(5, 3), [(0, 1), (0, 2)])).all()


def by_definition(gains, rope, strength, draws, seed):
    """One draw at a time, gamma variables over their sum, pair by pair."""
    random_ = random.Random(seed)
    observed, won = [0.0, *gains], [0.0, 0.0, 0.0]
    for _ in range(draws):
        raw = [random_.gammavariate(strength if k == 0 else 1, 1) for k in range(len(observed))]
        weights = [each / sum(raw) for each in raw]
        sums = [0.0, 0.0, 0.0]
        for (wi, zi), (wj, zj) in itertools.product(zip(weights, observed, strict=True), repeat=2):
            mean = (zi + zj) / 2
            sums[0 if mean > rope else 2 if mean < -rope else 1] += wi * wj
        won[sums.index(max(sums))] += 1
    return [each / draws for each in won]


class TestBayes:
    @pytest.mark.parametrize(
        ("gains", "strength"),
        [
            ([0.004, 0.001, -0.003, 0.006], 0.5),
            ([0.001, -0.0005, 0.003], 0.5),
            ([0.004, 0.001, -0.003, 0.006], 3.0),
        ],
    )
    def test_is_its_definition(self, gains, strength):
        wanted = by_definition(gains, 0.002, strength, 6000, 5)
        found = signed_rank_chances(gains, 0.002, seed=1, strength=strength)
        assert found == pytest.approx(wanted, abs=0.025)

    def test_the_chances_sum_to_one_and_turn_with_the_sign(self):
        gains = [0.01, -0.004, 0.003, 0.0, 0.02]
        found, turned = (signed_rank_chances(np.multiply(gains, s), 0.002) for s in (1, -1))
        assert sum(found) == pytest.approx(1)
        assert found.better == pytest.approx(turned.worse, abs=1e-12)
        assert found.rope == turned.rope

    def test_one_seed_one_answer(self):
        gains = [0.01, -0.004, 0.003]
        assert signed_rank_chances(gains, 0.002, 7) == signed_rank_chances(gains, 0.002, 7)
        assert signed_rank_chances(gains, 0.002, 7) != signed_rank_chances(gains, 0.002, 8)

    def test_no_gain_is_equivalence(self):
        assert signed_rank_chances([0.0] * 4, 0.0) == (0.0, 1.0, 0.0)

    def test_large_gains_on_many_sets_are_certain(self):
        assert signed_rank_chances([0.1] * 12, 0.002).better > 0.99
        assert signed_rank_chances([0.1] * 3, 0.002).better < 0.995

    def test_chunks_do_not_matter(self, monkeypatch):
        whole = signed_rank_chances([0.01, -0.004, 0.003], 0.002)
        monkeypatch.setattr(ranks, "_CHUNK", 1000)
        assert signed_rank_chances([0.01, -0.004, 0.003], 0.002) == pytest.approx(whole)

    def test_too_few(self):
        with pytest.raises(UserError, match=r"needs at least 3 data sets .* there are 2"):
            signed_rank_chances([0.1, 0.2], 0.002)
