"""MeLU: what adapts, and the gradient through it."""

from defects import defect

TESTS = "tests/model/test_melu.py"
DEFECTS = {
    "recbole_cold/model/_inner.py": [
        defect("the step climbs", "name: value - learning_rates[name] * gradient",
               "name: value + learning_rates[name] * gradient",
               "test_adaptation_lowers_the_loss_where_a_task_is_separable"),
        defect("the step is of the mean loss of tasks", "loss_t.sum(),\n", "loss_t.mean(),\n",
               "test_loss_and_outer_gradient_by_hand", "test_supports_of_two_sizes_in_one_batch"),
        defect("a rate that is never zero", "name: value - learning_rates[name] * gradient",
               "name: value - (learning_rates[name] + 1e-3) * gradient",
               "test_no_step_and_rate_zero_are_unadapted"),
        defect("no second order", "create_graph=second_order and outside", "create_graph=False",
               "test_outer_gradient_by_finite_differences"),
        defect("one step whatever is asked", "range(max(steps, 1))", "range(1)",
               "test_served_scores_take_the_steps_of_the_phases"),
    ],
    "recbole_cold/model/melu.py": [
        defect("the first layer does not learn", "for k, v in self.head.named_parameters()}",
               "for k, v in self.head.named_parameters() if k[0] > '0'}\n"
               "        start |= {k: v.detach().expand(t, *v.shape) for k, v in\n"
               "                  self.head.named_parameters() if k[0] == '0'}",
               "test_tables_and_head_learn_from_the_query"),
        defect("a bias of the head does not adapt", "        return adapted\n",
               "        return {**adapted, '0.bias': start['0.bias']}\n",
               "test_only_the_head_adapts", "test_one_step_of_a_logistic_regression"),
        defect("no second order", "second_order=self.second_order", "second_order=False",
               "test_the_second_order_counts_and_vanishes_with_the_rate"),
        defect("a rate that is never zero", "            learning_rates=self.rate,",
               "            learning_rates=self.rate + 1e-2,",
               "test_rate_of_the_release_moves_nothing"),
        defect("order three passes", "one_of(1, 2)", "one_of(1, 2, 3)",
               "test_unknown_order"),
    ],
    "recbole_cold/model/_fewshot.py": [
        defect("the support's loss counts",
               "return row_loss(self.net.task_logits(self.net.state(support), query), "
               "query).mean()",
               "query_t = row_loss(self.net.task_logits(self.net.state(support), query), query)\n"
               "        support_t = row_loss(self.net.task_logits(\n"
               "            self.net.state(support), support), support)\n"
               "        return (query_t + 0.1 * support_t).mean()", "test_loss_is_the_query_loss"),
    ],
}  # fmt: skip
