"""The graph of items that share attributes."""

from defects import defect

TESTS = "tests/model/test_graph.py"
DEFECTS = {
    "recbole_cold/model/_gme_neighbours.py": [
        defect("an item is its own neighbour", "other = ranked[rank] != ids[part][row]",
               "other = rank >= 0", "test_a_value_that_all_items_have",
               "test_neighbours_are_those_of_the_definition",
               "test_only_old_items_and_never_the_item_itself",
               "test_ties_go_to_more_rows_then_to_the_lower_id"),
        defect("equal codes of two fields are one value",
               "values.append((codes[place, position] + start).astype(np.int32))",
               "values.append(codes[place, position].astype(np.int32))",
               "test_equal_codes_of_different_fields_are_different_values",
               "test_max_share_leaves_out_what_too_many_have"),
        defect("one shared value counts as any number",
               "score = (score >> 1) + np.diff(both.tocsr().indptr)", "score = (score >> 1) + 1",
               "test_a_better_score_goes_before_more_rows",
               "test_more_popular_values_than_sets_are_made_of",
               "test_scores_are_symmetric_and_count_shared_values"),
        defect("popular values are all tried in pairs",
               "_keys(self.popular_ap, self.popular_op, size + 1)",
               "_keys(self.popular_ap, self.popular_op, 10**9)",
               "test_the_number_of_pairs_is_linear_in_the_items"),
        defect("no attribute is an attribute", "place, position = np.nonzero(codes)",
               "place, position = np.nonzero(codes >= 0)", "test_a_word_twice_is_shared_once",
               "test_an_item_without_attributes_has_none_and_is_nobodys",
               "test_no_attributes_at_all"),
        defect("everyone is asked for",
               "ids = np.arange(n_items) if ids is None else np.unique(ids)",
               "ids = np.arange(n_items)", "test_only_who_is_asked_for"),
    ],
}  # fmt: skip
