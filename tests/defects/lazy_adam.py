"""Lazy Adam: sums of look-ups, moments, the L2 term, the state."""

from defects import defect

TESTS = "tests/training/test_lazy_adam.py"
DEFECTS = {
    "recbole_cold/training/lazy_adam.py": [
        defect("other roundings", "size = group[\"lr\"] * math.sqrt(beta_2) / beta_1",
               "size = group[\"lr\"] / beta_1 * math.sqrt(beta_2) * (1 + 1e-6)",
               "test_the_numbers_of_sparse_adam[3]"),
        defect("a row's last look-up alone", "index_add_(\n        0, place_l, value_ld\n    )",
               "index_copy_(\n        0, place_l, value_ld\n    )", "test_row_by_row[0.0]"),
        defect("L2 without effect", "if group[\"weight_decay\"]:", "if False:",
               "test_row_by_row[0.3]"),
        defect("all rows shrink", "        row_u, gradient_ud = summed_by_row(table.grad)\n",
               "        row_u, gradient_ud = summed_by_row(table.grad)\n"
               "        table.mul_(1 - 0.01 * group[\"weight_decay\"])\n",
               "test_a_row_without_a_gradient_stays[0.3]"),
        defect("moments change places", "torch.stack([first_ud, second_ud], dim=1)",
               "torch.stack([second_ud, first_ud], dim=1)", "test_row_by_row[0.0]",
               "test_the_numbers_of_sparse_adam[1]"),
        defect("steps are counted outside of the state", "state[\"step\"] += 1",
               "self.count = getattr(self, \"count\", 0) + 1; state[\"step\"] = self.count",
               "test_a_kept_state_goes_on"),
    ],
}  # fmt: skip
