"""Book-Crossing: zeros as dislikes, spellings as books, marks and letters garbled."""

from defects import defect

TESTS = "tests/converters/test_book_crossing.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/book_crossing.py": [
        defect("rows without a rating stay", 'if rating == "0" and not all_rows:', "if False:",
               "test_book_crossing",
               "test_rows_without_a_rating_are_no_clicks_and_left_out_unless_asked_for"),
        defect("a book has two spellings", "return clean(text).upper()", "return clean(text)",
               "test_book_crossing"),
        defect("a rating in the other spelling counts, too", "        if pair in seen:",
               "        if False:", "test_book_crossing"),
        defect("marks are doubled, not with a backslash",
               '"escapechar": "\\\\", "doublequote": False', '"doublequote": True',
               "test_book_crossing"),
        defect("letters are UTF-8", 'file = source.file(name, encoding="latin-1")',
               "file = source.file(name)", "test_book_crossing"),
        defect("NULL is a country", 'NOTHING = ("NULL", "n/a", "")', 'NOTHING = ("",)',
               "test_book_crossing"),
        defect("any age is one", "YOUNGEST, OLDEST = 5, 100", "YOUNGEST, OLDEST = 0, 1000",
               "test_book_crossing"),
        defect("the rule is always the default one", '"rating", options["positive"], f',
               '"rating", 8, f',
               "test_rows_without_a_rating_are_no_clicks_and_left_out_unless_asked_for",
               "test_another_label_rule_is_in_the_next_command"),
    ],
}  # fmt: skip
