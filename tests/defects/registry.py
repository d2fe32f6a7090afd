"""Names are found, and a slip is answered with the nearest one."""

from defects import defect

TESTS = "tests/test_registry.py"
SOME = True
DEFECTS = {
    "recbole_cold/errors.py": [
        defect("swapped letters are two slips",
               "if row > 1 and column > 1 and letter == b[column - 2] and a[row - 2] == other:",
               "if False:", "test_a_guess_is_close"),
        defect("another letter is as near as a missing one", "1.5 * (letter != other)",
               "(letter != other)", "test_a_guess_is_close[DIN-known10-None]"),
        defect("the first of equally near ones, in any order",
               "distances = sorted((_slips(wanted, other.lower()), other) for other in known)",
               "distances = [(_slips(wanted, other.lower()), other) for other in known]",
               "test_a_guess_does_not_hang_on_the_order"),
    ],
    "recbole_cold/registry.py": [
        defect("classes of private files have names, too",
               'if below and not name.startswith("_") and not path.name.startswith("_"):',
               'if below and not name.startswith("_"):', "TestStated::test_methods"),
        defect("the base class of private files is a method",
               'path.name.startswith("_") or not line', "not line",
               "test_classes_of_other_kinds_and_of_private_files_are_no_methods"),
        defect("any class of a public file is found",
               "for cls in _classes(kind, module):\n                if cls.__name__ == name:\n"
               "                    return cls",
               "return getattr(module, name)",
               "test_classes_of_other_kinds_and_of_private_files_are_no_methods"),
        defect("a plug-in takes over a built-in name", "        if name in found:\n",
               "        if False:\n", "test_a_built_in_name_is_not_taken_over"),
        defect("files of one name are one module",
               "{hashlib.sha256(str(path).encode()).hexdigest()[:8]}", "",
               "test_two_files_of_one_name_are_two_modules"),
    ],
}  # fmt: skip
