"""Few-shot learners on sessions: whose tasks, which supports, and what fine-tuning learns from."""

from defects import defect

TESTS = "tests/model/test_user_tasks.py"
FEWSHOT = "recbole_cold/model/_fewshot.py"
BY_HAND = "test_scores_by_hand_from_a_users_newest_training_targets"
STEP = "test_fine_tuning_is_a_step_of_one_adam_on_the_held_out_targets[MeLU]"
DEFECTS = {
    "recbole_cold/data/split.py": [
        defect("a task is what the cold side says",
               'return self.cold_side if self.histories is None else "user"',
               "return self.cold_side",
               "test_the_side_of_a_task_is_that_which_can_be_new_or_whose_sessions_rows_are",
               "test_a_task_has_the_fields_of_its_user[MeLU]"),
    ],
    "recbole_cold/data/episodes.py": [
        defect("the oldest rows", "return order[end_r - np.arange(len(order)) <= most]",
               "return order[np.arange(len(order)) - np.repeat(start_t, count_t) < most]",
               "test_newest_rows_by_hand", BY_HAND + "[3-MeLU]"),
        defect("newer rows are support, too", "query = self._part(row_tk, support_t, n_t",
               "query = self._part(row_tk, torch.zeros_like(n_t), n_t",
               "test_an_episode_is_of_one_users_training_targets_the_older_ones_support"),
    ],
    "recbole_cold/model/_supports.py": [
        defect("without times in the order of the file",
               "    return times_of(dataset.time, dataset.n_rows",
               "    if dataset.time is None:\n        return np.arange(dataset.n_rows)\n"
               "    return times_of(dataset.time, dataset.n_rows",
               "test_sessions_without_times_have_the_order_that_their_split_drew"),
        defect("the last row of a support is masked", "(place_k < count_t[:, None])",
               "(place_k < count_t[:, None] - 1)", BY_HAND + "[3-TaNP]"),
        defect("a support of nothing has no row",
               "width = max(int(count_t.max()) if len(count_t) else 0, 1)",
               "width = int(count_t.max())",
               "test_a_part_of_users_without_support_is_learned_from[MAMO]"),
    ],
    FEWSHOT: [
        defect("held-out targets are support afterwards", "        if self.supports.grow:\n"
               "            self.supports.add(", "        if True:\n"
               "            self.supports.count.clamp_(max=1)\n            self.supports.add(",
               BY_HAND + "[3-MAMO]"),
        defect("who has no support is adapted to what is scored",
               "        return self.net.state(rows.empty())", "        return self.net.state(rows)",
               "test_a_user_without_a_training_target_is_unadapted[TaNP]"),
        defect("scores before fine-tuning are marked",
               "return not self.supports.grow or super().adapts(warmed_up)",
               "return super().adapts(warmed_up)",
               "test_scores_before_fine_tuning_are_adapted_and_not_marked[MeLU]"),
        defect("fine-tuning without support", "return Episode(ids_t, support, mask_tk, query",
               "return Episode(ids_t, support, 0 * mask_tk, query", STEP),
        defect("each part begins with a new Adam", "after=after, keep=kept)", "after=after)", STEP),
        defect("the rate of meta-training", 'self.config["warm_learning_rate"],',
               'self.config["learning_rate"],', STEP),
        defect("states of before are served", "    def _forget_states(self) -> None:\n"
               "        self._states = None", "    def _forget_states(self) -> None:\n"
               "        pass",
               "test_after_a_part_scores_are_those_of_the_new_parameters[MeLU]"),
        defect("batches of meta-training",
               'size, epochs = self.config["train_batch_size"], self.config["warm_epochs"]',
               'size, epochs = self.config["meta_batch_size"], self.config["warm_epochs"]',
               "test_as_many_steps_as_a_plain_backbone_takes"),
        defect("nothing is remembered in fine-tuning",
               'batches, epochs, mode="train", after=after', "batches, epochs, after=after",
               "test_mamo_remembers_users_of_fine_tuning_and_no_scored_one"),
        defect("no task goes unsaid", "        if not len(batches):\n", "        if False:\n",
               "test_users_with_one_session_are_no_tasks_and_it_is_said"),
    ],
}  # fmt: skip
