"""The trainer against bare loops; budgets, lazy tables, counters, and stops at any batch."""

import copy
import json
import math
import mmap
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from recbole.data.interaction import Interaction
from torch import nn

from recbole_cold import seeding
from recbole_cold.config import make_config
from recbole_cold.data.phases import run_phases
from recbole_cold.errors import Diverged, Interrupted, UserError
from recbole_cold.experiment.data_store import run_data
from recbole_cold.model._fit import Fit, Step
from recbole_cold.store import save_state
from recbole_cold.training import checks, optimizers
from recbole_cold.training import meter as meter_module
from recbole_cold.training import trainer as trainer_module
from recbole_cold.training.backbone_cache import BackboneCache
from recbole_cold.training.checks import only_moving, share_budget
from recbole_cold.training.meter import Meter
from recbole_cold.training.optimizers import Optimizers
from recbole_cold.training.trainer import Trainer

METHODS = ["Base", "DropoutNet", "MetaE", "MWUF", "CVAR"]
WARM = ["warm_a", "warm_b", "warm_c"]


@pytest.fixture(scope="module")
def datasets():
    return {}


@pytest.fixture
def build(tiny_keys, datasets):
    """``build("MWUF", key=value)``: a fresh method on the data set ``tiny``."""

    def make(method="Base", backbone="DeepFM", **keys):
        small = {"embedding_size": 4, "train_batch_size": 64, "show_progress": False}
        config = make_config(
            method, "tiny", backbone, overrides={**tiny_keys, **small, "seed": 5, **keys}
        )
        key = json.dumps([config["use_count"], config["seed"]])
        if key not in datasets:
            datasets[key] = run_data(config)
        dataset = datasets[key]
        method = config.method_class(config, dataset)
        method.dataset = dataset
        return method

    return make


def same(left, right) -> bool:
    one, other = left.state_dict(), right.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def steps_of(trainer, name):
    return next(s for s in trainer.journal["stages"] if s["name"] == name)


def run_all(method, **options):
    trainer = Trainer(method, method.config["seed"], **options)
    split = method.dataset.split
    results = run_phases(trainer, split, trainer.evaluate)
    return trainer, results


# ------------------------------------------------------------------------- equal to a bare loop
class TestBareLoop:
    """The same rows in the same order through plain PyTorch give the same parameters."""

    @staticmethod
    def joined(method, index):
        """The rows as RecBole's own Interaction, every field joined beforehand."""
        batch = method.rows.batch(index)
        backbone = method.backbone.model
        fields = [
            *backbone.token_field_names,
            *backbone.token_seq_field_names,
            *backbone.float_field_names,
            method.label_field,
        ]
        return Interaction({field: batch[field] for field in fields})

    def bare(self, method, epochs):
        model, config = method.backbone.model, method.config
        seeding.seed_layers(config["seed"], "pretrain", 0, "pretrain")
        optimizer = torch.optim.Adam(
            model.parameters(),
            lr=config["learning_rate"],
            weight_decay=config["weight_decay"],
            fused=True,  # the other forms round in another order
        )
        model.train()
        losses = []
        for epoch in range(epochs):
            shuffle = seeding.generator(config["seed"], "pretrain", 0, "pretrain", epoch)
            order = torch.randperm(len(method.train_index), generator=shuffle)
            for part in method.train_index[order].split(config["train_batch_size"]):
                optimizer.zero_grad()
                loss = model.calculate_loss(self.joined(method, part))
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return losses

    @pytest.mark.parametrize(
        ("backbone", "keys"),
        [
            ("DeepFM", {"pretrain_epochs": 2}),
            ("DeepFM", {"dropout_prob": 0.3, "weight_decay": 0.01}),
            ("WideDeep", {}),
            ("DCN", {}),  # with its own regulariser in the loss
        ],
    )
    def test_an_epoch_is_that_of_a_bare_loop(self, build, backbone, keys):
        ours, plain = build("Base", backbone, **keys), build("Base", backbone, **keys)
        assert same(ours, plain)
        Trainer(ours, 5).pretrain()
        self.bare(plain, keys.get("pretrain_epochs", 1))
        for (name, left), right in zip(
            ours.backbone.named_parameters(), plain.backbone.parameters(), strict=True
        ):
            assert torch.equal(left, right), name
        assert not torch.equal(
            ours.backbone.id_table(), build("Base", backbone, **keys).backbone.id_table()
        )

    def test_step_by_step(self, build, monkeypatch):
        """The loss before each of the steps, not only where the loop ends."""
        ours, plain = build(), build()
        seen = []
        loss = ours.backbone.calculate_loss
        monkeypatch.setattr(
            ours.backbone, "calculate_loss", lambda b: (seen.append(loss(b)), seen[-1])[1]
        )
        Trainer(ours, 5).pretrain()
        wanted = self.bare(plain, 1)
        assert len(seen) == math.ceil(len(plain.train_index) / 64) == len(wanted)
        assert [s.item() for s in seen] == pytest.approx(wanted, abs=1e-5)

    def test_a_warm_phase_is_a_bare_loop_over_the_new_rows(self, build):
        ours, plain = build(warm_epochs=3), build()
        index = ours.rows.index(ours.dataset.split["warm_a"])
        for method in (ours, plain):
            trainer = Trainer(method, 5)
            trainer.pretrain()
            trainer.learn()
        trainer = Trainer(ours, 5)
        trainer.warm_up("warm_a", index)
        plain.set_mode("evaluate")
        moving = [plain.new_vectors, plain.new_first_order]
        optimizer = torch.optim.Adam(moving, lr=1e-3)
        for epoch in range(3):
            shuffle = seeding.generator(5, "warm_a", 0, "fine-tune", epoch)
            for part in index[torch.randperm(len(index), generator=shuffle)].split(64):
                batch = plain.rows.batch(part)
                optimizer.zero_grad()
                slot = plain.new_index[batch["item_id"]]
                logits = plain.backbone.logits(batch, moving[0][slot], moving[1][slot])
                loss = nn.functional.binary_cross_entropy_with_logits(logits, batch["label"])
                loss.backward()
                optimizer.step()
        assert steps_of(trainer, "warm_a")["steps"] == 3 * math.ceil(len(index) / 64)
        torch.testing.assert_close(ours.new_vectors, plain.new_vectors, rtol=0, atol=2e-6)
        torch.testing.assert_close(ours.new_first_order, plain.new_first_order, rtol=0, atol=2e-6)
        assert (ours.new_vectors != Trainer(build(), 5).method.new_vectors).any()

    def test_another_seed_is_another_order(self, build):
        one, other = build(), build()
        Trainer(one, 5).pretrain()
        Trainer(other, 6).pretrain()
        assert not same(one, other)


