"""Hostile command lines: what lets nonsense pass, and what makes a traceback of it."""

from defects import defect

TESTS = "tests/cli/test_hostile.py"
SOME = True
DEFECTS = {
    "recbole_cold/kinds.py": [
        defect("numbers have no end", "# A number above this is a mistake; keys with another limit "
               "state it.\nMANY = 1_000_000_000", "MANY = 10**300", "test_numbers_have_an_end"),
    ],
    "recbole_cold/keys.py": [
        defect("FwFM's groups pass", 'Key("fields", nothing())', 'Key("fields", anything())',
               "test_groups_of_fields_that_fwfm_would_mistake_are_refused"),
        defect("a row may have a folder of data of its own",
               'Key("data_path", path(), run_wide=True)', 'Key("data_path", path())',
               "test_the_whole_table_has_one_folder_of_data"),
    ],
    "recbole_cold/experiment/experiment.py": [
        defect("any name is a base", "        if entries is None:  # else",
               "        if False:  # else",
               "test_names_in_values[check-words13-base_model names 'Nope', which is no row of "
               "this table; there are Base]", "test_rows_that_others_are_compared_with"),
    ],
    "recbole_cold/experiment/requests.py": [
        defect("a file's models are not looked at",
               "    return [said and row.check(said, keys.at(str(file))) for said, file in found]",
               "    return [said for said, file in found]", "test_files[model: 5]"),
    ],
    "recbole_cold/cli/check.py": [
        defect("check builds no method", "        one.prepare()", "        pass",
               "test_names_that_only_a_method_knows"),
    ],
    "recbole_cold/cli/arguments.py": [
        defect("any verb resumes",
               'RESUMED = ("run", "compare", "tune", "benchmark", "reproduce")',
               "RESUMED = VERBS", "test_flags[check]"),
        defect("no backbone is the default one",
               "        if key in arguments.keys and not specs(key)", "        if False",
               "test_names_in_values"),
    ],
    "recbole_cold/cli/main.py": [
        defect("an endless value fills the screen", "    if len(sentence) <= 2 * _END:",
               "    if True:", "test_every_key[digits]"),
    ],
    "recbole_cold/trials/settings.py": [
        defect("any value has keys of its own", "        if not isinstance(inner, dict):\n",
               "        if False:\n", "test_flags[tune]"),
    ],
    "recbole_cold/data/_names.py": [
        defect("a time field may be missing",
               "if time and time != USUAL_TIME and time not in kinds:", "if False:",
               "test_names_in_values"),
    ],
}  # fmt: skip
