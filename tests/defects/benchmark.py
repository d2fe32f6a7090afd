"""Benchmarks: equal budgets, the choice, and the table of the choices."""

from defects import defect

TESTS = "tests/equal_tuning/test_benchmark.py"
SOME = True
DEFECTS = {
    "recbole_cold/equal_tuning/candidates.py": [
        defect("trials fit on everything and are scored on test",
               '**self.nested(params), "fit_on": "valid"}', '**self.nested(params)}',
               "test_trials_never_see_the_new_items"),
        defect("a key that is given is searched",
               "            if not self.config.given(axis.root)\n", "",
               "test_a_key_that_is_given_holds_for_all"),
        defect("a method may have any number of own keys", "if len(own) > MOST_OWN_KEYS:",
               "if False:", "test_more_than_two_own_keys"),
        defect("idle keys are searched", "axis.root not in self.idle", "axis.root",
               "test_shared_draws_are_the_same"),
    ],
    "recbole_cold/equal_tuning/benchmark.py": [
        defect("what is chosen is not run", "self.campaign.chosen[each.place] = each.nested(best[",
               "self.campaign.chosen[each.place] = {} and each.nested(best[",
               "test_the_table_has_plain_names_and_chosen_settings"),
        defect("a setting without all its seeds has a value", 'whole = [found["n"] == each.n_seeds',
               'whole = [True or found["n"] == each.n_seeds', "test_failed_trials_cannot_win"),
        defect("fit_on of the caller", 'if config["fit_on"] != "full":', "if False:",
               "test_refused_in_one_sentence"),
    ],
    "recbole_cold/equal_tuning/plan.py": [
        defect("trials of one backbone wait for each other",
               "job.pretrained_by is None or job.pretrained_by in seen", "True",
               "test_one_trial_of_each_backbone_comes_first"),
        defect("the estimate is not corrected", "(elapsed * at_a_time + prior) / (done + prior)",
               "(done + prior) / (done + prior)",
               "test_at_first_the_estimate_then_what_was_measured"),
    ],
    "recbole_cold/equal_tuning/requests.py": [
        defect("no reference rows", "return [*first, *by_label.values()]",
               "return list(by_label.values())", "test_defaults"),
    ],
    "recbole_cold/comparison/campaign.py": [
        defect("the matched row is an untuned one",
               'row = "Base" if cell.entry.matched_steps is not None else cell.entry.label',
               'if cell.entry.matched_steps is not None:\n            return cell\n'
               "        row = cell.entry.label",
               "test_the_matched_row_is_the_chosen_plain_one_with_the_longest_ones_steps"),
    ],
    "recbole_cold/comparison/from_folders.py": [
        defect("rows of a benchmark are told apart by their settings", "    if bare:\n",
               "    if False:\n", "test_is_read_as_a_comparison"),
    ],
}  # fmt: skip
