"""DropoutNet: what is dropped, what takes its place, and when."""

from defects import defect

TESTS = "tests/model/test_dropoutnet.py"
DEFECTS = {
    "recbole_cold/model/dropoutnet.py": [
        defect("what was to be dropped stays",
               "torch.where(dropped_b[:, None], substitute_d, vector_bd)",
               "torch.where(dropped_b[:, None], vector_bd, substitute_d)", "test_drop_by_hand",
               "test_a_batch_without_a_drop_has_the_plain_loss"),
        defect("drops at rate zero",
               "        if not self.rate:\n", "        if False:\n",
               "test_rate_zero_is_plain_pretraining_bit_for_bit[DeepFM]"),
        defect("the scalar weight stays", "drop(first_b1, substitute_1, dropped_b)",
               "drop(first_b1, substitute_1, dropped_b & False)",
               "test_rate_one_learns_nothing_about_the_id",
               "test_a_cold_item_scores_as_a_dropped_row[DeepFM]"),
        defect("the substitute learns",
               "        with torch.no_grad():\n            return self.old",
               "        with torch.enable_grad():\n            return self.old",
               "test_pretraining_at_rate_one_leaves_the_table_alone",
               "test_kept_rows_get_the_plain_gradient_dropped_ones_none"),
        defect("drops come too often", "device=self.device) < self.rate)",
               "device=self.device) < 1.2 * self.rate)", "test_rows_are_dropped_at_the_rate"),
        defect("each row has its own draw", 'draws = 1 if self.granularity == "batch" else size',
               "draws = size", "test_released_granularity_is_the_batch"),
        defect("the mean is of old items",
               'if self.config["dropoutnet_mean"] == "table":', "if False:",
               "test_released_substitute_is_the_mean_of_the_table"),
        defect("the cache's key lacks a switch", 'keys = ("dropoutnet_mean", "id_first_order")',
               'keys = ("dropoutnet_mean",)', "test_what_changes_pretraining_is_in_its_key"),
    ],
    "recbole_cold/model/_method.py": [
        defect("the mean is of all items",
               "old = self.backbone.id_vectors(self.old_ids)\n",
               "old = self.backbone.id_table()\n",
               "test_the_substitute_is_the_mean_of_old_items"),
        defect("a new draw instead of the table's own",
               "return self.backbone.id_vectors(self.new_ids).detach()",
               "return torch.randn_like(self.new_vectors)",
               "test_released_cold_rows_are_the_tables_own"),
        defect("the vector is dropped while scoring",
               "self._served(ids, self.new_vectors, self.backbone.id_vectors(ids))",
               "self._served(ids, self.new_vectors, self.old_mean().expand(len(ids), -1))",
               "test_scoring_never_drops"),
    ],
    "recbole_cold/training/optimizers.py": [
        defect("lazy tables do not move",
               "self.parts.append(LazyAdam(lazy, lr=rate, betas=betas, weight_decay=decay))",
               "pass", "test_lazy_tables_learn_too"),
    ],
}  # fmt: skip
