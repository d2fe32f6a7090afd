"""Names are found, not listed: methods and backbones of this package, of RecBole, and of plug-ins.

A specification is a name, ``package.module:Class``, ``path/file.py`` or ``path/file.py:Class``.
Finding one name imports the one module that holds it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import logging
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from recbole_cold import compat
from recbole_cold.errors import UserError, nearest

METHOD_GROUP = "recbole_cold.methods"
BACKBONE_GROUP = "recbole_cold.backbones"

logger = logging.getLogger(__name__)


class _Kind(NamedTuple):
    """What methods and backbones differ in, so that one search serves both."""

    word: str  # in sentences
    flag: str
    group: str
    packages: tuple[str, ...]  # whose modules hold the built-in ones
    base: Callable[[], type]


def _method_base() -> type:
    return importlib.import_module("recbole_cold.model._method").ColdStartRecommender


def _backbone_base() -> type:
    return importlib.import_module("recbole.model.abstract_recommender").ContextRecommender


_METHOD = _Kind("model", "--model", METHOD_GROUP, ("recbole_cold.model",), _method_base)
_BACKBONE = _Kind(
    "backbone",
    "--backbone",
    BACKBONE_GROUP,
    (compat.CONTEXT_MODELS, "recbole_cold.backbone"),
    _backbone_base,
)


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
    """The yaml with the defaults of a class, or None.

    ``properties/model/<Class>.yaml`` for our methods, ``properties/backbone/<Class>.yaml`` for
    RecBole's and our backbones, ``<Class>.yaml`` beside its module for everybody else's.
    """
    module = f"{cls.__module__}."
    if module.startswith("recbole_cold.model."):
        path = properties_dir() / "model" / f"{cls.__name__}.yaml"
    elif module.startswith(("recbole.", "recbole_cold.backbone.")):
        path = properties_dir() / "backbone" / f"{cls.__name__}.yaml"
    else:
        try:
            path = Path(inspect.getfile(cls)).resolve().with_name(f"{cls.__name__}.yaml")
        except (TypeError, OSError):  # a built-in class has no file
            return None
    return path if path.is_file() else None


def paper_of(cls: type) -> str:
    """First author, venue and year of a method or backbone; '' where nobody says.

    Ours and plug-ins say it as ``paper``; RecBole's models in the docstring of their module, as
    ``Reference: <authors> "<title>" in <venue> <year>``.
    """
    paper = getattr(cls, "paper", "")
    if paper or not cls.__module__.startswith("recbole."):
        return str(paper)
    text = " ".join((inspect.getdoc(inspect.getmodule(cls)) or "").split())
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
    found = _built_in_of_file(kind, spec)
    if found is not None:
        return found  # without a look at the plug-ins: that reads a file of every installed package
    entry = _entry_points(kind).get(spec)
    if entry is not None:
        return _load(kind, entry)
    # The file of a built-in need not be named after its class: look at all of them before refusing.
    found = _built_in(kind).get(spec)
    if found is not None:
        return found
    guess = nearest(spec, [*_built_in(kind), *_entry_points(kind)])
    raise UserError(
        f"{kind.word} '{spec}' is unknown; "
        + (
            f"did you mean '{guess}'? (`recbole-cold list` shows all)"
            if guess
            else f"`recbole-cold list` shows all, and {kind.flag}=package.module:Class or "
            f"{kind.flag}=path/file.py names your own."
        )
    )


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
        except UserError as error:  # one broken plug-in must not hide all others from the list
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


def _built_in_of_file(kind: _Kind, name: str) -> type | None:
    """The class ``name`` of the built-in file ``<name in lower case>.py``, if there is one."""
    for package in kind.packages:
        place = f"{package}.{name.lower()}"
        if not name.isidentifier() or name.startswith("_"):
            return None
        if importlib.util.find_spec(package) is None or importlib.util.find_spec(place) is None:
            continue
        for cls in _classes(kind, importlib.import_module(place)):
            if cls.__name__ == name:
                return cls
    return None


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
    except Exception as error:
        raise UserError(
            f"{kind.word} '{entry.name}' of the installed plug-in {entry.value} cannot be loaded "
            f"({type(error).__name__}: {error}); mend or uninstall the plug-in."
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
    except Exception as error:
        raise UserError(
            f"{kind.word} module '{place}' cannot be imported ({type(error).__name__}: {error}); "
            "install its package or start from its folder."
        ) from error


def _module_of_file(kind: _Kind, path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise UserError(f"{kind.word} file {path} does not exist; give the path of a Python file.")
    name = f"recbole_cold_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:  # the same file gives the same class, however often it is asked for
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(
            f"{kind.word} file {path} cannot be loaded ({type(error).__name__}: {error})."
        ) from error
    return module


def _checked(kind: _Kind, cls: object, spec: str) -> type:
    if isinstance(cls, type) and issubclass(cls, kind.base()):
        return cls
    raise UserError(f"{kind.word} '{spec}' is not a subclass of {kind.base().__name__}.")
