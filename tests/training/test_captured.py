"""Steps that are replayed give the numbers of steps that are taken one operation after the other.

No card is needed: a recorder writes the operations down and does them again, and what a step reads
beside them, such as a number of Python, does not change then. On a card: ``pytest -m gpu``.
"""

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import torch
from pretended_graph import PretendedRecorder
from torch import nn
from torch.utils import backend_registration

from recbole_cold.errors import Interrupted, UserError
from recbole_cold.model._fit import Fit, Step
from recbole_cold.registry import methods
from recbole_cold.testing import Bench
from recbole_cold.testing._bench import SEED
from recbole_cold.training import captured
from recbole_cold.training.captured import BEFORE, Captured, taken, why_not
from recbole_cold.training.optimizers import optimizers_of
from recbole_cold.training.trainer import Trainer

HERE = Path(__file__).parents[1]
COMMON = {"train_batch_size": 100, "pretrain_epochs": 4}
EPISODES = {"metae_batch_items": 4, "metae_epochs": 3, "metae_block_size": 2}
# Method -> its fits that are recorded.
RECORDED = {
    "Base": {"pretrain"},
    "DropoutNet": {"pretrain"},
    "MetaE": {"pretrain", "learn"},
    **{name: {"pretrain", "learn"} for name in ("GMEA", "GMEG", "GMEP")},
}


def keys_of(name: str) -> dict:
    """Dropout, and enough batches of a size to be recorded."""
    dropout = {"dropout_prob": 0.2} if methods()[name].network is None else {}
    return {**COMMON, **dropout, **(EPISODES if "learn" in RECORDED.get(name, ()) else {})}


@pytest.fixture
def recorders(monkeypatch):
    """Recorders of steps on the CPU; those that were made."""
    made = []

    def make():
        made.append(PretendedRecorder())
        return made[-1]

    monkeypatch.setattr(captured, "recorder_of", lambda device: make)
    return made


@pytest.fixture
def build(tmp_path):
    folders = count()

    def make(name="Base", backbone="DeepFM", **keys):
        folder = tmp_path / str(next(folders))
        return Bench(methods()[name], {**keys_of(name), **keys}, folder).build(backbone)

    return make


def trained(method, **options):
    """The state of a method, and of the generators, after pre-training and learning."""
    trainer = Trainer(method, SEED, **options)
    trainer.resume()
    trainer.pretrain()
    trainer.learn()
    state = {**method.state_dict(), "generator": torch.get_rng_state()}
    if method.device.type == "cuda":
        state["generator of the card"] = torch.cuda.get_rng_state(method.device)
    return state, trainer


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


# ------------------------------------------------------------------------------- equal numbers
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name.startswith("GME") else ())
        for name in RECORDED
    ],
)
def test_replayed_steps_give_the_same_numbers(build, recorders, name):
    """Dropout is on and draws on; batches of another size, at the end of an epoch, come between."""
    expected, _ = trained(build(name)[0])
    assert recorders == []
    found, _ = trained(build(name, cuda_graph=True)[0])
    assert same(found, expected)
    assert len(recorders) == len(RECORDED[name])
    assert all(each.tape.replays >= 3 for each in recorders)


