"""A run that begins from a kept model takes too much, too little, or does not say so."""

from defects import defect

TESTS = "tests/experiment/test_parent.py"
SOME = True
DEFECTS = {
    "recbole_cold/experiment/parent.py": [
        defect("today's new items begin with what the parent knows",
               "fresh = {method.id_field: np.asarray(dataset.split.new_ids)}", "fresh = {}",
               "test_items_begin_as_they_are_served"),
        defect("items that were new begin with their rows of the table",
               "table[place[own]] = values[own]", "pass",
               "test_items_begin_as_they_are_served"),
        defect("factors are taken for rows of the table",
               "if torch.equal(values[is_old], table[place[is_old]]):", "if True:",
               "test_factors_are_no_rows_of_a_table"),
        defect("rows that the parent has not learned are taken",
               "served = np.isin(status, WITH_VECTORS) if", "served = status != 7 if",
               "test_what_was_found_is_told"),
        defect("counts of rows come along",
               "learned = {name for name, _ in method.named_parameters()} | set(norms)",
               "learned = own", "test_what_a_run_has_counted_begins_anew"),
        defect("the network of another method is asked for",
               'if about["config"].get("model") != config["model"]:', "if False:",
               "test_of_another_method_the_backbone_alone"),
        defect("the backbone stays as it was drawn", "taken=backbone | own, trained",
               "taken=own, trained", "test_rows_by_token_name_and_dense_layers_as_they_are"),
        defect("any fields will do", "    if before != now:\n        told",
               "    if 0:\n        told",
               "test_in_one_sentence"),
        defect("altered files are read", "    refuse_damaged(parent.kept)\n", "",
               "test_an_altered_folder"),
        defect("nothing is said of the same data",
               'about["data_hash"] == dataset.data_hash', "False", "test_what_was_found_is_told"),
        defect("nothing is said of scales", "_plain(asdict(scale)) != ", "{} == ",
               "test_what_was_found_is_told"),
        defect("a continued run may have another parent",
               "return values if digest is None else {**values, KEY: [values[KEY], digest]}",
               "return values", "test_one_whose_parent_changed_is_not_continued"),
    ],
    "recbole_cold/experiment/fingerprint.py": [
        defect("results of another parent are taken",
               "return code if parent is None else _hash([code, parent])", "return code",
               "test_the_content_counts_and_not_the_place"),
        defect("backbones of another parent are taken",
               "roots, relevant[PARENT] = _ROOTS_OF_PRETRAINING, digest_of(config)",
               "roots, relevant[PARENT] = _ROOTS_OF_PRETRAINING, None",
               "test_the_content_counts_and_not_the_place"),
    ],
    "recbole_cold/experiment/requests.py": [
        defect("a request names it from its own folder",
               'overrides["init_from"] = str(paths.expanded(begun).absolute())',
               'overrides["init_from"] = begun',
               "test_a_run_is_known_by_its_folder_from_anywhere"),
    ],
    "recbole_cold/trials/settings.py": [
        defect("a setting names it from its own folder",
               'str(paths.expanded(config["init_from"]).absolute())', 'config["init_from"]',
               "test_a_run_is_known_by_its_folder_from_anywhere"),
    ],
    "recbole_cold/comparison/campaign.py": [
        defect("a cell names it from its own folder",
               'str(paths.expanded(given["init_from"]).absolute())', 'given["init_from"]',
               "test_cells_of_a_comparison_find_it_from_anywhere"),
    ],
    "recbole_cold/experiment/kept_models.py": [
        defect("the first of several is taken", "            return _the_one(folder, own, every)",
               "            return own[0]", "test_several_of_one_method"),
    ],
    "recbole_cold/leaks/subject.py": [
        defect("the check of leaks goes on without it", 'if self.config["init_from"] is not None:',
               "if False:", "test_by_the_check_of_leaks"),
    ],
}  # fmt: skip
