"""The outcomes of a sweep's trials, the choice of the best setting, and ``best.yaml``."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_cold import keys
from recbole_cold.compat import recbole_folder
from recbole_cold.config import ColdConfig
from recbole_cold.sweep.folders import one_line_per_key
from recbole_cold.sweep.requests import Setting, roots
from recbole_cold.trials.trial import TrialSpec, score_of


class Outcomes:
    """The outcomes of finished trials, and summaries of the settings.

    Attributes:
        documents: key of a trial -> its results document.
        failures: key -> the last lines of what went wrong.
        stopped: key -> the epoch after which a trial was stopped early.

    Args:
        metric: what settings are chosen by.
        lower: whether lower values are better.
        select_on: the phase that it is read in, or ``mean`` over all.
        n_seeds: trials of a setting.
    """

    def __init__(self, metric: str, lower: bool, select_on: str, n_seeds: int) -> None:
        self.metric, self.lower, self.select_on = metric, lower, select_on
        self.n_seeds = n_seeds
        self.documents: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}
        self.stopped: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.documents) + len(self.failures) + len(self.stopped)

    def value(self, spec: TrialSpec) -> float:
        """The value that a trial is judged by; nan while it has none."""
        document = self.documents.get(spec.key)
        if document is None:
            return math.nan
        return score_of(document, self.metric, self.select_on)

    def summary(self, setting: Setting) -> dict[str, Any]:
        """The figures of a setting over its seeds; it can be chosen only with all of them."""
        values = [self.value(spec) for spec in setting.specs]
        known = [value for value in values if math.isfinite(value)]
        return {
            "params": setting.params,
            "mean": statistics.fmean(known) if known else math.nan,
            "std": statistics.stdev(known) if len(known) > 1 else math.nan,
            "n": len(known),
            "phases": self._phase_means(setting),
        }

    def _phase_means(self, setting: Setting) -> dict[str, float]:
        done = [self.documents[s.key] for s in setting.specs if s.key in self.documents]
        if not done:
            return {}
        return {
            phase: statistics.fmean(score_of(document, self.metric, phase) for document in done)
            for phase in done[0]["phases"]
        }

    def best(self, settings: Iterable[Setting]) -> dict[str, Any] | None:
        """The summary of the best setting that came through on all seeds; the earlier of equals."""
        whole = [each for each in map(self.summary, settings) if each["n"] == self.n_seeds]
        sign = -1 if self.lower else 1
        return max(whole, key=lambda each: sign * each["mean"], default=None)

    def of_trial(self, setting: Setting, number: int, spec: TrialSpec) -> dict[str, Any]:
        """A trial of the setting ``number`` as ``sweep.json`` holds it."""
        known = {"key": spec.key, "setting": number, "params": setting.params, "seed": spec.seed}
        document = self.documents.get(spec.key)
        if document is None:
            status = (
                "failed" if spec.key in self.failures
                else "stopped" if spec.key in self.stopped else "missing"
            )  # fmt: skip
            return {
                **known, "status": status, "value": None, "phases": {}, "seconds": None,
                "error": self.failures.get(spec.key),
                "stopped_after_epoch": self.stopped.get(spec.key),
            }  # fmt: skip
        scored = document["runs"][0]["seeds"][0]["phases"]
        return {
            **known, "status": "done", "value": self.value(spec),
            "phases": {name: phase["metrics"] for name, phase in scored.items()},
            "seconds": document["trial"]["seconds"],
            "first_step_seconds": document["trial"]["first_step_seconds"],
            "error": None,
        }  # fmt: skip


def best_yaml(
    config: ColdConfig,
    params: Mapping[str, Any],
    *,
    model: str,
    backbone: str,
    seeds: Sequence[int],
    told: str,
) -> str:
    """The configuration of the final run, for ``--config_files``.

    Args:
        config: the chosen setting, fitted on everything.
        params: the setting.
        told: comment lines on how it was chosen.
    """
    values = config.as_dict()
    given = {key for key in values if config.given(key)} | {"fit_on"}
    given -= keys.names(apart=True) | keys.names(here=True)
    head = {"model": model, "backbone": backbone, "dataset": config.dataset}
    folder = Path(config["data_path"])
    if not folder.is_relative_to(recbole_folder()):  # RecBole's own copy is found from anywhere
        head["data_path"] = str(folder)
    head |= {"seed": seeds[0], "seeds": len(seeds)}
    searched = roots(params)
    tried = {key: values[key] for key in values if key in searched}
    rest = {key: values[key] for key in sorted(given & values.keys()) if key not in searched}
    parts = [told, one_line_per_key(head), "# What was searched\n", one_line_per_key(tried)]
    if rest:
        parts += ["# What was given\n", one_line_per_key(rest)]
    return "".join(parts)
