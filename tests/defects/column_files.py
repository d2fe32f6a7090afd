"""Files of columns that say something else than the atomic files of their content."""

from defects import defect

TESTS = "tests/data/test_column_files.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/_column_files.py": [
        defect("an empty text is an element of a list",
               "flat = flat.filter(filled)", "pass", "test_types_of_columns"),
        defect("the kind in a column's name is not read",
               "TYPES[declared] if colon else said.get(name)", "said.get(name)",
               "test_as_of_atomic_files_and_of_frames"),
        defect("what load_col says of a plain column is not heard",
               "said.get(name) or _kind_of(", "_kind_of(", "test_kinds_that_load_col_says"),
        defect("0.0 and -0.0 are two tokens",
               "known = _texts(values, place).dictionary_encode()",
               "known = pa.DictionaryArray.from_arrays("
               "pa.array(range(len(values)), pa.int32()), _texts(values, place))",
               "test_kinds_that_load_col_says"),
        defect("single numbers become tokens as doubles",
               "plain = pa.types.is_floating(kind)", "plain = False",
               "test_single_numbers_as_tokens"),
        defect("dates are in milliseconds", "zero_copy_only=False) / 1e9",
               "zero_copy_only=False) / 1e6",
               "test_types_of_columns", "test_labels_and_times_in_other_types"),
        defect("all columns are read", "columns=names)", "columns=None)",
               "test_only_what_is_asked_for_is_read"),
        defect("the index of a frame is a feature", "        if _INDEX.fullmatch(column.name):\n",
               "        if False:\n", "test_the_index_that_pandas_writes_is_left_out_and_said"),
        defect("a text that atomic files lack is let through",
               "texts.filter(pc.is_in(texts, value_set=pa.array(MISSING)))", "texts[:0]",
               "test_columns_that_no_field_can_be"),
        defect("each batch of an Arrow file is its first rows", "batch.slice(start, _ROWS)",
               "batch.slice(0, _ROWS)", "test_as_of_atomic_files_and_of_frames[arrow-100]"),
    ],
    "recbole_cold/data/_file_names.py": [
        defect("one of two forms is taken", "if len(there) > 1:", "if False:",
               "test_atomic_files_and_files_of_columns_side_by_side"),
    ],
    "recbole_cold/data/_sources.py": [
        defect("rows of a later file are counted from the first", "        row -= count\n", "",
               "test_rows_of_several_files_have_their_places"),
        defect("parts have their first rows", "whole.take(pa.array(rows))",
               "whole.slice(0, len(rows))",
               "test_ready_parts_are_written_in_their_form_and_read_again"),
    ],
    "recbole_cold/data/_names.py": [
        defect("a kind that the file contradicts is passed over",
               "if kind and field in header and kind != header[field].value:", "if False:",
               "test_a_kind_that_the_file_contradicts"),
    ],
}  # fmt: skip
