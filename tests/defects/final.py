"""FINAL: factorised layers, the gate, and blocks that teach each other."""

from defects import defect

TESTS = "tests/backbone/test_final.py"
DEFECTS = {
    "recbole_cold/backbone/final.py": [
        defect("the halves change places", "second, first = self.linear(input_bi).chunk(2, dim=-1)",
               "first, second = self.linear(input_bi).chunk(2, dim=-1)",
               "test_a_layer_number_by_number", "test_without_the_first_half_a_layer_is_affine"),
        defect("a rectifier between the layers",
               "layers.append(FactorizedInteraction(size_in, size, residual))",
               "layers += [FactorizedInteraction(size_in, size, residual), nn.ReLU()]",
               "test_depth_d_is_a_polynomial_of_degree_two_to_the_d"),
        defect("the gate does not start at one", "            self.gate.reset()\n",
               "            pass\n", "test_the_gate_is_one_at_the_start_and_linear_over_fields"),
        defect("the second block sees a gate",
               "return first, self.block2(field_bfd.flatten(1)).squeeze(-1)",
               "return first, self.block2(gated[:, len(field_bfd[0]) :].flatten(1)).squeeze(-1)",
               "test_the_logit_is_the_mean_of_both_blocks"),
        defect("the second block learns from the labels",
               "loss(mean_b, label_b) + loss(first_b, teacher_b) + loss(second_b, teacher_b)",
               "loss(mean_b, label_b) + loss(first_b, teacher_b) + loss(second_b, label_b)",
               "test_blocks_that_agree_pay_their_entropy",
               "test_the_loss_has_three_terms_row_by_row",
               "test_the_taught_probability_has_no_gradient"),
        defect("one block distils into itself",
               "return self.loss(first, label) if second is None else distilled(first, second, "
               "label)", "return distilled(first, first if second is None else second, label)",
               "test_one_block_has_the_plain_loss"),
        defect("the second block's sizes are not checked",
               'for key in ("block1_hidden_size", "block2_hidden_size"):',
               'for key in ("block1_hidden_size",):', "test_sizes_that_have_no_half_are_refused"),
    ],
    "recbole_cold/model/_method.py": [
        defect("blocks go on teaching each other after pre-training",
               "lambda batch: self.loss(self.logits(batch), batch),",
               "self.backbone.calculate_loss,", "test_blocks_teach_each_other_in_pretraining_only"),
        defect("batch norm moves after pre-training",
               'moving = self.config["batch_norm"] == "moving"', "moving = True",
               "test_batch_norm_moves_in_pretraining_only"),
    ],
}  # fmt: skip
