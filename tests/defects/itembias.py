"""ItemBias: the Newton step, the evidence, and which rows the fit is of."""

from defects import defect

TESTS = "tests/model/test_itembias.py"
SOME = True
DEFECTS = {
    "recbole_cold/model/_item_bias.py": [
        defect("the shift has no prior", "    least[-1] = 1 / SHIFT_VARIANCE\n",
               "    least[-1] = 1e-12\n", "test_one_class_is_finite"),
        defect("items have no prior", "least = logit.new_full((n_items + 1,), 1 / variance)",
               "least = logit.new_full((n_items + 1,), 1e-6)", "test_is_scipys_optimum",
               "test_without_variance_only_the_shift_is_left"),
        defect("steps are not shortened",
               "if abs(float(slope.dot(step))) <= along or length < 1e-6",
               "if True", "test_the_gradient_is_zero_from_far_away"),
        defect("the search ends at once", "if float(step.abs().max()) < 1e-6",
               "if float(step.abs().max()) < 10", "test_one_item_in_closed_form",
               "test_is_scipys_optimum"),
        defect("the integral leaves out its width", "width.log() - 0.5", "0 * width - 0.5",
               "test_evidence_is_the_integral", "test_is_that_of_the_simulation"),
        defect("the variance is read off the estimates' scale", "return math.exp(found.x)",
               "return math.exp(found.x / 2)", "test_is_that_of_the_simulation",
               "test_items_alike_have_none"),
        defect("all items count", "[:_ITEMS_FOR_VARIANCE]", "",
               "test_of_many_items_some_are_drawn_and_others_do_not_count"),
        defect("no row, no answer", "    if not len(known):\n        return 1.0\n", "",
               "test_without_rows_it_is_one"),
    ],
    "recbole_cold/model/_phase_end.py": [
        defect("the variance is that of all rows so far", "        ascending = index.unique()\n",
               "        ascending = torch.cat([method.rows_seen.index, index]).unique()\n",
               "test_the_variance_is_read_before_anything_is_learned[ItemBias]"),
        defect("rows of earlier phases are forgotten",
               "self.index = torch.cat([self.index, index]).unique()", "self.index = index",
               "test_is_the_fit_of_all_rows_seen", "test_order_of_rows_changes_no_bit"),
        defect("a state forgets what was seen", "self.index = state.to(self.index.device)", "pass",
               "test_a_state_has_what_was_seen"),
    ],
    "recbole_cold/model/_method.py": [
        defect("the variance is read off rows that were learned from",
               """        if self.has_item_bias():
            note_rows(self, index)
        if self""", "        if self", "test_is_the_fit_of_all_rows_seen"),
        defect("old items get a number, too", "self.new_shift[slot.clamp(min=0)], 0.0)",
               "self.new_shift[slot.clamp(min=0)], 1.0)", "test_nothing_but_the_numbers_moves"),
    ],
    "recbole_cold/model/itembias.py": [
        defect("vectors move as well", "        return []\n",
               "        return super().warm_fits(index)\n",
               "test_nothing_but_the_numbers_moves",
               "test_order_inside_an_item_is_the_cold_models_bit_for_bit"),
    ],
    "recbole_cold/training/trainer.py": [
        defect("a phase does not end", "lambda: self.method.end_phase(name)", "lambda: None",
               "test_is_the_fit_of_all_rows_seen", "test_ends_the_phases_of_any_method[MetaE]"),
    ],
}  # fmt: skip
