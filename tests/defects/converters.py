"""Converters: what leaves half of the files, loses or changes cells, or miscounts."""

from defects import defect

TESTS = "tests/converters/test_converters.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/_writing.py": [
        defect("what was begun is left behind",
               "            shutil.rmtree(temporary, ignore_errors=True)\n        for",
               "            pass\n        for", "test_faults_leave_nothing",
               "test_an_interruption_leaves_nothing"),
        defect("folders that were made stay", "folder.rmdir()", "pass",
               "test_faults_leave_nothing"),
        defect("the files of before are not put back",
               "                os.replace(before / name, out / name)", "                pass",
               "test_what_was_there_stays_when_a_file_cannot_be_moved"),
        defect("new files stay where one is missing",
               "                (out / name).unlink(missing_ok=True)\n        raise",
               "                pass\n        raise",
               "test_what_was_there_stays_when_a_file_cannot_be_moved"),
        defect("features of other columns stay", "    for name in {*before} - {*now}:",
               "    for name in ():", "test_other_files_stay_and_those_of_another_conversion_go"),
        defect("all other files go", "    for name in {*before} - {*now}:",
               "    for name in {each.name for each in out.iterdir()} - {*now, 'manifest.json'}:",
               "test_other_files_stay_and_those_of_another_conversion_go"),
        defect("SIGTERM kills", "    before = signal.signal(signal.SIGTERM, interrupt)",
               "    before = signal.signal(signal.SIGTERM, lambda *_: None)",
               "test_sigterm_is_an_interruption"),
    ],
    "recbole_cold/converters/_converting.py": [
        defect("cells that begin with a quotation mark are bare",
               '''if cell.startswith('"') else cell''', "if False else cell",
               "test_cells_are_read_as_they_were_written"),
        defect("rows without an id are kept",
               "        if not row[0] or not (one_per_id or row[1]):", "        if False:",
               "test_a_converter_of_the_user"),
        defect("a data set without a row is one",
               'if seen is None or not counts["inter"]["kept"]:', "if seen is None:",
               "test_faults_leave_nothing[ratings.dat--has no interactions that could be kept]"),
    ],
    "recbole_cold/converters/_counting.py": [
        defect("ids that were sorted are forgotten", "np.union1d(self._sorted, fresh)", "fresh",
               "test_ids_are_counted_alike_however_many_there_are"),
        defect("the first time is the last",
               "if moment < self._bounds[0]:", "if moment > self._bounds[0]:",
               "test_the_manifest_has_what_the_report_says"),
    ],
    "recbole_cold/converters/_source.py": [
        defect("a .gz in a .zip stays packed", "zipped = raw.stream.peek(2)[:2] == _GZIP",
               'zipped = getattr(raw.stream, "name", "").endswith(".gz") and not hasattr('
               'raw.stream, "_decompressor")', "test_a_packed_file_in_an_archive"),
        defect("damaged archives are tracebacks",
               "_UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)",
               "_UNREADABLE = (OSError,)", "test_damaged_archives_are_one_sentence"),
    ],
    "recbole_cold/cli/convert.py": [
        defect("the next command looks elsewhere", "    if done.out.parent != _data_path(None):",
               "    if False:", "test_the_default_folder_and_what_to_run_next"),
    ],
}  # fmt: skip
