"""The store of data sets: what a run is given is its own."""

from defects import defect

TESTS = "tests/experiment/test_data_store.py"
SOME = True
DEFECTS = {
    "recbole_cold/experiment/data_store.py": [
        defect("all seeds have the split of the first",
               'default=str), config["seed"]', "default=str), 0",
               "test_two_seeds_have_a_split_each"),
        defect("equal splits are kept per seed",
               "if rule == wanted[0] and v.split == split]", "if False]",
               "test_equal_splits_of_seeds_are_kept_once"),
        defect("any split of another seed will do",
               "if rule == wanted[0] and v.split == split]",
               "if rule == wanted[0]]",
               "test_two_seeds_have_a_split_each"),
        defect("splits pile up", "            _make_room(views, _MOST_SPLITS)\n", "",
               "test_splits_of_a_data_set_do_not_pile_up"),
    ],
    "recbole_cold/data/rows.py": [
        defect("views share the table of an item's columns",
               "view.item_features = dict(self.item_features)", "pass",
               "test_views_share_arrays_and_own_what_holds_them"),
    ],
    "recbole_cold/model/_method.py": [
        defect("counts are written into the rows that a method is given",
               "self.rows: Rows = dataset.rows.view()", "self.rows: Rows = dataset.rows",
               "test_interleaved_phases[view]",
               "test_what_one_observes_the_other_does_not_see"),
    ],
    "recbole_cold/data/dataset.py": [
        defect("a view's split is also the data set's",
               "view._split = self._split if split is None else split",
               "view._split = type(self)._split = self._split if split is None else split",
               "test_nobody_can_put_down_another_split"),
    ],
}  # fmt: skip
