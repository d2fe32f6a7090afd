"""One trial: a method on one seed, from plain values to a results document.

A trial is what processes send each other: it is described by values that JSON can hold, and gives
back a whole results document. Nothing here knows of Ray, of sweeps or of comparisons.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Entry, Request
from recbole_cold.training.trainer import Watch

# What every trial says for itself, whatever was asked for: it is one seed of one row.
ALONE = {"seeds": 1, "matched_row": False, "show_progress": False}
# What a process has loaded stays for the next trial it is given.
_STORE = DataStore()


@dataclass(frozen=True)
class TrialSpec:
    """What one trial runs; equal specs have equal keys, in any process.

    Attributes:
        model: one entry as on the command line, for instance ``MWUF[mwuf_parts=[scale]]``.
        overrides: configuration keys; ``fit_on`` is one of them.
        seed: of everything in the trial.
        matched_steps: optimizer steps per warm phase of the plain backbone's row; else ``None``.
    """

    model: str
    dataset: str
    backbone: str
    config_files: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 2020
    matched_steps: int | None = None

    @property
    def key(self) -> str:
        """The name of the trial's files."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; ``from_dict`` reads them back."""
        return {**asdict(self), "config_files": list(self.config_files)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialSpec":
        return cls(**{**values, "config_files": tuple(values["config_files"])})

    def request(self) -> Request:
        """The same as a request for one run."""
        return Request(
            models=self.model,
            dataset=self.dataset,
            backbone=self.backbone,
            config_files=self.config_files,
            overrides={**self.overrides, "seed": self.seed, **ALONE},
        )

    def entry(self) -> Entry:
        """The row of a table that the trial gives."""
        (entry,) = self.request().entries()
        if self.matched_steps is None:
            return entry
        return Entry(entry.spec, {"warm_steps": self.matched_steps}, self.matched_steps)


class _FirstStep(Watch):
    """Remembers when the first optimizer step was done; hands epochs on."""

    def __init__(self, on_epoch: Callable[[int, dict[str, float]], None] | None) -> None:
        self.began, self.seconds = time.perf_counter(), None
        self.on_epoch = on_epoch
        self.wants_epochs = on_epoch is not None

    def step(self) -> None:
        if self.seconds is None:
            self.seconds = time.perf_counter() - self.began

    def epoch(self, number: int, metrics: dict[str, float]) -> None:
        if self.on_epoch is not None:
            self.on_epoch(number, metrics)


def run_trial(
    spec: TrialSpec,
    stop: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """The results document of one trial: one run, one seed, and ``trial`` with key and seconds.

    Args:
        stop: asked between batches; true raises ``Interrupted``.
        on_epoch: called after each pre-training epoch with its number and the metrics of the plain
            backbone in the cold phase.

    Raises:
        UserError: the trial cannot be run, or its training diverged.
    """
    watch = _FirstStep(on_epoch)
    experiment = Experiment(
        spec.request(), stop=stop, entries=[spec.entry()], store=_STORE, watch=watch
    )
    document = experiment.run()
    document["trial"] = {
        "key": spec.key,
        "seconds": time.perf_counter() - watch.began,
        "first_step_seconds": watch.seconds,
    }
    return document


def score_of(document: Mapping[str, Any], metric: str, select_on: str = "mean") -> float:
    """The number a trial is chosen by: ``metric`` in one phase, or its mean over all phases.

    Raises:
        UserError: the trial has no such phase or metric.
    """
    phases = list(document["phases"])
    if select_on != "mean":
        if select_on not in phases:
            raise UserError(
                f"--select_on={select_on} is no phase; use mean or one of {', '.join(phases)}"
            )
        phases = [select_on]
    (run,) = document["runs"]
    scored = run["seeds"][0]["phases"]
    try:
        values = [scored[phase]["metrics"][metric] for phase in phases]
    except KeyError:
        raise UserError(
            f"metric '{metric}' was not computed, only {', '.join(document['metrics'])}; add it "
            "to --metrics or choose another --valid_metric"
        ) from None
    return sum(values) / len(values)
