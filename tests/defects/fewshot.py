"""What every few-shot learner promises, tried on MeLU."""

from defects import defect

TESTS = "tests/model/test_fewshot.py"
DEFECTS = {
    "recbole_cold/model/_layers.py": [
        defect("padding counts", "return masked_mean(loss_tk, mask_tk.to(logit_tk.dtype))",
               "return loss_tk.mean(dim=1)", "test_padding_changes_nothing[MeLU]",
               "test_a_task_without_rows_is_unadapted[MeLU]"),
        defect("one class gives no number", "loss_tk = F.binary_cross_entropy_with_logits(\n",
               "loss_tk = label_tk.std(dim=1, keepdim=True).log() + "
               "F.binary_cross_entropy_with_logits(\n",
               "test_tasks_of_one_class_are_learned_from[MeLU]"),
    ],
    "recbole_cold/model/_fewshot.py": [
        defect("support and query have each other's rows",
               "torch.cat([episode.support.index, episode.query.index])",
               "torch.cat([episode.query.index, episode.support.index])",
               "test_one_look_up_for_support_and_query"),
        defect("rows of earlier phases are forgotten", "        super().observe(index)\n",
               "        super().observe(index)\n        self.supports.count.clamp_(max=0)\n",
               "test_each_phase_adapts_anew_to_all_rows_seen[MeLU]"),
        defect("labels of test rows leak", "self._by_task(ids[row], other_bq[row], state_of)",
               "self._by_task(ids[row], other_bq[row], state_of) \\\n"
               "                    + 1e-3 * interaction[self.label_field][row]",
               "test_labels_of_test_rows_reach_no_score[MeLU]"),
        defect("a score depends on its company", "out[place_tk[mask_tk]] = logit_tk[mask_tk]",
               "out[place_tk[mask_tk]] = logit_tk[mask_tk] + 1e-3 * len(ids)",
               "test_a_score_does_not_depend_on_its_company[MeLU]"),
        defect("without a kept state nothing is adapted",
               "return self.net.state(self._support(slot_t))\n",
               "return self.net.state(rows.empty())\n",
               "test_states_that_are_not_kept_and_chunks_change_no_score[MeLU]"),
        defect("the own ID is always an input",
               'return {self.id_field} if config["own_id"] else set()', "return {self.id_field}",
               "test_the_own_id_is_an_input_only_if_asked_for[MeLU]",
               "test_new_users_are_tasks_too[MeLU]", "test_data_without_side_fields[MeLU]"),
        defect("a phase counts without rows", "            self._states = None\n\n    def restored",
               "            self._states = None\n            self.supports.count += 1\n\n"
               "    def restored",
               "test_a_phase_without_rows_changes_no_score[MeLU]"),
        defect("small batches go unsaid", "        if batches.short:\n", "        if False:\n",
               "test_large_k_and_large_batches"),
        defect("wrong counts pass", 'Key("task_chunk", COUNT)', 'Key("task_chunk", EPOCHS)',
               "test_counts_are_checked"),
        defect("no task goes unsaid", "        if not len(batches):\n", "        if False:\n",
               "test_no_old_item_with_two_rows"),
        defect("unadapted scores are not marked", 'serves = ("warm",)', 'serves = ("cold", "warm")',
               "test_cold_scores_are_marked_unadapted"),
        defect("everything learns in the warm phases",
               "return list(self.backbone.parameters()) if moves else []",
               "return list(self.backbone.parameters())",
               "test_nothing_is_trained_before_learning_or_in_the_phases"),
    ],
    "recbole_cold/model/_supports.py": [
        defect("supports are not in the state",
               'self.register_buffer("count", torch.zeros_like(ids))',
               'self.register_buffer("count", torch.zeros_like(ids), persistent=False)',
               "test_supports_are_in_the_state[MeLU]"),
    ],
    "recbole_cold/model/melu.py": [
        defect("a task's place is its weight",
               "            lambda head: row_loss(self.task_logits(head, support), support),",
               "            lambda head: row_loss(self.task_logits(head, support), support)\n"
               "            * torch.arange(t).exp2(),",
               "test_tasks_in_another_order_have_the_same_scores[MeLU]"),
        defect("a row's place is its weight",
               "            lambda head: row_loss(self.task_logits(head, support), support),",
               "            lambda head: row_loss(self.task_logits(head, support)\n"
               "            * torch.arange(1, 1 + support.mask_tk.shape[1]), support),",
               "test_support_rows_in_another_order_change_nothing[MeLU]"),
        defect("a task knows the others", "        return hidden[:, :, 0]",
               "        return hidden[:, :, 0] + 1e-3 * hidden.mean()",
               "test_a_task_knows_nothing_of_the_others[MeLU]"),
        defect("the query's labels leak", "        return hidden[:, :, 0]",
               "        return hidden[:, :, 0] + 1e-3 * rows.label_tk",
               "test_query_labels_are_not_looked_at[MeLU]"),
        defect("the task is not named", "name_of=self.names_of(support),", "name_of=None,",
               "test_a_diverging_inner_step_is_named"),
    ],
    "recbole_cold/model/_inner.py": [
        defect("rows are left out where memory is short", "            start += size\n",
               "            start += max(1, self.most // width)\n",
               "test_short_memory_is_said_and_survived[MeLU]"),
    ],
}  # fmt: skip
