"""Metrics of a table of predictions: AUC, LogLoss and F1, and RelaImpr, which compares two.

Every metric is pooled over all rows of the evaluated set, takes one score and one 0/1 label per
row on any device, and answers with a Python float computed in float64. ``nan`` means that the
metric is not defined on these rows (no row at all, or an AUC of one class only).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recbole_cold.errors import Diverged, UserError, nearest

Scores = Tensor | np.ndarray | list[float]
Threshold = float | Literal["mean"]

EMPTY = "no row to evaluate"
ONE_CLASS = "all labels are equal, so AUC is not defined"
CONSTANT = "the prediction is constant"
BELOW_CHANCE = "AUC is below 0.5: worse than a random order"
WORSE_THAN_CONSTANT = "LogLoss is worse than that of one constant score, the share of clicks"


def auc(scores: Scores, labels: Scores) -> float:
    """Chance that a positive row scores above a negative one, ties counting one half.

    Equals the area under the ROC curve with average ranks for ties. Pairs are counted in
    integers, so the order of rows and any strictly monotone transform of the scores leave it
    unchanged to the last bit. ``nan`` when one of the two classes is missing.
    """
    scores, positive = _table(scores, labels)
    negatives, positives = scores[~positive].sort().values, scores[positive]
    pairs = len(negatives) * len(positives)
    if not pairs:
        return math.nan
    # Sorted queries walk through memory in order, which repays the second sort on a CPU.
    positives = positives.sort().values
    below = torch.searchsorted(negatives, positives).sum()
    below_or_tied = torch.searchsorted(negatives, positives, right=True).sum()
    return int(below + below_or_tied) / (2 * pairs)


def log_loss(scores: Scores, labels: Scores) -> float:
    """Mean negative log-likelihood of the labels; the scores are probabilities.

    As in scikit-learn the scores are clipped by the machine precision of their own type, so a
    certain and wrong float32 prediction costs 15.9.
    """
    scores, positive = _table(scores, labels)
    if not len(scores):
        return math.nan
    low, high = scores.min().item(), scores.max().item()
    if low < 0 or high > 1:
        raise UserError(
            f"LogLoss needs probabilities and the scores reach from {low:.4g} to {high:.4g}: "
            "let predict() return the sigmoid, or leave LogLoss out of metrics."
        )
    precision = torch.finfo(scores.dtype).eps
    chance = scores.double().clamp(precision, 1 - precision)
    return -torch.where(positive, chance.log(), (-chance).log1p()).mean().item()


def f1(scores: Scores, labels: Scores, threshold: Threshold = "mean") -> float:
    """Harmonic mean of precision and recall of the positive class.

    A row is predicted positive when its score is strictly above ``threshold``; ``"mean"`` is the
    mean score of these rows. Zero when no row is positive or predicted so, as in scikit-learn.
    """
    scores, positive = _table(scores, labels)
    if not len(scores):
        return math.nan
    predicted = scores.double() > (_mean(scores) if threshold == "mean" else float(threshold))
    hits = int((predicted & positive).sum())
    return 2 * hits / max(1, int(predicted.sum()) + int(positive.sum()))


def rela_impr(auc: float, base_auc: float) -> float:
    """Relative improvement over a base: ``(auc - 0.5) / (base_auc - 0.5) - 1``.

    ``nan`` when the base is not better than chance: there is nothing to be relative to.
    """
    if not base_auc > 0.5:
        return math.nan
    return (auc - 0.5) / (base_auc - 0.5) - 1


METRICS: dict[str, Callable[..., float]] = {"AUC": auc, "LogLoss": log_loss, "F1": f1}
"""Metrics of one prediction table, by the name they have in configurations and results."""

COMPARISONS: dict[str, Callable[[float, float], float]] = {"RelaImpr": rela_impr}
"""Metrics of two AUC values; the report computes them against a base run."""

LOWER_IS_BETTER = frozenset({"LogLoss"})


def known_metrics(names: str | Iterable[str], where: str = "") -> list[str]:
    """Metric names in our spelling, each once, from a list or a single name in any case.

    Args:
        where: for the message, "in file.yaml"; '' where that is clear.

    Raises:
        UserError: a name that is none, with the nearest; or no name at all.
    """
    known = [*METRICS, *COMPARISONS]
    by_lower = {name.lower(): name for name in known}
    asked = [names] if isinstance(names, str) else list(names)
    if not asked:
        raise UserError(f"no metric is named{where and f' {where}'}; known are {', '.join(known)}")
    for name in asked:
        if str(name).lower() not in by_lower:
            guess = nearest(str(name), known)
            raise UserError(
                f"metric '{name}'{where and f' ({where})'} is none of {', '.join(known)}"
                + (f"; did you mean '{guess}'?" if guess else "; choose one of them")
            )
    return list(dict.fromkeys(by_lower[str(name).lower()] for name in asked))


def evaluate(
    scores: Scores, labels: Scores, metrics: Iterable[str], f1_threshold: Threshold = "mean"
) -> dict[str, float]:
    """The named metrics of one table of predictions.

    Comparisons such as RelaImpr need a second run: they are known here and left to the report.
    """
    wanted = [name for name in known_metrics(metrics) if name in METRICS]
    options = {"F1": {"threshold": f1_threshold}}
    return {name: METRICS[name](scores, labels, **options.get(name, {})) for name in wanted}


def score_warnings(scores: Scores, labels: Scores, values: Mapping[str, float]) -> list[str]:
    """Warnings about ``values``, one sentence each; usually none.

    The sentences hold no numbers, so the same warning of several seeds is one line in a report.
    """
    scores, positive = _table(scores, labels)
    if not len(scores):
        return [EMPTY]
    found = []
    if bool(positive.all()) or not bool(positive.any()):
        found.append(ONE_CLASS)
    if bool(scores.min() == scores.max()):
        found.append(CONSTANT)
    if values.get("AUC", math.nan) < 0.5:
        found.append(BELOW_CHANCE)
    share = positive.double().mean()
    if values.get("LogLoss", math.nan) > log_loss(share.expand(len(scores)), labels):
        found.append(WORSE_THAN_CONSTANT)
    return found


def _table(scores: Scores, labels: Scores) -> tuple[Tensor, Tensor]:
    """Scores as floats of at least 32 bits and labels as booleans, on the device of the scores."""
    scores = _tensor(scores)
    labels = _tensor(labels).to(scores.device)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            f"one score and one label per row, not {tuple(scores.shape)} and {tuple(labels.shape)}"
        )
    if not scores.is_floating_point():
        scores = scores.double()
    elif scores.dtype.itemsize < 4:
        scores = scores.float()  # exact; the clipping of bfloat16 would be far too coarse
    if missing := int(scores.isnan().sum()):
        raise Diverged(
            f"{missing:,} of {len(scores):,} scores are not a number: the training has diverged; "
            "try a smaller learning_rate."
        )
    positive = labels == 1
    if not bool((positive | (labels == 0)).all()):
        raise UserError(
            "labels must be 0 or 1 and others were found: set threshold (for example "
            "threshold: {rating: 4}) or mend the label column."
        )
    return scores, positive


def _tensor(values: Scores) -> Tensor:
    """A copy of arrays and lists, in float64 where Python has it: a memory map may be read-only."""
    return values.detach() if isinstance(values, Tensor) else torch.tensor(np.asarray(values))


def _mean(scores: Tensor) -> float:
    """Mean score, never outside the range of the scores: a constant is not above its own mean."""
    low, high = scores.min().item(), scores.max().item()
    return min(max(scores.mean(dtype=torch.float64).item(), low), high)
