"""The files behind a class that is not of this package: those of its package, or of its folder.

A package counts with all ``.py`` files below it; a file of its own (given by path, a script, a
module in no package) with all of its folder. What these import counts too: other code beside a
project in the same way, installed libraries by their version.
"""

import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from recbole_cold.experiment._imports import read

# A folder with more than this is not a plug-in's but, say, a home folder: see `_files_of`.
MOST_FILES, MOST_ENTRIES = 2000, 20_000
_INSTALLED = {"site-packages", "dist-packages"}
_THIS_PROCESS = uuid4().hex


class Unit(NamedTuple):
    """Files that count together; ``base`` is the folder that their modules' names start from."""

    base: Path
    files: tuple[Path, ...]


class Outside(NamedTuple):
    """Code outside of the package.

    Attributes:
        parts: a text for each file and each library; equal texts, equal code.
        names: dotted names that this code imports.
    """

    parts: tuple[str, ...]
    names: frozenset[str]


def code_outside(
    classes: Iterable[type], package: Path, known: Iterable[str], now: Mapping[str, Any]
) -> Outside:
    """All code that classes outside of the package are made of.

    Args:
        classes: none of them of the package or of a known library.
        package: its folder; what lies in there is left out.
        known: packages that count elsewhere.
        now: the modules of this process, as ``loaded()`` gives them.
    """
    left_out = {*known, *sys.stdlib_module_names}
    parts: set[str] = set()
    names: set[str] = set()
    todo: list[Unit] = []
    for cls in classes:
        unit = _unit_of_class(cls, package, now)
        if unit is None:
            parts.add(f"{cls.__qualname__} {_never_the_same()}")
        else:
            todo.append(unit)
    seen = set[Path]()
    while todo:
        unit = todo.pop()
        for path in unit.files:
            if path in seen:
                continue
            seen.add(path)
            inside = path.relative_to(unit.base).with_suffix("")
            name = ".".join(inside.parts[:-1] if inside.name == "__init__" else inside.parts)
            source = read(path, name, now)
            parts.add(f"{inside.as_posix()} {source.digest}")
            names |= source.names
            for needed in source.names:
                if needed.partition(".")[0] not in left_out:
                    found = _needed(needed, package, now)
                    if isinstance(found, Unit):
                        todo.append(found)
                    elif found:
                        parts.add(found)
    return Outside(tuple(sorted(parts)), frozenset(names))


def _never_the_same() -> str:
    """A text for code without a file; different in every process and every notebook cell."""
    cells = getattr(sys.modules["__main__"], "In", ())
    return f"{_THIS_PROCESS} {len(cells)}"


def _unit_of_class(cls: type, package: Path, now: Mapping[str, Any]) -> Unit | None:
    """The files of a class: of its first package that is no mere namespace, or of its folder."""
    try:
        path = Path(inspect.getfile(cls)).absolute()
    except (TypeError, OSError):  # typed at a prompt, or in a cell of a notebook
        return None
    if not path.is_file():
        return None
    parts = cls.__module__.split(".")
    for number in range(1, len(parts)):
        top = getattr(sys.modules.get(".".join(parts[:number])), "__file__", None)
        if top is not None:
            return _unit_of_package(Path(top).absolute().parent, package, path, now)
    if _INSTALLED & set(path.parts):  # beside it lie other people's modules
        return Unit(path.parent, (path,))
    return Unit(path.parent, _files_of(path.parent, path.parent, package, path, now))


def _unit_of_package(folder: Path, package: Path, own: Path, now: Mapping[str, Any]) -> Unit:
    return Unit(folder.parent, _files_of(folder, folder.parent, package, own, now))


def _needed(name: str, package: Path, now: Mapping[str, Any]) -> Unit | str | None:
    """The files behind an import, or the installed library with its version."""
    spec = None
    parts = name.split(".")
    for number in range(1, len(parts) + 1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:number]))
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None or spec.origin is not None:
            break  # else a namespace, which has no code: look below it
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    origin = Path(spec.origin).absolute()
    if _INSTALLED & set(origin.parts):
        return _library(name.partition(".")[0])
    if spec.submodule_search_locations is None:
        return Unit(origin.parent, (origin,))
    return _unit_of_package(origin.parent, package, origin, now)


@cache
def _library(top: str) -> str:
    try:
        return f"{top} {version(top)}"
    except PackageNotFoundError:
        names = sorted(set(packages_distributions().get(top, ())))
        return " ".join([top, *(f"{name} {version(name)}" for name in names)])


def _files_of(
    folder: Path, base: Path, package: Path, own: Path, now: Mapping[str, Any]
) -> tuple[Path, ...]:
    """All ``.py`` files below a folder, hidden folders and virtual environments left out.

    Where there are more than ``MOST_FILES``, or ``MOST_ENTRIES`` of any kind (a home folder, say):
    ``own``, those beside it, and what they import from below ``base``.
    """
    found, entries = [], 0
    for place, folders, files in os.walk(folder):
        entries += len(folders) + len(files)
        folders[:] = sorted(name for name in folders if _counts(Path(place, name), package))
        found += [Path(place, name) for name in sorted(files) if name.endswith(".py")]
        if len(found) > MOST_FILES or entries > MOST_ENTRIES:
            return _reached(sorted(own.parent.glob("*.py")), base, now)
    return tuple(found)


def _counts(folder: Path, package: Path) -> bool:
    return not (
        folder.name.startswith(".")
        or folder.name in {"__pycache__", "node_modules", *_INSTALLED}
        or (folder / "pyvenv.cfg").exists()
        or folder == package
    )


def _reached(start: Iterable[Path], base: Path, now: Mapping[str, Any]) -> tuple[Path, ...]:
    """Files, and what they import from below ``base``, again and again."""
    found: dict[Path, None] = {}
    todo = list(start)
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found[path] = None
        inside = path.relative_to(base).with_suffix("").parts
        name = ".".join(inside[:-1] if inside[-1] == "__init__" else inside)
        for needed in read(path, name, now).names:
            todo += _below(base, needed.split("."))
    return tuple(sorted(found))


def _below(base: Path, parts: list[str]) -> Iterator[Path]:
    """The files of a dotted name: its module, and the packages that it lies in."""
    for number in range(1, len(parts) + 1):
        place = base.joinpath(*parts[:number])
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if path.is_file():
                yield path
