"""What methods make for an item follows its content vector."""

from defects import defect

TESTS = "tests/model/test_vector_methods.py"
SOME = True
DEFECTS = {
    "recbole_cold/model/_layers.py": [
        defect("wide vectors swamp the rest", "vectors[field], size=1.0)",
               "vectors[field], size=30.0)", "test_its_columns_are_as_large_as_a_tables_rows"),
        defect("own tables take codes for tokens",
               "for field in (vectors or {}).keys() & self.fields:",
               "for field in ():",
               "test_its_columns_are_as_large_as_a_tables_rows"),
        defect("positions of other items", "if self._bags_of is not ids:",
               "if self._bags_of is None:", "test_means_of_sequences_while_they_learn"),
        defect("sums for means", "real_bl.sum(dim=1).reciprocal()[row]",
               "real_bl.sum(dim=1)[row]", "test_means_of_sequences_while_they_learn"),
    ],
    "recbole_cold/backbone/_seam.py": [
        defect("the side vector has no vectors",
               "elif kind in (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ):",
               "elif kind == FeatureType.TOKEN_SEQ:",
               "test_it_is_side_information_where_it_is_all[MetaE-item]"),
    ],
    "recbole_cold/model/_gme_vectors.py": [
        defect("an item is its own neighbour",
               "cosine = cosine.masked_fill(part[:, None] == old_ids, -torch.inf)", "pass",
               "test_by_cosine_is_the_definition"),
        defect("opposite vectors are near", "mask[part] = value > 1e-6",
               "mask[part] = value > -torch.inf", "test_by_cosine_is_the_definition"),
        defect("one neighbour counts twice", "there = there & ~again", "pass",
               "test_nobody_is_named_twice", "test_the_graph_has_both_kinds"),
    ],
    "recbole_cold/model/_gme.py": [
        defect("vectors make no neighbours", "        if units:\n", "        if False:\n",
               "test_vectors_alone_make_a_graph", "test_the_graph_has_both_kinds"),
        defect("an item with a vector has no side information",
               "named = named | torch.stack([unit.any(dim=1) for unit in units]).any(dim=0)",
               "pass", "test_vectors_alone_make_a_graph"),
    ],
    "recbole_cold/model/_content.py": [
        defect("a vector is no content", "    if not codes:\n", "    if True:\n",
               "test_a_vector_is_content", "test_an_item_without_one_starts_from_the_mean"),
    ],
}  # fmt: skip
