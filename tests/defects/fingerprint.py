"""What a stored result is known by: which code counts, ours and that of plug-ins."""

from defects import defect

TESTS = "tests/experiment/test_fingerprint.py"
SOME = True
DEFECTS = {
    "recbole_cold/experiment/fingerprint.py": [
        defect("what draws numbers is left out", '    "registry",\n',
               '    "registry",\n    "seeding",\n',
               "test_what_every_result_and_every_backbone_follows_from",
               "test_what_computes_takes_nothing_from_there_but_errors_and_values"),
        defect("another pre-training shares the backbone",
               "if not declared and (same_fits or kind.pretrain_key is not plain.pretrain_key):",
               "if not declared:",
               "test_a_method_that_only_replaces_one_fit_shares_with_nobody"),
    ],
    "recbole_cold/experiment/_outside.py": [
        defect("a file counts alone",
               "return Unit(path.parent, _files_of(path.parent, path.parent, package, path, now))",
               "return Unit(path.parent, (path,))",
               "test_a_file_counts_with_its_folder[helper.py-True]"),
        defect("imports of imports do not count", "todo.append(found)\n", "pass\n",
               "test_other_code_that_is_imported_counts[lib_b.py-True]"),
        defect("a library's version does not count", "parts.add(found)", "pass",
               "test_installed_libraries_count_by_version"),
        defect("virtual environments are read", 'or (folder / "pyvenv.cfg").exists()', "or False",
               "test_a_file_counts_with_its_folder[env/lib/x.py-False]"),
    ],
}  # fmt: skip
