"""Imports as they are read, the modules they lead to, and what a hash of code looks past."""

import ast
import importlib
import sys

import pytest

from recbole_cold.experiment._imports import Package, loaded, parse, read


@pytest.fixture
def package(tmp_path):
    """``package(**{"a/b.py": text})``: the graph of a package ``pack`` with these files."""

    def build(files):
        folder = tmp_path / "pack"
        for name, text in {"__init__.py": "", **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return Package("pack", folder, {})

    return build


def closure(graph, *roots, without=()):
    return set(graph.closure([f"pack.{root}" for root in roots], [f"pack.{w}" for w in without]))


def names(*modules):
    return {f"pack.{name}" for name in modules}


FILES = {
    "sub/__init__.py": "from pack.sub._real import Thing as Other\nfrom pack.c import FACT\n",
    "sub/_real.py": "class Thing: ...\n",
    "sub/beside.py": "",
    "b.py": "",
    "c.py": "FACT = 1\n",
    "d.py": "",
}


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("import pack.b", ["b"]),
        ("import pack.b as x", ["b"]),
        ("import pack\npack.b.f()", ["b", ""]),
        ("import pack.b\npack.c.f()", ["b", "c"]),
        ("from pack import b", ["b"]),
        ("from pack import b as x, c", ["b", "c"]),
        ("from pack.c import FACT", ["c"]),
        ("from . import b", ["b"]),
        ("from .b import f", ["b"]),
        ("from .sub.beside import f", ["sub.beside"]),
        ("def f():\n    from pack.b import g\n    import pack.c", ["b", "c"]),
        ("class A:\n    from pack import b", ["b"]),
        ("try:\n    import pack.b\nexcept ImportError:\n    import pack.c", ["b", "c"]),
        ("if TYPE_CHECKING:\n    import pack.b\nelse:\n    import pack.c", ["c"]),
        ("if typing.TYPE_CHECKING:\n    from pack import b", []),
        ("import importlib\nimportlib.import_module('pack.b')", ["b"]),
        ("from pack.b import *", ["b"]),
        # A name that a sub-package hands on is that of the module it comes from.
        ("from pack.sub import Other", ["sub._real"]),
        ("from pack import sub\nsub.Other", ["sub", "sub._real", "c"]),
        ("from .sub import Other, FACT", ["sub._real", "c"]),
        ("from pack.sub import beside", ["sub.beside"]),
        ("from pack.sub import *", ["sub", "sub._real", "c"]),
        ("import pack.sub", ["sub", "sub._real", "c"]),
        ("from pack.sub import unknown", ["sub", "sub._real", "c"]),
        ("import json, packing, os.path", []),
        ("from packing import b", []),
    ],
)
def test_what_an_import_leads_to(package, text, needed):
    graph = package({**FILES, "a.py": text})
    expected = {"pack.a", *(f"pack.{name}".rstrip(".") for name in needed)}
    assert closure(graph, "a") == expected


def test_relative_imports_climb(package):
    graph = package({**FILES, "sub/deep/__init__.py": "", "sub/deep/a.py": "from ...b import f\n"})
    assert closure(graph, "sub.deep.a") == names("sub.deep.a", "b")
    graph = package({"sub/deep/__init__.py": "from .. import beside\nfrom . import a"})
    assert closure(graph, "sub.deep") == names("sub.deep", "sub.deep.a", "sub.beside", "b")


def test_modules_that_import_each_other(package):
    graph = package({"a.py": "import pack.b", "b.py": "from pack import a, c", "c.py": "1"})
    assert closure(graph, "a") == closure(graph, "b") == names("a", "b", "c")
    assert closure(graph, "c") == names("c")


def test_inits_that_hand_on_each_others_names(package):
    """A circle of re-exports ends; one of them counts."""
    graph = package(
        {
            "one/__init__.py": "from pack.two import name",
            "two/__init__.py": "from pack.one import name",
            "a.py": "from pack.one import name",
        }
    )
    found = closure(graph, "a")
    assert "pack.a" in found
    assert found & names("one", "two")


