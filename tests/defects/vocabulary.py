"""Vocabularies that give other tokens than an array, or take its memory."""

from defects import defect

TESTS = "tests/data/test_vocabulary.py"
DEFECTS = {
    "recbole_cold/data/_vocabulary.py": [
        defect("no padding", "pa.array([PADDING], pa.large_string())",
               "pa.array([], pa.large_string())", "test_all_of_it", "test_without_a_token"),
        defect("codes beyond are the last ones", "            if not codes.shape and codes",
               "            codes = codes.clip(-len(self), len(self) - 1)\n"
               "            if not codes.shape and codes", "test_what_is_no_code"),
        defect("one code gives an array", "return self._texts[code].as_py()",
               "return _array(self._texts.take([code % len(self)]))", "test_one_of_it"),
        defect("the shape is lost", ".reshape(at.shape)", "", "test_some_of_it"),
        defect("an array equals no text", "if isinstance(other, str):",
               "if isinstance(other, str):\n            return np.zeros(len(self), bool)\n"
               "        if isinstance(other, str):", "test_where_tokens_are"),
    ],
    "recbole_cold/data/dataset.py": [
        defect("all texts side by side",
               "            field: Vocabulary.from_parts(letters, by_kind",
               "            field: Vocabulary.from_parts(letters, by_kind[\"ends\"][field])[:]\n"
               "            if field else Vocabulary.from_parts(letters, by_kind",
               "test_a_long_token_is_long_once"),
    ],
}  # fmt: skip
