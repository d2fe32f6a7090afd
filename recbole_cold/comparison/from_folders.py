"""Builds a comparison from existing results, without running anything."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from recbole_cold import paths, report
from recbole_cold.comparison.earlier import CHANGES_NO_NUMBER, same_split
from recbole_cold.comparison.requests import row_name
from recbole_cold.config import keys_of_click_model, make_config
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Entry
from recbole_cold.experiment.subsets import folders_in

logger = logging.getLogger(__name__)

# Fields that must be equal in all documents of a table, and their names in messages.
_SAME = {
    "dataset": "data set", "data_hash": "data", "protocol": "protocol", "eval_on": "eval_on",
    "fit_on": "fit_on", "phases": "phases", "share_pretrained": "share_pretrained",
}  # fmt: skip


def from_folders(
    folders: Iterable[str | Path], against: str | None = None, command: str = ""
) -> dict[str, Any]:
    """The comparison of the results in some folders; nothing is run.

    Rows and backbones whose settings differ from one another are told apart by what differs. Those
    of one benchmark are not: each row of it has settings of its own, and ``benchmark`` says which.

    Raises:
        UserError: no folder has results, or results are of different data or protocols.
    """
    folders = list(folders)
    found = [pair for path in folders for pair in _results_in(Path(path))]
    if not found:
        raise UserError(
            "there is nothing to compare: none of these folders has a results.json; give folders "
            "of finished runs"
        )
    _refuse_mixed(found)
    runs = [_Placed(path, doc, run) for path, doc in found for run in doc["runs"]]
    tuned = _benchmark_in(folders)
    _label(runs, bare=tuned is not None)
    alone = _place_alone(runs)
    documents: dict[str, dict[str, Any]] = {}
    for placed in runs:
        start = {**placed.document, "backbone_label": placed.backbone, "runs": []}
        start.pop("intervals", None)  # of its own table, under other names
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
        "created": report.now(),
        "against": row_name(against) if against else None,
        "rows": [],
        "alone": alone,
        "backbones": [],
        "seeds": [],
        "metrics_left_out": _left_out(found, documents.values()),
        "failures": failures,
        "documents": list(documents.values()),
        **({} if tuned is None else {"benchmark": tuned}),
    }


def _left_out(
    found: Sequence[tuple[Path, Mapping[str, Any]]], documents: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Metrics of some folders that the table lacks, because other folders do not have them."""
    shown = set.intersection(*(set(document["metrics"]) for document in documents))
    asked = [metric for _, document in found for metric in document["metrics"]]
    return [metric for metric in dict.fromkeys(asked) if metric not in shown]


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
    if not (_is_name(model) and _is_name(backbone)):
        return {}
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
            path = file.parent
            break
    found = [(path, doc) for doc in documents if any(run["seeds"] for run in doc["runs"])]
    parts = folders_in(path)
    if parts:
        logger.warning(
            "'%s' is left out: it has a run on each subset of sessions, which are data sets of "
            "their own; give %s",
            path,
            " or ".join(f"'{part}'" for part in parts.values()),
        )
    elif not found:
        logger.warning("'%s' has no results and is left out", path)
    return found


def _benchmark_in(paths: Sequence[str | Path]) -> Any:
    """What the only one of some folders says of its budget; None where it is no benchmark's."""
    if len(paths) != 1:
        return None
    path = Path(paths[0])
    file = path / "comparison.json" if path.is_dir() else path
    if file.name != "comparison.json" or not file.is_file():
        return None
    return report.load_comparison(file).get("benchmark")


def _refuse_mixed(found: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """Refuse to put results of different data, protocols or phases into one table.

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
            for key in same_split(first["split"])
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


def _label(runs: Sequence[_Placed], bare: bool = False) -> None:
    """A label for a run; settings that differ between runs are added in brackets.

    Args:
        bare: whether they are left out.
    """
    for placed in runs:
        shapes = _shaping_keys(placed) or set()
        ours = {key: value for key, value in placed.own.items() if key in shapes}
        named = placed.document.get("backbone_label")
        placed.backbone = named or Entry(str(placed.run["backbone"]), ours).label
        placed.own = {key: value for key, value in placed.own.items() if key not in shapes}
        # One name for one shape, in whichever order its settings were given.
        twin = next((p for p in runs[: runs.index(placed)] if _shape(p) == _shape(placed)), None)
        placed.backbone = twin.backbone if twin else placed.backbone
    if bare:
        return
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


def _is_name(spec: Any) -> bool:
    """Whether it can only be a built-in or an installed plug-in.

    Documents come from other people: a file or module that one names must not be imported.
    """
    return str(spec).isidentifier()


def _shaping_keys(placed: _Placed) -> set[str] | None:
    """The keys that shape a run's backbone; None where its class is not found by name."""
    if not _is_name(placed.run["backbone"]):
        return None
    try:
        return keys_of_click_model(placed.run["backbone"], placed.document["dataset"])
    except UserError:
        return None


def _shape(placed: _Placed) -> str:
    """A backbone and the values of the keys that shape it."""
    shapes = _shaping_keys(placed)
    if shapes is None:
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
    source = str(paths.absolute(placed.path))
    seeds = [{**seed, "from": seed.get("from", source)} for seed in placed.run["seeds"]]
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
