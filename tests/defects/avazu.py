"""Avazu: ids, times, users and samples that are not those of the log."""

from defects import defect

TESTS = "tests/converters/test_avazu.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/avazu.py": [
        defect("hours are local", "tzinfo=timezone.utc", "tzinfo=timezone.max",
               "test_hours_are_utc"),
        defect("ids are numbers", "        yield [user, item, *when,",
               "        item = str(int(float(item))) if item.isdigit() else item\n"
               "        yield [user, item, *when,", "test_ids_of_64_bits_stay_exact"),
        defect("the null device is one user",
               'if device != NULL_DEVICE or null_device == "one":', "if True:",
               "test_lines", "test_the_null_device"),
        defect("the item is a feature, too",
               'if each not in (*of_items, options["item_field"])]', "if each not in of_items]",
               "test_the_item_is_no_feature_beside", "test_lines"),
        defect("the last value of an item counts", "if known != values:", "if False:",
               "test_columns_that_differ_on_an_items_rows_are_refused"),
        defect("any click is one", '        if click not in ("0", "1"):', "        if False:",
               "test_lines_of_another_form[change0-line 3 of .* has the click '2', not 0 or 1]"),
    ],
    "recbole_cold/converters/_drawing.py": [
        defect("rows are drawn, not users", 'digest = hashlib.blake2b(f"{seed}/{user}".encode()',
               'import itertools\n    rows = globals().setdefault("_rows", itertools.count())\n'
               '    digest = hashlib.blake2b(f"{seed}/{next(rows)}".encode()',
               "test_a_sample_has_whole_users_and_its_share_of_them"),
        defect("all seeds draw the same", 'f"{seed}/{user}"', 'f"{user}"',
               "test_a_sample_has_whole_users_and_its_share_of_them"),
        defect("a part is all", "if share == 1:", "if share > 0:",
               "test_a_sample_has_whole_users_and_its_share_of_them"),
    ],
}  # fmt: skip
