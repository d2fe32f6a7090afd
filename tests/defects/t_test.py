"""The t-test of pairs of seeds."""

from defects import defect

TESTS = "tests/report/test_report.py"
SOME = True
DEFECTS = {
    "recbole_cold/evaluation/significance.py": [
        defect("the samples are not paired", "stats.ttest_rel(ours, theirs)",
               "stats.ttest_ind(ours, theirs)", "TestPairedTest::test_by_hand"),
        defect("the difference is that of the others",
               "x - y for x, y in zip(ours, theirs, strict=True)",
               "y - x for x, y in zip(ours, theirs, strict=True)", "TestPairedTest::test_by_hand",
               "test_pairs_are_of_the_same_seed"),
        defect("the difference has no sign", "x - y for x, y in zip(ours, theirs, strict=True)",
               "abs(x - y) for x, y in zip(ours, theirs, strict=True)",
               "test_swapping_the_runs_swaps_the_sign"),
        defect("rounding counts as a difference", "noise = 1e-12 * max", "noise = 0.0 * max",
               "test_equal_differences_have_no_test"),
    ],
}  # fmt: skip
