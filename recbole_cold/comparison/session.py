"""One comparison from its request to a finished folder, for the command line and for Python."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_cold import report
from recbole_cold.comparison.campaign import Campaign, RunAll, by_backbone, first_config
from recbole_cold.comparison.folders import new_folder, write_files, write_subsets
from recbole_cold.comparison.from_folders import from_folders
from recbole_cold.comparison.requests import VERB, CompareRequest
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.experiment.folders import (
    folder_to_resume,
    only_one,
    read_request,
    write_request,
)
from recbole_cold.experiment.intervals import settings_of
from recbole_cold.experiment.requests import placed
from recbole_cold.experiment.scores import in_folder
from recbole_cold.experiment.session import Again, Ran, add_intervals, at_work
from recbole_cold.experiment.subsets import KEY, joined, requests_of
from recbole_cold.trials import ray_pool as pool

logger = logging.getLogger("recbole_cold")


def compare_request(
    request: CompareRequest,
    saved: Path,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    *,
    again: Again,
) -> Ran:
    """Run a comparison to its end; an interruption leaves a table of the results so far.

    Several subsets of sessions are a comparison each, in subfolders of one folder.

    Args:
        saved: where earlier results are looked for, and where the new folder is made.
        folder: the folder of a comparison to continue.

    Raises:
        UserError: the request cannot be run, or a file cannot be written.
        Interrupted: names the folder and how to go on; its files show what is there.
    """
    with contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(only_one(folder))
        config = first_config(request)
        parts = requests_of(request, config)
        campaigns = {name: Campaign(part, stop) for name, part in (parts or {"": request}).items()}
        for campaign in campaigns.values():
            campaign.check()
        if (request.cpus, request.gpus, request.ray_address) != (1.0, 0.0, None):
            pool.room(request.cpus, request.gpus, request.ray_address)
        if folder is None:
            named = {KEY: list(parts)} if parts else {}
            asked = replace(request, overrides={**request.overrides, **named})
            folder = new_folder(placed(asked, config), config.dataset, saved)
            held.enter_context(only_one(folder))

        run_all = held.enter_context(pool.one_session(request.ray_address))
        with at_work(folder, again):
            logger.info("%s", request.command)
            documents = {}
            for name, campaign in campaigns.items():
                place = folder / name
                if name:
                    if not (place / "request.json").exists():
                        write_request(place, placed(parts[name], config))
                    held.enter_context(only_one(place))
                logger.info("folder %s", place)
                documents[name] = _run_campaign(campaign, place, saved, run_all)
            document = joined(documents) if parts else documents[""]
            if parts:
                write_subsets(documents, folder, not document["failures"])
        return Ran(document, folder)


def _run_campaign(campaign: Campaign, folder: Path, saved: Path, run_all: RunAll) -> dict[str, Any]:
    """Run what is missing of a comparison, and write its files whatever ends it."""
    try:
        document = campaign.run(folder, saved, run_all)
    except (Interrupted, KeyboardInterrupt):
        document = campaign.document()
        if any(doc["runs"] for doc in document["documents"]):
            write_files(report.Comparison(document), folder, finished=False)
        raise
    write_files(report.Comparison(document), folder, not document["failures"])
    return document


def compare_folders(
    folders: Iterable[str | Path], saved: Path, keys: Mapping[str, Any], command: str = ""
) -> Ran:
    """Earlier results as one table in a new folder; nothing is run.

    Args:
        keys: ``against``, and nothing else but ``saved_dir``.

    Raises:
        UserError: the folders hold nothing to compare, or another key is given.
    """
    extra = set(keys) - {"against", "saved_dir"}
    if extra:
        raise UserError(
            f"compare with folders runs nothing: leave out --{min(extra)}, or the folders"
        )
    document = from_folders(folders, keys.get("against"), command)
    shown = report.Comparison(document)
    folder = new_folder(None, document["documents"][0]["dataset"], saved)
    documents = by_backbone(document)
    add_intervals(document, documents, in_folder(folder), settings_of(documents.values()))
    report.write_json(folder / "comparison.json", document)
    write_files(shown, folder, not document["failures"])
    return Ran(document, folder)


def comparison_to_resume(
    resume: str | Path | bool, keys: Mapping[str, Any], saved: Path, trust: bool = False
) -> tuple[CompareRequest, Path]:
    """The folder that ``resume`` names, or for True that of the newest unfinished comparison.

    Raises:
        UserError: it names none, ``keys`` asks for anything but ``saved_dir``, or it is another
            user's and not to be trusted.
    """
    folder = folder_to_resume(resume, keys, saved, VERB, trust)
    return read_request(folder, VERB, CompareRequest), folder