# ------------------------------------------------------------------------- budgets
def fit(n_batches, steps=1, epochs=1, repeats=1, batches=None):
    parts = [Step(lambda b: None, [], 0.1)] * steps
    return Fit("fit", parts, batches or range(n_batches), epochs=epochs, repeats=repeats)


class TestShareBudget:
    def test_one_fit_gets_all(self):
        assert share_budget(10, [fit(3)]) == [10]

    def test_in_proportion(self):
        assert share_budget(30, [fit(4), fit(2)]) == [20, 10]

    def test_what_is_left_goes_to_the_largest(self):
        assert share_budget(10, [fit(1), fit(1, epochs=2, repeats=10)]) == [1, 9]
        assert share_budget(31, [fit(4), fit(2)]) == [21, 10]

    def test_no_fit_goes_without_while_there_is_room(self):
        assert share_budget(3, [fit(1), fit(100), fit(1, steps=1)]) == [1, 1, 1]
        assert share_budget(2, [fit(1), fit(100), fit(1, steps=1)])[1] == 2

    def test_only_whole_batches_of_steps(self):
        assert share_budget(11, [fit(3, steps=2)]) == [10]
        assert share_budget(1, [fit(3, steps=2)]) == [0]

    @pytest.mark.parametrize("budget", [0, 1, 7, 200, 1001])
    def test_never_more_than_the_budget(self, budget):
        fits = [fit(3), fit(5, repeats=3), fit(2, steps=2)]
        shares = share_budget(budget, fits)
        assert sum(shares) <= budget
        assert sum(shares) > budget - 2
        assert all(share % len(f.steps) == 0 for share, f in zip(shares, fits, strict=True))

    def test_nothing_to_learn_on_stays_nothing(self):
        assert share_budget(10, [fit(0), fit(0)]) == [0, 0]
        assert share_budget(10, []) == []


class TestBudgets:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("n", [2, 14])
    def test_warm_steps_is_exactly_the_number_of_steps(self, build, method, n, monkeypatch):
        made = []
        step = Optimizers.step
        monkeypatch.setattr(Optimizers, "step", lambda self: (made.append(1), step(self))[1])
        trainer, _ = run_all(build(method, warm_steps=n))
        for name in WARM:
            assert steps_of(trainer, name)["steps"] == n
        before = sum(s["steps"] for s in trainer.journal["stages"] if s["name"] not in WARM)
        assert len(made) == before + 3 * n  # counted where they are made, too

    def test_an_odd_budget_for_two_steps_a_batch_is_rounded_down(self, build):
        trainer, _ = run_all(build("MWUF", warm_steps=7))
        assert [steps_of(trainer, name)["steps"] for name in WARM] == [6, 6, 6]

    def test_no_steps_leave_the_cold_rows(self, build):
        method = build("Base", warm_steps=0)
        trainer, results = run_all(method)
        assert [steps_of(trainer, name)["steps"] for name in WARM] == [0, 0, 0]
        assert results["cold"] == results["warm_a"] == results["warm_c"]

    @pytest.mark.parametrize("epochs", [1, 3])
    def test_warm_epochs_are_passes(self, build, epochs):
        trainer, _ = run_all(build("Base", warm_epochs=epochs, train_batch_size=20))
        rows = len(trainer.method.dataset.split["warm_a"])
        for name in WARM:
            assert steps_of(trainer, name)["steps"] == epochs * math.ceil(rows / 20)
            assert steps_of(trainer, name)["rows"] == epochs * rows


