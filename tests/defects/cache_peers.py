"""What comes from the driver's cache: half of it, something else, twice, or nothing unnoticed."""

from defects import defect

TESTS = "tests/trials/test_cache_peers.py"
SOME = True
DEFECTS = {
    "recbole_cold/cache_peers.py": [
        defect("no digest is compared", "    if digest.hexdigest() != wanted:\n", "    if False:\n",
               "test_what_does_not_come_whole_leaves_nothing_and_is_said_once",
               "test_a_file_that_is_altered_does_not_replace_one",
               "test_without_it_a_machine_parses_and_pretrains_as_before[Altered]"),
        defect("a file is written where it is read",
               "    temporary = path.with_name(f\".{path.name}.{os.getpid()}\")\n",
               "    temporary = path\n", "test_a_file_that_is_altered_does_not_replace_one"),
        defect("a folder is written where it is read",
               "temporary = Path(tempfile.mkdtemp(prefix=f\".{path.name}.\", dir=path.parent))",
               "temporary = os.makedirs(path) or path",
               "test_a_kill_in_the_middle_leaves_what_nobody_reads_and_a_prune_knows"),
        defect("every process of a machine fetches",
               "            held.enter_context(locked(path.with_name(f\".{path.name}.lock\")))\n",
               "            pass\n", "test_several_processes_of_a_machine_fetch_it_once"),
        defect("a folder that both see is asked for",
               "            return not self.peer.sees(Path(file.name).name)\n",
               "            return True\n", "test_a_folder_that_both_see_is_not_asked_for"),
        defect("nobody hears of a failure", "        logger.warning(\"%s\", self.failed[entry])\n",
               "", "test_what_does_not_come_whole_leaves_nothing_and_is_said_once"),
        defect("a failure is tried and told again",
               "if entry not in self.failed and self._is_elsewhere else",
               "if self._is_elsewhere else",
               "test_what_does_not_come_whole_leaves_nothing_and_is_said_once"),
        defect("what was waited for is not taken",
               "        now.copy(entry, path)  # what the holder before has made\n", "",
               "test_what_another_machine_makes_meanwhile_is_waited_for"),
        defect("two machines make the same",
               "    with now.peer.turn(lock.relative_to(now.root).as_posix(), stop):\n",
               "    if True:\n", "test_what_another_machine_makes_meanwhile_is_waited_for",
               "test_who_makes_it_holds_the_lock_there_and_hands_it_over",
               "test_a_stop_ends_the_waiting"),
        defect("nothing is handed over", "        now.peer.take(entry, now.root)\n",
               "        pass\n", "test_who_makes_it_holds_the_lock_there_and_hands_it_over",
               "test_a_backbone_made_here_is_there_for_the_next_machine"),
    ],
    "recbole_cold/data/_cache.py": [
        defect("nobody is asked for parsed data", " or cache_peers.fetch(folder)", "",
               "test_a_second_machine_parses_and_pretrains_nothing"),
    ],
    "recbole_cold/training/backbone_cache.py": [
        defect("nobody is asked for a backbone",
               "                held.enter_context(cache_peers.turn(path, lock, stop))\n", "",
               "test_a_second_machine_parses_and_pretrains_nothing"),
        defect("a backbone stays where it was made",
               "        cache_peers.hand_over(path)\n", "",
               "test_a_backbone_made_here_is_there_for_the_next_machine"),
    ],
    "recbole_cold/trials/cache_offer.py": [
        defect("trials beside the driver have another cache",
               "here = spec if named or not self.node else _with(spec, cache_dir=theirs)",
               "here = spec", "test_trials_of_the_drivers_machine_have_its_folder"),
        defect("a trainable does not know its driver", "self.node or node_here())", "self.node)",
               "test_it_has_the_node_of_whoever_sends_it"),
        defect("frames stay with the driver", "    if not is_frames or there.exists():\n",
               "    if True:\n", "test_frames_come_with_the_trial"),
    ],
    "recbole_cold/trials/ray_pool.py": [
        defect("each trial's line is told", " - self.said:", ":",
               "test_the_driver_says_once_what_did_not_come"),
    ],
}  # fmt: skip
