"""Methods that mean some rows of a table: whose rows, and how long their gradients are."""

from defects import defect

TESTS = "tests/model/test_some_rows.py"
DEFECTS = {
    "recbole_cold/backbone/_seam.py": [
        defect("rows of another field",
               "return self.model.token_embedding_table.embedding(ids + self._offset)",
               "return self.model.token_embedding_table.embedding(ids)",
               "test_id_vectors_are_rows_of_the_table[DeepFM-item]"),
        defect("a gradient as long as the table",
               "return self.model.token_embedding_table.embedding(ids + self._offset)",
               "return self.id_table()[ids]",
               "test_a_lazy_table_has_a_gradient_of_these_rows_alone",
               "test_no_method_reads_a_table_past_its_module[DropoutNet]"),
        defect("side information of the first items", "whole.index_select(0, ids)",
               "whole[: len(ids)]", "test_side_vectors_and_frequency_of_some_items[True]"),
        defect("a mean is kept when tables move again", "self._frozen = self._kept = None",
               "self._frozen = None", "test_the_mean_weight_is_taken_once_while_tables_are_frozen"),
        defect("weights of another field", "return table(ids + self._first_offset)",
               "return table(ids)", "test_id_vectors_are_rows_of_the_table[DeepFM-item]"),
    ],
    "recbole_cold/model/_method.py": [
        defect("frequencies of the first items",
               "counts = self.counts if ids is None else self.counts[ids]",
               "counts = self.counts if ids is None else self.counts[: len(ids)]",
               "test_side_vectors_and_frequency_of_some_items[False]"),
    ],
    "recbole_cold/model/_layers.py": [
        defect("pooling has dense gradients", 'mode="mean", padding_idx=0, sparse=sparse)',
               'mode="mean", padding_idx=0)', "test_no_method_reads_a_table_past_its_module[CVAR]"),
    ],
    "recbole_cold/model/_inner.py": [
        defect("gradients of chunks are as long as the table",
               "gradient = gradient.coalesce() if gradient.is_sparse else gradient",
               "gradient = gradient.to_dense() if gradient.is_sparse else gradient",
               "test_a_loss_in_chunks_keeps_gradients_of_rows[2]",
               "test_no_method_reads_a_table_past_its_module[EmerG]"),
        defect("the last chunk's gradient alone",
               "sums[at] = gradient if sums[at] is None else sums[at] + gradient",
               "sums[at] = gradient", "test_a_loss_in_chunks_keeps_gradients_of_rows[2]"),
        defect("a factor of the loss is lost", "g if g is None else g * upstream for g",
               "g for g", "test_a_loss_in_chunks_keeps_gradients_of_rows[5]"),
    ],
    "recbole_cold/model/_kept_mean.py": [
        defect("what moved counts twice", "self._sum - self._before +", "self._sum +",
               "test_a_kept_mean_is_the_mean_taken_anew"),
        defect("a row that comes twice moves twice", "unique = ids.unique()", "unique = ids",
               "test_a_kept_mean_is_the_mean_taken_anew"),
        defect("rows that do not count", "self._moving = unique[self._counts_n[unique]]",
               "self._moving = unique", "test_a_kept_mean_is_the_mean_taken_anew"),
    ],
    "recbole_cold/model/dropoutnet.py": [
        defect("the mean of the first step for good", "                means.will_move(ids)\n",
               "                pass\n",
               "test_dropoutnet_reads_the_mean_of_the_table_as_it_is[keys0]"),
        defect("always the old items' mean",
               'of = every if self.config["dropoutnet_mean"] == "table" else self.old_ids',
               "of = self.old_ids",
               "test_dropoutnet_reads_the_mean_of_the_table_as_it_is[keys1]"),
    ],
    "recbole_cold/model/_emerg_net.py": [
        defect("EmerG reads its tables past their modules",
               "return table(torch.stack([interaction[field] + offset",
               "return table.weight.__getitem__(torch.stack([interaction[field] + offset",
               "test_emergs_episode_has_the_gradient_of_dense_tables[task]"),
    ],
}  # fmt: skip
