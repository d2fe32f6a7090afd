"""An LSTM over the history and an MLP."""

from defects import defect

TESTS = "tests/backbone/test_lstm4rec.py"
DEFECTS = {
    "recbole_cold/backbone/lstm4rec.py": [
        defect("the state comes first", "[fields_bfd.flatten(1), h_bd]",
               "[h_bd, fields_bfd.flatten(1)]", "test_the_logit_is_an_mlp_of_fields_and_state"),
        defect("a GRU", "nn.LSTM(size, size, batch_first=True)",
               "nn.RNN(size, size, batch_first=True)",
               "test_the_logit_is_an_mlp_of_fields_and_state"),
    ],
    "properties/backbone/LSTM4Rec.yaml": [
        defect("another size", "mlp_hidden_size: [200, 80]", "mlp_hidden_size: [200, 200]",
               "test_default_sizes"),
    ],
}  # fmt: skip
