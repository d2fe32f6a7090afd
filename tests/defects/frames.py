"""Frames become files that say the same."""

from defects import defect

TESTS = "tests/data/test_frames.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/frames.py": [
        defect("elements are cut at their spaces", "    return free[0]\n",
               "    return SEPARATORS[0]\n", "test_by_type"),
        defect("a file that was cut short is kept",
               "if not all(_same_size(path, folder / path.name) for path in files):",
               "if not folder.is_dir():", "test_a_file_that_was_cut_short_is_written_again"),
        defect("what was begun is left behind",
               "            if temporary is not None:\n                shutil.rmtree",
               "            if temporary is None:\n                shutil.rmtree",
               "test_equal_frames_are_written_once_and_others_beside_them"),
    ],
    "recbole_cold/data/_frame_cells.py": [
        defect("times of a zone are taken as they look",
               'values.dt.tz_convert("UTC").dt.tz_localize(None)', "values.dt.tz_localize(None)",
               "test_own_names_and_times"),
        defect("1.0 is another id than 1",
               "value = int(value) if float(value).is_integer() else value", "pass",
               "test_whole_numbers_are_the_same_ids_whatever_their_type"),
        defect("any number is a label", "if is_label and threshold is None:", "if False:",
               "test_refused"),
    ],
}  # fmt: skip
