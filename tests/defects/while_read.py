"""Files that change while they are read, and disks without room."""

from defects import defect

TESTS = "tests/data/test_dataset.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/_cache.py": [
        defect("a fault is told before the growth that made it",
               "        refuse_changed(before, error)\n        raise\n", "        raise\n",
               "test_a_file_that_grows"),
        defect("a file that grew is cached as what it was",
               "        raise\n    refuse_changed(before)\n", "        raise\n",
               "test_a_file_that_grows"),
        defect("the disk is filled first", "    if wanted > free:\n", "    if False:\n",
               "test_a_disk_without_room_is_not_filled"),
    ],
}  # fmt: skip
