"""The rooms of the package: imports point down, in no circle, and no room hides a public name."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import recbole_cold

PACKAGE = Path(recbole_cold.__file__).parent
# Top to bottom, as in docs/architecture.md: a room imports from its own line and from lines below.
LAYERS = (
    {"__main__"},
    {"cli", "api", "calls", "results", "recbole_door", "testing"},
    {"papers", "equal_tuning"},
    {"comparison", "sweep", "leaks"},
    {"trials", "serving"},
    {"experiment"},
    {"config", "registry"},
    {"training"},
    {"model", "methods"},
    {"backbone"},
    {"data", "report"},
    {"evaluation", "compat", "store", "graphs", "converters", "cache_entries", "cache_peers"},
    {"keys", "key_row", "kinds", "errors", "paths", "seeding", "locks", "distinct", "device"},
)
LINE = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
# Functions of recbole_cold: a sub-package of one of these names would hide it once imported.
FUNCTIONS = {"run", "compare", "tune", "benchmark", "fit", "load", "predict", "export", "grow"}
LONGEST = 500


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file; the package itself, which exports lazily, is ''."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a module imports, wherever in it the import stands."""
    assert name or path.name == "__init__.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            places = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; name the package"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [place for place in whole if place.partition(".")[2] in known]
            places = inside if len(inside) == len(whole) else [*inside, str(node.module)]
        else:
            continue
        for place in places:
            root, _, rest = place.partition(".")
            if root == "recbole_cold" and rest in known and rest != name:
                yield rest


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    known = modules()
    return {
        name: {other for other in imports(name, path, known) if other}
        for name, path in known.items()
        if name
    }


def test_every_room_has_a_line():
    rooms = {name.partition(".")[0] for name in modules() if name}
    assert rooms <= set(LINE)
    assert set(LINE) - rooms <= {"__main__", "api", "methods", "keys"}


def test_imports_point_down(arrows):
    up = [
        f"{name} -> {other}"
        for name, others in arrows.items()
        for other in others
        if LINE[other.partition(".")[0]] < LINE[name.partition(".")[0]]
    ]
    assert up == []


def test_imports_run_in_no_circle(arrows):
    """Between modules; a package's own file stands for its re-exports and is no room by itself."""
    packages = {name for name in arrows if (PACKAGE / name.replace(".", "/")).is_dir()}
    graph = {name: others - packages for name, others in arrows.items() if name not in packages}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(reversed(error.args[1]))}")


def test_no_room_hides_a_public_function():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms & FUNCTIONS == set()
    for room in rooms - {"__init__", "__main__", "__pycache__", "properties"}:
        exported = getattr(recbole_cold, "__all__", ())
        assert room not in exported, f"'{room}' is a room and an exported name"


def test_no_file_is_a_hall():
    """One screen of headings."""
    long = {
        name: lines
        for name, path in modules().items()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}


def test_no_two_test_files_have_one_name():
    """Pytest imports them by it; the second would not be collected."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) > 50 and sorted(set(names)) == sorted(names)
