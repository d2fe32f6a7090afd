"""Files of rows in, files of scores out."""

from defects import defect

TESTS = "tests/serving/test_predict.py"
SOME = True
DEFECTS = {
    "recbole_cold/serving/predict.py": [
        defect("batches begin anew in each part", "size = max(1, chunk // batch) * batch",
               "size = chunk", "test_the_chunk_changes_nothing"),
        defect("columns go unread without a word", "    if unread:\n", "    if not unread:\n",
               "test_out_as_text"),
    ],
    "recbole_cold/serving/files.py": [
        defect("numbers are guessed", "column_types=texts, ", "",
               "test_ids_with_zeros_in_front_stay_texts"),
        defect("what is left is lost", "kept, number = [table.slice(size)], number - size",
               "kept, number = [table.slice(size, 1)], number - size", "test_parts"),
    ],
}  # fmt: skip
