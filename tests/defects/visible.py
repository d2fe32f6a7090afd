"""A run's view of its data."""

from defects import defect

TESTS = "tests/data/test_visible.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/_visible.py": [
        defect("new items are seen", "cold: Part(split.old_ids, split.new_ids,",
               "cold: Part(np.r_[split.old_ids, split.new_ids], split.new_ids,",
               "test_each_is_fitted_on_what_may_be_seen", "test_what_comes_later_moves_nothing",
               "test_those_of_no_training_row_are_missing"),
        defect("all users are seen", "codes_at(partner, train, dataset",
               "codes_at(partner, np.arange(len(partner)), dataset",
               "test_what_comes_later_moves_nothing",
               "test_each_is_fitted_on_what_may_be_seen",
               "test_those_of_no_training_row_are_missing"),
        defect("an item counts once per row", "    later = np.setdiff1d(",
               "    known = partner[train]\n    later = np.setdiff1d(",
               "test_each_is_fitted_on_what_may_be_seen"),
        defect("all rows are seen", '"inter": Part(train, rest,',
               '"inter": Part(np.r_[train, rest], rest,', "test_what_comes_later_moves_nothing",
               "test_a_time_that_is_an_input"),
        defect("the sides do not change places", "    cold = split.cold_side\n",
               '    cold = "item"\n', "test_cold_users_and_items_change_places"),
        defect("the rows keep their numbers", "    view.rows.exchange(kind, field, column)\n", "",
               "test_backbone_and_methods_read_the_same",
               "test_those_of_no_training_row_are_missing"),
        defect("nobody asks for a range", '"minmax" if in_range else rule', "rule",
               "test_normalised_fields_are_the_seen_range"),
        defect("RecBole's numbers are scaled", 'elif rule == "recbole":', "elif False:",
               "test_recbole_is_the_loader_s_own_bit_for_bit"),
        defect("only seen gaps are counted",
               "int(np.isnan(values[part.seen]).sum() + np.isnan(later).sum())",
               "int(np.isnan(values[part.seen]).sum())", "test_every_field_is_told"),
        defect("draw masks", 'mask = config["unseen_tokens"] == "mask"', "mask = True",
               "test_draw_leaves_all_codes", "test_which_rows_of_tables_carry_nothing",
               "test_they_are_counted"),
        defect("the cold id is masked", "if field == cold_id:", "if field is None:",
               "test_which_rows_of_tables_carry_nothing"),
        defect("a gap never has a row of its own", "unseen[field] = np.flatnonzero(~has)",
               "unseen[field] = np.r_[0, np.flatnonzero(~has)]",
               "test_a_gap_in_training_keeps_its_row"),
    ],
    "recbole_cold/experiment/data_store.py": [
        defect("each view is scaled anew", "view = views[wanted].view()",
               "view = split_data(self._data[key], config)",
               "test_views_of_a_store_share_what_was_scaled"),
    ],
}  # fmt: skip
