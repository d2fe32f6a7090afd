"""AUC, LogLoss, F1 and RelaImpr against their definitions, scikit-learn and their invariances."""

import itertools
import math
import time

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import (
    BELOW_CHANCE,
    CONSTANT,
    EMPTY,
    METRICS,
    ONE_CLASS,
    auc,
    evaluate,
    f1,
    known_metrics,
    log_loss,
    rela_impr,
    score_warnings,
)


def draw(seed, rows=400, levels=None, dtype=torch.float32):
    """Probabilities and labels; ``levels`` few distinct values make heavy ties."""
    rng = np.random.default_rng(seed)
    scores = rng.random(rows) if levels is None else rng.integers(0, levels, rows) / levels
    labels = (rng.random(rows) < 0.2 + 0.5 * scores).astype(np.float32)
    labels[:2] = 0, 1
    return torch.tensor(scores, dtype=dtype), torch.tensor(labels)


def pairwise_auc(scores, labels):
    """Every positive against every negative: 1 for a win, 1/2 for a draw."""
    wins = pairs = 0.0
    for s, t in itertools.product(range(len(scores)), repeat=2):
        if labels[s] == 1 and labels[t] == 0:
            pairs += 1
            wins += 1.0 if scores[s] > scores[t] else 0.5 if scores[s] == scores[t] else 0.0
    return wins / pairs


class TestAUC:
    def test_four_rows_by_hand(self):
        """Positives .8 and .4 against negatives .6 and .4: win, win, loss, draw."""
        assert auc([0.8, 0.6, 0.4, 0.4], [1, 0, 1, 0]) == 2.5 / 4

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("levels", [1, 2, 7, None])
    def test_is_the_share_of_pairs_in_order(self, seed, levels):
        scores, labels = draw(seed, rows=60, levels=levels)
        assert auc(scores, labels) == pairwise_auc(scores.tolist(), labels.tolist())

    @pytest.mark.parametrize("levels", [1, 3, 50, None])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_equals_scikit_learn(self, levels, dtype):
        scores, labels = draw(11, rows=20_000, levels=levels, dtype=dtype)
        theirs = sklearn_metrics.roc_auc_score(labels.numpy(), scores.numpy())
        assert auc(scores, labels) == pytest.approx(theirs, abs=1e-12)

    def test_row_order_changes_no_bit(self):
        scores, labels = draw(3, rows=5000, levels=40)
        order = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
        assert auc(scores[order], labels[order]) == auc(scores, labels)

    def test_monotone_transforms_change_no_bit(self):
        scores, labels = draw(4, rows=2000, levels=64, dtype=torch.float64)
        logits = torch.logit(scores, eps=1e-9)
        assert len(logits.unique()) == len(scores.unique())
        assert auc(logits, labels) == auc(3 * scores - 7, labels) == auc(scores, labels)

    @pytest.mark.parametrize("levels", [5, None])
    def test_reversed_scores_and_swapped_labels_mirror_it(self, levels):
        scores, labels = draw(5, levels=levels)
        assert auc(-scores, labels) == pytest.approx(1 - auc(scores, labels), abs=1e-15)
        assert auc(scores, 1 - labels) == pytest.approx(1 - auc(scores, labels), abs=1e-15)

    def test_infinities_and_signed_zeros_rank_as_numbers(self):
        assert auc([math.inf, -math.inf], [1, 0]) == 1.0
        assert auc([0.0, -0.0], [1, 0]) == 0.5

    def test_neighbouring_floats_are_no_tie(self):
        """Near 1 a float32 has steps of 6e-8: no metric may round them away."""
        just_below = float(np.nextafter(np.float32(1), np.float32(0)))
        assert auc(torch.tensor([1.0, just_below]), [1, 0]) == 1.0

    @pytest.mark.parametrize("label", [0, 1])
    def test_one_class_is_not_defined(self, label):
        assert math.isnan(auc([0.1, 0.9], [label, label]))

    def test_many_pairs_do_not_overflow(self):
        """2 x 300,000 squared pairs exceed 32 bits."""
        scores = torch.arange(600_000, dtype=torch.float64)
        assert auc(scores, (scores >= 300_000).double()) == 1.0

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
    def test_other_types_of_scores(self, dtype):
        scores = torch.tensor([8, 6, 4, 4]).to(dtype)
        assert auc(scores, torch.tensor([1, 0, 1, 0])) == 2.5 / 4

    def test_a_prediction_with_gradient_is_scored(self):
        assert auc(torch.tensor([0.2, 0.7], requires_grad=True), [0, 1]) == 1.0

    def test_is_fast_enough_to_be_free(self):
        """The test set of ML-1M in about 10 ms; ten times that allows for a busy machine."""
        scores, labels = draw(6, rows=58_409)
        times = []
        for _ in range(5):
            start = time.process_time()
            auc(scores, labels)
            times.append(time.process_time() - start)
        assert min(times) < 0.1


