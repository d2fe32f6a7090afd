"""Each property test has been seen to fail: one deliberate defect after the other."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from defects import ROOT, modules, names_in, whole_names

MODULES = modules()
# Suites for methods and backbones of others: they are tried on defects in tests/test_testing.py.
ELSEWHERE = {"test_conformance.py", "test_backbone_conformance.py"}

each_module = pytest.mark.parametrize("name", MODULES)
# The long ones first, so that two processes end together.
long_first = sorted(MODULES, key=lambda name: -sum(map(len, MODULES[name].DEFECTS.values())))


def test_every_file_of_property_tests_has_defects():
    folders = (ROOT / "tests" / "model", ROOT / "tests" / "backbone")
    files = {path.name for folder in folders for path in folder.glob("test_*.py")}
    assert files - ELSEWHERE <= {module.TESTS.rpartition("/")[2] for module in MODULES.values()}


@each_module
def test_every_property_test_has_a_defect_that_it_must_find(name):
    module, known = MODULES[name], names_in(MODULES[name].TESTS)
    defects = [each for found in module.DEFECTS.values() for each in found]
    named = {test.partition("[")[0] for each in defects for test in whole_names(each.tests, known)}
    assert named - known == set()
    assert all(each.tests for each in defects)
    if not getattr(module, "SOME", False):
        assert known - named == set()


@each_module
def test_every_text_is_found_once(name):
    """A refactoring that moves the text under a defect is told at once, not by the slow tests."""
    found = Counter()
    for path, defects in MODULES[name].DEFECTS.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        found.update({(path, each.old): text.count(each.old) for each in defects})
        assert all(each.old != each.new for each in defects)
    assert {place: count for place, count in found.items() if count != 1} == {}


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """``ask(module)``: what went wrong with its defects, in a copy of the repository."""
    copy = tmp_path_factory.mktemp("copy")
    # With its byte code, which is known by the time and the length of a file: both are copied.
    skip = shutil.ignore_patterns(".*", "saved", "build", "*.egg-info")
    for name in ("recbole_cold", "properties", "tests", "examples"):
        shutil.copytree(ROOT / name, copy / name, ignore=skip)
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        environment.pop(name, None)
    with (
        (copy / "errors.txt").open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "defects._run", str(copy)], cwd=copy / "tests", env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        ) as process,
    ):  # fmt: skip

        def answer(name):
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, (copy / "errors.txt").read_text()[-2000:]
            return json.loads(line)

        yield answer


@pytest.mark.slow
@pytest.mark.parametrize("name", long_first)
def test_every_defect_turns_its_tests_red(name, ask):
    """Without a defect the same tests are green."""
    if missing := getattr(MODULES[name], "MISSING", ""):
        pytest.skip(missing)
    assert ask(name) == []
