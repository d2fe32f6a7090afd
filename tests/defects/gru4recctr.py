"""A GRU over the history and an MLP."""

from defects import defect

TESTS = "tests/backbone/test_gru4recctr.py"
DEFECTS = {
    "recbole_cold/backbone/gru4recctr.py": [
        defect("no product", "h_bd, h_bd * q_bd]", "h_bd, q_bd]",
               "test_the_logit_is_an_mlp_of_fields_state_and_product"),
        defect("the first state", "last_state(self.gru(x_bnd)[0], length_b)",
               "last_state(self.gru(x_bnd)[0], length_b.clamp(max=1))",
               "test_the_logit_is_an_mlp_of_fields_state_and_product"),
    ],
    "properties/backbone/GRU4RecCTR.yaml": [
        defect("another size", "mlp_hidden_size: [64, 64, 64]", "mlp_hidden_size: [64, 64, 16]",
               "test_default_sizes"),
    ],
}  # fmt: skip
