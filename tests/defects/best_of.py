"""The expected best of n trials."""

from defects import defect

TESTS = "tests/evaluation/test_best_of.py"
DEFECTS = {
    "recbole_cold/evaluation/best_of.py": [
        defect("places are those of trials, not of sorted values",
               "enumerate(sorted(values), 1)", "enumerate(values, 1)",
               "TestExpectedBest::test_by_enumeration",
               "test_one_draw_is_the_mean_and_many_are_the_best",
               "test_more_draws_are_never_worse"),
        defect("no draw is something", "if not values or n < 1:", "if False:",
               "test_nothing_to_draw"),
        defect("the first counts as a draw more", "for n in range(1, most)] if reached",
               "for n in range(2, most + 1)] if reached", "test_the_first_is_tried_in_any_case"),
        defect("a failed trial is not one of the draws",
               "[first if math.isnan(value) else better(first, value) for value in drawn]",
               "[better(first, v) for v in drawn if not math.isnan(v)]",
               "test_a_failed_trial_gains_nothing"),
        defect("a default that failed is a value", "if first is None or math.isnan(first):",
               "if first is None:", "test_without_a_first_they_are_draws"),
        defect("nothing came through, and something is drawn",
               "for n in range(1, most + 1)] if known else []",
               "for n in range(1, most + 1)]", "test_one_trial_and_none"),
    ],
}  # fmt: skip
