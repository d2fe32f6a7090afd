"""Weights of elements by the target."""

from defects import defect

TESTS = "tests/backbone/test_din.py"
DEFECTS = {
    "recbole_cold/backbone/din.py": [
        defect("weights are shares", 'torch.einsum("bn,bnd->bd", weight_bn, x_bnd)',
               'torch.einsum("bn,bnd->bd", weight_bn.softmax(dim=1), x_bnd)',
               "test_weights_are_no_shares",
               "test_the_logit_is_an_mlp_of_fields_interest_and_product"),
        defect("the product is of the target alone", "p_bd, p_bd * q_bd]", "p_bd, q_bd * q_bd]",
               "test_the_logit_is_an_mlp_of_fields_interest_and_product"),
    ],
    "recbole_cold/backbone/_sequence.py": [
        defect("the difference the other way round", "x_bnd - q_bnd,", "q_bnd - x_bnd,",
               "test_weights_are_no_shares",
               "test_the_logit_is_an_mlp_of_fields_interest_and_product"),
    ],
    "properties/backbone/DIN.yaml": [
        defect("another size", "attention_hidden_size: [80, 40]", "attention_hidden_size: [40, 80]",
               "test_default_sizes"),
    ],
}  # fmt: skip
