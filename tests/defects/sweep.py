"""Sweeps: what is refused, what trials may see, and which setting is chosen."""

from defects import defect

TESTS = "tests/sweep/test_sweep.py"
SOME = True
DEFECTS = {
    "recbole_cold/sweep/sweep.py": [
        defect("samples of a plain grid pass",
               "if request.samples is not None and not drawn and",
               "if request.samples is not None and drawn and", "test_in_one_sentence"),
        defect("settings are not tried before the start",
               '                self._config(each.params, "valid")\n'
               "            except UserError as error:",
               "                pass\n            except UserError as error:",
               "test_a_value_that_only_a_combination_forbids"),
        defect("trials fit on everything and are scored on test",
               'overrides=plain(self._overrides(params, "valid")),',
               'overrides=plain(self._overrides(params, "full")),',
               "test_trials_never_see_the_new_items"),
    ],
    "recbole_cold/sweep/requests.py": [
        defect("the rows that are scored may differ between settings",
               'fixed |= dict.fromkeys(scored, "it decides what is scored, so values would not '
               'compare")', "pass", "test_in_one_sentence"),
        defect("a key that is given is searched", "if axis.root not in held]", "]",
               "test_keys_that_are_idle_or_given_are_not_searched"),
    ],
    "recbole_cold/sweep/choosing.py": [
        defect("the highest is the best, whatever the metric", "sign = -1 if self.lower else 1",
               "sign = 1", "test_lower_is_better_and_a_phase_of_its_own"),
        defect("a setting without all its seeds can win", 'if each["n"] == self.n_seeds]',
               'if each["n"]]', "test_a_setting_that_fails_on_one_seed_cannot_win"),
    ],
}  # fmt: skip
