"""Curves of calibration that are not the best ones, not whole, or not monotone."""

from defects import defect

TESTS = "tests/evaluation/test_calibrators.py"
DEFECTS = {
    "recbole_cold/evaluation/calibrators.py": [
        defect("probabilities stand for logits", "return np.log(kept) - np.log1p(-kept)",
               "return kept", "test_it_is_the_optimum_of_scikit_learn",
               "test_the_gradient_is_zero", "test_the_error_falls_on_rows_it_has_not_seen[platt]"),
        defect("the slope is turned around", '+ curve["slope"]', '- curve["slope"]',
               "test_never_falls[platt]", "test_auc_stays"),
        defect("curves that turn scores around are kept", "if not ends[0] < ends[1]:", "if False:",
               "test_scores_that_order_nothing_or_the_wrong_way_have_none"),
        defect("ends are infinite", "np.clip(np.asarray(chance, np.float64), _LEAST, 1.0 - _LEAST)",
               "np.asarray(chance, np.float64)", "test_scores_at_the_ends_are_finite[platt]"),
        defect("corners are mixed up", '"score": found.X_thresholds_.tolist()',
               '"score": found.y_thresholds_.tolist()', "test_it_is_that_of_scikit_learn",
               "test_three_blocks_by_hand"),
        defect("clicks are those of nobody", '"clicks": int(np.sum(positive))', '"clicks": 0',
               "test_a_file_brings_back_the_same_curve"),
    ],
}  # fmt: skip
