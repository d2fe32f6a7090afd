"""Methods on backbones: what is there is reused, what is missing is run, one table shows it all.

Two doors lead to the same value, a comparison document (``report.Comparison`` reads it):
``Campaign`` plans cells (backbone x method x seed), finds those that earlier runs hold already, and
hands the others to a pool; ``from_folders`` only reads. Nothing shown comes from anywhere else.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import report
from recbole_cold.config import ColdConfig, keys_of_click_model, make_config
from recbole_cold.dataset import cache_root
from recbole_cold.errors import UserError
from recbole_cold.experiment import (
    MAY_CHANGE,
    DataStore,
    Entry,
    Experiment,
    Request,
    code_of,
    entry_texts,
    make_folder,
    matched_entry,
    parse_entries,
    refuse_run_wide,
    verb_of,
    versions,
)
from recbole_cold.registry import find_method
from recbole_cold.store import write_bytes
from recbole_cold.trials import TrialSpec

logger = logging.getLogger(__name__)

VERB = "compare"
FINISHED = "table.txt"  # the last file of a comparison with nothing missing
# Keys that change no number of one method on one seed.
CHANGES_NO_NUMBER = MAY_CHANGE | {
    "seed", "seeds", "matched_steps", "base_model", "metrics", "valid_metric", "config_files",
}  # fmt: skip
# What two documents must have in common to stand in one table, and how sentences call it.
_SAME = {
    "dataset": "data set", "data_hash": "data", "protocol": "protocol", "eval_on": "eval_on",
    "fit_on": "fit_on", "phases": "phases", "share_pretrained": "share_pretrained",
}  # fmt: skip
_SAME_SPLIT = ("rule", "N", "K", "warm_sets", "cold_side", "order", "counts")

RunAll = Callable[..., None]


@dataclass(frozen=True)
class CompareRequest:
    """What one ``compare`` asks for; plain values, so that a later ``--resume`` reads it back."""

    models: str
    backbones: str
    dataset: str | None = None
    config_files: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None
    concurrent: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    ray_address: str | None = None
    command: str = ""
    verb: str = VERB


class Cell(NamedTuple):
    """One number per phase and metric: a method on a backbone with a seed."""

    backbone: str
    entry: Entry
    text: str  # the entry as on the command line
    seed: int

    @property
    def place(self) -> tuple[str, str, int]:
        """What tells cells apart: an entry holds mappings, which cannot be keys."""
        return self.backbone, self.entry.label, self.seed


class Found(NamedTuple):
    """A result that is there: the run, its one seed, and where it was found."""

    run: Mapping[str, Any]
    seed: Mapping[str, Any]
    source: str


# ------------------------------------------------------------------------------- running
class Campaign:
    """All cells of one request.

    Args:
        request: what to compare.
        stop: asked by the pool; true ends with ``Interrupted``.

    Raises:
        UserError: anything in the request that cannot be; nothing is written then.
    """

    def __init__(self, request: CompareRequest, stop: Callable[[], bool] = lambda: False) -> None:
        self.request, self.stop = request, stop
        store = DataStore(most=1000)
        self.experiments: dict[str, Experiment] = {}
        for backbone in parse_entries(request.backbones, "--backbones"):
            refuse_run_wide(backbone)
            asked = Request(
                request.models, request.dataset, backbone.spec, list(request.config_files),
                {**request.overrides, **backbone.variant}, request.command,
            )  # fmt: skip
            experiment = Experiment(asked, stop=stop, store=store)
            experiment.prepare()
            self.experiments[backbone.label] = experiment
        # Beside several backbones a method with a network of its own runs, and is shown, once.
        self.alone = [
            entry.label
            for entry in self.first().entries
            if len(self.experiments) > 1 and find_method(entry.spec).network is not None
        ]
        self.texts = [_absolute(text) for text in entry_texts(request.models)]
        self.failures: list[dict[str, Any]] = []
        self.found: dict[tuple[str, str, int], tuple[Cell, Found]] = {}
        self.ran = 0

    def first(self) -> Experiment:
        return next(iter(self.experiments.values()))

    def check(self) -> None:
        """Refuse what would end in no table, before anything is run.

        Raises:
            UserError: one method on one backbone, or an unknown row to test against.
        """
        rows = [entry.label for entry in self.first().entries]
        matched = bool(self.first().first()["matched_steps"])
        if len(rows) * len(self.experiments) < 2:
            raise UserError(
                f"there is nothing to compare: {rows[0]} on {next(iter(self.experiments))} is one "
                "cell; name two methods with --models or two backbones with --backbones"
            )
        known = rows + [report.MATCHED] * matched
        if self.request.against is not None and _row(self.request.against) not in known:
            raise UserError(
                f"--against names '{self.request.against}', which is not compared here; rows are "
                f"{', '.join(known)}"
            )

    def cells(self) -> list[Cell]:
        """Methods first, then backbones: seeds of one backbone share its pre-training."""
        return [
            Cell(backbone, entry, text, seed)
            for backbone, experiment in self.experiments.items()
            for seed in experiment.seeds()
            for entry, text in zip(experiment.entries, self.texts, strict=True)
            if entry.label not in self.alone or experiment is self.first()
        ]

    def run(self, folder: Path, saved_dir: Path, run_all: RunAll) -> dict[str, Any]:
        """Reuse, run what is missing, and give the comparison, also in ``comparison.json``.

        Whatever ends this, the results that are there are in the folder.

        Args:
            run_all: as :func:`recbole_cold.pool.run_all`.
        """
        earlier = Earlier(saved_dir, folder)
        try:
            self._fill(self.cells(), earlier, folder, run_all)
            self._fill(list(self._matched_cells()), earlier, folder, run_all)
        finally:
            document = self.document()
            report.write_json(folder / "comparison.json", document)
        return document

    def _fill(
        self, cells: Sequence[Cell], earlier: "Earlier", folder: Path, run_all: RunAll
    ) -> None:
        todo: dict[str, Cell] = {}
        specs: list[TrialSpec] = []
        for cell in cells:
            known = earlier.find(self.experiments[cell.backbone], cell)
            if known is not None:
                self.found[cell.place] = cell, known
                continue
            spec = self.spec(cell)
            if spec.key not in todo:
                specs.append(spec)
            todo[spec.key] = cell
        logger.info(
            "%d of %d results are there already, %d to run", len(cells) - len(specs), len(cells),
            len(specs),
        )  # fmt: skip
        if not specs:
            return
        done = 0

        def on_done(spec: TrialSpec, document: Mapping[str, Any]) -> None:
            nonlocal done
            report.write_json(folder / "trials" / f"{spec.key}.json", document)
            cell, (run,) = todo[spec.key], document["runs"]
            self.found[cell.place] = cell, Found(run, run["seeds"][0], str(folder))
            self.ran += 1
            done += 1
            logger.info("[%d/%d] %s: %s", done, len(specs), _place(cell), _scores(document))

        def on_failed(spec: TrialSpec, error: str) -> None:
            nonlocal done
            done += 1
            cell = todo[spec.key]
            self.failures.append(
                {"backbone": cell.backbone, "row": cell.entry.label, "seed": cell.seed,
                 "error": error}
            )  # fmt: skip
            last = error.strip().splitlines() or ["unknown"]
            logger.error("[%d/%d] %s: failed: %s", done, len(specs), _place(cell), last[-1])

        asked = self.request
        run_all(
            specs, cpus=asked.cpus, gpus=asked.gpus, concurrent=asked.concurrent,
            ray_address=asked.ray_address, on_done=on_done, on_failed=on_failed,
            name=folder.name, stop=self.stop,
        )  # fmt: skip

    def spec(self, cell: Cell) -> TrialSpec:
        """The trial of a cell: every path absolute, no key that belongs to another method."""
        experiment = self.experiments[cell.backbone]
        config = experiment.config(cell.entry, cell.seed)
        leave = {*cell.entry.variant, "model", "models", "dataset", "backbone", "seed", "seeds",
                 "matched_steps", "saved_dir", "show_progress", "config_files"}  # fmt: skip
        given = {k: v for k, v in config.external_config_dict.items() if k not in leave}
        if config["share_pretrained"]:
            given["pretrain_seed"] = config["pretrain_seed"]
        given["data_path"] = _data_path(given.get("data_path", "dataset_atomic"), config)
        given["cache_dir"] = str(cache_root(config["cache_dir"]).absolute())
        return TrialSpec(
            model="Base" if cell.entry.matched_steps else cell.text,
            dataset=config.dataset,
            backbone=_absolute(str(experiment.request.backbone)),
            overrides=json.loads(json.dumps(given)),
            seed=cell.seed,
            matched_steps=cell.entry.matched_steps,
        )

    def _matched_cells(self) -> Iterator[Cell]:
        for backbone, experiment in self.experiments.items():
            entry = None
            if experiment.first()["matched_steps"]:
                entry = matched_entry(self._document_of(backbone))
            if entry is not None:
                for seed in experiment.seeds():
                    yield Cell(backbone, entry, "Base", seed)

    # ---------------------------------------------------------------- the document
    def document(self) -> dict[str, Any]:
        """What is there by now."""
        rows = [entry.label for entry in self.first().entries]
        if any(cell.entry.matched_steps for cell, _ in self.found.values()):
            rows.append(report.MATCHED)
        base = self.first().first()["base_model"]
        against = _row(self.request.against) if self.request.against else base
        documents = [self._document_of(backbone) for backbone in self.experiments]
        if self.alone:
            documents.append({**documents[0], "backbone_label": report.OWN_NETWORK})
            for document in documents:
                own = document["backbone_label"] == report.OWN_NETWORK
                document["runs"] = [
                    run for run in document["runs"] if (run["label"] in self.alone) == own
                ]
        return {
            "schema": report.SCHEMA,
            "command": self.request.command,
            "created": _now(),
            "against": against if against in rows else None,
            "rows": rows,
            "alone": self.alone,
            "backbones": [str(document["backbone_label"]) for document in documents],
            "seeds": self.first().seeds(),
            "ran": self.ran,
            "reused": len(self.found) - self.ran,
            "failures": self.failures,
            "documents": documents,
        }

    def _document_of(self, backbone: str) -> dict[str, Any]:
        experiment = self.experiments[backbone]
        runs: dict[str, dict[str, Any]] = {}
        order = [entry.label for entry in experiment.entries]
        cells = [pair for pair in self.found.values() if pair[0].backbone == backbone]
        cells.sort(key=lambda pair: (_order(order, pair[0].entry.label), pair[0].seed))
        for cell, known in cells:
            label = cell.entry.label
            if label not in runs:
                names = {"label": label, "variant": dict(cell.entry.variant)}
                names["matched_steps"] = cell.entry.matched_steps
                runs[label] = {**known.run, **names, "seeds": []}
            runs[label]["seeds"].append({**known.seed, "from": known.source})
        return {**experiment.document, "backbone_label": backbone, "runs": list(runs.values())}


def _order(known: Sequence[str], label: str) -> int:
    return known.index(label) if label in known else len(known)


def _place(cell: Cell) -> str:
    return f"{cell.entry.label} on {cell.backbone}, seed {cell.seed}"


def _scores(document: Mapping[str, Any]) -> str:
    scored = document["runs"][0]["seeds"][0]["phases"]
    metric = document["metrics"][0]
    values = [f"{name} {phase['metrics'].get(metric, float('nan')):.4f}"
              for name, phase in scored.items()]  # fmt: skip
    seconds = document.get("trial", {}).get("seconds")
    return f"{metric} {', '.join(values)}" + (f" ({seconds:.1f} s)" if seconds else "")


def _row(name: str) -> str:
    return report.MATCHED if name in ("matched", "Base (matched steps)") else name


def _absolute(text: str) -> str:
    """An entry whose file is named from here, so that a process elsewhere finds it."""
    name, bracket, rest = text.partition("[")
    place, colon, cls = name.partition(":")
    if not place.endswith(".py"):
        return text
    return f"{Path(place).expanduser().resolve()}{colon}{cls}{bracket}{rest}"


def _data_path(given: Any, config: ColdConfig) -> str:
    """The folder of data sets as another process finds it, whatever its working folder."""
    base = Path(str(given)).expanduser().absolute()
    if any((base / config.dataset).glob("*.inter")) or base.name == config.dataset:
        return str(base)
    return str(config["data_path"])


# ------------------------------------------------------------------------------- reuse
class Earlier:
    """Results of earlier runs and comparisons in ``saved_dir``, by all that their numbers follow
    from: data, split, code, versions, configuration and seed."""

    def __init__(self, saved_dir: Path, own: Path | None = None) -> None:
        self._known: dict[str, list[tuple[Mapping[str, Any], Found]]] = {}
        self.hashes: dict[tuple[int, int], str] = {}
        for path, document in _documents(saved_dir, own):
            for run in document["runs"]:
                for seed in run["seeds"]:
                    key = _key(document["data_hash"], run.get("code"), run["config"], seed["seed"])
                    found = Found(run, seed, seed.get("from", str(path)))
                    self._known.setdefault(key, []).append((document, found))

    def find(self, experiment: Experiment, cell: Cell) -> Found | None:
        """The newest result that equals what the cell would give; None where there is none."""
        config = experiment.config(cell.entry, cell.seed)
        dataset = experiment.data(config)
        key = _key(dataset.data_hash, code_of(config), config.as_dict(), cell.seed)
        own = versions()
        for document, found in self._known.get(key, []):
            split, theirs = dataset.split.manifest, document["split"]
            # A document tells the split of its first seed; the others differ where seeds draw it.
            drawn = split.get("order") != "time" or config["fit_on"] != "full"
            if drawn:
                same = all(split.get(name) == theirs.get(name) for name in _SAME_SPLIT)
            else:
                same = dataset.split.hash == theirs.get("hash")
            libraries = ("recbole_cold", "recbole", "torch")
            same &= all(document["versions"].get(name) == own[name] for name in libraries)
            phases = list(experiment.document["phases"])
            scored = found.seed["phases"]
            wanted = {name for name in config["metrics"] if name != "RelaImpr"}
            if (
                same
                and document["phases"] == phases
                and list(scored) == phases
                and all(wanted <= set(phase["metrics"]) for phase in scored.values())
            ):
                return found
        return None


def _key(data: str, code: Any, config: Mapping[str, Any], seed: int) -> str:
    values = {k: v for k, v in config.items() if k not in CHANGES_NO_NUMBER}
    return json.dumps([data, code, values, seed], sort_keys=True, default=str)


def _documents(saved_dir: Path, own: Path | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Whole results documents, the newest file first; what cannot be read is left out."""
    patterns = ("*/results.json", "*/comparison.json", "*/final/results.json")
    paths = [path for pattern in patterns for path in saved_dir.glob(pattern)]
    folders = [path.parent for path in saved_dir.glob("*/request.json") if is_comparison(path)]
    folders += [own] if own is not None else []
    paths += [path for folder in dict.fromkeys(folders) for path in folder.glob("trials/*.json")]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            if path.name == "comparison.json":
                for document in report.load_comparison(path)["documents"]:
                    yield path.parent, document
            else:
                yield path.parent, report.load(path)
        except UserError as error:
            logger.debug("left out: %s", error)


