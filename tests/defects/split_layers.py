"""Split layers: what is left of them, who can be split, and when."""

from defects import defect

TESTS = "tests/backbone/test_split_layers.py"
DEFECTS = {
    "recbole_cold/backbone/_split.py": [
        defect("the ID's own row counts in the rest", "self._others_hx[:, own] = 0.0", "pass",
               "test_a_split_layer_is_the_layer_with_gradients[linear-0]"),
        defect("a vector pairs with itself", "with_id = sum_bd * vector_bd",
               "with_id = sum_bd * vector_bd + 0.5 * vector_bd.square()",
               "test_a_split_layer_is_the_layer_with_gradients[one number-2]",
               "test_a_split_layer_is_the_layer_with_gradients[each column-2]"),
        defect("a gradient is lost", "return torch.addmm(rest, vector_bd, self._own_dh)",
               "return torch.addmm(rest, vector_bd.detach(), self._own_dh)",
               "test_a_split_layer_is_the_layer_with_gradients[no bias-4]"),
        defect("layers of any kind are split", "if type(module) in KINDS and",
               "if isinstance(module, tuple(KINDS)) and",
               "test_models_that_read_the_fields_otherwise[HasItsOwnLayer]"),
        defect("one right input is enough", "        and all(\n", "        and any(\n",
               "test_who_is_seen_to_read_all_fields_as_they_are"),
        defect("any memory will do", "return given.data_ptr() == fields_bfd.data_ptr() and",
               "return", "test_who_is_seen_to_read_all_fields_as_they_are"),
        defect("what was changed in place is as it was", "fields_bfd.data_ptr() and version == 0",
               "fields_bfd.data_ptr()", "test_who_is_seen_to_read_all_fields_as_they_are"),
        defect("hooks are forgotten", "        module._forward_hooks\n", "        False\n",
               "test_a_layer_that_somebody_looks_at_is_left_alone"),
    ],
    "recbole_cold/backbone/_seam.py": [
        defect("whoever scores compares gradients", "self._frozen_view(torch.is_grad_enabled())",
               "self._frozen_view(True)", "test_nothing_is_split_to_score"),
    ],
    "recbole_cold/backbone/_shortcuts.py": [
        defect("zeros are not tried", "for self.filling in (0.0, torch.nan):",
               "for self.filling in (torch.nan,):",
               "test_models_that_read_the_fields_otherwise[ReadsWhatIsMissing]"),
        defect("nobody compares", "if not all(torch.allclose(*pair, rtol=1e-4, atol=1e-5) for pair "
               "in pairs):", "if not pairs:",
               "test_models_that_read_the_fields_otherwise[ReadsBesides]",
               "test_models_that_read_the_fields_otherwise[ReadsASign]"),
        defect("nothing is split", "split = self._split(lambda: self(batch))", "split = None",
               "test_a_batch_with_several_vectors[DeepFM]"),
        defect("dropout is skipped", " or any(p.training for p in self._chance):", ":",
               "test_dropout_has_the_plain_models_draws"),
        defect("the first batch is all batches",
               "return remember(interaction.whole, (self, layer), compute), self._vector",
               "return remember(self, layer, compute), self._vector",
               "test_what_belongs_to_a_batch_is_computed_once"),
        defect("nothing is kept",
               "return remember(interaction.whole, (self, layer), compute), self._vector",
               "return compute(), self._vector", "test_what_belongs_to_a_batch_is_computed_once"),
        defect("a model without gradients cannot be scored",
               "        except NOT_THIS_WAY as error:\n", "        except KeyError as error:\n",
               "test_a_model_without_a_gradient_is_scored_as_it_is"),
        defect("moving statistics stop the split",
               "if not isinstance(part, _NormBase)]", "]", "test_statistics_may_move"),
    ],
}  # fmt: skip
