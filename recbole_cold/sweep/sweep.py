"""A sweep: which setting of one method is best on pseudo-new items, then its numbers on ``test``.

A sweep's folder holds ``request.json`` (what was asked), ``trials/<key>.json`` (one results
document per finished trial), ``sweep.json``, ``trials.csv`` and ``figures/sweep.png`` (made from
them), ``best.yaml`` (for ``--config_files``), ``final/`` (the ordinary run of the chosen setting),
and at last ``table.txt``. Nothing is chosen on ``test``: trials fit with ``fit_on: valid``.
"""

import json
import logging
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_cold import keys, report
from recbole_cold.compat import recbole_folder
from recbole_cold.config import (
    ColdConfig,
    keys_of,
    keys_of_backbone,
    make_config,
    overall_values,
    parse_value,
)
from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import LOWER_IS_BETTER
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.fingerprint import versions
from recbole_cold.experiment.folders import FINISHED, make_folder
from recbole_cold.experiment.requests import Entry, Request, parse_entries
from recbole_cold.keys import check_flag
from recbole_cold.kinds import plain
from recbole_cold.registry import absolute
from recbole_cold.store import write_bytes
from recbole_cold.sweep import space
from recbole_cold.sweep.cost import duration, estimate
from recbole_cold.sweep.folders import move_aside, one_line_per_key, read_sweep
from recbole_cold.sweep.optuna_search import ask_optuna, import_optuna
from recbole_cold.sweep.requests import Setting, SweepRequest, roots
from recbole_cold.sweep.space import Axis
from recbole_cold.sweep.tables import settings_table, trials_csv
from recbole_cold.trials import ray_pool as pool
from recbole_cold.trials.trial import TrialSpec, score_of

logger = logging.getLogger(__name__)
SCHEMA = 1


