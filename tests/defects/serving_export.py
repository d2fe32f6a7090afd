"""What an export holds, on what a scorer is checked, and that it is whole or absent."""

from defects import defect

TESTS = "tests/serving/test_export.py"
SOME = True
DEFECTS = {
    "recbole_cold/serving/export.py": [
        defect("items without rows have the vector of nobody",
               "columns[VECTOR_COLUMN] = _lists(served.vectors)",
               "columns[VECTOR_COLUMN] = _lists(served.vectors[-1:].expand_as(served.vectors))",
               "test_items_are_those_of_the_model"),
        defect("the mean of all rows", "used = np.flatnonzero(fitted.dataset.trained[field])",
               "used = np.arange(fitted.dataset.num(field))", "test_fields_and_their_mean"),
        defect("a full disk is an error of the program", "except (OSError, WriteError) as error",
               "except WriteError as error", "test_a_full_disk"),
        defect("a feature takes a column's place", "        if field in columns:",
               "        if field in ():", "test_a_feature_with_the_name_of_a_column"),
    ],
    "recbole_cold/serving/files.py": [
        defect("what is there is written over",
               "any(folder.iterdir())", "not any(folder.iterdir())",
               "test_in_one_sentence", "test_an_empty_folder_is_taken"),
    ],
    "recbole_cold/serving/export_check.py": [
        defect("a baked scorer is asked for generated vectors",
               "    if bake:  # one", "    if not bake:  # one", "test_what_is_checked"),
        defect("fields of rows are never unknown", 'if not spec["tokens"] or name',
               'if not spec["tokens"] or spec["side"] == "inter" or name', "test_what_is_checked"),
    ],
    "recbole_cold/store.py": [
        defect("what was killed stays", "shutil.rmtree(left, ignore_errors=True)\n    place =",
               "pass\n    place =", "test_killed"),
    ],
    "recbole_cold/serving/read_vectors.py": [
        defect("an unknown token is padding", "self.codes.get(token, self.codes[None])",
               "self.codes.get(token, 0)", "test_users_and_a_reader_of_vectors"),
    ],
}  # fmt: skip
