"""The area under the warm-up curve, and the rows that a method needs to reach the yardstick."""

import math

import pytest
from made_up_results import BIAS, a_comparison, a_document, a_run

from recbole_cold.report import Comparison
from recbole_cold.report._warm_up_area import area, log_area, rows_seen, rows_to_reach, warm_up

N = [0.0, 10.0, 20.0, 30.0]


class TestArea:
    @pytest.mark.parametrize("mean", [area, log_area])
    def test_of_a_flat_curve_is_its_level(self, mean):
        assert mean(N, [0.7] * 4) == pytest.approx(0.7, abs=1e-15)

    @pytest.mark.parametrize("mean", [area, log_area])
    def test_lies_between_the_ends_of_a_rising_curve(self, mean):
        assert 0.6 < mean(N, [0.6, 0.7, 0.71, 0.72]) < 0.72

    def test_by_hand(self):
        """Trapezoids of .65, .725 and .775, each a third of the way."""
        assert area(N, [0.6, 0.7, 0.75, 0.8]) == pytest.approx((0.65 + 0.725 + 0.775) / 3)

    def test_of_a_straight_line_is_its_middle_wherever_it_is_cut(self):
        assert area([0, 1, 29, 30], [0.0, 0.1, 2.9, 3.0]) == pytest.approx(1.5)

    def test_in_logarithms_by_hand(self):
        """Phases at n = 0, 1, 3: log2(1 + n) is 0, 1, 2."""
        assert log_area([0, 1, 3], [0.0, 1.0, 1.0]) == pytest.approx(0.75)
        assert area([0, 1, 3], [0.0, 1.0, 1.0]) == pytest.approx((0.5 + 2) / 3)

    def test_logarithms_weigh_the_first_rows(self):
        """Early gains count more, late ones less."""
        early, late = [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]
        assert log_area(N, early) < area(N, early)  # the rise itself takes most of log2(1 + n)
        assert log_area(N, late) < area(N, late)
        assert log_area([0, 1, 2, 3], early) > log_area([0, 1, 2, 3], late) + 0.4


class TestReach:
    def test_is_linear_between_phases(self):
        assert rows_to_reach(N, [-0.6, -0.7, -0.75, -0.8], -0.72) == pytest.approx(14.0)

    def test_at_a_phase_it_is_that_phase(self):
        assert rows_to_reach(N, [-0.6, -0.7, -0.75, -0.8], -0.75) == 20.0

    def test_at_once_and_never(self):
        assert rows_to_reach(N, [-0.6, -0.7, -0.75, -0.8], -0.6) == 0.0
        assert rows_to_reach(N, [-0.6, -0.7, -0.75, -0.8], -0.81) == math.inf

    def test_the_first_crossing_counts(self):
        assert rows_to_reach(N, [-0.6, -0.8, -0.6, -0.9], -0.7) == pytest.approx(5.0)


class TestOfResults:
    def test_rows_seen_are_those_of_the_split(self):
        assert rows_seen(a_document({})) == N
        common = a_document({}, phases=["cold", "first", "second"])
        common["split"] |= {
            "phases": [["cold", None, "test"], ["first", "a", "test"], ["second", "b", "test"]],
            "counts": {"a": 100, "b": 75},
        }
        assert rows_seen(common) == [0.0, 2.0, 3.5]

    def test_are_unknown_without_a_split_that_says_so(self):
        assert rows_seen(a_document({}, split={"counts": {}, "hash": "h"})) is None
        document = a_document({}, split={"counts": {}, "hash": "h"})
        assert warm_up(Comparison(a_comparison({"FM": document})), "AUC") == {}

    def test_means_over_seeds_and_the_yardstick(self):
        auc = (0.67, 0.75, 0.77, 0.78)
        found = warm_up(Comparison(a_comparison({"FM": a_document({"New": auc})})), "AUC")
        new = found["FM", "New"]
        assert new.area == pytest.approx(area(N, auc), abs=1e-5)
        assert new.area_std == pytest.approx(0.001 * math.sqrt(2.5), abs=1e-5)
        assert new.log_area == pytest.approx(log_area(N, auc), abs=1e-5)
        assert new.reach == pytest.approx(15.0, abs=0.01)  # from .75 to .77, ItemBias ends at .76
        assert found["FM", "ItemBias"].reach == pytest.approx(30.0)
        assert math.isinf(found["FM", "Base"].reach)

    def test_lower_logloss_is_better(self):
        auc = (0.67, 0.75, 0.77, 0.78)
        found = warm_up(Comparison(a_comparison({"FM": a_document({"New": auc})})), "LogLoss")
        assert found["FM", "New"].reach == pytest.approx(15.0, abs=0.01)
        assert math.isinf(found["FM", "Base"].reach)

    def test_a_seed_without_a_phase_is_left_out(self):
        document = a_document({"New": BIAS})
        del document["runs"][2]["seeds"][0]["phases"]["warm_b"]
        found = warm_up(Comparison(a_comparison({"FM": document})), "AUC")
        assert found["FM", "New"].seeds == 4
        document["runs"][2]["seeds"] = document["runs"][2]["seeds"][:1]
        found = warm_up(Comparison(a_comparison({"FM": document})), "AUC")
        assert ("FM", "New") not in found

    def test_without_the_yardstick_nothing_is_reached(self):
        document = a_document({"New": BIAS}, leave_out=["ItemBias"])
        document["runs"].append(a_run("ItemBias[item_bias_variance=1]", BIAS, 0))
        found = warm_up(Comparison(a_comparison({"FM": document})), "AUC")
        assert found["FM", "New"].reach == pytest.approx(30.0, abs=0.01)  # another of the method
        document["runs"].pop()
        found = warm_up(Comparison(a_comparison({"FM": document})), "AUC")
        assert math.isnan(found["FM", "New"].reach)
