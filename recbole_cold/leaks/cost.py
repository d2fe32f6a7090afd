"""How long the checks that train will take, from a few measured steps."""

import time
from collections.abc import Sequence
from typing import Any

from recbole_cold.device import scored_at_once
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.leaks._edits import cold_table
from recbole_cold.leaks.features import DRAWS
from recbole_cold.leaks.subject import Subject
from recbole_cold.sweep.cost import duration, estimate
from recbole_cold.training.trainer import Trainer


def plan(subject: Subject, checks: Sequence[Any]) -> str:
    """The trainings that ``checks`` need and about how long they take, as a line."""
    trainings = sum(check.trainings for check in checks) + any(check.plain for check in checks)
    fields = (
        len(cold_table(subject.data, subject.side)[1])
        if any(check.features for check in checks)
        else 0
    )
    experiment = subject.experiment
    alone = Experiment(experiment.request, entries=[subject.entry], store=experiment.store)
    found = estimate(alone)
    built, scored = _scoring(subject)
    phases = len(subject.split.phases)
    seconds = trainings * (found.pretrain + found.rest + phases * scored)
    # Each feature, and all of them together.
    seconds += (fields + (fields > 1)) * DRAWS * (built + scored)
    what = f"{trainings} training{'s' * (trainings != 1)}"
    if fields:
        what += f", new {subject.side}s scored with {fields} feature{'s' * (fields != 1)} exchanged"
    return f"{subject.label} on {subject.config.backbone_name}: {what}; about {duration(seconds)}"


def _scoring(subject: Subject) -> tuple[float, float]:
    """Seconds to build the method, and to score the rows of a phase once."""
    began = time.perf_counter()
    method = build_method(subject.config, subject.data)
    built = time.perf_counter() - began
    method.start_new_items()
    index = method.rows.index(subject.split[subject.cold.score_on])
    part = index[: scored_at_once(method.config, method.device)]
    trainer = Trainer(method, subject.seed)
    trainer.score(part)  # the first batch sets libraries up
    began = time.perf_counter()
    trainer.score(part)
    return built, (time.perf_counter() - began) * len(index) / len(part)
