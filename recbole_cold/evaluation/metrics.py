"""Metrics of a table of predictions, and RelaImpr, which compares two of them.

Every metric takes one score and one 0/1 label per row on any device, and answers with a Python
float computed in float64; those of groups take a code per row as well. ``nan`` means that the
metric is not defined on these rows (no row at all, or an AUC of one class only).

Pooled AUC orders rows of different items against each other almost always, so that a method that
learns one number per item gains much of it; ``WithinAUC`` is what is left inside items.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recbole_cold.errors import Diverged, UserError, nearest
from recbole_cold.evaluation import _calibration as calibration
from recbole_cold.evaluation._groups import GroupedAUC, auc_between, auc_within

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

    nan without rows; see :func:`row_log_loss`.
    """
    losses = row_log_loss(scores, labels)
    return losses.mean().item() if len(losses) else math.nan


def row_log_loss(scores: Scores, labels: Scores) -> Tensor:
    """Negative log-likelihood of each row's label [n], float64; the scores are probabilities.

    As in scikit-learn the scores are clipped by the machine precision of their own type, so a
    certain and wrong float32 prediction costs 15.9.
    """
    chance, positive = _chances("LogLoss", scores, labels)
    return -torch.where(positive, chance.log(), (-chance).log1p())


def normalised_entropy(scores: Scores, labels: Scores) -> float:
    """Log-loss over that of the constant share of clicks (He et al., 2014); useless from 1 on."""
    positive = _table(scores, labels)[1]
    least = calibration.entropy(float(positive.double().mean())) if len(positive) else 0.0
    return log_loss(scores, labels) / least if least else math.nan


def calibrated_log_loss(scores: Scores, labels: Scores) -> float:
    """Log-loss after one shift and one slope of the logits, fitted on the evaluated rows.

    The rest of the log-loss, which such a correction would take away, is ``CalibrationLoss``.
    """
    return _of_chances("CalibratedLogLoss", calibration.calibrated_log_loss, scores, labels)


def calibration_loss(scores: Scores, labels: Scores) -> float:
    """The part of the log-loss that one shift and one slope of the logits would take away."""
    return log_loss(scores, labels) - calibrated_log_loss(scores, labels)


def brier(scores: Scores, labels: Scores) -> float:
    """Mean squared difference between probability and label."""
    return _of_chances("Brier", calibration.brier, scores, labels)


def calibration_error(scores: Scores, labels: Scores) -> float:
    """Expected calibration error in 15 bins of equally many rows (ECE)."""
    return _of_chances("ECE", calibration.expected_calibration_error, scores, labels)


def predicted_over_clicks(scores: Scores, labels: Scores) -> float:
    """Mean probability over the share of clicks (PCOC): 1 is right, above it is too high."""
    return _of_chances("PCOC", calibration.predicted_over_clicks, scores, labels)


def reliability(scores: Scores, labels: Scores) -> dict[str, list[float | None]] | None:
    """Predicted and real share of clicks in the bins of ``ECE``, for reliability diagrams.

    None without rows, and of scores that are no probabilities.
    """
    scores, positive = _table(scores, labels)
    if not len(scores) or scores.min().item() < 0 or scores.max().item() > 1:
        return None
    return calibration.reliability(scores.double(), positive)


def pcoc_by_count(scores: Scores, labels: Scores, group: Scores) -> dict[str, Any]:
    """PCOC in quarters of the groups by their rows: see :func:`_calibration.pcoc_by_count`."""
    scores = _table(scores, labels)[0]
    codes = _codes(group, scores)
    return calibration.pcoc_by_count(*_chances("PCOC", scores, labels), codes)


def within_auc(scores: Scores, labels: Scores, group: Scores) -> GroupedAUC:
    """AUC inside each group of rows, weighted by rows: see :func:`_groups.auc_within`."""
    scores, positive = _table(scores, labels)
    return auc_within(scores, positive, _codes(group, scores))


def between_auc(scores: Scores, labels: Scores, group: Scores) -> float:
    """AUC of the groups' mean scores: see :func:`_groups.auc_between`."""
    scores, positive = _table(scores, labels)
    return auc_between(scores, positive, _codes(group, scores))


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


@dataclass(frozen=True)
class Metric:
    """A metric of one table of predictions.

    Attributes:
        function: of scores and labels and, where ``group`` is named, a code per row.
        group: whose code: ``cold`` (the side with new ids: items, or users), ``user``; '' for none.
        best: ``high``, ``low``, or ``one`` for a ratio that is right at 1.
        by_group: of scores, labels and the codes of ``cold``: the metric in parts of the groups.
    """

    function: Callable[..., Any]
    group: str = ""
    best: str = "high"
    by_group: Callable[..., dict[str, Any]] | None = None


METRICS: dict[str, Metric] = {
    "AUC": Metric(auc),
    "WithinAUC": Metric(within_auc, "cold"),
    "BetweenAUC": Metric(between_auc, "cold"),
    "GAUC": Metric(within_auc, "user"),
    "LogLoss": Metric(log_loss, best="low"),
    "CalibratedLogLoss": Metric(calibrated_log_loss, best="low"),
    "CalibrationLoss": Metric(calibration_loss, best="low"),
    "NE": Metric(normalised_entropy, best="low"),
    "Brier": Metric(brier, best="low"),
    "ECE": Metric(calibration_error, best="low"),
    "PCOC": Metric(predicted_over_clicks, best="one", by_group=pcoc_by_count),
    "F1": Metric(f1),
}
"""Metrics of one prediction table, by the name they have in configurations and results."""

