"""What carries deliberate defects out: loaded functions that take spoilt code, prepared runs."""

import json
import subprocess
import sys

import pytest
from defects import ROOT
from defects._code import exchange, functions_below

SOUND = """
import functools

LIMIT = 3

def doubled(function):
    @functools.wraps(function)
    def twice(x):
        return 2 * function(x)
    return twice

def plain(x, by=1):
    return x + by

@doubled
def wrapped(x):
    return x + 10

class Kept:
    size = LIMIT

    def method(self, x):
        return (lambda y: y + self.size)(x)

    @staticmethod
    def inside(x):
        return [x + each for each in (1, 2)]
"""


@pytest.fixture
def loaded(tmp_path):
    """The names that ``SOUND`` makes, and the path and the functions of its file."""
    path = tmp_path / "sound.py"
    names = {"__name__": "sound"}
    exec(compile(SOUND, str(path), "exec"), names)
    return names, path, functions_below(tmp_path)[str(path)]


@pytest.mark.parametrize(
    ("old", "new", "after"),
    [
        ("return x + by", "pass  # longer\n    return x - by", [0, 22, 4, [2, 3]]),
        ("return x + 10", "return x + 20", [2, 42, 4, [2, 3]]),
        ("return 2 * function(x)", "return 3 * function(x)", [2, 33, 4, [2, 3]]),
        ("lambda y: y + self.size", "lambda y: y * self.size", [2, 22, 3, [2, 3]]),
        ("(1, 2)]", "(3, 4)]", [2, 22, 4, [4, 5]]),
    ],
)
def test_loaded_functions_take_the_code_of_a_defect(loaded, old, new, after):
    names, path, functions = loaded
    kept = names["Kept"]()
    ways = [names["plain"], names["wrapped"], kept.method, kept.inside]  # as others hold them
    assert [way(1) for way in ways] == [2, 22, 4, [2, 3]]
    assert SOUND.count(old) == 1
    assert exchange(path, SOUND, SOUND.replace(old, new), functions)
    assert [way(1) for way in ways] == after


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("by=1", "by=2"),
        ("@doubled\n", ""),
        ("    size = LIMIT", "    size = 2"),
        ("    @staticmethod\n    def inside(x)", "    def inside(self, x)"),
        ("return x + by", "return x +"),
        ("return 2 * function(x)", "return 2 * x"),  # a closure that holds nothing any more
        ("def plain(x, by=1):", "def plain(x, by=1):\n    return x\n\ndef other(x, by=1):"),
    ],
)
def test_a_defect_that_more_than_code_depends_on_is_not_exchanged(loaded, old, new):
    names, path, functions = loaded
    before = [(each, each.__code__) for each in functions]
    assert SOUND.count(old) == 1
    assert not exchange(path, SOUND, SOUND.replace(old, new), functions)
    assert [(each, each.__code__) for each in functions] == before
    assert names["plain"](1) == 2


def test_functions_of_another_text_are_not_exchanged(loaded):
    names, path, functions = loaded
    other = SOUND.replace("x + 10", "x + 11")
    assert not exchange(path, other, other.replace("x + by", "x - by"), functions)
    assert names["plain"](1) == 2


PREPARED = """
import json, sys
from pathlib import Path
from defects import _forks

folder, defects = Path(sys.argv[1]), json.loads(sys.argv[2])
sound = (folder / "sums.py").read_text()
tests = ["test_sums.py::test_double", "test_sums.py::test_limit"]
answers = []
with _forks.Prepared(folder, "test_sums.py") as prepared:
    for old, new in defects:
        answers.append(prepared.run(tests, ("sums.py", sound, sound.replace(old, new))))
    answers.append(prepared.run(tests))
with _forks.Prepared(folder, "test_none.py") as nothing:
    answers.append(nothing.run(tests))
print(json.dumps(answers))
"""


def test_prepared_runs(tmp_path):
    """A defect, one that hangs, one that ends the process, one that what is loaded cannot take, and
    none; then a file whose tests cannot be collected."""
    (tmp_path / "pytest.ini").write_text("[pytest]")
    (tmp_path / "sums.py").write_text("LIMIT = 3\n\ndef double(x):\n    return 2 * x\n")
    (tmp_path / "test_sums.py").write_text(
        "import pytest, sums\n"
        "@pytest.mark.parametrize('x', [1, 2])\n"
        "def test_double(x): assert sums.double(x) == 2 * x\n"
        "def test_limit(): assert sums.LIMIT == 3\n"
    )
    defects = [
        ("2 * x", "3 * x"),
        # The time that a run has is cut short here.
        ("return 2 * x", "import signal, time; assert signal.alarm(1) > 500; time.sleep(60)"),
        ("return 2 * x", "import os; os._exit(0)"),
        ("LIMIT = 3", "LIMIT = 4"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PREPARED, str(tmp_path), json.dumps(defects)],
        cwd=ROOT / "tests", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spoilt, hangs, ends, cannot, sound, nothing = json.loads(done.stdout)
    # Of a test with parameters one red case is enough.
    assert spoilt["ran"] == ["test_sums.py::test_double[1]", "test_sums.py::test_limit"]
    assert list(spoilt["failed"]) == ["test_sums.py::test_double[1]"]
    assert hangs == ends == {"ran": [], "failed": {}, "error": ["no answer"]}
    assert cannot is nothing is None
    assert sound["failed"] == {}
    double = ["test_sums.py::test_double[1]", "test_sums.py::test_double[2]"]
    assert sound["ran"] == [*double, "test_sums.py::test_limit"]
