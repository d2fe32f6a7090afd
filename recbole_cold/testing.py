"""The conformance suite: what every cold-start method promises, as tests to inherit.

A method's test file says what the method is, and inherits the rest::

    from recbole_cold.testing import MethodConformance

    class TestMyMethod(MethodConformance):
        method = MyMethod
        trains = {"generator"}      # what `learn` may move; everything else keeps still

It brings its own data, needs no checkout, and runs on the CPU in seconds. The module
needs pytest (``pip install recbole-cold[test]``).
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from recbole_cold import seeding
from recbole_cold.config import ColdConfig, keys_of, read_yaml
from recbole_cold.data.phases import run_phases
from recbole_cold.data.rows import Rows
from recbole_cold.data.split import Split
from recbole_cold.errors import Interrupted
from recbole_cold.experiment.building import build_method, keys_in_source
from recbole_cold.experiment.data_store import run_data
from recbole_cold.keys import BLOCKS, declared, names
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.registry import yaml_of
from recbole_cold.training.backbone_cache import BackboneCache
from recbole_cold.training.trainer import Trainer

SEED = 2020
# The largest difference that another order of the same float32 sums may make.
CLOSE = {"rtol": 1e-4, "atol": 1e-6}
# Buffers of the base class that no stage changes.
FIXED_BUFFERS = ("new_ids", "old_ids", "new_index", "shift_index", "count_range")


# ------------------------------------------------------------------------------- the data
def write_data_set(folder: Path, seed: int = 7) -> dict[str, Any]:
    """Write the atomic files of a tiny seeded data set; the configuration keys that read it.

    36 users; 12 old items, 10 new ones, 4 too rare for either, 3 without any interaction. One new
    item has no title, another is missing in the ``.item`` file. Labels follow tastes for genres.
    """
    rng = np.random.default_rng(seed)
    genres = np.array(["drama", "comedy", "crime", "war"])
    words = np.array(["the", "last", "red", "night", "road", "of", "river"])
    counts = np.r_[np.full(12, 30), rng.integers(16, 22, 10), rng.integers(1, 9, 4), np.zeros(3)]
    counts = counts.astype(int)
    genre = rng.integers(len(genres), size=len(counts))
    taste = rng.normal(size=(36, len(genres)))
    activity = rng.gamma(2.0, size=36)
    item = np.repeat(np.arange(len(counts)), counts)
    user = np.concatenate(
        [rng.choice(36, size=n, replace=False, p=activity / activity.sum()) for n in counts]
    )
    when = 1_000_000 + rng.permutation(len(item))
    label = taste[user, genre[item]] + rng.normal(size=len(item)) > 0
    device = rng.choice(["phone", "desk", "tv"], size=len(item))
    inter = ["user_id:token\titem_id:token\tlabel:float\ttimestamp:float\tdevice:token"]
    inter += [
        f"u{user[n]}\ti{item[n]}\t{int(label[n])}\t{when[n]}\t{device[n]}"
        for n in rng.permutation(len(item))
    ]
    users = ["user_id:token\tage:token\tgender:token\tincome:float"]
    users += [f"u{u}\t{20 + 10 * (u % 4)}\t{'FM'[u % 2]}\t{rng.uniform():.3f}" for u in range(36)]
    items = ["item_id:token\ttitle:token_seq\tyear:token\tgenre:token_seq\tprice:float"]
    for i in rng.permutation(len(counts)):
        title = "" if i == 13 else " ".join(rng.choice(words, size=rng.integers(1, 5)))
        both = " ".join(dict.fromkeys([genres[genre[i]], rng.choice(genres)]))
        if i != 14:
            items.append(f"i{i}\t{title}\t{1990 + i % 9}\t{both}\t{rng.uniform():.3f}")
    folder = folder / "conformance"
    folder.mkdir(parents=True)
    for suffix, lines in (("inter", inter), ("user", users), ("item", items)):
        (folder / f"conformance.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"data_path": str(folder.parent), "cold_threshold": 25, "warm_size": 4}


# ------------------------------------------------------------------------------- runs
class ReadingConfig(ColdConfig):
    """A configuration that remembers which keys were asked for, and by which module."""

    def __getitem__(self, key: str) -> Any:
        reads = self.__dict__.setdefault("reads", {})
        reads.setdefault(key, set()).add(sys._getframe(1).f_globals.get("__name__", ""))
        return super().__getitem__(key)


def snapshot(method: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, those outside the state dict included."""
    named = [*method.named_parameters(), *method.named_buffers()]
    return {name: value.detach().clone() for name, value in named}


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """Names whose tensors are not bit for bit the same."""
    names = before.keys() | after.keys()
    return {
        name
        for name in names
        if name not in before or name not in after or not torch.equal(before[name], after[name])
    }


