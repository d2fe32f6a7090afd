"""AFN: logarithms, exponents, and the two networks of the ensemble."""

from defects import defect

TESTS = "tests/backbone/test_afn.py"
DEFECTS = {
    "recbole_cold/backbone/afn.py": [
        defect("exponents without their sign",
               "return torch.matmul(weight_jf, log_bfd).clamp(max=LARGEST_EXPONENT).exp()",
               "return torch.matmul(weight_jf.abs(), log_bfd).clamp(max=LARGEST_EXPONENT).exp()",
               "test_any_exponents_number_by_number", "test_scaling_a_field_scales_by_its_power"),
        defect("the logarithm of a signed number", "return field_bfd.abs().clamp(min=least).log()",
               "return field_bfd.clamp(min=least).log()",
               "test_exponents_one_give_fields_and_their_products",
               "test_signs_do_not_matter[neurons]"),
        defect("zero gets a gradient", "return field_bfd.abs().clamp(min=least).log()",
               "return (field_bfd + 1e-9).abs().clamp(min=0.1 * least / 1e5).log()",
               "test_zero_is_finite_and_has_exactly_no_gradient[neurons]"),
        defect("the released form without its rectifier",
               "return torch.relu(torch.expm1(exponent.clamp(max=LARGEST_EXPONENT)))",
               "return torch.expm1(exponent.clamp(max=LARGEST_EXPONENT))",
               "test_the_released_form_multiplies_one_plus_the_fields"),
        defect("the exponent is not bounded", ".clamp(max=LARGEST_EXPONENT).exp()", ".exp()",
               "test_large_exponents_stay_numbers[neurons]"),
        defect("neurons are rectified", "neuron_bjd = powers(log_bfd, self.weight_jf)",
               "neuron_bjd = powers(log_bfd, self.weight_jf).relu() + 1e-9",
               "test_the_logit_is_an_mlp_of_the_neurons"),
        defect("no batch norm behind the neurons",
               "return neuron_bjd if self.exp_bn is None else self.exp_bn(neuron_bjd)",
               "return neuron_bjd", "test_batch_norm_is_per_field_before_and_per_neuron_behind"),
        defect("weights of the numbers go to one another",
               "(torch.stack(values, dim=-1) * self.float_weight).sum(dim=-1)",
               "(torch.stack(values[::-1], dim=-1) * self.float_weight).sum(dim=-1)",
               "test_numbers_are_a_linear_term_in_the_released_form"),
        defect("the two logits change places", "torch.cat([logits_b[:, None], deep_b1], dim=1)",
               "torch.cat([deep_b1, logits_b[:, None]], dim=1)",
               "test_the_ensemble_is_linear_in_both_logits"),
        defect("a given vector reaches the second network halved",
               "parts.append(field_bfd[:, self.shared])",
               "parts.append(0.5 * field_bfd[:, self.shared])",
               "test_a_given_vector_reaches_both_networks"),
    ],
}  # fmt: skip