# ------------------------------------------------------------------------------- folders
def new_folder(request: CompareRequest | None, dataset: str, saved_dir: Path) -> Path:
    """A folder that did not exist, named by data and time, with the request in it if there is one.

    Raises:
        UserError: it cannot be written.
    """
    asked = None if request is None else asdict(request)
    return make_folder(f"{dataset}-compare", saved_dir, asked)


def is_comparison(path: Path) -> bool:
    """Whether a ``request.json`` is a comparison's."""
    return verb_of(path) == VERB


def read_request(folder: Path) -> CompareRequest:
    """What the comparison in ``folder`` was asked for.

    Raises:
        UserError: the folder is no comparison's, or the file in it is damaged.
    """
    path = folder / "request.json"
    if not is_comparison(path):
        raise UserError(
            f"'{folder}' is not the folder of a comparison that was run; give the folder that the "
            "interrupted one printed"
        )
    try:
        return CompareRequest(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"'{path}' is damaged ({error}); compare again") from error


def latest_folder(saved_dir: Path) -> Path:
    """The newest comparison in ``saved_dir`` that is not finished.

    Raises:
        UserError: there is none.
    """
    paths = [
        path
        for path in saved_dir.glob("*/request.json")
        if is_comparison(path) and not (path.parent / FINISHED).exists()
    ]
    if not paths:
        raise UserError(
            f"there is no unfinished comparison in '{saved_dir}'; give its folder: --resume=DIR"
        )
    return max(paths, key=lambda path: path.stat().st_mtime).parent


