"""Bands of curves, and metrics on batches."""

from defects import defect

TESTS = "tests/experiment/test_bands.py"
SOME = True
DEFECTS = {
    "recbole_cold/experiment/intervals.py": [
        defect("seeds are not drawn", "nested_seed=drawn if len(values) > 1 else None)",
               "nested_seed=None)", "test_equal_resamples_written_out[AUC-roc_auc_score-(4, 5)]"),
        defect("items whatever is asked", "wanted, find, settings, lambda: False, (side,))",
               'wanted, find, settings, lambda: False, ("item",))',
               "test_equal_resamples_written_out", "test_users_are_drawn_or_items"),
        defect("an end may be no number", "if math.isfinite(interval.low):", "if True:",
               "test_a_mean_is_nan_where_no_resample_has_both_classes"),
    ],
    "recbole_cold/experiment/bands.py": [
        defect("deviations whatever the split", "(asked is None and not _are_sessions(documents))",
               "asked is None", "test_sessions_have_bands_over_users_unless_asked"),
        defect("users for items", '"items": "item"}', '"items": "user"}',
               "test_sessions_have_bands_over_users_unless_asked"),
        defect("rows without scores go unsaid", 'if without else ""', 'if not without else ""',
               "test_what_was_not_kept"),
        defect("what was asked for is left out in silence",
               "    if not found.ends:\n        if asked is None:",
               "    if not found.ends:\n        if True:", "test_what_was_not_kept"),
        defect("no resamples in a run are none in a picture",
               "settings = settings._replace(resamples=1000)", "return None",
               "test_a_run_without_resamples_has_none_unless_asked"),
    ],
    "recbole_cold/experiment/session.py": [
        defect("a run draws deviations of sessions", ' / "curves.png", of_lines)',
               ' / "curves.png", None)', "test_the_runs_own_curves_are_those_of_the_verb"),
    ],
    "recbole_cold/experiment/batches.py": [
        defect("a size is passed over", "rows_of_batch = size or", "rows_of_batch =",
               "test_are_those_of_every_seed_in_their_order"),
        defect("batches without a size are of any", 'int(run["config"]["train_batch_size"])',
               "128", "test_without_a_size_they_are_those_of_training"),
        defect("metrics of groups are taken", "if metric not in METRICS or METRICS[metric].group:",
               "if metric not in METRICS:", "test_what_they_cannot_be_of",
               "test_mistakes_are_one_sentence[words6-which GAUC is not; use one of AUC]"),
    ],
    "recbole_cold/report/_looks.py": [
        defect("bands are as wide as deviations", "ends[-1] = bands.ends.get(place, ends[-1])",
               "pass", "test_the_band_has_these_ends"),
        defect("deviations stand beside bands",
               "spread = row.std if row.n > 1 and bands is None else 0.0",
               "spread = row.std if row.n > 1 else 0.0", "test_the_band_has_these_ends"),
        defect("all backbones have the bands of one",
               "place = (backbone, row.label, row.phase, row.metric)",
               'place = ("DCN" if backbone else "", row.label, row.phase, row.metric)',
               "test_each_backbone_of_a_comparison_has_its_own"),
        defect("what has no band goes unsaid",
               'f", none of {\' and \'.join(without)}" if without else ""', '""',
               "test_a_metric_without_bands_is_named"),
        defect("the axis forgets bands", "least = [min(*ends, *line.mean)",
               "least = [min(line.mean)", "test_the_band_has_these_ends"),
    ],
    "recbole_cold/report/_plots.py": [
        defect("backbones have no names", 'backbone if len(documents) > 1 else ""', '""',
               "test_of_several_backbones_each_has_a_heading"),
    ],
    "recbole_cold/report/_ridgelines.py": [
        defect("headings stand on rows", "            at += 1.2\n", "            at += 0.2\n",
               "test_of_several_backbones_each_has_a_heading"),
    ],
    "recbole_cold/results.py": [
        defect("a flag goes where it does nothing", "asked.keys() - set(chosen.takes)",
               "asked.keys() - {*chosen.takes, *asked}",
               "TestVerb::test_mistakes_are_one_sentence"),
    ],
}  # fmt: skip
