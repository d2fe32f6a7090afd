"""One reproduction from its request to a finished folder."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recbole_cold import report
from recbole_cold.comparison.campaign import Campaign
from recbole_cold.errors import Interrupted
from recbole_cold.experiment.folders import FINISHED, make_folder, only_one
from recbole_cold.experiment.requests import placed
from recbole_cold.experiment.session import Again, Ran, at_work
from recbole_cold.papers import document, pictures
from recbole_cold.papers.requests import Part, ReproduceRequest, parts_of
from recbole_cold.store import write_bytes
from recbole_cold.trials import ray_pool as pool

logger = logging.getLogger("recbole_cold")

FILE = "reproduce"  # .json, .md, .csv


def reproduce_request(
    request: ReproduceRequest,
    saved: Path,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    *,
    again: Again,
) -> Ran:
    """Run what is missing of a published table or figure, and write ours beside theirs.

    Args:
        saved: where earlier results are looked for, and where the new folder is made.
        folder: the folder of a reproduction to continue.

    Raises:
        UserError: the request cannot be run, or a file cannot be written.
        Interrupted: names the folder and how to go on; its files show what is there.
    """
    with contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(only_one(folder))
        parts = parts_of(request)
        campaigns = [Campaign(part.request, stop) for part in parts]
        if (request.cpus, request.gpus, request.ray_address) != (1.0, 0.0, None):
            pool.room(request.cpus, request.gpus, request.ray_address)
        config = campaigns[0].first().first()
        if folder is None:
            told = asdict(placed(request, config))
            folder = make_folder(f"{config.dataset}-{request.name}", saved, told)
            held.enter_context(only_one(folder))

        run_all = held.enter_context(pool.one_session(request.ray_address))
        with at_work(folder, again):
            logger.info("%s", request.command)
            logger.info("folder %s", folder)
            try:
                # First, for what it has trained need not be trained again for scores.
                drawn = pictures.gather(request, parts, campaigns, folder, stop, again)
                for part, campaign in zip(parts, campaigns, strict=True):
                    logger.info("%s: %s", part.backbone, part.request.models)
                    campaign.run(folder, saved, run_all)
            except (Interrupted, KeyboardInterrupt):
                if any(campaign.found for campaign in campaigns):
                    _write(request, parts, campaigns, folder, None)
                raise
            found = _write(request, parts, campaigns, folder, drawn)
        return Ran(found, folder)


def _write(
    request: ReproduceRequest,
    parts: Sequence[Part],
    campaigns: Sequence[Campaign],
    folder: Path,
    drawn: pictures.Gathered | None,
) -> dict[str, Any]:
    """The files of what is there; the last one says that nothing is missing."""
    comparison = document.merged([campaign.document() for campaign in campaigns], parts)
    report.write_json(folder / "comparison.json", comparison)
    found = document.reproduction(request, parts, comparison)
    if drawn is not None:
        found["pictures"] = pictures.draw(found, comparison, drawn, folder)
        found["distances"] = drawn.distances
    report.write_json(folder / f"{FILE}.json", found)
    write_bytes(folder / f"{FILE}.md", report.reproduction_markdown(found).encode())
    write_bytes(folder / f"{FILE}.csv", report.reproduction_csv(found).encode())
    if drawn is not None and not found["failures"]:
        write_bytes(folder / FINISHED, (report.reproduction_table(found) + "\n").encode())
    return found