def write_files(comparison: report.Comparison, folder: Path, finished: bool = True) -> None:
    """Markdown, LaTeX, CSV and picture of a comparison; the screen table only of a whole one."""
    write_bytes(folder / "comparison.md", report.comparison_markdown(comparison).encode())
    write_bytes(folder / "comparison.tex", report.comparison_latex(comparison).encode())
    write_bytes(folder / "comparison.csv", report.comparison_csv(comparison).encode())
    if any(comparison.cells(metric) for metric in comparison.metrics[:1]):
        report.plot_comparison(comparison, folder / "figures" / "phases.png")
    if finished:
        text = report.comparison_table(comparison) + "\n"
        write_bytes(folder / FINISHED, text.encode())


# ------------------------------------------------------------------------------- reading only
def from_folders(
    paths: Iterable[str | Path], against: str | None = None, command: str = ""
) -> dict[str, Any]:
    """The comparison of what earlier runs hold; nothing is run.

    Rows and backbones whose settings differ from one another are told apart by what differs.

    Raises:
        UserError: no folder has results, or results are of different data or protocols.
    """
    found = [pair for path in paths for pair in _results_in(Path(path))]
    if not found:
        raise UserError(
            "there is nothing to compare: none of these folders has a results.json; give folders "
            "of finished runs"
        )
    _refuse_mixed(found)
    runs = [_Placed(path, doc, run) for path, doc in found for run in doc["runs"]]
    _label(runs)
    alone = _place_alone(runs)
    documents: dict[str, dict[str, Any]] = {}
    for placed in runs:
        start = {**placed.document, "backbone_label": placed.backbone, "runs": []}
        document = documents.setdefault(placed.backbone, start)
        shared = [name for name in document["metrics"] if name in placed.document["metrics"]]
        document["metrics"] = shared
        _merge(document, placed)
    rows = list(dict.fromkeys(run["label"] for doc in documents.values() for run in doc["runs"]))
    if len(rows) * len(documents) < 2:
        raise UserError(
            f"there is nothing to compare: the results are of {rows[0] if rows else 'no method'} "
            "alone; give folders with two methods or backbones"
        )
    failures = [failure for _, doc in found for failure in doc.get("comparison_failures", [])]
    return {
        "schema": report.SCHEMA,
        "command": command,
        "created": _now(),
        "against": _row(against) if against else None,
        "rows": [],
        "alone": alone,
        "backbones": [],
        "seeds": [],
        "failures": failures,
        "documents": list(documents.values()),
    }


