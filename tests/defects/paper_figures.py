"""The forms of published figures."""

from defects import defect

TESTS = "tests/report/test_paper_figures.py"
SOME = True
DEFECTS = {
    "recbole_cold/report/_paper_figures.py": [
        defect("the band is one-sided", "mean - std, mean + std, color", "mean, mean + std, color",
               "test_curves_have_means_bands_and_published_marks"),
        defect("bars stand on one another", "0.8 / count\n            axes.bar(",
               "0.0 / count\n            axes.bar(",
               "test_bars_stand_side_by_side_at_their_means"),
        defect("a sweep keeps the order of the file",
               "        rows.sort(key=lambda each: each.at or 0.0)\n", "",
               "test_a_sweep_is_a_line_per_phase_in_the_order_of_places"),
        defect("all rows look alike", "_style(number) for", "_style(0) for",
               "test_a_row_looks_alike_in_all_panels"),
        defect("published numbers alone are drawn",
               "return any(not np.isnan(_array(s.mean)).all()",
               "return any(not np.isnan(_array(s.published)).all()",
               "test_published_numbers_alone_are_no_picture"),
        defect("a batch of one class has a number", "if 0 < y.sum() < size else math.nan",
               "if y.sum() else math.nan", "test_a_metric_of_every_whole_batch"),
    ],
}  # fmt: skip
