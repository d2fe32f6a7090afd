"""The folders of runs: their names, their files, and the lock on them."""

import json
import logging
import os
import pwd
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, get_type_hints

from recbole_cold import paths
from recbole_cold.config import ColdConfig
from recbole_cold.errors import UserError
from recbole_cold.experiment.beginning import KEY as BEGAN
from recbole_cold.experiment.requests import Request, from_files, placed
from recbole_cold.kinds import text_of
from recbole_cold.registry import entry_texts
from recbole_cold.store import try_lock, write_bytes

logger = logging.getLogger(__name__)


def file_name(label: str) -> str:
    return re.sub(r"[^\w.=+-]+", "_", label).strip("_")


FINISHED = "table.txt"  # the last file of a run, a comparison, a sweep with nothing missing
# What a verb makes, for messages.
WHAT = {
    "run": "run", "compare": "comparison", "tune": "sweep", "benchmark": "benchmark",
    "reproduce": "reproduction",
}  # fmt: skip
GRAPHS = "graphs.npz"  # what a method whose items have graphs leaves


def artifact_name(name: str, seed: int | str) -> str:
    """The file that a method's artifact ``name`` is kept in for one seed."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}-seed-{seed}{dot}{ending}" if dot else f"{name}-seed-{seed}"


def is_finished(folder: Path) -> bool:
    return (folder / FINISHED).exists()


def new_folder(
    request: Request, config: ColdConfig, began: Mapping[str, Any] | None = None
) -> Path:
    """A new folder, named by data, backbone and time, with the request in it.

    Args:
        began: what stands beside the request; see ``beginning``.

    Raises:
        UserError: ``saved_dir`` cannot be written.
    """
    name = f"{config.dataset}-{config.backbone_name}"
    return make_folder(name, config["saved_dir"], _told(placed(request, config), began))


def write_request(folder: Path, request: Request, began: Mapping[str, Any] | None = None) -> None:
    """Write the ``request.json`` of a run into a folder that there is, or is made.

    Raises:
        UserError: it cannot be written.
    """
    content = json.dumps(_told(request, began), indent=1).encode()
    write_bytes(folder / "request.json", content)


def _told(request: Request, began: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**asdict(request), **({} if began is None else {BEGAN: began})}


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
    """The verb that wrote a ``request.json``; ``run`` if it is damaged."""
    try:
        return str(json.loads(path.read_text()).get("verb", "run"))
    except (OSError, ValueError, AttributeError):
        return "run"


def read_request(folder: Path, verb: str = "run", kind: Callable[..., Any] = Request) -> Any:
    """The request of the run (or comparison, or sweep) in ``folder``.

    Args:
        verb: the one that must have written it.
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
        values.pop(BEGAN, None)
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
    """Context: no other process works in this run's folder. The lock ends with the process.

    Raises:
        UserError: another process has the run open.
    """
    with (folder / "request.json").open("rb") as file:
        free = True
        with suppress(OSError):  # a file system without locks
            free = try_lock(file)
        if not free:
            raise UserError(
                f"another process is at work on the run in '{folder}'; wait for it or stop it"
            )
        yield


def latest_folder(saved_dir: str | Path, verb: str = "run") -> Path:
    """The newest unfinished run (or comparison, or sweep) in ``saved_dir``.

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
    trust: bool = False,
) -> Path:
    """The folder that ``resume`` means: the one it names, or for True the newest unfinished one.

    What it runs of code that is not ours is said.

    Args:
        given: names of the other keys that were given; only ``saved_dir`` is allowed.
        trust: whether the folder may be another user's.

    Raises:
        UserError: it names none, there is none, something else is asked for, or it is another
            user's.
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
    latest = resume is True
    folder = latest_folder(saved_dir, verb) if latest else paths.absolute(resume)
    if verb != "run" or not is_finished(folder):  # a finished run is only read
        if not trust:
            _refuse_foreign(folder)
        code = _code_named(folder / "request.json")
        if code:
            logger.warning("'%s' names code, which is run: %s", folder, ", ".join(code))
    return folder


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that another user could fill: who continues it runs what it names.

    Root's are no other user's: root can do all that is feared here without them.
    """
    for path in (folder, folder / "request.json"):
        try:
            owner = _owner(path)
        except OSError:  # there is none; who reads it says so
            continue
        if owner not in (os.geteuid(), 0):
            raise UserError(
                f"'{path}' belongs to {_user(owner)}, and to continue it runs what its "
                "request.json names; look into that, then add --trust (in Python trust=True)"
            )


def _owner(path: Path) -> int:
    return path.stat().st_uid


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def _code_named(path: Path) -> list[str]:
    """What of methods and backbones a ``request.json`` names by file or module, not by name."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        asked = {**values["overrides"], **values}
        texts = [asked.get(key) for key in ("models", "model", "backbones", "backbone")]
        texts += [said for key in ("backbone", "backbones")
                  for said in from_files(values.get("config_files", ()), key)]  # fmt: skip
        specs = [each for text in texts if text for each in entry_texts(text)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        return []  # damaged; who reads it says so
    names = [spec.partition("[")[0].strip() for spec in specs]
    return [name for name in dict.fromkeys(names) if re.search(r"[:/]|\.py$", name)]
