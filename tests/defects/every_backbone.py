"""What every backbone of ours promises."""

from defects import defect

TESTS = "tests/backbone/test_every_backbone.py"
DEFECTS = {
    "recbole_cold/backbone/basic.py": [
        defect("first-order weights are added", "return self.mlp(flat).squeeze(-1)",
               "return self.mlp(flat).squeeze(-1) + self.first_order_linear(interaction)[:, 0]",
               "test_first_order_weights_take_no_part"),
        defect("no gradient to the embeddings", "self.concat_embed_input_fields(interaction)",
               "self.concat_embed_input_fields(interaction).detach()",
               "test_every_parameter_is_trained[Basic]"),
    ],
    "recbole_cold/backbone/_base.py": [
        defect("a logit where RecBole wants a probability",
               "return self.sigmoid(self.forward(interaction))", "return self.forward(interaction)",
               "test_it_is_a_model_of_recboles[LorentzFM]"),
    ],
    "recbole_cold/backbone/afn.py": [
        defect("another word goes", 'one_of("log", "log1p")', 'one_of("log", "log1p", "nonsense")',
               "test_a_word_that_a_key_does_not_know_is_refused"),
    ],
    "recbole_cold/backbone/final.py": [
        defect("a row's logit depends on the batch",
               "return first if second is None else 0.5 * (first + second)",
               "return first - first.mean() if second is None else 0.5 * (first + second - "
               "first.mean())", "test_a_row_ignores_the_rows_beside_it[FINAL]"),
        defect("another year than the paper's", "    year = 2023\n", "    year = 2022\n",
               "test_every_backbone_of_ours_names_its_paper"),
    ],
}  # fmt: skip
