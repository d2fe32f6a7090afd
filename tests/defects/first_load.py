"""First loads that keep columns in memory twice."""

from defects import defect

TESTS = "tests/data/test_first_load.py"
SOME = True  # the bytes a row are those of several changes together
DEFECTS = {
    "recbole_cold/data/_filters.py": [
        defect("all columns are there twice", "table.pop(field).take(rows)",
               "table[field].take(rows)", "test_rows_are_dropped_column_by_column"),
        defect("a mask keeps all", "np.flatnonzero(keep) if keep.dtype == bool",
               "np.arange(len(keep)) if keep.dtype == bool",
               "test_rows_are_dropped_column_by_column[True]"),
    ],
}  # fmt: skip
