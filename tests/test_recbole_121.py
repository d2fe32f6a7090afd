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


DOOR = """
import recbole, recbole_cold
assert recbole.__version__ == "1.2.1", recbole.__version__
recbole_cold.register()
from recbole.quick_start import run_recbole
from recbole.utils import get_model
keys = {"epochs": 1, "show_progress": False, "state": "ERROR", "train_batch_size": 4096}
result = run_recbole(model="LorentzFM", dataset="ml-100k", config_dict=keys)
print(get_model("MWUF").__module__, 0.5 < result["test_result"]["auc"] < 0.9)
"""


def run(code, folder, tmp_path):
    """The lines that ``code`` prints with the RecBole in ``folder``."""
    path = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", path + code],
        capture_output=True, text=True, cwd=tmp_path,
        env={"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_configuration_and_backbones(recbole_121, tmp_path):
    *lines, count = run(CODE, recbole_121, tmp_path)
    assert [line.split()[0] for line in lines] == ["DeepFM", "WideDeep", "PNN", "DCN"]
    assert all(line.split()[2] == "100000" for line in lines)
    assert int(count) >= 18


@pytest.mark.slow
def test_its_own_door(recbole_121, tmp_path):
    assert run(DOOR, recbole_121, tmp_path)[-1] == "recbole_cold.model.mwuf True"
