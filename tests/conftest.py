"""Data for tests: a tiny seeded atomic data set, caches of their own, and MovieLens-1M if there."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from tiny_here import tiny_files


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory):
    """No test reads or writes the user's caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECBOLE_COLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """Files of tests need not outlive a power cut, which no test makes: waiting until they would
    costs milliseconds a file. A test that is about ``os.fsync`` puts its own in this place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses what is no open file, too
        yield


def _write(folder: Path, name: str, **files: list[list[str]]) -> Path:
    """``folder/name.<suffix>`` per keyword: rows of texts, the header first."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, rows in files.items():
        text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
        (folder / f"{name}.{suffix.replace('_', '.')}").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def write_atomic():
    """``write_atomic(folder, name, inter=rows, user=rows, item=rows)``; the first row is the
    header, ``train_inter`` writes ``<name>.train.inter``."""
    return _write


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory) -> Path:
    """Folder with the atomic files of the data set ``tiny``; its parent serves as data_path."""
    return _write(tmp_path_factory.mktemp("atomic") / "tiny", "tiny", **tiny_files())


def vector_files(seed: int = 5) -> dict[str, list[list[str]]]:
    """``tiny_files`` with content vectors: ``emb`` of items, 6 numbers, every fifth missing, and
    ``taste`` of users, 3 numbers; their units and offsets differ."""
    files, rng = tiny_files(), np.random.default_rng(seed)
    for suffix, field, width in (("item", "emb", 6), ("user", "taste", 3)):
        head, *rows = files[suffix]
        head.append(f"{field}:float_seq")
        for number, row in enumerate(rows):
            vector = 4.0 + 9.0 * rng.normal(size=width)
            row.append("" if number % 5 == 2 else " ".join(f"{x:.4f}" for x in vector))
    return files


@pytest.fixture(scope="session")
def vectors_path(tmp_path_factory) -> Path:
    """Folder with the atomic files of the data set ``vec``: ``tiny`` with content vectors."""
    return _write(tmp_path_factory.mktemp("atomic") / "vec", "vec", **vector_files())


@pytest.fixture
def tiny_keys(tiny_path) -> dict:
    """Configuration of the data set ``tiny``, to be given as overrides."""
    return {
        "data_path": str(tiny_path.parent),
        "threshold": {"rating": 4},
        "cold_threshold": 30,
        "warm_size": 3,
    }


@pytest.fixture(scope="session")
def ml1m_path() -> Path:
    """Folder of MovieLens-1M as atomic files: $RECBOLE_COLD_DATA/ml-1m or ../shared/data/ml-1m."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("RECBOLE_COLD_DATA", beside)) / "ml-1m"
    if not (folder / "ml-1m.inter").is_file():
        pytest.skip(f"no MovieLens-1M in '{folder}'; set RECBOLE_COLD_DATA to the folder above it")
    return folder


@pytest.fixture
def tiny_flags(tiny_path, tmp_path) -> list[str]:
    """The command line's part that every run on the data set ``tiny`` shares; it saves in
    ``tmp_path/saved``."""
    return [
        "--dataset=tiny",
        f"--data_path={tiny_path.parent}",
        "--threshold={rating: 4}",
        "--cold_threshold=30",
        "--warm_size=3",
        "--train_batch_size=64",
        "--embedding_size=4",
        "--show_progress=False",
        f"--saved_dir={tmp_path / 'saved'}",
    ]


# They differ from run to run.
MEASURED = {"seconds", "cpu_seconds", "peak_memory_mb", "peak_gpu_memory_mb", "cached"}


def _numbers(document: dict) -> list:
    return [
        [
            run["label"],
            run["variant"],
            run["parameters"],
            [
                {
                    "seed": seed["seed"],
                    "phases": seed["phases"],
                    "stages": [
                        {key: value for key, value in stage.items() if key not in MEASURED}
                        for stage in seed["stages"]
                    ],
                }
                for seed in run["seeds"]
            ],
        ]
        for run in document["runs"]
    ]


@pytest.fixture(scope="session")
def numbers():
    """``numbers(document)``: all of a results document that two equal runs must have in common;
    json texts of floats tell every bit apart."""
    return lambda document: json.dumps(_numbers(document), indent=1).splitlines()


class Environment:
    """A virtual environment in which exactly the given projects of ours can be imported.

    Third-party packages are those of the running interpreter, through links; recbole_cold is not
    among them, installed, editable or otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / "bin" / "python"
        venv.create(folder, symlinks=True, with_pip=False)
        third_party = folder / "third_party"
        third_party.mkdir()
        for place in map(Path, sys.path):
            if place.name in ("site-packages", "dist-packages") and place.is_dir():
                for item in place.iterdir():
                    ours = "recbole_cold" in item.name or item.name.endswith((".pth", ".egg-link"))
                    link = third_party / item.name
                    if not ours and not link.is_symlink():
                        link.symlink_to(item)
        (site_packages,) = folder.glob("lib/python*/site-packages")
        (site_packages / "third_party.pth").write_text(f"{third_party}\n")
        assert self.run("-c", "import recbole_cold").returncode == 1
        assert self.run("-c", "import recbole").returncode == 0

    def run(self, *words: str, cwd: Path | str = "/") -> subprocess.CompletedProcess:
        """``python *words`` from a folder without a checkout, and without this process's paths."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [str(self.python), *words], cwd=cwd, env=kept, capture_output=True, text=True
        )

    def command(self, *words: str) -> subprocess.CompletedProcess:
        """The installed console script, from ``/``."""
        return self.run(str(self.folder / "bin" / "recbole-cold"), *words)


def _pip(*words: str) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _wheel(project: Path, folder: Path) -> Path:
    """The project's wheel, built from a copy: building writes into the tree it builds."""
    copy = folder / "source"
    left_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "saved", "tests", "__pycache__")
    shutil.copytree(project, copy, ignore=left_out)
    # With setuptools at hand nothing is downloaded.
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("setuptools") else []
    _pip("wheel", "--no-deps", *isolation, str(copy), "-w", str(folder / "wheel"))
    (wheel,) = (folder / "wheel").glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def fresh_environment(tmp_path_factory):
    """``fresh_environment(project, ...)``: an ``Environment`` with the wheels of these projects."""
    wheels: dict[Path, Path] = {}

    def build(*projects: Path) -> Environment:
        for project in projects:
            if project not in wheels:
                wheels[project] = _wheel(project, tmp_path_factory.mktemp("wheel"))
        environment = Environment(tmp_path_factory.mktemp("environment") / "env")
        files = [str(wheels[project]) for project in projects]
        _pip("--python", str(environment.python), "install", "--no-deps", "--no-index", *files)
        return environment

    return build


@pytest.fixture(scope="session")
def kept(tmp_path_factory, write_atomic):
    """A finished run of three methods that kept its models; its data set is gone."""
    from kept_here import kept_run

    return kept_run("Base,MWUF,CVAR", tmp_path_factory.mktemp("kept"), write_atomic)


@pytest.fixture
def fitted(kept):
    """MWUF of that run after its last phase, freshly loaded."""
    import recbole_cold

    return recbole_cold.load(kept.folder, "MWUF")
