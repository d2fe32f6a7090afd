"""What an installed wheel holds, and that its metadata says what the code needs."""

import ast
import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROVIDED_BY = {
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}  # import name -> distribution, where they differ


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_folder_with_code_is_a_listed_package(setup):
    """The list cannot be found by setuptools; a forgotten package would miss in the wheel only."""
    listed = set(setup["options"]["packages"].split())
    listed.discard("recbole_cold.properties")
    folders = {path.parent for path in (ROOT / "recbole_cold").rglob("*.py")}
    assert listed == {".".join(folder.relative_to(ROOT).parts) for folder in folders}


def requirements(text):
    lines = text.splitlines()
    return {line.split(">")[0].split("[")[0].lower() for line in lines if line[:1].isalpha()}


def test_every_import_is_declared(setup):
    """Also those that RecBole happens to bring; ``testing`` may use what tests use."""
    declared = requirements(setup["options"]["install_requires"])
    for_tests = declared | requirements(setup["options.extras_require"]["test"])
    for extra in ("optuna", "onnx"):
        declared |= requirements(setup["options.extras_require"][extra])
    for path in (ROOT / "recbole_cold").rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
        foreign = imported - set(sys.stdlib_module_names) - {"recbole_cold"}
        names = {PROVIDED_BY.get(name, name).lower() for name in foreign}
        assert names <= (for_tests if path.parent.name == "testing" else declared), path


def test_constraints_name_what_setup_cfg_needs(setup):
    names = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    needed = setup["options"]["install_requires"] + setup["options.extras_require"]["test"]
    assert requirements(needed) <= names


def test_the_example_of_a_service_asks_for_the_versions_that_are_tested():
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    asked = (ROOT / "examples/serving/requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {line for line in asked if "==" in line}
    assert pins and pins <= {*tested}


@pytest.mark.slow
def test_the_wheel_holds_the_yaml_and_runs_from_elsewhere(tmp_path):
    """Built from a copy, so that the checkout stays clean; read from an empty working directory."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in (
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "properties",
        "recbole_cold",
    ):
        (copy / name).symlink_to(ROOT / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", str(copy), "-w", str(tmp_path)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for path in [*ROOT.glob("properties/**/*.yaml"), *ROOT.glob("recbole_cold/**/*.py")]:
        name = path.relative_to(ROOT).as_posix()
        assert name.replace("properties/", "recbole_cold/properties/") in held
    assert not [name for name in held if name.startswith(("tests/", "properties/"))]
    target, empty = tmp_path / "target", tmp_path / "empty"
    install = [*pip, "install", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    empty.mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r});"
        "from recbole_cold.registry import properties_dir;"
        "from recbole_cold.config import make_config;"
        "config = make_config('MWUF', 'ml-100k', overrides={'protocol': 'released'});"
        "print(properties_dir(), config['mlp_hidden_size'], sep='|')"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, cwd=empty)
    folder = target / "recbole_cold" / "properties"
    assert done.stdout.strip() == f"{folder}|[16, 16]", done.stderr
