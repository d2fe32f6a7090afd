"""MIND-small: pages, times, words and entities that are not those of the files."""

from defects import defect

TESTS = "tests/converters/test_mind_small.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/mind_small.py": [
        defect("features of others are in a sample",
               "sample.interactions(impressions(pages, sample.keeps, left_out))",
               "impressions(pages, sample.keeps, left_out)", "test_a_sample_has_whole_users"),
        defect("pages of both folders have one number", 'f"{part}-{page}"', "page", "test_lines"),
        defect("noon is midnight", 'hour % 12 + 12 * (half == "PM")',
               'hour % 24 + 12 * (half == "PM")', "test_times_are_utc"),
        defect("times are local", "tzinfo=timezone.utc", "tzinfo=timezone.max",
               "test_times_are_utc", "test_lines"),
        defect("thirteen is an hour of the morning", "    if not 1 <= hour <= 12:",
               "    if not 1 <= hour <= 24:", "test_what_is_no_time"),
        defect("all that was shown was clicked", "yield user, item, time, f",
               'click = "1"\n                yield user, item, time, f', "test_lines"),
        defect("pages are counted, not rows", "left_out[NOT_DRAWN] += len(news)",
               "left_out[NOT_DRAWN] += 1", "test_a_sample_has_whole_users"),
        defect("entities are there twice", "found |= dict.fromkeys(",
               "found |= {f'{len(found)}': 0} | dict.fromkeys(", "test_lines"),
        defect("words keep their capitals", "WORD.findall(title.lower())", "WORD.findall(title)",
               "test_lines"),
        defect("a copy of the training part will do", "    if first == second:", "    if False:",
               "test_a_copy_of_the_training_part_is_refused"),
    ],
    "recbole_cold/converters/_source.py": [
        defect("all folders of an archive are one", 'if f"/{self._inside}" in f"/{name}"',
               "if True", "test_archives_are_read_as_folders"),
        defect("files of one name are told alike",
               "return path.relative_to(self._root).as_posix() if path", "return path.name if path",
               "test_lines"),
        defect("archives in a folder are not found", 'found.path = self.path / f"{name}.zip"',
               "pass", "test_archives_are_read_as_folders"),
    ],
}  # fmt: skip
