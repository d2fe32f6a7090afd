"""Holm's correction and Wilcoxon's signed ranks."""

from defects import defect

TESTS = "tests/comparison/test_comparison.py"
SOME = True
DEFECTS = {
    "recbole_cold/evaluation/significance.py": [
        defect("every p-value counts the whole family", "(len(known) - k) * p", "len(known) * p",
               "TestHolm::test_by_hand", "test_a_textbook_family",
               "test_rejects_as_the_step_down_procedure_does"),
        defect("a corrected value may be below the one before it",
               "highest = max(highest, min(1.0, (len(known) - k) * p))",
               "highest = min(1.0, (len(known) - k) * p)", "TestHolm::test_by_hand"),
        defect("a corrected value may be above one", "min(1.0, (len(known) - k) * p)",
               "(len(known) - k) * p", "test_ends_at_one"),
        defect("what was not tested belongs to the family", "(len(known) - k) * p",
               "(len(p_values) - k) * p", "test_what_was_not_tested_is_not_counted"),
        defect("Wilcoxon's test is one-sided", "stats.wilcoxon(differences).pvalue",
               'stats.wilcoxon(differences, alternative="greater").pvalue',
               "test_wilcoxon_by_counting_all_signs"),
        defect("an interval of 90 %", "CONFIDENCE = 0.95", "CONFIDENCE = 0.9",
               "test_half_the_interval_by_hand"),
        defect("the whole interval for half of it",
               "float(found.confidence_interval(CONFIDENCE).high) - mean",
               "float(found.confidence_interval(CONFIDENCE).high)",
               "test_half_the_interval_by_hand"),
        defect("five pairs are enough", "FEWEST_FOR_WILCOXON = 6", "FEWEST_FOR_WILCOXON = 5",
               "test_wilcoxon_needs_six_and_a_difference"),
    ],
    "recbole_cold/report/_comparison.py": [
        defect("Wilcoxon's test is always there", "wilcoxon_p(*pairs) if self.wilcoxon else "
               "math.nan", "wilcoxon_p(*pairs)", "test_wilcoxon_is_off_unless_asked_for"),
        defect("a result without a metric is whole", "wanted <= set(phase[\"metrics\"])",
               "True", "test_a_result_without_a_metric_is_not_whole"),
    ],
}  # fmt: skip
