"""CIKM 2019: other behaviours as clicks, times since 1970, the first line taken for a header."""

from defects import defect

TESTS = "tests/converters/test_cikm2019.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/cikm2019.py": [
        defect("a cart is a click", '"cart": "0"', '"cart": "1"', "test_lines"),
        defect("any behaviour is a view", "label = LABEL.get(behaviour)",
               'label = LABEL.get(behaviour, "0")',
               "test_lines_of_another_form[user_behavior-0-user,item,behavior,time-line 1 of "
               "'.*user_behavior.csv' has the behaviour 'behavior', none of pv, cart, fav]"),
        defect("any time is one", "        if not (time.isascii() and time.isdigit()):",
               "        if False:",
               "test_lines_of_another_form[user_behavior-1-17,901,cart,-5-has the time '-5', no "
               "whole number of seconds]"),
        defect("times are since 1970", '    since="a Friday 00:00 that is not disclosed",\n', "",
               "test_times_are_relative"),
    ],
    "recbole_cold/converters/_source.py": [
        defect("the first line is a header",
               "yield from self._cells(self._raw_lines(), again, form, width)",
               "yield from itertools.islice("
               "self._cells(self._raw_lines(), again, form, width), 1, None)", "test_lines"),
    ],
    "recbole_cold/converters/_report.py": [
        defect("relative times are dates", """if time["unit"] != f"seconds since {EPOCH}":""",
               "if False:", "test_times_are_relative"),
    ],
    "recbole_cold/converters/_drawing.py": [
        defect("an item is its user", "items.add(row[1])", "items.add(row[0])",
               "test_a_sample_has_the_features_of_its_users_and_items_alone"),
    ],
}  # fmt: skip
