"""One command's runs, from data set to results: every method on every seed, into one document.

A run's folder holds ``request.json`` (what was asked), ``results.json`` (what came out, rewritten
whole after every method and seed), a folder per method with its configuration and resume points,
and the figures and tables made from the results.
"""

import fcntl
import hashlib
import inspect
import json
import logging
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from recbole_cold import __version__, report
from recbole_cold.config import (
    ColdConfig,
    keys_of,
    keys_of_backbone,
    keys_of_click_model,
    make_config,
    overall_values,
    parse_value,
)
from recbole_cold.dataset import ColdStartDataset, cache_root
from recbole_cold.errors import Diverged, UserError
from recbole_cold.graphs import Graphs
from recbole_cold.model._base import ColdStartRecommender
from recbole_cold.phases import protocol, run_phases
from recbole_cold.registry import find_method
from recbole_cold.rows import Rows
from recbole_cold.split import Split, common_phases, frequency_split, pseudo_new, split_from_parts
from recbole_cold.store import write_bytes
from recbole_cold.trainer import BackboneCache, Trainer, Watch

logger = logging.getLogger(__name__)

# Keys that cannot change a pre-trained backbone; every other one is part of its cache key.
WITHOUT_PART_IN_PRETRAINING = frozenset(
    [
        "model",
        "backbone",
        "seed",
        "seeds",
        "pretrain_seed",
        "share_pretrained",
        "device",
        "gpu_id",
        "num_threads",
        "use_gpu",
        "data_path",
        "saved_dir",
        "cache_dir",
        "checkpoint_seconds",
        "checkpoint_dir",
        "eval_on",
        "common_phases",
        "common_size",
        "matched_steps",
        "metrics",
        "valid_metric",
        "f1_threshold",
        "base_model",
        "eval_batch_size",
        "warm_epochs",
        "warm_steps",
        "warm_learning_rate",
        "new_item_init",
        "side_includes_id",
        "batch_norm",
        "show_progress",
        "state",
        "protocol",
        "fit_on",
        "valid_fraction",
        "cold_threshold",
        "warm_size",
        "warm_sets",
        "count_source",
        "nproc",
        "world_size",
        "offset",
        "ip",
        "port",
        "config_files",
        "reproducibility",
        "epochs",
    ]
)
# Keys that make another data set or another split of it.
_DATA_KEYS = [
    "use_count",
    "use_timestamp",
    "COUNT_FIELD",
    "cold_side",
    "cold_threshold",
    "warm_size",
    "warm_sets",
    "common_phases",
    "common_size",
    "valid_fraction",
    "fit_on",
    "numerical_features",
]
# Keys that hold for a whole table: no row can have its own.
RUN_WIDE = {
    "model", "dataset", "backbone", "config_files", "seed", "seeds", "share_pretrained", "eval_on",
    "metrics", "base_model", "warm_sets", "common_phases", "matched_steps", "saved_dir",
    "cache_dir", "device", "gpu_id", "num_threads",
}  # fmt: skip
# Keys that may differ when a run is continued: they change no number of a result.
MAY_CHANGE = {
    "data_path", "saved_dir", "cache_dir", "checkpoint_seconds", "checkpoint_dir", "show_progress",
    "state", "device", "gpu_id", "use_gpu", "num_threads", "eval_batch_size", "nproc",
    "world_size", "ip", "port", "offset",
}  # fmt: skip
_CODE_OF_PRETRAINING = (
    "trainer.py rows.py seeding.py model/_base.py model/_backbone.py model/_shortcuts.py"
)
# What else the numbers of a result follow from.
_CODE_OF_SCORES = "evaluator.py phases.py split.py episodes.py model/_*.py dataset/*.py"


@dataclass(frozen=True)
class Entry:
    """One row of a table: a method, and the keys in which it differs from the others."""

    spec: str
    variant: Mapping[str, Any] = field(default_factory=dict)
    matched_steps: int | None = None

    @property
    def label(self) -> str:
        name = self.spec.rsplit(":", 1)[-1].rsplit("/", 1)[-1].removesuffix(".py")
        if self.matched_steps is not None:
            return f"{name} ({self.matched_steps} steps)"
        if not self.variant:
            return name
        inside = ";".join(f"{key}={_short(value)}" for key, value in self.variant.items())
        return f"{name}[{inside}]"


