"""One run from its request to a finished folder, for the command line and for Python.

The two differ in how a request is given and in what is shown. Everything between is here: prepare,
open the folder, lock it, keep its log, run, write the report, and say how to resume.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import report
from recbole_cold.config import ColdConfig
from recbole_cold.errors import Interrupted, UserError, WriteError
from recbole_cold.experiment.bands import bands
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.folders import (
    FINISHED,
    is_finished,
    new_folder,
    only_one,
    read_request,
    write_request,
)
from recbole_cold.experiment.intervals import DELONG, Settings, intervals, settings_from
from recbole_cold.experiment.requests import Request, placed
from recbole_cold.experiment.scores import Find, RowScores, in_folder
from recbole_cold.experiment.subsets import KEY, PARTS, folders_in, joined, read_run, requests_of
from recbole_cold.store import write_bytes
from recbole_cold.training.callbacks import Callback

logger = logging.getLogger("recbole_cold")

DELONG_IS_LOW = (
    "DeLong's intervals take rows as independent, and rows of one item are not: they are a lower "
    "bound, often half as wide as those over items"
)

Again = Callable[[Path], str]
"""How a folder's work is continued, in the words of the door that began it."""


Scores = dict[tuple[str, int], RowScores]
"""Row scores by label and seed."""


class Ran(NamedTuple):
    """A results document and the folder that holds it; None where nothing was kept.

    Of several subsets of sessions it is their documents, joined.
    """

    document: dict[str, Any]
    folder: Path | None


def run_request(
    request: Request,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    *,
    again: Again,
    keep: bool = True,
    callbacks: Sequence[Callback] = (),
    take_scores: dict[str, Scores] | None = None,
) -> Ran:
    """Run a request to its end, report included.

    Several subsets of sessions are a run each, one after the other, in subfolders of one folder.

    Args:
        folder: the folder of a run to continue; a new one is made in ``saved_dir`` without it.
        stop: asked between batches; true saves the state and ends with ``Interrupted``.
        keep: False writes no folder at all, so the run cannot be continued.
        callbacks: told of stages, steps and phases.
        take_scores: takes row scores, where no folder holds them: of each subset under its name,
            of a run without subsets under ''.

    Raises:
        UserError: the request cannot be run, or a file cannot be written.
        Interrupted: names the folder and how to go on.
    """
    with contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(only_one(folder))
        experiment = Experiment(request, folder, stop, callbacks=callbacks)
        parts = requests_of(request, experiment.first())
        if not parts:
            experiment.keep_one = True
            experiment.prepare()
            if keep:
                return _run_in_folder(experiment, held, new_folder, again)
            return Ran(_run_in_memory(experiment, "", take_scores), None)

        begun, store = ({} if folder is None else folders_in(folder)), DataStore(most=1000)
        for place in begun.values():
            held.enter_context(only_one(place))
        experiments = {
            name: Experiment(part, begun.get(name), stop, store=store, callbacks=callbacks)
            for name, part in parts.items()
        }
        for each in experiments.values():
            each.keep_one = True
        # What is wrong with one is said before another is trained.
        for each in experiments.values():
            each.prepare()
        if not keep:
            found = {n: _run_in_memory(each, n, take_scores) for n, each in experiments.items()}
            return Ran(joined(found), None)
        if folder is None:
            asked = replace(request, overrides={**request.overrides, KEY: list(parts)})
            folder = new_folder(asked, experiment.first())
            held.enter_context(only_one(folder))
        return _run_subsets(experiments, folder, held, again)


def _run_in_memory(
    experiment: Experiment, name: str, take_scores: dict[str, Scores] | None
) -> dict[str, Any]:
    document = run_whole(experiment)
    if take_scores is not None:
        take_scores[name] = experiment.scores
    return document


def _run_in_folder(
    experiment: Experiment,
    held: contextlib.ExitStack,
    create: Callable[[Request, ColdConfig, Mapping], Path],
    again: Again,
) -> Ran:
    """Run a prepared experiment in its folder; one that ``create`` makes is locked by ``held``."""
    folder = experiment.folder
    if folder is None:
        folder = experiment.open_folder(create)
        held.enter_context(only_one(folder))
    with at_work(folder, again):
        logger.info("%s", experiment.request.command)
        logger.info("folder %s", folder)
        document = run_whole(experiment)
        finish(document, folder)
    return Ran(document, folder)


