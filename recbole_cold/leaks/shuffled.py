"""L7: what learned from shuffled labels must not know the true ones."""

import math

import numpy as np
from scipy import stats

from recbole_cold.config import ColdConfig
from recbole_cold.data.phases import Phase
from recbole_cold.evaluation.metrics import auc
from recbole_cold.leaks._edits import with_labels
from recbole_cold.leaks.finding import LEAK, OK, Finding, not_applicable
from recbole_cold.leaks.subject import Array, Subject
from recbole_cold.leaks.uncertainty import auc_with_error

# Standard errors beyond which an AUC is not that of guesses.
_FAR = 3.0
# Further shuffles where the first one is beyond.
_MORE = 4


def find(subject: Subject) -> Finding:
    """Whether AUC is 0.5, within three standard errors, after learning from shuffled labels.

    Labels are shuffled inside each part that is learned from. The errors hold rows of an item, and
    of a user, together. That is of one model; but where few coarse features decide, models that
    learned nothing differ more among themselves, each with a chance ranking of, say, two genders.
    So a first value beyond three errors is followed by four more shuffles and seeds, and is a leak
    only if all of them together are off 0.5 by a t-test at the level of three errors as well.
    """
    phases = [p for p in subject.split.phases if 0 < subject.truth(p).mean() < 1]
    if not phases:
        return not_applicable("no phase scores rows of both classes")
    first = _trained_scores(subject, 0)
    found = {phase: _judged(subject, phase, first[phase.name]) for phase in phases}
    worst = max(phases, key=lambda phase: abs(found[phase][2]))
    value, error, far = found[worst]
    said = f"after learning from shuffled labels AUC is {value:.4f} (phase {worst.name})"
    limits = f"0.5 +- {_FAR:g} x {error:.4f}"
    if abs(far) <= _FAR:
        return Finding(OK, f"{said}, within {limits}", value)
    truth = subject.truth(worst)
    more = (_trained_scores(subject, number)[worst.name] for number in range(1, 1 + _MORE))
    values = [value, *(auc(scores, truth) for scores in more)]
    chance = off_half(values)
    mean = float(np.mean(values))
    said += f", beyond {limits}; {len(values)} shuffles give {mean:.4f} on average"
    if chance < 2 * stats.norm.sf(_FAR):
        return Finding(LEAK, f"{said}, which chance does not (p = {chance:.1g})", mean)
    return Finding(OK, f"{said}, which chance does (p = {chance:.2f})", mean)


def off_half(values: list[float]) -> float:
    """The p-value of a t-test that the mean of AUCs is 0.5; 0 where all are one other value."""
    gap, spread = np.mean(values) - 0.5, np.std(values, ddof=1)
    if spread == 0:
        return float(gap == 0)
    return float(2 * stats.t.sf(abs(gap) / (spread / math.sqrt(len(values))), len(values) - 1))


def _judged(subject: Subject, phase: Phase, scores: Array) -> tuple[float, float, float]:
    """AUC of a phase, its error, and how many errors it is off 0.5."""
    rows = subject.split[phase.score_on]
    value, error = auc_with_error(
        scores, subject.truth(phase), subject.ids[rows], subject.others[rows]
    )
    return value, error, (value - 0.5) / max(error, 1e-12) if value != 0.5 else 0.0


def _trained_scores(subject: Subject, number: int) -> dict[str, Array]:
    """Scores by phase after learning from the ``number``-th shuffle of the labels."""
    draws = np.random.default_rng([subject.seed, number])
    data = subject.data
    learned = ["train", *dict.fromkeys(subject.split.warm_parts)]
    rows = np.concatenate([subject.split[name] for name in learned])
    labels = [draws.permutation(subject.labels[subject.split[name]]) for name in learned]
    edited = with_labels(data, rows, np.concatenate(labels))
    return subject.train(edited, "labels shuffled", config=_config(subject, number)).scores


def _config(subject: Subject, number: int) -> ColdConfig:
    """The entry's configuration; another seed for each further shuffle."""
    if not number:
        return subject.config
    config = subject.experiment.config(subject.entry, subject.seed + number)
    config["pretrain_seed"] = None
    return config
