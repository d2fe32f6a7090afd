"""Several subsets of sessions in one command: their numbers, folders, resumption and table."""

from defects import defect

TESTS = "tests/experiment/test_subsets.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/session_split.py": [
        defect(
            "both is the first of them",
            '{"both": tuple(SUBSETS)}',
            '{"both": ("wc",)}',
            "test_values_of_the_key",
        ),
        defect(
            "columns stand as they were asked for",
            "return [name for name in SUBSETS if name in named]",
            "return list(dict.fromkeys(names)) if asked != 'both' else list(named)",
            "test_values_of_the_key",
        ),
    ],
    "recbole_cold/experiment/subsets.py": [
        defect(
            "every subset is the first",
            "KEY: name}) for name in names",
            "KEY: names[0]}) for name in names",
            "test_a_column_has_the_numbers_of_a_run_alone[cw]",
        ),
        defect(
            "any rule has subsets",
            'if config["split_rule"] == "sessions" else []',
            "",
            "test_another_rule_has_no_subsets",
        ),
        defect(
            "failures name no subset",
            'return f"{name}: {failure}"',
            "return failure",
            "test_a_failure_names_its_subset",
        ),
    ],
    "recbole_cold/experiment/data_store.py": [
        defect(
            "the first of several is taken in silence",
            "    if others:\n",
            "    if False:\n",
            "test_elsewhere_one_is_to_be_given[tune]",
        ),
    ],
    "recbole_cold/experiment/session.py": [
        defect(
            "a finished subset is run again",
            "if is_finished(folder / name):",
            "if is_finished(folder):",
            "test_interrupted_and_continued[place1]",
        ),
        defect(
            "the second is looked at after the first is trained",
            "        for each in experiments.values():\n            each.prepare()",
            "        for each in list(experiments.values())[:1]:\n            each.prepare()",
            "test_what_is_wrong_with_one_is_said_before_the_other_is_trained",
        ),
    ],
    "recbole_cold/comparison/earlier.py": [
        defect(
            "runs on subsets are not looked through",
            "for subset in SUBSETS for name in",
            "for subset in () for name in",
            "test_a_comparison_of_both",
        ),
    ],
    "recbole_cold/report/_subsets.py": [
        defect(
            "columns name no subset",
            '[f"{name} {column}" for column in block.columns]',
            "list(block.columns)",
            "test_a_narrow_screen_has_one_subset_under_the_other",
        ),
        defect(
            "rows go by their place",
            "cells.get((group, row), empty)) for row in rows",
            "next(iter(cells.values()))) for row in rows",
            "test_rows_of_one_subset_alone_and_the_matched_row",
        ),
        defect(
            "shared sentences are repeated",
            "for line in own if line not in shared",
            "for line in own",
            "test_sentences_that_hold_for_both_stand_once",
        ),
        defect(
            "the matched row has its steps in its name",
            "titles = of_run(doc).titles",
            "titles: dict[str, str] = {}",
            "test_rows_of_one_subset_alone_and_the_matched_row",
        ),
        defect(
            "a narrow screen is not looked at",
            "if width is not None and max(map(len, whole)) > width:",
            "if False:",
            "test_a_narrow_screen_has_one_subset_under_the_other",
        ),
    ],
    "recbole_cold/results.py": [
        defect(
            "frames are not told apart",
            "np.repeat(range(len(frames)), lengths)",
            "np.repeat(range(len(frames)), lengths)[::-1]",
            "test_results_from_python",
        ),
    ],
}
