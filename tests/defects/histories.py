"""Which rows are the history of a row."""

from defects import defect

TESTS = "tests/data/test_histories.py"
BY_HAND = "test_histories_are_those_of_lists_of_dictionaries"
SMALL = "test_own_row_rows_of_its_moment_and_unwanted_rows_are_absent"
DEFECTS = {
    "recbole_cold/data/histories.py": [
        defect("a row's moment is the row itself",
               "np.where(other_id | _changes(time[order]), place, 0)", "place", BY_HAND, SMALL),
        defect("the order of the file, not of time", "np.lexsort((time, codes))",
               "np.lexsort((codes,))", BY_HAND,
               "test_rows_without_times_are_in_the_order_of_their_seed"),
        defect("the oldest rows", "begin_b = torch.maximum(begin_b, end_b - self.length)\n",
               "end_b = torch.minimum(end_b, begin_b + self.length)\n", BY_HAND, SMALL),
        defect("histories run on into the next id",
               "(self._first_r, self._moment_r)", "(self._first_r * 0, self._moment_r)", BY_HAND,
               SMALL),
        defect("everything is visible", "taken = (self._visible & self._wanted)",
               "taken = self._wanted", BY_HAND, SMALL,
               "test_an_item_has_its_clicks_of_a_phase_once_that_is_learned",
               "test_no_history_knows_of_new_items_or_of_rows_outside_of_train"),
        defect("clicked or not", 'if config["history"] == "clicked":', "if False:", BY_HAND),
        defect("new items are elements", "wanted = wanted & ~new", "wanted = wanted | new",
               BY_HAND, "test_no_history_knows_of_new_items_or_of_rows_outside_of_train"),
        defect("no side leaves new ones out", "    if side != split.cold_side:", "    if False:",
               BY_HAND, "test_no_history_knows_of_new_items_or_of_rows_outside_of_train"),
        defect("what comes later", "np.lexsort((time, codes))", "np.lexsort((-time, codes))",
               "test_rows_that_come_later_change_no_earlier_history", BY_HAND),
        defect("one row too many", "inside = place_bn < end_b[:, None]\n        place_bn = place_bn.",
               "inside = place_bn <= end_b[:, None]\n        place_bn = place_bn.", BY_HAND, SMALL),
        defect("another seed", 'seeds = (split.manifest.get("seed"), ', "seeds = (1, ",
               "test_rows_without_times_are_in_the_order_of_their_seed"),
        defect("every model has histories",
               "    if not are_read(config):\n        return None\n",
               "", "test_models_that_read_none_have_none"),
        defect("notes for all", "    if not are_read(config) or getattr", "    if getattr",
               "test_models_that_read_none_have_none",
               "test_the_split_is_the_same_and_a_note_says_what_a_history_is"),
        defect("the oldest of a session",
               "begin_b = (count_b - self.length).clamp(min=0)", "begin_b = 0 * count_b",
               "test_sessions_are_read_from_their_table"),
        defect("sessions have histories of items",
               '        if side != "user":', "        if False:",
               "test_what_cannot_be_is_refused"),
    ],
    "recbole_cold/data/rows.py": [
        defect("padding is the first row", "return value.masked_fill(none_bn, 0)", "return value",
               "test_fields_of_a_history_are_those_of_its_rows",
               "test_an_item_has_its_clicks_of_a_phase_once_that_is_learned"),
        defect("views show the same rows", "view.histories = copy.copy(self.histories)",
               "view.histories = self.histories",
               "test_what_is_shown_is_one_views_alone_and_part_of_its_state"),
    ],
    "recbole_cold/model/_method.py": [
        defect("a state brings no rows back",
               "            self.rows.show(self.rows_shown.index)\n", "            pass\n",
               "test_what_is_shown_is_one_views_alone_and_part_of_its_state"),
        defect("the state holds no rows", "            self.rows_shown.add(index)\n", "",
               "test_what_is_shown_is_one_views_alone_and_part_of_its_state"),
    ],
}  # fmt: skip
