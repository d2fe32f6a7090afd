"""Statistics of a results document: means over seeds, relative improvement, paired tests."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import COMPARISONS, cost, known_metrics, rela_impr
from recbole_cold.evaluation.significance import PairedTest, t_test
from recbole_cold.report._document import Document


class Row(NamedTuple):
    """One metric of one labelled run in one phase, over its seeds; unknown figures are nan.

    ``unadapted``: the method does not adapt in this phase; its initial state was scored.
    """

    label: str
    phase: str
    metric: str
    mean: float
    std: float
    n: int
    unadapted: bool = False


def summary(
    doc: Document, metrics: Iterable[str] | None = None, base: str | None = None
) -> list[Row]:
    """Mean, sample standard deviation and number of seeds per label, phase and metric.

    Args:
        metrics: some of the document's metrics and of the comparisons; all of the document's.
        base: label (or else model) of the run that RelaImpr is relative to, seed by seed.
    """
    return [
        _row(run["label"], phase, metric, phase_values(doc, run, phase, metric, base))._replace(
            unadapted=_unadapted(run, phase)
        )
        for metric in wanted_metrics(doc, metrics)
        for run in doc["runs"]
        for phase in doc["phases"]
    ]


def _unadapted(run: Mapping[str, Any], phase: str) -> bool:
    return any(seed["phases"].get(phase, {}).get("unadapted") for seed in run["seeds"])


class Value(NamedTuple):
    """One score: a metric of one run in one phase on one seed."""

    method: str
    backbone: str
    phase: str
    metric: str
    seed: int
    value: float


def values(doc: Document) -> Iterator[Value]:
    """Every score of a document, RelaImpr included where it was asked for."""
    backbone = str(doc.get("backbone_label", ""))
    for metric in wanted_metrics(doc, None):
        for run in doc["runs"]:
            for phase in doc["phases"]:
                for seed, value in phase_values(doc, run, phase, metric).items():
                    name = backbone or str(run["backbone"])
                    yield Value(run["label"], name, phase, metric, seed, value)


def paired_test(doc: Document, label: str, against: str, phase: str, metric: str) -> PairedTest:
    """Paired t-test over the seeds that both runs have; ``difference`` is label minus against.

    Statistic and p are nan with fewer than two shared seeds and where all differences are equal.
    """
    return t_test(*paired_values(doc, label, against, phase, metric))


def paired_values(
    doc: Document, label: str, against: str, phase: str, metric: str
) -> tuple[list[float], list[float]]:
    """The values of two runs for the seeds that both have, in the order of the seeds."""
    if phase not in doc["phases"]:
        raise UserError(f"phase '{phase}' is unknown; known are {', '.join(doc['phases'])}.")
    wanted_metrics(doc, [metric])
    ours = phase_values(doc, _run(doc, label), phase, metric)
    theirs = phase_values(doc, _run(doc, against), phase, metric)
    shared = sorted(ours.keys() & theirs.keys())
    return [ours[seed] for seed in shared], [theirs[seed] for seed in shared]


def _row(label: str, phase: str, metric: str, values: Mapping[int, float]) -> Row:
    known = list(values.values())
    mean = statistics.fmean(known) if known else math.nan
    std = statistics.stdev(known) if len(known) > 1 else math.nan
    return Row(label, phase, metric, mean, std, len(known))


def phase_values(
    doc: Document, run: Mapping[str, Any], phase: str, metric: str, base: str | None = None
) -> dict[int, float]:
    """Seed -> finite value."""
    if metric in COMPARISONS:
        ours = phase_values(doc, run, phase, "AUC")
        other = base_run(doc, base)
        theirs = {} if other is None else phase_values(doc, other, phase, "AUC")
        values = {seed: rela_impr(ours[seed], theirs[seed]) for seed in ours if seed in theirs}
    else:
        scored = {seed["seed"]: seed["phases"].get(phase, {}) for seed in run["seeds"]}
        values = {key: got.get("metrics", {}).get(metric, math.nan) for key, got in scored.items()}
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def wanted_metrics(doc: Document, metrics: Iterable[str] | None) -> list[str]:
    """``metrics`` or all of the document's; a ``UserError`` for what was not computed."""
    names = known_metrics(doc["metrics"] if metrics is None else metrics)
    for name in names:
        needed = "AUC" if name in COMPARISONS else name
        if needed not in doc["metrics"]:
            raise UserError(
                f"metric '{name}' was not computed in this run, which has "
                f"{', '.join(doc['metrics'])}: repeat the run with metrics that include {needed}."
            )
    return names


def cost_figures(run: Mapping[str, Any]) -> dict[str, float]:
    """Means over the seeds of a run: seconds by stage, CPU seconds, steps of its longest phase."""
    parts = [seed["stages"] for seed in run["seeds"]]
    own = {"pretrain", "learn"}
    figures = {
        "pretrain": [total_of(part, "seconds", {"pretrain"}) for part in parts],
        "learn": [total_of(part, "seconds", {"learn"}) for part in parts],
        "warm": [total_of(part, "seconds", None, own) for part in parts],
        "cpu": [total_of(part, "cpu_seconds") for part in parts],
        "phase_steps": [
            float(max((stage["steps"] for stage in part if stage["name"] not in own), default=0))
            for part in parts
        ],
    }
    return {
        name: statistics.fmean(values) if values else math.nan for name, values in figures.items()
    }


def total_of(
    stages: Iterable[Mapping[str, Any]],
    key: str,
    names: set[str] | None = None,
    without: Iterable[str] = (),
) -> float:
    """The sum of one figure over stages: those of ``names``, or all but some."""
    chosen = [s for s in stages if (names is None or s["name"] in names)]
    return float(sum(stage[key] for stage in chosen if stage["name"] not in without))


def _run(doc: Document, label: str) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = [run for run in doc["runs"] if run["label"] == label]
    found += [run for run in doc["runs"] if run["model"] == label]
    if not found:
        known = ", ".join(run["label"] for run in doc["runs"])
        raise UserError(f"there is no run '{label}' in these results; there are {known}.")
    return found[0]


def base_name(doc: Document) -> str:
    """The configured ``base_model``."""
    named = [run["config"].get("base_model") for run in doc["runs"]]
    return next((str(name) for name in named if name), "Base")


def base_run(doc: Document, name: str | None) -> Mapping[str, Any] | None:
    """The run that others are compared with; None if the default one was not run."""
    if name is not None:
        return _run(doc, name)
    try:
        return _run(doc, base_name(doc))
    except UserError:
        return None


def best_of(rows: Sequence[Row]) -> set[tuple[str, str]]:
    """(label, phase) of the best mean of one metric; none in a phase with equal means."""
    best = set()
    for phase in {row.phase for row in rows}:
        known = [row for row in rows if row.phase == phase and math.isfinite(row.mean)]
        if len({row.mean for row in known}) > 1:
            least = min(cost(row.metric, row.mean) for row in known)
            best |= {(row.label, phase) for row in known if cost(row.metric, row.mean) == least}
    return best
