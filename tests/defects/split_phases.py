"""A split owns its phases, and its files tell their version."""

from defects import defect

TESTS = "tests/data/test_split_phases.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/split.py": [
        defect("phases are part of the hash", "self._digest(manifest)\n",
               'self._digest({**manifest, "phases": phases})\n',
               "test_phases_are_scored_on_the_next_ones_rows",
               "test_the_hash_is_what_it_was_before_phases_were_written"),
        defect("splits of other phases are equal",
               "return self.hash == other.hash and self.phases == other.phases",
               "return self.hash == other.hash", "test_phases_are_scored_on_the_next_ones_rows"),
        defect("an altered manifest passes",
               ' or now != manifest.get("check"):', ":",
               "test_an_altered_file_is_damaged"),
        defect("ready files are sorted by name", "manifest, protocol(names))",
               "manifest, protocol(sorted(names)))",
               "test_ready_files_are_the_phases_in_their_order"),
    ],
    "recbole_cold/data/phases.py": [
        defect("names of ready files are forgotten", "if is_warm_file(name)] if files else None",
               "if is_warm_file(name)] if False else None", "test_names_of_ready_files"),
    ],
}  # fmt: skip
