"""The trainer: dropout and statistics apart, and clocks that start when PyTorch has."""

from defects import defect

TESTS = "tests/training/test_trainer.py"
SOME = True
DEFECTS = {
    "recbole_cold/backbone/_seam.py": [
        defect("the check of frozen tables ends dropout",
               "            self._frozen = None\n        if torch",
               "            self._frozen = self.model.eval() and None\n        if torch",
               "test_dropout_and_statistics_are_two_keys[True-frozen]"),
    ],
    "recbole_cold/model/_method.py": [
        defect("dropout is on unasked", 'dropout=self.config["backbone_dropout"]', "dropout=True",
               "test_dropout_and_statistics_are_two_keys[False-frozen]"),
        defect("moving statistics turn dropout on",
               "set_apart(self.backbone, statistics=moving, dropout=dropout)",
               "set_apart(self.backbone, statistics=moving, dropout=dropout or moving)",
               "test_dropout_and_statistics_are_two_keys[False-moving]"),
    ],
    "recbole_cold/training/trainer.py": [
        defect("the first clock runs while PyTorch starts",
               "        start_up(method.device)  # before any clock runs\n", "",
               "test_once_per_process_and_before_the_first_clock"),
    ],
    "recbole_cold/training/meter.py": [
        defect("every trainer starts PyTorch anew", "@cache\ndef start_up", "def start_up",
               "test_once_per_process_and_before_the_first_clock"),
        defect("starting draws", "torch.zeros(2, 2, device=device, requires_grad=True)",
               "torch.randn(2, 2, device=device, requires_grad=True)",
               "test_no_random_state_moves"),
        defect("a reset hides the peak before it",
               "    _before_resets.append(_peak_mb())\n", "    _before_resets.append(0.0)\n",
               "test_a_meter_within_another_hides_no_peak"),
        defect("a stage has the peaks before it", "*_before_resets[self.first :]",
               "*_before_resets", "test_memory_is_the_peak_of_the_stage"),
        defect("the first step of Adam is left to the first stage", "FusedAdam([weight]), ", "",
               "test_once_per_process_and_before_the_first_clock"),
    ],
}  # fmt: skip
