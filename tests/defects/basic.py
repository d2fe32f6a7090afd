"""The plain MLP of embeddings."""

from defects import defect

TESTS = "tests/backbone/test_basic.py"
DEFECTS = {
    "recbole_cold/backbone/basic.py": [
        defect("fields in reverse order",
               "return "
               "self.mlp(self.concat_embed_input_fields(interaction).flatten(1)).squeeze(-1)",
               "return "
               "self.mlp(self.concat_embed_input_fields(interaction).flip(1).flatten(1))[:, 0]",
               "test_the_logit_is_an_mlp_of_all_embeddings"),
    ],
    "properties/backbone/Basic.yaml": [
        defect("another size of the last layer", "mlp_hidden_size: [200, 80]",
               "mlp_hidden_size: [200, 200]", "test_default_sizes"),
    ],
}  # fmt: skip
