"""Finds methods and backbones by name: those of this package, of RecBole, and of plug-ins.

A specification is a name, ``package.module:Class``, ``path/file.py`` or ``path/file.py:Class``.
Finding one name imports the one module that holds it. Names and what their classes state can be
read from the sources without importing anything, so a misspelt name is answered at once.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import logging
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from recbole_cold import compat, paths
from recbole_cold.errors import UserError, nearest, told
from recbole_cold.kinds import cut

METHOD_GROUP = "recbole_cold.methods"
BACKBONE_GROUP = "recbole_cold.backbones"

logger = logging.getLogger(__name__)


class _Kind(NamedTuple):
    """What the search for methods and the search for backbones differ in."""

    word: str  # for messages
    flag: str
    group: str
    packages: tuple[str, ...]  # whose modules hold the built-in ones
    base: Callable[[], type]
    base_name: str  # for code that must not import it


def _method_base() -> type:
    return importlib.import_module("recbole_cold.model._method").ColdStartRecommender


def _backbone_base() -> type:
    return importlib.import_module("recbole.model.abstract_recommender").ContextRecommender


_METHOD = _Kind(
    "model", "--model", METHOD_GROUP, ("recbole_cold.model",),
    _method_base, "ColdStartRecommender",
)  # fmt: skip
_BACKBONE = _Kind(
    "backbone", "--backbone", BACKBONE_GROUP, (compat.CONTEXT_MODELS, "recbole_cold.backbone"),
    _backbone_base, "ContextRecommender",
)  # fmt: skip


class Stated(NamedTuple):
    """Facts about a built-in class, read from its source without importing it."""

    name: str
    package: str
    file: Path
    says: dict[str, Any]  # plain class attributes, inherited ones too; a name stands for a class
    lineage: tuple[str, ...]  # the class, then its bases in the same folder
    doc: str

    @property
    def module(self) -> str:
        return f"{self.package}.{self.file.stem}"

    @property
    def paper(self) -> str:
        """As ``paper_of``."""
        return str(self.says.get("paper") or "") or _paper_in(_module_doc(self.file))


def methods() -> dict[str, type]:
    """Every method by name: the files of ``recbole_cold/model`` and the installed plug-ins."""
    return _all(_METHOD)


def backbones() -> dict[str, type]:
    """Every backbone by name: RecBole's context models, ours, and the installed plug-ins."""
    return _all(_BACKBONE)


def find_method(spec: str | type) -> type:
    """The method class of a specification; a class is given back as it is."""
    return _find(_METHOD, spec)


def find_backbone(spec: str | type) -> type:
    """The backbone class of a specification; a class is given back as it is."""
    return _find(_BACKBONE, spec)


def stated_methods() -> dict[str, Stated]:
    """Every built-in method by name, without importing one."""
    return _stated(_METHOD)


def stated_backbones() -> dict[str, Stated]:
    """Every built-in backbone by name, RecBole's and ours, without importing one."""
    return _stated(_BACKBONE)


def plug_ins() -> list[tuple[str, EntryPoint, Callable[[], type]]]:
    """Entry points of other packages: "model" or "backbone", the entry point, and its loader."""
    return [
        (kind.word, entry, lambda kind=kind, entry=entry: _load(kind, entry))
        for kind in (_METHOD, _BACKBONE)
        for entry in _entry_points(kind).values()
    ]


def check_names(methods: Iterable[str] = (), backbones: Iterable[str] = ()) -> None:
    """Refuse unknown names and missing files, without importing anything.

    ``package.module:Class`` and what is in a file are left to ``find_method`` and
    ``find_backbone``.

    Raises:
        UserError: says what was meant, if that is clear.
    """
    for kind, specs in ((_METHOD, methods), (_BACKBONE, backbones)):
        for spec in specs:
            place = spec.partition(":")[0]
            if place.endswith(".py"):
                _file(kind, Path(place))
            elif ":" not in spec and spec not in _stated(kind) and spec not in _names(kind):
                raise _unknown(kind, spec)  # installed plug-ins are looked up last: that is slow