@pytest.mark.parametrize("stop", [BEFORE - 1, BEFORE + 3])
def test_a_run_goes_on_between_replays(build, recorders, tmp_path, stop):
    expected, _ = trained(build()[0])
    asked = Counter()

    def now() -> bool:
        asked["batches"] += 1
        return asked["batches"] == stop

    state = tmp_path / "state.pt"
    with pytest.raises(Interrupted):
        trained(build(cuda_graph=True)[0], state_path=state, stop=now)
    assert same(trained(build(cuda_graph=True)[0], state_path=state)[0], expected)
    assert [each.tape.replays > 0 for each in recorders] == [stop > BEFORE, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", RECORDED)
def test_replayed_steps_give_the_same_numbers_on_a_card(build, monkeypatch, tmp_path, name):
    """Bit for bit, with dropout, and with a stop between two replays."""
    keys, replays, replay = {"device": "cuda"}, Counter(), captured.CudaRecorder.replay

    def counted(self):
        replays[id(self._graph)] += 1
        replay(self)

    expected, _ = trained(build(name, **keys)[0])
    with monkeypatch.context() as patch:
        patch.setattr(captured.CudaRecorder, "replay", counted)
        found, _ = trained(build(name, **keys, cuda_graph=True)[0])
    assert replays.total() >= 3 * len(RECORDED[name])
    asked = Counter()

    def now() -> bool:
        asked["batches"] += 1
        return asked["batches"] == BEFORE + 3

    state = tmp_path / "state.pt"
    with pytest.raises(Interrupted):
        trained(build(name, **keys, cuda_graph=True)[0], state_path=state, stop=now)
    resumed, _ = trained(build(name, **keys, cuda_graph=True)[0], state_path=state)
    for each in (found, resumed):
        del each["generator"]
        assert same(each, {key: value for key, value in expected.items() if key != "generator"})


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED)
def test_what_is_recorded_asks_a_card_for_nothing(name, tmp_path):
    """On a card written in Python, which refuses to record what waits for it or is sent to it."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this version of torch has no device that is written in Python")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    words = [name, str(tmp_path), json.dumps(keys_of(name))]
    done = subprocess.run(
        [sys.executable, str(HERE / "pretended_capture.py"), *words],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["differs"] == [] and told["fits"] == sorted(RECORDED[name])
    assert min(told["replays"]) >= 3


# ------------------------------------------------------------------------------- one fit
class Rows:
    """Batches of numbers."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def inputs(self):
        return (self.value,)

    def of_inputs(self, value):
        return Rows(value)


class Fitted:
    """Two steps of one parameter each, taken by ``Captured``; ``loss`` of the first."""

    def __init__(self, loss=None, **step) -> None:
        self.first, self.second = (nn.Parameter(torch.ones(3)) for _ in range(2))
        loss = loss or (lambda rows: (self.first * rows.value.sum()).square().sum())
        self.steps = [
            Step(loss, [self.first], 0.1, **step),
            Step(lambda rows: (self.second.sum(), rows.value.mean()), [self.second], 0.1),
        ]
        self.fit = Fit("learn", self.steps, [], capturable=True)
        self.optimizers = optimizers_of(self.steps, nn.Module(), "dense")
        self.recorder = PretendedRecorder()
        self.plain = partial(taken, self.fit, self.optimizers, nullcontext)
        self.captured = Captured(self.fit, self.plain, self.recorder, "Mine")

    def take(self, captured=True, sizes=(4,) * 6 + (2,) + (4,)):
        """Losses by batch."""
        draw = torch.Generator().manual_seed(3)
        found = []
        for size in sizes:
            rows = Rows(torch.rand(size, generator=draw))
            taking = self.captured(rows) if captured else self.plain(rows)
            found.append([(step, [part.detach() for part in parts]) for step, parts in taking])
        # Looked at when all are taken, as on a card.
        return [[(step, *map(float, parts)) for step, parts in batch] for batch in found]


def losses(found):
    return [[parts for _, *parts in batch] for batch in found]


def test_losses_are_those_of_their_batch_and_step():
    one, other = Fitted(), Fitted()
    found = one.take()
    assert losses(found) == losses(other.take(captured=False))
    assert all([step for step, *_ in batch] == one.steps for batch in found)
    assert len({parts[0][0] for parts in losses(found)}) == len(found)  # each batch its own
    assert torch.equal(one.first, other.first) and torch.equal(one.second, other.second)
    assert one.recorder.tape.replays == 4  # of the eight, three came before and one is smaller


def test_shapes_that_come_first_three_times_are_recorded():
    """A run that goes on may begin with the last batch of an epoch."""
    one, other = Fitted(), Fitted()
    sizes = (2, 4, 4, 4, 4, 2, 2, 4)
    assert losses(one.take(sizes=sizes)) == losses(other.take(False, sizes))
    assert one.recorder.tape.replays == 2
    assert torch.equal(one.first, other.first)


def test_nothing_is_done_while_it_is_recorded():
    """The pretended graph keeps what CUDA keeps; else these tests would show nothing."""
    one = Fitted()
    one.take(sizes=(4,) * BEFORE)
    before = one.first.detach().clone()
    one.captured._record(Rows(torch.ones(4)))
    assert torch.equal(one.first, before)


