"""Held-out rows of old items: which are drawn, that nobody learns from them, and what is told."""

from defects import defect

TESTS = "tests/data/test_held_out.py"
SOME = True
BLOCKS = "recbole_cold/report/_comparison_blocks.py"
DEFECTS = {
    "recbole_cold/data/held_out.py": [
        defect("the first rows of an id go", "order = np.lexsort((draw, ",
               "order = np.lexsort((0 * draw, ", "test_every_row_may_be_drawn",
               "test_follows_from_the_seed"),
        defect("an id may lose all rows", "most = np.floor(fraction", "most = np.ceil(fraction",
               "test_takes_the_whole_part_of_a_share_of_each_old_id"),
        defect("held-out rows are learned from, too", '"train": train[~held]}', '"train": train}',
               "test_takes_the_whole_part_of_a_share_of_each_old_id",
               "test_the_number_is_the_auc_of_rows_that_were_not_learned"),
        defect("rows of an id do not stand together", "rows[np.argsort(np.asarray(ids)[rows], "
               'kind="stable")]', "rows", "test_takes_the_whole_part_of_a_share_of_each_old_id"),
        defect("the phases are lost", "split.new_ids, manifest, split.phases)",
               "split.new_ids, manifest)", "test_nothing_else_moves"),
        defect("an empty part", "    if not fraction:\n", "    if fraction is None:\n",
               "test_none_is_the_split_itself", "test_none_is_held_out_by_default"),
    ],
    "recbole_cold/training/trainer.py": [
        defect("nothing is known of before",
               'self.journal["old_before"] = self.scoring.pretrained_auc(self.held_out)',
               'self.journal["old_before"] = float("nan")',
               "test_methods_that_leave_old_items_alone_change_no_bit",
               "test_a_stopped_run_remembers_what_was_before"),
        defect("a resumed run measures again", ' and "old_before" not in self.journal:', ":",
               "test_a_stopped_run_remembers_what_was_before"),
    ],
    "recbole_cold/training/scoring.py": [
        defect("the plain backbone is scored in every phase",
               '"AUC": self._auc(rows, self.method.predict)', '"AUC": before',
               "test_methods_that_learn_the_backbone_again_are_told"),
        defect("an untrained network counts as before", "if self.method.network is not None:",
               "if False:", "test_a_network_of_its_own_has_no_before"),
    ],
    BLOCKS: [
        defect("before is missing", 'values = [[each["before"] for each in known[0]]]',
               'values = [[each["AUC"] for each in known[0]]]', "test_in_the_tables"),
        defect("no rows, and a table all the same", "if not _held_out_rows(comparison):",
               "if comparison is None:", "test_none_is_held_out_by_default"),
    ],
    "recbole_cold/report/_document.py": [
        defect("any file is taken", "_need(old, _OLD, where, source)",
               "_need(old, {}, where, source)", "test_in_a_file_that_is_read_back"),
    ],
    "recbole_cold/cli/check.py": [
        defect("a part more than RecBole's", 'if config["old_test_fraction"]:', "if False:",
               "test_ready_files_have_no_such_part"),
    ],
}  # fmt: skip
