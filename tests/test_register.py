"""RecBole's own door: after ``register()`` its runner finds our classes; before it nothing is
touched. That is done in processes of its own: what is registered cannot be taken back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recbole_cold import registry

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """``python(code)``: what the code printed as JSON in a fresh process, RecBole's files aside."""

    def go(code):
        tmp_path = tmp_path_factory.mktemp("door")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", "import json\n" + code],
            capture_output=True, text=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return go


def test_every_method_and_backbone_has_a_file_that_recbole_would_look_for():
    ours = {**registry.methods(), **registry.backbones()}
    for name, cls in ours.items():
        if not cls.__module__.startswith("recbole."):
            assert registry.classes_of_file(name.lower()) == [cls]
    assert registry.classes_of_file("deepfm") == []
    assert registry.classes_of_file("_method") == []
    assert registry.classes_of_file("no_such_model") == []


@pytest.fixture(scope="module")
def answers(python):
    """What one process found before and after ``register()``: each start takes seconds."""
    return python("""
import sys, recbole_cold, recbole.config, recbole.trainer
from recbole_cold.config import make_config
from recbole_cold.errors import UserError
from recbole.config import Config
found = {"own": [make_config("MWUF", "ml-100k", "AFN").as_dict()]}
found["before"] = (
    len(sys.meta_path), Config.compatibility_settings.__module__, "kmeans_pytorch" in sys.modules
)
recbole_cold.register()
once = len(sys.meta_path), recbole.trainer.Trainer._save_checkpoint
recbole_cold.register()
found["twice"] = once == (len(sys.meta_path), recbole.trainer.Trainer._save_checkpoint)
found["after"] = once[0]

config = Config("AFN", "ml-100k", config_dict={"log_neurons": 7})
keys = ["log_neurons", "log_form", "embedding_size", "load_col", "released"]
found["config"] = [config[key] for key in keys]
try:
    Config("MWUF", "ml-100k")
except UserError as error:
    found["refused"] = str(error)
from recbole.utils import get_model
names = ["MWUF", "Base", "AFN", "FinalMLP", "LSTM4Rec", "DeepFM", "BPR", "DIN"]
found["models"] = [get_model(n).__module__ for n in names]
found["own"].append(make_config("MWUF", "ml-100k", "AFN").as_dict())
print(json.dumps(found))
""")


def test_get_model_finds_ours_and_recboles_and_twice_is_harmless(answers):
    before = answers["before"]
    assert before[1] == "recbole.config.configurator"
    assert answers["after"] == before[0] + 1 and answers["twice"] is True
    assert answers["models"] == [
        "recbole_cold.model.mwuf",
        "recbole_cold.model.base",
        "recbole_cold.backbone.afn",
        "recbole_cold.backbone.finalmlp",
        "recbole_cold.backbone.lstm4rec",
        "recbole.model.context_aware_recommender.deepfm",
        "recbole.model.general_recommender.bpr",
        # Ours needs histories, which RecBole's runner does not make.
        "recbole.model.sequential_recommender.din",
    ]


def test_a_config_has_our_defaults_below_everything_else(answers):
    found = answers["config"]
    assert found[:3] == [7, "log", 16]
    assert "user_id" in found[3]["inter"]  # RecBole's own context models get that on ml-100k
    assert found[4] is None


def test_a_method_is_refused_by_recboles_runner_in_one_sentence(answers):
    sentence = answers["refused"]
    assert sentence.startswith("MWUF is a cold-start method, and RecBole's runner has no new items")
    assert "recbole_cold.run('MWUF', ...)" in sentence


def test_our_own_configuration_is_untouched(answers):
    before, after = answers["own"]
    assert before == after


RUN = """
import sys, types
import recbole_cold
recbole_cold.register()
sys.argv = sys.argv[:1]
from recbole.quick_start import run_recbole
keys = {"epochs": 1, "show_progress": False, "state": "ERROR", "train_batch_size": 2048}
keys |= {"log_neurons": 20, "mlp_hidden_size": [16], "checkpoint_dir": "saved"}
"""


@pytest.mark.slow
def test_run_recbole_trains_every_backbone_of_ours(python):
    found = python(
        RUN
        + """
results = {}
for name in ("AFN", "LorentzFM", "FinalMLP", "FINAL", "Basic"):
    result = run_recbole(model=name, dataset="ml-100k", config_dict=keys)
    results[name] = [float(result["best_valid_score"]), float(result["test_result"]["auc"])]
print(json.dumps(results))
"""
    )
    assert len(found) == 5
    assert all(0.55 < value < 0.85 for pair in found.values() for value in pair)


@pytest.mark.slow
@pytest.mark.skipif(
    torch.__version__ < "2.6", reason="torch < 2.6 loads RecBole's pickled configurations"
)
def test_recbole_still_cannot_load_the_checkpoints_it_saves(python):
    """When this fails, ``_save_plainly`` can go."""
    told = python(
        RUN
        + """
from recbole.trainer import Trainer
Trainer._save_checkpoint = Trainer._save_checkpoint.__wrapped__
try:
    run_recbole(model="Basic", dataset="ml-100k", config_dict=keys)
except Exception as error:
    print(json.dumps(str(error)))
"""
    )
    assert "weights_only" in told