def unknown(name: str) -> UserError:
    """The error for a name that no method and no backbone has."""
    guess = nearest(name, _names(_METHOD) | _names(_BACKBONE))
    return UserError(
        f"no method and no backbone is called '{name}'; "
        + (f"did you mean '{guess}'?" if guess else "`recbole-cold list` shows all")
    )


def entry_texts(text: str | Sequence[str]) -> list[str]:
    """The entries of a list ``A,B[key=value]`` as they were written, brackets included."""
    whole = text if isinstance(text, str) else ",".join(text)
    return [part.strip() for part in split_outside(whole, ",")]


def split_outside(text: str, separator: str) -> list[str]:
    """``text`` split at the separators that are outside brackets."""
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def absolute(text: str) -> str:
    """A specification (or ``spec[key=value]``) with the path in it made absolute, so that a process
    in another folder finds the file."""
    name, bracket, rest = text.partition("[")
    place, colon, cls = name.partition(":")
    if not place.endswith(".py"):
        return text
    return f"{paths.absolute(place)}{colon}{cls}{bracket}{rest}"


def classes_of_file(name: str) -> list[type]:
    """Our and plug-ins' classes that RecBole would look for in ``<name>.py``: name in lower case.

    RecBole's own models are not among them.
    """
    found = []
    for kind in (_BACKBONE, _METHOD):
        for entry_name, entry in _entry_points(kind).items():
            if entry_name.lower() == name:
                found.append(_load(kind, entry))
        for package in kind.packages:
            place = f"{package}.{name}"
            if package == compat.CONTEXT_MODELS or name.startswith("_"):
                continue
            if importlib.util.find_spec(package) and importlib.util.find_spec(place):
                found += _classes(kind, importlib.import_module(place))
    return [cls for cls in found if cls.__name__.lower() == name]


def is_method(cls: type) -> bool:
    """Whether a class is a cold-start method, and no click model."""
    return issubclass(cls, _METHOD.base())


