"""Estimates the time of a sweep from a few measured steps."""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_cold.errors import Interrupted
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.sweep import space
from recbole_cold.sweep.requests import Setting
from recbole_cold.training.callbacks import Callback
from recbole_cold.training.trainer import Trainer

_PROBE_SECONDS, _PROBE_STEPS = 1.5, 12


@dataclass
class Estimate:
    """Measured seconds of one trial by stage: ``learn`` with the building, ``warm`` all phases."""

    pretrain: float
    learn: float
    warm: float

    @property
    def rest(self) -> float:
        """Everything after pre-training."""
        return self.learn + self.warm


class _Clock(Callback):
    """Times of batches; asks to stop after some."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.began = time.perf_counter()

    def step(self, stage: str, number: int) -> None:
        self.times.append(time.perf_counter())

    def stop(self) -> bool:
        # The first batch includes one-off set-up of libraries and is not measured.
        return len(self.times) > _PROBE_STEPS or (
            len(self.times) > 2 and self.times[-1] - self.times[0] > _PROBE_SECONDS
        )

    def per_batch(self) -> float:
        """The median of the measured times."""
        gaps = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        return statistics.median(gaps) if gaps else time.perf_counter() - self.began


def estimate(experiment: Experiment) -> Estimate:
    """Seconds of one trial, from a few batches of every stage; the training is discarded."""
    config = experiment.first()
    dataset = experiment.data(config)
    began = time.perf_counter()
    method = build_method(config, dataset)
    build = time.perf_counter() - began
    seed, split = config["seed"], dataset.split
    warm = next((phase for phase in split.phases if phase.warm_up_on is not None), None)

    def probe(act: Callable[[Trainer], None], fits: Callable[[], Sequence[Any]]) -> float:
        clock = _Clock()
        trainer = Trainer(method, seed, stop=clock.stop, callbacks=[clock])
        try:
            act(trainer)
        except Interrupted:
            pass
        else:
            return time.perf_counter() - clock.began
        return clock.per_batch() * sum(fit.epochs * len(fit.batches) for fit in fits())

    pretrain = probe(lambda trainer: trainer.pretrain(), method.pretrain_fits)
    learn = probe(lambda trainer: trainer.learn(), method.learn_fits)
    if warm is None:
        return Estimate(pretrain, build + learn, 0.0)
    rows = split[warm.warm_up_on]
    index = method.rows.index(rows)
    warm_up = probe(
        lambda trainer: trainer.warm_up(warm.name, rows), lambda: method.warm_fits(index)
    )
    return Estimate(pretrain, build + learn, len(split.warm_parts) * warm_up)


def plan(sweep: Any, experiment: Experiment, pretrainings: int) -> str:
    """The plan of a sweep as text, with a time estimated from a few measured steps.

    Args:
        sweep: the ``Sweep``.
        experiment: the first of its trials, prepared.
        pretrainings: different pre-trained backbones.
    """
    request, at_a_time = sweep.request, sweep.at_a_time()
    trials = sweep.n_settings * len(sweep.seeds)
    cost = estimate(experiment)
    seconds = (pretrainings * cost.pretrain + trials * cost.rest) / at_a_time
    final = len(sweep.seeds) * (cost.pretrain + cost.rest)
    mean = request.select_on == "mean"
    chosen = "mean over the phases" if mean else f"phase {request.select_on}"
    gpus = f", {request.gpus:g} GPU" if request.gpus else ""
    seeds = f"{len(sweep.seeds)} seed" + "s" * (len(sweep.seeds) > 1)
    return "\n".join(
        [
            f"{sweep.entry.label} on {sweep.config.backbone_name}, {sweep.config.dataset}: "
            f"{sweep.n_settings} settings x {seeds} = {trials} trials",
            space.describe(sweep.axes, request.samples),
            *sweep.told_of_repeats(),
            f"{at_a_time} at a time, each with {request.cpus:g} CPU{gpus}",
            f"about {duration(seconds)} for the trials ({pretrainings} pre-trainings of "
            f"{duration(cost.pretrain)}, {trials} times the rest of {duration(cost.rest)}), "
            f"then {duration(final)} for the final run",
            f"chosen by {sweep.metric} ({chosen}, {'lowest' if sweep.lower else 'highest'} mean "
            "over seeds) on pseudo-new items of the training part; test is scored once, after",
        ]
    )


def different(settings: Iterable[Setting], keys: Sequence[str]) -> int:
    """How many different values settings have of ``keys`` together."""
    return len({json.dumps([each.params[key] for key in keys], default=str) for each in settings})


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
