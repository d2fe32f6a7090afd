"""RecBole 1.2.1, which cannot be a requirement (it asks for ray<=2.6.3), works where it is."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = """
import recbole, torch
assert recbole.__version__ == "1.2.1", recbole.__version__
from recbole_cold.config import make_config
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.registry import backbones

for name in ("DeepFM", "WideDeep", "PNN", "DCN"):
    config = make_config("Base", "ml-100k", name, overrides={"device": "cpu"})
    dataset = ColdStartDataset(config)
    model = config.backbone_class(config, dataset)
    print(name, sum(p.numel() for p in model.parameters()), dataset.n_rows)
print(len(backbones()))
"""


def no_registry(message: str) -> bool:
    """Whether pip failed for want of a registry, and not for what it found there."""
    words = ("No matching distribution", "Could not find a version", "connection", "Temporary")
    return any(word.lower() in message.lower() for word in words)


@pytest.fixture(scope="module")
def recbole_121(tmp_path_factory):
    """A folder that holds RecBole 1.2.1 and nothing else."""
    target = tmp_path_factory.mktemp("recbole121")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--no-deps", "--target", str(target), "recbole==1.2.1"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode and no_registry(done.stderr):
        pytest.skip(f"recbole 1.2.1 cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.slow
def test_configuration_and_backbones(recbole_121, tmp_path):
    path = f"import sys; sys.path[:0] = [{str(recbole_121)!r}, {str(ROOT)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", path + CODE],
        capture_output=True, text=True, cwd=tmp_path,
        env={"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *lines, count = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["DeepFM", "WideDeep", "PNN", "DCN"]
    assert all(line.split()[2] == "100000" for line in lines)
    assert int(count) >= 18