def properties_dir() -> Path:
    """The folder of our yaml: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "properties", package.parent / "properties"):
        if (folder / "overall.yaml").is_file():
            return folder
    raise UserError(
        f"the folder 'properties' is neither in {package} nor beside it; reinstall recbole_cold."
    )


def yaml_of(cls: type) -> Path | None:
    """The yaml with the defaults of a class, or None where there is none."""
    path = yaml_place(cls)
    return path if path is not None and path.is_file() else None


def yaml_place(cls: type) -> Path | None:
    """Where the yaml of a class belongs, whether it is there or not.

    ``properties/model/<Class>.yaml`` for our methods, ``properties/backbone/<Class>.yaml`` for
    RecBole's and our backbones, ``<Class>.yaml`` beside its module for all others.
    """
    module = f"{cls.__module__}."
    if module.startswith("recbole_cold.model."):
        return properties_dir() / "model" / f"{cls.__name__}.yaml"
    if module.startswith(("recbole.", "recbole_cold.backbone.")):
        return properties_dir() / "backbone" / f"{cls.__name__}.yaml"
    try:
        return Path(inspect.getfile(cls)).resolve().with_name(f"{cls.__name__}.yaml")
    except (TypeError, OSError):  # a built-in class has no file
        return None


def paper_of(cls: type) -> str:
    """First author, venue and year of a method or backbone; '' where it is not stated.

    Ours and plug-ins say it as ``paper``; RecBole's models in the docstring of their module, as
    ``Reference: <authors> "<title>" in <venue> <year>``.
    """
    paper = getattr(cls, "paper", "")
    if paper or not cls.__module__.startswith("recbole."):
        return str(paper)
    return _paper_in(inspect.getdoc(inspect.getmodule(cls)) or "")


def _paper_in(text: str) -> str:
    text = " ".join(text.split())
    found = re.search(r'Reference: ([^"]+?)[.,]* "[^"]*" in (\w+ \d{4})', text)
    if found is None:
        return ""
    authors = re.sub(r"\d", "", found[1]).replace(" at al", " et al")
    return f"{authors}{'.' if authors.endswith('et al') else ''}, {found[2]}"


def _find(kind: _Kind, spec: str | type) -> type:
    if isinstance(spec, type):
        return spec
    if ":" in spec or spec.endswith(".py"):
        return _from_place(kind, spec)
    built_in = _built_in_named(kind, spec)
    if built_in is not None:
        return built_in
    entry = _entry_points(kind).get(spec)
    if entry is None:
        raise _unknown(kind, spec)
    return _load(kind, entry)


def _unknown(kind: _Kind, spec: str) -> UserError:
    """The error for a name that no class of this kind has, with what to write instead."""
    spec = cut(spec)
    guess = nearest(spec, _names(kind))
    other = _BACKBONE if kind is _METHOD else _METHOD
    same = [name for name in _names(other) if name.lower() == spec.lower()]
    if guess is None and same and kind is _METHOD:
        return UserError(
            f"model '{spec}' is a backbone, not a method; write --model=Base "
            f"--backbone={same[0]} for it alone (`recbole-cold list` shows both)"
        )
    if guess is None and same:
        return UserError(
            f"backbone '{spec}' is a method, not a backbone; write --model={same[0]} "
            "--backbone=DeepFM (`recbole-cold list` shows both)"
        )
    return UserError(
        f"{kind.word} '{spec}' is unknown; "
        + (
            f"did you mean '{guess}'? (`recbole-cold list` shows all)"
            if guess
            else f"`recbole-cold list` shows all, and {kind.flag}=package.module:Class or "
            f"{kind.flag}=path/file.py names your own."
        )
    )


def _names(kind: _Kind) -> set[str]:
    return {*_stated(kind), *_entry_points(kind)}


@cache
def _built_in_named(kind: _Kind, name: str) -> type | None:
    """The built-in class of that name, from the one file that holds it (the last, if two do).

    Parsing all sources, as ``_stated`` does, would cost every process a quarter of a second.
    """
    line = re.compile(rf"^class {re.escape(name)}\b", re.MULTILINE)
    for package in reversed(kind.packages):
        for path in sorted(_folder(package).glob("*.py"), reverse=True):
            if path.name.startswith("_") or not line.search(path.read_text(encoding="utf-8")):
                continue
            module = importlib.import_module(f"{package}.{path.stem}")
            for cls in _classes(kind, module):
                if cls.__name__ == name:
                    return cls
    return None


@cache
def _stated(kind: _Kind) -> dict[str, Stated]:
    """Built-in classes of a kind, read from the sources; in the order of ``list``."""
    found = [stated for package in kind.packages for stated in _read(package, kind.base_name)]
    return {stated.name: stated for stated in sorted(found, key=lambda each: each.name.lower())}


def _read(package: str, base: str) -> Iterator[Stated]:
    """The public classes below ``base`` in a package's public files."""
    nodes: dict[str, tuple[Path, ast.ClassDef]] = {}
    for path in sorted(_folder(package).glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        nodes |= {node.name: (path, node) for node in body if isinstance(node, ast.ClassDef)}
    for name, (path, node) in nodes.items():
        lineage = _lineage(name, nodes)
        below = base in lineage[1:]
        if below and not name.startswith("_") and not path.name.startswith("_"):
            here = tuple(each for each in lineage if each in nodes)
            says: dict[str, Any] = {}
            for each in reversed(here):
                says |= _plain_attributes(nodes[each][1])
            yield Stated(name, package, path, says, here, ast.get_docstring(node) or "")


def _folder(package: str) -> Path:
    """Where the files of a package of ours or of RecBole lie; nothing is imported."""
    recbole = package.startswith("recbole.")
    root = compat.recbole_folder() if recbole else Path(__file__).resolve().parent
    return root.joinpath(*package.split(".")[1:])


def _lineage(name: str, nodes: dict[str, tuple[Path, ast.ClassDef]]) -> list[str]:
    if name not in nodes:
        return [name]
    bases = [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
             for base in nodes[name][1].bases]  # fmt: skip
    return [name, *(each for base in bases for each in _lineage(base, nodes))]


def _plain_attributes(node: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        value = getattr(line, "value", None)
        if isinstance(value, ast.Name):
            value = ast.Constant(value.id)
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                try:
                    found[target.id] = ast.literal_eval(value)
                except ValueError:  # computed when the class is made: known only after an import
                    found.pop(target.id, None)
    return found


def _module_doc(file: Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


def _all(kind: _Kind) -> dict[str, type]:
    found = _built_in(kind)
    for name, entry in _entry_points(kind).items():
        if name in found:
            logger.warning(
                "%s '%s' of plug-in %s is hidden by the built-in one", kind.word, name, entry.value
            )
            continue
        try:
            found[name] = _load(kind, entry)
        except UserError as error:  # a broken plug-in must not hide the others
            logger.warning("%s", error)
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def _built_in(kind: _Kind) -> dict[str, type]:
    return {cls.__name__: cls for m in _built_in_modules(kind) for cls in _classes(kind, m)}


def _built_in_modules(kind: _Kind) -> Iterator[ModuleType]:
    for package in kind.packages:
        if package == compat.CONTEXT_MODELS:
            yield from compat.context_model_modules()
        elif importlib.util.find_spec(package) is not None:
            folder = importlib.import_module(package).__path__
            for info in pkgutil.iter_modules(folder):
                if not info.name.startswith("_"):
                    yield importlib.import_module(f"{package}.{info.name}")


def _classes(kind: _Kind, module: ModuleType) -> list[type]:
    """The public classes of that kind which the module itself defines."""
    base = kind.base()
    return [
        cls
        for name, cls in vars(module).items()
        if isinstance(cls, type)
        and issubclass(cls, base)
        and cls.__module__ == module.__name__
        and not name.startswith("_")
    ]


def _entry_points(kind: _Kind) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=kind.group)}


def _load(kind: _Kind, entry: EntryPoint) -> type:
    try:
        cls = entry.load()
    except (Exception, SystemExit) as error:  # a plug-in may call sys.exit
        raise UserError(
            f"{kind.word} '{entry.name}' of the installed plug-in {entry.value} cannot be loaded "
            f"({told(error)}); mend or uninstall the plug-in."
        ) from error
    return _checked(kind, cls, entry.value)


def _from_place(kind: _Kind, spec: str) -> type:
    place, _, name = spec.rpartition(":") if ":" in spec else (spec, "", "")
    module = _module_of_file(kind, Path(place)) if place.endswith(".py") else _module(kind, place)
    if name:
        if not hasattr(module, name):
            guess = nearest(name, [cls.__name__ for cls in _classes(kind, module)])
            raise UserError(
                f"{kind.word} '{spec}': {place} has no class '{name}'"
                + (f"; did you mean '{guess}'?" if guess else ".")
            )
        return _checked(kind, getattr(module, name), spec)
    found = _classes(kind, module)
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise UserError(
            f"{kind.word} '{spec}': the file must define one {kind.base().__name__}, it defines "
            f"{names}; name the class as {kind.flag}={spec}:Class."
        )
    return found[0]


def _module(kind: _Kind, place: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        # The console script, unlike `python -m`, does not look in the working directory.
        sys.path.append(here)
    try:
        return importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{kind.word} module '{place}' cannot be imported ({told(error)}); "
            "install its package or start from its folder."
        ) from error


def _file(kind: _Kind, path: Path) -> Path:
    path = paths.absolute(path)
    if not os.path.isfile(path):
        raise UserError(f"{kind.word} file {path} does not exist; give the path of a Python file.")
    return path


def _module_of_file(kind: _Kind, path: Path) -> ModuleType:
    path = _file(kind, path)
    name = f"recbole_cold_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:  # the same file gives the same class, however often it is asked for
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{kind.word} file {path} cannot be loaded ({told(error)}).") from error
    return module


def _checked(kind: _Kind, cls: object, spec: str) -> type:
    if isinstance(cls, type) and issubclass(cls, kind.base()):
        return cls
    raise UserError(f"{kind.word} '{spec}' is not a subclass of {kind.base().__name__}.")
