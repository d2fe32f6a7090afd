"""Looks of rows in pictures, small multiples, reliability diagrams."""

from defects import defect

TESTS = "tests/report/test_many_rows.py"
SOME = True
DEFECTS = {
    "recbole_cold/report/_looks.py": [
        defect("the worst are in colour", "sum(other < ours for other in costs.values())",
               "sum(other > ours for other in costs.values())",
               "test_the_best_are_in_colour_and_the_rest_grey",
               "test_the_best_of_a_loss_are_the_lowest"),
        defect("the cold phase chooses too", "warm = set(phases[1:] or phases)",
               "warm = set(phases[:1])", "test_the_cold_phase_does_not_choose"),
        defect("markers turn with colours", "MARKERS[(place + turn) % len(MARKERS)]",
               "MARKERS[place]", "test_no_colour_comes_twice_with_one_marker"),
        defect("plain and matched rows share a marker", '{"plain": 0, "matched": 1, "yardstick"',
               '{"plain": 0, "matched": 0, "yardstick"',
               "test_no_colour_comes_twice_with_one_marker[1-1]"),
        defect("a matched row is solid", '{"plain": "-", "matched": "--", "yardstick": "-."}',
               '{"plain": "-", "matched": "-", "yardstick": "-."}',
               "test_reference_rows_have_one_look_wherever_they_stand",
               "test_the_looks_are_the_same_on_every_backbone"),
        defect("few scores are an advantage", "if len(found) == most", "if found",
               "test_a_missing_score_is_no_advantage"),
        defect("grey rows stand before the others", "linewidth=0.9, zorder=1, label",
               "linewidth=0.9, zorder=5, label", "test_grey_rows_have_no_marker_and_no_band"),
        defect("grey rows have a legend of their own",
               "for row, look in looks.items() if look.named}",
               "for row, look in looks.items()}", "test_grey_rows_of_a_comparison_are_told"),
    ],
    "recbole_cold/report/_comparison_plot.py": [
        defect("a network of its own is missed on every backbone",
               "for row in comparison.rows_of(backbone)", "for row in comparison.rows",
               "test_rows_of_their_own_network_are_not_missing_on_a_backbone"),
        defect("the axis does not say which way is better",
               'f"{metric} ({better(metric)})", fontsize=10.5',
               "metric, fontsize=10.5", "test_a_loss_says_that_lower_is_better"),
    ],
    "recbole_cold/report/_multiples.py": [
        defect("the row is drawn behind the others", "band=0.15, order=4", "band=0.15, order=0",
               "test_a_panel_per_row_with_the_others_behind"),
        defect("columns share an axis that flattens them", "ranges[backbone], _MATRIX_SIZE",
               "next(iter(ranges.values())), _MATRIX_SIZE",
               "test_columns_keep_axes_of_their_own_where_one_would_flatten_them"),
        defect("a missing cell is an empty panel", "if not _has(lines, label):", "if not lines:",
               "test_a_missing_cell_is_told"),
    ],
    "recbole_cold/report/_reliability.py": [
        defect("seeds count alike", "sum(p * n for p, _, n in known) / rows",
               "sum(p for p, _, n in known) / len(known)", "test_bins_of_all_seeds_by_their_rows"),
        defect("the axes differ", "    axes.set_ylim(*ends)\n", "",
               "test_a_panel_per_phase_and_a_line_per_row"),
        defect("clicks stand below", "found.predicted, found.clicked, label",
               "found.clicked, found.predicted, label",
               "test_a_panel_per_phase_and_a_line_per_row"),
    ],
}  # fmt: skip
