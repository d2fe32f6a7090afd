"""Scores of a fitted model, and what it does with values that its run has never seen."""

from defects import defect

TESTS = "tests/serving/test_fitted.py"
SOME = True
DEFECTS = {
    "recbole_cold/serving/fitted.py": [
        defect("rows of known items take another way", "return method.predict(batch)",
               "return torch.sigmoid(method.backbone.logits(batch).double())",
               "test_scores_and_metrics"),
        defect("an unseen item has the vector of an old one",
               "vector = torch.where(unseen[:, None], self._cold[place], vector)",
               "vector = vector + 0.0",
               "test_generated_as_the_methods_own_cold_vectors"),
        defect("rare items have a vector",
               "listed = ~np.isin(dataset.status[dataset.split.cold_side], WITH_VECTORS)",
               "listed = dataset.status[dataset.split.cold_side] == 0",
               "test_items_too_rare_for_the_run_are_unseen_ones_with_features"),
        defect("the policy is not asked", "self.policies[id_field] != GENERATE or not", "not",
               "test_refused_and_mean_by_policy"),
        defect("what was pooled before stays", "        self._frozen = None\n        self._further",
               "        self._further", "test_features_that_are_added_after_a_call_are_read"),
        defect("labels as given", "given >= rule[\"least\"]).astype(float)",
               "given > 0).astype(float)",
               "test_scores_and_metrics"),
    ],
    "recbole_cold/serving/_cold.py": [
        defect("an unseen item knows what a new one has learned",
               "            each.state[each.index] = each.value\n",
               "            each.state[each.index] += 0\n",
               "test_what_new_items_learned_does_not_reach_it"),
        defect("the run's new items forget", "            each.state[each.index] = before\n",
               "            each.state[each.index] += 0\n",
               "test_what_new_items_learned_does_not_reach_it"),
        defect("all have the features of the first", "method.new_ids[:number]] = values[field]",
               "method.new_ids[:number]] = values[field][:1]",
               "test_generated_as_the_methods_own_cold_vectors"),
    ],
    "recbole_cold/backbone/_beyond.py": [
        defect("the mean of all rows", "known = np.flatnonzero(trained)",
               "known = np.arange(len(trained))", "test_users", "test_tokens"),
        defect("another field's rows", "own = weight[int(offset) : int(offset) + size]",
               "own = weight[:size]", "test_tokens"),
        defect("padding for all", "put_bf = self.beyond_bf & self.is_mean_f",
               "put_bf = self.beyond_bf & ~self.is_mean_f", "test_users", "test_tokens"),
    ],
    "recbole_cold/serving/encoding.py": [
        defect("nothing is strict", "if not unseen.any() or not (self.strict or",
               "if not unseen.any() or not (False or", "test_strict"),
        defect("unseen tokens are not counted",
               "        self._count(self.report.unseen, field, unseen)\n        "
               "self._count(self.report.missing, field, ~given)\n        beyond",
               "        self._count(self.report.missing, field, ~given)\n        beyond",
               "test_tokens"),
        defect("any id ends in .0", "if lost > total / 2 and like > lost / 2", "if False",
               "test_ids_that_became_fractions_are_told"),
    ],
    "recbole_cold/serving/ranking.py": [
        defect("ties by place", "np.lexsort((rank_c[place], -score_c[place]))",
               "np.lexsort((place, -score_c[place]))", "test_ties_by_item"),
        defect("seen pairs are offered", "left[gone.get(user, [])] = False",
               "left[[]] = False", "test_brute_force"),
    ],
}  # fmt: skip
