"""The inner step: gradients through it, chunks, and a step without a number."""

from defects import defect

TESTS = "tests/model/test_inner.py"
DEFECTS = {
    "recbole_cold/model/_inner.py": [
        defect("the step climbs", "name: value - learning_rates[name] * gradient",
               "name: value + learning_rates[name] * gradient",
               "test_a_step_that_gives_no_number_is_named", "test_each_name_has_its_own_rate",
               "test_on_a_quadratic_it_has_a_closed_form"),
        defect("another loss is told", "start_t = loss_t if start_t is None else start_t",
               "start_t = loss(fast) * 2 if start_t is None else start_t",
               "test_losses_are_those_before_the_step"),
        defect("the step is of the mean loss of tasks", "loss_t.sum(),\n", "loss_t.mean(),\n",
               "test_batched_tasks_equal_tasks_one_by_one"),
        defect("a rate that is never zero", "name: value - learning_rates[name] * gradient",
               "name: value - (learning_rates[name] + 1e-3) * gradient",
               "test_rate_zero_moves_nothing"),
        defect("no second order", "create_graph=second_order and outside", "create_graph=False",
               "test_gradcheck_through_several_steps",
               "test_stacked_equals_vmapped_equals_looped[5-True]",
               "test_the_step_is_differentiated_through"),
        defect("the graph is kept while scoring", "    if not outside:\n        fast, start_t",
               "    if False:\n        fast, start_t", "test_scoring_adapts_without_a_graph"),
        defect("a step goes through what was made from it", "name: value.view_as(value) if",
               "name: value if", "test_what_one_start_is_made_from_the_other_has_no_part"),
        defect("one bias for all tasks",
               "torch.baddbmm(bias_to[:, None], x_tki, weight_toi.transpose(1, 2))",
               "torch.baddbmm(bias_to[:1, None], x_tki, weight_toi.transpose(1, 2))",
               "test_a_linear_layer_per_task"),
        defect("chunks have half the gradient",
               "gradients.append(torch.autograd.grad(value, part_td)[0])",
               "gradients.append(0.5 * torch.autograd.grad(value, part_td)[0])",
               "test_a_loss_in_chunks_has_the_value_and_gradient_of_the_whole"),
    ],
}  # fmt: skip
