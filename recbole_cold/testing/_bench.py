"""The data of the conformance suites, and runs of a method on them."""

import itertools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_cold.config import ColdConfig, keys_of
from recbole_cold.data.rows import Rows
from recbole_cold.data.split import Split
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import run_data
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.training.backbone_cache import BackboneCache
from recbole_cold.training.trainer import Trainer

SEED = 2020


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
        results: what ``Trainer.evaluate`` says of each phase; of ``Bench.again`` only.
    """

    method: ColdStartRecommender
    trainer: Trainer
    split: Split
    states: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    served: dict[str, Tensor] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

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
        self._again: dict[str, tuple[Run, BackboneCache]] = {}
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
        data: Any = None,
    ) -> tuple[ColdStartRecommender, Any]:
        """A fresh method and its data set, which ``edit`` may change after it was split; ``data``
        is one that was built before with the same words, and is not loaded again."""
        config = self.config(backbone, seed, method)
        dataset = run_data(config) if data is None else data.view()
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
        n_phases: int | None = None,
        evaluate: bool = False,
    ) -> Run:
        """All phases, or the first ``n_phases`` only, with a snapshot after each stage; with
        ``evaluate`` their results, too."""
        method, dataset = self.build(backbone, seed, edit)
        # This reveals a method that draws from the global generator before its stage is seeded.
        torch.manual_seed(next(self._disturbances))
        run = Run(method, Trainer(method, seed, cache=cache), dataset.split)
        run.trainer.pretrain()
        run.remember("pretrain")
        run.trainer.learn()
        run.remember("learn")
        test = method.rows.index(dataset.split["test"])
        for phase in dataset.split.phases[:n_phases]:
            if phase.warm_up_on is not None:
                run.trainer.warm_up(phase.name, dataset.split[phase.warm_up_on])
                run.remember(phase.name)
            run.scores[phase.name] = run.trainer.score(test)
            if evaluate:
                rows = dataset.split[phase.score_on]
                run.results[phase.name] = run.trainer.evaluate(phase.name, rows)
        return run

    def kept(self, backbone: str) -> Run:
        """The plain run on a backbone, made once; tests must not change it."""
        if backbone not in self._runs:
            self._runs[backbone] = self.run(backbone)
        return self._runs[backbone]

    def again(self, backbone: str) -> tuple[Run, BackboneCache]:
        """A second plain run, made once, with results, and the cache that it left its backbone in;
        tests must not change them."""
        if backbone not in self._again:
            cache = BackboneCache(self.folder / f"again-{backbone}", lambda _, seed: str(seed))
            self._again[backbone] = self.run(backbone, cache=cache, evaluate=True), cache
        return self._again[backbone]

    def cold(self, backbone: str, edit: Callable[[Any], None] | None = None) -> Tensor:
        """Vectors and scalar weights of the new items before any of their rows: [m, d or d + 1]."""
        run = self.run(backbone, edit=edit, n_phases=1)
        return run.served["learn"][run.method.new_ids]
