"""One trial: a method on one seed, from plain values to a results document.

A trial can be sent to another process: it is described by values that JSON can hold, and gives
back a whole results document. Nothing here depends on Ray, on sweeps or on comparisons.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Entry, Request
from recbole_cold.training.callbacks import Callback

# Keys of every trial, whatever was asked for: it has one seed and one entry, and no folder.
ALONE = {"seeds": 1, "matched_row": False, "show_progress": False, "keep_model": False}
# Data that a process has loaded is kept for its next trial.
_STORE = DataStore()


@dataclass(frozen=True)
class TrialSpec:
    """The description of one trial; equal descriptions have equal keys, in any process.

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
        """The request of the run that the trial is."""
        return Request(
            models=self.model,
            dataset=self.dataset,
            backbone=self.backbone,
            config_files=self.config_files,
            overrides={**self.overrides, "seed": self.seed, **ALONE},
        )

    def entry(self) -> Entry:
        """The entry of a table that the trial gives."""
        (entry,) = self.request().entries()
        if self.matched_steps is None:
            return entry
        return Entry(entry.spec, {"warm_steps": self.matched_steps}, self.matched_steps)


class _FirstStep(Callback):
    """Remembers when the first optimizer step was done."""

    def __init__(self) -> None:
        self.began, self.seconds = time.perf_counter(), None

    def step(self, stage: str, number: int) -> None:
        if self.seconds is None:
            self.seconds = time.perf_counter() - self.began


def run_trial(
    spec: TrialSpec,
    stop: Callable[[], bool] = lambda: False,
    callbacks: Sequence[Callback] = (),
    take_scores: Callable[[bytes], None] | None = None,
) -> dict[str, Any]:
    """The results document of one trial: one run, one seed, and ``trial`` with key and seconds.

    Args:
        stop: asked between batches; true raises ``Interrupted``.
        callbacks: called while the run goes on.
        take_scores: takes the content of the file of its row scores, if ``keep_scores`` is on.

    Raises:
        UserError: the trial cannot be run, or its training diverged.
    """
    clock = _FirstStep()
    experiment = Experiment(
        spec.request(), stop=stop, entries=[spec.entry()], store=_STORE,
        callbacks=[clock, *callbacks],
    )  # fmt: skip
    document = experiment.run()
    document["trial"] = {
        "key": spec.key,
        "seconds": time.perf_counter() - clock.began,
        "first_step_seconds": clock.seconds,
    }
    for scores in experiment.scores.values() if take_scores is not None else ():
        take_scores(scores.content())
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
