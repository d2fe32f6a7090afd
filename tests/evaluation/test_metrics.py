"""AUC, LogLoss, F1 and RelaImpr against their definitions, scikit-learn and their invariances."""

import itertools
import math
import time

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from sklearn.linear_model import LogisticRegression

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import (
    BELOW_CHANCE,
    CONSTANT,
    EMPTY,
    METRICS,
    ONE_CLASS,
    auc,
    best_where,
    between_auc,
    brier,
    calibrated_log_loss,
    calibration_error,
    calibration_loss,
    cost,
    evaluate,
    evaluate_with_groups,
    f1,
    known_metrics,
    log_loss,
    normalised_entropy,
    pcoc_by_count,
    predicted_over_clicks,
    rela_impr,
    reliability,
    score_warnings,
    to_select_by,
    within_auc,
)


def draw(seed, rows=400, levels=None, dtype=torch.float32):
    """Probabilities and labels; ``levels`` few distinct values make heavy ties."""
    rng = np.random.default_rng(seed)
    scores = rng.random(rows) if levels is None else rng.integers(0, levels, rows) / levels
    labels = (rng.random(rows) < 0.2 + 0.5 * scores).astype(np.float32)
    labels[:2] = 0, 1
    return torch.tensor(scores, dtype=dtype), torch.tensor(labels)


def everything(scores, labels, codes=None):
    """All metrics, with some items and users."""
    codes = np.arange(len(scores)) % 37 if codes is None else codes
    return evaluate(scores, labels, METRICS, groups={"cold": codes, "user": codes % 5})


def one(name, scores, labels):
    """The value of one metric; all rows are of one item and user."""
    codes = torch.zeros(np.shape(np.asarray(scores))) if np.ndim(scores) else torch.zeros(())
    return evaluate(scores, labels, [name], groups={"cold": codes, "user": codes})[name]


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
    codes = np.arange(len(scores)) % 37
    again = everything(scores.flip(0), labels.flip(0), codes[::-1].copy())
    assert everything(scores, labels) == pytest.approx(again, rel=1e-14)


def test_numpy_lists_and_tensors_are_the_same():
    scores, labels = draw(12)
    expected = everything(scores, labels)
    read_only = scores.numpy().copy()
    read_only.flags.writeable = False  # as a memory-mapped column is
    assert everything(read_only, labels.numpy().astype(bool)) == expected
    double = everything(scores.double(), labels)
    assert everything(scores.tolist(), labels.tolist()) == double


@pytest.mark.parametrize(("name", "near"), [("RelImp", "RelaImpr"), ("loglos", "LogLoss")])
def test_an_unknown_metric_is_answered_with_the_nearest(name, near):
    with pytest.raises(UserError, match=f"metric '{name}' is none of AUC.*did you mean '{near}'"):
        known_metrics(["AUC", name])


def test_capitals_do_not_matter_and_each_is_named_once():
    assert known_metrics(["auc", "LOGLOSS", "AUC"]) == ["AUC", "LogLoss"]
    assert known_metrics("f1") == ["F1"]


def test_an_unknown_metric_like_none_is_answered_with_all():
    with pytest.raises(UserError, match=r"'xyzzy' is none of AUC, .*, RelaImpr; choose"):
        evaluate([0.5], [1], ["xyzzy"])


@pytest.mark.parametrize("metric", METRICS)
class TestBadTables:
    def test_nan_scores_are_counted(self, metric):
        with pytest.raises(UserError, match="1 of 3 scores are not a number"):
            one(metric, [0.1, math.nan, 0.2], [0, 1, 0])

    @pytest.mark.parametrize("label", [2.0, -1.0, math.nan, 0.5])
    def test_labels_other_than_0_and_1_are_refused(self, metric, label):
        with pytest.raises(UserError, match="labels must be 0 or 1"):
            one(metric, [0.1, 0.2], [0.0, label])

    def test_no_row_is_not_defined(self, metric):
        assert math.isnan(one(metric, torch.empty(0), torch.empty(0)))

    def test_a_column_is_not_a_list_of_rows(self, metric):
        """[n, 1] against [n] would broadcast to n x n labels."""
        with pytest.raises(ValueError, match="one score and one label per row"):
            one(metric, torch.zeros(3, 1), torch.zeros(3))
        with pytest.raises(ValueError, match="one score and one label per row"):
            one(metric, torch.zeros(3, 1), torch.zeros(3, 1))


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
    there = everything(scores.cuda(), labels.cuda())
    assert there == pytest.approx(everything(scores, labels), rel=1e-12)


