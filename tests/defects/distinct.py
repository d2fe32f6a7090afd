"""Distinct numbers that are too few, or not the first ones."""

from defects import defect

TESTS = "tests/test_distinct.py"
DEFECTS = {
    "recbole_cold/distinct.py": [
        defect("the values are not sorted", "    values = np.sort(values)\n", "",
               "test_ascending_and_their_number"),
        defect("the first value is not counted", " + (len(values) > 0)", "",
               "test_ascending_and_their_number"),
        defect("any of the equal ones",
               "np.sort(extreme.reduceat(order, starts))", "np.sort(order[starts])",
               "test_first_and_last_of_each"),
        defect("in the order of values", "np.sort(extreme.reduceat(order, starts))",
               "extreme.reduceat(order, starts)", "test_first_and_last_of_each"),
        defect("the dtype of places", ".astype(codes.dtype)", "", "test_codes_that_occur"),
        defect("the first stretch of codes alone",
               "    for start in range(0, len(codes), _CHUNK):\n        there[codes",
               "    for start in range(0, min(len(codes), _CHUNK), _CHUNK):\n        there[codes",
               "test_codes_that_occur"),
        defect("what is left out is counted", "codes[part][keep[part]]", "codes[part]",
               "test_counts_of_some"),
        defect("the last stretch alone", "        counts += np.bincount(",
               "        counts = np.bincount(",
               "test_counts_of_some"),
        defect("places within a stretch", "np.add(here, start, out=", "np.add(here, 0, out=",
               "test_counts_and_places_of_all"),
        defect("a stretch over the one before", "out=found[begin:end])",
               "out=found[: len(here)])", "test_counts_and_places_of_all"),
        defect("codes of the first rows alone", "range(0, len(rows), _CHUNK)",
               "range(0, min(len(rows), _CHUNK), _CHUNK)", "test_codes_of_some_rows"),
        defect("the last run has no end", "np.append(starts, len(ordered))",
               "np.append(starts, starts[-1:])", "test_runs_of_ordered_values"),
        defect("the last position",
               "first[part[::-1]] = np.arange(end - 1, end - len(part) - 1, -1)",
               "first[part] = np.arange(end - len(part), end)",
               "test_first_positions", "test_numbers_follow_first_appearance"),
        defect("every column begins anew", "            end -= len(part)\n",
               "            end -= len(part)\n        end = sum(map(len, columns))\n",
               "test_first_positions"),
    ],
}  # fmt: skip
