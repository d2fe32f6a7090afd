"""Scales of float fields."""

from defects import defect

TESTS = "tests/data/test_numbers.py"
SOME = True
DEFECTS = {
    "recbole_cold/data/numbers.py": [
        defect("the logarithm has a unit", "np.log(np.abs(values)) - np.log(unit))",
               "np.log(np.abs(values)))", "test_the_unit_of_a_field_does_not_matter",
               "test_the_logarithm_by_hand"),
        defect("zeros count for the median", "size = np.abs(values[values != 0])",
               "size = np.abs(values)", "test_the_logarithm_is_taken_where_the_tail_is_heavy"),
        defect("no field is wide", "if largest / WIDE > median:", "if False:",
               "test_the_logarithm_is_taken_where_the_tail_is_heavy"),
        defect("the range of large numbers is none", "values.max())\n    if not high / 2 - low / 2",
               "values.max())\n    if not high - low",
               "test_no_number_is_too_large"),
        defect("values beyond the range are read as they are",
               "/ (high - low)).clip(0.0, 1.0)", "/ (high - low))",
               "test_minmax_is_the_seen_range",
               "test_what_is_beyond_the_seen_range_is_clipped_and_counted"),
        defect("one value outshouts the rest", ".clip(-MOST_SDS, MOST_SDS).astype(np.float32)",
               ".astype(np.float32)", "test_one_value_among_many_does_not_outshout_the_rest"),
        defect("nobody counts what ends at five deviations",
               "outside |= np.abs(self._share(values) - self.mean) > MOST_SDS * self.sd", "pass",
               "test_one_value_among_many_does_not_outshout_the_rest"),
        defect("gaps are the smallest value", "np.where(np.isnan(share), self.mean, share)",
               "np.where(np.isnan(share), 0.0, share)",
               "test_gaps_take_the_mean_of_what_was_seen"),
        defect("gaps are fitted", "    values = values[~np.isnan(values)]\n", "",
               "test_gaps_take_the_mean_of_what_was_seen",
               "test_a_field_without_variation_says_nothing"),
        defect("the deviation is that of a sample of twice the size", "float(share.std()))",
               "float(share.std()) / 2)", "test_seen_values_have_mean_0_and_deviation_1"),
        defect("a list in normalize_field is for all",
               "return field in listed if listed else bool(config[\"normalize_all\"])",
               "return bool(listed or config[\"normalize_all\"])", "test_who_asks"),
        defect("gaps are the mean with themselves", "values[~gaps].mean(), values)",
               "np.nanmax(values), values)", "test_gaps_are_the_mean_of_all_values", "test_range"),
    ],
}  # fmt: skip