class TestLogLoss:
    def test_by_hand(self):
        expected = -(math.log(0.9) + math.log(1 - 0.2) + math.log(0.5)) / 3
        assert log_loss([0.9, 0.2, 0.5], [1, 0, 1]) == pytest.approx(expected, rel=1e-7)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_equals_scikit_learn_with_certain_predictions(self, dtype):
        scores, labels = draw(7, rows=3000, levels=20, dtype=dtype)
        scores[:4] = torch.tensor([0.0, 1.0, 0.0, 1.0])
        labels[:4] = torch.tensor([0.0, 1.0, 1.0, 0.0])
        theirs = sklearn_metrics.log_loss(labels.numpy(), scores.numpy())
        assert log_loss(scores, labels) == pytest.approx(theirs, rel=1e-6)

    def test_is_summed_in_float64(self):
        """A float32 sum of two million terms would be off in the sixth digit."""
        scores = torch.full((2_000_000,), 0.3)
        exact = -math.log(float(np.float32(0.3)))
        assert log_loss(scores, torch.ones(2_000_000)) == pytest.approx(exact, rel=1e-11)

    def test_small_probabilities_keep_their_digits(self):
        """log(1 - 1e-10) is 0 when taken as log of a rounded difference in float32."""
        assert log_loss(torch.tensor([3e-7]), [0]) == pytest.approx(3e-7, rel=1e-4)

    def test_half_precision_is_clipped_like_single(self):
        """The precision of bfloat16 itself is .008 and would cap every mistake at 4.8."""
        wrong = log_loss(torch.tensor([1.0], dtype=torch.bfloat16), [0])
        assert wrong == pytest.approx(-math.log(2**-23))

    def test_one_class_is_defined(self):
        assert log_loss([0.5, 0.5], [1, 1]) == pytest.approx(math.log(2))

    def test_logits_are_refused(self):
        with pytest.raises(UserError, match=r"probabilities .* from -3 to 0.5"):
            log_loss([-3.0, 0.5], [0, 1])


class TestF1:
    def test_by_hand(self):
        """Mean .5: rows .9 and .7 are predicted positive: one hit, one wrong, one missed."""
        assert f1([0.9, 0.7, 0.3, 0.1], [1, 0, 1, 0]) == 0.5

    @pytest.mark.parametrize("threshold", ["mean", 0.5, 0.25])
    @pytest.mark.parametrize("levels", [4, None])
    def test_equals_scikit_learn(self, threshold, levels):
        scores, labels = draw(8, rows=3000, levels=levels, dtype=torch.float64)
        cut = scores.numpy().mean() if threshold == "mean" else threshold
        theirs = sklearn_metrics.f1_score(labels.numpy(), scores.numpy() > cut)
        assert f1(scores, labels, threshold) == pytest.approx(theirs, abs=1e-12)

    def test_a_score_on_the_threshold_is_negative(self):
        """The mean is exactly .5, and so is one score: strictly above counts, nothing else."""
        assert f1([0.25, 0.5, 0.75], [0, 1, 1]) == 2 / 3
        assert f1([0.25, 0.5, 0.75], [0, 1, 1], threshold=0.5) == 2 / 3

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("value", [0.1, 0.3, 0.7])
    def test_a_constant_is_never_above_its_mean(self, value, dtype):
        """Rounding in the mean must not turn all rows of a constant prediction positive."""
        assert f1(torch.full((1001,), value, dtype=dtype), torch.ones(1001)) == 0.0

    def test_no_positive_at_all_is_zero(self):
        assert f1([0.1, 0.2], [0, 0], threshold=0.5) == 0.0


def test_rela_impr_by_hand():
    assert rela_impr(0.75, 0.625) == 1.0
    assert rela_impr(0.5625, 0.625) == -0.5


