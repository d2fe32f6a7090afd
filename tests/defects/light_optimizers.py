"""Light optimizers: moments, the L2 term, states."""

from defects import defect

TESTS = "tests/training/test_light_optimizers.py"
DEFECTS = {
    "recbole_cold/training/light_optimizers.py": [
        defect("Adam without its L2 term",
               'weight_decay=group["weight_decay"],\n                eps',
               "weight_decay=0.0,\n                eps", "test_adam_is_torchs[0.3]"),
        defect("the moments' rates are one", 'beta2=group["betas"][1]', 'beta2=group["betas"][0]',
               "test_adam_is_torchs[0.0]"),
        defect("steps are not counted", "torch._foreach_add_(steps, 1)",
               "[step.fill_(1) for step in steps]", "test_adam_is_torchs[0.0]"),
        defect("the rate that it began with", 'lr=group["lr"],\n                beta1',
               "lr=0.05,\n                beta1", "test_adam_is_torchs[0.0]"),
        defect("descent without its L2 term", 'if group["weight_decay"]:', "if False:",
               "test_gradient_descent_is_torchs[0.3]"),
        defect("a state that begins anew", 'for place, state in saved["state"].items()',
               'for place, state in ()', "test_states_are_torchs"),
        defect("the options of the new one", "group.update(", "dict.fromkeys(",
               "test_a_state_is_brought_to_the_kind_of_its_parameter"),
        defect("steps are counted in the parameter's kind",
               'torch.float32 if name == "step" else parameter.dtype', "parameter.dtype",
               "test_a_state_is_brought_to_the_kind_of_its_parameter"),
        defect("states of others are taken",
               'if len(group["params"]) != len(options["params"]):', "if False:",
               "test_a_state_of_other_parameters_is_refused"),
        defect("a sparse gradient is let through", "if parameter.grad.is_sparse:", "if False:",
               "test_adam_refuses_a_sparse_gradient"),
    ],
}  # fmt: skip
