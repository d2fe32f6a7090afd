"""Optimizers of a fit's steps."""

from defects import defect

TESTS = "tests/training/test_optimizers.py"
DEFECTS = {
    "recbole_cold/training/optimizers.py": [
        defect("Adam in place of gradient descent",
               "GradientDescent(dense, lr=rate, weight_decay=decay)",
               "FusedAdam(dense, lr=rate, weight_decay=decay)", "test_gradient_descent"),
        defect("the rate of the first epoch for good", 'group["lr"] = self.rate',
               'group["lr"] = self.start_rate', "test_rates_by_epoch"),
        defect("the decay once", "self.start_rate * self.decay**epoch",
               "self.start_rate * self.decay", "test_rates_by_epoch"),
        defect("Adam's own betas",
               "FusedAdam(dense, lr=rate, betas=betas, weight_decay=decay)",
               "FusedAdam(dense, lr=rate, weight_decay=decay)",
               "test_betas_are_adams"),
        defect("a shared step moves all", "if id(parameter) not in marks:", "if False:",
               "test_one_adam_for_two_steps"),
        defect("an Adam each", "shared = made[-1] if step.with_next and made else None",
               "shared = None", "test_one_adam_for_two_steps"),
        defect("what is read past the module does not move",
               "parameter.grad = with_gradient(parameter.grad)", "parameter.grad = None",
               "test_a_table_that_is_read_past_its_module"),
        defect("kept states by position from the front",
               "zip(reversed(optimizers), reversed(kept), strict=False)",
               "zip(optimizers, kept, strict=False)",
               "test_a_fit_without_the_first_step_continues_the_last_one"),
    ],
    "recbole_cold/model/_fit.py": [
        defect("any optimizer's name passes", "if self.optimizer not in OPTIMIZERS:", "if False:",
               "test_an_unknown_optimizer"),
    ],
}  # fmt: skip