class _Placed:
    """A run, the document it is in, and the names it gets in the table."""

    def __init__(self, path: Path, document: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        self.path, self.document, self.run = path, document, run
        self.label, self.backbone = str(run["label"]), str(run["backbone"])
        defaults = _defaults(run["model"], run["backbone"], document["dataset"],
                             document["protocol"])  # fmt: skip
        self.own = {
            key: value
            for key, value in run["config"].items()
            if key not in CHANGES_NO_NUMBER and key in defaults and defaults[key] != value
        }


@cache
def _defaults(model: str, backbone: str, dataset: str, protocol: str) -> dict[str, Any]:
    """The configuration without anybody's settings; {} for methods that are not found by name."""
    try:
        config = make_config(
            model, dataset, backbone, overrides={"protocol": protocol}, check_data=False
        )
    except UserError:
        return {}
    return dict(json.loads(json.dumps(config.as_dict(), default=str)))


def _results_in(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The results documents of a run, a comparison or a sweep; nothing of an unfinished one."""
    if not path.exists():
        raise UserError(f"'{path}' does not exist; give folders of runs, for instance saved/*")
    documents: list[dict[str, Any]] = []
    for name in ("comparison.json", "results.json", "final/results.json"):
        file = path / name if path.is_dir() else path
        if file.is_file():
            whole = file.name == "comparison.json"
            documents = report.load_comparison(file)["documents"] if whole else [report.load(file)]
            break
    found = [(path, doc) for doc in documents if any(run["seeds"] for run in doc["runs"])]
    if not found:
        logger.warning("'%s' has no results and is left out", path)
    return found


def _refuse_mixed(found: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """One table holds what was measured alike.

    Raises:
        UserError: names two folders and all that differs between them.
    """
    first_path, first = found[0]
    for path, document in found[1:]:
        differs = [
            _difference(name, first.get(key), document.get(key))
            for key, name in _SAME.items()
            if first.get(key, "full") != document.get(key, "full")
        ]
        differs += [
            _difference(f"the split's {key}", first["split"].get(key), document["split"].get(key))
            for key in _SAME_SPLIT
            if first["split"].get(key) != document["split"].get(key)
        ]
        if not differs:
            pair = [_setting(doc, "f1_threshold") for doc in (first, document)]
            if "F1" in first["metrics"] and pair[0] != pair[1]:
                differs = [_difference("f1_threshold", *pair)]
        if differs:
            raise UserError(
                f"'{first_path}' and '{path}' cannot stand in one table, for they differ: "
                f"{'; '.join(differs)}; compare each kind apart"
            )


def _setting(document: Mapping[str, Any], key: str) -> Any:
    return document["runs"][0]["config"].get(key) if document["runs"] else None


def _difference(name: str, one: Any, other: Any) -> str:
    long = isinstance(one, Mapping | list) or len(str(one)) > 30
    if long:
        return name
    return f"{name} is {one} and {other}"


def _label(runs: Sequence[_Placed]) -> None:
    """Names that tell apart what is not the same: settings that differ go into brackets."""
    for placed in runs:
        try:
            shapes = keys_of_click_model(placed.run["backbone"], placed.document["dataset"])
        except UserError:
            shapes = set()
        ours = {key: value for key, value in placed.own.items() if key in shapes}
        named = placed.document.get("backbone_label")
        placed.backbone = named or Entry(str(placed.run["backbone"]), ours).label
        placed.own = {key: value for key, value in placed.own.items() if key not in shapes}
        # One name for one shape, in whichever order its settings were given.
        twin = next((p for p in runs[: runs.index(placed)] if _shape(p) == _shape(placed)), None)
        placed.backbone = twin.backbone if twin else placed.backbone
    varying = {key for placed in runs for key in placed.own if _varies(key, runs)}
    for placed in runs:
        variant = dict(placed.run["variant"])
        extra = {k: v for k, v in placed.own.items() if k in varying and k not in variant}
        if extra and placed.run.get("matched_steps") is None:
            stem = placed.label.partition("[")[0]
            placed.label = Entry(stem, {**variant, **extra}).label


def _place_alone(runs: Sequence[_Placed]) -> list[str]:
    """Put methods with a network of their own beside the one backbone, or in a group of their own.

    Returns:
        The labels of those in a group of their own.
    """
    own = [placed for placed in runs if _is_alone(placed.run)]
    backbones = {placed.backbone for placed in runs if not any(placed is other for other in own)}
    for placed in own:
        placed.backbone = min(backbones) if len(backbones) == 1 else report.OWN_NETWORK
    return sorted({placed.label for placed in own}) if len(backbones) != 1 else []


def _is_alone(run: Mapping[str, Any]) -> bool:
    """Whether the method of a run is a network of its own; its backbone has the method's name."""
    return str(run["backbone"]) == str(run["model"])


def _shape(placed: _Placed) -> str:
    """A backbone and the values of the keys that shape it."""
    try:
        shapes = keys_of_click_model(placed.run["backbone"], placed.document["dataset"])
    except UserError:
        return str(placed.document.get("backbone_label") or placed.run["backbone"])
    values = {key: placed.run["config"].get(key) for key in sorted(shapes)}
    return json.dumps([placed.run["backbone"], values], default=str)


def _varies(key: str, runs: Sequence[_Placed]) -> bool:
    """Whether runs that know a key differ in how it was set, their brackets aside."""
    values = {
        json.dumps(placed.own.get(key, "the default"), default=str)
        for placed in runs
        if key in placed.run["config"] and key not in placed.run["variant"]
    }
    return len(values) > 1


def _merge(document: dict[str, Any], placed: _Placed) -> None:
    """Add a run; seeds that are there already stay, for the same settings give the same numbers.

    Raises:
        UserError: another run has the same name with other settings.
    """
    seeds = [{**seed, "from": seed.get("from", str(placed.path))} for seed in placed.run["seeds"]]
    same = next((run for run in document["runs"] if run["label"] == placed.label), None)
    if same is None:
        document["runs"].append({**placed.run, "label": placed.label, "seeds": seeds})
        return
    differs = sorted(
        key
        for key in same["config"].keys() | placed.run["config"].keys()
        if key not in CHANGES_NO_NUMBER and same["config"].get(key) != placed.run["config"].get(key)
    )
    if differs:
        raise UserError(
            f"two results of {placed.label} on {placed.backbone} differ in {', '.join(differs)} "
            f"(one of them in '{placed.path}'); leave one of the folders out"
        )
    known = {seed["seed"] for seed in same["seeds"]}
    same["seeds"] += [seed for seed in seeds if seed["seed"] not in known]
    same["seeds"].sort(key=lambda seed: seed["seed"])


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
