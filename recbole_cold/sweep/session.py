"""One sweep from its request to a finished folder, for the command line and for Python."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_cold.experiment.folders import is_finished, only_one
from recbole_cold.experiment.session import Again, Ran, at_work
from recbole_cold.sweep.folders import read_sweep
from recbole_cold.sweep.requests import SweepRequest
from recbole_cold.sweep.sweep import Sweep


def tune_request(
    request: SweepRequest,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    *,
    again: Again,
    tell: Callable[[str], None],
    **objects: Any,
) -> Ran:
    """Run the missing trials, choose a setting, and score it on ``test``.

    Args:
        folder: the folder of a sweep to continue; one that is finished is only read.
        tell: takes the plan, and a line per trial.
        objects: ``search_alg``, ``scheduler``, ``ray_callbacks``, as ``Sweep`` takes them.

    Raises:
        UserError: the request cannot be run, no setting came through, a file could not be written.
        Interrupted: names the folder and how to go on.
    """
    with contextlib.ExitStack() as held:
        sweep = Sweep(request, stop, tell, **objects)
        if folder is None:
            tell(sweep.plan())
            folder = sweep.open_folder()
            held.enter_context(only_one(folder))
        else:
            held.enter_context(only_one(folder))
            sweep.folder = folder
            done, total = sweep.read_done(), sweep.n_settings * len(sweep.seeds)
            # Nothing is continued there: other code than today's may have made it.
            if is_finished(folder) and (done + len(sweep.kept.outdated) == total or sweep.asks):
                return Ran(read_sweep(folder), folder)
            tell(f"{done} of {total} trials are done")
        tell(f"folder {folder}\n")
        with at_work(folder, again):
            return Ran(sweep.run(), folder)
