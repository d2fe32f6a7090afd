"""The trainer: dropout and statistics apart."""

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
}  # fmt: skip
