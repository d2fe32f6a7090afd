"""Tunes every row of a table equally on pseudo-new items, then scores the choices once on ``test``.

A benchmark's folder holds ``request.json`` (what was asked), ``trials/<key>.json`` (one results
document per finished trial, of tuning and of the final runs), ``chosen/`` (a yaml per row, for
``--config_files``), and the files of a comparison: ``comparison.json`` has the key ``benchmark``
beside, with budgets, chosen settings and best-of-n curves.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recbole_cold import keys, report
from recbole_cold.comparison.campaign import Campaign
from recbole_cold.equal_tuning.candidates import Candidate
from recbole_cold.equal_tuning.plan import Plan, time_left
from recbole_cold.equal_tuning.requests import REFERENCE_ROWS, BenchmarkRequest
from recbole_cold.errors import UserError
from recbole_cold.evaluation.best_of import best_of_curve
from recbole_cold.evaluation.metrics import LOWER_IS_BETTER, to_select_by
from recbole_cold.experiment.folders import file_name
from recbole_cold.experiment.requests import Entry
from recbole_cold.registry import absolute
from recbole_cold.store import write_bytes
from recbole_cold.sweep import space
from recbole_cold.sweep.choosing import Outcomes, best_yaml
from recbole_cold.sweep.cost import duration
from recbole_cold.trials import ray_pool as pool
from recbole_cold.trials.trial import TrialSpec

logger = logging.getLogger(__name__)

RunAll = Callable[..., None]


class Benchmark:
    """The candidates of one request, their trials, the choices and the comparison of these.

    Args:
        request: what to tune and compare.
        stop: asked by the pool; true ends with ``Interrupted``.

    Raises:
        UserError: the request cannot be run; nothing has been written.
    """

    def __init__(self, request: BenchmarkRequest, stop: Callable[[], bool] = lambda: False) -> None:
        self.request, self.stop = request, stop
        keys.check_flag("trials", request.trials, request.place)
        keys.check_flag("tune_seeds", request.tune_seeds, request.place)
        self.campaign = Campaign(request.comparison(), stop)
        self.campaign.check()
        config = self.campaign.first().first()
        if config["fit_on"] != "full":
            raise UserError(
                "a benchmark tunes with fit_on: valid and is scored with fit_on: full by itself; "
                "leave out --fit_on"
            )
        self.metric = to_select_by(config["valid_metric"])
        self.lower = self.metric in LOWER_IS_BETTER
        self.candidates = [
            self._candidate(backbone, entry, text)
            for backbone, experiment in self.campaign.experiments.items()
            for entry, text in zip(experiment.entries, self.campaign.texts, strict=True)
            if entry.label not in self.campaign.alone or experiment is self.campaign.first()
        ]
        self._check_space()
        self.plan = Plan(self.candidates, self.at_a_time())

    def _candidate(self, backbone: str, entry: Entry, text: str) -> Candidate:
        asked = self.request
        outcomes = Outcomes(self.metric, self.lower, "mean", asked.tune_seeds)
        return Candidate(
            self.campaign, backbone, entry, text, asked.shared(), asked.trials, asked.tune_seeds,
            outcomes,
        )  # fmt: skip

    def _check_space(self) -> None:
        """Refuse what cannot be searched, on the first backbone: values do not differ by it."""
        first = [each for each in self.candidates if each.experiment is self.campaign.first()]
        checked: set[str] = set()
        for each in first:
            axes = [axis for axis in each.shared_axes if axis.key not in checked]
            checked |= {axis.key for axis in axes}
            each.check_axes([*axes, *each.own_axes])
        # What no row has is unknown, unless it is given or idle everywhere.
        known = first[0].config
        left = [axis for axis in self.request.shared() if axis.key not in checked]
        first[0].check_axes([axis for axis in left if not known.given(axis.root)])

    def at_a_time(self) -> int:
        """Trials at a time: what there is room for, or fewer."""
        asked = self.request
        fits = pool.room(asked.cpus, asked.gpus, asked.ray_address)
        return min(asked.concurrent or fits, fits)

    # ---------------------------------------------------------------- tuning
    def tell_plan(self) -> None:
        """The plan, with the time it may take, before anything is run."""
        seeds = len(self.campaign.first().seeds())
        matched = bool(self.campaign.first().first()["matched_row"])
        for line in self.plan.lines(self.metric, self.lower, seeds, matched):
            logger.info("%s", line)

    def tune(self, folder: Path, run_all: RunAll) -> None:
        """Run the trials that are not in the folder yet, those of one backbone close together."""
        kept = {each.place: each.kept(folder) for each in self.candidates}
        jobs = {
            job.spec.key: job
            for job in self.plan.in_order()
            if not kept[job.candidate.place].read(job.spec)
        }
        total = len(self.plan.jobs)
        logger.info("%d of %d trials are there already, %d to run", total - len(jobs), total,
                    len(jobs))  # fmt: skip
        if not jobs:
            return
        began = time.perf_counter()
        over: set[str] = set()

        def line(spec: TrialSpec, outcome: str, log: Callable[..., None] = logger.info) -> None:
            over.add(spec.key)
            waiting = [job.seconds for key, job in jobs.items() if key not in over]
            done = sum(jobs[key].seconds for key in over)
            left = time_left(time.perf_counter() - began, done, sum(waiting), self.at_a_time())
            told = f"; about {duration(left)} left" if waiting else ""
            log("[%d/%d] %s: %s%s", len(over), len(jobs), jobs[spec.key].told, outcome, told)

        def on_done(spec: TrialSpec, document: dict[str, Any]) -> None:
            candidate = jobs[spec.key].candidate
            kept[candidate.place].done(spec, document)
            value, seconds = candidate.outcomes.value(spec), document["trial"]["seconds"]
            line(spec, f"{self.metric} {value:.4f} ({seconds:.1f} s)")

        def on_failed(spec: TrialSpec, error: str) -> None:
            jobs[spec.key].candidate.outcomes.failures[spec.key] = error
            last = error.strip().splitlines() or ["unknown"]
            line(spec, f"failed: {last[-1]}", logger.error)

        asked = self.request
        run_all(
            [job.spec for job in jobs.values()], cpus=asked.cpus, gpus=asked.gpus,
            concurrent=asked.concurrent, ray_address=asked.ray_address, on_done=on_done,
            on_failed=on_failed, name=f"{folder.name}-tuning", stop=self.stop,
        )  # fmt: skip

    # ---------------------------------------------------------------- the choices
    def choose(self, folder: Path) -> None:
        """The best setting of every candidate, for the campaign, and as a yaml of its own."""
        self.campaign.chosen = {}
        for each in self.candidates:
            best = each.best
            if best is None:
                error = next(iter(each.outcomes.failures.values()), "no trial came through")
                self.campaign.failures.append(
                    {"backbone": each.backbone, "row": each.entry.label,
                     "seed": each.experiment.seeds()[0],
                     "error": f"no setting came through all seeds; the first failure: {error}"}
                )  # fmt: skip
                continue
            self.campaign.chosen[each.place] = each.nested(best["params"])
            name = file_name(f"{each.backbone}-{each.entry.label}")
            write_bytes(folder / "chosen" / f"{name}.yaml", self._yaml(each, best).encode())

    def _yaml(self, candidate: Candidate, best: Mapping[str, Any]) -> str:
        return best_yaml(
            candidate.configured(best["params"]),
            best["params"],
            model=absolute(candidate.entry.spec),
            backbone=absolute(str(candidate.experiment.request.backbone)),
            seeds=candidate.experiment.seeds(),
            told=f"# Chosen by `{self.request.command}`\n"
            f"# for {candidate.entry.label} on {candidate.backbone}, out of "
            f"{len(candidate.settings)} settings by {self.metric} (mean over the phases) on "
            "pseudo-new items; test was not looked at.\n",
        )

    def run(self, folder: Path, saved_dir: Path, run_all: RunAll) -> dict[str, Any]:
        """Tune, choose, and score the choices; the comparison, also in ``comparison.json``.

        Whatever ends this, the results that are there are in the folder.
        """
        self.tune(folder, run_all)
        self.choose(folder)
        try:
            document = self._with_budget(self.campaign.run(folder, saved_dir, run_all))
        except BaseException:
            report.write_json(folder / "comparison.json", self.document())
            raise
        report.write_json(folder / "comparison.json", document)
        return document

    def document(self) -> dict[str, Any]:
        """The comparison so far, with the budget beside."""
        return self._with_budget(self.campaign.document())

    def _with_budget(self, document: Mapping[str, Any]) -> dict[str, Any]:
        asked = self.request
        failures = [failure for each in self.candidates for failure in _failures(each)]
        benchmark = {
            "trials": asked.trials,
            "tune_seeds": asked.tune_seeds,
            "seeds": len(self.campaign.first().seeds()),
            "metric": self.metric,
            "better": "lower" if self.lower else "higher",
            "reference_rows": list(REFERENCE_ROWS),
            "space": [{"key": axis.key, "kind": axis.kind, "values": list(axis.values)}
                      for axis in asked.shared()],
            "failures": failures,
            "spent": {f"{self._group(each)}|{each.entry.label}": self._spent(each)
                      for each in self.candidates},
        }  # fmt: skip
        return {**document, "benchmark": benchmark}

    def _group(self, candidate: Candidate) -> str:
        """The label under which the comparison shows a candidate."""
        alone = candidate.entry.label in self.campaign.alone
        return report.OWN_NETWORK if alone else candidate.backbone

    def _spent(self, each: Candidate) -> dict[str, Any]:
        """What a row's tuning cost, and what came of it."""
        summaries = [each.outcomes.summary(setting) for setting in each.settings]
        whole = [found["n"] == each.n_seeds for found in summaries]
        means = [
            found["mean"] if good else math.nan
            for found, good in zip(summaries, whole, strict=True)
        ]
        documents = list(each.outcomes.documents.values())
        stages = [stage for document in documents
                  for stage in document["runs"][0]["seeds"][0]["stages"]]  # fmt: skip
        best = each.best
        return {
            "trials": len(each.settings),
            "failed": whole.count(False),
            "seconds": sum(document["trial"]["seconds"] for document in documents),
            "steps": sum(stage["steps"] for stage in stages),
            "chosen": None if best is None else best["params"],
            "default": each.default,
            "value": None if best is None else best["mean"],
            "best_of": best_of_curve(means[0], means[1:], len(means), self.lower),
            "space_size": space.size(each.axes) if each.axes else 1,
            "own_keys": [axis.key for axis in each.own_axes],
            "left_out": each.left_out,
            "settings": [
                {"params": found["params"], "mean": mean, "n": found["n"]}
                for found, mean in zip(summaries, means, strict=True)
            ],
        }


def _failures(candidate: Candidate) -> list[dict[str, Any]]:
    """The trials that failed, as the document has them."""
    return [
        {"backbone": candidate.backbone, "row": candidate.entry.label, "trial": number,
         "seed": spec.seed, "error": candidate.outcomes.failures[spec.key]}
        for number, setting in enumerate(candidate.settings, 1)
        for spec in setting.specs
        if spec.key in candidate.outcomes.failures
    ]  # fmt: skip
