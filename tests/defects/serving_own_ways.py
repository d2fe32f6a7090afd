"""Kept methods with more than a vector per item: supports, graphs, factors; what is unseen."""

from defects import defect

TESTS = "tests/serving/test_own_ways.py"
SOME = True
DEFECTS = {
    "recbole_cold/model/_supports.py": [
        defect("any code has a support", "self.slot_n[ids.clamp(max=n - 1)], -1)",
               "self.slot_n[ids.clamp(max=n - 1)], 0)",
               "test_items_as_new_ones_without_rows[MeLU[meta_epochs=1]]"),
        defect("the whole room is kept", "device=self.rows.device) < self.count[:, None]",
               "device=self.rows.device) < self.rows.shape[1] + 0 * self.count[:, None]",
               "test_the_rows_of_a_support_and_no_others"),
    ],
    "recbole_cold/serving/kept.py": [
        defect("supports are the made-up rows",
               "method.kept_rows_are(torch.arange(_PROBES, whole.n_rows",
               "method.kept_rows_are(torch.arange(0, whole.n_rows - _PROBES",
               "test_scores_and_metrics[warm_c-MeLU[meta_epochs=1]]"),
    ],
    "recbole_cold/serving/fitted.py": [
        defect("supports are exchanged for what is scored", "rows = self.method.rows.view()",
               "rows = self.method.rows", "test_scores_and_metrics[warm_c-MeLU[meta_epochs=1]]"),
        defect("an item that is answered by the mean has its own graph",
               "torch.where(nothing, bare, place), vector)", "place, vector)",
               "test_an_item_of_which_nothing_is_known"),
    ],
    "recbole_cold/serving/grow.py": [
        defect("what scores in its own way is grown",
               " or method.unlike(ColdStartRecommender) is not None:", ":",
               "test_what_has_more_than_vectors_is_refused"
               "[rows-ALDIMF[aldimf_teacher_epochs=2]]"),
    ],
    "recbole_cold/model/_emerg_serving.py": [
        defect("one draw for all unseen items", '"unseen id row", name)', '"unseen id row")',
               "test_graphs_follow_from_features_and_vectors_from_ids"),
        defect("new items have the graphs that they started with",
               "own = (slot_u >= 0)[:, None, None] & self.new_items_started",
               "own = (slot_u >= 0)[:, None, None] & ~self.new_items_started",
               "test_graphs_stand_beside_vectors"),
        defect("unknown users are other fields' rows",
               "        self.net.beyond = Beyond", "        self.net.unused = Beyond",
               "test_users[mean-EmerG[emerg_epochs=1;pretrain_epochs=1]]"),
    ],
    "recbole_cold/model/aldimf.py": [
        defect("an unknown user is the last one",
               "torch.where(users[:, None] < self.n_others, known, self.beyond_user)",
               "torch.where(users[:, None] < self.n_others + 99, known, self.beyond_user)",
               "test_users[mean-ALDIMF[aldimf_teacher_epochs=2]]"),
        defect("the folder has the rows of the backbone", "return self.served_factors(ids), None",
               "return self.backbone.id_vectors(ids), None",
               "test_vectors_of_items_where_there_are_such"),
    ],
    "recbole_cold/model/_serving.py": [
        defect("any subclass is kept", "own = [name for name in _SCORING if getattr",
               "own = [name for name in () if getattr",
               "test_a_subclass_that_scores_in_another_way_is_not_kept"),
    ],
}  # fmt: skip
