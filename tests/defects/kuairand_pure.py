"""KuaiRand-Pure: outcomes, times and features that are not those of the files."""

from defects import defect

TESTS = "tests/converters/test_kuairand_pure.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/kuairand_pure.py": [
        defect("features of others are in a sample",
               'rows = sample.users(users(read("user_features_pure.csv")), left_out)',
               'rows = users(read("user_features_pure.csv"))', "test_a_sample_of_the_users"),
        defect("outcomes are not refused", "    refused=OUTCOMES,", "    refused=(),",
               "test_outcomes_of_a_row_are_refused"),
        defect("times are milliseconds", 'f"{time[:-3]}.{time[-3:]}"', "time", "test_lines"),
        defect("hours are those of London", "str(int(clock) // 100)", "str(int(clock) // 100 - 8)",
               "test_lines"),
        defect("tags are one", '" ".join(tags.split(","))', "tags", "test_lines"),
        defect("categories are decimals", 'return text.removesuffix(".0")', "return text",
               "test_lines"),
        defect("weeks are of the calendar year", "year, number, _ = date.fromisoformat(day)",
               "_, number, _ = date.fromisoformat(day)", "test_lines"),
        defect("lengths are milliseconds", "float(milliseconds or 0) / 1000",
               "float(milliseconds or 0)", "test_lines"),
        defect("a length of less than nothing is one", "if not 0 <= seconds < math.inf:",
               "if False:", "test_faults_leave_nothing"),
        defect("the logs are always all", 'LOGS[options["logs"]]', 'LOGS["all"]',
               "test_which_logs"),
        defect("counts without a date are features",
               "OF_USERS = tuple(column for column in USERS if column not in COUNTS)",
               "OF_USERS = USERS", "test_lines"),
        defect("any click is one", '            if click not in ("0", "1"):',
               "            if False:", "test_faults_leave_nothing"),
    ],
}  # fmt: skip