class Sweep:
    """The trials of one request, what is chosen from them, and the final run.

    Args:
        request: what to search.
        stop: asked often; true ends with ``Interrupted``, and what is done is kept.

    Raises:
        UserError: anything in the request that cannot be; nothing is written then.
    """

    def __init__(self, request: SweepRequest, stop: Callable[[], bool] = lambda: False) -> None:
        self.request, self.stop = request, stop
        entries = parse_entries(request.model)
        if len(entries) > 1:
            raise UserError(f"tune takes one --model, not '{request.model}'; see `compare`")
        self.entry: Entry = entries[0]
        self.axes = [
            Axis(key, kind, tuple(values), where) for key, kind, values, where in request.axes
        ]
        if request.search == "random":
            self.axes = space.at_random(self.axes)
        self.config = self._config({}, "valid")
        self.metric = self.config["valid_metric"]
        if self.metric == "RelaImpr":
            raise UserError("valid_metric RelaImpr compares methods; choose AUC, LogLoss or F1")
        self.lower = self.metric in LOWER_IS_BETTER
        self._check()
        self.folder: Path | None = None
        self.documents: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}
        self.stopped: dict[str, int] = {}

    # ---------------------------------------------------------------- what is asked
    @cached_property
    def base(self) -> dict[str, Any]:
        """The keys that all trials share, with paths that hold from any folder."""
        given = {key: parse_value(key, value) for key, value in self.request.overrides.items()}
        given |= self.entry.variant
        for key in ("saved_dir", "seeds", "fit_on"):
            given.pop(key, None)
        asked = make_config(
            self.entry.spec, self.request.dataset, self.request.backbone,
            self.request.config_files, {**self.request.overrides, **self.entry.variant},
            places=self._given_at(),
        )  # fmt: skip
        given["data_path"] = str(asked["data_path"])
        if asked["cache_dir"]:
            given["cache_dir"] = str(Path(asked["cache_dir"]).expanduser().resolve())
        if self.request.cpus >= 2 and "num_threads" not in given:
            given["num_threads"] = int(self.request.cpus)
        if asked["valid_metric"] not in asked["metrics"]:
            given["metrics"] = [*asked["metrics"], asked["valid_metric"]]
        return given

    def _overrides(self, params: Mapping[str, Any], fit_on: str) -> dict[str, Any]:
        config = getattr(self, "config", {})
        nested = space.nested(params, {key: config[key] for key in roots(params)})
        return {**self.base, **nested, "fit_on": fit_on}

    def _config(self, params: Mapping[str, Any], fit_on: str) -> ColdConfig:
        places = {
            axis.key.partition(".")[0]: axis.where for axis in self.axes if axis.key in params
        }
        return make_config(
            absolute(self.entry.spec), self.request.dataset, self.request.backbone,
            self.request.config_files, self._overrides(params, fit_on),
            places={**self._given_at(), **places},
        )  # fmt: skip

    def _given_at(self) -> dict[str, str]:
        """Where what was given stands, for sentences."""
        return dict.fromkeys(self.request.overrides, self.request.place) | self.entry.places

    def _check(self) -> None:
        request = self.request
        for name in ("search", "scheduler", "select_on", "samples", "concurrent", "ray_address"):
            check_flag(name, getattr(request, name), request.place)
        check_flag("cpus_per_trial", request.cpus, request.place)
        check_flag("gpus_per_trial", request.gpus, request.place)
        scored = keys.names(touching=[keys.SPLIT, keys.TABLE])
        fixed = dict.fromkeys(
            keys.names(run_wide=True), "it holds for the whole sweep; give it as a flag"
        )
        fixed |= dict.fromkeys(scored, "it decides what is scored, so values would not compare")
        fixed |= dict.fromkeys(
            ("backbone", "model", "dataset"), "compare several with `recbole-cold compare`"
        )
        fixed |= dict.fromkeys(("seed", "seeds"), "every setting runs on all seeds, see --seeds")
        known = set(self.config.final_config_dict) - set(fixed)
        space.check(self.axes, known, fixed, self._try_value)
        drawn = any(axis.kind != "grid" for axis in self.axes)
        if request.samples is not None and not drawn and request.search == "grid":
            raise UserError(
                "--samples has no effect on a grid without distributions; leave it out, or add "
                "--search=random"
            )
        phases = self._phases()
        if request.select_on not in ("mean", *phases):
            raise UserError(
                f"--select_on={request.select_on} is no phase; use mean or one of "
                f"{', '.join(phases)}"
            )
        if request.scheduler == "asha":
            if "pretrain_epochs" in roots({axis.key: 0 for axis in self.axes}):
                raise UserError("--scheduler=asha cannot stop trials by epochs while "
                                "pretrain_epochs is an axis; leave one of them out")  # fmt: skip
            if self.config["pretrain_epochs"] < 2:
                raise UserError("--scheduler=asha stops trials between pre-training epochs, and "
                                "there is one; raise --pretrain_epochs")  # fmt: skip
            if not self._pretraining_axes():
                raise UserError("--scheduler=asha compares pre-training, which no axis of this "
                                "space changes; leave it out")  # fmt: skip
        if request.search == "optuna":
            import_optuna()

    def _phases(self) -> list[str]:
        letters = [f"warm_{chr(ord('a') + number)}" for number in range(self.config["warm_sets"])]
        common = [f"common_{n}" for n in range(1, self.config["common_phases"] + 1)]
        return ["cold", *letters, *common]

    def _try_value(self, axis: Axis, value: Any) -> None:
        try:
            self._config({axis.key: value}, "valid")
        except UserError as error:
            if axis.where in str(error):
                raise
            raise UserError(f"{axis.where}: {error}") from error

    @cached_property
    def seeds(self) -> list[int]:
        given = self._plain_seeds()
        return [self.config["seed"] + number for number in range(given)]

    def _plain_seeds(self) -> int:
        value = self.request.overrides.get("seeds")
        if value is None:
            return self.config["seeds"]
        config = make_config(
            self.entry.spec, self.request.dataset, self.request.backbone,
            self.request.config_files, {**self.base, "seeds": value}, places=self._given_at(),
        )  # fmt: skip
        return config["seeds"]

    def setting(self, params: Mapping[str, Any]) -> Setting:
        """A point of the space with its trials."""
        specs = [
            TrialSpec(
                model=absolute(self.entry.spec),
                dataset=self.config.dataset,
                backbone=self._backbone_spec(),
                config_files=tuple(self.request.config_files),
                overrides=plain(self._overrides(params, "valid")),
                seed=seed,
            )
            for seed in self.seeds
        ]
        return Setting(dict(params), specs)

    def _backbone_spec(self) -> str:
        """The backbone as it was asked for; beside a network of its own, other rows' backbone."""
        asked = self.config._asked_backbone or self.config.external_config_dict.get("backbone")
        given = self.request.backbone or self.config.final_config_dict.get("backbone")
        if self.config.method_class.network is not None:
            given = overall_values()["backbone"]
        return absolute(str(asked or given))

    @cached_property
    def settings(self) -> list[Setting]:
        """All settings that are known beforehand; an optuna search adds to them as it goes."""
        if self.request.search == "optuna":
            return []
        found = space.expand(self.axes, self.request.samples, self.config["seed"])
        settings = [self.setting(params) for params in found]
        for each in settings:
            try:
                self._config(each.params, "valid")
            except UserError as error:
                raise UserError(f"setting {space.setting_text(each.params)}: {error}") from error
        return settings

    @property
    def n_settings(self) -> int:
        if self.request.search == "optuna":
            return self.request.samples or space.DEFAULT_SAMPLES
        return len(self.settings)

    # ---------------------------------------------------------------- before the start
    def at_a_time(self) -> int:
        """Trials at a time: what there is room for, or fewer."""
        fits = pool.room(self.request.cpus, self.request.gpus, self.request.ray_address)
        wanted = self.request.concurrent or fits
        return min(wanted, fits, self.n_settings * len(self.seeds))

    def plan(self) -> str:
        """What is going to happen, with a time from a few measured steps."""
        keys = {**self.base, "fit_on": "valid", "show_progress": False}
        experiment = Experiment(
            Request(absolute(self.entry.spec), self.config.dataset, self._backbone_spec(),
                    self.request.config_files, keys)
        )  # fmt: skip
        experiment.prepare()  # the data set is parsed here, once, and mapped by all trials
        at_a_time, trials = self.at_a_time(), self.n_settings * len(self.seeds)
        cost = estimate(experiment)
        pretrainings = self._pretrainings()
        seconds = (pretrainings * cost.pretrain + trials * cost.rest) / at_a_time
        final = len(self.seeds) * (cost.pretrain + cost.rest)
        chosen = "mean over the phases" if self.request.select_on == "mean" else (
            f"phase {self.request.select_on}"
        )  # fmt: skip
        gpus = f", {self.request.gpus:g} GPU" if self.request.gpus else ""
        seeds = f"{len(self.seeds)} seed" + "s" * (len(self.seeds) > 1)
        return "\n".join(
            [
                f"{self.entry.label} on {self.config.backbone_name}, {self.config.dataset}: "
                f"{self.n_settings} settings x {seeds} = {trials} trials",
                space.describe(self.axes, self.request.samples),
                f"{at_a_time} at a time, each with {self.request.cpus:g} CPU{gpus}",
                f"about {duration(seconds)} for the trials ({pretrainings} pre-trainings of "
                f"{duration(cost.pretrain)}, {trials} times the rest of {duration(cost.rest)}), "
                f"then {duration(final)} for the final run",
                f"chosen by {self.metric} ({chosen}, {'lowest' if self.lower else 'highest'} mean "
                "over seeds) on pseudo-new items of the training part; test is scored once, after",
            ]
        )

    def _pretraining_axes(self) -> list[str]:
        own = keys_of(self.entry.spec) - keys_of_backbone(self.config)
        apart = keys.names(without=[keys.PRETRAINING]) | own
        return [axis.key for axis in self.axes if axis.key.partition(".")[0] not in apart]

    def _pretrainings(self) -> int:
        """Different pre-trained backbones; trials that agree on one share it."""
        concerned = self._pretraining_axes()
        if self.request.search == "optuna":
            return (self.n_settings if concerned else 1) * len(self.seeds)
        different = {
            json.dumps([each.params[key] for key in concerned], default=str)
            for each in self.settings
        }
        return len(different) * len(self.seeds)

    # ---------------------------------------------------------------- folder
    def open_folder(self) -> Path:
        """A new folder with the request in it."""
        name = f"{self.config.dataset}-{self.config.backbone_name}-{self.config['model']}-sweep"
        saved = self.request.overrides.get("saved_dir") or self.config["saved_dir"]
        self.folder = make_folder(name, str(saved), asdict(self.request))
        return self.folder

    def _path(self, spec: TrialSpec) -> Path:
        assert self.folder is not None
        return self.folder / "trials" / f"{spec.key}.json"

    def _early_path(self, spec: TrialSpec) -> Path:
        assert self.folder is not None
        return self.folder / "stopped" / spec.key

    def read_done(self) -> int:
        """Take the trials that an earlier call finished or stopped early; how many."""
        for each in self.settings:
            for spec in each.specs:
                self._read(spec)
        return len(self.documents) + len(self.stopped)

    def _read(self, spec: TrialSpec) -> bool:
        if spec.key in self.documents or spec.key in self.stopped:
            return True
        early = self._early_path(spec)
        if early.exists():
            self.stopped[spec.key] = int(early.read_text())
            return True
        path = self._path(spec)
        if not path.exists():
            return False
        try:
            self.documents[spec.key] = report.load(path)
        except UserError as problem:
            logger.warning("%s; this trial is run again", problem)
            return False
        return True

    # ---------------------------------------------------------------- trials
    def run(self) -> dict[str, Any]:
        """Run what is missing, choose, run the choice on everything; the sweep's document.

        Raises:
            Interrupted: ``stop`` was asked for; what is done is kept.
            UserError: no setting has come through.
        """
        assert self.folder is not None
        missing = self.request.search == "optuna" or any(
            not self._read(spec) for each in self.settings for spec in each.specs
        )
        with pool.session(self.request.ray_address) if missing else nullcontext():
            for batch in self._batches():
                self._run_trials([s for each in batch for s in each.specs if not self._read(s)])
        document = self.document()
        if document["best"] is None:
            self._write(document)
            first = next(iter(self.failures.values()), "every trial was stopped early")
            raise UserError(f"no setting came through all seeds; the first failure: {first}")
        self._final(document)
        self._write(document)
        write_bytes(self.folder / FINISHED, self.table(document).encode())
        return document

    def _batches(self) -> Iterator[list[Setting]]:
        if self.request.search != "optuna":
            yield self.settings
            return
        yield from ask_optuna(self)

    def _run_trials(self, specs: Sequence[TrialSpec]) -> None:
        asha = None
        if self.request.scheduler == "asha":
            mode = "min" if self.lower else "max"
            asha = (self.metric, mode, self.config["pretrain_epochs"])
        pool.run_all(
            specs,
            cpus=self.request.cpus,
            gpus=self.request.gpus,
            concurrent=self.request.concurrent,
            ray_address=self.request.ray_address,
            name="tune",
            on_done=self._done,
            on_failed=self._failed,
            on_stopped=self._early,
            asha=asha,
            stop=self.stop,
        )

    def _done(self, spec: TrialSpec, document: dict[str, Any]) -> None:
        report.write_json(self._path(spec), document)
        self.documents[spec.key] = report.load(self._path(spec))
        value = score_of(self.documents[spec.key], self.metric, self.request.select_on)
        self._line(spec, f"{self.metric} {value:.4f}", f"{document['trial']['seconds']:.1f} s")

    def _failed(self, spec: TrialSpec, error: str) -> None:
        if not self.failures:
            logger.error("the first failure ends with\n%s", error)
        self.failures[spec.key] = error
        self._line(spec, "failed", "")

    def _early(self, spec: TrialSpec, epoch: int) -> None:
        write_bytes(self._early_path(spec), f"{epoch}\n".encode())
        self.stopped[spec.key] = epoch
        self._line(spec, f"stopped after epoch {epoch}", "")

    def _line(self, spec: TrialSpec, outcome: str, seconds: str) -> None:
        """One line per trial, with the best setting so far."""
        total = self.n_settings * len(self.seeds)
        over = len(self.documents) + len(self.failures) + len(self.stopped)
        (setting,) = [each for each in self.settings if spec in each.specs]
        best = self._best([self.summary(each) for each in self.settings])
        told = "" if best is None else f"  best so far {best['mean']:.4f} " + space.setting_text(
            best["params"]
        )  # fmt: skip
        seed = f" seed={spec.seed}" if len(self.seeds) > 1 else ""
        print(
            f"[{over:>{len(str(total))}}/{total}] {outcome}  "
            f"{space.setting_text(setting.params)}{seed}  {seconds}{told}",
            flush=True,
        )

    # ---------------------------------------------------------------- choosing
    def _value(self, spec: TrialSpec) -> float:
        document = self.documents.get(spec.key)
        if document is None:
            return math.nan
        return score_of(document, self.metric, self.request.select_on)

    def summary(self, setting: Setting) -> dict[str, Any]:
        """A setting over its seeds; only one that has them all can be chosen."""
        values = [self._value(spec) for spec in setting.specs]
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

    def _best(self, summaries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        """The best of the settings that came through on all seeds; the earlier one of equals."""
        whole = [each for each in summaries if each["n"] == len(self.seeds)]
        sign = -1 if self.lower else 1
        return max(whole, key=lambda each: sign * each["mean"], default=None)

    def document(self) -> dict[str, Any]:
        """Everything that is known of the sweep, as ``sweep.json`` holds it."""
        summaries = [self.summary(each) for each in self.settings]
        return {
            "schema": SCHEMA,
            "verb": "tune",
            "command": self.request.command,
            "created": report.now(),
            "versions": versions(),
            "dataset": self.config.dataset,
            "model": self.entry.label,
            "backbone": self.config.backbone_name,
            "seeds": self.seeds,
            "space": [
                {"key": axis.key, "kind": axis.kind, "values": list(axis.values),
                 "where": axis.where}
                for axis in self.axes
            ],
            "search": self.request.search,
            "selection": {
                "metric": self.metric,
                "better": "lower" if self.lower else "higher",
                "select_on": self.request.select_on,
                "fit_on": "valid",
            },
            "phases": self._phases(),
            "trials": [
                self._trial(each, number, spec)
                for number, each in enumerate(self.settings)
                for spec in each.specs
            ],
            "settings": summaries,
            "best": self._best(summaries),
            "final": None,
        }  # fmt: skip

    def _trial(self, setting: Setting, number: int, spec: TrialSpec) -> dict[str, Any]:
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
            **known, "status": "done", "value": self._value(spec),
            "phases": {name: phase["metrics"] for name, phase in scored.items()},
            "seconds": document["trial"]["seconds"],
            "first_step_seconds": document["trial"]["first_step_seconds"],
            "error": None,
        }  # fmt: skip

    def saved_document(self) -> dict[str, Any]:
        """The document as a finished sweep left it."""
        assert self.folder is not None
        return read_sweep(self.folder)

    # ---------------------------------------------------------------- the choice
    def best_yaml(self, params: Mapping[str, Any]) -> str:
        """The configuration of the final run, for ``--config_files``."""
        config = self._config(params, "full")
        values = config.as_dict()
        given = {key for key in config.sources if key in config._external} | {"fit_on"}
        given -= keys.names(apart=True) | keys.names(here=True)
        head = {
            "model": absolute(self.entry.spec),
            "backbone": self._backbone_spec(),
            "dataset": config.dataset,
        }
        folder = Path(config["data_path"])
        if not folder.is_relative_to(recbole_folder()):  # the wheel's copy is found anywhere
            head["data_path"] = str(folder)
        head |= {"seed": self.seeds[0], "seeds": len(self.seeds)}
        searched = roots(params)
        tried = {key: values[key] for key in values if key in searched}
        rest = {key: values[key] for key in sorted(given & values.keys()) if key not in searched}
        parts = [
            f"# Chosen by `{self.request.command}`\n"
            f"# out of {self.n_settings} settings by {self.metric} ({self.request.select_on}) on "
            "pseudo-new items; test was not looked at.\n",
            one_line_per_key(head), "# What was searched\n", one_line_per_key(tried),
        ]  # fmt: skip
        if rest:
            parts += ["# What was given\n", one_line_per_key(rest)]
        return "".join(parts)

    def _final(self, document: dict[str, Any]) -> None:
        """Fit the chosen setting on everything, score ``test``; an ordinary run in ``final/``."""
        assert self.folder is not None
        best = document["best"]
        path = self.folder / "best.yaml"
        text = self.best_yaml(best["params"])
        folder = self.folder / "final"
        if path.exists() and path.read_text() != text and folder.exists():
            move_aside(folder)  # more trials came through, and another setting is the best now
        write_bytes(path, text.encode())
        request = Request(
            models=absolute(self.entry.spec),
            config_files=[str(path.resolve())],
            overrides={"show_progress": False},
            command=f"recbole-cold --config_files={path}",
        )
        print(f"final run: {space.setting_text(best['params'])}, fitted on all old items")
        write_bytes(folder / "request.json", json.dumps(asdict(request), indent=1).encode())
        experiment = Experiment(request, folder, self.stop)
        experiment.prepare()
        final = experiment.run()
        report.plot_curves(final, folder / "figures" / "curves.png")
        write_bytes(folder / "results.md", report.markdown(final).encode())
        write_bytes(folder / FINISHED, f"{report.table(final)}\n\n{report.costs(final)}\n".encode())
        document["final"] = "final"

    # ---------------------------------------------------------------- files
    def _write(self, document: dict[str, Any]) -> None:
        assert self.folder is not None
        report.write_json(self.folder / "sweep.json", document)
        write_bytes(self.folder / "trials.csv", trials_csv(document).encode())
        if any(trial["status"] == "done" for trial in document["trials"]):
            report.plot_sweep(document, self.folder / "figures" / "sweep.png")

    def table(self, document: dict[str, Any]) -> str:
        """The settings from the best down, then the final run's table."""
        assert self.folder is not None
        parts = [settings_table(document)]
        if document["final"]:
            final = report.load(self.folder / document["final"])
            parts.append("the best setting, fitted on all old items, on test\n\n"
                         + report.table(final))  # fmt: skip
        return "\n\n".join(parts) + "\n"
