"""Too little memory, too many codes: told too late, or where there is enough."""

from defects import defect

TESTS = "tests/data/test_memory.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/_memory.py": [
        defect("what does not fit is read", "if free is not None and needed > free.bytes:",
               "if False:", "test_before_anything_is_read"),
        defect("what fits is refused", "needed > free.bytes:", "needed < free.bytes:",
               "test_what_fits_is_loaded"),
        defect("columns that are left out are counted", "if wanted(field))", "if True)",
               "test_bytes_of_the_columns_that_are_wanted"),
        defect("columns are there once", "return _COPIES * total", "return total",
               "test_bytes_of_the_columns_that_are_wanted"),
        defect("short lines at the beginning count for all", "min(per_byte)", "per_byte[0]",
               "test_rows_of_a_text_file"),
        defect("there are as many codes as values", "> MOST_CODES:", "> 10 * MOST_CODES:",
               "test_more_items_than_codes"),
        defect("an error of Arrow's is a traceback", "except pa.ArrowCapacityError as error:",
               "except ZeroDivisionError as error:", "test_it_turns_out_too_little"),
        defect("groups around a group do not count", "[inside, *inside.parents]", "[inside]",
               "test_the_narrowest_group_around_counts", "test_of_a_container"),
        defect("files that are kept are used", "max(0, used - kept)", "max(0, used)",
               "test_of_a_container", "test_of_the_first_version"),
        defect("swap space is nothing", '("MemAvailable", "SwapFree")', '("MemAvailable",)',
               "test_of_the_machine"),
        defect("no limit is a limit of nothing", "return min(found, default=None)",
               "return min(found, default=Free(0, ''))", "test_nothing_is_known"),
    ],
    "recbole_cold/data/dataset.py": [
        defect("nobody looks at the memory",
               "with within_memory(self.config, self._files, build.form):", "if True:",
               "test_before_anything_is_read"),
    ],
}  # fmt: skip