def inside(scores, labels, group):
    """Mean AUC of groups with both classes, weighted by rows: the definition."""
    total = rows = 0.0
    for code in set(group.tolist()):
        own = group == code
        if 0 < labels[own].sum() < own.sum():
            total += int(own.sum()) * pairwise_auc(scores[own].tolist(), labels[own].tolist())
            rows += int(own.sum())
    return total / rows


def between(scores, labels, group):
    """All pairs of groups with different shares of clicks, weighted by pairs of rows."""
    won = pairs = 0.0
    for a, b in itertools.permutations(set(group.tolist()), 2):
        of_a, of_b = group == a, group == b
        if labels[of_a].mean() > labels[of_b].mean():
            weight = int(of_a.sum()) * int(of_b.sum())
            pairs += weight
            gap = scores[of_a].mean() - scores[of_b].mean()
            won += weight * (1.0 if gap > 0 else 0.5 if gap == 0 else 0.0)
    return won / pairs


def grouped(seed, rows=90, groups=9):
    """Scores with ties whose sums are exact, labels, and codes of groups of different sizes."""
    scores, labels = draw(seed, rows=rows, levels=8, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    return scores, labels, torch.tensor(5 * rng.integers(0, groups, rows) ** 2)


class TestGroups:
    def test_two_items_by_hand(self):
        """Item 1: a win and a draw, item 2: a loss, item 3 has clicks only."""
        scores = [0.9, 0.2, 0.9, 0.3, 0.4, 0.5]
        found = within_auc(scores, [1, 0, 0, 1, 0, 1], [1, 1, 1, 2, 2, 3])
        assert found.value == (3 * 0.75 + 2 * 0.0) / 5
        assert found.macro == 0.375
        assert (found.groups, found.of, found.rows) == (2, 3, 5 / 6)

    @pytest.mark.parametrize("seed", range(8))
    def test_are_their_definitions(self, seed):
        scores, labels, group = grouped(seed)
        assert within_auc(scores, labels, group).value == pytest.approx(
            inside(scores, labels, group), abs=1e-14
        )
        assert between_auc(scores, labels, group) == pytest.approx(
            between(scores, labels, group), abs=1e-14
        )

    def test_one_number_per_group_changes_nothing_inside_and_orders_groups(self):
        scores, labels, group = grouped(3, rows=600)
        shift = torch.tensor([float(labels[group == code].mean()) for code in group]) * 100
        assert within_auc(scores + shift, labels, group) == within_auc(scores, labels, group)
        assert between_auc(scores + shift, labels, group) == 1.0

    def test_row_order_changes_no_bit(self):
        scores, labels, group = grouped(4, rows=2000)
        scores = scores + torch.rand(2000, dtype=torch.float64)
        order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))
        mixed = scores[order], labels[order], group[order]
        assert within_auc(*mixed) == within_auc(scores, labels, group)
        assert between_auc(*mixed) == between_auc(scores, labels, group)

    def test_one_group_is_pooled_auc(self):
        scores, labels = draw(6)
        group = torch.zeros(len(scores))
        assert within_auc(scores, labels, group).value == auc(scores, labels)
        assert math.isnan(between_auc(scores, labels, group))

    def test_without_a_group_of_both_classes_it_is_not_defined(self):
        found = within_auc([0.1, 0.9], [0, 1], [3, 4])
        assert math.isnan(found.value) and found.groups == 0 and found.of == 2
        assert math.isnan(within_auc([], [], []).value) and math.isnan(between_auc([], [], []))

    def test_evaluate_reads_the_codes_of_its_groups(self):
        scores, labels, group = grouped(5)
        users = torch.arange(len(scores)) % 7
        codes = {"cold": group, "user": users}
        names = ["WithinAUC", "GAUC", "BetweenAUC", "AUC"]
        values, told = evaluate_with_groups(scores, labels, names, groups=codes)
        assert list(values) == names
        assert values["GAUC"] == within_auc(scores, labels, users).value
        assert values["WithinAUC"] == within_auc(scores, labels, group).value
        assert told.keys() == {"WithinAUC", "GAUC"} and told["GAUC"]["of"] == 7


