"""LorentzFM: the sum over pairs and its digits."""

from defects import defect

TESTS = "tests/backbone/test_lorentzfm.py"
DEFECTS = {
    "recbole_cold/backbone/lorentzfm.py": [
        defect("the sum of pairs has a wrong sign", "return 0.5 * (inside - outside.sum(dim=-1))",
               "return 0.5 * (inside + outside.sum(dim=-1))", "test_equals_the_loop_over_pairs",
               "test_every_pair_lies_between_minus_a_half_and_two",
               "test_gradient_at_zero_is_minus_u_over_u0"),
        defect("a field's place matters", "inside = q_bf.sum(dim=-1).square()",
               "inside = (q_bf * torch.arange(len(q_bf[0]))).sum(dim=-1).square()",
               "test_symmetric_in_the_fields"),
        defect("zeros add something", "q_bf = square_bf / ((1.0 + time_bf) * time_bf)",
               "q_bf = (time_bf - 0.999999) / time_bf",
               "test_a_vector_of_zeros_adds_exactly_nothing"),
        defect("the difference of large numbers loses the digits",
               "return 0.5 * (inside - outside.sum(dim=-1))",
               "time_bff = time_bf[..., :, None] * time_bf[..., None, :]\n"
               "    product_bff = field_bfd @ field_bfd.transpose(-1, -2)\n"
               "    rest_bff = 1.0 - product_bff - time_bf[..., :, None] - time_bf[..., None, "
               ":]\n    return (1.0 + rest_bff / time_bff).triu(1).sum(dim=(-1, -2))",
               "test_small_vectors_keep_their_digits"),
        defect("a constant is added", "return logits if self.bias is None else logits + self.bias",
               "return logits + self.first_order_linear.bias + 1.0",
               "test_a_number_is_its_value_times_a_vector",
               "test_the_logit_is_that_sum_and_nothing_else"),
        defect("embeddings start with deviation one",
               "nn.init.normal_(module.weight, std=self.init_std)",
               "nn.init.normal_(module.weight)", "test_start_and_constant"),
    ],
}  # fmt: skip
