"""Methods on the tiny data set, built fast: one data set and split per set of data keys."""

import json

import pytest
import torch

from recbole_cold.config import make_config
from recbole_cold.experiment.data_store import run_data
from recbole_cold.registry import find_method

SMALL = {
    "data_path": None,
    "threshold": {"rating": 4},
    "cold_threshold": 30,
    "warm_size": 3,
    "embedding_size": 4,
    "train_batch_size": 64,
    "checkpoint_seconds": 1e9,
    "show_progress": False,
    "device": "cpu",
    "seed": 7,
}
# Backbones without a key for hidden layers.
NO_LAYERS = {
    "AFM", "EulerNet", "FFM", "FINAL", "FM", "FiGNN", "FinalMLP", "FwFM", "KD_DAGFM", "LR",
    "LorentzFM",
}  # fmt: skip
DATA_KEYS = (
    "cold_side", "cold_threshold", "use_count", "use_timestamp", "numerical_features", "seq_len",
    "load_col", "warm_size", "warm_sets", "number_scale", "unseen_tokens", "split_rule",
    "session_length", "session_min", "session_user_min",
)  # fmt: skip


@pytest.fixture(scope="session")
def build(tiny_path):
    """``build("MWUF", "DeepFM", key=value)``: a fresh method on the data set ``tiny``.

    ``double=True`` gives float64 parameters and buffers; the rows stay as they are.
    """
    loaded: dict = {}

    def make(method="Base", backbone="DeepFM", double=False, data="tiny", **keys):
        alone = find_method(method).network is not None or backbone in NO_LAYERS
        layers = {} if alone else {"mlp_hidden_size": [6, 5]}
        keys = {**SMALL, **layers, "data_path": str(tiny_path.parent), **keys}
        config = make_config(method, data, backbone, overrides=keys)
        key = json.dumps([data, *(config[name] for name in DATA_KEYS)])
        if key not in loaded:
            loaded[key] = run_data(config)
        dataset = loaded[key].view()
        built = config.method_class(config, dataset)
        built.dataset = dataset
        return built.double() if double else built

    return make


@pytest.fixture
def rng64():
    """``rng64(2, 3)``: a float64 tensor of standard normal numbers, the same in every run."""
    generator = torch.Generator().manual_seed(20220711)
    return lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)
