"""Interests, the GRU that attends, and the auxiliary loss."""

from defects import defect

TESTS = "tests/backbone/test_dien.py"
LOGIT = "test_the_logit_is_an_mlp_of_fields_and_evolved_interest"
AUX = "test_the_auxiliary_loss_is_the_mean_over_all_rows_but_the_first"
DEFECTS = {
    "recbole_cold/backbone/dien.py": [
        defect("attention scales the input", "update_bd = a_b[:, None] * torch.sigmoid(",
               "update_bd = torch.sigmoid(a_b[:, None] * ", LOGIT),
        defect("no reset", "torch.tanh(own_n + reset_bd * other_n)", "torch.tanh(own_n + other_n)",
               LOGIT),
        defect("padding takes part in the softmax",
               "score_bn.masked_fill(~there_bn, torch.finfo(score_bn.dtype).min)", "score_bn * 1",
               LOGIT),
        defect("no softmax", "score_bn.softmax(dim=1) * there_bn", "score_bn * there_bn", LOGIT),
        defect("the interest of the row itself", "[state_bnd[:, :-1], x_bnd[:, 1:]]",
               "[state_bnd[:, 1:], x_bnd[:, 1:]]", AUX),
        defect("the label of the row before", '[:, 1 : x_bnd.shape[1]]',
               '[:, : x_bnd.shape[1] - 1]', AUX),
        defect("a mean over padding", "there_bn.sum().clamp(min=1)", "there_bn.numel()", AUX),
        defect("no rows, no number", "there_bn.sum().clamp(min=1)", "there_bn.sum()",
               "test_without_rows_there_is_no_auxiliary_loss"),
        defect("labels do not matter", "label_bn.to(logit_bn.dtype)",
               "torch.ones_like(logit_bn)",
               "test_labels_of_histories_reach_the_auxiliary_loss_alone"),
        defect("clicks will do", 'if self.aux_weight and config["history"] == "clicked":',
               "if False:", "test_histories_of_clicks_teach_it_nothing"),
    ],
    "properties/backbone/DIEN.yaml": [
        defect("another size", "aux_hidden_size: [100, 50]", "aux_hidden_size: [50, 100]",
               "test_default_sizes"),
    ],
}  # fmt: skip