def _run_subsets(
    experiments: Mapping[str, Experiment], folder: Path, held: contextlib.ExitStack, again: Again
) -> Ran:
    """Run the subsets that are not finished, then write the tables of all of them."""

    def create(part: Request, config: ColdConfig, began: Mapping[str, Any]) -> Path:
        place = folder / part.overrides[KEY]
        write_request(place, placed(part, config), began)
        return place

    documents = {}
    with at_work(folder, again):
        for name, experiment in experiments.items():
            if is_finished(folder / name):
                documents[name] = report.load(folder / name)
                continue
            ran = _run_in_folder(experiment, held, create, lambda _: again(folder))
            documents[name] = ran.document
        document = joined(documents)
        finish(document, folder)
    return Ran(document, folder)


def run_whole(experiment: Experiment) -> dict[str, Any]:
    """Run what is missing, then add the intervals of the differences between its rows.

    Raises:
        UserError: as ``Experiment.run``.
        Interrupted: the user stopped the work.
    """
    document = experiment.run()
    label = next((run["backbone"] for run in document["runs"] if run["backbone"] != run["model"]),
                 document["runs"][0]["backbone"])  # fmt: skip
    settings = settings_from(experiment.first())
    find = experiment.find_scores()
    add_intervals(document, {label: document}, find, settings, experiment.stop)
    if experiment.folder is not None:
        report.write_json(experiment.folder / "results.json", document)
    return document


def add_intervals(
    document: dict[str, Any],
    documents: Mapping[str, Mapping[str, Any]],
    find: Find,
    settings: Settings,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Put ``intervals`` into a document, and say for which rows there are none.

    Args:
        documents: backbone -> the results documents whose rows are compared.
        find: finds row scores.

    Raises:
        Interrupted: ``stop`` was asked for.
    """
    found = intervals(documents, find, settings, stop)
    document["intervals"] = found.records
    for line in found.missing:
        logger.info("%s", line)
    if any(record["by"] == DELONG for record in found.records):
        logger.info("%s", DELONG_IS_LOW)


def continue_run(
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    *,
    again: Again,
    callbacks: Sequence[Callback] = (),
) -> Ran:
    """Run what is missing of the run in ``folder``; one that is finished is only read."""
    request = read_request(folder)
    if is_finished(folder):
        return Ran(read_run(folder), folder)
    return run_request(request, folder, stop, again=again, callbacks=callbacks)


def screen_text(document: Mapping[str, Any], width: int | None = None) -> str:
    """Scores and costs of a run, as the screen shows them; subsets side by side.

    Args:
        width: where subsets that are wider go underneath; they do not without it.
    """
    if PARTS in document:
        return f"{report.subsets_table(document[PARTS], width)}\n"
    return f"{report.table(document)}\n\n{report.costs(document)}\n"


def finish(document: Mapping[str, Any], folder: Path) -> None:
    """Write the report of a run; its last file says that the run is finished.

    Everything shown is made from the results document, and the bands of curves over users from the
    row scores beside it.
    """
    if PARTS in document:  # every subset has its own curves
        text = report.subsets_markdown(document[PARTS], document["command"])
    else:
        if report.have_curves(document["phases"]):
            of_lines = bands({"": document}, in_folder(folder))
            report.plot_curves(document, folder / "figures" / "curves.png", of_lines)
        text = report.markdown(document)
    write_bytes(folder / "results.md", text.encode())
    write_bytes(folder / FINISHED, screen_text(document).encode())


@contextlib.contextmanager
def at_work(folder: Path, again: Again) -> Iterator[None]:
    """Context: messages also go to the folder's log, and errors say how to resume.

    Raises:
        Interrupted: the user stopped the work, by ``stop`` or by a second Ctrl-C.
        UserError: a file could not be written.
    """
    with log_to(folder / "log.txt"):
        try:
            yield
        except (Interrupted, KeyboardInterrupt) as error:
            told = f"interrupted; to continue: {again(folder)}"
            raise Interrupted(told, folder) from error
        except WriteError as error:
            raise UserError(f"{error}; to continue then: {again(folder)}") from error


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Context: messages of this package also go to a file."""
    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write '{path}' ({error.strerror}); make the folder writable"
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()


class _LogFile(logging.FileHandler):
    """A log file that ignores a full disk: results are written, and checked, elsewhere."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass
