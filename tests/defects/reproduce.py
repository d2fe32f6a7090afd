"""Published tables and figures beside ours."""

from defects import defect

TESTS = "tests/papers/test_reproduce.py"
SOME = True
DEFECTS = {
    "recbole_cold/papers/document.py": [
        defect("theirs minus ours", "else ours - theirs", "else theirs - ours",
               "test_a_difference_is_ours_minus_theirs",
               "TestEndToEnd::test_ours_stand_beside_theirs"),
        defect("a number of another phase", "values[item.phases.index(phase)]",
               "values[item.phases.index(phase) - 1]",
               "TestEndToEnd::test_ours_stand_beside_theirs"),
        defect("any split is the paper's", "if ours.get(name) != rows", "if not ours.get(name)",
               "test_marks_say_what_cannot_be_told"),
        defect("fewer seeds go unsaid", "elif len(seeds) != item.seeds:",
               "elif len(seeds) > item.seeds:", "test_marks_say_what_cannot_be_told"),
        defect("a fast run goes unsaid", '    if request.fast:\n        found["f"]',
               '    if not request.fast:\n        found["f"]',
               "test_marks_say_what_cannot_be_told",
               "TestEndToEnd::test_a_fast_run_says_so_everywhere"),
        defect("keys of the machine are other settings",
               "return set(request.overrides) - idle", "return set(request.overrides)",
               "test_marks_say_what_cannot_be_told"),
    ],
    "recbole_cold/papers/requests.py": [
        defect("the file wins over the user", "        **fast_settings(request),\n"
               "        **request.overrides,\n", "        **request.overrides,\n"
               "        **item.keys,\n        **fast_settings(request),\n",
               "test_the_users_keys_win_over_the_file_and_a_fast_run"),
        defect("keys of the data set are left out", "**(data.keys if data is not None else {}),",
               "", "test_the_users_keys_win_over_the_file_and_a_fast_run"),
        defect("a method's key goes to comparisons without it",
               "if key not in elsewhere}", "if key}",
               "test_rows_on_one_backbone_are_one_comparison_and_own_networks_another"),
    ],
    "recbole_cold/papers/files.py": [
        defect("a form may come twice", "len(set(forms)) == len(forms)", "True",
               "test_what_a_file_misses_is_told"),
        defect("a share may be above one", "math.inf if metric in UNBOUNDED else 1", "math.inf",
               "test_a_number_that_is_no_share_is_refused"),
        defect("rows may have one name", "names.count(each) == 1", "bool(names.count(each))",
               "test_what_a_file_misses_is_told"),
    ],
    "recbole_cold/papers/states.py": [
        defect("rows that are not run go unsaid", "if len(item.runnable()) < len(item.rows)",
               "if not item.rows", "test_states"),
    ],
    "recbole_cold/experiment/batches.py": [
        defect("boxes of the first seed alone", '        for seed in run["seeds"]:',
               '        for seed in run["seeds"][:1]:',
               "TestEndToEnd::test_boxes_are_of_the_kept_scores_batch_by_batch"),
        defect("every phase has the boxes of the first one",
               "labels, scores = kept.rows_of(phase).label, kept.scores[phase]",
               'labels, scores = kept.rows_of("cold").label, kept.scores["cold"]',
               "TestEndToEnd::test_boxes_are_of_the_kept_scores_batch_by_batch"),
    ],
    "recbole_cold/papers/pictures.py": [
        defect("the second form takes the place of the first",
               "{f'-{form}' if number else ''}.png", ".png",
               "TestEndToEnd::test_boxes_are_of_the_kept_scores_batch_by_batch"),
        defect("a run for graphs is not looked at for scores",
               '"trials" / "graphs.json"', '"trials" / "graphs.txt"',
               "TestEndToEnd::test_graphs_are_drawn_of_one_run_whose_scores_are_used"),
    ],
    "recbole_cold/report/_reproduction.py": [
        defect("standard errors of sessions go unsaid",
               'if any(cell.get("error") is not None for cell in cells):', "if False:",
               "TestEndToEnd::test_sessions_have_standard_errors_beside_their_auc"),
        defect("an unknown number is passed over", 'yield f"  {NOT_AT_HAND}", []', "pass",
               "TestEndToEnd::test_ours_stand_beside_theirs"),
        defect("rows without a method go unsaid", "absent.setdefault(row[\"absent\"], [])",
               "{}.setdefault(row[\"absent\"], [])",
               "TestEndToEnd::test_ours_stand_beside_theirs"),
    ],
}  # fmt: skip
