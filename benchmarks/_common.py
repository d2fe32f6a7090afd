"""What all benchmarks share: the clock, the machine in words, data and methods."""

import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cold.config import make_config
from recbole_cold.data.rows import Batch
from recbole_cold.data.split import Split
from recbole_cold.experiment.data_store import load_data, make_split

# What all figures are about; everything else is a default of the extension.
KEYS = {
    "embedding_size": 16,
    "mlp_hidden_size": [16, 16],
    "train_batch_size": 2048,
    "pretrain_epochs": 1,
}
QUIET = {"show_progress": False, "checkpoint_seconds": 1e9, "device": "cpu", "num_threads": 1}


@dataclass(frozen=True)
class Options:
    """What the command line asks of every benchmark.

    Args:
        dataset: name of the data set.
        data_path: folder above the data set's folder; ``None`` takes ml-100k from RecBole.
        full: whole epochs instead of the first ``batches`` batches of one.
        batches: batches of an epoch that is measured in part.
        repeats: measurements of each contestant; the smallest counts.
        items: tasks of a meta step.
        models: methods of the benchmarks that take several; none: what each of them states.
        protocols: configurations of the whole runs.
        catalogue: items of the generated catalogues with ``full``.
        small_catalogue: items of them without.
        against: folder of another checkout of this project, for ``against``.
        keys: configuration keys on top.
    """

    dataset: str = "ml-100k"
    data_path: str | None = None
    full: bool = False
    batches: int = 60
    repeats: int = 5
    items: Sequence[int] = (64, 1024)
    models: Sequence[str] = ()
    protocols: Sequence[str] = ("strict", "released")
    catalogue: Sequence[int] = (10_000, 100_000, 1_000_000)
    small_catalogue: Sequence[int] = (1_000, 10_000, 100_000)
    against: str | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Table:
    """One benchmark's answer: a table, what its contestants agree on, and remarks.

    Args:
        title: the question.
        columns: of the table; the first one names the contestant.
        rows: texts and numbers.
        claims: (sentence, value, limit, ``<=`` or ``>=``) that the figures are held against.
        agreement: largest difference between the contestants' results, by what was compared.
        notes: sentences below the table.
    """

    title: str
    columns: Sequence[str]
    rows: list[list[Any]]
    claims: list[tuple[str, float, float, str]] = field(default_factory=list)
    agreement: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# ------------------------------------------------------------------------------- the clock
def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process (all its threads) while ``work`` runs."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def alternate(
    contestants: Mapping[str, Callable[[], Callable[[], Any]]], repeats: int
) -> dict[str, list[float]]:
    """CPU seconds of each contestant, measured in turns: A B C A B C ...

    A contestant prepares itself outside the clock and returns what is to be measured. The minimum
    of the repetitions is the one that others on the machine disturbed least.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, prepare in contestants.items():
            seconds[name].append(cpu_seconds(prepare()))
    return seconds


def smallest(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: min(values) for name, values in seconds.items()}


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def largest_difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Largest absolute difference of two lists of tensors of equal shapes."""
    pairs = zip(a, b, strict=True)
    return max((float((x - y).abs().max()) for x, y in pairs if x.numel()), default=0.0)


def machine() -> dict[str, Any]:
    """Processor, cores, threads in use, load averages and versions."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


# ------------------------------------------------------------------------------- set-up
def configuration(options: Options, method: str = "Base", **keys: Any):
    """The configuration of a method on DeepFM, 16 numbers a field and an MLP of 16-16."""
    overrides = {**KEYS, **QUIET, **options.keys, **keys}
    if options.data_path is not None:
        overrides["data_path"] = options.data_path
    # A network of its own has no key for the click model's layers.
    known = {*KEYS, "dropout_prob"}
    return make_config(method, options.dataset, "DeepFM", overrides=overrides, also_known=known)


_loaded: dict[tuple[str, str | None, str], tuple[Any, Split]] = {}


def data_of(options: Options, config):
    """A data set with its split; the rows are loaded once per process and device."""
    key = (options.dataset, options.data_path, str(config["device"]))
    if key not in _loaded:
        dataset = load_data(config)
        _loaded[key] = dataset, make_split(dataset, config)
    dataset, split = _loaded[key]
    return dataset.view(split)


def with_train(dataset, n_rows: int | None):
    """The data set with only ``n_rows`` random rows of ``train``; ``None`` leaves all."""
    split = dataset.split
    if n_rows is None or n_rows >= len(split["train"]):
        return dataset
    drawn = np.random.default_rng(0).permutation(split["train"])[:n_rows]
    return dataset.view(replace(split, parts={**split.parts, "train": np.sort(drawn)}))


def method_of(options: Options, name: str = "Base", part: bool = False, **keys: Any):
    """A fresh method; with ``part`` its ``train`` is as long as ``options`` says."""
    config = configuration(options, name, **keys)
    dataset = data_of(options, config)
    if part and not options.full:
        dataset = with_train(dataset, options.batches * config["train_batch_size"])
    method = config.method_class(config, dataset)
    method.dataset = dataset
    return method


def fields_of(model) -> list[str]:
    """Every field that a RecBole context model reads of an interaction, the label included."""
    names = [model.token_field_names, model.token_seq_field_names, model.float_field_names]
    return [*(field for group in names for field in group), model.LABEL]


def joined(method, index: Tensor) -> dict[str, Tensor]:
    """All fields of the rows ``index``, joined per row and in memory: what a bare loop slices."""
    whole: Batch = method.rows.batch(index)
    return {name: whole[name] for name in fields_of(method.backbone.model)}
