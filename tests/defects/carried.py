"""Defects of ``experiment/carried.py`` and of what methods say of their rows."""

from defects import defect

TESTS = "tests/experiment/test_carried.py"
DEFECTS = {
    "recbole_cold/experiment/carried.py": [
        defect(
            "tokens keep their codes",
            "at[1:] = found.fill_null(-2).to_numpy(zero_copy_only=False).astype(np.int64) + 1",
            "at[1 : len(before)] = np.arange(1, len(before))[: len(now) - 1]",
            "test_by_name", "test_two_fields_in_one_table_with_other_offsets",
            "test_each_row_lands_where_its_token_is[MWUF]",
        ),
        defect(
            "a token that is called as padding is taken for it",
            "value_set=before[1:])  #", "value_set=before)  #",
            "test_padding_stays_padding_whatever_a_token_is_called",
        ),
        defect(
            "a token that was not there takes the row of padding",
            "found.fill_null(-2)", "found.fill_null(-1)", "test_nothing_known", "test_by_name",
        ),
        defect(
            "fields are in the order of the new table",
            "        found[part.field] = row\n        start += size",
            "        found[part.field] = row\n        start += 0",
            "test_fields_in_another_order", "test_two_fields_in_one_table_with_other_offsets",
        ),
        defect(
            "rows of some items are taken for those of all",
            "codes = np.arange(size) if part.codes is None else part.codes.cpu().numpy()",
            "codes = np.arange(size)",
            "test_rows_of_some_items_alone", "test_each_row_lands_where_its_token_is[EmerG]",
        ),
        defect(
            "rows lie along the first axis", "axis = new.rows[name][0].axis", "axis = 0",
            "test_along_another_axis",
        ),
        defect(
            "untrained rows are carried", "        if name in trained:\n", "        if False:\n",
            "test_untrained_rows_and_those_that_stay_fresh",
        ),
        defect(
            "nothing says whose rows these are, and they are copied",
            "elif name in new.unowned or name in old.unowned:", "elif False:",
            "test_each_with_its_reason",
        ),
    ],
    "recbole_cold/model/_token_rows.py": [
        defect(
            "nothing is known of tables of sequences",
            "if not isinstance(table, VectorTable):", "if False:",
            "test_no_table_is_without_an_owner", "test_no_table_of_a_click_model_is",
        ),
    ],
    "recbole_cold/model/_side_decoder.py": [
        defect(
            "nobody says whose the private ID rows are",
            'found["own_side.own_id.weight"] = (TokenRows(self.id_field),)', "pass",
            "test_no_table_is_without_an_owner[CVAR]",
        ),
    ],
}  # fmt: skip