def _short(value: Any) -> str:
    return json.dumps(value, default=str).replace('"', "").replace(" ", "")


def parse_entries(text: str | Sequence[str], flag: str = "--model") -> list[Entry]:
    """``A,B[key=value;key=value]`` as entries; brackets hold what only that row changes.

    Args:
        flag: what sentences call the text.

    Raises:
        UserError: an empty name, a bracket that is not closed, a part without ``=``, a row twice.
    """
    entries = []
    for part in entry_texts(text):
        match = re.fullmatch(r"([^\[\]]+?)(?:\[(.*)\])?", part, re.DOTALL)
        if match is None:
            raise UserError(
                f"{flag} has '{part}', which is not a name or name[key=value;key=value]"
            )
        variant = {}
        for pair in filter(None, _split_outside(match[2] or "", ";")):
            key, equals, value = pair.partition("=")
            if not equals:
                raise UserError(f"'{pair}' in {flag} entry '{part}' is not key=value")
            variant[key.strip()] = parse_value(key.strip(), value.strip())
        entries.append(Entry(match[1].strip(), variant))
    labels = [entry.label for entry in entries]
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise UserError(f"{flag} names {', '.join(sorted(twice))} more than once; name each once")
    return entries


def entry_texts(text: str | Sequence[str]) -> list[str]:
    """The entries of a list as they were written, brackets included."""
    whole = text if isinstance(text, str) else ",".join(text)
    return [part.strip() for part in _split_outside(whole, ",")]


def refuse_run_wide(entry: Entry) -> None:
    for key in entry.variant:
        if key in RUN_WIDE:
            raise UserError(
                f"'{key}' in the brackets of '{entry.label}' holds for the whole table; give it as "
                f"--{key}=..."
            )


def _split_outside(text: str, separator: str) -> list[str]:
    """``text`` at separators that stand in no bracket."""
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


@dataclass(frozen=True)
class Request:
    """What one command asks for; plain values, so that a later ``--resume`` reads it back."""

    models: str
    dataset: str | None = None
    backbone: str | None = None
    config_files: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    def entries(self) -> list[Entry]:
        return parse_entries(self.models)


# ------------------------------------------------------------------------------- data and split
def load_data(config: ColdConfig) -> ColdStartDataset:
    """The data set of a configuration, with its rows on the training device."""
    dataset = ColdStartDataset(config)
    dataset.rows = Rows(dataset, config["device"])
    return dataset


def make_split(dataset: ColdStartDataset, config: ColdConfig) -> Split:
    """The split that a configuration asks for; the part to be scored is always ``test``."""
    id_field = dataset.uid_field if config["cold_side"] == "user" else dataset.iid_field
    ids, seed = np.asarray(dataset.inter[id_field]), config["seed"]
    if dataset.parts is not None:
        split = split_from_parts(
            dataset.parts, ids, data_hash=dataset.data_hash, cold_side=config["cold_side"]
        )
    else:
        split = frequency_split(
            ids,
            dataset.time,
            threshold=config["cold_threshold"],
            size=config["warm_size"],
            n_warm=config["warm_sets"],
            seed=seed,
            data_hash=dataset.data_hash,
            cold_side=config["cold_side"],
        )
    if config["fit_on"] == "valid":
        split = pseudo_new(
            split,
            ids,
            dataset.time,
            fraction=config["valid_fraction"],
            size=config["warm_size"],
            seed=seed,
        )
    return common_phases(split, ids, config["common_phases"], config["common_size"])


def phases_of(split: Split, config: ColdConfig):
    """The phases that a split and a configuration give."""
    own = [name for name in split.warm_parts if name.startswith("warm_")]
    return protocol(own, config["eval_on"], common=len(split.warm_parts) - len(own))


