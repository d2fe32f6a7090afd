"""What a run keeps, and when; what a folder must be to be loaded."""

from defects import defect

TESTS = "tests/serving/test_keep.py"
SOME = True
DEFECTS = {
    "recbole_cold/experiment/keeping.py": [
        defect("a phase that was scored is kept again",
               "if name in wanted and not is_scored(name):",
               "if name in wanted:",
               "test_a_stopped_run_keeps_the_same_model_and_numbers"),
        defect("several seeds are kept unasked", 'asked == "auto" and not auto', "asked == 0",
               "test_no_model_where_there_are_several_seeds"),
        defect("what was asked for is left out", "        if asked is True:\n",
               "        if asked == 7:\n",
               "test_one_that_cannot_be_kept_is_refused_where_it_is_asked_for"),
        defect("the rows of the phase itself do not count",
               "order[: order.index(name) + 1]]", "order[: order.index(name)]]",
               "test_items_with_features_counts_and_vectors"),
        defect("seeds share a folder", 'return told if seed is None else f"{told}-seed-{seed}"',
               "return told", "test_several_seeds_are_asked_for"),
    ],
    "recbole_cold/experiment/model_folder.py": [
        defect("new items are old", "status[split.new_ids] = OLD, NEW",
               "status[split.new_ids] = OLD, OLD",
               "test_items_with_features_counts_and_vectors"),
    ],
    "recbole_cold/experiment/kept_models.py": [
        defect("altered files are read", "        if found != digest:", "        if not found:",
               "test_altered"),
        defect("any format is read", "if version > NEWEST:", "if version < 0:", "test_model_json"),
        defect("the first of several", "if phase is None and len(fitting) > 1:\n        fitting = "
               "_latest(fitting)", "fitting = fitting[:1]", "test_several"),
        defect("anybody's code is run", "if code and owner not in (os.geteuid(), 0):",
               "if not owner and code:",
               "test_code_of_another_user"),
    ],
}  # fmt: skip
