"""Constants of RecBole's layers on the device: the same numbers, and nothing of the state."""

from defects import defect

TESTS = "tests/model/test_constants.py"
DEFECTS = {
    "recbole_cold/backbone/_constants.py": [
        defect("fields share their rows", "self.embedding(code_bf + self.offset_f)",
               "self.embedding(code_bf)", "test_tables_of_several_fields",
               "test_a_view_with_other_fields_leaves_the_table_as_it_is"),
        defect("numbers share their vectors", "index_bf1.squeeze(-1).long() + self.offset_f",
               "index_bf1.squeeze(-1).long()", "test_tables_of_several_fields"),
        defect("offsets are stored", ", persistent=False)", ")",
               "test_offsets_are_no_part_of_the_state_and_move_with_the_table"),
        defect("a view's fields are the table's",
               "        self.__dict__[\"_buffers\"] = dict(self._buffers)\n", "",
               "test_a_view_with_other_fields_leaves_the_table_as_it_is"),
        defect("a pair is one field twice", "return feat_emb[:, first], feat_emb[:, second]",
               "return feat_emb[:, first], feat_emb[:, first]", "test_inner_products",
               "test_pairs_of_afm"),
        defect("the mean counts padding", "real_bl.sum(dim=1, keepdim=True) + little",
               "real_bl.shape[1] + 1e-8", "test_means_of_sequences"),
        defect("every mode is the mean", "if mode != \"mean\" or not token_seq_fields:",
               "if not token_seq_fields:",
               "test_other_modes_and_no_fields_are_left_to_recbole"),
        defect("a model is known by another module",
               "names = (\"__module__\", \"__qualname__\", \"__doc__\")",
               "names = (\"__doc__\",)", "test_a_model_keeps_its_name_and_what_it_pools_itself"),
    ],
}  # fmt: skip
