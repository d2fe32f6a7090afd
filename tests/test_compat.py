"""Each shim works, and RecBole still has the fault: a test that fails here says a shim can go."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from recbole.config import Config
from recbole.utils import argument_list, get_model

from recbole_cold import compat
from recbole_cold.errors import UserError


@pytest.fixture
def bare():
    """A RecBole Config whose constructor has not run."""
    return object.__new__(Config)


def with_cards(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def device_of(explicit=(), **values):
    given = {"device": "auto", "gpu_id": "0", "use_gpu": True, **values}
    return compat.choose_device(given, dict.fromkeys(explicit, "the command line"))


class TestNumpyNames:
    def test_recbole_still_reads_names_numpy_dropped(self, bare):
        with pytest.raises(AttributeError, match="float_"):
            Config.compatibility_settings(bare)

    def test_missing_names_come_back_and_present_ones_stay(self, monkeypatch):
        monkeypatch.delattr(np, "float", raising=False)
        before = np.bool, np.long
        compat.restore_numpy_names()
        assert np.zeros(2, dtype=np.float).dtype == np.float64
        assert (np.bool, np.long) == before


class TestYaml:
    def test_recbole_still_changes_a_loader_of_pyyaml(self, bare, monkeypatch):
        shared = type("FullLoader", (yaml.FullLoader,), {})
        monkeypatch.setattr(yaml, "FullLoader", shared)
        assert Config._build_yaml_loader(bare) is shared
        assert yaml.load("1e-3", Loader=shared) == 0.001

    def test_ours_reads_recboles_floats_and_leaves_pyyaml_alone(self):
        assert yaml.load("[1e-3, 2e5, .5, -1E+2]", Loader=compat.yaml_loader()) == [
            0.001, 2e5, 0.5, -100.0
        ]  # fmt: skip
        assert yaml.safe_load("1e-3") == "1e-3"

    def test_recbole_still_evaluates_texts(self, bare):
        assert Config._convert_config_dict(bare, {"key": "__import__('os').sep"})["key"] == os.sep

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-3", 0.001),
            ("7", 7),
            ("True", True),
            ("[16, 16]", [16, 16]),
            ("{rating: 4}", {"rating": 4}),
            ("mean", "mean"),
            ("__import__('os').sep", "__import__('os').sep"),
            ("~", None),
            ("", ""),
            ("\t", "\t"),
            (",", ","),
            ("2020-01-01", "2020-01-01"),
        ],
    )
    def test_texts_are_read_as_yaml(self, text, value):
        assert compat.parse_text(text) == value


def test_recbole_still_imports_sklearn_for_its_configuration():
    found = importlib.util.find_spec("recbole.evaluator.metrics")
    assert "from sklearn.metrics import" in Path(found.origin).read_text()


def test_recboles_metrics_load_sklearn_when_they_are_called():
    """In a process of its own; what others import is scikit-learn itself, meanwhile and after."""
    code = (
        "import sys; import recbole_cold.config; from recbole.evaluator import metrics\n"
        "assert not {'sklearn', 'sklearn.metrics', 'scipy.stats'} & {*sys.modules}\n"
        "mae = metrics.mean_absolute_error([1, 2], [2, 4])\n"
        "import sklearn.metrics as real, recbole_cold.compat as compat\n"
        "with compat.no_sklearn_yet(): assert sys.modules['sklearn.metrics'] is real\n"
        "assert mae == real.mean_absolute_error([1, 2], [2, 4])\n"
        "print(mae, metrics.sk_auc([0, 1], [0, 1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["1.5", "0.5"], done.stderr


@pytest.mark.parametrize("text", list("|>#-&*%@,?:;!"))
def test_a_separator_is_read_as_it_stands(text):
    assert compat.parse_text(text) == text


def test_recbole_still_shares_one_list_of_known_keys(bare):
    Config._init_parameters_category(bare)
    assert bare.parameters["Dataset"] is argument_list.dataset_arguments
    assert compat.argument_lists()["Dataset"] is not argument_list.dataset_arguments


def test_recbole_still_reads_the_command_line_of_the_process(bare, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["worker.py", "--embedding_size=3"])
    assert Config._load_cmd_line(bare) == {"embedding_size": 3}


@pytest.mark.skipif(
    importlib.util.find_spec("kmeans_pytorch") is not None, reason="kmeans_pytorch is installed"
)
def test_recbole_still_finds_no_model_by_name():
    with pytest.raises(ModuleNotFoundError, match="kmeans_pytorch"):
        get_model("DeepFM")


def test_context_models_are_found_without_the_others():
    names = {module.__name__.rpartition(".")[2] for module in compat.context_model_modules()}
    assert {"deepfm", "widedeep", "pnn", "dcn"} <= names
    assert "recbole.model.general_recommender.ldiffrec" not in sys.modules


class TestDevice:
    def test_recbole_still_sets_the_visible_cards(self, bare, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
        bare.final_config_dict = {"gpu_id": "7"}
        Config._init_device(bare)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"

    def test_gpu_id_chooses_the_card(self, monkeypatch):
        with_cards(monkeypatch, 4)
        assert device_of() == (torch.device("cuda:0"), "")
        assert device_of(gpu_id=3, explicit=["gpu_id"]) == (torch.device("cuda:3"), "")
        assert device_of(gpu_id="2,3")[0] == torch.device("cuda:2")
        assert device_of(gpu_id=[1, 2])[0] == torch.device("cuda:1")
        assert device_of(device="cuda", gpu_id=1)[0] == torch.device("cuda:1")
        assert device_of(device="cuda:2")[0] == torch.device("cuda:2")

    @pytest.mark.parametrize(
        "values", [{"device": "cpu"}, {"gpu_id": ""}, {"use_gpu": False}, {"gpu_id": None}]
    )
    def test_the_cpu_can_be_asked_for(self, monkeypatch, values):
        with_cards(monkeypatch, 1)
        assert device_of(**values) == (torch.device("cpu"), "")

    def test_without_a_card_only_an_explicit_wish_is_answered(self, monkeypatch):
        with_cards(monkeypatch, 0)
        assert device_of() == (torch.device("cpu"), "")
        device, warning = device_of(gpu_id=1, explicit=["gpu_id"])
        assert device == torch.device("cpu")
        assert "no CUDA device" in warning

    def test_cuda_asked_for_and_absent(self, monkeypatch):
        with_cards(monkeypatch, 0)
        with pytest.raises(UserError, match=r"'cuda' was asked for.*use device=auto"):
            device_of(device="cuda")

    def test_a_card_that_is_not_there(self, monkeypatch):
        with_cards(monkeypatch, 2)
        with pytest.raises(UserError, match="GPU 2 was asked for, but torch sees 2"):
            device_of(gpu_id=2)

    @pytest.mark.parametrize("values", [{"device": "gpu"}, {"device": "cuda:x"}, {"gpu_id": "one"}])
    def test_nonsense(self, values):
        with pytest.raises(UserError):
            device_of(**values)
