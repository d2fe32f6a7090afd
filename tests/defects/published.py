"""Keys for the form that published programs give RecBole's models."""

from defects import defect

TESTS = "tests/backbone/test_published.py"
SOME = True
DEFECTS = {
    "recbole_cold/backbone/_published.py": [
        defect("BatchNorm of the width that comes in", "nn.BatchNorm1d(layer.out_features)",
               "nn.BatchNorm1d(layer.in_features)",
               "test_it_is_behind_every_linear_layer_of_the_mlps[DeepFM]"),
        defect("a second BatchNorm", "if type(module) is MLPLayers and not module.use_bn:",
               "if type(module) is MLPLayers:",
               "test_who_has_it_or_has_no_mlp_stays_as_it_is[DCN]"),
        defect("sequences keep their weights",
               '[linear.token_embedding_table, *getattr(linear, "token_seq_embedding_table", ())]',
               "[linear.token_embedding_table]",
               "test_weights_of_tokens_change_nothing_and_those_of_numbers_do[DeepFM]"),
        defect("numbers are vectors",
               "if kinds[field] != FeatureType.FLOAT]", "if True]",
               "test_the_linear_part_alone_reads_them",
               "test_a_model_without_a_linear_part_reads_none"),
        defect("the linear part has no numbers",
               "FMFirstOrderLinear(config, dataset).to(model.device)",
               "FMFirstOrderLinear(config, WithoutNumbers(dataset)).to(model.device)",
               "test_the_linear_part_alone_reads_them"),
    ],
    "recbole_cold/backbone/_seam.py": [
        defect("the ID's weight stays", 'config["id_first_order"] != "off" and not alone)',
               'config["id_first_order"] != "off")', "test_the_new_items_id_has_none_either"),
        defect("no BatchNorm", '    if wrapped and config["mlp_batch_norm"]:', "    if False:",
               "test_the_released_protocol_has_all_three"),
    ],
}  # fmt: skip
