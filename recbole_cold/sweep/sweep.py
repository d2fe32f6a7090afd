"""Runs a sweep: chooses a setting of one method on pseudo-new items, then scores it on ``test``.

A sweep's folder holds ``request.json`` (what was asked), ``trials/<key>.json`` (one results
document per finished trial), ``sweep.json``, ``trials.csv`` and ``figures/sweep.png`` (made from
them), ``best.yaml`` (for ``--config_files``), ``final/`` (the ordinary run of the chosen setting),
and at last ``table.txt``. Nothing is chosen on ``test``: trials fit with ``fit_on: valid``.
"""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_cold import keys, report
from recbole_cold.config import (
    ColdConfig,
    keys_of,
    keys_of_backbone,
    make_config,
    overall_values,
    parse_value,
)
from recbole_cold.data.phases import phase_names
from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import LOWER_IS_BETTER, to_select_by
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.fingerprint import code_of, versions
from recbole_cold.experiment.folders import FINISHED, make_folder
from recbole_cold.experiment.requests import Entry, Request, parse_entries, placed
from recbole_cold.keys import check_flag
from recbole_cold.kinds import plain
from recbole_cold.registry import absolute
from recbole_cold.store import write_bytes
from recbole_cold.sweep import space
from recbole_cold.sweep.choosing import Outcomes, best_yaml
from recbole_cold.sweep.cost import different, plan
from recbole_cold.sweep.final import final_run
from recbole_cold.sweep.folders import move_aside, write_files
from recbole_cold.sweep.kept import KeptTrials, Origin
from recbole_cold.sweep.optuna_search import ask_optuna, import_optuna
from recbole_cold.sweep.requests import Setting, SweepRequest, fixed_keys, roots, with_objects
from recbole_cold.sweep.searchers import ask_searcher, check_searcher
from recbole_cold.sweep.space import Axis
from recbole_cold.sweep.tables import sweep_table
from recbole_cold.trials import ray_pool as pool
from recbole_cold.trials.settings import check_select_on, nested, placed_keys, with_metric
from recbole_cold.trials.trial import TrialSpec, score_of

logger = logging.getLogger(__name__)
SCHEMA = 1


class Sweep:
    """The trials of one request, what is chosen from them, and the final run.

    Args:
        request: what to search.
        stop: asked often; true ends with ``Interrupted`` and keeps what is done.
        tell: takes a line per trial.
        search_alg: a ``ray.tune.search.Searcher`` that chooses the settings, in rounds of as many
            as run at a time; it is told their means over the seeds.
        scheduler: a ``ray.tune.schedulers.TrialScheduler``, told of pre-training epochs.
        ray_callbacks: instances of ``ray.tune.Callback``; what loggers write is in ``ray/``.

    Raises:
        UserError: anything in the request that cannot be; nothing is written then.
    """

    def __init__(
        self,
        request: SweepRequest,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[str], None] = lambda line: None,
        *,
        search_alg: Any = None,
        scheduler: Any = None,
        ray_callbacks: Sequence[Any] = (),
    ) -> None:
        objects = {"search_alg": search_alg, "scheduler": scheduler, "ray_callbacks": ray_callbacks}
        self.request, self.stop, self.tell = with_objects(request, objects), stop, tell
        request = self.request
        self.search_alg, self.scheduler, self.ray_callbacks = search_alg, scheduler, ray_callbacks
        entries = parse_entries(request.model)
        if len(entries) > 1:
            raise UserError(f"tune takes one --model, not '{request.model}'; see `compare`")
        self.entry: Entry = entries[0]
        self.axes = [
            Axis(key, kind, tuple(values), where) for key, kind, values, where in request.axes
        ]
        if request.search == "random" or search_alg is not None:
            self.axes = space.at_random(self.axes)
        self.config = self._config({}, "valid")
        self.metric = to_select_by(self.config["valid_metric"])
        self.lower = self.metric in LOWER_IS_BETTER
        self._check()
        self.folder: Path | None = None
        self.outcomes = Outcomes(self.metric, self.lower, request.select_on, len(self.seeds))

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
        given |= {**placed_keys(asked), **with_metric(asked)}
        if self.request.cpus >= 2 and "num_threads" not in given:
            given["num_threads"] = int(self.request.cpus)
        return given

    def _overrides(self, params: Mapping[str, Any], fit_on: str) -> dict[str, Any]:
        config = getattr(self, "config", {})
        chosen = nested(params, {key: config[key] for key in roots(params)})
        return {**self.base, **chosen, "fit_on": fit_on}

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
        """Where keys were given, for messages."""
        return dict.fromkeys(self.request.overrides, self.request.place) | self.entry.places

    def _check(self) -> None:
        self._check_objects()
        request = self.request
        for name in ("search", "scheduler", "select_on", "samples", "concurrent", "ray_address"):
            check_flag(name, getattr(request, name), request.place)
        check_flag("cpus_per_trial", request.cpus, request.place)
        check_flag("gpus_per_trial", request.gpus, request.place)
        fixed = fixed_keys("sweep")
        known = set(self.config.final_config_dict) - set(fixed)
        space.check(self.axes, known, fixed, self._try_value)
        drawn = any(axis.kind != "grid" for axis in self.axes)
        if request.samples is not None and not drawn and request.search == "grid":
            raise UserError(
                "--samples has no effect on a grid without distributions; leave it out, or add "
                "--search=random"
            )
        check_select_on(request.select_on, self.config)
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

    def _check_objects(self) -> None:
        if self.scheduler is not None and self.request.scheduler != "none":
            raise UserError("give a scheduler by name or as an object, not both")
        if self.search_alg is not None:
            if self.request.search != "grid":
                raise UserError(f"search='{self.request.search}' and search_alg= both choose "
                                "settings; leave one of them out")  # fmt: skip
            check_searcher(self.search_alg)

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
        """The specification of the backbone that was asked for, or else of the default one."""
        asked = self.config._asked_backbone or self.config.external_config_dict.get("backbone")
        given = self.request.backbone or self.config.final_config_dict.get("backbone")
        if self.config.method_class.network is not None:
            given = overall_values()["backbone"]
        return absolute(str(asked or given))

    @property
    def asks(self) -> bool:
        """Whether later settings depend on earlier results."""
        return self.request.search == "optuna" or self.search_alg is not None

    @cached_property
    def settings(self) -> list[Setting]:
        """All settings that are known beforehand; a search that asks adds more later."""
        if self.asks:
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
        if self.asks:
            wanted = self.request.samples or space.DEFAULT_SAMPLES
            return min(wanted, space.size(self.axes) or wanted)
        return len(self.settings)

    def told_of_repeats(self) -> list[str]:
        """A line for the plan, where fewer settings are tried than were asked for."""
        if self.asks:
            wanted, why = self.request.samples or space.DEFAULT_SAMPLES, "the space has no more"
        else:
            wanted = space.n_draws(self.axes, self.request.samples)
            why = f"{wanted} draws gave {self.n_settings} different ones"
        if self.n_settings == wanted:
            return []
        return [f"  {self.n_settings} settings, each tried once: {why}"]

    def take(self, params: dict[str, Any]) -> tuple[Setting, bool]:
        """The setting of a point that a search asks for, and whether it is a new one."""
        name = space.name_of(params)
        for each in self.settings:
            if space.name_of(each.params) == name:
                return each, False
        self.settings.append(self.setting(params))
        return self.settings[-1], True

    # ---------------------------------------------------------------- before the start
    def at_a_time(self) -> int:
        """Trials at a time: what there is room for, or fewer."""
        fits = pool.room(self.request.cpus, self.request.gpus, self.request.ray_address)
        wanted = self.request.concurrent or fits
        return min(wanted, fits, self.n_settings * len(self.seeds))

    def plan(self) -> str:
        """The plan as text, with a time estimated from a few measured steps."""
        experiment = self._first_trial()
        experiment.prepare()  # the data set is parsed here, once, and mapped by all trials
        return plan(self, experiment, self._pretrainings())

    def _first_trial(self) -> Experiment:
        keys = {**self.base, "fit_on": "valid", "show_progress": False}
        return Experiment(
            Request(absolute(self.entry.spec), self.config.dataset, self._backbone_spec(),
                    self.request.config_files, keys)
        )  # fmt: skip

    def _pretraining_axes(self) -> list[str]:
        own = keys_of(self.entry.spec) - keys_of_backbone(self.config)
        apart = keys.names(without=[keys.PRETRAINING]) | own
        return [axis.key for axis in self.axes if axis.key.partition(".")[0] not in apart]

    def _pretrainings(self) -> int:
        """The number of different pre-trained backbones; trials with equal keys share one."""
        concerned = self._pretraining_axes()
        if self.asks:
            return (self.n_settings if concerned else 1) * len(self.seeds)
        return different(self.settings, concerned) * len(self.seeds)

    # ---------------------------------------------------------------- folder
    def open_folder(self) -> Path:
        """A new folder with the request in it."""
        name = f"{self.config.dataset}-{self.config.backbone_name}-{self.config['model']}-sweep"
        saved = self.request.overrides.get("saved_dir") or self.config["saved_dir"]
        self.folder = make_folder(name, str(saved), asdict(placed(self.request, self.config)))
        return self.folder

    @cached_property
    def kept(self) -> KeptTrials:
        """The trials that are in the folder."""
        assert self.folder is not None
        experiment = self._first_trial()
        data = experiment.data(experiment.first()).data_hash
        origin = Origin(code_of(self.config), versions(), data)
        return KeptTrials(self.folder, self.outcomes, origin)

    def read_done(self) -> int:
        """Take the trials that an earlier call finished or stopped early; how many."""
        for each in self.settings:
            for spec in each.specs:
                self.kept.read(spec)
        return len(self.outcomes.documents) + len(self.outcomes.stopped)

    # ---------------------------------------------------------------- trials
    def run(self) -> dict[str, Any]:
        """Run what is missing, choose, run the choice on everything; the sweep's document.

        Raises:
            Interrupted: ``stop`` was asked for; what is done is kept.
            UserError: no setting has come through.
        """
        assert self.folder is not None
        missing = self.asks or any(
            not self.kept.read(spec) for each in self.settings for spec in each.specs
        )
        with pool.session(self.request.ray_address) if missing else nullcontext():
            for batch in self._batches():
                specs = [spec for each in batch for spec in each.specs]
                self._run_trials([spec for spec in specs if not self.kept.read(spec)])
        document = self.document()
        if document["best"] is None:
            write_files(document, self.folder)
            first = next(iter(self.outcomes.failures.values()), "every trial was stopped early")
            raise UserError(f"no setting came through all seeds; the first failure: {first}")
        self._final(document)
        write_files(document, self.folder)
        write_bytes(self.folder / FINISHED, sweep_table(document, self.folder).encode())
        return document

    def _batches(self) -> Iterator[list[Setting]]:
        if self.search_alg is not None:
            yield from ask_searcher(self, self.search_alg)
        elif self.request.search == "optuna":
            yield from ask_optuna(self)
        else:
            yield self.settings

    def _run_trials(self, specs: Sequence[TrialSpec]) -> None:
        asha, mode = None, "min" if self.lower else "max"
        if self.request.scheduler == "asha":
            asha = (self.metric, mode, self.config["pretrain_epochs"])
        logs = self._logs()
        # Earlier rounds, also those before a resume.
        rounds = len(list(logs.glob("round-*"))) if logs else 0
        pool.run_all(
            specs,
            cpus=self.request.cpus,
            gpus=self.request.gpus,
            concurrent=self.request.concurrent,
            ray_address=self.request.ray_address,
            name=f"round-{rounds + 1}",
            on_done=self._done,
            on_failed=self._failed,
            on_stopped=self._early,
            asha=asha,
            stop=self.stop,
            tune_parts=pool.TuneParts(
                scheduler=copy.deepcopy(self.scheduler),  # each round ends its own
                callbacks=self.ray_callbacks,
                loggers=self.request.loggers,
                logs=logs,
                metric=self.metric,
                mode=mode,
            ),
        )

    def _logs(self) -> Path | None:
        """Where Tune's loggers write, if there may be any."""
        assert self.folder is not None
        if not self.request.loggers and not self.ray_callbacks:
            return None
        return self.folder / "ray"

    def _done(self, spec: TrialSpec, document: dict[str, Any]) -> None:
        value = score_of(self.kept.done(spec, document), self.metric, self.request.select_on)
        self._line(spec, f"{self.metric} {value:.4f}", f"{document['trial']['seconds']:.1f} s")

    def _failed(self, spec: TrialSpec, error: str) -> None:
        if not self.outcomes.failures:
            logger.error("the first failure ends with\n%s", error)
        self.outcomes.failures[spec.key] = error
        self._line(spec, "failed", "")

    def _early(self, spec: TrialSpec, epoch: int) -> None:
        self.kept.early(spec, epoch)
        self._line(spec, f"stopped after epoch {epoch}", "")

    def _line(self, spec: TrialSpec, outcome: str, seconds: str) -> None:
        """One line per trial, with the best setting so far."""
        total = self.n_settings * len(self.seeds)
        over = len(self.outcomes)
        (setting,) = [each for each in self.settings if spec in each.specs]
        best = self.outcomes.best(self.settings)
        told = "" if best is None else f"  best so far {best['mean']:.4f} " + space.setting_text(
            best["params"]
        )  # fmt: skip
        seed = f" seed={spec.seed}" if len(self.seeds) > 1 else ""
        self.tell(
            f"[{over:>{len(str(total))}}/{total}] {outcome}  "
            f"{space.setting_text(setting.params)}{seed}  {seconds}{told}"
        )

    def document(self) -> dict[str, Any]:
        """The document of the sweep, as ``sweep.json`` holds it."""
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
            "phases": phase_names(self.config),
            "trials": [
                self.outcomes.of_trial(each, number, spec)
                for number, each in enumerate(self.settings)
                for spec in each.specs
            ],
            "settings": [self.outcomes.summary(each) for each in self.settings],
            "best": self.outcomes.best(self.settings),
            "final": None,
        }  # fmt: skip

    # ---------------------------------------------------------------- the choice
    def _final(self, document: dict[str, Any]) -> None:
        """Fit the chosen setting on everything, score ``test``; an ordinary run in ``final/``."""
        assert self.folder is not None
        best = document["best"]
        path = self.folder / "best.yaml"
        text = best_yaml(
            self._config(best["params"], "full"),
            best["params"],
            model=absolute(self.entry.spec),
            backbone=self._backbone_spec(),
            seeds=self.seeds,
            told=f"# Chosen by `{self.request.command}`\n"
            f"# out of {self.n_settings} settings by {self.metric} ({self.request.select_on}) on "
            "pseudo-new items; test was not looked at.\n",
        )
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
        self.tell(f"final run: {space.setting_text(best['params'])}, fitted on all old items")
        final_run(request, folder, self.stop)
        document["final"] = "final"
