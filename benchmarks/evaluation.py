"""One evaluation (scores and metrics) against a bare forward pass over the same rows."""

import torch
from torch import Tensor

from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks.pretraining import plain_model
from recbole_cold.device import scored_at_once
from recbole_cold.training.trainer import Trainer

SIZES = (4096, 16384, 65536)


@torch.no_grad()
def plain_with_served_rows(method) -> torch.nn.Module:
    """RecBole's model alone; what a method serves for new items is written into its tables."""
    backbone = method.backbone
    backbone.id_table()[method.new_ids] = method.new_vectors
    weights = backbone.first_order_rows()
    if weights is not None:
        weights[method.new_ids] = method.new_first_order
    return plain_model(method).eval()


@torch.no_grad()
def score_bare(model, columns: dict[str, Tensor], size: int) -> Tensor:
    """The plainest forward pass: slices of columns that are joined per row and in memory."""
    n_rows = len(columns[model.LABEL])
    scores = torch.empty(n_rows)
    for start in range(0, n_rows, size):
        batch = {name: column[start : start + size] for name, column in columns.items()}
        scores[start : start + size] = model.predict(batch)
    return scores


def measure(options: Options) -> Table:
    """CPU seconds of scoring ``test``, by the number of rows scored at once."""
    method = common.method_of(options)
    method.start_new_items()
    rows = method.dataset.split["test"]
    index = method.rows.index(rows)
    columns, model = common.joined(method, index), plain_with_served_rows(method)

    def bare(size: int):
        return lambda: lambda: score_bare(model, columns, size)

    def ours(size: int, metrics: bool):
        def prepare():
            method.config["eval_batch_size"] = size
            trainer = Trainer(method, method.config["seed"])
            return lambda: trainer.evaluate("test", rows) if metrics else trainer.score(index)

        return prepare

    contestants = {}
    for size in SIZES:
        contestants["bare forward pass", size] = bare(size)
        contestants["Trainer.score", size] = ours(size, False)
        contestants["Trainer.evaluate", size] = ours(size, True)
    seconds = common.alternate(contestants, options.repeats)
    least = common.smallest(seconds)
    default = scored_at_once(common.configuration(options), method.device)
    table_rows = [
        [
            name,
            size,
            round(1000 * least[name, size], 1),
            round(1000 * common.median(values), 1),
            round(least[name, size] / least["bare forward pass", size], 2),
        ]
        for (name, size), values in seconds.items()
    ]
    ratio = least["Trainer.evaluate", default] / min(least["bare forward pass", s] for s in SIZES)
    fastest = min(SIZES, key=lambda size: least["Trainer.evaluate", size])
    difference = common.largest_difference(
        [score_bare(model, columns, 4096)], [Trainer(method, 0).score(index)]
    )
    return Table(
        f"Evaluation: {len(index):,} rows",
        ["contestant", "eval_batch_size", "CPU ms", "median", "ratio to bare at this size"],
        table_rows,
        [(f"Trainer.evaluate at {default} to the fastest bare pass", ratio, 1.5, "<=")],
        {"scores": difference},
        [f"The fastest eval_batch_size is {fastest}; the default is {default}."],
    )
