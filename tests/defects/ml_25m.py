"""MovieLens-25M: stars, years, genres and samples that are not those of the files."""

from defects import defect

TESTS = "tests/converters/test_ml_25m.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/ml_25m.py": [
        defect("features of others are in a sample",
               'rows = sample.items(movies(source.file("movies.csv")), left_out)',
               'rows = movies(source.file("movies.csv"))', "test_a_sample_of_the_users"),
        defect("years of a series stay in the title", "(?:\\s*[-\\u2013]\\s*(?:\\d{4})?\\s*)?", "",
               "test_lines"),
        defect("blanks behind the year hide it", '?\\)\\s*", re.DOTALL)', '?\\)", re.DOTALL)',
               "test_lines"),
        defect("a title without a year is lost", 'else (text, "")', 'else ("", "")', "test_lines"),
        defect("no genre is one", '"" if genres == NO_GENRE else genres.replace("|", " ")',
               'genres.replace("|", " ")', "test_lines"),
        defect("any number is a rating", "        if stars not in STARS:", "        if False:",
               "test_faults_leave_nothing"),
        defect("three and a half stars are a click", 'Label("rating", 4, ', 'Label("rating", 3.5, ',
               "test_lines"),
        defect("all users are drawn", "        if not drawn(user):", "        if False:",
               "test_a_sample_of_the_users"),
    ],
    "recbole_cold/converters/ml_32m.py": [
        defect("the files have the other version's name", 'name="ml-32m"', 'name="ml-25m"',
               "test_the_archive_and_the_other_version"),
    ],
}  # fmt: skip
