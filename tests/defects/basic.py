"""The plain MLP of embeddings."""

from defects import defect

TESTS = "tests/backbone/test_basic.py"
DEFECTS = {
    "recbole_cold/backbone/basic.py": [
        defect("fields in reverse order",
               "flat = self.concat_embed_input_fields(interaction).flatten(1)",
               "flat = self.concat_embed_input_fields(interaction).flip(1).flatten(1)",
               "test_the_logit_is_an_mlp_of_all_embeddings"),
        defect("the history comes first",
               "[flat, mean_of(x_bnd, length_b) * self.kept(length_b)]",
               "[mean_of(x_bnd, length_b) * self.kept(length_b), flat]",
               "test_the_mean_of_the_history_stands_beside_the_embeddings"),
    ],
    "properties/backbone/Basic.yaml": [
        defect("another size of the last layer", "mlp_hidden_size: [200, 80]",
               "mlp_hidden_size: [200, 200]", "test_default_sizes"),
    ],
}  # fmt: skip