class TestCalibration:
    def test_calibrated_log_loss_is_that_of_logistic_regression(self):
        scores, labels = draw(7, rows=3000, dtype=torch.float64)
        scores = torch.sigmoid(2 * torch.logit(scores, eps=1e-6) + 1)
        logit = torch.logit(scores)[:, None].numpy()
        fitted = LogisticRegression(C=1e12, tol=1e-10).fit(logit, labels.numpy())
        theirs = sklearn_metrics.log_loss(labels.numpy(), fitted.predict_proba(logit)[:, 1])
        assert calibrated_log_loss(scores, labels) == pytest.approx(theirs, abs=1e-9)
        both = calibrated_log_loss(scores, labels) + calibration_loss(scores, labels)
        assert both == pytest.approx(log_loss(scores, labels), abs=1e-12)

    def test_shift_and_slope_of_the_logits_do_not_matter(self):
        scores, labels = draw(8, rows=800, dtype=torch.float64)
        moved = torch.sigmoid(0.3 * torch.logit(scores) - 2)
        assert calibrated_log_loss(moved, labels) == pytest.approx(
            calibrated_log_loss(scores, labels), abs=1e-10
        )

    def test_constant_scores_have_the_entropy_of_the_labels(self):
        labels = torch.tensor([1.0, 0, 0, 0] * 50)
        right, wrong = torch.full((200,), 0.25), torch.full((200,), 0.9)
        entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
        assert normalised_entropy(right, labels) == pytest.approx(1.0, abs=1e-12)
        assert calibrated_log_loss(wrong, labels) == pytest.approx(entropy, abs=1e-9)
        assert calibration_error(wrong, labels) == pytest.approx(0.65, abs=1e-6)
        assert predicted_over_clicks(wrong, labels) == pytest.approx(3.6, abs=1e-6)

    def test_separated_classes_end(self):
        assert calibrated_log_loss([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]) == pytest.approx(0, abs=1e-6)
        assert calibrated_log_loss([0.1, 0.2], [1, 1]) == 0.0

    def test_true_probabilities_are_calibrated(self):
        rng = np.random.default_rng(9)
        chance = rng.beta(1, 3, 40_000)
        labels = (rng.random(40_000) < chance).astype(float)
        error = np.sqrt(2 / np.pi) * np.sqrt((chance * (1 - chance)).mean() / (40_000 / 15))
        assert calibration_error(chance, labels) < 3 * error
        assert abs(predicted_over_clicks(chance, labels) - 1) < 0.03
        assert brier(chance, labels) == pytest.approx(
            sklearn_metrics.brier_score_loss(labels, chance), abs=1e-12
        )

    def test_bins_hold_equally_many_rows(self):
        """30 rows in 15 bins of two: each bin's gap is the mean of its two rows."""
        scores = torch.arange(1, 31, dtype=torch.float64) / 40
        labels = torch.tensor([0.0, 0.0, 1.0] * 10, dtype=torch.float64)
        by_hand = (scores - labels).reshape(15, 2).mean(dim=1).abs().mean()
        assert calibration_error(scores, labels) == pytest.approx(float(by_hand), abs=1e-14)

    def test_reliability_by_hand(self):
        """30 rows in 15 bins of two."""
        scores = torch.arange(30, 0, -1, dtype=torch.float64) / 40
        labels = torch.tensor([0.0, 0.0, 1.0] * 10, dtype=torch.float64)
        found = reliability(scores, labels)
        low = list(zip(scores.tolist()[::-1], labels.tolist()[::-1], strict=True))
        by_hand = [(low[k], low[k + 1]) for k in range(0, 30, 2)]
        assert found["rows"] == [2] * 15
        assert found["predicted"] == pytest.approx([(a[0] + b[0]) / 2 for a, b in by_hand])
        assert found["clicked"] == pytest.approx([(a[1] + b[1]) / 2 for a, b in by_hand])

    def test_the_bins_of_reliability_are_those_of_the_error(self):
        rng = np.random.default_rng(4)
        scores = np.round(rng.uniform(size=500), 2)  # ties
        labels = (rng.uniform(size=500) < scores**2).astype(float)
        bins = reliability(scores, labels)
        filled = [(p, c, n) for p, c, n in zip(*bins.values(), strict=True) if n]
        error = sum(abs(p - c) * n for p, c, n in filled) / 500
        assert error == pytest.approx(calibration_error(scores, labels), abs=1e-5)

    def test_reliability_of_ties_and_of_nothing(self):
        bins = reliability([0.4] * 6, [1, 0, 1, 0, 0, 0])
        assert bins["rows"] == [0] * 7 + [6] + [0] * 7
        assert bins["clicked"] == [None] * 7 + [round(1 / 3, 6)] + [None] * 7
        assert reliability([], []) is None
        assert reliability([2.0, -1.0], [1, 0]) is None, "logits have no reliability"

    @pytest.mark.parametrize("metric", ["ECE", "Brier", "PCOC", "NE", "CalibratedLogLoss"])
    def test_logits_are_refused_by_name(self, metric):
        with pytest.raises(UserError, match=f"(LogLoss|{metric}) needs probabilities"):
            evaluate([2.0, -1.0], [1, 0], [metric])


