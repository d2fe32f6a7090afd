"""Claims: what makes a gain real, and how it is said."""

from defects import defect

TESTS = "tests/report/test_claims.py"
SOME = True
DEFECTS = {
    "recbole_cold/report/_comparison_tables.py": [
        defect("a comparison's rows are looked for under other names",
               "    return fact_lines(_merged(comparison), list(missing))",
               "    return fact_lines(_merged(comparison))",
               "test_reference_rows_are_missing_where_they_are"),
    ],
    "recbole_cold/report/_claims.py": [
        defect("four seeds are enough", "FEWEST_SEEDS = 5", "FEWEST_SEEDS = 4",
               "TestRule::test_each_condition_is_needed_against_each_row[changes0-too few seeds-0]",
               "test_four_seeds_are_too_few"),
        defect("any effect will do", "not one.auc.low > smallest", "not one.auc.low > 0",
               "test_the_smallest_effect_is_a_setting", "test_the_setting_of_the_table_holds"),
        defect("the mean decides, not the interval", "not one.auc.low > smallest",
               "not one.auc.difference > smallest",
               "test_intervals_against_the_matched_row_are_found_under_its_label"),
        defect("scores are not needed", "if any(one.auc is None for one in against):",
               "if all(one.auc is None for one in against):",
               "test_each_condition_is_needed_against_each_row"
               "[changes1-no scores kept-0]"),
        defect("a gain may be one within other items", "any(one.high < 0 for one in within)",
               "all(one.high < 0 for one in within)",
               "test_worse_within_items_is_no_gain[0]"),
        defect("not surely better is worse", "any(one.high < 0 for one in within)",
               "any(one.low < 0 for one in within)", "test_all_conditions_together_make_it_real"),
        defect("within items nothing need be known", "if not within:\n", "if False:\n",
               "test_within_must_be_known"),
        defect("a missing row is no obstacle", "for name in missing:", "for name in ():",
               "test_a_missing_row_comes_first", "test_without_a_yardstick[ItemBias-"
               "no row of ItemBias]"),
        defect("the row that is furthest is named", "min(against, key=_surely",
               "max(against, key=_surely", "test_the_row_that_stands_nearest_is_named"),
    ],
    "recbole_cold/report/_intervals.py": [
        defect("the narrower interval counts", "return max(known, key", "return min(known, key",
               "test_the_wider_one_counts", "test_differences_with_the_wider_interval"),
        defect("DeLong's intervals count", 'if record["by"] not in _SIDES:', "if False:",
               "test_intervals_of_rows_and_without_limits_are_none"),
        defect("the matched row has its label of the file", "aliases.get((group, record[name]), "
               "record[name])", "record[name]", "test_rows_are_known_by_the_tables_labels",
               "test_intervals_against_the_matched_row_are_found_under_its_label"),
        defect("backbones share their intervals", 'group = "" if one_group else record["backbone"]',
               'group = ""', "test_backbones_are_told_apart"),
    ],
    "recbole_cold/report/_comparison.py": [
        defect("the matched row is a yardstick within items",
               "within = [] if name == MATCHED else self", "within = self",
               "test_within_items_counts_against_base_and_item_bias"),
        defect("the matched row is always needed", "            del found[MATCHED]\n",
               "            pass\n", "test_the_matched_row_is_needed_only_by_longer_methods"),
        defect("the sign is in every table", 'claims = self.claims() if metric == "AUC" else {}',
               "claims = self.claims()", "test_one_sign_where_a_claim_is_allowed_and_nowhere_else"),
    ],
    "recbole_cold/report/_findings.py": [
        defect("a search of another length is alike", "if len(trials) > 1:", "if not trials:",
               "test_equal_search_is_told"),
        defect("equal phases are told apart", "if reasons and groups and _same(groups[-1][1], "
               "reasons):", "if False:", "test_many_are_counted"),
        defect("a line is as long as it likes", "return line if len(line) <= width else",
               "return line if True else", "test_three_lines_on_the_screen"),
    ],
    "recbole_cold/report/_forest_plot.py": [
        defect("within items every gain is filled", 'real = real if metric == "AUC" else set()',
               "real = real", "test_lines_are_the_intervals_and_a_real_gain_is_filled"),
        defect("the band within items is that of AUC", "smallest_within(comparison.smallest)",
               "comparison.smallest", "test_the_band_is_the_smallest_effect[WithinAUC-0.001]"),
    ],
}  # fmt: skip
