"""MicroVideo-1.7M: parts that are not those of the data, rows that are lost or there twice."""

from defects import defect

TESTS = "tests/converters/test_microvideo_1_7m.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/microvideo_1_7m.py": [
        defect("times are texts", "        key = float(row.time), place",
               "        key = float(len(self._oldest)), place",
               "test_the_oldest_rows_of_new_items_are_their_warm_up_sets"),
        defect("rows of warm-up sets are in the test, too",
               "        elif not item.has(place, row):", "        else:",
               "test_the_oldest_rows_of_new_items_are_their_warm_up_sets"),
        defect("of two rows of one time both are warm",
               "return (float(row.time), place) <= self._oldest[-1][:2]",
               "return float(row.time) <= self._oldest[-1][0]",
               "test_the_oldest_rows_of_new_items_are_their_warm_up_sets"),
        defect("items with few rows are new, too",
               "for name, item in found.items() if item.count >= most}",
               "for name, item in found.items()}",
               "test_the_oldest_rows_of_new_items_are_their_warm_up_sets"),
        defect("items with few rows have an id",
               "            if item in self.old or item in new:", "            if True:",
               "test_the_oldest_rows_of_new_items_are_their_warm_up_sets"),
        defect("a full item is left out", "if item.count >= most}", "if item.count > most}",
               "test_an_item_with_as_many_rows_as_the_sets_take_has_no_test_row"),
        defect("old items may be in the test", "        if item in self.old:", "        if False:",
               "test_faults_leave_nothing"),
        defect("columns are where they were", "read = itemgetter(*map(head.index, COLUMNS))",
               "read = itemgetter(0, 1, 4, 3, 2)",
               "test_columns_in_another_order_and_without_histories"),
        defect("K is always two", 'most = len(WARM) * options["warm_size"]  #', "most = 6  #",
               "test_the_oldest_rows_of_new_items_are_their_warm_up_sets"),
        defect("a test of nothing will do",
               "    if not any(item.count > most for item in found.values()):", "    if False:",
               "test_no_row_left_for_the_test"),
        defect("new items without warm-up sets have no features",
               'Table("item", header, videos.category.items(), Counter())',
               'Table("item", header, [*videos.category.items()][:2], Counter())',
               "test_the_split_of_the_data"),
        defect("all users are drawn", "        if not drawn(user):", "        if False:",
               "test_a_sample_has_whole_users"),
    ],
    "recbole_cold/converters/_converting.py": [
        defect("the last part alone is counted", "_with(counts.get(table.suffix), written)",
               "written", "test_the_oldest_rows_of_new_items_are_their_warm_up_sets"),
        defect("each part is counted anew", "seen = seen or Interactions(", "seen = Interactions(",
               "test_the_oldest_rows_of_new_items_are_their_warm_up_sets"),
    ],
    "properties/dataset/microvideo-1.7m.yaml": [
        defect("there are warm-up sets", "warm_sets: 0  ", "warm_sets: 3  ",
               "test_check_reads_the_parts"),
    ],
    "recbole_cold/cli/convert.py": [
        defect("parts are as they are usually",
               'if parts and parts != usual.get("benchmark_filename"):', "if False:",
               "test_check_reads_warm_up_sets_with_the_command_that_convert_prints"),
    ],
}  # fmt: skip
