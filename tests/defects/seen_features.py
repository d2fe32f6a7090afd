"""Features of any size, and tokens that nobody trained."""

from defects import defect

TESTS = "tests/model/test_seen_features.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/_visible.py": [
        defect("methods read numbers as they are",
               "            _exchange(view, kind, field, scale.apply(values))\n", "",
               "test_items_with_prices_of_ten_decades[CVAR]",
               "test_users_with_incomes_of_ten_decades[CVAR]"),
        defect("an unseen word keeps its code",
               "                _exchange(view, whose, field, masked)\n", "                pass\n",
               "test_the_mean_of_a_title_leaves_them_out"),
    ],
    "recbole_cold/backbone/_seam.py": [
        defect("the backbone keeps its draws", "    zero_unseen(model, dataset.unseen)\n", "",
               "test_rows_of_unseen_tokens_are_zero_in_every_table",
               "test_training_and_weight_decay_leave_them_zero"),
    ],
    "recbole_cold/backbone/_unseen.py": [
        defect("rows of another field are zeroed",
               "zero_rows(table.embedding.weight, unseen.get(field, ()), int(offset))",
               "zero_rows(table.embedding.weight, unseen.get(field, ()))",
               "test_rows_of_unseen_tokens_are_zero_in_every_table"),
        defect("sequences keep their draws",
               "            zero_rows(table.weight, unseen.get(field, ()))\n",
               "            pass\n", "test_rows_of_unseen_tokens_are_zero_in_every_table"),
        defect("everything behind a code is zeroed", "device=table.device) + offset] = 0.0",
               "device=table.device).min() + offset:] = 0.0", "test_zero_rows"),
    ],
    "recbole_cold/model/_layers.py": [
        defect("a method's own tables keep their draws",
               "                zero_rows(self.tables[_key(field)].weight, codes)\n",
               "                pass\n", "test_a_method_s_own_tables_and_a_teacher_s",
               "test_own_side"),
    ],
    "recbole_cold/model/aldimf.py": [
        defect("a teacher keeps its draws",
               '            zero_rows(self.teacher["user"].weight, '
               "dataset.unseen.get(self.other_field, ()))\n", "",
               "test_a_method_s_own_tables_and_a_teacher_s"),
    ],
}  # fmt: skip
