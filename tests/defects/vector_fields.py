"""A content vector is a field of every click model."""

from defects import defect

TESTS = "tests/backbone/test_vector_fields.py"
SOME = True
DEFECTS = {
    "recbole_cold/backbone/_vectors.py": [
        defect("models are shown numbers", "FeatureType.TOKEN_SEQ if kind == FeatureType.FLOAT_SEQ",
               "FeatureType.FLOAT_SEQ if kind == FeatureType.FLOAT_SEQ",
               "test_scores_follow_the_vectors", "test_the_data_set_itself_keeps_its_types"),
        defect("the projection has no gradient",
               "self.vectors.projected(code, self.weight)",
               "self.vectors.projected(code, self.weight.detach())",
               "test_projections_learn"),
        defect("tables of codes", '    table.__class__ = VectorTable\n', "",
               "test_it_is_the_projection_of_the_scaled_vector"),
        defect("first-order weights start at directions", "if weight.shape[1] == 1:",
               "if weight.shape[1] == 0:", "test_it_starts_at_the_principal_directions"),
        defect("every image has size one",
               "weight.copy_(vectors.principal(weight.shape[1]) * size)",
               "weight.copy_(vectors.principal(weight.shape[1]))",
               "test_it_starts_at_the_principal_directions",
               "test_uniform_tables_keep_its_images_as_small"),
    ],
    "recbole_cold/data/vectors.py": [
        defect("every copy of a model copies the vectors",
               "def __deepcopy__(", "def unused(", "test_they_are_shared_and_no_part_of_the_state"),
        defect("a missing vector adds to the sum", "        size_n[0] = 0.0\n", "",
               "test_a_missing_vector_adds_nothing[sum_with_pad]"),
    ],
    "recbole_cold/backbone/_seam.py": [
        defect("vectors are no side information",
               "elif kind in (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ):",
               "elif kind == FeatureType.TOKEN_SEQ:", "test_side_vectors_have_columns_for_them",
               "test_cold_users_have_theirs"),
    ],
}  # fmt: skip