# ------------------------------------------------------------------------- tables
class TestTables:
    def one_batch(self, method):
        return method.rows.batch(method.train_index[:16])

    def step(self, method, batch, optimizer):
        optimizer.zero_grad()
        method.backbone.calculate_loss(batch).backward()
        optimizer.step()

    @pytest.mark.parametrize("update", ["lazy", "dense"])
    def test_lazy_moves_only_rows_of_the_batch(self, build, update):
        method = build("Base", table_update=update)
        whole = Step(method.backbone.calculate_loss, list(method.backbone.parameters()), 0.1)
        optimizer = Optimizers(whole, method, update)
        self.step(method, method.rows.batch(method.train_index[16:64]), optimizer)
        before = method.backbone.id_table().detach().clone()
        batch = self.one_batch(method)
        self.step(method, batch, optimizer)
        moved = (method.backbone.id_table() != before).any(dim=1)
        inside = torch.zeros(method.n_ids, dtype=torch.bool)
        inside[batch["item_id"]] = True
        seen_before = torch.zeros(method.n_ids, dtype=torch.bool)
        seen_before[method.rows.batch(method.train_index[16:64])["item_id"]] = True
        assert moved[inside].all()
        if update == "lazy":
            assert not moved[~inside].any()
        else:  # the moments of the first batch move rows that the second one does not have
            assert moved[seen_before & ~inside].any()
            assert not moved[~seen_before & ~inside].any()

    def test_first_step_is_the_same_either_way(self, build):
        """Without moments there is nothing that could move a row that is not in the batch."""
        after = []
        for update in ("lazy", "dense"):
            method = build("Base", table_update=update)
            whole = Step(method.backbone.calculate_loss, list(method.backbone.parameters()), 0.01)
            self.step(method, self.one_batch(method), Optimizers(whole, method, update))
            after.append(method.backbone.id_table().detach())
        # A step is 0.01; the two add epsilon at different places.
        torch.testing.assert_close(*after, rtol=0, atol=1e-4)

    def test_the_l2_term_of_lazy_tables_is_that_of_the_batchs_rows(self, build):
        """They move otherwise than without it; rows that are not in the batch stay as they are."""
        after = []
        for decay in (0.0, 0.1):
            method = build("Base", table_update="lazy", weight_decay=decay)
            start = method.backbone.id_table().detach().clone()
            step = Step(method.backbone.calculate_loss, list(method.parameters()), 0.1, decay)
            optimizer = Optimizers(step, method, "lazy")
            for _ in range(2):  # Adam's first step tells only signs
                self.step(method, self.one_batch(method), optimizer)
            moved = (method.backbone.id_table() != start).any(dim=1)
            inside = self.one_batch(method)["item_id"].unique()
            assert moved.nonzero()[:, 0].tolist() == inside.tolist()
            after.append(method.backbone.id_table().detach())
            assert ("(L2 of rows with a gradient)" in optimizer.name) == (decay > 0)
        assert not torch.equal(*after)

    @pytest.mark.parametrize(
        ("update", "name"), [("dense", "dense Adam"), ("lazy", "dense Adam, lazy on")]
    )
    def test_the_record_says_which_ran(self, build, update, name):
        trainer = Trainer(build("Base", table_update=update), 5)
        trainer.pretrain()
        assert steps_of(trainer, "pretrain")["optimizer"].startswith(name)

    @pytest.mark.parametrize("method", METHODS)
    def test_lazy_works_for_every_method(self, build, method):
        _, results = run_all(build(method, table_update="lazy"))
        assert all(math.isfinite(r["metrics"]["LogLoss"]) for r in results.values())

    def test_auto_is_lazy_for_big_tables_only(self, monkeypatch):
        small, big = nn.Embedding(10, 2), nn.Embedding(20, 2)
        monkeypatch.setattr(optimizers, "_LAZY_FROM_ROWS", 15)
        both = nn.ModuleList([small, big])
        optimizer = Optimizers(Step(lambda b: None, list(both.parameters()), 0.1), both, "auto")
        assert optimizer.name == "dense Adam, lazy on 1 tables"
        assert (small.sparse, big.sparse) == (False, True)
        decaying = Step(lambda b: None, list(both.parameters()), 0.1, 1e-6)
        name = "dense Adam, lazy on 1 tables (L2 of rows with a gradient)"
        assert Optimizers(decaying, both, "auto").name == name