def starts_with(name: str, prefixes: Iterable[str]) -> bool:
    """Whether ``name`` is one of the parameters and modules ``prefixes``, or inside one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@dataclass
class Run:
    """The outcome of one run.

    Attributes:
        method: as it is at the end.
        trainer: that trained it.
        split: of the data set.
        states: parameters and buffers after each stage.
        served: vectors (and scalar weights, if any) of all items after each stage, [n, d or d + 1].
        scores: of the test rows in each phase.
    """

    method: ColdStartRecommender
    trainer: Trainer
    split: Split
    states: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    served: dict[str, Tensor] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)

    def remember(self, stage: str) -> None:
        self.states[stage] = snapshot(self.method)
        self.served[stage] = served_vectors(self.method)


@torch.no_grad()
def served_vectors(method: ColdStartRecommender) -> Tensor:
    """The served vector of every id, with its scalar weight if there is one."""
    method.set_mode("evaluate")
    parts = method.item_vectors(torch.arange(method.n_ids, device=method.device))
    return torch.cat([part for part in parts if part is not None], dim=1).clone()


class Bench:
    """Builds and runs one method on the suite's data, and keeps the plain runs.

    Args:
        method: the class to be tested.
        options: configuration keys on top of the suite's small defaults.
        folder: an empty folder for data, caches and states.
    """

    def __init__(self, method: type, options: Mapping[str, Any], folder: Path) -> None:
        self.method_class, self.folder = method, folder
        self.keys: dict[str, Any] = {
            **write_data_set(folder / "data"),
            "cache_dir": str(folder / "cache"),
            "saved_dir": str(folder / "saved"),
            "device": "cpu",
            "show_progress": False,
            "embedding_size": 8,
            "train_batch_size": 32,
            "eval_batch_size": 64,
            "checkpoint_seconds": 0,
            **options,
        }
        self._runs: dict[str, Run] = {}
        self._disturbances = itertools.count()

    def config(self, backbone: str, seed: int = SEED, method: type | None = None) -> ReadingConfig:
        """The configuration of the method, or of another one with the keys both know."""
        method = method or self.method_class
        foreign = keys_of(self.method_class) if method is not self.method_class else ()
        keys = {**self.keys, "seed": seed}
        on = self.method_class.network or backbone
        return ReadingConfig(method, "conformance", (), keys, backbone=on, also_known=foreign)

    def build(
        self,
        backbone: str,
        seed: int = SEED,
        edit: Callable[[Any], None] | None = None,
        method: type | None = None,
    ) -> tuple[ColdStartRecommender, Any]:
        """A fresh method and its data set, which ``edit`` may change after it was split."""
        config = self.config(backbone, seed, method)
        dataset = run_data(config)
        if edit is not None:
            edit(dataset)
            dataset = dataset.view(rows=Rows(dataset, config["device"]))
        return build_method(config, dataset), dataset

    def run(
        self,
        backbone: str,
        seed: int = SEED,
        *,
        edit: Callable[[Any], None] | None = None,
        cache: BackboneCache | None = None,
        cold_only: bool = False,
    ) -> Run:
        """All phases, or the cold one only, with a snapshot after each stage."""
        method, dataset = self.build(backbone, seed, edit)
        # This reveals a method that draws from the global generator before its stage is seeded.
        torch.manual_seed(next(self._disturbances))
        run = Run(method, Trainer(method, seed, cache=cache), dataset.split)
        run.trainer.pretrain()
        run.remember("pretrain")
        run.trainer.learn()
        run.remember("learn")
        test = method.rows.index(dataset.split["test"])
        for phase in dataset.split.phases[:1] if cold_only else dataset.split.phases:
            if phase.warm_up_on is not None:
                run.trainer.warm_up(phase.name, dataset.split[phase.warm_up_on])
                run.remember(phase.name)
            run.scores[phase.name] = run.trainer.score(test)
        return run

    def kept(self, backbone: str) -> Run:
        """The plain run on a backbone, made once; tests must not change it."""
        if backbone not in self._runs:
            self._runs[backbone] = self.run(backbone)
        return self._runs[backbone]

    def cold(self, backbone: str, edit: Callable[[Any], None] | None = None) -> Tensor:
        """Vectors and scalar weights of the new items before any of their rows: [m, d or d + 1]."""
        run = self.run(backbone, edit=edit, cold_only=True)
        return run.served["learn"][run.method.new_ids]


# ------------------------------------------------------------------------------- edits of the data
def replace_column(dataset: Any, name: str, column: np.ndarray) -> None:
    """Exchange one row column of a data set; arrays of the cache are left alone."""
    dataset.inter = {**dataset.inter, name: column.astype(dataset.inter[name].dtype)}


def permute_new(dataset: Any, config: ColdConfig, code_of: np.ndarray) -> None:
    """Give every id the code ``code_of[id]``, in the rows and in the feature table."""
    user_side = config["cold_side"] == "user"
    name = dataset.uid_field if user_side else dataset.iid_field
    table = dataset.user_table if user_side else dataset.item_table
    replace_column(dataset, name, code_of[np.asarray(dataset.inter[name])])
    id_of = np.argsort(code_of)
    permuted = {feature: np.asarray(column)[id_of] for feature, column in table.items()}
    setattr(dataset, "user_table" if user_side else "item_table", permuted)


def scramble_later_rows(dataset: Any, config: ColdConfig) -> None:
    """Other labels, partners and new ids in all rows outside ``train``."""
    rng = np.random.default_rng(1)
    later = np.ones(dataset.n_rows, dtype=bool)
    later[dataset.split["train"]] = False
    user_side = config["cold_side"] == "user"
    own = dataset.uid_field if user_side else dataset.iid_field
    other = dataset.iid_field if user_side else dataset.uid_field
    label = np.array(dataset.inter[dataset.label_field])
    label[later] = 1 - label[later]
    partner = np.array(dataset.inter[other])
    partner[later] = rng.permutation(partner[later])
    ids = np.array(dataset.inter[own])
    # Most rows go to few ids, so that counts differ by much.
    ids[later] = dataset.split.new_ids[(len(dataset.split.new_ids) * rng.uniform(size=later.sum())
                                        ** 3).astype(int)]  # fmt: skip
    for name, column in ((dataset.label_field, label), (other, partner), (own, ids)):
        replace_column(dataset, name, column)


# ------------------------------------------------------------------------------- yaml and sources
def own_classes(method: type) -> list[type]:
    """The method and the classes it extends, up to what all methods share."""
    return [
        cls
        for cls in method.__mro__
        if issubclass(cls, ColdStartRecommender) and cls is not ColdStartRecommender
    ]


def keys_without_comment(path: Path) -> list[str]:
    """Keys of a yaml file, blocks such as ``released`` aside, with no comment beside them."""
    text = path.read_text(encoding="utf-8")
    tree = yaml.compose(text)
    lines, bare = text.splitlines(), []
    for key, value in tree.value if tree is not None else ():
        first, last = key.start_mark.line, max(key.start_mark.line, value.end_mark.line - 1)
        beside = [lines[first], *lines[first + 1 : last + 1]]
        beside[0] = beside[0][key.end_mark.column :]
        if key.value not in BLOCKS and not any(" #" in b for b in beside):
            bare.append(key.value)
    return bare


# ------------------------------------------------------------------------------- the suite
class MethodConformance:
    """Tests of what every method promises: inherit it and name the method.

    Attributes:
        method: the class.
        options: configuration keys for all tests, the method's own or others.
        trains: names (or prefixes: ``generator`` means ``generator.*``) of the parameters that
            ``learn`` moves; each of them must move, nothing else may. ``None``: whatever the
            method owns.
        trains_warm: those that a warm phase may move beside the new items' own rows; ``None``: the
            same as ``trains``.
        trains_backbone: whether ``learn`` moves the backbone by design.
        tunes_backbone: whether warm phases do, and with it what old items are served with.
        equivariant: whether the cold rows depend on an item's content alone. Say ``False`` where
            the start is drawn at random per item, or read from untrained rows.
        serves_rows: whether ``predict`` is the backbone's forward pass with the served rows.
        backbones: on which the method runs; the first one serves tests that need only one. A method
            with a network of its own runs on that alone: ``learn`` trains it, and no row is served.
    """

    method: ClassVar[type]
    options: ClassVar[dict[str, Any]] = {}
    trains: ClassVar[set[str] | None] = None
    trains_warm: ClassVar[set[str] | None] = None
    trains_backbone: ClassVar[bool] = False
    tunes_backbone: ClassVar[bool] = False
    equivariant: ClassVar[bool] = True
    serves_rows: ClassVar[bool] = True
    backbones: ClassVar[Sequence[str]] = ("DeepFM", "DCN", "FM", "PNN", "WideDeep", "AutoInt")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if getattr(getattr(cls, "method", None), "network", None) is not None:
            cls.backbones, cls.trains_backbone = (cls.method.__name__,), True
            cls.serves_rows = False

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "backbone" in metafunc.fixturenames:
            metafunc.parametrize("backbone", self.backbones)

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, request: pytest.FixtureRequest, tmp_path_factory) -> Bench:
        """The method on the suite's data, with the runs that several tests look at."""
        asked = request.cls
        return Bench(asked.method, asked.options, tmp_path_factory.mktemp(asked.method.__name__))

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

    def test_a_warm_phase_moves_new_items_only(self, bench: Bench, backbone: str):
        """Rows of other items, the backbone and what is not declared stay bit for bit."""
        if self.tunes_backbone:
            pytest.skip("this method fine-tunes all of its network by design (tunes_backbone)")
        run = bench.kept(backbone)
        new = run.method.new_index >= 0
        stages = ["learn", *list(run.scores)[1:]]
        for before, after in itertools.pairwise(stages):
            moved = changed(run.states[before], run.states[after])
            inside = self._backbone_changes(run.method, moved)
            assert not inside, f"{after} moved {sorted(inside)} of the backbone"
            may_move = self._may_move(run.method, warm=True)
            stray = {n for n in moved & self._owned(run.method) if not starts_with(n, may_move)}
            assert not stray, f"{after} moved {sorted(stray)}, which is not declared"
            fixed = moved & set(FIXED_BUFFERS)
            assert not fixed, f"{after} changed {sorted(fixed)}, which belongs to the base class"
            same = torch.equal(run.served[before][~new], run.served[after][~new])
            assert same, f"{after} changed what items that are not new are served with"

    def test_the_tables_own_rows_give_the_backbones_own_logits(self, bench: Bench, backbone: str):
        """With ``cold_vectors`` answering the table's rows, cold logits are the plain model's."""
        if not self.serves_rows:
            pytest.skip("this method scores by more than the served rows (serves_rows)")
        method, _ = bench.build(backbone)
        method.load_state_dict(bench.kept(backbone).method.state_dict())
        method.restored()
        table, weights = method.backbone.id_table(), method.backbone.first_order_rows()
        method.cold_vectors = lambda: table.detach()[method.new_ids].clone()
        method.start_new_items()
        if weights is not None:
            method.new_first_order.data.copy_(weights.detach()[method.new_ids])
        method.set_mode("evaluate")
        batch = method.rows.batch(torch.arange(len(method.train_index), device=method.device))
        with torch.no_grad():
            assert torch.equal(method.logits(batch), method.backbone.logits(batch))

    # ---------------------------------------------------------------- what cold rows depend on
    def test_cold_rows_go_with_their_items(self, bench: Bench):
        """Exchange the codes of new items: their cold rows are exchanged, and nothing else."""
        backbone = self.backbones[0]
        config = bench.config(backbone)
        if not self.equivariant or config["new_item_init"] == "random":
            pytest.skip("the cold rows of this method depend on the code by design (equivariant)")
        method = bench.kept(backbone).method
        new = method.new_ids.cpu().numpy()
        code_of = np.arange(method.n_ids)
        code_of[new] = np.random.default_rng(3).permutation(new)
        permuted = bench.cold(backbone, lambda dataset: permute_new(dataset, config, code_of))
        place = np.searchsorted(new, code_of[new])
        plain = bench.kept(backbone).served["learn"][method.new_ids]
        torch.testing.assert_close(permuted[place], plain, **CLOSE)

    def test_cold_rows_know_nothing_of_later_rows(self, bench: Bench):
        """Change labels, partners and counts of all rows outside ``train``: equal bit for bit."""
        backbone = self.backbones[0]
        config = bench.config(backbone)
        if config["count_source"] == "full":
            pytest.skip("count_source: full counts all rows by definition")
        scrambled = bench.cold(backbone, lambda dataset: scramble_later_rows(dataset, config))
        run = bench.kept(backbone)
        plain = run.served["learn"][run.method.new_ids]
        assert torch.equal(scrambled, plain), "warm-up or test rows reach the cold rows"

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

    # ---------------------------------------------------------------- repeatable
    def test_same_seed_same_numbers(self, bench: Bench):
        """Bit for bit, whatever the state of torch's global generator is."""
        first, again = bench.kept(self.backbones[0]), bench.run(self.backbones[0])
        for phase, scores in first.scores.items():
            assert torch.equal(scores, again.scores[phase]), f"scores differ in phase {phase}"
        last = list(first.states)[-1]
        assert not changed(first.states[last], again.states[last])

    def test_other_seed_other_numbers(self, bench: Bench):
        first, other = bench.kept(self.backbones[0]), bench.run(self.backbones[0], SEED + 1)
        for phase, scores in first.scores.items():
            assert not torch.equal(scores, other.scores[phase]), f"{phase} ignores the seed"

    def test_scores_ignore_order_and_batching(self, bench: Bench):
        """A row's score does not depend on the rows it is scored with."""
        run = bench.kept(self.backbones[0])
        index = torch.arange(run.method.rows.columns[run.method.label_field].shape[0])
        order = torch.randperm(len(index), generator=seeding.generator(0, "order"))
        shuffled = run.trainer.score(index[order])
        torch.testing.assert_close(shuffled, run.trainer.score(index)[order], **CLOSE)
        alone = torch.cat([run.trainer.score(index[n : n + 1]) for n in range(5)])
        torch.testing.assert_close(alone, run.trainer.score(index[:5]), **CLOSE)

    def test_an_interrupted_run_ends_with_equal_numbers(self, bench: Bench, tmp_path: Path):
        """Stopped within every stage and continued by a fresh object each time."""
        backbone = self.backbones[0]
        whole_method, dataset = bench.build(backbone)
        whole = Trainer(whole_method, SEED)
        expected = run_phases(whole, dataset.split, whole.evaluate)
        batches: dict[int, int] = {}
        for _ in range(1000):
            method, dataset = bench.build(backbone)
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
        unequal = changed(snapshot(whole_method), snapshot(method))
        assert not unequal, f"after interruptions {sorted(unequal)} is not what it is without"
        assert results == expected

    def test_a_cached_backbone_changes_no_number(self, bench: Bench, tmp_path: Path):
        """Pre-training may be skipped: it leaves nothing outside of the backbone."""
        cache = BackboneCache(tmp_path, lambda _method, seed: str(seed))
        backbone = self.backbones[0]
        first = bench.run(backbone, cache=cache, cold_only=True)
        if not first.method.pretrain_fits():
            pytest.skip("this method trains nothing before `learn`")
        cached = bench.run(backbone, cache=cache, cold_only=True)
        assert cached.trainer.journal["stages"][0]["cached"]
        assert not changed(bench.kept(backbone).states["learn"], cached.states["learn"])

    def test_equal_pretraining_keys_mean_equal_backbones(self, bench: Bench):
        """A method whose ``pretrain_key`` is empty shares the plain backbone with all others."""
        run = bench.kept(self.backbones[0])
        if self.method.network is not None:
            pytest.skip("a network of its own shares no backbone with other methods")
        plain, _ = bench.build(self.backbones[0], method=ColdStartRecommender)
        Trainer(plain, SEED).pretrain()
        ours = {n: v for n, v in run.states["pretrain"].items() if n.startswith("backbone.")}
        theirs = {n: v for n, v in snapshot(plain).items() if n.startswith("backbone.")}
        differs = bool(changed(ours, theirs))
        if run.method.pretrain_key():
            assert differs, "pretrain_key() is not empty, but the backbone is the plain one"
        else:
            assert not differs, "pre-training differs from the plain one; say how in pretrain_key()"

    # ---------------------------------------------------------------- configuration
    def test_yaml_keys_are_the_keys_that_are_read(self, bench: Bench):
        """No key without effect, no read of a key that has no default."""
        config = bench.config(self.backbones[0])
        known = {*config.final_config_dict, *names(in_yaml=False)}
        stray = declared(self.method).keys() - known
        assert not stray, f"keys declares {sorted(stray)}, which no yaml gives a default"
        for cls in own_classes(self.method):
            path = yaml_of(cls)
            for block in BLOCKS if path is not None else ():
                keys = read_yaml(path).get(block) or {}
                if block == "datasets":
                    keys = {key for values in keys.values() for key in values}
                stray = set(keys) - known
                assert not stray, f"{block} of {path.name} has {sorted(stray)}, unknown keys"
        in_source = {key for cls in own_classes(self.method) for key in keys_in_source(cls)}
        unknown = in_source - known
        assert not unknown, f"{sorted(unknown)} is read, but has no default in a yaml"
        reads = bench.kept(self.backbones[0]).method.config.reads
        # RecBole's models and loader also read keys that have no default; those are ignored.
        modules = {cls.__module__ for cls in own_classes(self.method)}
        unknown = {key for key, readers in reads.items() if readers & modules} - known
        assert not unknown, f"{sorted(unknown)} is read, but has no default in a yaml"
        general = bench.config(self.backbones[0], method=ColdStartRecommender)
        used = reads.keys() | in_source
        unread = keys_of(self.method) - {*general.final_config_dict, *used}
        assert not unread, f"the yaml has {sorted(unread)}, which nobody reads"

    def test_every_yaml_key_has_a_comment(self):
        """Its meaning is a comment on the line of the key."""
        for cls in own_classes(self.method):
            path = yaml_of(cls)
            if path is not None:
                bare = keys_without_comment(path)
                assert not bare, f"{path.name}: no comment beside {', '.join(bare)}"
