"""The exported scorer: unknown values, what is baked in, the check of files, what is refused."""

from defects import defect

TESTS = "tests/serving/test_scorer.py"
SOME = True  # that files agree takes long, and every defect of the graph is seen without a file
DEFECTS = {
    "recbole_cold/serving/graph.py": [
        defect("the mean of all rows", "table_nd[codes].mean(dim=0) if len(codes)",
               "table_nd.mean(dim=0) if len(codes)",
               "test_the_row_for_the_unknown_is_the_mean_of_used_rows"),
        defect("the first unknown code is read from another field",
               "unknown = (code < 0) | (code >= size)", "unknown = (code < 0) | (code > size + 1)",
               "test_codes_that_are_not_known_mean_the_last_row"),
        defect("unknown tokens stay in a sequence",
               "known_bs = torch.where(unknown_bs, 0, code_bs)",
               "known_bs = torch.where(unknown_bs, size, code_bs)",
               "test_unknown_tokens_are_left_out_unless_there_is_no_other"),
        defect("an unknown item is the last one of the run",
               "self.n_ids = len(served.vectors) - 1", "self.n_ids = len(served.vectors) - 2",
               "test_baked_vectors_are_the_served_ones"),
        defect("the number of an item is taken off", "else logit_b + bias_b)",
               "else logit_b - bias_b)", "test_the_number_of_an_item_is_added_to_the_logit"),
        defect("a scorer shares the tensors of the method",
               "self.seam = copy.deepcopy(seam, {id(rows): rows}).cpu()",
               "self.seam = copy.deepcopy(seam, {id(rows): rows, id(seam.model): seam.model})",
               "test_the_backbone_stays_as_it_is"),
        defect("a vector of zeros is there", "return (value != 0).any(dim=1, keepdim=True).long()",
               "return torch.zeros_like(value[:, :1]).long()",
               "test_vectors_that_no_data_set_has_are_scaled_as_its_own"),
        defect("the batch is squeezed away", "if squeezes and isinstance", "if 0 and isinstance",
               "test_recboles_dssm_takes_the_batch_of_one_row_away"),
        defect("any name passes", "    if twice:\n", "    if len(twice) > 9:\n",
               "test_a_field_with_the_name_of_an_input_is_refused"),
    ],
    "recbole_cold/data/_visible.py": [
        defect("padding takes part in the mean", "trained[field][0] = False",
               "trained[field][0] = True",
               "test_an_unknown_code_is_answered_by_the_mean_row[title]"),
    ],
    "recbole_cold/data/vectors.py": [
        defect("a longer vector stays long",
               "longer_b1 = (length_b1 * self.factor).clamp(min=self.longest) / self.longest",
               "longer_b1 = torch.ones_like(length_b1)",
               "test_vectors_that_no_data_set_has_are_scaled_as_its_own"),
    ],
    "recbole_cold/serving/graph_files.py": [
        defect("any file passes", "if difference > kind.limit:", "if difference > 1:",
               "test_a_file_that_answers_something_else_is_not_kept"),
        defect("a refused file stays", "path.unlink(missing_ok=True)", "path.exists()",
               "test_a_file_that_answers_something_else_is_not_kept"),
        defect("NaN agrees", 'nan_to_num(nan=float("inf"))', "nan_to_num()",
               "test_nothing_and_nan_do_not_agree"),
        defect("a missing package is found out later", "importlib.util.find_spec(each) is None",
               'each == "none"', "test_what_cannot_be_exported_is_refused"),
        defect("inputs in another order", "[asdict(each) for each in scorer.inputs]",
               "[asdict(each) for each in scorer.inputs[::-1]]",
               "test_the_description_names_every_input"),
    ],
    "recbole_cold/backbone/finalmlp.py": [
        defect("the batch size is a constant", "first_bi.shape[0]", "len(first_bi)",
               "test_pt2_agrees", "test_forward_passes_keep_the_batch_size_free"),
    ],
}  # fmt: skip
