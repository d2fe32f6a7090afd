"""Ranks over data sets and backbones, as text and as a critical-difference diagram."""

from defects import defect

TESTS = "tests/report/test_across.py"
SOME = True
DEFECTS = {
    "recbole_cold/report/_across.py": [
        defect("high values have low ranks of any metric",
               "[cost(self.metric, value) for value in block]",
               "[-value for value in block]", "test_ranks_are_those_of_the_means",
               "test_a_gain_of_a_loss_is_its_fall"),
        defect("methods with their own network are a block", "if backbone == OWN_NETWORK:",
               'if backbone == "":', "test_rows_with_their_own_network_are_no_block"),
        defect("a block counts as often as it is given", "if place in seen:", "if place is seen:",
               "test_the_same_block_counts_once"),
        defect("a row needs one block only", "if all((phase, row) in table for table in tables)]",
               "if any((phase, row) in table for table in tables)]",
               "test_rows_that_a_block_lacks_are_left_out"),
        defect("gains have the other sign", "table.costs[:, place] - table.costs[:, k]",
               "table.costs[:, k] - table.costs[:, place]", "test_every_number"),
        defect("the best row comes last", "key=lambda k: mean[k])", "key=lambda k: -mean[k])",
               "test_every_number"),
        defect("a rope of its own", "signed_rank_chances(gains.tolist(), rope)",
               "signed_rank_chances(gains.tolist(), 0.02)", "test_every_number"),
    ],
    "recbole_cold/report/_cd_plot.py": [
        defect("the best stands on the left", "(last - rank) / (last - 1) * _AXIS",
               "(rank - 1) / (last - 1) * _AXIS", "test_rows_stand_at_their_mean_ranks"),
        defect("bars touch", "if low > end + gap)", "if low > end - gap)",
               "test_bars_on_one_line_do_not_touch"),
        defect("all names on one side", "right = number < half", "right = number >= 0",
               "test_names_stand_on_both_sides_apart"),
    ],
    "recbole_cold/report/_plots.py": [
        defect("several folders are drawn as one", "if count > 1 and not", "if count > 9 and not",
               "test_unknown_and_several", "test_mistakes_are_one_sentence"),
        defect("the backbone is the first row's", "next(iter([*plain, *backbones]), \"\")",
               "next(iter(backbones), \"\")", "test_a_run_is_a_comparison_on_one_backbone"),
    ],
    "recbole_cold/cli/plot.py": [
        defect("the metric is not passed on", 'for name in ("metric", "against", "band")}',
               'for name in ("against", "band")}', "TestVerb::test_mistakes_are_one_sentence"),
        defect("a picture of curves whatever is asked", 'kind = keys.get("kind", "curves")',
               'kind = "curves"', "test_one_folder"),
    ],
}  # fmt: skip
