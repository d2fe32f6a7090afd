"""Sizes that no network can have are told with their keys, before anything is trained."""

import pytest

from recbole_cold.config import make_config
from recbole_cold.errors import UserError
from recbole_cold.experiment import building
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import run_data


@pytest.mark.parametrize(
    ("method", "backbone", "keys", "told"),
    [
        ("Base", "AutoInt", {"num_heads": 3}, "AutoInt cannot be built with num_heads: 3"),
        ("Base", "AutoInt", {"attention_size": 7}, "attention_size: 7"),
        ("Base", "DeepFM", {"mlp_hidden_size": [10_000] * 3}, "more memory than there is"),
    ],
)
def test_sizes_that_do_not_fit_name_their_key(tiny_keys, monkeypatch, method, backbone, keys, told):
    if "mlp_hidden_size" in keys:  # a machine may have that much

        def full(*args, **kwargs):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

        monkeypatch.setattr("torch.nn.Linear.__init__", full)
    config = make_config(method, "tiny", backbone, overrides={**tiny_keys, **keys})
    with pytest.raises(UserError, match=told):
        build_method(config, run_data(config))


def test_no_source_is_read_to_build_what_is_ours(tiny_keys, monkeypatch):
    """Of a plug-in it tells the keys; to parse torch's as well took most of the time of a build."""

    def read(cls):
        raise AssertionError(f"the source of {cls} was read")

    monkeypatch.setattr(building, "keys_in_source", read)
    config = make_config("MetaE", "tiny", "FM", overrides=tiny_keys)
    build_method(config, run_data(config))


def test_a_method_that_needs_side_information_is_named(tiny_keys):
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    config = make_config("MetaE", "tiny", "FM", overrides={**tiny_keys, "load_col": columns})
    with pytest.raises(UserError, match="which MetaE needs"):
        build_method(config, run_data(config))


def test_relative_improvement_alone_brings_the_auc_it_is_made_of(tiny_keys):
    config = make_config("Base", "tiny", "FM", overrides={**tiny_keys, "metrics": ["RelaImpr"]})
    assert config["metrics"] == ["AUC", "RelaImpr"]
