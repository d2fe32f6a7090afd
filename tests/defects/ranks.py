"""Ranks over data sets, Nemenyi's difference, and the Bayesian signed-rank test."""

from defects import defect

TESTS = "tests/evaluation/test_ranks.py"
SOME = True
DEFECTS = {
    "recbole_cold/evaluation/ranks.py": [
        defect("the methods of all blocks are ranked together",
               "np.apply_along_axis(stats.rankdata, 1, _table(costs))",
               "stats.rankdata(_table(costs), axis=None).reshape(np.shape(costs))",
               "test_the_level_of_a_block_does_not_matter", "test_mean_ranks_of_the_paper"),
        defect("ties do not share their rank",
               "np.apply_along_axis(stats.rankdata, 1, _table(costs))",
               "stats.rankdata(_table(costs), method='min', axis=1)",
               "test_mean_ranks_share_ties"),
        defect("the studentized range is taken whole", "methods, math.inf)) / math.sqrt(2)",
               "methods, math.inf))", "test_critical_values_of_the_paper",
               "test_the_papers_example"),
        defect("a group may reach the critical difference", "mean_rank[first] < difference",
               "mean_rank[first] <= difference",
               "test_a_group_ends_before_the_critical_difference"),
        defect("groups inside others are groups", "if stop > end and stop - start > 1",
               "if stop - start > 1", "TestCliques::test_by_hand",
               "test_are_the_largest_groups_of_all_groups"),
        defect("p-values are not corrected", "return holm([wilcoxon_p", "return list([wilcoxon_p",
               "test_is_holms_correction_of_wilcoxons_p"),
        defect("without a pseudo-observation", "observed = np.array([0.0, *gains])",
               "observed = np.array([gains[0], *gains])", "test_is_its_definition"),
        defect("the prior's strength is not asked", "np.array([strength, *np.ones",
               "np.array([0.5, *np.ones", "test_is_its_definition"),
        defect("sums of gains instead of means", "(observed[:, None] + observed) / 2",
               "observed[:, None] + observed", "test_is_its_definition"),
        defect("regions that are equal all win",
               "(winner / winner.sum(axis=1, keepdims=True)).sum(axis=0)",
               "winner.sum(axis=0) * 2",
               "test_the_chances_sum_to_one_and_turn_with_the_sign"),
    ],
}  # fmt: skip
