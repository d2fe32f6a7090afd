"""Each property test has been seen to fail: one deliberate defect after the other."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import MUTANTS, TESTED

ROOT = Path(__file__).resolve().parent.parent


def functions_of(path: str) -> set[str]:
    """Node ids, without parameters, of all tests of a file."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{path}::{node.name}::" if isinstance(node, ast.ClassDef) else f"{path}::"
        found |= {
            prefix + part.name
            for part in inside
            if isinstance(part, ast.FunctionDef) and part.name.startswith("test_")
        }
    return found


def test_every_property_test_has_a_defect_that_it_must_find():
    named = {node.split("[")[0] for mutant in MUTANTS for node in mutant.nodes}
    known = set().union(*map(functions_of, TESTED))
    assert named - known == set()
    assert known - named == set()


@pytest.mark.slow
def test_every_defect_turns_its_tests_red(tmp_path):
    """In a copy of the repository; without a defect the same tests are green."""
    skip = shutil.ignore_patterns("__pycache__", ".*", "saved", "build", "*.egg-info", "*.pyc")
    for name in ("recbole_cold", "properties", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skip)
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "tests" / "mutants.py"), str(tmp_path)],
        capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f'"mutants": {len(MUTANTS)}' in done.stdout
