"""One pre-training epoch: ours, a bare tensor loop over the same model, RecBole's Trainer.

All contestants see the same rows in the same batches, start from the same parameters and draw the
same dropout masks, so that their parameters can be compared at the end.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from copy import copy
from functools import cache
from unittest import mock

import torch
from torch import Tensor

from benchmarks import _common as common
from benchmarks._common import Options, Table
from recbole_cold import seeding
from recbole_cold.training.trainer import Trainer

BARE, OURS, RECBOLE = (
    "bare tensor loop",
    "recbole_cold",
    "RecBole's Trainer and dataloader",
)


def parameters(module: torch.nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def shuffled(method, n_rows: int) -> Tensor:
    """The order of ``Trainer.pretrain``, and the state of the dropout masks with it."""
    seed = method.config["seed"]
    seeding.seed_layers(seed, "pretrain", 0, "pretrain")
    return torch.randperm(n_rows, generator=seeding.generator(seed, "pretrain", 0, "pretrain", 0))


def plain_model(method) -> torch.nn.Module:
    """RecBole's model alone, without the seam, with the method's initial parameters."""
    config = method.config
    model = config.backbone_class(config, method.dataset).to(method.device)
    model.load_state_dict(method.backbone.model.state_dict())
    return model


def train_bare(model, optimizer, columns: dict[str, Tensor], order: Tensor, size: int) -> None:
    """The plainest honest loop: slices of shuffled row numbers, one ``index_select`` a field."""
    model.train()
    for start in range(0, len(order), size):
        index = order[start : start + size]
        batch = {name: column.index_select(0, index) for name, column in columns.items()}
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        optimizer.step()


@contextmanager
def elsewhere():
    """A temporary working directory: RecBole's Trainer writes folders where it stands."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def recbole_trainer(method, order: Tensor):
    """RecBole's Trainer and its dataloader over the rows of ``train`` in the given order."""
    from recbole.data.dataloader import TrainDataLoader
    from recbole.data.interaction import Interaction
    from recbole.trainer import Trainer as RecBoleTrainer

    config = copy(method.config)
    config.final_config_dict = {
        **method.config.final_config_dict,
        "metrics": ["AUC", "LogLoss"],  # RecBole has no F1
        "worker": 0,
        "train_neg_sample_args": {"distribution": "none", "sample_num": "none"},
    }
    rows = method.dataset.inter_feat[method.train_index.numpy()]
    dataset = copy(method.dataset)
    dataset.inter_feat, dataset.n_rows = Interaction(rows.interaction), len(method.train_index)
    loader = TrainDataLoader(config, dataset, None, shuffle=True)
    loader.batch_sampler.sampler = order.tolist()
    # Its Trainer opens a TensorBoard file, which is no part of an epoch.
    with elsewhere(), mock.patch("recbole.trainer.trainer.get_tensorboard"):
        return RecBoleTrainer(config, plain_model(method)), loader


def contestants(
    options: Options, finished: dict[str, list[Tensor]]
) -> dict[str, Callable[[], Callable[[], None]]]:
    """Each trains one epoch from the same start and leaves its parameters in ``finished``."""

    def bare():
        method = common.method_of(options, part=True)
        model, size = plain_model(method), method.config["train_batch_size"]
        optimizer = torch.optim.Adam(
            model.parameters(), lr=method.config["learning_rate"], fused=True
        )
        columns = columns_in_memory()

        def run() -> None:
            order = shuffled(method, len(method.train_index))
            train_bare(model, optimizer, columns, order, size)
            finished[BARE] = parameters(model)

        return run

    @cache
    def columns_in_memory() -> dict[str, Tensor]:
        method = common.method_of(options, part=True)
        return common.joined(method, method.train_index)

    def ours():
        method = common.method_of(options, part=True)
        trainer = Trainer(method, method.config["seed"])

        def run() -> None:
            trainer.pretrain()
            finished[OURS] = parameters(method.backbone.model)

        return run

    def recbole():
        method = common.method_of(options, part=True)
        order = shuffled(method, len(method.train_index))
        trainer, loader = recbole_trainer(method, order)

        def run() -> None:
            seeding.seed_layers(method.config["seed"], "pretrain", 0, "pretrain")
            trainer._train_epoch(loader, 0)
            finished[RECBOLE] = parameters(trainer.model)

        return run

    return {BARE: bare, OURS: ours, RECBOLE: recbole}


def measure(options: Options) -> Table:
    """CPU seconds of one epoch (or part of one) and their ratios to the bare loop."""
    finished: dict[str, list[Tensor]] = {}
    seconds = common.alternate(contestants(options, finished), options.repeats)
    method = common.method_of(options, part=True)
    n_rows, least = len(method.train_index), common.smallest(seconds)
    apart = {name: common.largest_difference(finished[BARE], finished[name]) for name in finished}
    rows = [
        [
            name,
            round(least[name], 2),
            round(common.median(values), 2),
            round(n_rows / least[name]),
            round(least[name] / least[BARE], 2),
            f"{apart[name]:.1e}",
        ]
        for name, values in seconds.items()
    ]
    share = "the whole epoch" if options.full else f"{options.batches} batches of the epoch"
    return Table(
        f"Pre-training: {share}, {n_rows:,} rows",
        ["contestant", "CPU s", "median", "rows/s", "ratio to bare", "parameters apart"],
        rows,
        [("ours to the bare loop", least[OURS] / least[BARE], 1.25, "<=")],
        apart,
        [
            "Sums in another order differ by 1e-8, which Adam, dividing by the size of a gradient, "
            "makes more of where gradients are that small.",
            "`RecBole's Trainer` includes a dataloader that joins user and item features per batch "
            "and Adam as RecBole builds it (not fused).",
        ],
    )
