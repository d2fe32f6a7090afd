"""Scores of triples: gradients by hand, and the layer on the side with fewer rows."""

from defects import defect

TESTS = "tests/model/test_triple_scores.py"
SCORES = "test_scores_and_size"
DEFECTS = {
    "recbole_cold/model/_triple_scores.py": [
        defect("both items have the first one's gradient", "for part in (by_i, by_j)])",
               "for part in (by_i, by_i)])", SCORES, "test_scores_where_one_side_is_given"),
        defect("weights stay in the triples' order", "weight_k.index_select(0, order)",
               "weight_k", SCORES, "test_scores_where_one_side_is_given"),
        defect("sums begin a row too late", "torch.cat([ends.new_zeros(1), ends])",
               "torch.cat([ends, ends[-1:]])", SCORES, "test_scores_where_one_side_is_given"),
        defect("the third vector has no slope of its square",
               "to_right.index_add_(0, at_j, rows[2]", "to_right.index_add_(0, at_j, rows[1]",
               SCORES),
        defect("the slope of a square is the number itself", "2.0 * by_size.item()",
               "by_size.item()", SCORES),
        defect("one of three vectors has no size", "for part in rows]",
               "for part in rows[:2]]", SCORES),
        defect("the layer's offset is left out", "score_i + lookup(offset_n, at_i)", "score_i",
               "test_through_a_layer_on_either_side"),
        defect("the layer on the right is not transposed", "right_ne @ layer.weight,",
               "right_ne @ layer.weight.T,", "test_through_a_layer_on_either_side"),
        defect("the mean has no gradient", "own_nd.addr_(share_n, by_n @ rows_nd, alpha=-1.0)",
               "own_nd", "test_identification_by_item"),
        defect("no pair is divided by", "max(len(at_j), 1)", "len(at_j)",
               "test_no_pair_has_no_identification"),
        defect("the mean is of the clicked items", "index_add_(0, at_j, one)",
               "index_add_(0, at_i, one)", "test_identification_by_item"),
    ],
}  # fmt: skip
