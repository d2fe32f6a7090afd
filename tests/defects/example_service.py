"""The example of a service: what it keeps, and how numbers are scaled."""

from defects import defect

TESTS = "tests/examples/test_service.py"
SOME = True
DEFECTS = {
    "examples/serving/cold_service/service.py": [
        defect("the thread ends with an error that nobody expected",
               "            except Exception as error:\n", "            except Failed as error:\n",
               "test_growing_goes_on_after_any_error"),
        defect("an item is on the disk before it is looked at",
               "                    self.model.exported.items.refuse(served)\n",
               "                    pass\n", "test_an_item_that_cannot_be_served_is_not_kept"),
    ],
    "examples/serving/cold_service/__main__.py": [
        defect("no row is worth a phase", "not text.isdecimal() or int(text) < 1",
               "not text.isdecimal()", "test_a_growth_needs_a_row[0]"),
    ],
    "examples/serving/cold_service/store.py": [
        defect("half a line is kept", 'whole.rfind(b"\\n") + 1', "len(whole)",
               "test_half_a_line_is_forgotten"),
        defect("half of what was written stays", "            self._file.truncate(self._size)\n"
               "            raise\n", "            raise\n",
               "test_a_full_disk_leaves_no_part_of_a_row"),
        defect("two processes serve from one store", "LOCK_EX", "LOCK_SH",
               "test_a_store_has_one_process"),
    ],
    "examples/serving/cold_service/scoring.py": [
        defect("items with a graph are served without", "        if more:\n", "        if False:\n",
               "test_items_that_are_more_than_a_vector_are_refused"),
        defect("numbers end nowhere", "min(max((number - low) / (high - low), 0.0), 1.0)",
               "(number - low) / (high - low)", "test_numbers_are_scaled_as_in_the_run"),
    ],
}  # fmt: skip
