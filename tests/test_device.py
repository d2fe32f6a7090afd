"""The device of a run: only the chosen one is touched, and what is made for it gets there unasked.

No card is needed. On one, every method's suite runs: tests/model, with ``pytest -m gpu``.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration, deterministic

from recbole_cold import seeding
from recbole_cold.device import repeatable, scored_at_once, sent, sizes_of, sums_at
from recbole_cold.registry import methods
from recbole_cold.store import load_state, save_state
from recbole_cold.testing import Bench
from recbole_cold.testing._bench import SEED
from recbole_cold.training.meter import Meter
from recbole_cold.training.trainer import Trainer

HERE = Path(__file__).parent
SECOND = torch.device("cuda", 1)
# What opens a context on a card, or asks one for something.
OF_CARDS = (
    "init", "_lazy_init", "current_device", "set_device", "device", "synchronize", "manual_seed",
    "manual_seed_all", "get_rng_state", "get_rng_state_all", "set_rng_state", "set_rng_state_all",
    "reset_peak_memory_stats", "max_memory_allocated", "memory_allocated", "mem_get_info",
    "get_device_name", "get_device_properties", "current_stream",
)  # fmt: skip
FEWER = {"CVAR": {"cvar_iters": 2}, "AVAEW": {"avaew_iters": 2}, "CSDM": {"csdm_iters": 2},
         "RML": {"rml_epochs": 2}}  # fmt: skip

# Of their steps no card is asked anything, and nothing is sent in them.
ASK_NOTHING = ("Base", "DropoutNet", "MetaE", "GMEA", "GMEG", "GMEP", "MAP", "ItemBias")


@pytest.fixture
def cards(monkeypatch):
    """Two cards that are not there: what was asked of them, as (function, device, value)."""
    asked, at = [], []

    @contextlib.contextmanager
    def current(device):
        at.append(device)
        yield
        at.pop()

    def note(name, answer=None):
        def called(*args):
            device = next((a for a in args if isinstance(a, torch.device)), at[-1] if at else None)
            value = next((a for a in args if not isinstance(a, torch.device)), None)
            asked.append((name, device, value))
            return answer

        return called

    for name in OF_CARDS:
        monkeypatch.setattr(torch.cuda, name, note(name, torch.arange(4, dtype=torch.uint8)))
    monkeypatch.setattr(torch.cuda, "device", current)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return asked


# ------------------------------------------------------------------------------- random state
def test_the_generator_of_the_chosen_card_is_seeded_and_kept(cards):
    seeding.seed_layers(3, "learn", device=SECOND)
    state = seeding.layer_state(SECOND)
    seeding.restore_layers(state, SECOND)
    assert [(name, device) for name, device, _ in cards] == [
        ("manual_seed", SECOND), ("get_rng_state", SECOND), ("set_rng_state", SECOND)
    ]  # fmt: skip
    assert cards[0][2] == seeding.derive(3, "learn") == torch.initial_seed()


def test_a_state_of_the_cpu_leaves_a_card_as_it_is(cards):
    cpu = torch.device("cpu")
    seeding.seed_layers(3, "learn", device=cpu)
    state = seeding.layer_state(cpu)
    first = torch.rand(3)
    seeding.restore_layers(state, SECOND)
    assert torch.equal(torch.rand(3), first)
    assert not cards


def test_all_cards_in_use_are_meant_where_none_is_named(cards, monkeypatch):
    seeding.restore_layers(seeding.layer_state())
    seeding.seed_layers(3)
    assert not cards
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    seeding.restore_layers(seeding.layer_state())
    seeding.seed_layers(3)
    assert [name for name, _, _ in cards] == [
        "get_rng_state_all", "set_rng_state_all", "manual_seed_all"
    ]  # fmt: skip


def test_a_run_on_the_cpu_asks_no_card_for_anything(cards, tmp_path):
    """On a machine that has two: a process per trial would have a context on the first one."""
    bench = Bench(methods()["MetaE"], {"pretrain_epochs": 1}, tmp_path)
    method, dataset = bench.build("DeepFM")
    trainer = Trainer(method, SEED, tmp_path / "state.pt")
    trainer.pretrain()
    trainer.learn()
    assert trainer.evaluate("cold", dataset.split["test"])["metrics"]
    assert trainer.resume()
    assert "peak_gpu_memory_mb" not in trainer.journal["stages"][0]
    assert not cards


# ------------------------------------------------------------------------------- costs
def test_the_peak_of_a_card_is_that_of_the_stage(cards, monkeypatch):
    """Meters within each other hide no peak, as with the memory of the process."""
    peak = [300.0]
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda card: peak[0] * 2**20)
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda card: peak.__setitem__(0, 100.0)
    )
    around = Meter(device=SECOND)
    assert around.read()["peak_gpu_memory_mb"] == 100.0
    peak[0] = 250.0
    within = Meter({"peak_gpu_memory_mb": 120.0}, SECOND)
    assert within.read()["peak_gpu_memory_mb"] == 120.0
    assert around.read()["peak_gpu_memory_mb"] == 250.0
    assert {(name, device) for name, device, _ in cards} == {("synchronize", SECOND)}
    assert "peak_gpu_memory_mb" not in Meter(device=torch.device("cpu")).read()


# ------------------------------------------------------------------------------- resume
def test_a_run_that_goes_on_on_another_device_says_so(tmp_path, caplog):
    bench, state_path = Bench(methods()["Base"], {}, tmp_path), tmp_path / "state.pt"
    method, _ = bench.build("DeepFM")
    Trainer(method, SEED, state_path).pretrain()
    for device, said in (("cpu", False), ("cuda", True)):
        save_state(state_path, {**load_state(state_path), "device": device})
        caplog.clear()
        assert Trainer(bench.build("DeepFM")[0], SEED, state_path).resume()
        assert ("was written on 'cuda' and goes on on 'cpu'" in caplog.text) == said


# ------------------------------------------------------------------------------- sizes and sums
def test_batches_that_are_scored_follow_the_device_unless_told():
    cpu, card = torch.device("cpu"), torch.device("cuda")
    assert scored_at_once({"eval_batch_size": "auto"}, cpu) == sizes_of(cpu).scored == 4096
    assert scored_at_once({"eval_batch_size": "auto"}, card) == sizes_of(card).scored > 4096
    assert scored_at_once({"eval_batch_size": 7}, card) == 7


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_sums_at_places(device):
    place, value = torch.tensor([2, 0, 2, 1]), torch.tensor([1.0, 2.0, 4.0, 8.0]).double()
    found = sums_at(place.to(device), value.to(device), 4)
    assert (found.shape, found.dtype) == ((4,), torch.float64)
    by_hand = torch.zeros(4).double().index_add_(0, place, value)
    assert by_hand.tolist() == [2.0, 8.0, 5.0, 0.0]
    assert device == "meta" or torch.equal(found, by_hand)


def test_sums_on_a_card_are_in_one_order_and_the_caller_finds_torch_as_it_was():
    def now():
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            deterministic.fill_uninitialized_memory,
        )

    before = now()
    with repeatable(torch.device("cpu")):
        assert now() == before == (False, False, True)
    with pytest.raises(ZeroDivisionError), repeatable(SECOND):
        assert now() == (True, True, False)
        raise ZeroDivisionError
    assert now() == before


def test_what_is_sent_is_pinned_on_the_card_that_gets_it(cards, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    order = torch.arange(3)
    assert sent(order, torch.device("cpu")) is order
    assert not pinned
    assert sent(order, torch.device("meta")).device.type == "meta"
    assert pinned[0] is order


def test_the_flag_that_every_batch_asks_for_stays_on_the_cpu(tmp_path):
    method, _ = Bench(methods()["CVAR"], {}, tmp_path).build("DeepFM")
    method.new_items_started.fill_(True)
    moved = method.to("meta")
    assert moved.new_vectors.device.type == "meta"
    assert moved.new_items_started.device.type == "cpu"
    assert bool(moved.new_items_started)
    assert "new_items_started" in moved.state_dict()


# ------------------------------------------------------------------------------- whole runs
def on_a_pretended_card(name: str, folder: Path, **keys) -> dict:
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this version of torch has no device that is written in Python")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    done = subprocess.run(
        [sys.executable, str(HERE / "pretended_run.py"), name, str(folder), json.dumps(keys)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def of_steps(found: dict, what: str, stage: str) -> set[str]:
    """Lines, RecBole's among them, that wait (send) as often as there are steps, or half as
    often."""
    at_least = max(3, found["steps"][stage] // 2)
    return {line for line, n in found[what][stage].items() if n >= at_least}


def asks_nothing(found: dict) -> bool:
    """Whether no step of pre-training and learning waits, or sends anything but its own batch."""
    assert min(found["steps"]["pretrain"], found["steps"]["learn"] or 3) >= 3
    stages = ("pretrain", "learn")
    waits, sent = (
        set().union(*(of_steps(found, what, stage) for stage in stages))
        for what in ("waits", "sent")
    )
    return not waits and all("pin_memory" in line for line in sent)


def test_a_whole_run_on_a_card_mixes_no_devices_and_no_step_waits(tmp_path):
    """Batches of rows and episodes are sent, and nothing is asked back before the end of a fit."""
    keys = {"pretrain_epochs": 1, "metae_batch_items": 4, "train_batch_size": 100, "warm_epochs": 1}
    found = on_a_pretended_card("MetaE", tmp_path, **keys)
    assert found["differs"].keys() == {"cold", "warm_a", "warm_b", "warm_c"}
    assert set(found["differs"].values()) == {0.0}
    assert found["steps"]["learn"] >= 3 and asks_nothing(found)
    assert of_steps(found, "sent", "pretrain") == set()  # an epoch's order is sent once


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_runs_on_a_card(name, tmp_path):
    """Its scores are those of the CPU, where sums are in the same order: EmerG's are not."""
    # More steps than what GME asks once, for its graph.
    steps = {"metae_epochs": 3} if name.startswith("GME") else {}
    found = on_a_pretended_card(name, tmp_path, **FEWER.get(name, steps))
    assert found["finite"]
    assert name not in ASK_NOTHING or asks_nothing(found)
    assert max(found["differs"].values()) <= (1e-6 if name == "EmerG" else 0.0)
