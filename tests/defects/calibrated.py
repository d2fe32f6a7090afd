"""What a kept model's curve is fitted on, and where it is read."""

from defects import defect

TESTS = "tests/serving/test_calibrated.py"
SOME = True
DEFECTS = {
    "recbole_cold/experiment/experiment.py": [
        defect("fitted on the rows that are scored", '"fit_on": "valid"}', '"fit_on": "full"}',
               "test_on_rows_of_old_items_alone"),
    ],
    "recbole_cold/experiment/keeping.py": [
        defect("whether there are rows to fit on is seen when all is trained",
               "fit_curves = curves() if config[\"calibrate\"] != NONE else dict",
               "fit_curves = lambda: curves()() if config[\"calibrate\"] != NONE else {}",
               "test_before_anything_is_trained"),
        defect("every model has the curve of the first phase",
               '{"calibration": known[0][name]}', '{"calibration": known[0]["cold"]}',
               "test_each_phase_has_its_own"),
    ],
    "recbole_cold/experiment/calibrating.py": [
        defect("every curve is Platt's", 'rule, seed = dataset.split, config["calibrate"]',
               'rule, seed = dataset.split, "platt"', "test_each_phase_has_its_own[isotonic]"),
        defect("asked for in vain, and nothing is said", 'if config["calibrate"] != NONE:',
               "if False:", "test_where_no_model_is_kept", "test_where_there_is_no_folder"),
    ],
    "recbole_cold/serving/grow.py": [
        defect("a curve outlives its phase", 'after.pop("calibration", None)', "pass",
               "test_a_model_that_grows_has_it_until_it_learns"),
    ],
    "recbole_cold/serving/predict.py": [
        defect("the column repeats the score", "pa.array(fitted.calibrated(scores)) for _",
               "pa.array(scores) for _", "test_a_column_beside_the_score"),
    ],
    "recbole_cold/serving/fitted.py": [
        defect("what was never fitted is read", 'if "calibration" not in self.about:', "if False:",
               "test_none_was_fitted"),
    ],
}  # fmt: skip
