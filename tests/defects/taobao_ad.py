"""Taobao's display ads: outcomes turned round, lost users, NULL as a brand, samples with all."""

from defects import defect

TESTS = "tests/converters/test_taobao_ad.py"
SOME = True
DEFECTS = {
    "recbole_cold/converters/taobao_ad.py": [
        defect("a row without a click is one", '("1", "0"): "0", ("0", "1"): "1"',
               '("1", "0"): "1", ("0", "1"): "0"', "test_lines"),
        defect("both outcomes pass", 'CLICK = {', 'CLICK = {("1", "1"): "1", ',
               "test_lines_of_another_form[raw_sample-2-change2-line 3 of .* has nonclk '1' and "
               "clk '1', not 0 and 1 or 1 and 0; unpack it anew]"),
        defect("any time is one", "        if not (time.isascii() and time.isdigit()):",
               "        if False:",
               "test_lines_of_another_form[raw_sample-1-change4-has the time '2017-05-07', no "
               "seconds]"),
        defect("users without a profile go", "            if not keep:", "            if True:",
               "test_lines", "test_users_without_a_profile_are_kept_or_left_out_and_said"),
        defect("all of them stay", "            if not keep:", "            if False:",
               "test_users_without_a_profile_are_kept_or_left_out_and_said"),
        defect("each of their rows is a user", "            if user not in without:",
               "            if True:",
               "test_users_without_a_profile_are_kept_or_left_out_and_said"),
        defect("NULL is a brand", 'return "" if cell == "NULL" else cell', "return cell",
               "test_lines"),
        defect("any price is a number", "        return math.isfinite(float(cell))",
               "        return bool(float(cell)) or True",
               "test_lines_of_another_form[ad_feature-1-change7-has the price 'nan', no number]"),
        defect("the other name is unknown", '{"noclk": "nonclk"}', "{}",
               "test_the_same_from_every_form_of_the_download[noclk]"),
        defect("rows are remembered", "    for user, time, ad, position, no_click, click in rows:",
               "    for user, time, ad, position, no_click, click in list(rows):",
               "test_memory_does_not_grow_with_the_rows"),
    ],
    "recbole_cold/converters/_source.py": [
        defect("a .tar is text", "!= _TAR:", "!= b'':",
               "test_the_same_from_every_form_of_the_download[tar.gz]"),
        defect("the first of a .tar is taken, whatever it is",
               """ and not member.name.rpartition("/")[2].startswith("._")""", "",
               "test_the_same_from_every_form_of_the_download[tar.gz]"),
    ],
    "recbole_cold/converters/_drawing.py": [
        defect("a sample has all items", "return _those(keeps, rows, UNSEEN, left_out)",
               "return iter(rows)",
               "test_a_sample_has_the_features_of_its_users_and_ads_alone"),
        defect("a sample has all users", "return _those(self.keeps, rows, NOT_DRAWN, left_out)",
               "return iter(rows)",
               "test_a_sample_has_the_features_of_its_users_and_ads_alone"),
    ],
    "properties/dataset/taobao-ad.yaml": [
        defect("rows of users without a profile are dropped by RecBole",
               "filter_inter_by_user_or_item: False", "filter_inter_by_user_or_item: True",
               "test_a_run_reads_what_was_converted"),
    ],
}  # fmt: skip
