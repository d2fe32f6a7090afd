"""Shortcuts give the same numbers, gradients included."""

from defects import defect

TESTS = "tests/model/test_shortcuts.py"
DEFECTS = {
    "recbole_cold/backbone/_shortcuts.py": [
        defect("the table has no gradient", "return table.index_select(0, code.reshape(-1))",
               "return table.detach().index_select(0, code.reshape(-1))",
               "test_rows_and_gradient_are_those_of_embedding", "test_gradients_of_gradients"),
        defect("tables of other kinds are exchanged",
               "special = type(module) is not nn.Embedding or (",
               "special = type(module) is not nn.Embedding and (",
               "test_plain_tables_are_exchanged_in_place_and_keep_their_weights"),
        defect("sparse gradients become dense",
               "return super().forward(code) if self.sparse else lookup(self.weight, code)",
               "return lookup(self.weight, code)", "test_a_table_with_sparse_gradients_keeps_them"),
        defect("the kernel is transposed", "bpe,kpe->bpk", "bpk,kpe->bpe",
               "test_outer_products_are_recboles_with_gradients"),
    ],
}  # fmt: skip