class TestByCount:
    """PCOC of rare and of frequent items, by the number of their evaluated rows."""

    def test_by_hand(self):
        """Eight items with 1..8 rows, all scored .5; items of 1 to 4 rows are always clicked."""
        group = torch.tensor([code for code in range(1, 9) for _ in range(code)])
        labels = (group <= 4).long()
        labels[-1] = 1  # the last row of the item with 8
        found = pcoc_by_count(torch.full((36,), 0.5), labels, group)
        assert (found["least"], found["most"]) == ([1, 3, 5, 7], [2, 4, 6, 8])
        assert (found["groups"], found["rows"]) == ([2, 2, 2, 2], [3, 7, 11, 15])
        assert found["value"][:2] == [0.5, 0.5] and math.isnan(found["value"][2])
        assert found["value"][3] == pytest.approx(7.5)

    def test_items_with_equal_counts_stay_together(self):
        group = torch.arange(10).repeat_interleave(torch.tensor([2] * 9 + [5]))
        found = pcoc_by_count(torch.full((23,), 0.5), torch.arange(23) % 2, group)
        assert (found["least"], found["most"], found["groups"]) == ([2, 5], [2, 5], [9, 1])

    def test_parts_make_up_the_whole(self):
        scores, labels, group = grouped(6, rows=800, groups=30)
        scores = torch.sigmoid(scores)
        found = pcoc_by_count(scores, labels, group)
        assert sum(found["rows"]) == 800 and sum(found["groups"]) == len(group.unique())
        counts = torch.bincount(group)
        parts = []
        for least, most in zip(found["least"], found["most"], strict=True):
            inside = (counts[group] >= least) & (counts[group] <= most)
            parts.append(float(scores[inside].sum() / labels[inside].sum()))
        assert found["value"] == pytest.approx(parts)

    def test_is_told_beside_pcoc_where_groups_are_known(self):
        scores, labels, group = grouped(7)
        scores = torch.sigmoid(scores)
        codes = {"cold": group, "user": group}
        _, told = evaluate_with_groups(scores, labels, ["PCOC", "ECE"], groups=codes)
        assert told == {"PCOC": pcoc_by_count(scores, labels, group)}
        assert evaluate_with_groups(scores, labels, ["PCOC"])[1] == {}


class TestDirections:
    def test_costs_order_values_from_best_to_worst(self):
        assert cost("AUC", 0.8) < cost("AUC", 0.7)
        assert cost("LogLoss", 0.5) < cost("LogLoss", 0.6)
        assert cost("PCOC", 1.1) < cost("PCOC", 0.8) < cost("PCOC", 2.0) < cost("PCOC", 0.0)

    def test_what_has_no_direction_is_not_selected_by(self):
        assert to_select_by("WithinAUC") == "WithinAUC"
        for metric in ("PCOC", "RelaImpr"):
            with pytest.raises(UserError, match=f"valid_metric {metric}"):
                to_select_by(metric)

    def test_legends_name_each_kind(self):
        assert best_where(["AUC"]) == ""
        told = best_where(["AUC", "LogLoss", "PCOC", "NE"])
        assert told == " (LogLoss, NE: lowest; PCOC: nearest to 1)"
