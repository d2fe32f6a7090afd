"""Fine-tuning of whole models: what moves, by which loss, and how Adam goes on."""

from defects import defect

TESTS = "tests/model/test_whole_model.py"
METHOD = "recbole_cold/model/_method.py"
DEFECTS = {
    METHOD: [
        defect("each part begins with a new Adam", 'mode="train", keep="fine-tune")',
               'mode="train")', "test_every_part_is_a_step_of_one_adam"),
        defect("the rate of pre-training", 'rate, decay = self.config["warm_learning_rate"], self',
               'rate, decay = self.config["learning_rate"], self',
               "test_every_part_is_a_step_of_one_adam"),
        defect("without dropout", 'batches, epochs, mode="train", keep',
               'batches, epochs, mode="frozen", keep', "test_dropout_is_on_as_in_pre_training"),
        defect("one pass only", 'epochs, batches = self.config["warm_epochs"], self',
               "epochs, batches = 1, self", "test_passes_and_steps_are_those_of_warm_phases"),
        defect("the tables alone move", "            return list(self.backbone.parameters())\n"
               "        rows = [self", "            return list(self.backbone.parameters())[:1]\n"
               "        rows = [self", "test_all_of_the_model_moves_in_every_part"),
        defect("the whole model moves for new items, too",
               "fit = self.finetune_fit if len(self.new_ids) else",
               "fit = self.finetune_fit if False else",
               "test_where_items_are_new_only_their_own_rows_move"),
    ],
    "recbole_cold/training/trainer.py": [
        defect("what Adam knows is lost with the process", '"kept": self._kept,', '"kept": {},',
               "test_a_run_stopped_between_parts_ends_alike"),
    ],
}  # fmt: skip
