"""One benchmark from its request to a finished folder, for the command line and for Python."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recbole_cold import report
from recbole_cold.comparison.folders import write_files
from recbole_cold.equal_tuning.benchmark import Benchmark
from recbole_cold.equal_tuning.requests import VERB, BenchmarkRequest
from recbole_cold.errors import Interrupted
from recbole_cold.experiment.folders import make_folder, only_one
from recbole_cold.experiment.requests import placed
from recbole_cold.experiment.session import Again, Ran, at_work
from recbole_cold.trials import ray_pool as pool

logger = logging.getLogger("recbole_cold")


def benchmark_request(
    request: BenchmarkRequest,
    saved: Path,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    *,
    again: Again,
) -> Ran:
    """Run a benchmark to its end; what is done when it is interrupted is kept.

    Args:
        saved: where earlier results are looked for, and where the new folder is made.
        folder: the folder of a benchmark to continue.

    Raises:
        UserError: the request cannot be run, or a file cannot be written.
        Interrupted: names the folder and how to go on.
    """
    with contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(only_one(folder))
        benchmark = Benchmark(request, stop)
        if folder is None:
            config = benchmark.campaign.first().first()
            asked = asdict(placed(request, config))
            folder = make_folder(f"{config.dataset}-{VERB}", saved, asked)
            held.enter_context(only_one(folder))

        run_all = held.enter_context(pool.one_session(request.ray_address))
        with at_work(folder, again):
            logger.info("%s", request.command)
            logger.info("folder %s", folder)
            benchmark.tell_plan()
            try:
                document = benchmark.run(folder, saved, run_all)
            except (Interrupted, KeyboardInterrupt):
                document = benchmark.document()
                if any(doc["runs"] for doc in document["documents"]):
                    _write(document, folder, finished=False)
                raise
            _write(document, folder, not document["failures"])
        return Ran(document, folder)


def _write(document: dict[str, Any], folder: Path, finished: bool) -> None:
    if any(spent["best_of"] for spent in document["benchmark"]["spent"].values()):
        report.plot_best_of(document, folder / "figures" / "best-of-n.png")
    write_files(report.Comparison(document), folder, finished)
