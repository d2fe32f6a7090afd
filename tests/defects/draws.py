"""Settings that methods are tried with, and the spaces they come from."""

from defects import defect

TESTS = "tests/equal_tuning/test_draws.py"
SOME = True
DEFECTS = {
    "recbole_cold/equal_tuning/draws.py": [
        defect("a space ends with its draws", "found += [point for point in points",
               "found += [point for point in []",
               "test_points_that_no_draw_meets_come_last"),
        defect("the default is tried again", "{space.name_of(default)}", "set()",
               "test_a_draw_that_is_the_default_is_tried_with_another_own_value"),
        defect("each own space has shared draws of its own", "shared[number].items() if",
               "shared[(number + len(own)) % len(shared)].items() if",
               "test_shared_draws_are_the_same_for_all"),
        defect("a method has keys that it lacks", "if key in keys}", "}",
               "test_as_many_as_there_are"),
        defect("nothing makes up for settings that are equal",
               "while len(found) < n and fill(range(len(shared))):", "while False:",
               "test_as_many_as_there_are"),
        defect("the own point depends on the number of trials",
               "np.random.default_rng([seed, number])", "np.random.default_rng([seed, number, n])",
               "test_more_trials_begin_with_the_settings_of_fewer"),
    ],
    "recbole_cold/config.py": [
        defect("a subclass has its parents' keys as well",
               "return dict(next(filter(None, reversed(blocks)), {}))",
               "return {k: v for block in blocks for k, v in (block or {}).items()}",
               "test_two_own_keys_whose_values_build[GMEA]"),
    ],
    "recbole_cold/model/itembias.py": [
        defect("ItemBias fine-tunes", "idle_keys: ClassVar = FINE_TUNING",
               "idle_keys: ClassVar = ()",
               "test_idle_keys_are_those_that_change_no_fit[ItemBias]"),
    ],
    "recbole_cold/model/_fewshot.py": [
        defect("a few-shot learner pre-trains", '("pretrain_epochs", *FINE_TUNING)', "FINE_TUNING",
               "test_idle_keys_are_those_that_change_no_fit[MeLU]"),
    ],
}  # fmt: skip
