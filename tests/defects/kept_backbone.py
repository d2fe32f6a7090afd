"""Resume points that leave out too much, or too little, or need a cache that may be pruned."""

from defects import defect

TESTS = "tests/training/test_kept_backbone.py"
SOME = True
DEFECTS = {
    "recbole_cold/training/kept_backbone.py": [
        defect("what moved is left out", "if said == known[name]}", "if True}",
               "test_what_moved_is_in_the_point"),
        defect("one moved tensor keeps the whole in the point",
               "        if not equal:\n", "        if len(equal) < len(known):\n",
               "test_what_moved_is_in_the_point"),
        defect("nothing lies beside", "written = path.stat().st_size if also_at(self._stored.path, "
               "path) else 0", "written = 0", "test_it_lies_once_beside_the_points",
               "TestContinued::test_from_the_point[cache]"),
        defect("only the cache is asked", "places = [beside(state_path)]", "places = []",
               "TestContinued::test_from_the_point[cache]", "test_on_another_file_system"),
        defect("the cache is not asked", "        if folder is not None:\n",
               "        if folder is None:\n", "TestContinued::test_from_the_point[beside]",
               "TestContinued::test_from_the_point[damaged]"),
        defect("any backbone will do",
               "if any(known.get(name) != said for name, said in wanted.items()):", "if False:",
               "TestContinued::test_from_the_beginning_where_it_is_in_neither[True]"),
        defect("a type is no part of a digest", 'f"{value.dtype} {tuple(value.shape)}"',
               'f"{tuple(value.shape)}"', "test_what_a_tensor_is_known_by"),
        defect("a shape is no part of a digest", 'f"{value.dtype} {tuple(value.shape)}"',
               'f"{value.dtype}"', "test_what_a_tensor_is_known_by"),
        defect("a lost backbone is not put beside again",
               "self._is_at = place if place == beside(state_path) else None",
               "self._is_at = beside(state_path)", "TestContinued::test_from_the_point[beside]"),
    ],
    "recbole_cold/training/trainer.py": [
        defect("a backbone from the cache is written in full",
               "                self._beside.begin(known)\n", "",
               "test_it_lies_once_beside_the_points"),
        defect("points are not counted", '        points["count"] += 1\n', "",
               "test_points_and_their_bytes_are_counted"),
        defect("copies are not counted", '        points["bytes"] += written\n', "",
               "test_points_and_their_bytes_are_counted[False]"),
        defect("points before a stop are forgotten",
               'journal["points"] = {name: int(points[name]) for name in _NO_POINTS}',
               'journal["points"] = dict(_NO_POINTS)', "test_points_and_their_bytes_are_counted"),
    ],
}  # fmt: skip
