"""Episodes: blocks in time, caps, draws and masks."""

from defects import defect

TESTS = "tests/data/test_episodes.py"
DEFECTS = {
    "recbole_cold/data/episodes.py": [
        defect("blocks go backwards in time",
               "keys = (ids[index],) if time is None else (time[index], ids[index])",
               "keys = (ids[index],) if time is None else (-time[index], ids[index])",
               "test_blocks_by_hand", "test_blocks_of_an_item_share_no_row_and_go_forward_in_time"),
        defect("masked places point at other items' rows",
               "position = np.where(mask_tjk, position, start_t[:, None, None])",
               "position = np.where(mask_tjk, position, 0)",
               "test_short_items_are_masked_not_dropped"),
        defect("always the same pair of blocks", "self.pairs[epoch % len(self.pairs)]",
               "self.pairs[0]", "test_each_epoch_meets_every_item_once_with_its_pair_of_blocks"),
        defect("the order is not the seed's", "torch.randperm(len(self._ids), generator=generator)",
               "torch.randperm(len(self._ids))",
               "test_order_is_the_seeds_and_a_late_start_is_the_same_tail"),
        defect("a cap mixes the order in time",
               "draw_tk.topk(size, dim=1, largest=False).indices.sort(dim=1).values",
               "draw_tk.topk(size, dim=1, largest=False).indices",
               "test_a_cap_takes_a_part_of_each_block_anew_in_time_order",
               "test_few_shot_rows_are_the_items_own_and_go_forward_in_time"),
        defect("a cap larger than the block cuts", "if cap is not None and cap < rows_tk.shape[1]:",
               "if cap is not None:\n            cap = min(cap, rows_tk.shape[1] - 1)",
               "test_caps_larger_than_the_blocks_change_nothing"),
        defect("always the smallest support",
               "int(torch.randint(len(self.sizes), (), generator=draw))", "0",
               "test_few_shot_sizes_hold_for_a_whole_batch_and_all_come_up"),
        defect("items with few rows give all to the support", "(n_t * size // whole).clamp(min=1)",
               "n_t.clamp(max=size)", "test_few_shot_items_with_few_rows_give_what_they_have"),
        defect("late rows are drawn more seldom",
               "draw_tk = torch.rand(len(count_t), width, generator=generator)",
               "draw_tk = torch.rand(len(count_t), width, generator=generator) * "
               "torch.arange(1, width + 1)", "test_few_shot_subsets_are_drawn_evenly"),
        defect("a late start draws other rows", "Generator().manual_seed(seeds[position])",
               "generator", "test_few_shot_late_start_gives_the_same_tail"),
        defect("padding counts as rows",
               "int(self.support_mask_tk.sum() + self.query_mask_tk.sum())",
               "int(self.support_mask_tk.numel() + self.query_mask_tk.numel())",
               "test_length_counts_real_rows_only"),
        defect("the mean is over padding too", "mask_tk.sum(dim=1).clamp(min=1.0)",
               "mask_tk.shape[1]", "test_masked_mean_by_hand"),
        defect("padded places are summed", "return (value_tk * mask_tk).sum(dim=1)",
               "return value_tk.sum(dim=1)", "test_padding_has_no_influence_and_no_gradient"),
    ],
    "recbole_cold/model/metae.py": [
        defect("a block is query twice", "PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0))",
               "PAIRS = ((0, 1), (1, 2), (2, 3), (3, 1))",
               "test_every_block_is_support_once_and_query_once"),
    ],
}  # fmt: skip
