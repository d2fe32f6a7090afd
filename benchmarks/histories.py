"""What histories cost: gathering them, a step of DIN, an epoch of RML.

Contestants see the same rows in the same batches from the same start.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks.pretraining import parameters, plain_model, shuffled
from recbole_cold.config import make_config
from recbole_cold.data.histories import LENGTH, PREFIX, histories_of
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import load_data, split_data
from recbole_cold.training.trainer import Trainer

PLAIN, GATHERED = "DeepFM", "DeepFM, and the fields of 50 rows a history"
BARE, OURS = "DIN, bare tensor loop", "DIN"
LSTM, META = "LSTM4Rec on sessions", "RML on sessions"
_loaded: dict[tuple[str, str | None], object] = {}


def configuration(options: Options, method: str, backbone: str, **keys):
    overrides = {**common.KEYS, **common.QUIET, **options.keys, **keys}
    if options.data_path is not None:
        overrides["data_path"] = options.data_path
    return make_config(
        method, options.dataset, backbone, overrides=overrides, also_known=common.KEYS
    )


def method_of(options: Options, name: str, backbone: str, **keys):
    """A fresh method, its ``train`` as long as ``options`` says."""
    config = configuration(options, name, backbone, **keys)
    place = (options.dataset, options.data_path)
    if place not in _loaded:
        _loaded[place] = load_data(config)
    dataset = split_data(_loaded[place], config)
    if not options.full:
        dataset = common.with_train(dataset, options.batches * config["train_batch_size"])
    method = build_method(config, dataset)
    method.dataset = dataset
    return method


def gathering(method) -> list[str]:
    """Let each batch of pre-training have the item fields of its rows' histories; their names."""
    reading = make_config(
        "Base", method.config.dataset, "DIN",
        overrides={"data_path": method.config["data_path"], "history_length": 50},
    )  # fmt: skip
    method.rows.histories = histories_of(reading, method.dataset, method.rows)
    names = [method.rows.item_field, *method.rows.item_features]
    wanted = [LENGTH, *(f"{PREFIX}{name}" for name in names)]
    loss = method.backbone.calculate_loss

    def and_gather(batch) -> Tensor:
        for name in wanted:
            batch[name]
        return loss(batch)

    method.backbone.calculate_loss = and_gather
    return wanted


class BareHistories(dict):
    """The columns of a bare loop: a batch's own fields joined beforehand, those of its histories
    looked up by the numbers of history rows, which are known beforehand."""

    def __init__(self, method) -> None:
        self.rows, index = method.rows, method.train_index
        super().__init__(common.joined(method, index))
        self.row_rn = method.rows.histories.of(index).to(torch.int32)
        self.fields = method.backbone.model.history_fields
        self.item_r = self.rows.columns[self.rows.item_field]

    def batch(self, index: Tensor) -> dict[str, Tensor]:
        found = {name: column.index_select(0, index) for name, column in self.items()}
        row_bn = self.row_rn.index_select(0, index).long()
        there_bn = row_bn >= 0
        item_bn = self.item_r[row_bn.clamp(min=0)].long() * there_bn
        for name in self.fields:
            field = name.removeprefix(PREFIX)
            if name == LENGTH:
                found[name] = there_bn.sum(dim=1)
            elif field == self.rows.item_field:
                found[name] = item_bn
            else:
                found[name] = self.rows.item_features[field][item_bn]
        return found


def train_bare_with_histories(model, optimizer, columns: BareHistories, order, size: int) -> None:
    model.train()
    for start in range(0, len(order), size):
        optimizer.zero_grad()
        model.calculate_loss(columns.batch(order[start : start + size])).backward()
        optimizer.step()


def contestants(
    options: Options, finished: dict[str, list[Tensor]]
) -> dict[str, Callable[[], Callable[[], None]]]:
    sessions = {
        "split_rule": "sessions", "session_subset": "cw", "train_batch_size": 128,
        "session_length": 10, "session_min": 2, "session_user_min": 5, "threshold": {"rating": 3},
    }  # fmt: skip

    def deepfm(gather: bool) -> Callable[[], Callable[[], None]]:
        def prepare():
            method = method_of(options, "Base", "DeepFM")
            if gather:
                gathering(method)
            trainer = Trainer(method, method.config["seed"])

            def run() -> None:
                trainer.pretrain()
                finished[GATHERED if gather else PLAIN] = parameters(method.backbone.model)

            return run

        return prepare

    def bare_din():
        method = method_of(options, "Base", "DIN")
        model, size = plain_model(method), method.config["train_batch_size"]
        rate = method.config["learning_rate"]
        optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
        columns = BareHistories(method)

        def run() -> None:
            order = shuffled(method, len(method.train_index))
            train_bare_with_histories(model, optimizer, columns, order, size)
            finished[BARE] = parameters(model)

        return run

    def din():
        method = method_of(options, "Base", "DIN")
        trainer = Trainer(method, method.config["seed"])

        def run() -> None:
            trainer.pretrain()
            finished[OURS] = parameters(method.backbone.model)

        return run

    def on_sessions(name: str, backbone: str, **keys) -> Callable[[], Callable[[], None]]:
        def prepare():
            method = method_of(options, name, backbone, **sessions, **keys)
            trainer = Trainer(method, method.config["seed"])

            def run() -> None:
                trainer.pretrain()
                trainer.learn()

            return run

        return prepare

    return {
        PLAIN: deepfm(False),
        GATHERED: deepfm(True),
        BARE: bare_din,
        OURS: din,
        LSTM: on_sessions("Base", "LSTM4Rec", history="all", history_length=9),
        META: on_sessions("RML", "DeepFM", rml_epochs=1),
    }


def measure(options: Options) -> Table:
    """CPU seconds of one epoch (or part of one) each, and the three ratios that are claimed."""
    finished: dict[str, list[Tensor]] = {}
    seconds = common.alternate(contestants(options, finished), options.repeats)
    least = common.smallest(seconds)
    base_of = {PLAIN: PLAIN, GATHERED: PLAIN, BARE: BARE, OURS: BARE, LSTM: LSTM, META: LSTM}
    rows = [
        [
            name,
            round(least[name], 2),
            round(common.median(values), 2),
            base_of[name],
            round(least[name] / least[base_of[name]], 2),
        ]
        for name, values in seconds.items()
    ]
    share = "a whole epoch" if options.full else f"{options.batches} batches"
    return Table(
        f"Histories: {share} each",
        ["contestant", "CPU s", "median", "held against", "ratio"],
        rows,
        [
            ("gathering to a plain step", least[GATHERED] / least[PLAIN], 1.5, "<="),
            ("DIN to its bare loop", least[OURS] / least[BARE], 1.25, "<="),
            ("RML to LSTM4Rec", least[META] / least[LSTM], 3.0, "<="),
        ],
        {
            "DeepFM with and without histories": common.largest_difference(
                finished[PLAIN], finished[GATHERED]
            ),
            "DIN and its bare loop": common.largest_difference(finished[BARE], finished[OURS]),
        },
        [
            "Batches of 2,048 rows, on sessions of 128. The bare loop knows the rows of all "
            "histories beforehand and looks their fields up.",
        ],
    )
