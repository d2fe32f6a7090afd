"""The cluster bootstrap: ties, weights, seeds and DeLong's formula."""

from defects import defect

TESTS = "tests/evaluation/test_bootstrap.py"
SOME = True
DEFECTS = {
    "recbole_cold/evaluation/bootstrap.py": [
        defect("a tie counts as a win", "click[:, self._tied], level) / 2",
               "click[:, self._tied], level)", "test_equals_rows_written_out[6]"),
        defect("rows are drawn, not clusters", "click = _columns(weights, self._clicks)",
               "click = np.resize(weights, (len(weights), len(self._clicks)))",
               "test_equals_rows_written_out[None]"),
        defect("clusters are drawn without replacement",
               "return draws.multinomial(n_clusters, even, size=resamples).astype(np.int32)",
               "return np.ones((resamples, n_clusters), np.int32)",
               "test_each_resample_has_as_many_clusters"),
        defect("resamples of one class are zero", "out=np.full(len(won), math.nan)",
               "out=np.zeros(len(won))", "TestAUC::test_one_class_is_not_defined"),
        defect("a mean over clusters, not rows",
               "np.bincount(cluster, minlength=n_clusters).astype(np.float64)",
               "np.ones(n_clusters)", "test_weighted_log_loss_equals_scikit_learn"),
        defect("seeds are drawn once for all resamples", "size=(n_seeds, count))",
               "size=(n_seeds, 1)).repeat(count, axis=1)", "test_drawing_seeds_too_is_wider"),
        defect("the interval is one-sided", "np.interp([tail, 1 - tail]", "np.interp([0, 1 - tail]",
               "test_percentiles_of_the_mean_over_seeds"),
        defect("methods are not paired", "first[0] - second[0], first[1] - second[1]",
               "first[0] - second[0], first[1] + second[1]",
               "test_is_its_kernel_written_out[None]"),
        defect("the deviation of all rows", "of_clicks.var(ddof=1) / len(of_clicks)",
               "of_clicks.var(ddof=1) / len(of_others)",
               "test_is_how_far_aucs_of_other_rows_lie_apart"),
        defect("two of a class are asked of neither", "len(of_others)) < 2:",
               "len(of_others)) < 0:", "test_one_row_of_a_class_tells_none"),
    ],
}  # fmt: skip
