"""``warm_sets: 0``: rows that are lost, keys that are asked for in vain, curves of one point."""

from defects import defect

TESTS = "tests/experiment/test_cold_alone.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/split.py": [
        defect("all rows are in no part", "if warm else np.zeros_like(rank)",
               "if warm else np.ones_like(rank)",
               "test_test_is_all_that_warm_up_sets_and_test_are_together"),
        defect("K makes items new", "warm_rows = int(n_warm * size) if n_warm else 0",
               "warm_rows = int(n_warm * size) if n_warm else 3",
               "test_test_is_all_that_warm_up_sets_and_test_are_together"),
        defect("K is part of the rule", '"K": int(size) if n_warm else None,',
               '"K": int(size or 0),', "test_k_is_not_asked"),
        defect("ready parts without warm-up are taken unasked",
               "if missing or (warm_up and not names):", "if missing:",
               "test_ready_parts_have_warm_up_sets_or_say_that_there_are_none"),
        defect("warm-up parts are warmed up on unasked", "    if names and not warm_up:",
               "    if False:", "test_ready_parts_have_warm_up_sets_or_say_that_there_are_none"),
    ],
    "recbole_cold/data/_suggest.py": [
        defect("the suggestion names K", "* bool(n_warm)", "* True",
               "test_an_empty_split_names_a_threshold_that_works"),
    ],
    "recbole_cold/data/pseudo_new.py": [
        defect("K is part of the rule", '"K": int(size) if n_warm else None,', '"K": int(size),',
               "test_pseudo_new_items_have_no_warm_up_either"),
    ],
    "recbole_cold/model/_fewshot.py": [
        defect("supports are of no size", "if not n_warm or not self.supports.grow:",
               "if not self.supports.grow:",
               "test_few_shot_learners_learn_on_supports_of_one_size"),
    ],
    "recbole_cold/leaks/checks.py": [
        defect("no row makes an item new", 'if manifest["warm_sets"] else 1',
               'if manifest["warm_sets"] else 0',
               "test_leaks_tell_from_which_number_of_rows_an_item_is_new"),
    ],
    "recbole_cold/report/_drawing.py": [
        defect("a point is a curve", "return len(phases) > 1", "return True",
               "test_a_run_and_its_report", "test_have_curves"),
    ],
    "recbole_cold/report/_findings.py": [
        defect("steps of phases that there are not", "if len(comparison.phases) > 1 else []",
               "if True else []", "test_a_run_and_its_report"),
    ],
    "recbole_cold/comparison/folders.py": [
        defect("a comparison draws a point", "if scored and report.have_curves(comparison.phases):",
               "if scored:", "test_a_run_and_its_report"),
    ],
    "recbole_cold/cli/check.py": [
        defect("the yaml of ready parts lacks a key", 'if not config["warm_sets"]:', "if False:",
               "test_check_writes_parts_that_a_run_reads"),
    ],
    "recbole_cold/sweep/requests.py": [
        defect("keys that change nothing are searched",
               "set() if some_phase_learns(config) else set(FINE_TUNING)", "set()",
               "test_tune_leaves_out_keys_of_fine_tuning"),
    ],
}  # fmt: skip
