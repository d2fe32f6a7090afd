"""Phases: their order, what each is scored on, and when a trainer is called."""

from defects import defect

TESTS = "tests/data/test_phases.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/phases.py": [
        defect("a phase is scored on the rows that it has learned on",
               "following = [phase.warm_up_on for phase in phases[1:]] + [None]",
               "following = [phase.warm_up_on for phase in phases]",
               "test_next_scores_on_the_rows_that_come_next",
               "test_no_phase_is_scored_on_rows_it_has_learnt_on"),
        defect("common phases come first", "sets = [*warm_sets, *common_names(common)]",
               "sets = [*common_names(common), *warm_sets]", "test_common_phases_come_last"),
        defect("every phase is scored on test", "evaluate(phase.name, split[phase.score_on])",
               'evaluate(phase.name, split["test"])',
               "test_runner_learns_then_scores_phase_by_phase"),
    ],
}  # fmt: skip
