"""The memory of a history."""

from defects import defect

TESTS = "tests/backbone/test_mimn.py"
LOGIT = "test_the_logit_is_an_mlp_of_what_the_memory_says"
DEFECTS = {
    "recbole_cold/backbone/mimn.py": [
        defect("what was just written is read",
               'read_bd = torch.einsum("bm,bmd->bd", read_bm, old.slots)',
               'read_bd = torch.einsum("bm,bmd->bd", read_bm, '
               "written(old.slots, write_bm, torch.sigmoid(erase), added_bd))", LOGIT),
        defect("names of slots do not count",
               "near_bm = 0.5 * (near_bm + F.cosine", "near_bm = 0.5 * (near_bm * 0 + F.cosine",
               LOGIT),
        defect("the circle turns the other way", "enumerate((-1, 0, 1))",
               "enumerate((1, 0, -1))", f"{LOGIT}[0.5-True]"),
        defect("a plain power",
               "return (power_b[:, None] * moved_bm.clamp(min=1e-16).log()).softmax(dim=1)",
               "raised_bm = moved_bm ** power_b[:, None]\n"
               "    return raised_bm / raised_bm.sum(dim=1, keepdim=True)",
               "test_weights_of_slots_are_shares"),
        defect("weights are no shares", "near_bm).softmax(dim=1)", "near_bm).exp()",
               "test_weights_of_slots_are_shares", LOGIT),
        defect("usage is what was written", "usage + spread(write_bm.detach(), shift_b3, power_b)",
               "usage + write_bm", f"{LOGIT}[0.5-True]"),
        defect("erased everywhere", "slot_bmd * (1.0 - weight_bm1 * erase_bd[:, None])",
               "slot_bmd * (1.0 - erase_bd[:, None])",
               "test_nothing_erased_and_nothing_added_leaves_the_memory", LOGIT),
        defect("the sums forget", "old.sums + write_bm", "write_bm", LOGIT),
        defect("every slot's state moves",
               "return torch.where(is_it, state_bd[:, None], old.channels)",
               "return state_bd[:, None].expand_as(old.channels)",
               "test_a_step_moves_the_state_of_one_slot", f"{LOGIT}[0.5-True]"),
        defect("padding is a row", "self.step(x_bd, memory)[0].where(there_b, memory)",
               "self.step(x_bd, memory)[0]", LOGIT),
        defect("a sum of squares of usage",
               "(usage_bm - usage_bm.mean(dim=1, keepdim=True)).square()", "usage_bm.square()",
               "test_even_use_costs_nothing", f"{LOGIT}[0.5-True]"),
    ],
    "properties/backbone/MIMN.yaml": [
        defect("another number of slots", "mimn_slots: 4", "mimn_slots: 5", "test_default_sizes"),
    ],
}  # fmt: skip
