"""Dice, its statistics, and the MLP around it."""

from defects import defect

TESTS = "tests/backbone/test_layers.py"
DEFECTS = {
    "recbole_cold/backbone/_layers.py": [
        defect("no slope on the left", "torch.addcmul(alpha_w, share, 1.0 - alpha_w) * x",
               "share * x",
               "test_dice_by_the_formula", "test_the_slope_is_learned_and_starts_at_zero"),
        defect("a slope that starts at a quarter", "nn.Parameter(torch.zeros(width))",
               "nn.Parameter(torch.full((width,), 0.25))",
               "test_the_slope_is_learned_and_starts_at_zero"),
        defect("the biased running variance", "variance * n / (n - 1.0).clamp(min=1.0)",
               "variance", "test_without_a_mask_it_is_batch_norm"),
        defect("padding in the mean", "(flat * real).sum(dim=0) / n.clamp(min=1.0)",
               "flat.mean(dim=0)", "test_masked_entries_have_no_part_in_statistics",
               "test_mlp_hands_the_mask_to_dice"),
        defect("an empty batch moves the statistics", "self.momentum * (n > 0).to(mean.dtype)",
               "torch.tensor(self.momentum, dtype=mean.dtype)",
               "test_no_real_entry_moves_nothing"),
        defect("statistics move in any case", "        if self.moving:\n",
               "        if True:\n", "test_fixed_statistics"),
        defect("the last batch counts as much as all before it",
               "weight = n / self.seen.clamp(min=1.0)", "weight = 0.5",
               "test_settled_statistics_are_those_of_all_batches"),
        defect("settled with dropout", "    with evaluating(model):\n", "    if True:\n",
               "test_settled_statistics_are_those_of_all_batches"),
        defect("an activation on the output", "            x = layer(x)\n        return x",
               "            x = layer(x)\n        return torch.relu(x)",
               "test_mlp_has_no_activation_at_the_end"),
    ],
}  # fmt: skip
