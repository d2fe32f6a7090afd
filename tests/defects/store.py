"""Files: written in place, half, or read without a look at the checksum."""

from defects import defect

TESTS = "tests/test_store.py"
DEFECTS = {
    "recbole_cold/store.py": [
        defect("the file itself is written",
               'temporary = path.with_name(f".{path.name}.{os.getpid()}")', "temporary = path",
               "test_a_full_disk_leaves_the_old_file_and_nothing_else[fsync]",
               "test_a_device_that_is_really_full", "test_a_kill_in_the_middle_leaves_the_old_file",
               "test_a_reader_never_sees_half"),
        defect("the file is copied, not renamed", "os.replace(temporary, path)",
               "path.write_bytes(payload)",
               "test_a_full_disk_leaves_the_old_file_and_nothing_else[replace]"),
        defect("the error is Python's own", "        raise WriteError(\n",
               "        raise OSError(\n", "test_a_file_where_a_folder_should_be"),
        defect("folders above are not made", "mkdir(parents=True, exist_ok=True)",
               "mkdir(exist_ok=True)", "test_state_comes_back_as_it_was"),
        defect("the checksum is not looked at",
               "if hashlib.sha256(payload).hexdigest().encode() != raw", "if False and raw",
               "test_any_flipped_bit_is_noticed", "test_more_than_was_written_is_noticed"),
        defect("a file cut short in its head is an empty state",
               "len(raw) < header:\n", "len(raw) < header:\n        return {}\n",
               "test_any_missing_tail_is_noticed"),
        defect("any pickle is read", "map_location=device, weights_only=True)",
               "map_location=device, weights_only=False)", "test_no_pickled_class_is_read"),
        defect("a folder is not a damaged file",
               "    except OSError as error:\n        raise DamagedFile(",
               "    except FileNotFoundError as error:\n        raise DamagedFile(",
               "test_what_is_missing_or_a_folder_is_damaged_too"),
    ],
}  # fmt: skip