@pytest.mark.parametrize("base", [0.5, 0.4, math.nan])
def test_rela_impr_against_chance_is_not_defined(base):
    assert math.isnan(rela_impr(0.7, base))


def test_evaluate_returns_the_named_metrics_in_order():
    scores, labels = draw(9)
    values = evaluate(scores, labels, ["F1", "AUC", "RelaImpr"], f1_threshold=0.25)
    assert list(values) == ["F1", "AUC"]
    assert values == {"F1": f1(scores, labels, 0.25), "AUC": auc(scores, labels)}


def test_every_metric_ignores_row_order():
    scores, labels = draw(10, rows=4096, levels=30, dtype=torch.float64)
    again = evaluate(scores.flip(0), labels.flip(0), METRICS)
    assert evaluate(scores, labels, METRICS) == pytest.approx(again, rel=1e-14)


def test_numpy_lists_and_tensors_are_the_same():
    scores, labels = draw(12)
    expected = evaluate(scores, labels, METRICS)
    read_only = scores.numpy().copy()
    read_only.flags.writeable = False  # as a memory-mapped column is
    assert evaluate(read_only, labels.numpy().astype(bool), METRICS) == expected
    double = evaluate(scores.double(), labels, METRICS)
    assert evaluate(scores.tolist(), labels.tolist(), METRICS) == double


@pytest.mark.parametrize(("name", "near"), [("RelImp", "RelaImpr"), ("loglos", "LogLoss")])
def test_an_unknown_metric_is_answered_with_the_nearest(name, near):
    with pytest.raises(UserError, match=f"metric '{name}' is none of AUC.*did you mean '{near}'"):
        known_metrics(["AUC", name])


def test_capitals_do_not_matter_and_each_is_named_once():
    assert known_metrics(["auc", "LOGLOSS", "AUC"]) == ["AUC", "LogLoss"]
    assert known_metrics("f1") == ["F1"]


def test_an_unknown_metric_like_none_is_answered_with_all():
    with pytest.raises(UserError, match="'xyzzy' is none of AUC, LogLoss, F1, RelaImpr; choose"):
        evaluate([0.5], [1], ["xyzzy"])


@pytest.mark.parametrize("metric", METRICS.values())
class TestBadTables:
    def test_nan_scores_are_counted(self, metric):
        with pytest.raises(UserError, match="1 of 3 scores are not a number"):
            metric([0.1, math.nan, 0.2], [0, 1, 0])

    @pytest.mark.parametrize("label", [2.0, -1.0, math.nan, 0.5])
    def test_labels_other_than_0_and_1_are_refused(self, metric, label):
        with pytest.raises(UserError, match="labels must be 0 or 1"):
            metric([0.1, 0.2], [0.0, label])

    def test_no_row_is_not_defined(self, metric):
        assert math.isnan(metric(torch.empty(0), torch.empty(0)))

    def test_a_column_is_not_a_list_of_rows(self, metric):
        """[n, 1] against [n] would broadcast to n x n labels."""
        with pytest.raises(ValueError, match="one score and one label per row"):
            metric(torch.zeros(3, 1), torch.zeros(3))
        with pytest.raises(ValueError, match="one score and one label per row"):
            metric(torch.zeros(3, 1), torch.zeros(3, 1))


class TestWarnings:
    def test_a_good_table_has_none(self):
        assert score_warnings([0.1, 0.9], [0, 1], {"AUC": 1.0}) == []

    def test_no_rows(self):
        assert score_warnings([], [], {"AUC": math.nan}) == [EMPTY]

    def test_worse_than_chance(self):
        assert score_warnings([0.9, 0.1], [0, 1], {"AUC": 0.0}) == [BELOW_CHANCE]

    def test_constant_scores(self):
        assert score_warnings([0.3, 0.3], [0, 1], {"AUC": 0.5}) == [CONSTANT]

    @pytest.mark.parametrize("label", [0, 1])
    def test_one_class(self, label):
        assert score_warnings([0.1, 0.3], [label, label], {"AUC": math.nan}) == [ONE_CLASS]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_numbers():
    scores, labels = draw(13, rows=58_409, levels=500)
    there = evaluate(scores.cuda(), labels.cuda(), METRICS)
    assert there == pytest.approx(evaluate(scores, labels, METRICS), rel=1e-12)
