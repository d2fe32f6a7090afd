"""What models that read histories share."""

from defects import defect

TESTS = "tests/backbone/test_sequence.py"
SOME = True
PADDING, ELEMENT = "test_padding_is_not_read", (
    "test_an_element_is_its_fields_vectors_from_the_models_own_tables"
)  # fmt: skip
DEFECTS = {
    "recbole_cold/backbone/_sequence.py": [
        defect("padding has vectors", "return x_bnd * is_there(length_b, n)[..., None], length_b",
               "return x_bnd, length_b", ELEMENT, f"{PADDING}[user-Basic]"),
        defect("the state after padding", "last_b = (length_b - 1).clamp(min=0)",
               "last_b = length_b * 0 + state_bnh.shape[1] - 1", "test_summaries_of_histories"),
        defect("an empty history has the state of padding",
               "return state_bh * (length_b > 0)[:, None]", "return state_bh",
               "test_summaries_of_histories"),
        defect("the mean of all places", "length_b.clamp(min=1)[:, None]", "x_bnd.shape[1]",
               "test_summaries_of_histories"),
        defect("all fields begin at the first", "code_bne + code_bne.new_tensor(offsets)",
               "code_bne", ELEMENT),
        defect("the table of another sequence",
               "place = self.token_seq_field_names.index(field)", "place = 0", f"{ELEMENT}[user]"),
        defect("a number's other vector",
               "self.float_field_offsets[self.float_field_names.index(field)]) + 1",
               "self.float_field_offsets[self.float_field_names.index(field)])", ELEMENT),
        defect("elements have the given vector",
               "self.token_embedding_table.embedding(code_bne + code_bne.new_tensor(offsets))",
               "self.token_embedding_table((code_bne + code_bne.new_tensor(offsets)).flatten(0, 1) "
               "- code_bne.new_tensor(offsets)).view(*code_bne.shape, -1)", "test_the_seam"),
        defect("hidden while scoring, too", "if self.training and self.history_dropout:",
               "if self.history_dropout:", "test_a_hidden_history_is_an_empty_one"),
        defect("the other way round", ">= self.history_dropout)", "< self.history_dropout)",
               "test_a_hidden_history_is_an_empty_one"),
        defect("all at once", "torch.rand_like(kept_b1)", "torch.rand_like(kept_b1[:1])",
               "test_a_hidden_history_is_an_empty_one"),
        defect("RecBole's runner is let in", "if side not in ELEMENTS:", "if False:",
               "test_recboles_own_runner_is_told_that_it_makes_no_histories"),
    ],
    "recbole_cold/backbone/din.py": [
        defect("padding has a weight", "return weight_bn * is_there(length_b, x_bnd.shape[1])",
               "return weight_bn.cumsum(dim=1)",
               "test_the_order_of_a_history_matters_to_recurrent_models_alone[DIN]"),
    ],
    "recbole_cold/backbone/_shortcuts.py": [
        defect("frozen histories have rows for codes", "if code is None else code[..., None]",
               "if code is None or code.dim() > 1 else code[:, None]", "test_the_seam"),
        defect("a frozen backbone reads histories every time",
               'for name in getattr(model, "once_per_batch", ()):', "for name in ():",
               "test_a_frozen_backbone_reads_a_history_once_per_batch"),
    ],
    "recbole_cold/model/gar.py": [
        defect("the game is played anyway",
               "histories is not None and histories.side == dataset.split.cold_side",
               "False", "test_a_game_in_which_items_change_places_has_no_histories_of_items"),
    ],
}  # fmt: skip
