"""Curves that make scores probabilities: optimal, monotone, and plain numbers."""

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from recbole_cold.evaluation.calibrators import RULES, calibrated, fitted


def scored(n, seed=4):
    """Scores that are too sure and too high of rows whose true logits are known."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1.0, 1.2, n)
    return expit(0.7 + 2.5 * truth), rng.random(n) < expit(truth), expit(truth)


CHANCE, POSITIVE, TRUE = scored(4000)


def bins_error(chance, positive, bins=15):
    """Expected calibration error by equal bins of rows, naively."""
    parts = np.array_split(np.argsort(chance, kind="stable"), bins)
    gaps = [len(p) * abs(chance[p].mean() - positive[p].mean()) for p in parts]
    return sum(gaps) / len(chance)


@pytest.mark.parametrize("rule", sorted(RULES))
class TestBoth:
    def test_never_falls(self, rule):
        grid = np.linspace(0, 1, 2001)
        found = calibrated(grid, fitted(rule, CHANCE, POSITIVE))
        assert (np.diff(found) >= 0).all() and ((found >= 0) & (found <= 1)).all()

    def test_the_error_falls_on_rows_it_has_not_seen(self, rule):
        curve = fitted(rule, CHANCE, POSITIVE)
        chance, positive, truth = scored(4000, seed=5)
        found = calibrated(chance, curve)
        assert bins_error(found, positive) < 0.3 * bins_error(chance, positive)
        assert np.abs(found - truth).mean() < 0.03 < np.abs(chance - truth).mean()

    def test_a_file_brings_back_the_same_curve(self, rule):
        curve = fitted(rule, CHANCE, POSITIVE)
        again = json.loads(json.dumps(curve))
        assert np.array_equal(calibrated(CHANCE, again), calibrated(CHANCE, curve))
        assert (curve["rule"], curve["rows"], curve["clicks"]) == (rule, 4000, POSITIVE.sum())

    def test_scores_that_order_nothing_or_the_wrong_way_have_none(self, rule):
        assert fitted(rule, 1 - CHANCE, POSITIVE) is None

    def test_scores_at_the_ends_are_finite(self, rule):
        found = calibrated(np.array([0.0, 1.0]), fitted(rule, CHANCE, POSITIVE))
        assert np.isfinite(found).all() and found[0] < found[1]


class TestPlatt:
    def test_it_is_the_optimum_of_scikit_learn(self):
        x = logit(CHANCE)[:, None]
        best = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, POSITIVE)
        curve = fitted("platt", CHANCE, POSITIVE)
        assert curve["shift"] == pytest.approx(best.intercept_[0], abs=1e-5)
        assert curve["slope"] == pytest.approx(best.coef_[0, 0], abs=1e-5)

    def test_the_gradient_is_zero(self):
        residual = calibrated(CHANCE, fitted("platt", CHANCE, POSITIVE)) - POSITIVE
        assert abs(residual.mean()) < 1e-9
        assert abs((residual * logit(CHANCE)).mean()) < 1e-9

    def test_auc_stays(self):
        found = calibrated(CHANCE, fitted("platt", CHANCE, POSITIVE))
        assert roc_auc_score(POSITIVE, found) == roc_auc_score(POSITIVE, CHANCE)


class TestIsotonic:
    def test_it_is_that_of_scikit_learn(self):
        model = IsotonicRegression(out_of_bounds="clip").fit(CHANCE, POSITIVE)
        grid = np.linspace(0, 1, 501)
        found = calibrated(grid, fitted("isotonic", CHANCE, POSITIVE))
        assert np.allclose(found, model.predict(grid), atol=1e-12)

    def test_three_blocks_by_hand(self):
        """Pool adjacent violators: 0 | 1, 0 | 1 gives 0, one half, 1."""
        curve = fitted("isotonic", [0.1, 0.2, 0.3, 0.9], [False, True, False, True])
        assert calibrated([0.1, 0.2, 0.3, 0.9], curve).tolist() == [0.0, 0.5, 0.5, 1.0]
        between = calibrated([0.05, 0.15, 0.6, 0.95], curve)
        assert between == pytest.approx([0.0, 0.25, 0.75, 1.0])
