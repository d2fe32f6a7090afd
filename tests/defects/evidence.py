"""Row scores and intervals: what is kept, what is compared, and in which resamples."""

from defects import defect

TESTS = "tests/experiment/test_evidence.py"
SOME = True
DEFECTS = {
    "recbole_cold/evaluation/bootstrap.py": [
        defect("items of one class count inside items", "used = rows.double() * each.isfinite()",
               "used = rows.double()", "test_equal_resamples_written_out[WithinAUC-item-seeds0]"),
    ],
    "recbole_cold/experiment/intervals.py": [
        defect("resamples follow from another seed",
               'seeding.derive(seed, "bootstrap", side)', 'seeding.derive(seed, "own", side)',
               "test_equal_resamples_written_out[AUC-item-seeds0]"),
        defect("every block has the rows as they are", "        self._once = False\n", "",
               "test_resamples_may_come_in_blocks"),
        defect("ids are places in a file",
               "return np.searchsorted(self.tokens, scores.tokens(self.side))[code]",
               "return code", "test_ids_are_known_by_their_tokens"),
        defect("rows are not compared", "if a.digests.get(phase, \"none\") == b.digests.get(phase, "
               "\"no other\")", "if a.digests.get(phase, \"none\")",
               "test_other_rows_are_not_compared"),
        defect("seeds are not drawn", "nested = len(pairs) > 1", "nested = False",
               "test_equal_resamples_written_out[AUC-item-seeds1]"),
        defect("logits are probabilities", "if losses is not None:", "if True:",
               "test_logits_have_no_log_loss"),
        defect("AUC inside items whatever is new", "if side == scores.cold_side:",
               'if side == "item":', "test_new_users_have_their_own_auc"),
        defect("missing scores are passed over in silence",
               "            reasons[str(error)].append(place)\n", "            pass\n",
               "test_a_seed_without_scores_is_left_out_and_named"),
        defect("the first phase stands for all", "key = (phase, each.digests[phase], content)",
               "key = (each.digests[phase],)", "test_scores_of_phases_are_their_own"),
        defect("nobody can stop it", "                if stop():", "                if False:",
               "TestIntervals::test_stops_when_asked"),
    ],
    "recbole_cold/experiment/scores.py": [
        defect("labels are no part of rows", "rows.label.astype(\"u1\")):", "):",
               "test_rows_differ_by_number_label_item_and_user"),
        defect("a later file of tokens alone", "    1: lambda stored, side: stored[side],\n", "",
               "TestFile::test_a_file_of_version_1_is_read"),
        defect("pieces of a column run together", '("\\0" if start else "") + ', "",
               "TestFile::test_digests_are_those_of_whole_columns"),
        defect("codes are not looked at", "<= int(codes.max()) < len(tokens):",
               "<= int(codes.max()):",
               "TestFile::test_tokens_that_do_not_fit_are_told[code]"),
        defect("letters are taken for text", "    tokens.tolist()  # what", "    # what",
               "TestFile::test_tokens_that_do_not_fit_are_told[letters]"),
        defect("tokens are as wide as the longest", "np.array(tokens.tolist(), dtype=object)",
               "np.array(tokens.tolist())", "TestFile::test_one_long_token_costs_its_own_length"),
        defect("any file will do", "!= (result[\"rows\"], result[\"positives\"])",
               "== ()", "TestFile::test_not_of_these_results"),
        defect("a cut file crashes", "except (zipfile.BadZipFile, NotImplementedError,",
               "except (NotImplementedError,", "TestFile::test_damaged[cut]"),
        defect("users are items", '("user", dataset.uid_field)', '("user", dataset.iid_field)',
               "test_items_and_users_are_the_data_sets"),
    ],
    "recbole_cold/training/trainer.py": [
        defect("a resume point forgets scores", "        self.scores = scores\n", "",
               "test_a_resumed_run_keeps_the_same_scores"),
        defect("scores are kept unasked", 'if self.config["keep_scores"]:', "if True:",
               "test_without_scores"),
    ],
    "recbole_cold/report/_references.py": [
        defect("every row with other steps is a reference",
               "for run in (base, longest) if run is not None",
               "for run in (base, *matched) if run is not None", "test_held_against"),
        defect("a table without another method lacks rows",
               "    if not methods - {*references_in(doc), *needed}:", "    if not methods:",
               "test_a_table_names_those_that_it_lacks"),
    ],
    "recbole_cold/report/_document.py": [
        defect("null is no number", "record[name] = math.nan", "pass",
               "test_records_are_checked_when_read"),
    ],
}  # fmt: skip
