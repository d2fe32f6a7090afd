"""The modules of a package that a module imports, and a hash of each that ignores comments.

Imports are read, not followed by running them: those inside functions count, those under
``if TYPE_CHECKING:`` do not. ``from package import name`` leads through the package's ``__init__``
to the module that the name comes from; an ``__init__`` passed on the way is no part of the result.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


class Source(NamedTuple):
    """A source file: its digest and its imports.

    Attributes:
        digest: of its syntax tree without docstrings, comments and layout; of its bytes where it
            is no Python of this version.
        names: dotted names of all that it imports, attributes of imported modules included.
        bound: what its imports bind: local name -> dotted name.
    """

    digest: str
    names: frozenset[str]
    bound: Mapping[str, str]


class Package:
    """The modules of a package as a graph of imports.

    Args:
        name: of the package, as it is imported.
        folder: where its ``__init__.py`` lies.
        now: as ``loaded()`` gives it.

    What it has looked up once it keeps: it is of one moment.
    """

    def __init__(self, name: str, folder: Path, now: Mapping[str, Any]) -> None:
        self.name, self.folder = name, folder
        self.path_of = cache(self._path_of)
        self.home_of = cache(self._home_of)
        self.now = now

    def _path_of(self, module: str) -> Path | None:
        """The file of a module of the package, the ``__init__.py`` of a sub-package; else None."""
        first, *parts = module.split(".")
        if first != self.name or not all(part.isidentifier() for part in parts):
            return None
        # Hundreds are asked for: a Path for each takes ten times as long.
        place = os.path.join(self.folder, *parts)
        candidates = [os.path.join(place, "__init__.py"), *([f"{place}.py"] if parts else [])]
        return next((Path(path) for path in candidates if os.path.isfile(path)), None)

    def module_of(self, path: Path) -> str | None:
        """The name of the module in a file; None for a file outside of the package."""
        try:
            inside = path.resolve().relative_to(self.folder.resolve())
        except ValueError:
            return None
        parts = inside.with_suffix("").parts
        return ".".join([self.name, *(parts[:-1] if parts[-1] == "__init__" else parts)])

    def closure(self, roots: Iterable[str], without: Collection[str] = ()) -> dict[str, str]:
        """Module -> digest of the roots and of all that they import inside the package.

        Args:
            roots: modules of the package.
            without: modules and sub-packages at which to stop.

        Raises:
            LookupError: a name among ``roots`` or ``without`` is no module; if one was moved,
                the lists in ``fingerprint`` must name its new place.
        """
        roots = list(roots)
        for module in (*roots, *without):
            if self.path_of(module) is None:
                raise LookupError(f"the code of a result names {module}, which has no file")
        found: dict[str, str] = {}
        todo = [module for module in roots if not _below(module, without)]
        while todo:
            module = todo.pop()
            if module in found:
                continue
            source = self._source(module)
            found[module] = source.digest
            needed = {self.home_of(name) for name in source.names}
            todo += [name for name in needed if name is not None and not _below(name, without)]
        return found

    def _home_of(self, name: str, passed: frozenset[str] = frozenset()) -> str | None:
        """The module that a dotted name is defined in; None outside of the package."""
        parts = name.split(".")
        if parts[0] != self.name or name in passed:
            return None
        length = next((n for n in range(len(parts), 0, -1) if self._is_module(parts[:n])), 0)
        module, rest = ".".join(parts[:length]), parts[length:]
        path = self.path_of(module)
        if path is None or not rest or path.name != "__init__.py":
            return module if path is not None else None
        # A name that an __init__ hands on: by an import, or out of a table while it runs.
        handed = self._source(module).bound.get(rest[0]) or _runtime_home(module, rest[0])
        if handed is not None:
            home = self._home_of(".".join([handed, *rest[1:]]), passed | {name})
            if home is not None:
                return home
        return module

    def _is_module(self, parts: list[str]) -> bool:
        return self.path_of(".".join(parts)) is not None

    def _source(self, module: str) -> Source:
        path = self.path_of(module)
        assert path is not None
        return read(path, module, self.now)


def _below(module: str, places: Collection[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def _runtime_home(module: str, name: str) -> str | None:
    """The module that an object of a loaded package says it is from, if it does."""
    try:
        home = getattr(sys.modules[module], name).__module__
    except Exception:  # not loaded, no such name, or a plain value
        return None
    return f"{home}.{name}" if isinstance(home, str) and home != module else None


# --------------------------------------------------------------------- one file
_known: dict[Path, tuple[Any, Source]] = {}


def read(path: Path, module: str, now: Mapping[str, Any]) -> Source:
    """The digest and imports of a file as this process has loaded it.

    A file is read once: later edits do not reach the modules of a running process. It is read
    again when its module was loaded again (``reload``, a notebook's ``autoreload``), and, while no
    module of it is loaded, when it changes.

    Args:
        module: its name, which relative imports start from.
        now: as ``loaded()`` gives it.

    Raises:
        OSError: there is no such file.
    """
    stamp = now.get(_real(str(path)))
    if stamp is None:
        state = path.stat()
        stamp = (state.st_size, state.st_mtime_ns)
    before = _known.get(path)
    if before is not None and _is_same(before[0], stamp):
        return before[1]
    source = parse(path.read_bytes(), module, path.name == "__init__.py")
    _known[path] = stamp, source
    return source


def _is_same(one: Any, other: Any) -> bool:
    # Specs of two loads of one module are equal, yet not the same.
    return one is other or (isinstance(one, tuple) and one == other)


def loaded() -> dict[str, Any]:
    """File -> the spec of the module that is loaded from it; each load makes a new spec."""
    found = {}
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None) or getattr(module, "__file__", None)
        if isinstance(origin, str) and origin.endswith(".py"):
            found[_real(origin)] = spec or module  # a script that was started has no spec
    return found


@cache
def _real(path: str) -> str:
    return os.path.realpath(path)


def parse(content: bytes, module: str, is_package: bool = False) -> Source:
    """The digest and imports of a file with this content; see ``read``."""
    try:
        tree = ast.parse(content)
        words: list[str] = []
        told: list[ast.AST] = []
        _flatten(tree, words, told)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Source(hashlib.sha256(content).hexdigest(), frozenset(), {})
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()
    package = module if is_package else module.rpartition(".")[0]
    return Source(digest, *_names(told, package))


_TOLD = {"Import", "ImportFrom", "Attribute", "Call"}
# ctx follows from the place of a node; kind is the u of u"text".
_LEFT_OUT = {"ctx", "kind", "type_comment", "type_ignores"}


def _flatten(node: ast.AST, words: list[str], told: list[ast.AST]) -> None:
    """Append a tree's words, and those of its nodes that can tell of imports.

    As ``ast.dump``, in a third of its time. Empty fields are left out, so that a field that a
    later Python adds changes nothing.
    """
    kind = node.__class__.__name__
    if kind == "Expr" and _is_text(node.value):  # type: ignore[attr-defined]
        return
    words.append(kind)
    if kind in _TOLD:
        told.append(node)
    unseen = kind == "If" and _is_type_checking(node.test)  # type: ignore[attr-defined]
    for name in node._fields:
        value = getattr(node, name, None)
        if (value is None and kind != "Constant") or value == [] or name in _LEFT_OUT:
            continue
        words.append(name)
        if value.__class__ is list:
            for part in value:
                if isinstance(part, ast.AST):
                    _flatten(part, words, [] if unseen and name == "body" else told)
                else:
                    words.append(repr(part))
            words.append("end")
        elif isinstance(value, ast.AST):
            _flatten(value, words, told)
        else:
            words.append(repr(value))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_type_checking(node: ast.AST) -> bool:
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    return name == "TYPE_CHECKING"


def _names(told: list[ast.AST], package: str) -> tuple[frozenset[str], dict[str, str]]:
    """Dotted names of what is imported, and what the imports bind."""
    names: set[str] = set()
    bound: dict[str, str] = {}
    for node in told:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.add(alias.name)
                first = alias.name.partition(".")[0]
                bound[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            start = _start(node, package)
            for alias in node.names if start else ():
                names.add(f"{start}.{alias.name}")
                bound[alias.asname or alias.name] = f"{start}.{alias.name}"
        elif isinstance(node, ast.Call):
            names |= _imported_by_call(node)
    for node in told:
        if isinstance(node, ast.Attribute):
            first, *rest = _chain(node)
            if first in bound:
                names.add(".".join([bound[first], *rest]))
    return frozenset(names), bound


def _start(node: ast.ImportFrom, package: str) -> str:
    """The module that ``from ... import`` names; '' where a relative one leaves its package."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    parts = parts[: max(0, len(parts) - node.level + 1)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _imported_by_call(node: ast.Call) -> set[str]:
    """The module of ``import_module("a.b")`` and ``__import__("a.b")``."""
    name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
    if name not in ("import_module", "__import__") or not node.args:
        return set()
    text = getattr(node.args[0], "value", None)
    return {text} if isinstance(text, str) else set()


def _chain(node: ast.AST) -> list[str]:
    """``a.b.c`` as its parts; [''] for what does not begin with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [*([node.id] if isinstance(node, ast.Name) else [""]), *reversed(parts)]
