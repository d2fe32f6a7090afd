"""Areas under the warm-up curve, and rows to reach the yardstick."""

from defects import defect

TESTS = "tests/report/test_warm_up_area.py"
SOME = True
DEFECTS = {
    "recbole_cold/report/_warm_up_area.py": [
        defect("phases count alike, however many rows they have", "(right - left) * (low + high) / "
               "2 for", "(low + high) / 2 for", "TestArea::test_of_a_flat_curve_is_its_level",
               "test_of_a_straight_line_is_its_middle_wherever_it_is_cut"),
        defect("steps, not trapezoids", "(low + high) / 2 for", "high for",
               "TestArea::test_by_hand", "test_in_logarithms_by_hand"),
        defect("the area is no mean", "return total / (n[-1] - n[0])", "return total",
               "test_of_a_flat_curve_is_its_level"),
        defect("logarithms of another base and origin", "math.log2(1 + rows)",
               "math.log2(2 + rows)", "test_in_logarithms_by_hand"),
        defect("only phases can be reached", "return left + (right - left) * (before - goal) / "
               "(before - after)", "return right", "test_is_linear_between_phases",
               "test_the_first_crossing_counts"),
        defect("the yardstick is that of the first phase", "_means(yardstick)[-1]",
               "_means(yardstick)[0]", "test_means_over_seeds_and_the_yardstick"),
        defect("higher log-loss is better", "[cost(metric, value) for value in mean]",
               "[-value for value in mean]", "test_lower_logloss_is_better"),
        defect("a seed need not have every phase", "set.intersection(*", "set.union(*",
               "test_a_seed_without_a_phase_is_left_out"),
        defect("rows seen are those of one phase", "*accumulate(counts[part] / new for part in "
               "parts)", "*(counts[part] / new for part in parts)",
               "test_rows_seen_are_those_of_the_split"),
    ],
}  # fmt: skip