COMPARISONS: dict[str, Callable[[float, float], float]] = {"RelaImpr": rela_impr}
"""Metrics of two AUC values; the report computes them against a base run."""

LOWER_IS_BETTER = frozenset(name for name, metric in METRICS.items() if metric.best == "low")


def cost(metric: str, value: float) -> float:
    """A number that is lower where the metric's value is better."""
    best = METRICS[metric].best if metric in METRICS else "high"
    if best == "one":
        return abs(math.log(value)) if value > 0 else math.inf
    return value if best == "low" else -value


def to_select_by(metric: str) -> str:
    """``metric``, by which a sweep is to choose.

    Raises:
        UserError: neither high nor low values of it are better.
    """
    if metric in COMPARISONS:
        raise UserError(f"valid_metric {metric} compares methods; choose AUC, LogLoss or F1")
    if METRICS[metric].best == "one":
        raise UserError(f"valid_metric {metric} is best at 1; choose AUC, LogLoss or F1")
    return metric


def better(metric: str) -> str:
    """Which values of a metric are better, for titles: "higher is better"."""
    best = METRICS[metric].best if metric in METRICS else "high"
    return {"high": "higher is better", "low": "lower is better", "one": "1 is best"}[best]


def best_where(metrics: Iterable[str]) -> str:
    """What is best where it is not the highest value, for legends: " (LogLoss, NE: lowest)"."""
    told = []
    for best, words in (("low", "lowest"), ("one", "nearest to 1")):
        names = [name for name in metrics if name in METRICS and METRICS[name].best == best]
        told += [f"{', '.join(names)}: {words}"] if names else []
    return f" ({'; '.join(told)})" if told else ""


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
    scores: Scores,
    labels: Scores,
    metrics: Iterable[str],
    f1_threshold: Threshold = "mean",
    groups: Mapping[str, Scores] | None = None,
) -> dict[str, float]:
    """The named metrics of one table of predictions.

    Comparisons such as RelaImpr need a second run: they are known here and left to the report.

    Args:
        groups: ``cold`` and ``user``: a code per row, for the metrics of groups.
    """
    return evaluate_with_groups(scores, labels, metrics, f1_threshold, groups)[0]


def evaluate_with_groups(
    scores: Scores,
    labels: Scores,
    metrics: Iterable[str],
    f1_threshold: Threshold = "mean",
    groups: Mapping[str, Scores] | None = None,
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """As :func:`evaluate`, and beside some metrics what they are made of, by group.

    For metrics inside groups: groups used, and the share of rows in them. For PCOC: the same metric
    of rare and of frequent items.
    """
    values: dict[str, float] = {}
    told: dict[str, dict[str, Any]] = {}
    for name in known_metrics(metrics):
        if name not in METRICS:
            continue
        metric = METRICS[name]
        options: dict[str, Any] = {"threshold": f1_threshold} if name == "F1" else {}
        if metric.group:
            if groups is None:
                raise ValueError(f"{name} needs a code per row of '{metric.group}'")
            options["group"] = groups[metric.group]
        found = metric.function(scores, labels, **options)
        if isinstance(found, GroupedAUC):
            told[name] = {"groups": found.groups, "of": found.of, "rows": found.rows}
            found = found.value
        elif metric.by_group is not None and groups is not None:
            told[name] = metric.by_group(scores, labels, groups["cold"])
        values[name] = found
    return values, told


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


def _chances(name: str, scores: Scores, labels: Scores) -> tuple[Tensor, Tensor]:
    """Probabilities [n] in float64, clipped by the precision of their own type, and labels.

    Raises:
        UserError: a score is no probability.
    """
    scores, positive = _table(scores, labels)
    if not len(scores):
        return scores.double(), positive
    low, high = scores.min().item(), scores.max().item()
    if low < 0 or high > 1:
        raise UserError(
            f"{name} needs probabilities and the scores reach from {low:.4g} to {high:.4g}: "
            f"let predict() return the sigmoid, or leave {name} out of metrics."
        )
    precision = torch.finfo(scores.dtype).eps
    return scores.double().clamp(precision, 1 - precision), positive


def _of_chances(
    name: str, function: Callable[[Tensor, Tensor], float], scores: Scores, labels: Scores
) -> float:
    chance, positive = _chances(name, scores, labels)
    return function(chance, positive) if len(chance) else math.nan


def _codes(group: Scores, scores: Tensor) -> Tensor:
    codes = _tensor(group).to(scores.device)
    if codes.shape != scores.shape:
        raise ValueError(f"one code per row, not {tuple(codes.shape)} and {tuple(scores.shape)}")
    return codes


def _tensor(values: Scores) -> Tensor:
    """A copy of arrays and lists, in float64 where Python has it: a memory map may be read-only."""
    return values.detach() if isinstance(values, Tensor) else torch.tensor(np.asarray(values))


def _mean(scores: Tensor) -> float:
    """Mean score, never outside the range of the scores: a constant is not above its own mean."""
    low, high = scores.min().item(), scores.max().item()
    return min(max(scores.mean(dtype=torch.float64).item(), low), high)
