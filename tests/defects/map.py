"""MAP: prior, profile over the numbers, and the choice of the deviation."""

from defects import defect

TESTS = "tests/model/test_map.py"
SOME = True
DEFECTS = {
    "recbole_cold/model/_map.py": [
        defect("the prior weighs double in a step", "+ prior_e * step_me[item_u]",
               "+ 2 * prior_e * step_me[item_u]",
               "test_lbfgs_and_newton_agree_to_four_digits[0.5-1.0-linear]"),
        defect("the numbers are left out while the vectors are searched for",
               "    chance = (score + bias[rows.item]).sigmoid()", "    chance = score.sigmoid()",
               "test_lbfgs_and_newton_agree_to_four_digits[0.5-1.0-linear]"),
        defect("pieces read the rows of the first one",
               "        start = own.stop\n", "",
               "test_lbfgs_and_newton_agree_to_four_digits[0.5-1.0-linear]"),
        defect("steps that overshoot are taken", "        better_m = after_m <= before_m",
               "        better_m = after_m <= torch.inf",
               "test_a_step_that_overshoots_is_taken_back"),
        defect("a start is not read", "    moved_md = (start_md - prior_md).double() / deviation",
               "    moved_md = (prior_md - prior_md).double() / deviation",
               "test_a_start_at_the_end_stays_there"),
        defect("the widest prior is chosen",
               "        if not loss < least:\n            break\n", "",
               "test_the_deviation_that_predicts_is_chosen"),
        defect("no prior but the narrowest is tried", "    for width in WIDTHS:",
               "    for width in WIDTHS[:1]:", "test_the_deviation_that_predicts_is_chosen"),
    ],
    "recbole_cold/model/_phase_end.py": [
        defect("each phase starts from the last one's vectors",
               "index, prior_md = method.rows_seen.index, method.cold_rows",
               "index, prior_md = method.rows_seen.index, method.new_vectors.detach().clone()",
               "test_rows_of_all_phases_count_once"),
        defect("networks of their own are let through",
               'if method.config["warm"] == "map" and not method.backbone.reads_vector:',
               "if False:",
               "test_a_network_of_its_own_has_no_vectors_to_move"),
    ],
    "recbole_cold/training/trainer.py": [
        defect("the method's own phase runs, too",
               'list if self.config["warm"] == "map" else own', "own",
               "test_the_prior_is_what_the_method_generates[MetaE]"),
    ],
}  # fmt: skip
