"""Imports as they are read, and what a hash of code looks past."""

from defects import defect

TESTS = "tests/experiment/test_imports.py"
SOME = True
DEFECTS = {
    "recbole_cold/experiment/_imports.py": [
        defect("what only types need counts", '[] if unseen and name == "body" else told', "told",
               "test_what_an_import_leads_to"),
        defect("a relative import climbs a step too high", "len(parts) - node.level + 1",
               "len(parts) - node.level", "test_relative_imports_climb"),
        defect("names that an init hands on are its own",
               "handed = self._source(module).bound.get(rest[0]) or _runtime_home(module, rest[0])",
               "handed = None", "test_what_an_import_leads_to",
               "test_a_name_that_a_running_package_makes_up"),
        defect("a folder to stop at is walked into",
               'return any(module == place or module.startswith(f"{place}.") for place in places)',
               "return module in places", "test_stops_where_it_is_told"),
        defect("docstrings count", 'if kind == "Expr" and _is_text(node.value):', "if False:",
               "test_comments_docstrings_and_layout_change_nothing"),
        defect("a file is read once", "if before is not None and _is_same(before[0], stamp):",
               "if before is not None:", "test_a_file_is_read_again_once_it_is_loaded_again"),
    ],
}  # fmt: skip
