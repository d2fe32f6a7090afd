"""What the conformance suites have in common: promises that hold wherever a method runs."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from recbole_cold import seeding
from recbole_cold.data.phases import run_phases
from recbole_cold.errors import Interrupted
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.model.base import Base
from recbole_cold.testing._bench import SEED, Bench, changed, snapshot, starts_with
from recbole_cold.training.trainer import Trainer

# The largest difference that another order of the same float32 sums may make.
CLOSE = {"rtol": 1e-4, "atol": 1e-6}
# Buffers of the base class that no stage changes.
FIXED_BUFFERS = ("new_ids", "old_ids", "new_index", "shift_index", "count_range")


class Suite:
    """Tests that both suites have; ``MethodConformance`` explains the attributes.

    Attributes:
        rule: configuration keys that make the suite what it is; ``options`` go over them.
        device: on which everything runs, as the key of that name.
    """

    method: ClassVar[type]
    rule: ClassVar[dict[str, Any]] = {}
    device: ClassVar[str] = "cpu"
    options: ClassVar[dict[str, Any]] = {}
    trains: ClassVar[set[str] | None] = None
    trains_warm: ClassVar[set[str] | None] = None
    trains_backbone: ClassVar[bool] = False
    backbones: ClassVar[Sequence[str]] = ("DeepFM",)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if getattr(getattr(cls, "method", None), "network", None) is not None:
            cls.backbones, cls.trains_backbone = (cls.method.__name__,), True

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "backbone" in metafunc.fixturenames:
            metafunc.parametrize("backbone", self.backbones)

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, request: pytest.FixtureRequest, tmp_path_factory) -> Bench:
        """The method on the suite's data, with the runs that several tests look at."""
        asked = request.cls
        folder = tmp_path_factory.mktemp(asked.method.__name__)
        keys = {"device": asked.device, **asked.rule, **asked.options}
        return Bench(asked.method, keys, folder)

    # ---------------------------------------------------------------- what may move
    def _owned(self, method: ColdStartRecommender) -> set[str]:
        names = {name for name, _ in method.named_parameters()}
        shared = {"new_vectors", "new_first_order"}
        return {name for name in names - shared if not starts_with(name, ["backbone"])}

    def _may_move(self, method: ColdStartRecommender, warm: bool = False) -> set[str]:
        declared = self.trains if not warm or self.trains_warm is None else self.trains_warm
        return self._owned(method) if declared is None else declared

    @staticmethod
    def _backbone_changes(method: ColdStartRecommender, changes: set[str]) -> set[str]:
        """Changes inside the backbone; ``batch_norm: moving`` lets BatchNorm statistics drift."""
        names = {name for name in changes if starts_with(name, ["backbone"])}
        if method.config["batch_norm"] == "moving":
            parameters = {name for name, _ in method.named_parameters()}
            statistics = ("running_mean", "running_var", "num_batches_tracked")
            names = {n for n in names if n in parameters or n.rpartition(".")[2] not in statistics}
        return names

    # ---------------------------------------------------------------- on every backbone
    def test_runs_through_all_phases_with_finite_scores(self, bench: Bench, backbone: str):
        """Cold, then every warm-up set; the scores of a phase are not those of the one before.

        A method that serves the cold phase only (``serves = ("cold",)``) repeats its scores.
        """
        run = bench.kept(backbone)
        scores = run.scores
        assert list(scores) == [phase.name for phase in run.split.phases]
        for phase, values in scores.items():
            assert torch.isfinite(values).all(), f"{phase}: scores that are no numbers"
        warms = "warm" in getattr(self.method, "serves", ("cold", "warm"))
        for before, after in itertools.pairwise(scores):
            same = torch.equal(scores[before], scores[after])
            assert same != warms, f"{after} {'learned nothing' if warms else 'is not served'}"

    def test_predictions_are_probabilities(self, bench: Bench, backbone: str):
        """One number in [0, 1] per row, also for a single row."""
        method = bench.kept(backbone).method
        method.set_mode("evaluate")
        for size in (1, 7):
            index = torch.arange(size, device=method.device)
            with torch.no_grad():
                values = method.predict(method.rows.batch(index))
            assert values.shape == (size,), f"predict gives {tuple(values.shape)} for {size} rows"
            assert bool(((values >= 0) & (values <= 1)).all()), "predict leaves [0, 1]"

    def test_learning_leaves_the_backbone_as_it_was(self, bench: Bench, backbone: str):
        """Every parameter and every buffer of it, bit for bit (BatchNorm's statistics too)."""
        if self.trains_backbone:
            pytest.skip("this method trains the backbone by design (trains_backbone)")
        run = bench.kept(backbone)
        moved = changed(run.states["pretrain"], run.states["learn"])
        moved = self._backbone_changes(run.method, moved)
        assert not moved, f"learn moved {sorted(moved)}; leave the backbone out of trainable()"

    def test_learning_moves_what_it_declares_and_nothing_else(self, bench: Bench, backbone: str):
        """Of the method's own parameters: all of ``trains``, no other."""
        run = bench.kept(backbone)
        moved = changed(run.states["pretrain"], run.states["learn"])
        may_move = self._may_move(run.method)
        stray = {n for n in moved & self._owned(run.method) if not starts_with(n, may_move)}
        assert not stray, f"learn moved {sorted(stray)}, which is not in `trains`"
        idle = {p for p in self.trains or () if not any(starts_with(n, [p]) for n in moved)}
        assert not idle, f"`trains` names {sorted(idle)}, which learn did not move"
        fixed = moved & set(FIXED_BUFFERS)
        assert not fixed, f"learn changed {sorted(fixed)}, which belongs to the base class"

    # ---------------------------------------------------------------- scores
    def test_items_without_interactions_have_finite_scores(self, bench: Bench):
        """In the item file only, without a title, or not even in the item file."""
        method = bench.kept(self.backbones[0]).method
        method.set_mode("evaluate")
        seen = torch.zeros(method.n_ids, dtype=torch.bool, device=method.device)
        seen[method.rows.columns[method.id_field].long()] = True
        ids = torch.cat([torch.nonzero(~seen)[:, 0], method.new_ids])
        batch = method.rows.batch(torch.zeros_like(ids))
        batch[method.id_field] = ids
        with torch.no_grad():
            scores = method.predict(batch)
        assert torch.isfinite(scores).all(), f"items {ids[~torch.isfinite(scores)].tolist()}"

    def test_scores_ignore_order_and_batching(self, bench: Bench):
        """A row's score does not depend on the rows it is scored with."""
        run = bench.kept(self.backbones[0])
        index = torch.arange(len(run.method.rows.columns[run.method.label_field]))
        order = torch.randperm(len(index), generator=seeding.generator(0, "order"))
        index, order = index.to(run.method.device), order.to(run.method.device)
        shuffled = run.trainer.score(index[order])
        torch.testing.assert_close(shuffled, run.trainer.score(index)[order], **CLOSE)
        alone = torch.cat([run.trainer.score(index[n : n + 1]) for n in range(5)])
        torch.testing.assert_close(alone, run.trainer.score(index[:5]), **CLOSE)

    def test_scoring_leaves_no_trace(self, bench: Bench):
        """Every parameter and buffer stays bit for bit, and so do the scores of a second time."""
        run = bench.kept(self.backbones[0])
        index = run.method.rows.index(run.split["test"])
        before, first = snapshot(run.method), run.trainer.score(index)
        moved = changed(before, snapshot(run.method))
        assert not moved, f"scoring changed {sorted(moved)}"
        assert torch.equal(run.trainer.score(index), first), "a second time gives other scores"

    # ---------------------------------------------------------------- repeatable
    def test_same_seed_same_numbers(self, bench: Bench):
        """Bit for bit, whatever the state of torch's global generator is."""
        first, (again, _) = bench.kept(self.backbones[0]), bench.again(self.backbones[0])
        for phase, scores in first.scores.items():
            assert torch.equal(scores, again.scores[phase]), f"scores differ in phase {phase}"
        last = list(first.states)[-1]
        assert not changed(first.states[last], again.states[last])

    def test_an_interrupted_run_ends_with_equal_numbers(self, bench: Bench, tmp_path: Path):
        """Stopped within every stage and continued by a fresh object each time."""
        backbone = self.backbones[0]
        whole, _ = bench.again(backbone)
        batches: dict[int, int] = {}
        data = None
        for _ in range(1000):
            method, dataset = bench.build(backbone, data=data)
            data = dataset
            trainer = Trainer(method, SEED, tmp_path / "state.pt")

            def stop(trainer: Trainer = trainer) -> bool:
                stage = len(trainer.journal["stages"])
                batches[stage] = batches.get(stage, 0) + 1
                return batches[stage] in (1, 4, 9)

            trainer.stop = stop
            trainer.resume()
            try:
                results = run_phases(trainer, dataset.split, trainer.evaluate)
                break
            except Interrupted:
                continue
        worked = [n for n, stage in enumerate(trainer.journal["stages"]) if stage["steps"]]
        assert set(worked) <= batches.keys(), "a stage ran without asking whether to stop"
        unequal = changed(list(whole.states.values())[-1], snapshot(method))
        assert not unequal, f"after interruptions {sorted(unequal)} is not what it is without"
        # As texts, which tell every bit apart and in which NaN is NaN.
        assert json.dumps(results) == json.dumps(whole.results), (
            "after interruptions results differ"
        )

    def test_a_cached_backbone_changes_no_number(self, bench: Bench):
        """Pre-training may be skipped: it leaves nothing outside of the backbone."""
        backbone = self.backbones[0]
        first, cache = bench.again(backbone)
        if not first.method.pretrain_fits():
            pytest.skip("this method trains nothing before `learn`")
        cached = bench.run(backbone, cache=cache, n_phases=1)
        assert cached.trainer.journal["stages"][0]["cached"]
        assert not changed(bench.kept(backbone).states["learn"], cached.states["learn"])

    def test_equal_pretraining_keys_mean_equal_backbones(self, bench: Bench):
        """A method whose ``pretrain_key`` is empty shares the plain backbone with all others."""
        run = bench.kept(self.backbones[0])
        if self.method.network is not None:
            pytest.skip("a network of its own shares no backbone with other methods")
        plain, _ = bench.build(self.backbones[0], method=Base)
        Trainer(plain, SEED).pretrain()
        ours = {n: v for n, v in run.states["pretrain"].items() if n.startswith("backbone.")}
        theirs = {n: v for n, v in snapshot(plain).items() if n.startswith("backbone.")}
        differs = bool(changed(ours, theirs))
        if run.method.pretrain_key():
            assert differs, "pretrain_key() is not empty, but the backbone is the plain one"
        else:
            assert not differs, "pre-training differs from the plain one; say how in pretrain_key()"
