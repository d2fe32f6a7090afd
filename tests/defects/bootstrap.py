"""The cluster bootstrap: ties, weights, seeds and DeLong's formula."""

from defects import defect

TESTS = "tests/evaluation/test_bootstrap.py"
SOME = True
DEFECTS = {
    "recbole_cold/evaluation/bootstrap.py": [
        defect("a tie counts as a win", "(below + others / 2)", "(below + others)",
               "test_equals_rows_written_out[6]"),
        defect("rows are drawn, not clusters",
               "times = weights[:, self.cluster].astype(np.float64)",
               "times = np.resize(weights, (len(weights), len(self.cluster))).astype(np.float64)",
               "test_equals_rows_written_out[None]"),
        defect("clusters are drawn without replacement",
               "return draws.multinomial(n_clusters, even, size=resamples).astype(np.int32)",
               "return np.ones((resamples, n_clusters), np.int32)",
               "test_each_resample_has_as_many_clusters"),
        defect("resamples of one class are zero", "out=np.full(len(won), math.nan)",
               "out=np.zeros(len(won))", "TestAUC::test_one_class_is_not_defined"),
        defect("a mean over clusters, not rows", "rows = np.bincount(cluster, minlength=size)",
               "rows = np.ones(size)", "test_weighted_log_loss_equals_scikit_learn"),
        defect("seeds are drawn once for all resamples", "size=(n_seeds, count))",
               "size=(n_seeds, 1)).repeat(count, axis=1)", "test_drawing_seeds_too_is_wider"),
        defect("the interval is one-sided", "[tail, 100 - tail]", "[0, 100 - tail]",
               "test_percentiles_of_the_mean_over_seeds"),
        defect("methods are not paired", "first[0] - second[0], first[1] - second[1]",
               "first[0] - second[0], first[1] + second[1]",
               "test_is_its_kernel_written_out[None]"),
    ],
}  # fmt: skip
