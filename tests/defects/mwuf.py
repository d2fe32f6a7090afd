"""MWUF: scale, shift, the audience, and whose loss moves what."""

from defects import defect

TESTS = "tests/model/test_mwuf.py"
DEFECTS = {
    "recbole_cold/model/mwuf.py": [
        defect("the scale is added", "cold_bd if scale_bd is None else cold_bd * scale_bd",
               "cold_bd if scale_bd is None else cold_bd + scale_bd",
               "test_warm_is_cold_times_scale_plus_shift"),
        defect("a little shift", "scaled if shift_bd is None else scaled + shift_bd",
               "scaled if shift_bd is None else scaled + shift_bd + 1e-3",
               "test_scale_one_and_shift_zero_give_the_cold_logits"),
        defect("the warm loss moves the cold rows", ".detach()\n        return warm(cold",
               "\n        return warm(cold", "test_each_loss_owns_its_parameters"),
        defect("the warm step comes first",
               "            Step(cold_loss, cold_parameters, learning_rate, decay),\n"
               '            Step(warm_loss, self.networks(), self.config["learning_rate"], '
               "decay),\n",
               '            Step(warm_loss, self.networks(), self.config["learning_rate"], '
               "decay),\n            Step(cold_loss, cold_parameters, learning_rate, decay),\n",
               "test_algorithm_1_on_one_batch"),
        defect("old items keep their ID", "def score(batch, vector_bd: Tensor) -> Tensor:\n",
               "def score(batch, vector_bd: Tensor) -> Tensor:\n"
               "            vector_bd = vector_bd + "
               "self.backbone.id_table()[batch[self.id_field]]\n",
               "test_old_items_learn_as_if_new"),
        defect("the mean is of old items",
               'rows.mean(dim=0) if self.config["mwuf_mean"] == "table" else self.old_mean()',
               "self.old_mean()", "test_released_start_is_the_mean_of_the_table"),
        defect("networks start ten times as wide", "parameter.uniform_(-0.01, 0.01)",
               "parameter.uniform_(-0.1, 0.1)", "test_released_networks_start_small"),
        defect("one user too many in the mean", "return sums_cd / counts_c.clamp(min=1.0)[:, None]",
               "return sums_cd / (counts_c + 1.0)[:, None]", "test_audience_against_lists"),
        defect("every item has a cold row",
               "own_ids = torch.cat([self.old_ids, self.new_ids]).unique()",
               "own_ids = torch.arange(self.n_ids, device=self.device)",
               "test_only_old_and_new_items_have_a_cold_row"),
        defect("who has no cold row gets the first", "return self.cold_id(self.own_index[ids])",
               "return self.cold_id(self.own_index[ids].clamp(min=0))",
               "test_only_old_and_new_items_have_a_cold_row"),
        defect("the audience of others goes to the last item",
               "counts = (place >= 0) & (user < len(self._user_rows()))",
               "counts, place = place > -2, place % len(self.own_ids)",
               "test_released_lists_exchange_the_ids"),
        defect("the audience of the first phase serves for ever",
               '        if self.config["mwuf_warm"] == "recompute":\n', "        if False:\n",
               "test_audience_grows_with_each_warm_up_set",
               "test_served_rows_follow_the_users_even_if_nothing_learns"),
        defect("rows without a click count", "index = index[columns[self.label_field][index] > 0]",
               "index = index[columns[self.label_field][index] >= 0]", "test_positive_users_only"),
        defect("the audience's lists are exchanged", "item, user = user[fits], item[fits]",
               "item, user = item[fits], user[fits]", "test_released_lists_exchange_the_ids"),
        defect("the shift is there unasked",
               'self.shift_net = mlp([size, *hidden, size]) if "shift" in parts else None',
               "self.shift_net = mlp([size, *hidden, size])",
               "test_scale_alone_knows_no_users_and_shift_alone_no_side"),
        defect("no part at all passes", 'list_of(one_of("scale", "shift"))',
               'list_of(one_of("scale", "shift"), filled=False)', "test_other_parts_are_refused"),
        defect("scalars do not learn", "cold_parameters.append(self.new_first_order)", "pass",
               "test_a_warm_phase_moves_new_items_cold_rows_and_the_networks"),
        defect("init_only is not known", '        if self.config["mwuf_warm"] == "init_only":\n',
               "        if False:\n", "test_released_warm_phases_only_fine_tune"),
    ],
    "recbole_cold/model/_method.py": [
        defect("the mean is of all items",
               "old = self.backbone.id_vectors(self.old_ids)\n",
               "old = self.backbone.id_table()\n",
               "test_c_starts_at_the_mean_of_old_items"),
    ],
    "recbole_cold/model/_layers.py": [
        defect("the last layer has an activation", "return nn.Sequential(*layers[:-1])",
               "return nn.Sequential(*layers)", "test_cold_row_from_scratch"),
    ],
    "recbole_cold/model/_fit.py": [
        defect("steps of one loss are counted",
               "self.epochs * len(self.batches) * self.repeats * len(self.steps)",
               "self.epochs * len(self.batches) * self.repeats", "test_steps_are_counted_per_loss"),
    ],
}  # fmt: skip