def test_a_name_that_a_running_package_makes_up(package, tmp_path, monkeypatch):
    """``__getattr__`` of a package: the object itself says where it comes from."""
    lazy = (
        "import importlib\n_PLACES = {'thing': 'lazy_pack.b'}\n"
        "def __getattr__(name):\n"
        "    return getattr(importlib.import_module(_PLACES[name]), name)\n"
    )
    folder = tmp_path / "lazy_pack"
    folder.mkdir()
    (folder / "__init__.py").write_text(lazy)
    (folder / "b.py").write_text("def thing(): ...\n")
    (folder / "a.py").write_text("from lazy_pack import thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("lazy_pack.a")
    graph = Package("lazy_pack", folder, loaded())
    assert set(graph.closure(["lazy_pack.a"])) == {"lazy_pack.a", "lazy_pack.b"}
    for name in ("lazy_pack", "lazy_pack.a", "lazy_pack.b"):
        sys.modules.pop(name, None)


def test_stops_where_it_is_told(package):
    graph = package({**FILES, "a.py": "import pack.sub\nimport pack.d"})
    assert closure(graph, "a", without=["sub"]) == names("a", "d")
    assert closure(graph, "a", without=["sub._real", "d"]) == names("a", "sub", "c")
    assert closure(graph, "a", "d", without=["d", "sub"]) == names("a")
    graph = package({**FILES, "a.py": "from pack.sub import Other, beside"})
    assert closure(graph, "a", without=["sub"]) == names("a")


def test_a_name_without_a_file_is_an_error(package):
    graph = package({"a.py": ""})
    with pytest.raises(LookupError, match=r"pack\.moved"):
        closure(graph, "moved")
    with pytest.raises(LookupError, match=r"pack\.moved"):
        closure(graph, "a", without=["moved"])


def test_files_and_modules_name_each_other(package, tmp_path):
    graph = package(FILES)
    for module in ("pack", "pack.sub", "pack.sub._real", "pack.b"):
        assert graph.module_of(graph.path_of(module)) == module
    assert graph.module_of(tmp_path / "b.py") is None
    assert graph.path_of("pack.b.f") is graph.path_of("other.b") is None


# --------------------------------------------------------------------- what a digest looks past
CODE = '''"""What this is for."""

import torch


def f(a, b=1):
    """What comes back."""
    # Why.
    return a + b * 2.0, f"{a}", {**b}, ["x", None]


class A(torch.nn.Module):
    """What it is."""

    size: int = 3
    """Of what."""
'''


def digest(text):
    return parse(text.encode(), "m").digest


@pytest.mark.parametrize(
    "other",
    [
        ast.unparse(ast.parse(CODE)),
        CODE.replace("# Why.", "# Because.").replace("\n\n\n", "\n\n"),
        CODE.replace("What comes back", "Another sentence"),
        CODE.replace('"""What this is for."""\n', ""),
        CODE.replace('    """What it is."""\n', ""),
        CODE.replace('    """Of what."""\n', ""),
        CODE.replace("a + b * 2.0", "(a + (\n        b * 2.00\n    ))"),
        CODE.replace('"x"', "'x'"),
        CODE.replace("\n", "\r\n"),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(other):
    assert other != CODE
    assert digest(other) == digest(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("b=1", "b=2"),
        ("b=1", "b=True"),
        ("b=1", "b=1.0"),
        ("b=1", "b='1'"),
        ("b=1", "c=1"),
        ("b=1", "*, b=1"),
        ("a + b", "a - b"),
        ("a + b * 2.0", "(a + b) * 2.0"),
        ("None", "'None'"),
        ("None", ""),
        ("{**b}", "{b}"),
        ('f"{a}"', 'f"{a!r}"'),
        ("size: int", "size: float"),
        ("return a", "yield a"),
        ("class A(torch.nn.Module)", "class A(torch.nn.Linear)"),
    ],
)
def test_code_changes_it(old, new):
    assert CODE.count(old) == 1
    assert digest(CODE.replace(old, new)) != digest(CODE)


def test_what_is_no_python_counts_by_its_bytes():
    assert digest("print 'x'") != digest("print 'y'")
    assert digest("print 'x'") != digest("print  'x'")
    assert digest("x = " + "+".join("1" * 100_000)) != digest("x = " + "+".join("1" * 100_001))


# --------------------------------------------------------------------- when a file is read
def test_a_file_is_read_again_once_it_is_loaded_again(tmp_path, monkeypatch):
    """An edit does not reach a running module, so it must not reach its digest either."""
    path = tmp_path / "edited_while_loaded.py"
    path.write_text("x = 1\n")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    unloaded = read(path, "m", loaded()).digest
    module = importlib.import_module("edited_while_loaded")
    first = read(path, "m", loaded()).digest
    path.write_text("x = 22\n")
    assert read(path, "m", loaded()).digest == first == unloaded
    importlib.reload(module)
    second = read(path, "m", loaded()).digest
    assert second == parse(b"x = 22", "m").digest != first
    del sys.modules["edited_while_loaded"]
    path.write_text("x = 333\n")
    assert read(path, "m", loaded()).digest == parse(b"x = 333", "m").digest
