"""Methods outside the package: as a file, as a module, installed; the suite they must pass."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_cold import methods
from recbole_cold.cli import main
from recbole_cold.methods import ColdStartRecommender

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "examples" / "plugin"

# The one mistake that the suite must not miss: learning moves the backbone too.
TOUCHES_THE_BACKBONE = """
from attribute_map.attribute_map import AttributeMap
from recbole_cold.testing import MethodConformance


class Careless(AttributeMap):
    def trainable(self, stage):
        more = list(self.backbone.parameters()) if stage == "learn" else []
        return [*super().trainable(stage), *more]


class TestCareless(MethodConformance):
    method = Careless
    trains = {"map"}
    trains_warm = set()
    backbones = ("DeepFM", "DCN")
"""


@pytest.fixture
def plugin_path(monkeypatch):
    """The plug-in's package can be imported, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    yield PLUGIN
    for name in [n for n in sys.modules if n.partition(".")[0] == "attribute_map"]:
        del sys.modules[name]


def document(folder: Path) -> dict:
    (path,) = folder.glob("*/results.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "spec",
    [
        "{folder}/attribute_map/attribute_map.py",
        "{folder}/attribute_map/attribute_map.py:AttributeMap",
        "attribute_map.attribute_map:AttributeMap",
    ],
)
def test_runs_from_a_file_and_from_a_module(spec, plugin_path, tiny_flags, tmp_path, capsys):
    """With its yaml beside it, its keys on the command line, and a row of the table."""
    model = spec.format(folder=plugin_path)
    assert main([f"--model=Base,{model}", "--attribute_map_pull=0.5", *tiny_flags]) == 0
    runs = {
        run["model"]: run
        for run in document(tmp_path / "saved")["runs"]
        if not run["matched_steps"]
    }
    assert runs.keys() == {"Base", "AttributeMap"}
    assert runs["AttributeMap"]["config"]["attribute_map_pull"] == 0.5
    assert "attribute_map_pull" not in runs["Base"]["config"]
    stages = {stage["name"]: stage for stage in runs["AttributeMap"]["seeds"][0]["stages"]}
    assert stages["pretrain"]["cached"]  # the plain backbone: shared with Base
    assert stages["learn"]["steps"] > 0
    label = runs["AttributeMap"]["label"]
    assert re.search(rf"^\W*{label}\b", capsys.readouterr().out, re.MULTILINE)


def test_a_misspelt_key_of_a_plugin_is_answered(plugin_path, tiny_flags, capsys):
    model = f"{plugin_path}/attribute_map/attribute_map.py"
    assert main([f"--model={model}", "--attribute_map_pul=0.5", *tiny_flags]) == 2
    assert "did you mean 'attribute_map_pull'" in capsys.readouterr().err


@pytest.mark.slow
def test_learning_that_touches_the_backbone_fails_the_suite(tmp_path):
    """And nothing but that fails: the finding names the mistake."""
    (tmp_path / "test_careless.py").write_text(TOUCHES_THE_BACKBONE)
    shutil.copytree(PLUGIN / "attribute_map", tmp_path / "attribute_map")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    failed = set(re.findall(r"^FAILED \S+::(\w+)\[(\w+)\]", done.stdout, re.MULTILINE))
    test = "test_learning_leaves_the_backbone_as_it_was"
    assert failed == {(test, "DeepFM"), (test, "DCN")}, done.stdout
    assert "leave the backbone out of trainable()" in done.stdout


def test_the_guide_names_what_there_is():
    """Each question in its table is a member of the base class, and the plug-in's size is right."""
    text = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
    table = text[text.index("| question |") : text.index("A `Fit` is")]
    first = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    names = {name for cell in first for name in re.findall(r"`(\w+)", cell)}
    assert {"pretrain_fits", "cold_vectors", "warm_fits", "predict", "keys"} <= names
    assert not {name for name in names if not hasattr(ColdStartRecommender, name)}
    module = (PLUGIN / "attribute_map" / "attribute_map.py").read_text(encoding="utf-8")
    assert f"in {len(module.splitlines())} lines" in text


def test_no_page_sends_a_reader_to_a_module_with_an_underscore():
    """What authors need has a public name; ``_steps`` of a class is no module."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *PLUGIN.rglob("*.md")]
    pages += PLUGIN.rglob("*.py")
    private = re.compile(
        r"(?:^|[\s`(/]|recbole_cold[\w./]*[./])_[a-z]\w*(?:\.py\b|\.[A-Za-z]| import)"
    )
    found = {
        str(page.relative_to(ROOT)): private.findall(page.read_text(encoding="utf-8"))
        for page in pages
    }
    assert len(pages) > 10 and not {page: hits for page, hits in found.items() if hits}
    assert private.search("in `_inner.py`") and private.search("recbole_cold.model._fit import Fit")
    assert not private.search("`MWUF._steps` and __init__.py")


def test_the_public_names_are_there_and_said():
    """All of them in the docstring; ``import recbole_cold`` alone does without torch."""
    assert sorted(methods.__all__) == sorted(set(methods.__all__))
    documented = set(re.findall(r"``(\w+)``", methods.__doc__))
    left = set(methods.__all__) - documented
    assert left <= {"Backbone"} and documented - {"make_backbone"} <= set(methods.__all__)
    assert all(hasattr(methods, name) for name in methods.__all__)
    code = "import sys, recbole_cold; assert 'torch' not in sys.modules, 'torch'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_installed_beside_the_wheel_it_has_a_name(fresh_environment, tmp_path):
    """Both wheels in a fresh environment; from ``/``, by entry point; then the plug-in's tests."""
    environment = fresh_environment(ROOT, PLUGIN)
    listed = environment.command("list").stdout
    assert re.search(
        r"^  AttributeMap +Gantner et al., ICDM 2010 +cold, warm$", listed, re.MULTILINE
    ), listed
    done = environment.command(
        "--model=AttributeMap",
        "--dataset=ml-100k",
        f"--saved_dir={tmp_path / 'saved'}",
        f"--cache_dir={tmp_path / 'cache'}",
    )
    assert done.returncode == 0, done.stderr
    runs = {run["label"]: run for run in document(tmp_path / "saved")["runs"]}
    phases = runs["AttributeMap"]["seeds"][0]["phases"]
    assert all(0.5 < phase["metrics"]["AUC"] < 1 for phase in phases.values())
    # Its own tests, against the installed packages.
    shutil.copytree(PLUGIN / "tests", tmp_path / "tests")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    tests = environment.run(*words, cwd=tmp_path / "tests")
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert re.search(r"^2\d passed", tests.stdout, re.MULTILINE), tests.stdout
