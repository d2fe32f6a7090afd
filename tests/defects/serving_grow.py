"""New items in a kept model, their first rows, and what must not move."""

from defects import defect

TESTS = "tests/serving/test_grow.py"
SOME = True
DEFECTS = {
    "recbole_cold/serving/grow.py": [
        defect("a dropped item comes back with its vector",
               "fresh = np.flatnonzero(self.begins | (self.catalogue.status == DROPPED))",
               "fresh = np.zeros(0, dtype=np.int64)", "test_an_old_item_is_forgotten"),
        defect("the same rows are learned twice", "if self.digest in self.kept.about.get(",
               "if 7 in self.kept.about.get(", "test_the_same_rows_again"),
        defect("a parent that changed is not noticed", "if _digest_now(kept) != digest:",
               "if not digest:", "test_a_parent_that_changes_meanwhile"),
        defect("a step leaves no trace", 'before.get("lineage", ()), step]', "step]",
               "test_it_names_where_it_comes_from"),
    ],
    "recbole_cold/serving/files.py": [
        defect("a folder is written over",
               "if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):",
               "if folder.is_file():", "test_one_sentence"),
    ],
    "recbole_cold/serving/_warming.py": [
        defect("items without a row move", "torch.where(touched[:, None], each, value)", "each",
               "test_items_without_a_row_stay"),
        defect("phases begin anew", "rest = known[known.index(about[\"phase\"]) + 1 :]",
               "rest = known[1:]", "test_names_of_phases"),
        defect("an item begins with what the table has", "    method.new_vectors[slot] = vectors\n",
               "", "test_mwuf"),
        defect("MWUF's cold rows begin at zero",
               "each.state[each.index[slot]] = value.expand_as(before)[slot]", "pass", "test_mwuf"),
    ],
    "recbole_cold/serving/_clicks.py": [
        defect("rows stay in the order of the file",
               "return own[np.lexsort((time, self.code))]", "return own",
               "test_of_every_method"),
        defect("old items' rows are learned", "of_old = status == OLD", "of_old = status == 7",
               "test_rows_of_old_items_are_left_out"),
        defect("5.0 is another number than 5", "if field in numbers:", "if False:",
               "test_the_same_rows_again"),
        defect("rows of dropped items are kept",
               "fitted.dataset.split.cold_side][code] != DROPPED",
               "fitted.dataset.split.cold_side][code] != 7",
               "test_rows_of_a_dropped_item_are_forgotten"),
        defect("another order is another file", "lines.take(pc.sort_indices(lines))", "lines",
               "test_the_same_rows_again"),
    ],
    "recbole_cold/serving/_catalogue.py": [
        defect("a dropped item keeps its features", "column = column.take(where)",
               "pass", "test_an_old_item_is_forgotten"),
        defect("clicks are not counted", 'clicked = self.table["clicks"].to_numpy() + clicks',
               'clicked = self.table["clicks"].to_numpy()', "test_mwuf"),
        defect("nobody is ever warm", "np.where(seen >= promote_after, WARM,",
               "np.where(seen < 0, WARM,", "test_promotion"),
    ],
    "recbole_cold/serving/drift.py": [
        defect("a share of zero has a logarithm", "_LEAST_SHARE, None", "0.0, None", "test_psi"),
        defect("what is beyond the range is counted in it", "rows[(rows >= low) & (rows <= high)]",
               "rows.clip(low, high)", "test_counts"),
    ],
    "recbole_cold/model/_method.py": [
        defect("warm items take no part in the mean", "if not len(self.promoted_ids):",
               "if len(old):", "test_promotion"),
    ],
    "recbole_cold/model/mwuf.py": [
        defect("an unknown user has a vector", "& (user < len(self._user_rows()))", "",
               "test_unknown_users_and_tokens"),
    ],
}  # fmt: skip
