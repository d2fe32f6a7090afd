"""What all our backbones share: they are models of RecBole's, with and without this package."""

import warnings

import pytest
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_cold import compat
from recbole_cold.backbone._base import ClickModel
from recbole_cold.errors import UserError
from recbole_cold.registry import backbones, yaml_of

OURS = sorted(
    name for name, cls in backbones().items() if cls.__module__.startswith("recbole_cold.")
)
READ_HISTORIES = {name for name in OURS if getattr(backbones()[name], "reads_histories", False)}


class OwnConfig(Config):
    """RecBole's configuration, with the names that numpy 2 took from it."""

    def compatibility_settings(self):
        compat.restore_numpy_names()


@pytest.fixture
def recbole(monkeypatch, tiny_path):
    """RecBole's own configuration, data set and model from a backbone's class and our yaml."""
    monkeypatch.setattr("sys.argv", ["test"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def make(cls):
        keys = {
            "gpu_id": "", "load_col": None, "normalize_all": False, "embedding_size": 4,
            "data_path": str(tiny_path.parent), "threshold": {"rating": 4}, "LABEL_FIELD": "label",
            "numerical_features": ["income", "price"],
        }  # fmt: skip
        if cls.__name__ == "AFN":
            keys |= {"log_neurons": 20, "mlp_hidden_size": [16]}  # 9.6 million weights else
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = OwnConfig(cls, "tiny", [str(yaml_of(cls))], keys)
            dataset = Dataset(config)
            dataset._change_feat_format()  # as before a split: tables become Interactions
            rows = dataset.join(dataset.inter_feat[:50])
        torch.manual_seed(1)
        return cls(config, dataset), rows

    return make


@pytest.mark.parametrize("name", OURS)
def test_it_is_a_model_of_recboles(recbole, name):
    """RecBole's Config, Dataset and Interaction: optimizer steps lower the loss of their rows.

    A model that reads histories says that these have none.
    """
    if name in READ_HISTORIES:
        with pytest.raises(UserError, match="which RecBole's own runner does not make"):
            recbole(backbones()[name])
        return
    model, rows = recbole(backbones()[name])
    probability = model.eval().predict(rows)
    assert probability.shape == (50,) and bool(((probability >= 0) & (probability <= 1)).all())
    assert torch.equal(probability, torch.sigmoid(model(rows)))
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = model.calculate_loss(rows)
        assert loss.dim() == 0
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert "Trainable parameters" in str(model)


def test_first_order_weights_take_no_part(plain):
    for name in OURS:
        model, rows = plain(name)
        batch = rows([0, 5, 9])
        with torch.no_grad():
            before = model(batch)
            for parameter in model.first_order_linear.parameters():
                parameter += 3.0
            assert torch.equal(model(batch), before), name


@pytest.mark.parametrize("name", OURS)
def test_every_parameter_is_trained(plain, name):
    """But for the first-order weights, which RecBole gives every context model."""
    model, rows = plain(name)
    model.train().calculate_loss(rows(range(40))).backward()
    unused = {
        key
        for key, parameter in model.named_parameters()
        if parameter.grad is None and not key.startswith("first_order_linear")
    }
    assert not unused


@pytest.mark.parametrize("name", OURS)
def test_a_row_ignores_the_rows_beside_it(plain, name):
    model, rows = plain(name)
    with torch.no_grad():
        together = model(rows([4, 17, 30]))
        alone = torch.cat([model(rows([row])) for row in (4, 17, 30)])
    assert together.shape == (3,) and (together - alone).abs().max() < 1e-12


def test_every_backbone_of_ours_names_its_paper():
    plain = ["AFN", "Basic", "FINAL", "FinalMLP", "LorentzFM"]
    assert sorted(OURS) == sorted([*plain, "DIEN", "DIN", "GRU4RecCTR", "LSTM4Rec", "MIMN"])
    for name in OURS:
        cls = backbones()[name]
        assert issubclass(cls, ClickModel) and cls.paper
        assert cls.year is None or str(cls.year) in cls.paper


@pytest.mark.parametrize(
    ("name", "key"), [("AFN", "log_form"), ("FINAL", "fi_residual"), ("FINAL", "block_type")]
)
def test_a_word_that_a_key_does_not_know_is_refused(plain, name, key):
    with pytest.raises(UserError, match=f"{key} 'nonsense' is none of"):
        plain(name, **{key: "nonsense"})