# ------------------------------------------------------------------------- scores
class TestScore:
    @pytest.mark.parametrize("method", METHODS)
    def test_score_is_predict_row_by_row(self, build, method):
        trainer, _ = run_all(build(method))
        index = trainer.method.rows.index(trainer.method.dataset.split["test"])[:40]
        scores = trainer.score(index)
        trainer.method.set_mode("evaluate")
        with torch.no_grad():
            rows = [
                trainer.method.predict(trainer.method.rows.batch(row)) for row in index.split(1)
            ]
        torch.testing.assert_close(scores, torch.cat(rows), rtol=0, atol=1e-6)
        assert ((scores > 0) & (scores < 1)).all()

    def test_order_and_batch_size_do_not_matter(self, build):
        trainer, _ = run_all(build(backbone="DCN"))
        index = trainer.method.rows.index(trainer.method.dataset.split["test"])
        scores = trainer.score(index)
        order = torch.randperm(len(index), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(trainer.score(index[order]), scores[order], rtol=0, atol=1e-6)
        trainer.config["eval_batch_size"] = 7
        torch.testing.assert_close(trainer.score(index), scores, rtol=0, atol=1e-6)

    def test_scoring_changes_nothing_and_draws_nothing(self, build):
        trainer, _ = run_all(build(backbone="DCN", dropout_prob=0.5))
        before, state = copy.deepcopy(trainer.method.state_dict()), torch.get_rng_state()
        index = trainer.method.rows.index(trainer.method.dataset.split["test"])
        assert torch.equal(trainer.score(index), trainer.score(index))
        assert torch.equal(torch.get_rng_state(), state)
        after = trainer.method.state_dict()
        assert all(torch.equal(after[key], before[key]) for key in before)

    def test_no_rows_are_no_numbers_and_a_warning(self, build):
        trainer, _ = run_all(build())
        result = trainer.evaluate("nobody", [])
        assert result["rows"] == result["positives"] == 0
        assert all(math.isnan(value) for value in result["metrics"].values())
        assert result["warnings"]
        assert "reliability" not in result

    def test_bins_of_a_reliability_diagram_are_kept(self, build):
        trainer, results = run_all(build())
        index = trainer.method.rows.index(trainer.method.dataset.split["test"])
        scores, labels = trainer.score(index), trainer.scoring.labels(index)
        kept = results["warm_c"]["reliability"]
        assert sum(kept["rows"]) == results["warm_c"]["rows"] and len(kept["rows"]) == 15
        for name, column in (("predicted", scores), ("clicked", labels.double())):
            whole = sum((v or 0) * n for v, n in zip(kept[name], kept["rows"], strict=True))
            assert whole == pytest.approx(float(column.sum()), abs=1e-5 * len(index))

    def test_a_phase_is_scored_once(self, build, monkeypatch):
        trainer, results = run_all(build())
        monkeypatch.setattr(trainer, "score", None)
        assert trainer.evaluate("cold", [1, 2]) == results["cold"]


# ------------------------------------------------------------------------- what moves, and modes
class TestModes:
    @pytest.mark.parametrize("method", ["Base", "MWUF", "CVAR"])
    def test_warm_phases_keep_batch_norm_and_backbone_bit_for_bit(self, build, method):
        trainer = Trainer(build(method, "DCN", dropout_prob=0.2), 5)
        trainer.pretrain()
        trainer.learn()
        kept = copy.deepcopy(trainer.method.backbone.state_dict())
        assert any("running_mean" in key for key in kept)
        for name in WARM:
            trainer.warm_up(name, trainer.method.dataset.split[name])
        after = trainer.method.backbone.state_dict()
        assert all(torch.equal(after[key], kept[key]) for key in kept)

    def test_moving_statistics_move(self, build):
        trainer = Trainer(build("Base", "DCN", batch_norm="moving"), 5)
        trainer.pretrain()
        trainer.learn()
        kept = copy.deepcopy(trainer.method.backbone.state_dict())
        trainer.warm_up("warm_a", trainer.method.dataset.split["warm_a"])
        moved = [
            key
            for key, value in trainer.method.backbone.state_dict().items()
            if not torch.equal(value, kept[key])
        ]
        assert moved
        assert all("running" in key or "num_batches" in key for key in moved)

    @pytest.mark.parametrize("rule", ["frozen", "moving"])
    @pytest.mark.parametrize("drops", [False, True])
    def test_dropout_and_statistics_are_two_keys(self, build, rule, drops):
        """While a fit runs, behind frozen tables; before, one switch moved both."""
        keys = {"batch_norm": rule, "backbone_dropout": drops, "dropout_prob": 0.5}
        for name, stage in (("Base", "warm_a"), ("MWUF", "learn")):
            method = build(name, "DCN", **keys)
            trainer = Trainer(method, 5)
            trainer.pretrain()
            if stage != "learn":
                trainer.learn()
            seen = self.modes_of_layers(method.backbone)
            if stage == "learn":
                trainer.learn()
            else:
                trainer.warm_up(stage, method.dataset.split[stage])
            assert seen == {("Dropout", drops, True), ("BatchNorm1d", rule == "moving", True)}

    @staticmethod
    def modes_of_layers(backbone):
        """Filled later: kind and mode of layers that ran with gradients; behind frozen tables?"""
        seen = set()

        def note(part, given, _):
            probed = len(given[0]) <= 8  # frozen views are compared on so many rows
            if torch.is_grad_enabled() and not probed:
                seen.add((type(part).__name__, part.training, backbone._frozen is not None))

        for part in backbone.modules():
            if type(part).__name__ in ("Dropout", "BatchNorm1d"):
                part.register_forward_hook(note)
        return seen

    def test_only_moving_gives_no_gradient_to_others(self):
        layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        with only_moving(layers, [layers[1].weight]):
            layers(torch.ones(1, 2)).sum().backward()
            assert [p.grad is not None for p in layers.parameters()] == [False, False, True, False]
        assert all(p.requires_grad and p.grad is None for p in layers.parameters())

    def test_parameters_move_again_after_an_error(self):
        layer = nn.Linear(2, 2)
        with pytest.raises(KeyError), only_moving(layer, []):
            raise KeyError
        assert all(p.requires_grad for p in layer.parameters())


# ------------------------------------------------------------------------- counters and failures
def touch_40_mib():
    """Pages of its own: malloc may find 40 MiB in what earlier tests left resident."""
    with mmap.mmap(-1, 40 * 2**20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1


class TestRecords:
    def test_counts_of_every_stage(self, build):
        trainer, results = run_all(build("MWUF", pretrain_epochs=2))
        split = trainer.method.dataset.split
        train, warm = len(split["train"]), len(split["warm_a"])
        wanted = {
            "pretrain": (2 * math.ceil(train / 64), 2 * train),
            "learn": (2 * math.ceil(train / 64), train),  # two optimizers meet each batch
            **dict.fromkeys(WARM, (2 * math.ceil(warm / 64), warm)),
        }
        stages = trainer.journal["stages"]
        assert {s["name"]: (s["steps"], s["rows"]) for s in stages} == wanted
        assert [s["name"] for s in stages] == ["pretrain", "learn", *WARM]
        for stage in stages:
            assert stage["seconds"] > 0
            assert stage["cpu_seconds"] > 0
            assert stage["peak_memory_mb"] > 10
            assert stage["cached"] is False
        labels = trainer.method.rows.columns["label"][trainer.method.rows.index(split["test"])]
        for result in results.values():
            assert (result["rows"], result["positives"]) == (len(split["test"]), labels.sum())

    def test_repeated_batches_count_each_time(self, build):
        trainer, _ = run_all(build("CVAR", cvar_iters=3))
        train = len(trainer.method.train_index)
        assert steps_of(trainer, "learn")["steps"] == 3 * math.ceil(train / 64)
        assert steps_of(trainer, "learn")["rows"] == 3 * train

    def test_a_meter_goes_on_where_another_stopped(self):
        meter = Meter({"seconds": 100.0, "cpu_seconds": 50.0, "peak_memory_mb": 1e6})
        read = meter.read()
        assert 100 <= read["seconds"] < 160  # a busy machine may stand still
        assert 50 <= read["cpu_seconds"] < 51
        assert read["peak_memory_mb"] == 1e6

    def test_memory_is_the_peak_of_the_stage(self):
        meter = Meter()
        before = meter.read()["peak_memory_mb"]
        touch_40_mib()
        grown = meter.read()["peak_memory_mb"]
        assert grown >= before + 30
        if Path("/proc/self/clear_refs").exists():
            assert Meter().read()["peak_memory_mb"] <= grown - 20

    def test_a_meter_within_another_hides_no_peak(self):
        """Nor does one that began afterwards hide that of the process."""
        around = Meter()
        before = around.read()["peak_memory_mb"]
        touch_40_mib()
        grown = around.read()["peak_memory_mb"]
        assert grown >= before + 30
        within = Meter()
        assert around.read()["peak_memory_mb"] >= grown
        assert meter_module.peak_memory_mb() >= grown
        if Path("/proc/self/clear_refs").exists():
            assert within.read()["peak_memory_mb"] <= grown - 20

    def test_a_loss_that_is_no_number_is_named(self, build):
        method = build()
        with torch.no_grad():
            method.backbone.id_table()[method.old_ids] = math.nan
        with pytest.raises(UserError, match=r"loss of 'pretrain' is nan in epoch 0, batch 0.*rate"):
            Trainer(method, 5).pretrain()

    @pytest.mark.parametrize("each", [True, False])
    def test_which_part_of_which_step_is_said(self, build, monkeypatch, each):
        """Also where losses are looked at together, as on a GPU."""
        kind = checks.LossCheck
        look = kind.__init__

        def init(self, fit, device):
            look(self, fit, device)
            self._each = each

        monkeypatch.setattr(kind, "__init__", init)
        method, losses = build(), iter([1.0, 2.0, 3.0, math.inf, 5.0, 6.0])
        rows = method.new_vectors
        steps = [
            Step(lambda _: (rows.sum(), rows.sum() * next(losses)), [rows], 0.0, 0.0, ("a", "b")),
            Step(lambda _: rows.sum(), [rows], 0.0),
        ]
        fit = Fit("two", steps, method.row_batches(method.train_index[:150]))
        method.learn_fits = lambda: [fit, fit]
        torch.nn.init.ones_(rows)
        with pytest.raises(
            Diverged, match=r"loss 'b' of 'two' is inf in epoch 0, batch 0, .*1; tr"
        ):
            Trainer(method, 5).learn()

    @pytest.mark.parametrize("of_the_loss", [True, False])
    def test_the_last_good_state_stays(self, build, tmp_path, of_the_loss):
        """A loss, or a gradient, that is no number: what is on disk is from before it."""
        method, path = build(checkpoint_seconds=0), tmp_path / "state.pt"
        trainer, rows = Trainer(method, 5, path), method.new_vectors
        trainer.pretrain()
        bad = [1.0, 1.0, math.nan]
        rows.register_hook(lambda gradient: gradient * (1.0 if of_the_loss else bad[0]))

        def loss(_):
            bad.append(bad.pop(0))
            return rows.sum() * (bad[-1] if of_the_loss else 1.0)

        method.learn_fits = lambda: [
            Fit("bad", [Step(loss, [rows], 0.1)], method.row_batches(method.train_index))
        ]
        said = "batch 2, optimizer step 3" if of_the_loss else "parameters that are no numbers"
        with pytest.raises(Diverged, match=f"'bad' .*{said}.*last good state is '.*state.pt'"):
            trainer.learn()
        again = build()
        kept = Trainer(again, 5, path)
        assert kept.resume()
        assert again.new_vectors.isfinite().all()
        assert kept._pending["position"]["taken"] == (2 if of_the_loss else 1)

    def test_scores_that_are_no_numbers_are_named(self, build):
        trainer = Trainer(build(), 5)
        with torch.no_grad():
            trainer.method.new_vectors.fill_(math.nan)
        with pytest.raises(UserError, match=r"scores are not a number.*learning_rate"):
            trainer.evaluate("cold", trainer.method.dataset.split["test"])


# ------------------------------------------------------------------------- stopped anywhere
class TestStops:
    """Stopped after any batch and continued by a new process: equal to the last bit."""

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("backbone", ["DeepFM", "DCN"])
    def test_continued_after_any_batch(self, build, tmp_path, method, backbone):
        if backbone == "DCN" and method not in ("MWUF", "CVAR"):
            pytest.skip("BatchNorm and dropout are tried with the two that update most")
        keys = {"dropout_prob": 0.3, "train_batch_size": 100, "cvar_iters": 2}
        keys = {key: keys[key] for key in keys if key != "cvar_iters" or method == "CVAR"}
        whole, wanted = run_all(build(method, backbone, **keys))
        path, stops = tmp_path / "state.pt", 0
        while True:
            fresh = build(method, backbone, **keys)
            torch.manual_seed(stops)  # what else draws in the new process must not matter
            calls = iter([False, False, True])
            trainer = Trainer(fresh, 5, path, stop=lambda calls=calls: next(calls, True))
            assert trainer.resume() is (stops > 0)
            split = fresh.dataset.split
            try:
                results = run_phases(trainer, split, trainer.evaluate)
                break
            except Interrupted:
                stops += 1
        assert stops >= 3
        assert results == wanted
        assert same(fresh, whole.method)
        kept = ("name", "steps", "rows", "optimizer")
        assert [[s.get(k) for k in kept] for s in trainer.journal["stages"]] == [
            [s.get(k) for k in kept] for s in whole.journal["stages"]
        ]

    @pytest.mark.parametrize("damage", ["empty", "short", "bit"])
    def test_a_damaged_state_is_said_and_starts_again(self, build, tmp_path, caplog, damage):
        path = tmp_path / "state.pt"
        _, wanted = run_all(build("CVAR"), state_path=path)
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes({"empty": b"", "short": bytes(raw[:500]), "bit": bytes(raw)}[damage])
        again = Trainer(build("CVAR"), 5, path)
        assert again.resume() is False
        assert f"{path}' is" in caplog.text
        assert "starts again from the beginning" in caplog.text
        split = again.method.dataset.split
        assert run_phases(again, split, again.evaluate) == wanted

    def test_a_state_of_another_method_is_refused(self, build, tmp_path):
        run_all(build("CVAR"), state_path=tmp_path / "state.pt")
        with pytest.raises(UserError, match="other code or for other data; delete it"):
            Trainer(build("MWUF"), 5, tmp_path / "state.pt").resume()

    def test_state_is_written_every_so_often(self, build, tmp_path, monkeypatch):
        saved = []
        monkeypatch.setattr(trainer_module, "save_state", lambda path, state: saved.append(state))
        Trainer(build(checkpoint_seconds=0), 5, tmp_path / "a.pt").pretrain()
        batches = math.ceil(len(build().train_index) / 64)
        assert len(saved) == batches + 1  # and one when the stage is over
        assert [s["pending"]["position"]["batch"] for s in saved[:-1]] == list(
            range(1, batches + 1)
        )
        saved.clear()
        Trainer(build(checkpoint_seconds=1e6), 5, tmp_path / "a.pt").pretrain()
        assert len(saved) == 1

    def test_without_a_path_stopping_still_stops(self, build):
        with pytest.raises(Interrupted):
            Trainer(build(), 5, stop=lambda: True).pretrain()


# ------------------------------------------------------------------------- pre-trained backbones
class TestCache:
    @pytest.fixture
    def cache(self, tmp_path):
        return BackboneCache(tmp_path / "cache", lambda method, seed: f"key-{seed}")

    @pytest.mark.parametrize("method", METHODS)
    def test_a_cached_backbone_changes_no_bit_of_what_follows(self, build, cache, method):
        first, trained = run_all(build(method, dropout_prob=0.3), cache=cache)
        second, read = run_all(build(method, dropout_prob=0.3), cache=cache)
        assert read == trained
        assert same(first.method, second.method)
        records = [steps_of(t, "pretrain") for t in (first, second)]
        assert [r["cached"] for r in records] == [False, True]
        assert records[0]["steps"] == records[1]["steps"] > 0
        assert records[0]["rows"] == records[1]["rows"] > 0
        assert records[0]["optimizer"] == records[1]["optimizer"]

    @pytest.mark.parametrize("damage", ["empty", "short", "bit"])
    def test_a_damaged_file_is_said_and_rebuilt(self, build, cache, caplog, damage):
        _, trained = run_all(build(), cache=cache)
        path = cache.folder / "key-5.pt"
        whole = path.read_bytes()
        raw = bytearray(whole)
        raw[-100] ^= 1
        path.write_bytes({"empty": b"", "short": bytes(raw[:-900]), "bit": bytes(raw)}[damage])
        second, again = run_all(build(), cache=cache)
        assert "the backbone is trained again" in caplog.text
        assert again == trained
        assert steps_of(second, "pretrain")["cached"] is False
        third, _ = run_all(build(), cache=cache)
        assert steps_of(third, "pretrain")["cached"] is True

    def test_a_cache_that_cannot_be_written_is_said_and_survived(self, build, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        cache = BackboneCache(tmp_path / "file" / "cache", lambda method, seed: "key")
        trainer, _ = run_all(build(), cache=cache)
        assert "the pre-trained backbone is not cached: cannot write" in caplog.text
        assert len(trainer.journal["stages"]) == 5

    def test_who_comes_second_waits_and_reads(self, build, cache):
        """Two at once train it once; the file of the lock goes with its last holder."""
        methods = [build(), build()]  # building seeds torch's one generator: not at once

        def pretrain(method):
            trainer = Trainer(method, 5, cache=cache)
            trainer.pretrain()
            return steps_of(trainer, "pretrain")["cached"]

        with ThreadPoolExecutor(2) as pool:
            cached = list(pool.map(pretrain, methods))
        assert sorted(cached) == [False, True]
        assert same(*methods)
        assert [path.name for path in cache.folder.iterdir()] == ["key-5.pt"]

    def test_a_stop_ends_the_waiting(self, build, cache):
        method = build()
        with cache.turn(method, 5), pytest.raises(Interrupted):
            Trainer(method, 5, cache=cache, stop=lambda: True).pretrain()
        assert list(cache.folder.iterdir()) == []

    def test_the_place_of_a_dead_process_is_free(self, build, cache):
        code = (
            "import sys; from pathlib import Path\n"
            "from recbole_cold.locks import locked\n"
            "with locked(Path(sys.argv[1]), lambda: False): print('held', flush=True); "
            "sys.stdin.read()"
        )
        lock = cache.folder / "key-5.lock"
        words = [sys.executable, "-c", code, str(lock)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(words, **pipes, text=True) as holder:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(Interrupted):
                Trainer(build(), 5, cache=cache, stop=lambda: True).pretrain()
            holder.kill()
            holder.wait()
        assert lock.exists()
        trainer, _ = run_all(build(), cache=cache)
        assert steps_of(trainer, "pretrain")["cached"] is False
        assert [path.name for path in cache.folder.iterdir()] == ["key-5.pt"]

    def test_a_shared_seed_of_pretraining_is_its_key(self, build, cache):
        trainer, _ = run_all(build(pretrain_seed=9), cache=cache)
        assert trainer.pretrain_seed == 9
        assert [path.name for path in cache.folder.iterdir()] == ["key-9.pt"]


# What a state file with a right checksum may hold instead of a state: ANOTHER run's, or nonsense.
PENDING = {"stage": "learn", "fit": 0, "position": {}, "counts": {}, "meter": {}, "optimizers": [],
           "rng": None}  # fmt: skip
NONSENSE = [
    {"method": 5}, {"method": {}}, {"method": {"a": torch.zeros(1)}}, {"journal": "[]"},
    {"journal": "{"}, {"journal": 5}, {"journal": '{"stages": [5], "results": {}}'},
    {"journal": '{"stages": [], "results": {"cold": 5}}'}, {"pending": 5}, {"pending": {}},
    {"pending": PENDING}, {"kept": 5},
]  # fmt: skip


@pytest.mark.parametrize("part", NONSENSE, ids=str)
def test_a_whole_state_file_of_other_content_is_one_sentence(build, tmp_path, part):
    method = build()
    state = {"journal": '{"stages": [], "results": {}}', "method": method.state_dict(),
             "pending": None, "kept": {}}  # fmt: skip
    save_state(tmp_path / "a.pt", {**state, **part})
    with pytest.raises(UserError, match="was written by other code or for other data"):
        Trainer(method, 5, tmp_path / "a.pt").resume()


@pytest.mark.parametrize("content", [5, [1], {}, {"method": {}}], ids=str)
def test_a_whole_state_file_without_a_state_is_no_traceback(build, tmp_path, content):
    save_state(tmp_path / "a.pt", content)
    try:
        assert Trainer(build(), 5, tmp_path / "a.pt").resume() is False
    except UserError as error:
        assert "was written by other code" in str(error)


@pytest.mark.parametrize("content", [5, {}, {"backbone": {}, "record": "{}"}, {"record": "5"}])
def test_a_cached_backbone_of_other_content_is_trained_again(build, tmp_path, content, caplog):
    method = build()
    cache = BackboneCache(tmp_path, lambda method, seed: "key")
    before = copy.deepcopy(method.backbone.state_dict())
    save_state(tmp_path / "key.pt", content)
    assert cache.load(method, 5) is None
    assert "trained again" in caplog.text
    assert all(torch.equal(before[name], now) for name, now in method.backbone.state_dict().items())


def test_a_cached_backbone_that_fits_in_part_changes_nothing(build, tmp_path):
    method = build()
    cache = BackboneCache(tmp_path, lambda method, seed: "key")
    before = copy.deepcopy(method.backbone.state_dict())
    other = {name: torch.ones_like(value) for name, value in before.items()}
    last = list(other)[-1]
    other[last] = torch.ones(3, 3, 3)
    save_state(tmp_path / "key.pt", {"backbone": other, "record": "{}"})
    assert cache.load(method, 5) is None
    assert all(torch.equal(before[name], now) for name, now in method.backbone.state_dict().items())


# ------------------------------------------------------------------------- before the clock
class TestStartUp:
    def test_once_per_process_and_before_the_first_clock(self, build, monkeypatch):
        """The costs of the first method of a process hold no first use of PyTorch."""
        order = []
        adam, meter = meter_module.FusedAdam, meter_module.Meter
        monkeypatch.setattr(
            meter_module, "FusedAdam", lambda *a, **k: (order.append("Adam"), adam(*a, **k))[1]
        )
        monkeypatch.setattr(
            trainer_module, "Meter", lambda *a: (order.append("clock"), meter(*a))[1]
        )
        meter_module.start_up.cache_clear()
        first = Trainer(build(), 5)
        assert order == ["Adam"]
        Trainer(build(), 5)
        assert order == ["Adam"]
        first.pretrain()
        assert order[:2] == ["Adam", "clock"]

    def test_no_random_state_moves(self):
        meter_module.start_up.cache_clear()
        before = seeding.layer_state()
        meter_module.start_up(torch.device("cpu"))
        assert all(torch.equal(before[k], v) for k, v in seeding.layer_state().items())
