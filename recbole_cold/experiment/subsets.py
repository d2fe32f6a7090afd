"""One command on several subsets of sessions: what is asked of each, and where its files are.

``session_subset: both`` names two data sets, each with a split and a model of its own. So it is two
ordinary runs (or comparisons), one after the other, in subfolders named after the subsets. The
folder above them has the request and the tables in which they stand side by side.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_cold import report
from recbole_cold.config import ColdConfig
from recbole_cold.data.session_split import SUBSETS, subsets_of

KEY = "session_subset"
PARTS = "subsets"  # of a document: subset -> the document of its run


def requests_of(request: Any, config: ColdConfig) -> dict[str, Any]:
    """Subset -> its request, where several are asked for; else nothing.

    Args:
        request: of a run or a comparison.
        config: of one of its rows.
    """
    names = subsets_of(config[KEY]) if config["split_rule"] == "sessions" else []
    if len(names) < 2:
        return {}
    return {name: replace(request, overrides={**request.overrides, KEY: name}) for name in names}


def folders_in(folder: Path) -> dict[str, Path]:
    """Subset -> the subfolder that was begun for it; nothing where the folder is of one run."""
    return {name: folder / name for name in SUBSETS if (folder / name / "request.json").is_file()}


def joined(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document of a run (or comparison) of several subsets.

    Args:
        documents: subset -> its document.
    """
    first = next(iter(documents.values()))
    failures = [
        _of_subset(name, failure)
        for name, document in documents.items()
        for failure in document.get("failures", ())
    ]
    return {"command": first["command"], "failures": failures, PARTS: dict(documents)}


def _of_subset(name: str, failure: Any) -> Any:
    """What failed, with its subset: a sentence of a run, a record of a comparison."""
    if isinstance(failure, str):
        return f"{name}: {failure}"
    return {**failure, "row": f"{name}: {failure['row']}"}


def read_run(folder: Path) -> dict[str, Any]:
    """The document of the run in a folder, or those of its subsets, joined.

    Raises:
        UserError: as ``report.load``.
    """
    found = folders_in(folder)
    if not found:
        return report.load(folder)
    return joined({name: report.load(place) for name, place in found.items()})
