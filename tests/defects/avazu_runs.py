"""A synthetic log in Avazu's form, through the converter and both protocols."""

from defects import defect

TESTS = "tests/converters/test_avazu_runs.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/avazu.py": [
        defect("all rows have one moment, so none is earlier",
               "when = moments[hour] = moment(hour)",
               'when = moments[hour] = moment("14102100")', "test_warm_up_with_a_sequence_model"),
        defect("the null device is one user, whatever is asked",
               'return f"{address}_{model}" if null_device == "address" else ""',
               "return device", "test_sessions_with_rml"),
    ],
}  # fmt: skip
