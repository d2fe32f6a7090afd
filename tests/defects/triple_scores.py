"""Scores of triples: gradients by hand, and the layer on the side with fewer rows."""

from defects import defect

TESTS = "tests/model/test_triple_scores.py"
SCORES = "test_scores_and_size"
DEFECTS = {
    "recbole_cold/model/_triple_scores.py": [
        defect("the left row learns from one of two items", "(i * by_i).addcmul_(j, by_j)",
               "(i * by_i)", SCORES, "test_scores_where_one_side_is_given"),
        defect("gradients of two triples of a row overwrite each other",
               "to_right.index_add_(0, at_j,", "to_right.index_copy_(0, at_j,", SCORES),
        defect("the slope of a square is the number itself", "2.0 * by_size.item()",
               "by_size.item()", SCORES),
        defect("one of three vectors has no size", "for part in (left, i, j)]",
               "for part in (left, i)]", SCORES),
        defect("both items have the first one's gradient", "with_size(left * by_j, j)",
               "with_size(left * by_i, j)", SCORES),
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
