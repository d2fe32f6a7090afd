"""Steps that a CUDA graph replays: the numbers of steps one by one."""

from defects import defect

TESTS = "tests/training/test_captured.py"
SOME = True
DEFECTS = {
    "recbole_cold/training/captured.py": [
        defect("a batch stays where it was", "            held.copy_(value)\n",
               "            pass\n", "test_losses_are_those_of_their_batch_and_step",
               "test_replayed_steps_give_the_same_numbers"),
        defect("the next batch overwrites a loss", "self._losses[0].clone()", "self._losses[0]",
               "test_losses_are_those_of_their_batch_and_step"),
        defect("the recorded batch is learned from twice", "            self._record(batch)\n",
               "            self._record(batch)\n            self._recorder.replay()\n",
               "test_replayed_steps_give_the_same_numbers"),
        defect("the recorded steps read the first batch",
               "self._all(batch.of_inputs(*self._held))", "self._all(batch)",
               "test_losses_are_those_of_their_batch_and_step"),
        defect("any batch is taken for a recorded one", "if shapes != self._shapes:", "if False:",
               "test_losses_are_those_of_their_batch_and_step"),
        defect("moments are made while it is recorded", "if self._seen[shapes] <= BEFORE:",
               "if self._seen[shapes] < 1:", "test_replayed_steps_give_the_same_numbers"),
        defect("lazy tables are recorded",
               "    if any(optimizer.lazy for optimizer in optimizers):\n", "    if False:\n",
               "test_why_a_fit_is_not_recorded"),
        defect("a learning rate stays what it was",
               "    if any(step.decay != 1.0 for step in fit.steps):\n", "    if False:\n",
               "test_why_a_fit_is_not_recorded"),
        defect("the last error is told", "    while isinstance(error.__context__, RuntimeError):\n",
               "    while False:\n", "test_a_recording_that_fails_ends_the_run"),
        defect("every fit says it anew", "            if fit.name not in self._told:\n",
               "            if True:\n", "test_what_is_not_recorded_says_so_once"),
        defect("a CPU says nothing", "        if asked and self._make is None:\n",
               "        if False:\n",
               "test_a_run_without_a_card_says_that_there_is_nothing_to_record"),
    ],
    "recbole_cold/backbone/_constants.py": [
        defect("any click model can be recorded", "isinstance(model, FiGNN)", "False",
               "test_a_click_model_that_copies_from_the_host_is_not_recorded"),
    ],
    "recbole_cold/model/dropoutnet.py": [
        defect("DropoutNet asks for no click model", "is None and self.backbone.replayable",
               "is None", "test_a_click_model_that_copies_from_the_host_is_not_recorded"),
    ],
    "recbole_cold/model/_method.py": [
        defect("histories are recorded", "        same = loss == self.backbone.calculate_loss and "
               "self.rows.histories is None\n",
               "        same = loss == self.backbone.calculate_loss\n",
               "test_what_is_not_recorded_says_so_once"),
    ],
    "recbole_cold/model/metae.py": [
        defect("batches that ask for their items are recorded",
               "same = self.per_item and self.rows.histories is None",
               "same = self.rows.histories is None", "test_what_is_not_recorded_says_so_once"),
    ],
}  # fmt: skip
