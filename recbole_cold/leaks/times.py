"""L5: training rows of the future, of the same user."""

import numpy as np

from recbole_cold.data._in_time import future_rows
from recbole_cold.leaks.finding import LEAK, NOTE, OK, Finding, not_applicable, share
from recbole_cold.leaks.subject import Array, Subject
from recbole_cold.leaks.uncertainty import auc_with_error

NO_TIME = "no timestamp"


def find(subject: Subject) -> Finding:
    """How many test rows are older than some row of the same user (partner) in ``train``."""
    if subject.time is None:
        return not_applicable(NO_TIME)
    later = _later(subject)
    part = float(later.mean())
    if not later.any():
        return Finding(
            OK, f"no test row is older than a row of the same {subject.partner} in train", 0.0
        )
    return Finding(
        LEAK,
        f"{share(part)} of {len(later):,} test rows are older than some row of the same "
        f"{subject.partner} in train (as published; --train_until=first_test trains without)",
        part,
    )


def find_auc(subject: Subject) -> Finding:
    """AUC where no training row of the future is of the same user, beside that of all test rows."""
    if subject.time is None:
        return not_applicable(NO_TIME)
    phase = next((p for p in subject.split.phases if p.score_on == "test"), None)
    if phase is None:
        return not_applicable("no phase scores the test rows")
    scores, clean = subject.plain.scores[phase.name], ~_later(subject)
    whole, of_whole = _auc(subject, scores, np.ones(len(clean), dtype=bool))
    if clean.all():
        said = f"AUC of phase {phase.name} is {whole:.4f}, and no test row has it easier"
        return Finding(OK, said, whole)
    value, error = _auc(subject, scores, clean)
    said = (
        f"AUC of phase {phase.name} is {whole:.4f} (standard error {of_whole:.4f}) on all "
        f"{len(clean):,} test rows"
    )
    if np.isnan(value):
        return Finding(
            NOTE, f"{said}; the {int(clean.sum()):,} without later rows are too few for one", value
        )
    return Finding(
        NOTE,
        f"{said}, {value:.4f} ({error:.4f}) on the {int(clean.sum()):,} without later rows",
        value,
    )


def _later(subject: Subject) -> Array:
    assert subject.time is not None
    return future_rows(subject.split, subject.others, subject.time)


def _auc(subject: Subject, scores: Array, chosen: Array) -> tuple[float, float]:
    rows = subject.split["test"][chosen]
    labels = subject.labels[rows]
    return auc_with_error(scores[chosen], labels, subject.ids[rows], subject.others[rows])
