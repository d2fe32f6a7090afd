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
        defect("batches of one class are not counted", 'f"{gone:,} of all {sum(counts):,} have" if',
               'f"0 of all {sum(counts):,} have" if',
               "test_batches_are_counted_in_the_words_of_the_picture"),
        defect("two rows have one look", '("", "////", "....", "xxxx")[again]', '""',
               "test_boxes_with_one_colour_differ_by_their_hatches"),
        defect("a batch of one class has a number", "if 0 < y.sum() < size else math.nan",
               "if y.sum() else math.nan", "test_a_metric_of_every_whole_batch"),
    ],
    "recbole_cold/report/_ridgelines.py": [
        defect("all ridges have one area", "return places, heights / heights.max()",
               "return places, heights", "test_a_ridge_is_a_kernel_density_with_its_peak_at_one"),
        defect("a ridge hangs below its line", "        x, y = found\n",
               "        x, y = found[0], -found[1]\n",
               "test_ridgelines_are_a_panel_per_phase_and_a_ridge_per_row"),
        defect("all panels have one phase", "_draw(axes, place, ridge, number, order)",
               "_draw(axes, place, ridge, 0, order)",
               "test_ridgelines_are_a_panel_per_phase_and_a_ridge_per_row"),
        defect("an AUC may be above one", "top if most is None else min(top, most)", "top",
               "test_ridgelines_are_a_panel_per_phase_and_a_ridge_per_row"),
    ],
}  # fmt: skip
