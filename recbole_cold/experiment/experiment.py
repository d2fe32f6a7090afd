"""One command's runs, from data set to results: every method on every seed, into one document.

A run's folder holds ``request.json`` (what was asked), ``results.json`` (what came out, rewritten
whole after every method and seed), a folder per method with its configuration and resume points,
and the figures and tables made from the results.
"""

import hashlib
import logging
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from recbole_cold import report
from recbole_cold.config import ColdConfig, keys_of, keys_of_click_model, make_config
from recbole_cold.data._cache import cache_root
from recbole_cold.data._in_time import describe as in_time
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.held_out import HELD_OUT
from recbole_cold.data.phases import run_phases
from recbole_cold.data.split import Split, is_split_at
from recbole_cold.data.vectors import described, vector_fields
from recbole_cold.errors import CallbackError, Interrupted, UserError, WriteError
from recbole_cold.experiment.beginning import (
    Changed,
    beginning,
    is_untouched,
    lost_configs,
    origin_of,
    read_beginning,
    refuse_changes,
)
from recbole_cold.experiment.calibrating import curves
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.experiment.document import end_told, matched_entry, new_document, new_run
from recbole_cold.experiment.fingerprint import code_of, pretraining_key, versions
from recbole_cold.experiment.folders import artifact_name, file_name, write_request
from recbole_cold.experiment.keeping import keeping, phases_to_keep, refuse_without_folder
from recbole_cold.experiment.parent import built, tell_begun, told_config, warnings_of
from recbole_cold.experiment.requests import Entry, Request, refuse_run_wide, refuse_unknown_base
from recbole_cold.experiment.scores import (
    NAMED,
    Find,
    RowScores,
    find_in,
    row_scores,
    scores_name,
    write_scores,
)
from recbole_cold.registry import find_method
from recbole_cold.store import write_bytes
from recbole_cold.training.backbone_cache import BackboneCache
from recbole_cold.training.callbacks import Callback, CallbackList
from recbole_cold.training.kept_backbone import beside
from recbole_cold.training.meter import Meter
from recbole_cold.training.trainer import Trainer

logger = logging.getLogger(__name__)