def _data_key(config: ColdConfig) -> str:
    """What tells data sets apart; taken before loading, which completes the configuration."""
    if "data_key" not in vars(config):
        names = {*config.parameters["Dataset"], *_DATA_KEYS}
        values = {name: config[name] for name in sorted(names)}
        folder = Path(config["data_path"])
        files = [
            (str(path), path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(folder.glob(f"{config.dataset}.*"))
        ]
        parts = [config.dataset, str(config["device"]), files, values]
        vars(config)["data_key"] = json.dumps(parts, default=str)
    return vars(config)["data_key"]


class DataStore:
    """Data sets and their splits, made once for all configurations that agree on them.

    Args:
        most: data sets that are kept; the one that was made first goes first.
    """

    def __init__(self, most: int = 4) -> None:
        self.most = most
        self._data: dict[str, ColdStartDataset] = {}
        self._splits: dict[str, dict[int, Split]] = {}

    def data(self, config: ColdConfig) -> ColdStartDataset:
        """The data set of a configuration, carrying the split of its seed."""
        key = _data_key(config)
        if key not in self._data:
            while len(self._data) >= self.most:
                oldest = next(iter(self._data))
                del self._data[oldest], self._splits[oldest]
            self._data[key], self._splits[key] = load_data(config), {}
        dataset, splits = self._data[key], self._splits[key]
        # What loading adds to the configuration, for those that found the data loaded.
        config["numerical_features"] = dataset.config["numerical_features"]
        if config["seed"] not in splits:
            splits[config["seed"]] = make_split(dataset, config)
        dataset.split = splits[config["seed"]]
        return dataset


# ------------------------------------------------------------------------------- cache keys
def code_of(config: ColdConfig) -> str:
    """A hash over the code that makes a result: ours, the method's and the backbone's."""
    parts = [_code_version(), _code_of_scores()]
    parts += [_source(config.method_class), _source(config.backbone_class)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:32]


@cache
def _code_of_scores() -> str:
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for pattern in _CODE_OF_SCORES.split():
        for path in sorted(folder.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _code_version() -> str:
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for name in _CODE_OF_PRETRAINING.split():
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of what computes: ours, Python, and the libraries below."""
    found = {"recbole_cold": __version__, "python": platform.python_version()}
    for name in ("recbole", "torch", "numpy", "pandas", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def pretraining_key(method: ColdStartRecommender, seed: int, split: Split, spec: str | type) -> str:
    """The content address of a pre-trained backbone: all that its numbers follow from."""
    config = method.config
    own = keys_of(spec) - keys_of_backbone(config) - set(_overall_keys())
    relevant = {
        key: value
        for key, value in config.as_dict().items()
        if key not in WITHOUT_PART_IN_PRETRAINING and key not in own
    }
    relevant["id_first_order"] = config["id_first_order"] == "off"
    if config["use_count"]:
        relevant["count_source"] = config["count_source"]
    backbone = type(method.backbone.model)
    parts = [
        relevant,
        [backbone.__module__, backbone.__qualname__, _source(config.backbone_class)],
        split.hash,
        seed,
        str(method.device.type),
        {name: versions()[name] for name in ("recbole", "torch")},
        _code_version(),
        _pretraining_of(method, own),
    ]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _pretraining_of(method: ColdStartRecommender, own: set[str]) -> list[Any]:
    """What a method makes of pre-training; empty for the plain backbone's, which methods share."""
    kind, plain = type(method), ColdStartRecommender
    declared = method.pretrain_key()
    same_fits = kind.pretrain_fits is plain.pretrain_fits
    if not declared and (same_fits or kind.pretrain_key is not plain.pretrain_key):
        return []
    if kind.pretrain_key is plain.pretrain_key:  # changed, but not said by what: all its keys
        declared = {key: method.config[key] for key in sorted(own)}
    return [kind.__qualname__, declared, _source(kind)]


@cache
def _source(kind: type) -> str:
    """A hash over the files that define a class, those of libraries left out."""
    digest = hashlib.sha256()
    for part in kind.__mro__:
        if part.__module__.split(".")[0] in ("builtins", "torch", "recbole", "abc"):
            continue
        try:
            digest.update(Path(inspect.getfile(part)).read_bytes())
        except (OSError, TypeError):
            digest.update(part.__qualname__.encode())
    return digest.hexdigest()


@cache
def _overall_keys() -> tuple[str, ...]:
    return tuple(overall_values())


# ------------------------------------------------------------------------------- the runs
class Experiment:
    """All runs of one request.

    Args:
        request: what to run.
        folder: the run's folder, which exists.
        stop: asked between batches; true saves the state and raises ``Interrupted``.
        entries: the rows to run, where they are not the request's own.
        store: where data sets are kept that other experiments of this process use, too.
        watch: told of steps and epochs.

    Raises:
        UserError: anything in the request that cannot be; nothing is written then.
    """

    def __init__(
        self,
        request: Request,
        folder: Path | None = None,
        stop: Callable[[], bool] = lambda: False,
        *,
        entries: Sequence[Entry] | None = None,
        store: DataStore | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.request, self.folder, self.stop = request, folder, stop
        self.entries = request.entries() if entries is None else list(entries)
        # Seeds and rows of one request may differ in their data: all of it is kept.
        self.store = DataStore(most=1000) if store is None else store
        self.watch = watch or Watch()
        for entry in self.entries:
            refuse_run_wide(entry)
        self.configs = {entry.label: self.config(entry) for entry in self.entries}
        if self.first()["num_threads"]:
            torch.set_num_threads(self.first()["num_threads"])
        self.document: dict[str, Any] = {}

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
        )
        if seed is not None:
            if config["share_pretrained"] and config["pretrain_seed"] is None:
                config["pretrain_seed"] = config["seed"]
            config["seed"] = seed
        return config

    def _keys_of_backbone_beside(self, entry: Entry) -> set[str]:
        """For a method with a network of its own: keys of the backbone that other rows stand on."""
        if find_method(entry.spec).network is None:
            return set()
        plain = (other for other in self.entries if find_method(other.spec).network is None)
        for other in plain:
            config = self.config(other)
            return keys_of_click_model(config.backbone_class, config.dataset)
        return set()

    # ---------------------------------------------------------------- shared values
    def data(self, config: ColdConfig) -> ColdStartDataset:
        """The data set of a configuration, loaded once for all entries that agree on it."""
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
        self.prepare()
        notes = [note for config in self.configs.values() for note in self.data(config).notes]
        for note in dict.fromkeys(notes):
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
        """Run one method on one seed; where it diverges, the others go on without it."""
        try:
            self._run_one(entry, seed)
        except Diverged as error:
            failure = f"{entry.label}, seed {seed}: {error}"
            logger.error("failed: %s", failure)
            self.document["failures"].append(failure)
            self.document["runs"] = [run for run in self.document["runs"] if run["seeds"]]

    def prepare(self) -> None:
        """Load the data and build every method once: what cannot run is said before training."""
        if self.document:
            return
        for entry in self.entries:
            config = self.configs[entry.label]
            config.method_class(config, self.data(config))
        finished = self.folder / "results.json" if self.folder else None
        if self.folder is not None:
            self._refuse_changes(self.folder)
        if finished is not None and finished.exists():
            self.document = report.load(finished)
        else:
            self.document = self._new_document(self.first())

    def open_folder(self, create: Callable[[Request, ColdConfig], Path]) -> Path:
        """Give the prepared run its folder, and write what is known so far into it."""
        folder = create(self.request, self.first())
        try:
            self._describe_in(folder)
        except UserError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.folder = folder
        return folder

    def _describe_in(self, folder: Path) -> None:
        """The split and the configurations that a later ``--resume`` must find unchanged."""
        self.data(self.first()).split.save(folder / "split")
        for entry in self.entries:
            self._write_config(folder, entry, self.configs[entry.label])

    def _write_config(self, folder: Path, entry: Entry, config: ColdConfig) -> None:
        text = yaml.safe_dump(config.as_dict(), sort_keys=True, allow_unicode=True)
        write_bytes(self._entry_folder(entry, folder) / "config.yaml", text.encode())

    def _refuse_changes(self, folder: Path) -> None:
        """A continued run must have the data, the split and the settings that it began with.

        Raises:
            UserError: names what changed.
        """
        try:
            began = json.loads((folder / "split.json").read_text())["hash"]
            configs = [
                yaml.safe_load((self._entry_folder(entry, folder) / "config.yaml").read_text())
                for entry in self.entries
            ]
            changed = {
                key
                for entry, before in zip(self.entries, configs, strict=True)
                for key, value in self.configs[entry.label].as_dict().items()
                if key not in MAY_CHANGE and before.get(key) != value
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            # Stopped before these were whole, or damaged since: nothing to compare with.
            self._describe_in(folder)
            return
        if changed:
            raise UserError(
                f"{', '.join(sorted(changed))} changed since the run in '{folder}' began "
                "(configuration files or defaults); put it back, or start a new run"
            )
        if began != self.data(self.first()).split.hash:
            raise UserError(
                f"the data of the run in '{folder}' changed since it began; put the files back, or "
                "start a new run"
            )

    def describe(self) -> str:
        """The data set and its split as a text; nothing is trained."""
        config = self.first()
        dataset = self.data(config)
        lines = [
            f"data set {config.dataset} in {config['data_path']}",
            f"{dataset.n_rows:,} rows, {dataset.user_num - 1:,} users, "
            f"{dataset.item_num - 1:,} items; {dataset.inter[dataset.label_field].mean():.1%} of "
            "the labels are 1",
            "",
            "fields",
        ]
        for name in dataset.fields():
            kind, source = dataset.field2type[name], dataset.field2source[name]
            size = f"{dataset.num(name):,} tokens" if "token" in kind.value else "number"
            lines.append(f"  {name:<20} {kind.value:<10} {source.value:<12} {size}")
        lines += ["", str(dataset.split)]
        lines += [f"note: {note}" for note in dataset.notes]
        return "\n".join(lines)

    def _new_document(self, config: ColdConfig) -> dict[str, Any]:
        dataset = self.data(config)
        return {
            "schema": 1,
            "command": self.request.command,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "dataset": config.dataset,
            "data_hash": dataset.data_hash,
            "notes": list(dataset.notes),
            "split": json.loads(json.dumps(dict(dataset.split.manifest), default=int)),
            "versions": versions(),
            "device": _device_name(config["device"]),
            "threads": torch.get_num_threads(),
            "eval_on": config["eval_on"],
            "fit_on": config["fit_on"],
            "protocol": config["protocol"],
            "phases": [phase.name for phase in phases_of(dataset.split, config)],
            "metrics": list(config["metrics"]),
            "share_pretrained": config["share_pretrained"],
            "base_model": config["base_model"],
            "runs": [],
        }

    def _run_of(self, entry: Entry) -> dict[str, Any] | None:
        return next((run for run in self.document["runs"] if run["label"] == entry.label), None)

    def _run_one(self, entry: Entry, seed: int) -> None:
        run = self._run_of(entry)
        if run is not None and any(result["seed"] == seed for result in run["seeds"]):
            return
        config = self.config(entry, seed)
        dataset = self.data(config)
        split = dataset.split
        method = config.method_class(config, dataset)
        if run is None:
            run = self._new_run(entry, config, method)
        phases = phases_of(split, config)
        trainer = Trainer(
            method,
            seed,
            self._state_path(entry, seed),
            self._cache(entry, split),
            self.stop,
            self.watch,
            probe=split[phases[0].score_on] if self.watch.wants_epochs else None,
        )
        if trainer.resume():
            logger.info("%s, seed %d: continued from its resume point", entry.label, seed)
        results = run_phases(trainer, split, trainer.evaluate, phases)
        self._write_found(entry, seed, method.found())
        self._write_graphs(entry, seed, method.graphs())
        run["seeds"].append({"seed": seed, "phases": results, "stages": trainer.journal["stages"]})
        self._write()
        self._clear_state(entry, seed)
        last = results[self.document["phases"][-1]]["metrics"]
        logger.info(
            "%s, seed %d: %s",
            entry.label,
            seed,
            ", ".join(
                f"{name} {results[name]['metrics'].get('AUC', float('nan')):.4f}"
                for name in self.document["phases"]
            )
            if "AUC" in last
            else "done",
        )

    def vectors(self, entry: Entry, phase: str = "cold") -> report.IdVectors:
        """The ID vectors that an entry's items are served with in a phase; nothing is scored.

        Raises:
            UserError: there is no such phase.
        """
        config = self.configs[entry.label]
        dataset = self.data(config)
        phases = phases_of(dataset.split, config)
        names = [part.name for part in phases]
        if phase not in names:
            raise UserError(f"'{phase}' is not a phase; use one of {', '.join(names)}")
        method = config.method_class(config, dataset)
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
        backbone = sum(parameter.numel() for parameter in method.backbone.parameters())
        everything = sum(parameter.numel() for parameter in method.parameters())
        served = method.new_rows.numel() + method.new_first_order.numel()
        run = {
            "label": entry.label,
            "model": config["model"],
            "backbone": config.backbone_name,
            "variant": dict(entry.variant),
            "matched_steps": entry.matched_steps,
            "config": config.as_dict(),
            "code": code_of(config),
            "parameters": {"backbone": backbone, "method": everything - backbone - served},
            "seeds": [],
        }
        self.document["runs"].append(run)
        if self.folder is not None and entry not in self.entries:
            self._write_config(self.folder, entry, config)
        return run

    def _matched(self) -> Entry | None:
        """The plain backbone with as many steps per warm phase as the longest method takes."""
        if not self.first()["matched_steps"]:
            return None
        return matched_entry(self.document)

    # ---------------------------------------------------------------- files
    def _entry_folder(self, entry: Entry, folder: Path | None = None) -> Path:
        folder = folder or self.folder
        assert folder is not None
        name = _file_name(entry.label)
        same = [other for other in self.entries if _file_name(other.label)[:60] == name[:60]]
        if len(name) > 60 or len(same) > 1:  # too long, or two labels with one file name
            name = f"{name[:60]}-{hashlib.sha256(entry.label.encode()).hexdigest()[:8]}"
        return folder / name

    def _state_path(self, entry: Entry, seed: int) -> Path | None:
        if self.folder is None:
            return None
        return self._entry_folder(entry) / "state" / f"seed-{seed}.pt"

    def _write_found(self, entry: Entry, seed: int, found: Mapping[str, Any]) -> None:
        """What a run decided itself, as a file for a later run's ``--config_files``."""
        if not found:
            return
        text = yaml.safe_dump(dict(found), sort_keys=True, allow_unicode=True)
        told = text.strip()
        if self.folder is not None:
            path = self._entry_folder(entry) / f"found-seed-{seed}.yaml"
            write_bytes(path, f"# Found by {entry.label}, seed {seed}.\n{text}".encode())
            told = str(path)
        logger.info("%s, seed %d decided: %s", entry.label, seed, told)

    def _write_graphs(self, entry: Entry, seed: int, graphs: Graphs | None) -> None:
        """What ``recbole-cold plot`` draws."""
        if graphs is not None and self.folder is not None:
            path = self._entry_folder(entry) / GRAPHS.format(seed)
            write_bytes(path, graphs.as_bytes())

    def _clear_state(self, entry: Entry, seed: int) -> None:
        path = self._state_path(entry, seed)
        if path is not None and path.parent.is_dir():
            # The file itself, and what a process killed while writing it left behind.
            for file in (path, *path.parent.glob(f".{path.name}.*")):
                file.unlink(missing_ok=True)
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


def matched_entry(document: Mapping[str, Any]) -> Entry | None:
    """The row of the plain backbone with as many steps per warm phase as the longest method.

    None where no method takes more steps than the plain backbone does anyway.
    """
    warm = document["phases"][1:]
    most, plain = 0, 0
    for run in document["runs"]:
        if run["matched_steps"] is not None:
            continue
        stages = run["seeds"][0]["stages"]
        steps = max((s["steps"] for s in stages if s["name"] in warm), default=0)
        most = max(most, steps)
        if run["model"] == "Base":
            plain = max(plain, steps)
    return Entry("Base", {"warm_steps": most}, matched_steps=most) if most > plain else None


def _file_name(label: str) -> str:
    return re.sub(r"[^\w.=+-]+", "_", label).strip("_")


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({platform.machine()})"


# ------------------------------------------------------------------------------- run folders
FINISHED = "table.txt"  # the last file of a run
GRAPHS = "graphs-seed-{}.npz"  # of a method whose items have graphs


def is_finished(folder: Path) -> bool:
    return (folder / FINISHED).exists()


def new_folder(request: Request, config: ColdConfig) -> Path:
    """A folder that did not exist, named by data, backbone and time, with the request in it.

    Raises:
        UserError: ``saved_dir`` cannot be written.
    """
    name = f"{config.dataset}-{config.backbone_name}"
    return make_folder(name, config["saved_dir"], asdict(request))


def make_folder(name: str, saved_dir: str | Path, request: Mapping[str, Any] | None = None) -> Path:
    """A new folder ``name-<time>`` in ``saved_dir``, with ``request.json`` in it if one is given.

    Raises:
        UserError: ``saved_dir`` cannot be written.
    """
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    saved = Path(saved_dir).expanduser().resolve()
    for number in range(1000):
        folder = saved / (stem if number == 0 else f"{stem}-{number + 1}")
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            if folder.exists():
                continue
            raise UserError(
                f"cannot create the run's folder '{folder}' ({error.strerror}); choose another "
                "with --saved_dir"
            ) from error
        if request is None:
            return folder
        try:
            write_bytes(folder / "request.json", json.dumps(request, indent=1).encode())
        except UserError:
            folder.rmdir()
            raise
        return folder
    raise UserError(f"there are a thousand folders like '{stem}' in '{saved}'; clean it up")


def verb_of(path: Path) -> str:
    """Which verb wrote a ``request.json``; a damaged one counts as a run's."""
    try:
        return str(json.loads(path.read_text()).get("verb", "run"))
    except (OSError, ValueError, AttributeError):
        return "run"


def read_request(folder: Path) -> Request:
    """What the run in ``folder`` was asked for.

    Raises:
        UserError: the folder is not a run's folder, or the file in it is damaged.
    """
    path = folder / "request.json"
    try:
        values = json.loads(path.read_text())
        verb = values.get("verb", "run")
        if verb != "run":
            raise UserError(
                f"'{folder}' is not the folder of a run but of a {verb}; continue it with "
                f"recbole-cold {verb} --resume={folder}"
            )
        request = Request(**values)
        if not isinstance(request.models, str | list) or not isinstance(request.overrides, dict):
            raise ValueError("not what this program wrote")
        return request
    except FileNotFoundError:
        raise UserError(
            f"'{folder}' is not the folder of a run: it has no request.json; give the folder that "
            "the interrupted run printed"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is damaged ({error}); start the run again") from error


def find_graphs(folder: Path, label: str | None, seed: str | None) -> tuple[str, str, Path]:
    """Label, seed and file of the graphs that a run in ``folder`` left.

    Raises:
        UserError: there are none, or none of that label and seed.
    """
    labels = {_file_name(entry.label): entry.label for entry in read_request(folder).entries()}
    files = sorted(folder.glob(f"*/{GRAPHS.format('*')}"))
    found = []
    for path in files:
        shown = labels.get(path.parent.name, path.parent.name)
        number = path.stem.removeprefix(GRAPHS.format("").removesuffix(".npz"))
        if label in (None, shown, path.parent.name) and seed in (None, number):
            found.append((shown, number, path))
    if not found:
        there = ", ".join(f"{path.parent.name}/{path.name}" for path in files)
        raise UserError(
            f"'{folder}' has no such feature graphs"
            + (f"; it has {there}" if there else "; only finished runs of EmerG have any")
        )
    return found[0]


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """While open, no other process continues this run; the system frees it when we die.

    Raises:
        UserError: another process has the run open.
    """
    with (folder / "request.json").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process is at work on the run in '{folder}'; wait for it or stop it"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield


def latest_folder(saved_dir: str | Path, verb: str = "run") -> Path:
    """The newest run (or what else a verb makes) in ``saved_dir`` that is not finished.

    Raises:
        UserError: there is none.
    """
    saved = Path(saved_dir).expanduser().resolve()
    open_runs = [
        path.parent
        for path in saved.glob("*/request.json")
        if not is_finished(path.parent) and verb_of(path) == verb
    ]
    if not open_runs:
        what = "sweep" if verb == "tune" else verb
        raise UserError(
            f"there is no unfinished {what} in '{saved}'; give its folder: --resume=DIR"
        )
    return max(open_runs, key=lambda path: (path / "request.json").stat().st_mtime)
