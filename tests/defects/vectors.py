"""Content vectors are those of their file, by code, and on the scale of what was seen."""

from defects import defect

TESTS = "tests/data/test_vector_files.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/_vectors.py": [
        defect("rows stay in the order of the file", "matrix[codes[part]] = source[rows[part]]",
               "matrix[np.sort(codes[part])] = source[rows[part]]",
               "test_row_i_is_the_i_th_row_of_the_table", "test_ids_say_whose_it_is"),
        defect("filters shift the rows",
               "return VectorColumn(self.kind, self.values[rows], source=self.source)",
               "return VectorColumn(self.kind, np.arange(len(self.values[rows])), "
               "source=self.source)",
               "test_filters_and_repeated_rows_do_not_shift_it", "test_of_interactions"),
        defect("everything becomes single precision",
               'dtype=source.dtype.newbyteorder("=")', 'dtype="float32"',
               "test_half_precision_stays_and_is_mapped"),
        defect("another width passes", "odd = there & (lengths != width)",
               "odd = there & (lengths > width)", "test_another_width_is_one_sentence"),
        defect("nan passes", "refuse_infinite(field, column, files, gaps=False)",
               "refuse_infinite(field, column, files)",
               "test_what_is_no_number_is_named_with_its_line"),
        defect("inf in a file passes",
               "fine = np.isfinite(vectors[start : start + _CHUNK]).all(axis=1)",
               "fine = np.ones(len(vectors[start : start + _CHUNK]), bool)",
               "test_a_number_that_is_none_is_named_with_its_row"),
        defect("an id that is there twice passes", "if (counts > 1).any():", "if False:",
               "TestNamed::test_refused"),
        defect("unknown ids go unsaid", "return matrix, [note] if unknown else []",
               "return matrix, []", "test_unknown_ids_are_counted_and_missing_ones_too"),
    ],
    "recbole_cold/data/dataset.py": [
        defect("the content of vectors is no part of the hash",
               "content = [schema, files, vectors] if vectors else [schema, files]",
               "content = [schema, files]", "test_content_is_part_of_the_hash_and_the_name_is_not"),
        defect("the matrix in memory is kept",
               "        with suppress(_cache.Damaged):  # another process has just exchanged it\n"
               "            return _cache.load(folder)\n",
               "", "test_half_precision_stays_and_is_mapped"),
        defect("a vector that is named is a number",
               "name for name in self.numbers if self.field2type[name] != FeatureType.FLOAT_SEQ",
               "name for name in self.numbers", "test_numerical_features_may_name_it"),
    ],
    "recbole_cold/data/vectors.py": [
        defect("missing vectors are at minus the mean",
               "        size_n[0] = 0.0\n", "",
               "test_missing_vectors_are_zeros"),
        defect("the scale is that of all vectors",
               "ids = parts_of(dataset)[dataset.field2source[self.field].value].seen",
               "ids = np.arange(len(self.codes))",
               "test_seen_vectors_have_mean_zero_and_size_one",
               "test_new_and_missing_items_do_not_move_it"),
        defect("missing vectors pull the mean", "return code[code != 0]", "return code",
               "test_seen_vectors_have_mean_zero_and_size_one"),
        defect("the mean stays", "        self.mean = (mean / total).float()\n",
               "        self.mean = 0.0 * mean.float()\n",
               "test_neither_unit_nor_offset_matters"),
        defect("a corrupt vector is as long as it is",
               "size_n[part] = self.factor / longer", "size_n[part] = self.factor",
               "test_no_vector_is_longer_than_the_seen_ones"),
        defect("the smallest directions",
               "variance, direction = variance[::-1].clip(min=0.0), direction[:, ::-1]",
               "variance = variance.clip(min=0.0)",
               "test_the_projection_keeps_most_of_the_seen_vectors"),
    ],
    "recbole_cold/data/rows.py": [
        defect("codes are gathered for vectors", "        if field in self.vectors:\n",
               "        if False:\n", "test_gathered_as_given_and_read_as_codes",
               "test_of_interactions"),
    ],
    "recbole_cold/experiment/data_store.py": [
        defect("an exchanged file is not noticed",
               "found += [path for fields in vectors for path in fields.values()]", "pass",
               "test_an_exchanged_file_is_read_anew_by_the_store"),
    ],
    "recbole_cold/data/frames.py": [
        defect("half precision is lost",
               "matrix if matrix.dtype == np.float16 else matrix.astype(np.float32)",
               "matrix.astype(np.float32)", "test_an_array_argument"),
    ],
}  # fmt: skip
