"""FinalMLP: the bilinear form, its heads, and gates of the streams."""

from defects import defect

TESTS = "tests/backbone/test_finalmlp.py"
DEFECTS = {
    "recbole_cold/backbone/finalmlp.py": [
        defect("the bilinear form is doubled", '"bhi,hij,bhj->b"',
               '"bhi,hij,bhj->b", 2 * first_bhi, weight_hij, second_bhj)\n'
               '    _ = ("bhi,hij,bhj->b"', "test_fusion_number_by_number"),
        defect("heads of one stream meet another's of the other",
               "fuse(first_bi.view(shape), second_bj.view(shape), self.weight_hij)",
               "fuse(first_bi.view(shape), second_bj.view(shape).flip(1), self.weight_hij)",
               "test_heads_are_a_block_diagonal_form"),
        defect("the second stream's linear part is left out",
               "linear = (self.first(first_bi) + self.second(second_bj)).squeeze(-1)",
               "linear = self.first(first_bi).squeeze(-1)",
               "test_without_the_form_two_linear_heads_are_added"),
        defect("gates are halved",
               "return 2.0 * torch.sigmoid(self.mlp(self.tables(interaction).flatten(1)))",
               "return torch.sigmoid(self.mlp(self.tables(interaction).flatten(1)))",
               "test_each_stream_sees_the_embeddings_times_its_gate"),
        defect("gates even when they are off", '        if config["fs"]:\n', "        if True:\n",
               "test_without_gates_both_streams_see_the_embeddings"),
        defect("a context that should be learned is read",
               "tables = FieldTables(config, dataset, fields, pool) if fields else None",
               'tables = FieldTables(config, dataset, fields or ["age"], pool)',
               "test_a_learned_context_gives_all_rows_one_gate"),
        defect("a gate knows the item", '"item": FeatureSource.ITEM}',
               '"item": FeatureSource.ITEM_ID}', "test_gates_read_a_side_without_its_id"),
        defect("gates pool in a way of their own", "pool = type(self).embed_token_seq_fields",
               "pool = ClickModel.embed_token_seq_fields", "test_gates_pool_as_the_model_does"),
        defect("sizes that heads do not divide pass",
               "if heads and any(end % heads for end in ends):",
               "if heads and all(end % heads for end in ends[:1]) and heads > 9:",
               "test_what_does_not_fit_is_refused"),
    ],
}  # fmt: skip
