"""Keys and kinds of values: what the table says, and what is refused in which words."""

from defects import defect

TESTS = "tests/test_keys.py"
SOME = True
DEFECTS = {
    "recbole_cold/kinds.py": [
        defect("true is a whole number", "Annotated[kind, Field(strict=True, **limits)]",
               "Annotated[kind, Field(strict=False, **limits)]",
               "test_numbers_are_finite_and_truth_values_are_none"),
        defect("true is one of 1 and 2", "type(value) is type(choice) and value == choice",
               "value == choice", "test_words[MeLU-melu_order-True-none of 1, 2]"),
        defect("an empty list passes", "min_length=int(filled)", "min_length=0",
               "test_faults_that_were_met", "test_words"),
    ],
    "recbole_cold/key_row.py": [
        defect("a bare off is false", 'if value is False and "off" in self.kind.choices:',
               "if False:", "test_ordinary_shapes_still_pass"),
    ],
    "recbole_cold/keys.py": [
        defect("how columns are cut is no part of a data set's hash",
               '        Key("rm_dup_inter", optional(one_of("first", "last"))),\n        Key(\n',
               "    ),\n    *_rows(\n        [DATA, SPLIT, PRETRAINING, SCORES],\n"
               '        Key("rm_dup_inter", optional(one_of("first", "last"))),\n        Key(\n',
               "test_questions"),
        defect("a subclass loses its parent's keys", "for level in reversed(cls.__mro__)]",
               "for level in [cls]]",
               "test_a_declared_key_is_checked_and_those_of_the_parent_stay"),
        defect("a key that nobody declared takes anything", "return Key(name, like(default))",
               "return Key(name, anything())", "test_another_gets_its_kind_from_its_default"),
    ],
}  # fmt: skip
