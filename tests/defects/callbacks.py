"""Callbacks: what they are told, and that nothing they do reaches the run."""

from defects import defect

TESTS = "tests/training/test_callbacks.py"
SOME = True
DEFECTS = {
    "recbole_cold/training/callbacks.py": [
        defect("callbacks get the run's own values", "copy.deepcopy(values))", "values)",
               "test_others_see_values_that_one_has_changed_whole"),
        defect("what a callback draws is gone for the run", 
               "seeding.restore_layers(state, self.device)", "pass",
               "test_no_number_changes_whatever_a_callback_does"),
        defect("an interruption is a mistake", "    except Interrupted:\n", "    except ():\n",
               "test_an_interruption_is_one"),
        defect("everything is a callback", "if not isinstance(each, Callback):", "if False:",
               "test_what_is_no_callback_is_refused_before_anything_runs"),
        defect("metrics for everybody", "dict(metrics) if each.wants_epoch_metrics else {}",
               "dict(metrics)", "test_epochs_have_metrics_only_for_who_wants_them"),
    ],
}  # fmt: skip
