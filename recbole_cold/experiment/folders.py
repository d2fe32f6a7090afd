"""The folders of runs: their names, what is in them, and who may work in them."""

import fcntl
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, get_type_hints

from recbole_cold import paths
from recbole_cold.config import (
    ColdConfig,
)
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import Request, placed
from recbole_cold.kinds import text_of
from recbole_cold.store import write_bytes


def file_name(label: str) -> str:
    return re.sub(r"[^\w.=+-]+", "_", label).strip("_")


FINISHED = "table.txt"  # the last file of a run, a comparison, a sweep with nothing missing
WHAT = {"run": "run", "compare": "comparison", "tune": "sweep"}  # what a verb makes, in sentences
GRAPHS = "graphs.npz"  # what a method whose items have graphs leaves


def artifact_name(name: str, seed: int | str) -> str:
    """The file that a method's artifact ``name`` is kept in for one seed."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}-seed-{seed}{dot}{ending}" if dot else f"{name}-seed-{seed}"


def is_finished(folder: Path) -> bool:
    return (folder / FINISHED).exists()


def new_folder(request: Request, config: ColdConfig) -> Path:
    """A folder that did not exist, named by data, backbone and time, with the request in it.

    Raises:
        UserError: ``saved_dir`` cannot be written.
    """
    name = f"{config.dataset}-{config.backbone_name}"
    return make_folder(name, config["saved_dir"], asdict(placed(request, config)))


def make_folder(name: str, saved_dir: str | Path, request: Mapping[str, Any] | None = None) -> Path:
    """A new folder ``name-<time>`` in ``saved_dir``, with ``request.json`` in it if one is given.

    Raises:
        UserError: ``saved_dir`` cannot be written.
    """
    # A name may come from somebody else's document: it must not lead out of the folder.
    stem = f"{file_name(name)}-{datetime.now():%Y%m%d-%H%M%S}"
    saved = paths.absolute(saved_dir)
    for number in range(1000):
        folder = saved / (stem if number == 0 else f"{stem}-{number + 1}")
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            if folder.exists():
                continue
            raise UserError(
                f"cannot create the run's folder '{folder}' ({error.strerror}); choose another "
                "with --saved_dir"
            ) from error
        if request is None:
            return folder
        try:
            write_bytes(folder / "request.json", json.dumps(request, indent=1).encode())
        except UserError:
            folder.rmdir()
            raise
        return folder
    raise UserError(f"there are a thousand folders like '{stem}' in '{saved}'; clean it up")


def verb_of(path: Path) -> str:
    """Which verb wrote a ``request.json``; a damaged one counts as a run's."""
    try:
        return str(json.loads(path.read_text()).get("verb", "run"))
    except (OSError, ValueError, AttributeError):
        return "run"


def read_request(folder: Path, verb: str = "run", kind: Callable[..., Any] = Request) -> Any:
    """What the run (comparison, sweep) in ``folder`` was asked for.

    Args:
        verb: who must have written it.
        kind: makes the request of the values in ``request.json``.

    Raises:
        UserError: the folder is not one of that verb, or the file in it is damaged.
    """
    path, what = folder / "request.json", WHAT[verb]
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        wrote = values.get("verb", "run")
        if wrote not in WHAT:
            raise ValueError("not what this program wrote")
        if wrote != verb:
            raise UserError(
                f"'{folder}' is not the folder of a {what} but of a {WHAT.get(wrote, wrote)}; "
                f"continue it with recbole-cold {wrote} --resume={folder}"
            )
        if "overrides" not in values or not values.get("models", values.get("model")):
            raise ValueError("not what this program wrote")
        return _of_its_kinds(kind, {**values, "place": str(path)})
    except FileNotFoundError:
        raise UserError(
            f"'{folder}' is not the folder of a {what}: it has no request.json; give the folder "
            f"that the interrupted {what} printed"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is damaged ({error}); start the {what} again") from error


def _of_its_kinds(kind: Callable[..., Any], values: dict[str, Any]) -> Any:
    """``kind(**values)``, where every value is of the type that its field declares.

    Raises:
        ValueError, TypeError: one is not, or is no field.
    """
    from pydantic import TypeAdapter, ValidationError

    made = kind(**values)
    for name, wanted in get_type_hints(kind).items():
        try:
            TypeAdapter(wanted).validate_python(getattr(made, name), strict=True)
        except ValidationError:
            raise ValueError(f"its '{name}' is '{text_of(values.get(name))[:40]}'") from None
    return made


def find_graphs(folder: Path, label: str | None, seed: str | None) -> tuple[str, str, Path]:
    """Label, seed and file of the graphs that a run in ``folder`` left.

    Raises:
        UserError: there are none, or none of that label and seed.
    """
    labels = {file_name(entry.label): entry.label for entry in read_request(folder).entries()}
    files = sorted(folder.glob(f"*/{artifact_name(GRAPHS, '*')}"))
    found = []
    for path in files:
        shown = labels.get(path.parent.name, path.parent.name)
        number = path.stem.rpartition("-")[2]
        if label in (None, shown, path.parent.name) and seed in (None, number):
            found.append((shown, number, path))
    if not found:
        there = ", ".join(f"{path.parent.name}/{path.name}" for path in files)
        raise UserError(
            f"'{folder}' has no such feature graphs"
            + (f"; it has {there}" if there else "; only finished runs of EmerG have any")
        )
    return found[0]


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """While open, no other process continues this run; the system frees it when we die.

    Raises:
        UserError: another process has the run open.
    """
    with (folder / "request.json").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process is at work on the run in '{folder}'; wait for it or stop it"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield


def latest_folder(saved_dir: str | Path, verb: str = "run") -> Path:
    """The newest run (or what else a verb makes) in ``saved_dir`` that is not finished.

    Raises:
        UserError: there is none.
    """
    saved = paths.absolute(saved_dir)
    open_runs = [
        path.parent
        for path in saved.glob("*/request.json")
        if not is_finished(path.parent) and verb_of(path) == verb
    ]
    if not open_runs:
        raise UserError(
            f"there is no unfinished {WHAT[verb]} in '{saved}'; give its folder: --resume=DIR"
        )
    return max(open_runs, key=lambda path: (path / "request.json").stat().st_mtime)


def folder_to_resume(
    resume: str | Path | bool,
    given: Iterable[str] = (),
    saved_dir: str | Path = "saved",
    verb: str = "run",
) -> Path:
    """The folder that ``resume`` means: the one it names, or for True the newest unfinished one.

    Args:
        given: names of what else was asked for; only ``saved_dir`` may be.

    Raises:
        UserError: it names none, there is none, or something else is asked for.
    """
    if not resume:
        raise UserError("--resume= names no folder; give it, or --resume alone for the newest")
    extra = set(given) - {"saved_dir"}
    if extra:
        what = WHAT[verb]
        raise UserError(
            f"--resume continues a {what} as it was asked for; leave out --{min(extra)}, or start "
            f"a new {what}"
        )
    return latest_folder(saved_dir, verb) if resume is True else paths.absolute(resume)