class Experiment:
    """All runs of one request.

    Args:
        request: what to run.
        folder: the run's folder, which exists.
        stop: asked between batches; true saves the state and raises ``Interrupted``.
        entries: the entries to run, if not the request's own.
        store: keeps data sets for several experiments of this process.
        callbacks: called while the runs go on.

    Raises:
        UserError: the request cannot be run; nothing has been written.
    """

    def __init__(
        self,
        request: Request,
        folder: Path | None = None,
        stop: Callable[[], bool] = lambda: False,
        *,
        entries: Sequence[Entry] | None = None,
        store: DataStore | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.request, self.folder, self.stop = request, folder, stop
        self.entries = request.entries() if entries is None else list(entries)
        # Seeds and rows of one request may differ in their data: all of it is kept.
        self.store = DataStore(most=1000) if store is None else store
        self.callbacks = CallbackList(callbacks)
        for entry in self.entries:
            refuse_run_wide(entry)
        self.configs = {entry.label: self.config(entry) for entry in self.entries}
        if entries is None:  # else they are a part of the table, and others have its base
            refuse_unknown_base(self.first()["base_model"], self.entries)
        if self.first()["num_threads"]:
            torch.set_num_threads(self.first()["num_threads"])
        self.document: dict[str, Any] = {}
        self.notes: list[str] = []  # of the models that rows begin from
        self._codes: dict[str, str] = {}
        # Whether keep_model: auto keeps the models of a run of one seed: of the verb run.
        self.keep_one = False
        # (label, seed) -> row scores, where no folder keeps them.
        self.scores: dict[tuple[str, int], RowScores] = {}

    def config(self, entry: Entry, seed: int | None = None) -> ColdConfig:
        """The configuration of one entry, for one seed or as given."""
        others = {key for other in self.entries for key in keys_of(other.spec)}
        others |= self._keys_of_backbone_beside(entry)
        config = make_config(
            entry.spec,
            self.request.dataset,
            self.request.backbone,
            self.request.config_files,
            {**self.request.overrides, **entry.variant},
            also_known=others - set(entry.variant),
            places=dict.fromkeys(self.request.overrides, self.request.place) | entry.places,
        )
        if seed is not None:
            if config["share_pretrained"] and config["pretrain_seed"] is None:
                config["pretrain_seed"] = config["seed"]
            config["seed"] = seed
        return config

    def _keys_of_backbone_beside(self, entry: Entry) -> set[str]:
        """For a method with its own network: keys of the backbone that the other entries use."""
        if find_method(entry.spec).network is None:
            return set()
        plain = (other for other in self.entries if find_method(other.spec).network is None)
        for other in plain:
            config = self.config(other)
            return keys_of_click_model(config.backbone_class, config.dataset)
        return set()

    # ---------------------------------------------------------------- shared values
    def data(self, config: ColdConfig) -> ColdStartDataset:
        """A view, for one run, of a data set that is loaded once for all entries that agree."""
        return self.store.data(config)

    def first(self) -> ColdConfig:
        return next(iter(self.configs.values()))

    def seeds(self) -> list[int]:
        config = self.first()
        return [config["seed"] + number for number in range(config["seeds"])]

    # ---------------------------------------------------------------- running
    def run(self) -> dict[str, Any]:
        """Run what is not done yet; the whole document, also in ``results.json``.

        Raises:
            UserError: every run diverged, or something concerns them all.
        """
        if self.folder is None:
            refuse_without_folder(self.first(), "one without saved_dir")
        self.prepare()
        notes = [note for config in self.configs.values() for note in self.data(config).notes]
        for note in dict.fromkeys([*notes, *self.notes]):
            logger.info("%s", note)
        self.document["failures"] = []
        for seed in self.seeds():
            for entry in self.entries:
                self._try_one(entry, seed)
            matched = self._matched()
            if matched is not None:
                self._try_one(matched, seed)
        if not self.document["runs"]:
            raise UserError(self.document["failures"][0])
        self._write()
        return self.document

    def _try_one(self, entry: Entry, seed: int) -> None:
        """Run one method on one seed; if it fails, the others go on."""
        try:
            self._run_one(entry, seed)
        except (CallbackError, Interrupted, WriteError):
            raise  # these concern all rows
        except Exception as error:
            failure = f"{entry.label}, seed {seed}: {self._told(entry, seed, error)}"
            logger.error("failed: %s", failure)
            self.document["failures"].append(failure)
            self.document["runs"] = [run for run in self.document["runs"] if run["seeds"]]

    def _told(self, entry: Entry, seed: int, error: Exception) -> str:
        """The message of a ``UserError``; else an error's last line, and a file with the rest."""
        if isinstance(error, UserError):
            return str(error)
        text = "".join(traceback.format_exception(error))
        last = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        if self.folder is None:
            return last
        path = self._entry_folder(entry) / f"failure-seed-{seed}.txt"
        write_bytes(path, text.encode())
        return f"{last} (all of it: {path})"

    def prepare(self) -> None:
        """Load the data and build every method once, so that errors come before training."""
        if self.document:
            return
        for entry in self.entries:
            config = self.configs[entry.label]
            _, begun = built(config, self.data(config))
            self.notes += [note for note in warnings_of(begun) if note not in self.notes]
            phases_to_keep(config, [phase.name for phase in self.data(config).split.phases])
        made: dict[str, Any] = {}
        if self.folder is not None:
            finished = self.folder / "results.json"
            made = report.load(finished) if finished.exists() else {}
            self._refuse_changes(self.folder, made)
        first = self.first()
        new = new_document(self.request.command, first, self.data(first), self.notes)
        self.document = made or new

    def open_folder(self, create: Callable[[Request, ColdConfig, Mapping], Path]) -> Path:
        """Make the folder of the prepared run and write what is known so far into it."""
        folder = create(self.request, self.first(), self._beginning())
        try:
            self._describe_in(folder)
        except UserError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.folder = folder
        return folder

    def _describe_in(self, folder: Path) -> None:
        """Write the split and the configurations, which ``--resume`` must find unchanged."""
        self.data(self.first()).split.save(folder / "split")
        for entry in self.entries:
            self._write_config(folder, entry, self.configs[entry.label])

    def _write_config(self, folder: Path, entry: Entry, config: ColdConfig) -> None:
        text = yaml.safe_dump(config.as_dict(), sort_keys=True, allow_unicode=True)
        write_bytes(self._entry_folder(entry, folder) / "config.yaml", text.encode())

    def _beginning(self) -> dict[str, Any]:
        """What a continued run must find unchanged."""
        dataset = self.data(self.first())
        rows = {
            entry.label: (self._code(entry), told_config(self.configs[entry.label]))
            for entry in self.entries
        }
        return beginning(rows, dataset.data_hash, dataset.split.hash, versions())

    def _code(self, entry: Entry) -> str:
        """What the code of a row is known by; read once, as this process has loaded it."""
        if entry.label not in self._codes:
            self._codes[entry.label] = code_of(self.config(entry))
        return self._codes[entry.label]

    def _refuse_changes(self, folder: Path, made: Mapping[str, Any]) -> None:
        """A continued run must have the libraries, code, settings and data that it began with.

        Files that only repeat these are written again where they are lost.

        Args:
            made: the results that are there already.

        Raises:
            UserError: names what changed, or nothing tells what the run began with.
        """
        before, now = read_beginning(folder), self._beginning()
        if before is not None:
            rows = {
                run["label"]: Entry(run["model"], run["variant"], run["matched_steps"])
                for run in made.get("runs", ())
            } | {entry.label: entry for entry in self.entries}
            codes = {run["label"]: self._code(rows[run["label"]]) for run in made.get("runs", ())}
            refuse_changes(before, now, folder, made, codes)
        elif is_untouched(folder):
            write_request(folder, self.request, now)
        else:
            raise Changed(
                f"nothing tells which code and data the run in '{folder}' began with (its "
                "request.json was altered, or an older recbole_cold wrote it); start a new run"
            )
        self._describe_again(folder)

    def _describe_again(self, folder: Path) -> None:
        """Write what is missing of ``_describe_in``; what it says was checked already."""
        split = self.data(self.first()).split
        lost = [] if is_split_at(folder / "split", split.hash) else ["split.json"]
        wanted = {
            self._entry_folder(entry, folder) / "config.yaml": self.configs[entry.label].as_dict()
            for entry in self.entries
        }
        lost += [str(path.relative_to(folder)) for path in lost_configs(wanted)]
        if lost and not is_untouched(folder):
            told = "lost, damaged or altered in '%s', and written again: %s"
            logger.warning(told, folder, ", ".join(lost))
        if lost:
            self._describe_in(folder)

    def describe(self) -> str:
        """The data set and its split as a text; nothing is trained."""
        config = self.first()
        dataset = self.data(config)
        lines = [
            f"data set {config.dataset} in {config['data_path']}",
            f"read from {', '.join(path.name for path in dataset.source_files())}",
            f"{dataset.n_rows:,} rows, {dataset.user_num - 1:,} users, "
            f"{dataset.item_num - 1:,} items; {dataset.inter[dataset.label_field].mean():.1%} of "
            "the labels are 1",
            "",
            "fields",
        ]
        for name in dataset.fields():
            kind, source = dataset.field2type[name], dataset.field2source[name]
            size = f"{dataset.num(name):,} tokens" if "token" in kind.value else "number"
            size = described(dataset, name) if name in vector_fields(dataset) else size
            lines.append(f"  {name:<20} {kind.value:<10} {source.value:<12} {size}")
        return "\n".join([*lines, "", self.describe_split()])

    def describe_split(self) -> str:
        """The split of the first seed as a text, with what is to be known of the data."""
        dataset = self.data(self.first())
        lines = [str(dataset.split), *in_time(dataset.split, dataset)]
        return "\n".join([*lines, *(f"note: {note}" for note in dataset.notes)])

    def _run_of(self, entry: Entry) -> dict[str, Any] | None:
        return next((run for run in self.document["runs"] if run["label"] == entry.label), None)

    def _run_one(self, entry: Entry, seed: int) -> None:
        run = self._run_of(entry)
        if run is not None and any(result["seed"] == seed for result in run["seeds"]):
            return
        config = self.config(entry, seed)
        meter = Meter(device=config["device"])
        dataset = self.data(config)
        split = dataset.split
        method, begun = built(config, dataset)
        if run is None:
            run = self._new_run(entry, config, method)
        trainer = Trainer(
            method,
            seed,
            self._state_path(entry, seed),
            self._cache(entry, split),
            self.stop,
            self.callbacks.all,
            probe=split[split.phases[0].score_on],
            held_out=split.parts.get(HELD_OUT),
            origin=origin_of(self._code(entry), versions()),
        )
        self.callbacks.tell("run_begins", entry.label, seed)
        tell_begun(f"{entry.label}, seed {seed}", begun)
        if trainer.resume():
            logger.info("%s, seed %d: continued from its resume point", entry.label, seed)
        evaluate = self._evaluate(entry, config, seed, trainer, dataset)
        results = run_phases(trainer, split, evaluate)
        self._write_found(entry, seed, method.decided_keys())
        self._write_artifacts(entry, seed, method.artifacts())
        told = {"seed": seed, "phases": results, "stages": trainer.journal["stages"]}
        # Scoring and building included.
        told |= {name: most for name, most in meter.read().items() if name.startswith("peak_")}
        told |= self._keep_scores(entry, seed, trainer.scores) | begun
        told |= {"resume_points": trainer.journal["points"]} if self.folder is not None else {}
        run["seeds"].append(told)
        self._write()
        self._clear_state(entry, seed)
        scored = {name: result["metrics"] for name, result in results.items()}
        self.callbacks.tell("run_ends", entry.label, seed, scored)
        end = end_told(self.document["phases"], results, trainer.journal["points"])
        logger.info("%s, seed %d: %s", entry.label, seed, end)

    def _evaluate(self, entry: Entry, config: ColdConfig, seed: int, trainer: Trainer, dataset):
        """How a phase is scored; the model is kept before, where that is asked for."""
        if self.folder is None:
            return trainer.evaluate
        alone = len(self.seeds()) == 1
        played = replace(entry, variant={**entry.variant, "fit_on": "valid"})
        again = partial(self._cache, entry)
        return keeping(
            trainer.evaluate, trainer.method, dataset, entry=entry, config=config, seed=seed,
            folder=self._entry_folder(entry), auto=self.keep_one and alone, alone=alone,
            is_scored=lambda name: name in trainer.journal["results"],
            curves=lambda: curves(self.config(played, seed), self.data, again, self.stop),
        )  # fmt: skip

    def vectors(self, entry: Entry, phase: str = "cold") -> report.IdVectors:
        """The ID vectors that an entry's items are served with in a phase; nothing is scored.

        Raises:
            UserError: there is no such phase.
        """
        config = self.configs[entry.label]
        dataset = self.data(config)
        phases = dataset.split.phases
        names = [part.name for part in phases]
        if not len(dataset.split.new_ids):
            raise UserError(
                f"vectors of new and old {dataset.split.cold_side}s are drawn, and split_rule: "
                f"{config['split_rule']} has no new ones; use another split_rule"
            )
        if phase not in names:
            raise UserError(f"'{phase}' is not a phase; use one of {', '.join(names)}")
        method, _ = built(config, dataset)
        cache = self._cache(entry, dataset.split)
        trainer = Trainer(method, config["seed"], cache=cache, stop=self.stop)
        until = phases[: names.index(phase) + 1]
        run_phases(trainer, dataset.split, lambda _name, _rows: {}, until)
        method.set_mode("evaluate")
        with torch.no_grad():
            vectors, _ = method.item_vectors(torch.arange(method.n_ids, device=method.device))
        old, new = (vectors[ids].cpu().numpy() for ids in (method.old_ids, method.new_ids))
        return report.IdVectors(entry.label, old, new)

    def _new_run(self, entry: Entry, config: ColdConfig, method) -> dict[str, Any]:
        run = new_run(entry, config, method, self._code(entry))
        self.document["runs"].append(run)
        if self.folder is not None and entry not in self.entries:
            self._write_config(self.folder, entry, config)
        return run

    def _matched(self) -> Entry | None:
        """The plain backbone with as many steps per warm phase as the longest method takes."""
        if not self.first()["matched_row"]:
            return None
        return matched_entry(self.document)

    # ---------------------------------------------------------------- files
    def _entry_folder(self, entry: Entry, folder: Path | None = None) -> Path:
        folder = folder or self.folder
        assert folder is not None
        name = file_name(entry.label)
        same = [other for other in self.entries if file_name(other.label)[:60] == name[:60]]
        if len(name) > 60 or len(same) > 1:  # too long, or two labels with one file name
            name = f"{name[:60]}-{hashlib.sha256(entry.label.encode()).hexdigest()[:8]}"
        return folder / name

    def _state_path(self, entry: Entry, seed: int) -> Path | None:
        if self.folder is None:
            return None
        return self._entry_folder(entry) / "state" / f"seed-{seed}.pt"

    def _write_found(self, entry: Entry, seed: int, found: Mapping[str, Any]) -> None:
        """Write the keys that a run decided itself, for a later run's ``--config_files``."""
        if not found:
            return
        text = yaml.safe_dump(dict(found), sort_keys=True, allow_unicode=True)
        told = text.strip()
        if self.folder is not None:
            path = self._entry_folder(entry) / f"found-seed-{seed}.yaml"
            write_bytes(path, f"# Found by {entry.label}, seed {seed}.\n{text}".encode())
            told = str(path)
        logger.info("%s, seed %d decided: %s", entry.label, seed, told)

    def _write_artifacts(self, entry: Entry, seed: int, files: Mapping[str, bytes]) -> None:
        """Write a method's artifacts beside its results, named by seed: ``name-seed-N.ext``."""
        for name, content in files.items() if self.folder is not None else ():
            path = self._entry_folder(entry) / artifact_name(name, seed)
            write_bytes(path, content)

    def _keep_scores(self, entry: Entry, seed: int, scores: Mapping[str, Any]) -> dict[str, str]:
        """Keep the scores of a run, if any; what its entry in the document tells of them."""
        if not scores:
            return {}
        config = self.config(entry, seed)
        kept = row_scores(self.data(config), scores)
        if self.folder is None:
            self.scores[entry.label, seed] = kept
            return {}
        path = self._entry_folder(entry) / scores_name(seed)
        write_scores(path, kept)
        return {NAMED: path.relative_to(self.folder).as_posix()}

    def find_scores(self) -> Find:
        """Finds the scores of this run's rows, in its folder or where nothing is written."""
        return find_in(self.folder, self.scores)

    def _clear_state(self, entry: Entry, seed: int) -> None:
        path = self._state_path(entry, seed)
        if path is not None and path.parent.is_dir():
            for file in (path, beside(path)):
                file.unlink(missing_ok=True)
                # What a process killed while writing it left behind.
                for left in path.parent.glob(f".{file.name}.*"):
                    left.unlink(missing_ok=True)
            with suppress(OSError):  # another seed's state is still there
                path.parent.rmdir()

    def _cache(self, entry: Entry, split: Split) -> BackboneCache:
        root = cache_root(self.first()["cache_dir"]) / "backbones"
        return BackboneCache(
            root, lambda method, seed: pretraining_key(method, seed, split, entry.spec)
        )

    def _write(self) -> None:
        if self.folder is not None:
            report.write_json(self.folder / "results.json", self.document)
