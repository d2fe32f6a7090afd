"""Our backbones on the tiny data set, as plain RecBole models and behind a method."""

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cold.backbone._base import embedded_fields
from recbole_cold.backbone._seam import _with_pooling
from recbole_cold.config import make_config
from recbole_cold.data.histories import PREFIX, histories_of
from recbole_cold.experiment.data_store import load_data, make_split

SMALL = {
    "threshold": {"rating": 4},
    "cold_threshold": 30,
    "warm_size": 3,
    "embedding_size": 4,
    "train_batch_size": 64,
    "numerical_features": ["income", "price"],
    "show_progress": False,
    "device": "cpu",
    "seed": 7,
}


@pytest.fixture(scope="session")
def prepared(tiny_path):
    """``prepared("AFN", key=value)``: a configuration and its data set, split and on the device."""
    split: list = []

    def make(backbone, method="Base", **keys):
        keys = {**SMALL, "data_path": str(tiny_path.parent), **keys}
        config = make_config(method, "tiny", backbone, overrides=keys)
        dataset = load_data(config)
        if not split:
            split.append(make_split(dataset, config))
        return config, dataset.view(split[0])

    return make


@pytest.fixture(scope="session")
def build(prepared):
    """``build("AFN", key=value)``: Base on a fresh backbone."""

    def make(backbone, **keys):
        config, dataset = prepared(backbone, **keys)
        return config.method_class(config, dataset)

    return make


@pytest.fixture(scope="session")
def plain(prepared):
    """``plain("AFN", key=value)``: the model alone in float64, and a function that gives rows."""

    def make(backbone, **keys):
        config, dataset = prepared(backbone, **keys)
        torch.manual_seed(7)
        model = _with_pooling(config.backbone_class, config["pooling"])(config, dataset)
        model = model.double().eval()
        dataset.rows.histories = histories_of(config, dataset, dataset.rows)
        names = embedded_fields(model)
        if dataset.rows.histories is not None:
            names += [*model.history_fields, f"{PREFIX}{model.LABEL}"]

        def rows(numbers):
            batch = dataset.rows.batch(torch.as_tensor(numbers))
            fields = {field: batch[field] for field in names}
            return Interaction({**fields, model.LABEL: batch[model.LABEL].double()})

        return model, rows

    return make


@pytest.fixture
def rng64():
    """``rng64(2, 3)``: a float64 tensor of standard normal numbers, the same in every run."""
    generator = torch.Generator().manual_seed(20230723)
    return lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)
