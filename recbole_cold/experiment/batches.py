"""A metric on single batches of scored rows, from the scores that were kept."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import METRICS
from recbole_cold.experiment.scores import DamagedScores, Find
from recbole_cold.report import Batches, batch_values

Row = tuple[tuple[str, str], Mapping[str, Any]]
"""What a row is known by in the picture, and its run in a results document."""


def batches(
    rows: Iterable[Row], phases: Sequence[str], metric: str, find: Find, size: int | None = None
) -> Batches:
    """``metric`` on every whole batch of the rows that each phase scores, in their order.

    Args:
        size: rows of a batch; None: ``train_batch_size`` of the row's run.

    Raises:
        UserError: the metric is not one of scores and labels alone, or scores were not kept.
    """
    if metric not in METRICS or METRICS[metric].group:
        known = ", ".join(name for name, each in METRICS.items() if not each.group)
        raise UserError(
            f"batches have a value of a metric of scores and labels alone, which {metric} is not; "
            f"use one of {known}"
        )
    if size is not None and size < 2:
        raise UserError(f"a batch of {size} rows has one class; give a number from 2 on, as 128")
    function = METRICS[metric].function
    values: dict[tuple[str, str], list[list[float]]] = {}
    sizes: dict[int, None] = {}
    for name, run in rows:
        of_row = values[name] = [[] for _ in phases]
        rows_of_batch = size or int(run["config"]["train_batch_size"])
        sizes[rows_of_batch] = None
        for seed in run["seeds"]:
            try:
                kept = find(run["label"], seed)
            except DamagedScores as error:
                raise UserError(f"{run['label']}, seed {seed['seed']}: {error}") from error
            for place, phase in enumerate(phases):
                if phase in kept.scores:  # an interrupted run has not all of them
                    labels, scores = kept.rows_of(phase).label, kept.scores[phase]
                    of_row[place] += batch_values(
                        lambda label, score: function(score, label), labels, scores, rows_of_batch
                    ).tolist()
    return Batches(tuple(sizes), values)
