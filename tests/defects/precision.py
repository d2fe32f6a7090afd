"""In which numbers matrices are multiplied: what narrows too much, too little, or for too long."""

from defects import defect

TESTS = "tests/model/test_precision.py"
SOME = True
DEFECTS = {
    "recbole_cold/device.py": [
        defect("copies of parameters are kept", "torch.bfloat16, cache_enabled=False)",
               "torch.bfloat16)", "test_no_narrow_copy_of_a_parameter_is_kept"),
        defect("nothing is narrow", "    if precision != BF16:\n", "    if True:\n",
               "test_bf16_narrows_products_and_nothing_else",
               "test_scores_are_close_and_losses_and_parameters_whole"),
        defect("narrow numbers by name stay narrow",
               "{name: _whole_if_tensor(value) for name, value in named.items()}", "dict(named)",
               "test_arguments_with_names_are_handed_on"),
        defect("older flags are put back, which know fewer values",
               'if hasattr(cuda, "fp32_precision"):', "if False:",
               "test_a_card_multiplies_as_told_and_the_caller_finds_torch_as_it_was"),
        defect("flags of a card stay", "            setattr(place, flag, known)\n",
               "            pass\n",
               "test_a_card_multiplies_as_told_and_the_caller_finds_torch_as_it_was"),
        defect("autocast goes on in what is written by hand",
               "with torch.autocast(device, enabled=False):", "if True:",
               "test_what_is_written_by_hand_is_float32_among_narrow_products[powers]"),
        defect("what is written by hand gets narrow numbers",
               "tuple(map(_whole_if_tensor, given))", "given",
               "test_what_is_written_by_hand_is_float32_among_narrow_products[denoiser]"),
    ],
    "recbole_cold/compat.py": [
        defect("any card will do", "    if major < 8:\n", "    if False:\n",
               "test_what_an_old_card_has_not_is_refused[bf16]"),
    ],
    "recbole_cold/config.py": [
        defect("the device is not asked",
               '        compat.refuse_precision(final["precision"], final["device"])\n', "",
               "test_what_the_cpu_has_not_is_refused"),
    ],
    "recbole_cold/model/_inner.py": [
        defect("inner steps start narrow",
               "fast = {name: whole(value) for name, value in fast.items()}", "fast = dict(fast)",
               "test_inner_steps_start_and_stay_in_float32"),
    ],
    "recbole_cold/model/_layers.py": [
        defect("losses of tasks are narrow", "    logit_tk = whole(logit_tk)\n", "",
               "test_the_loss_of_tasks_is_summed_in_float32"),
    ],
    "recbole_cold/model/_emerg_net.py": [
        defect("compiled attention gets narrow numbers",
               "    @in_float32\n    def attend(", "    def attend(",
               "test_the_networks_attention_is_float32"),
    ],
    "recbole_cold/training/captured.py": [
        defect("losses are float32's", "        with within():\n", "        if True:\n",
               "test_scores_are_close_and_losses_and_parameters_whole"),
    ],
    "recbole_cold/training/scoring.py": [
        defect("scores are float32's",
               'with narrowed(method.device, self.config["precision"]):', "if True:",
               "test_scores_are_close_and_losses_and_parameters_whole"),
    ],
}  # fmt: skip
