"""A cache that loses what is in use or what is not ours, or keeps what nobody needs."""

from defects import defect

TESTS = "tests/cli/test_cache.py"
SOME = True
DEFECTS = {
    "recbole_cold/cache_entries.py": [
        defect("the newest goes first", "key=lambda entry: (entry.is_needed, entry.used))",
               "key=lambda entry: (entry.is_needed, -entry.used))",
               "test_the_longest_unused_until_the_rest_fits", "test_rules_on_made_up_entries"),
        defect("what is in use counts as room", "    left = sum(sizes.values())\n",
               "    left = sum(size for entry, size in sizes.items() if entry not in busy)\n",
               "test_rules_on_made_up_entries"),
        defect("the entry is removed in place, file by file",
               "        os.replace(path, aside / \"old\")\n", "        shutil.rmtree(path)\n",
               "test_a_kill_in_the_middle_leaves_no_half_of_an_entry"),
        defect("no use is noted", "        os.utime(entry)\n", "        pass\n",
               "test_use_is_noted"),
        defect("a process's use ends at once", "weakref.finalize(self, os.close, descriptor)",
               "os.close(descriptor)", "test_what_is_in_use_stays", "test_also_in_another_process"),
        defect("a use never ends", "weakref.finalize(self, os.close, descriptor)", "pass",
               "test_what_is_in_use_stays"),
        defect("what cannot be locked is free", "    except OSError:\n        return True\n",
               "    except OSError:\n        return False\n", "test_without_locks_nobody_can_tell"),
        defect("what is being written is abandoned",
               "is_old = time.time() - used > ABANDONED", "is_old = True",
               "test_what_killed_processes_left"),
        defect("links are followed", "if not path.is_symlink())", "if True)",
               "test_what_is_not_ours_stays"),
    ],
    "recbole_cold/data/_cache.py": [
        defect("any folder with a description is ours",
               "if whole and all(re.fullmatch(", "if whole or all(re.fullmatch(",
               "test_what_is_not_ours_stays"),
        defect("hashes of files that are gone are kept", "is_needed=_is_current(path)",
               "is_needed=True", "test_hashes_of_files_that_changed"),
    ],
    "recbole_cold/training/backbone_cache.py": [
        defect("any file of that name is a backbone", " and is_state(path):", ":",
               "test_what_is_not_ours_stays"),
        defect("a backbone in use is not marked",
               "        self._uses.append(use(path, path))\n        try:\n", "        try:\n",
               "test_backbones_and_frames_in_use"),
    ],
    "recbole_cold/cli/cache.py": [
        defect("a dry run is none", "done = dry_run or remove(entry)", "done = remove(entry)",
               "test_a_dry_run_tells_and_leaves"),
    ],
}  # fmt: skip
