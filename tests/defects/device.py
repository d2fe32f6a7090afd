"""The device of a run: what is asked of which card, and what waits for it."""

from defects import defect

TESTS = "tests/test_device.py"
SOME = True
DEFECTS = {
    "recbole_cold/seeding.py": [
        defect("the current card's generator is kept", "torch.cuda.get_rng_state(device)",
               "torch.cuda.get_rng_state()",
               "test_the_generator_of_the_chosen_card_is_seeded_and_kept"),
        defect("the current card is seeded",
               "        with torch.cuda.device(device):\n            ",
               "        if True:\n            ",
               "test_the_generator_of_the_chosen_card_is_seeded_and_kept"),
        defect("any card that is there is meant", "        if torch.cuda.is_initialized():\n"
               "            state[", "        if torch.cuda.is_available():\n            state[",
               "test_all_cards_in_use_are_meant_where_none_is_named"),
    ],
    "recbole_cold/training/meter.py": [
        defect("a card's peak is read on every machine",
               "device if device is not None and device.type == \"cuda\" else None",
               "torch.device(\"cuda\", 0)", "test_a_run_on_the_cpu_asks_no_card_for_anything"),
        defect("a meter hides the card's peak before it",
               "    before.append(_peak_of_card(card))\n", "    before.append(0.0)\n",
               "test_the_peak_of_a_card_is_that_of_the_stage"),
    ],
    "recbole_cold/training/trainer.py": [
        defect("another device goes on in silence", "if before and before != now:", "if False:",
               "test_a_run_that_goes_on_on_another_device_says_so"),
    ],
    "recbole_cold/device.py": [
        defect("batches are as large everywhere",
               "return _OF_CPU if device.type == \"cpu\" else _OF_CARD", "return _OF_CPU",
               "test_batches_that_are_scored_follow_the_device_unless_told"),
        defect("a copy waits", ".to(device, non_blocking=True)", ".to(device)",
               "test_a_whole_run_on_a_card_mixes_no_devices_and_no_step_waits"),
        defect("torch stays as it was made",
               "torch._C._set_deterministic_algorithms(before, warn_only=only_warned)", "pass",
               "test_sums_on_a_card_are_in_one_order_and_the_caller_finds_torch_as_it_was"),
    ],
    "recbole_cold/data/episodes.py": [
        defect("the rows of an episode are counted where they are",
               "        if self.real is not None:\n",
               "        if False:\n",
               "test_a_whole_run_on_a_card_mixes_no_devices_and_no_step_waits"),
    ],
    "recbole_cold/model/_method.py": [
        defect("the flag moves with the rest", "        self.new_items_started = started\n", "",
               "test_the_flag_that_every_batch_asks_for_stays_on_the_cpu"),
    ],
}  # fmt: skip
