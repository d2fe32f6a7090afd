"""What callbacks are told, in which order, and that nothing they do reaches the run."""

import random

import pytest
import torch

from recbole_cold.errors import Interrupted, UserError
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Request
from recbole_cold.training.callbacks import Callback, CallbackList

HOOKS = ["run_begins", "run_ends", "stage_begins", "stage_ends", "step", "epoch", "phase_scored"]


class Everything(Callback):
    """Writes down every call; asks for metrics."""

    wants_epoch_metrics = True

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name in HOOKS:
            return lambda *values: self.calls.append((name, *values))
        return super().__getattribute__(name)

    def named(self, hook):
        return [values for name, *values in self.calls if name == hook]


@pytest.fixture
def run(tiny_keys, tmp_path):
    """``run("MWUF", [callback], key=value)``: a document; each call has a cache of its own."""
    count = iter(range(100))

    def go(model="MWUF", callbacks=(), cache=None, backbone="DeepFM", folder=None, **keys):
        cache = cache or f"cache-{next(count)}"
        small = {
            "embedding_size": 4, "train_batch_size": 64, "show_progress": False, "seed": 5,
            "matched_row": False, "cache_dir": str(tmp_path / cache),
        }  # fmt: skip
        request = Request(model, "tiny", backbone, overrides={**tiny_keys, **small, **keys})
        return Experiment(request, folder, callbacks=callbacks).run()

    return go


class TestTold:
    def test_stages_steps_epochs_and_phases_in_their_order(self, run):
        told = Everything()
        document = run(callbacks=[told], pretrain_epochs=2)
        seed = document["runs"][0]["seeds"][0]
        assert told.calls[0] == ("run_begins", "MWUF", 5)
        names = [(hook, values[0]) for hook, *values in told.calls if hook not in ("step", "epoch")]
        warm = [
            (hook, name)
            for name in ("warm_a", "warm_b", "warm_c")
            for hook in ("stage_begins", "stage_ends", "phase_scored")
        ]
        learned = [
            (hook, name)
            for name in ("pretrain", "learn")
            for hook in ("stage_begins", "stage_ends")
        ]
        ends = ("run_begins", "MWUF"), ("run_ends", "MWUF")
        assert names == [ends[0], *learned, ("phase_scored", "cold"), *warm, ends[1]]
        scored = {name: phase["metrics"] for name, phase in seed["phases"].items()}
        assert dict(told.named("phase_scored")) == scored
        assert told.named("run_ends") == [["MWUF", 5, scored]]
        assert [record for _, record in told.named("stage_ends")] == seed["stages"]

    def test_steps_count_the_optimizer_steps_of_their_stage(self, run):
        told = Everything()
        document = run(callbacks=[told], pretrain_epochs=2)
        for stage in document["runs"][0]["seeds"][0]["stages"]:
            numbers = [number for name, number in told.named("step") if name == stage["name"]]
            assert numbers == sorted(set(numbers))
            assert numbers[-1:] == [stage["steps"]] or not stage["steps"]

    def test_epochs_have_metrics_only_for_who_wants_them(self, run):
        class Numbers(Callback):
            def __init__(self):
                self.told = []

            def epoch(self, number, metrics):
                self.told.append((number, metrics))

        asking, plain = Everything(), Numbers()
        run(callbacks=[asking, plain], pretrain_epochs=2)
        assert [number for number, _ in asking.named("epoch")] == [1, 2]
        assert all(metrics.keys() >= {"AUC"} for _, metrics in asking.named("epoch"))
        assert plain.told == [(1, {}), (2, {})]

    def test_a_cached_backbone_is_a_stage_without_steps(self, run):
        run(cache="same")
        told = Everything()
        run(callbacks=[told], cache="same")
        assert told.named("stage_ends")[0][1]["cached"] is True
        assert told.named("epoch") == []
        assert told.named("stage_begins")[0] == ["pretrain"]
        assert {name for name, _ in told.named("step")} == {"learn", "warm_a", "warm_b", "warm_c"}

    def test_what_a_resumed_run_has_behind_it_is_not_told_again(self, run, tmp_path):
        class Once(Callback):
            def phase_scored(self, phase, metrics):
                if phase == "warm_a":
                    raise Interrupted

        folder = tmp_path / "run"
        folder.mkdir()
        with pytest.raises(Interrupted):
            run(callbacks=[Once()], cache="one", folder=folder)
        told = Everything()
        run(callbacks=[told], cache="one", folder=folder)
        assert told.named("stage_begins") == [["warm_b"], ["warm_c"]]
        assert [phase for phase, _ in told.named("phase_scored")] == ["warm_b", "warm_c"]
        (ends,) = told.named("run_ends")
        assert list(ends[2]) == ["cold", "warm_a", "warm_b", "warm_c"]


class Vandal(Callback):
    """Changes everything it can reach, and draws random numbers."""

    wants_epoch_metrics = True

    def _spoil(self, *values):
        torch.rand(7)
        random.random()
        for value in values:
            if isinstance(value, dict):
                value.clear()

    run_begins = run_ends = stage_begins = stage_ends = step = epoch = phase_scored = _spoil


class TestHarmless:
    @pytest.mark.parametrize(
        ("backbone", "keys"),
        [
            ("DeepFM", {"dropout_prob": 0.3, "weight_decay": 1e-4}),
            ("DCN", {"dropout_prob": 0.3, "new_item_init": "random"}),  # BatchNorm
        ],
    )
    def test_no_number_changes_whatever_a_callback_does(self, run, numbers, backbone, keys):
        keys = {"backbone": backbone, "pretrain_epochs": 2, **keys}
        spoiled = run(callbacks=[Vandal(), Everything()], **keys)
        assert numbers(spoiled) == numbers(run(**keys))

    def test_others_see_values_that_one_has_changed_whole(self, run):
        told = Everything()
        run(callbacks=[Vandal(), told])
        assert all(metrics for _, metrics in told.named("phase_scored"))

    def test_a_hook_that_nobody_overrides_is_not_called(self, monkeypatch):
        class OnlyPhases(Callback):
            def phase_scored(self, phase, metrics):
                pass

        listed = CallbackList([OnlyPhases(), Callback()])
        assert listed.hear("phase_scored")
        assert not listed.hear("step")
        monkeypatch.setattr("recbole_cold.training.callbacks._call", None)  # cannot be called
        listed.tell("step", "pretrain", 1)
        assert not listed.want_epoch_metrics


class TestErrors:
    def test_an_exception_ends_the_run_with_the_name_of_the_class(self, run):
        class Careless(Callback):
            def stage_begins(self, stage):
                if stage == "learn":
                    raise KeyError("nowhere")

        with pytest.raises(UserError) as raised:
            run(callbacks=[Careless()])
        assert str(raised.value) == (
            "callback Careless raised KeyError in its stage_begins: 'nowhere'"
        )
        assert isinstance(raised.value.__cause__, KeyError)

    def test_an_interruption_is_one(self):
        class Enough(Callback):
            def step(self, stage, number):
                raise Interrupted

        with pytest.raises(Interrupted):
            CallbackList([Enough()]).tell("step", "pretrain", 1)

    @pytest.mark.parametrize(
        ("wrong", "told"), [(Vandal, "the class Vandal"), (print, "<built-in function print>")]
    )
    def test_what_is_no_callback_is_refused_before_anything_runs(self, wrong, told):
        with pytest.raises(UserError, match=rf"instances of .*Callback, but one is {told}"):
            CallbackList([wrong])
