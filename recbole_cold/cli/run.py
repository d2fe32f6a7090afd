"""``recbole-cold run``: train and score methods."""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold.cli.arguments import Arguments, request_of
from recbole_cold.cli.screen import Stop, log_to, logger
from recbole_cold.errors import UserError, WriteError


def run(arguments: Arguments) -> int:
    """Train and score; print the table and say where everything is."""
    from recbole_cold import report
    from recbole_cold.errors import Interrupted
    from recbole_cold.experiment.experiment import Experiment
    from recbole_cold.experiment.folders import (
        is_finished,
        latest_folder,
        new_folder,
        only_one,
        read_request,
    )

    resume = arguments.flags.get("resume")
    if resume is not None:
        if not resume:
            raise UserError("--resume= names no folder; give it, or --resume alone for the newest")
        extra = set(arguments.keys) - {"saved_dir"}
        if extra:
            raise UserError(
                f"--resume continues a run as it was asked for; leave out --{min(extra)}, or start "
                "a new run"
            )
        folder = (
            latest_folder(arguments.keys.get("saved_dir", "saved"))
            if resume is True
            else Path(resume).expanduser().resolve()
        )
        request = read_request(folder)
        if is_finished(folder):
            return _show(report.load(folder), folder)
    else:
        request, folder = request_of(arguments), None
    with Stop().listening() as stop, contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(only_one(folder))
        experiment = Experiment(request, folder, stop)
        experiment.prepare()
        if folder is None:
            folder = experiment.open_folder(new_folder)
            held.enter_context(only_one(folder))
        with log_to(folder / "log.txt"):
            logger.info("%s", request.command)
            logger.info("folder %s", folder)
            try:
                document = experiment.run()
                _write_report(document, folder)
                return _show(document, folder)
            except (Interrupted, KeyboardInterrupt):
                print(
                    f"interrupted; to continue: recbole-cold --resume={shlex.quote(str(folder))}",
                    file=sys.stderr,
                )
                return 130
            except WriteError as error:
                raise UserError(
                    f"{error}; to continue then: recbole-cold --resume={shlex.quote(str(folder))}"
                ) from error


def _table(document: dict[str, Any]) -> str:
    from recbole_cold import report

    return f"{report.table(document)}\n\n{report.costs(document)}\n"


def _write_report(document: dict[str, Any], folder: Path) -> None:
    """Everything shown is made from the results document."""
    from recbole_cold import report
    from recbole_cold.experiment.folders import FINISHED
    from recbole_cold.store import write_bytes

    report.plot_curves(document, folder / "figures" / "curves.png")
    write_bytes(folder / "results.md", report.markdown(document).encode())
    write_bytes(folder / FINISHED, _table(document).encode())


def _show(document: dict[str, Any], folder: Path) -> int:
    """Print the table and where everything is; 1 when a method failed, 0 otherwise."""
    print(_table(document))
    print(f"results  {folder / 'results.json'}\nmarkdown {folder / 'results.md'}")
    print(f"curves   {folder / 'figures' / 'curves.png'}")
    for failure in document.get("failures", []):
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if document.get("failures") else 0