def test_a_number_of_python_is_recorded_as_it_was():
    """What ``capturable`` must not be said of: the pretended graph shows it."""
    number = [0.0]

    def make():
        fitted = Fitted(lambda rows: fitted.first.sum() * number[0])
        return fitted

    def counting(fitted, captured):
        number[0] = 0.0
        found = []
        for _ in range(BEFORE + 3):
            number[0] += 1.0
            found += losses(fitted.take(captured, sizes=(4,)))
        return found

    assert counting(make(), True) != counting(make(), False)


def test_a_recording_that_fails_ends_the_run(build, recorders, monkeypatch):
    def refuse(self, work):
        try:
            raise RuntimeError("operation not permitted when stream is capturing.\nmore of it")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(PretendedRecorder, "record", refuse)
    with pytest.raises(UserError) as caught:
        trained(build(cuda_graph=True)[0])
    assert str(caught.value) == (
        "the steps of 'pretrain' of Base cannot be recorded as a CUDA graph: operation not "
        "permitted when stream is capturing; use cuda_graph=False, in a new process"
    )


# ------------------------------------------------------------------------------- which fits
def test_why_a_fit_is_not_recorded():
    one = Fitted()
    assert why_not(one.fit, one.optimizers) == ""
    assert "wait" in why_not(replace(one.fit, capturable=False), one.optimizers)
    slower = Fitted(decay=0.5)
    assert "learning rate" in why_not(slower.fit, slower.optimizers)
    table = nn.Embedding(5, 2)
    steps = [Step(lambda rows: table(rows.value).sum(), [table.weight], 0.1)]
    lazy = optimizers_of(steps, nn.Sequential(table), "lazy")
    assert "lazily" in why_not(Fit("learn", steps, [], capturable=True), lazy)


@pytest.mark.parametrize(
    ("name", "backbone", "keys", "recorded"),
    [
        ("Base", "DIN", {}, set()),  # its histories are as long as the longest of a batch
        ("Base", "DeepFM", {"table_update": "lazy"}, set()),
        ("DropoutNet", "DIN", {}, set()),
        ("MetaE", "DeepFM", {"metae_inner": "per_row_batchmean"}, {"pretrain"}),
        ("MWUF", "DeepFM", {}, {"pretrain"}),
        ("MeLU", "MeLU", {}, set()),
    ],
)
def test_what_is_not_recorded_says_so_once(
    build, recorders, caplog, name, backbone, keys, recorded
):
    caplog.set_level(logging.INFO)
    method, _ = build(name, backbone, **keys, cuda_graph=True)
    taking = captured.Capturing(True, "float32", method.device, name)
    fits = [*method.pretrain_fits(), *method.learn_fits()] * 2
    found = set()
    for fit in fits:
        steps = taking.steps_of(
            fit, optimizers_of(fit.steps, method, method.config["table_update"])
        )
        found |= {fit.name} if isinstance(steps, Captured) else set()
    assert found == recorded
    told = Counter(line for line in caplog.messages if "without a CUDA graph" in line)
    assert set(told.values()) <= {1} and len(told) == len({fit.name for fit in fits} - recorded)


@pytest.mark.parametrize("name", ["Base", "DropoutNet", "MetaE"])
def test_a_click_model_that_copies_from_the_host_is_not_recorded(name, tmp_path):
    """FiGNN makes a mask of its own on the CPU."""
    for backbone, capturable in (("FiGNN", False), ("FM", True)):
        method, _ = Bench(methods()[name], {}, tmp_path / backbone).build(backbone)
        fits = [*method.pretrain_fits(), *method.learn_fits()]
        assert {fit.capturable for fit in fits} == {capturable}


def test_a_run_without_a_card_says_that_there_is_nothing_to_record(caplog):
    fitted, cpu = Fitted(), torch.device("cpu")
    for asked in (False, True):
        assert "cuda_graph" not in caplog.text
        taking = captured.Capturing(asked, "float32", cpu, "Mine")
        steps = taking.steps_of(fitted.fit, fitted.optimizers)
        assert not isinstance(steps, Captured)
    assert "cuda_graph=True is for a GPU; this run is on 'cpu'" in caplog.text
