"""The command ``check --leaks``: the table of checks, its lines, its exit codes."""

from defects import defect

TESTS = "tests/cli/test_check_leaks.py"
SOME = True
DEFECTS = {
    "recbole_cold/leaks/checks.py": [
        defect("a failed check is a clean one", "in BAD for line in lines)",
               "== \"leak\" for line in lines)",
               "test_a_check_that_fails_is_told_and_the_others_go_on"),
        defect("one failure ends all", "        return Finding(FAILED, str(error))\n",
               "        raise\n", "test_a_check_that_fails_is_told_and_the_others_go_on"),
        defect("small letters are unknown", "name.strip().upper()", "name.strip()",
               "test_some_checks_and_a_clean_end"),
        defect("one method is checked", "for subject in subjects if training else ():",
               "for subject in subjects[:1] if training else ():",
               "test_all_checks_are_made_and_the_data_come_first"),
        defect("time is measured for nothing", "for subject in subjects if training else ():",
               "for subject in subjects:", "test_what_reads_the_data_alone_trains_nothing"),
    ],
    "recbole_cold/leaks/cost.py": [
        defect("the plain training is free", " + any(check.plain for check in checks)", "",
               "test_some_checks_and_a_clean_end"),
    ],
    "recbole_cold/cli/check.py": [
        defect("a leak ends with 0", "return 0 if is_clean(lines) else 1", "return 0",
               "test_all_checks_are_made_and_the_data_come_first"),
        defect("both at once", "        if folder is not None:\n            raise",
               "        if False:\n            raise",
               "test_what_cannot_be_asked_is_one_sentence"),
        defect("an interruption is a crash", "except Interrupted:", "except KeyError:",
               "test_an_interruption_leaves_what_was_found"),
    ],
    "recbole_cold/cli/arguments.py": [
        defect("--leaks needs a value", "VALUELESS = (\"resume\", \"leaks\")",
               "VALUELESS = (\"resume\",)", "test_all_checks_are_made_and_the_data_come_first"),
        defect("a run takes --leaks", "if \"leaks\" in flags and verb != \"check\":", "if False:",
               "test_only_check_looks_for_leaks"),
    ],
}  # fmt: skip
