"""Deliberate defects: each turns the tests red that it names, which proves that they can fail.

One module per test file: ``TESTS`` is that file, and ``DEFECTS`` has, by the file of the package
that is spoilt, what is wrong in words, the text that is there, the text that takes its place, and
the tests that must notice. A module whose ``DEFECTS`` need not reach every test of its file says
``SOME = True``; one whose tests need what a machine can lack says in ``MISSING`` what it is.

``tests/test_defects.py`` finds whatever module lies here. It checks names and texts at once, and
``make test-slow`` carries the defects out, each in a copy of the repository.
"""

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Defect(NamedTuple):
    """``old`` occurs once in its file and becomes ``new``; then ``tests`` are red."""

    words: str
    old: str
    new: str
    tests: tuple[str, ...]


def defect(words: str, old: str, new: str, *tests: str) -> Defect:
    """A defect; ``tests`` by name, with their class only where the name alone would not tell,
    and with ``[parameters]`` where one case is enough."""
    return Defect(words, old, new, tests)


def modules() -> dict[str, ModuleType]:
    """All modules of defects, by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names if name[0] != "_"}


def names_in(path: str) -> set[str]:
    """All tests of a file, as ``test_name`` or ``TestClass::test_name``."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            prefix + part.name
            for part in inside
            if isinstance(part, ast.FunctionDef) and part.name.startswith("test_")
        }
    return found


def whole_names(names: tuple[str, ...], known: set[str]) -> list[str]:
    """``names`` with their classes; one that is unknown, or of two classes, stays as it is."""
    whole = []
    for name in names:
        bare, bracket, parameters = name.partition("[")
        meant = [test for test in known if bare == test or test.endswith(f"::{bare}")]
        whole.append((meant[0] if len(meant) == 1 else bare) + bracket + parameters)
    return whole
