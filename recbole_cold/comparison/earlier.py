"""Finds results of earlier runs by everything that determines their numbers."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import keys, report
from recbole_cold.comparison.requests import VERB, Cell
from recbole_cold.data.session_split import SUBSETS
from recbole_cold.errors import UserError
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.fingerprint import code_of, versions
from recbole_cold.experiment.folders import verb_of
from recbole_cold.experiment.scores import NAMED

logger = logging.getLogger(__name__)
# Keys that change no score of one method on one seed; method and seed are compared as well.
CHANGES_NO_NUMBER = {"seed"} | keys.names(
    without=[keys.COLUMNS, keys.DATA, keys.SPLIT, keys.PRETRAINING, keys.SCORES]
)
_SAME_SPLIT = ("rule", "N", "K", "warm_sets", "cold_side", "order", "counts")
_SAME_SESSIONS = ("rule", "settings", "cold_side", "order")  # counts follow from the seed


def same_split(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Entries of a split's manifest that those of all seeds of one table have in common."""
    return _SAME_SESSIONS if "settings" in manifest else _SAME_SPLIT


class Found(NamedTuple):
    """An existing result: the run with its one seed, and where it was found."""

    run: Mapping[str, Any]
    seed: Mapping[str, Any]
    source: str


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
        """The newest result that equals what the cell would give; None where there is none.

        One whose row scores were kept is taken before one without.
        """
        config = experiment.config(cell.entry, cell.seed)
        dataset = experiment.data(config)
        key = _key(dataset.data_hash, code_of(config), config.as_dict(), cell.seed)
        own = versions()
        newest = None
        for document, found in self._known.get(key, []):
            split, theirs = dataset.split.manifest, document["split"]
            # A document tells the split of its first seed; the others differ where seeds draw it.
            drawn = split.get("order") != "time" or config["fit_on"] != "full"
            if drawn or "settings" in split:
                same = all(split.get(name) == theirs.get(name) for name in same_split(split))
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
                if NAMED in found.seed:
                    return found
                newest = newest or found
        return newest


def _key(data: str, code: Any, config: Mapping[str, Any], seed: int) -> str:
    values = {k: v for k, v in config.items() if k not in CHANGES_NO_NUMBER}
    return json.dumps([data, code, values, seed], sort_keys=True, default=str)


def _documents(saved_dir: Path, own: Path | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Whole results documents, the newest file first; what cannot be read is left out."""
    patterns = ["*/results.json", "*/comparison.json", "*/final/results.json", "*/request.json"]
    patterns += [f"*/{subset}/{name[2:]}" for subset in SUBSETS for name in patterns]
    found = [path for pattern in patterns for path in saved_dir.glob(pattern)]
    paths = [path for path in found if path.name != "request.json"]
    asked = (path for path in found if path.name == "request.json")
    folders = [path.parent for path in asked if verb_of(path) == VERB]
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
