"""Own side vectors: pooling, and what a batch is asked once."""

from defects import defect

TESTS = "tests/model/test_own_side.py"
DEFECTS = {
    "recbole_cold/model/_layers.py": [
        defect("padding counts in a product", "real = (code_bl != 0).to(table.dtype)",
               "real = (code_bl >= 0).to(table.dtype)",
               "test_pooling_is_that_of_embedding_bag_with_gradients"),
        defect("padding counts in listed codes", "count = (code_bl != 0).sum(dim=1, keepdim=True)",
               "count = (code_bl >= 0).sum(dim=1, keepdim=True)",
               "test_pooling_is_that_of_embedding_bag_with_gradients"),
        defect("listed codes have no gradient", "lookup(table, self.code)) / self.count",
               "lookup(table.detach(), self.code)) / self.count",
               "test_pooling_is_that_of_embedding_bag_with_gradients"),
        defect("sparse gradients become dense",
               "if isinstance(table, VectorTable) or table.sparse:",
               "if isinstance(table, VectorTable):", "test_tables_with_sparse_gradients_keep_them"),
        defect("sums become means", ' or self._pooling != "mean":', ":",
               "test_sums_over_padding_are_left_to_torch"),
    ],
    "recbole_cold/model/_side_decoder.py": [
        defect("features are read for each use", "features = remember(interaction, key,",
               "features = remember(None, key,", "test_a_batch_used_again_is_what_a_new_one_is"),
    ],
    "recbole_cold/model/_vae.py": [
        defect("codes are kept, too", "        code_p = self.encode_side(items.ids, interaction)\n",
               "        code_p = remember(interaction, self, lambda: "
               "self.encode_side(items.ids, interaction))\n",
               "test_a_batch_used_again_is_what_a_new_one_is"),
    ],
}  # fmt: skip
