"""The cluster bootstrap against written-out resamples, scikit-learn and a simulation."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from recbole_cold.evaluation.bootstrap import (
    RankedScores,
    auc_error,
    cluster_weights,
    delong,
    paired_interval,
    weighted_mean,
)
from recbole_cold.evaluation.metrics import row_log_loss


def table(seed, rows=300, clusters=25, levels=None):
    rng = np.random.default_rng(seed)
    scores = rng.random(rows) if levels is None else rng.integers(0, levels, rows) / levels
    labels = (rng.random(rows) < scores).astype(np.float32)
    return scores, labels, rng.integers(0, clusters, rows)


class TestWeights:
    def test_each_resample_has_as_many_clusters(self):
        weights = cluster_weights(40, 200, seed=3)
        assert weights.shape == (200, 40) and (weights.sum(axis=1) == 40).all()
        assert weights.mean(axis=0) == pytest.approx(np.ones(40), abs=0.35)
        assert (weights == cluster_weights(40, 200, seed=3)).all()
        assert (weights != cluster_weights(40, 200, seed=4)).any()


class TestAUC:
    @pytest.mark.parametrize("levels", [None, 6])
    def test_equals_rows_written_out(self, levels):
        scores, labels, cluster = table(1, levels=levels)
        weights = cluster_weights(25, 20, seed=0)
        found = RankedScores(scores, labels, cluster).auc(weights)
        for weight, value in zip(weights, found, strict=True):
            times = weight[cluster]
            written = np.repeat(np.arange(len(scores)), times)
            assert value == pytest.approx(
                roc_auc_score(labels[written], scores[written]), abs=1e-12
            )
            weighted = roc_auc_score(labels, scores, sample_weight=times)
            assert value == pytest.approx(weighted, abs=1e-12)

    def test_equal_weights_give_the_plain_auc_however_large(self):
        scores, labels, cluster = table(2, levels=9)
        ranked = RankedScores(scores, labels, cluster)
        once, thrice = np.ones((1, 25), dtype=np.int32), np.full((1, 25), 3)
        assert ranked.auc(once)[0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-14)
        assert ranked.auc(thrice)[0] == ranked.auc(once)[0]

    def test_pieces_do_not_matter(self, monkeypatch):
        scores, labels, cluster = table(3)
        weights = cluster_weights(25, 17, seed=0)
        whole = RankedScores(scores, labels, cluster).auc(weights)
        monkeypatch.setattr("recbole_cold.evaluation.bootstrap._CHUNK", 700)
        assert (RankedScores(scores, labels, cluster).auc(weights) == whole).all()

    def test_one_class_is_not_defined(self):
        ranked = RankedScores(np.array([0.1, 0.9]), np.array([0, 1]), np.array([0, 1]))
        assert math.isnan(ranked.auc(np.array([[2, 0]]))[0])
        assert ranked.auc(np.array([[1, 1]]))[0] == 1.0


def test_weighted_log_loss_equals_scikit_learn():
    scores, labels, cluster = table(4)
    weights = cluster_weights(25, 10, seed=0)
    found = weighted_mean(row_log_loss(scores, labels).numpy(), cluster, weights)
    for weight, value in zip(weights, found, strict=True):
        theirs = sklearn_log_loss(labels, scores, sample_weight=weight[cluster])
        assert value == pytest.approx(theirs, abs=1e-12)


class TestIntervals:
    def test_what_methods_have_in_common_cancels(self):
        """Two methods that differ by a constant differ by it in every resample."""
        common = np.random.default_rng(0).random(1001)
        found = paired_interval([common + 0.1], [common])
        assert found.low == pytest.approx(0.1) and found.high == pytest.approx(0.1)
        assert found.difference == pytest.approx(0.1) and found.error == pytest.approx(0, abs=1e-12)

    def test_percentiles_of_the_mean_over_seeds(self):
        rng = np.random.default_rng(1)
        ours = [np.r_[0.5, rng.normal(0.5, 1, 4000)] for _ in range(4)]
        theirs = [np.zeros(4001)] * 4
        found = paired_interval(ours, theirs)
        assert found.error == pytest.approx(0.5, rel=0.05)
        assert found.low == pytest.approx(0.5 - 1.96 * 0.5, abs=0.1)
        assert found.high == pytest.approx(0.5 + 1.96 * 0.5, abs=0.1)

    def test_drawing_seeds_too_is_wider(self):
        rng = np.random.default_rng(2)
        ours = [level + np.r_[0, rng.normal(0, 0.1, 1000)] for level in (-1.0, 0.0, 1.0)]
        theirs = [np.zeros(1001)] * 3
        fixed, nested = paired_interval(ours, theirs), paired_interval(ours, theirs, nested_seed=5)
        assert nested.error > 5 * fixed.error
        assert nested.error == pytest.approx(math.sqrt(2 / 3 / 3), rel=0.15)

    def test_one_resample_has_no_interval(self):
        found = paired_interval([np.array([0.2, 0.3])], [np.array([0.1, 0.1])])
        assert found.difference == pytest.approx(0.1) and math.isnan(found.low)


class TestDeLong:
    @pytest.mark.parametrize("levels", [None, 5])
    def test_is_its_kernel_written_out(self, levels):
        rng = np.random.default_rng(6)
        ours, labels, _ = table(6, rows=60, levels=levels)
        theirs = ours + rng.normal(0, 0.3, 60)
        click, other = labels == 1, labels == 0

        def kernel(scores):
            p, q = scores[click][:, None], scores[other][None]
            return (p > q) + 0.5 * (p == q)

        gap = kernel(ours) - kernel(theirs)
        variance = gap.mean(axis=1).var(ddof=1) / click.sum()
        variance += gap.mean(axis=0).var(ddof=1) / other.sum()
        found = delong(ours, theirs, labels)
        assert found.error == pytest.approx(math.sqrt(variance), abs=1e-12)
        expected = roc_auc_score(labels, ours) - roc_auc_score(labels, theirs)
        assert found.difference == pytest.approx(expected, abs=1e-12)


class TestErrorOfOneAUC:
    def test_is_delongs_against_scores_that_say_nothing(self):
        """A constant has placements of one half each: their part of the variance is zero."""
        scores, labels, _ = table(9, rows=80)
        against_constant = delong(scores, np.full(80, 0.5), labels)
        assert auc_error(scores, labels) == pytest.approx(against_constant.error, abs=1e-15)

    def test_is_how_far_aucs_of_other_rows_lie_apart(self):
        rng = np.random.default_rng(11)
        found, told = [], []
        for _ in range(400):
            labels = (rng.random(300) < 0.7).astype(np.float32)
            scores = rng.normal(labels, 1)
            found.append(roc_auc_score(labels, scores))
            told.append(auc_error(scores, labels))
        assert np.mean(told) == pytest.approx(np.std(found), rel=0.1)

    def test_one_row_of_a_class_tells_none(self):
        assert math.isnan(auc_error(np.array([0.1, 0.2, 0.3]), np.array([0, 0, 1])))


def random_effects(rng, items=60, rows=20):
    """Two models of items that differ: one knows the items' quality with an error of its own."""
    item = np.repeat(np.arange(items), rows)
    quality, row = rng.normal(0, 1.2, items), rng.normal(0, 0.6, items * rows)
    labels = (rng.random(items * rows) < 1 / (1 + np.exp(-quality[item] - row))).astype(np.float32)
    ours = row + (quality + rng.normal(0, 1, items))[item]
    theirs = row + (quality + rng.normal(0, 1, items))[item]
    return ours, theirs, labels, item


@pytest.mark.slow
def test_intervals_over_items_cover_the_truth_and_intervals_over_rows_do_not():
    """Both models are equally good, so the true difference is 0; 200 draws of items."""
    covered = {"items": 0, "rows": 0}
    for number in range(200):
        ours, theirs, labels, item = random_effects(np.random.default_rng(1000 + number))
        for name, cluster in (("items", item), ("rows", np.arange(len(item)))):
            size = int(cluster.max()) + 1
            weights = np.r_[np.ones((1, size), np.int32), cluster_weights(size, 300, seed=number)]
            both = [RankedScores(scores, labels, cluster).auc(weights) for scores in (ours, theirs)]
            found = paired_interval(both[:1], both[1:])
            covered[name] += found.low <= 0 <= found.high
    assert 180 <= covered["items"] <= 194
    assert covered["rows"] < 170
