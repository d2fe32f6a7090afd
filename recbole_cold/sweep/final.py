"""The run of the setting that a sweep chose: an ordinary run in ``final/``."""

import logging
from collections.abc import Callable
from pathlib import Path

from recbole_cold.experiment.beginning import Changed, read_beginning
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.folders import write_request
from recbole_cold.experiment.requests import Request
from recbole_cold.experiment.session import finish, run_whole
from recbole_cold.sweep.folders import move_aside

logger = logging.getLogger(__name__)


def final_run(request: Request, folder: Path, stop: Callable[[], bool]) -> None:
    """Run what is missing of it, report included.

    One that other code, versions or data began is moved aside, and this one begins anew.
    """
    write_request(folder, request, read_beginning(folder))
    experiment = Experiment(request, folder, stop)
    try:
        experiment.prepare()
    except Changed as changed:
        logger.warning("%s; it is moved aside and run again", changed)
        move_aside(folder)
        write_request(folder, request)
        experiment.prepare()
    finish(run_whole(experiment), folder)
