"""The form that published cold-start programs give RecBole's models, a key for each difference.

Their networks have BatchNorm behind every linear layer of an MLP, first-order weights of numbers
alone, and in some models no vectors of numbers. RecBole's classes are used as they are: what is
different is put in, or taken out, after they are built.
"""

from typing import Any

import torch
from recbole.model.layers import FMFirstOrderLinear, MLPLayers
from recbole.utils import FeatureType
from torch import Tensor, nn


class WithoutNumbers:
    """A data set that shows a model no numbers."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def fields(self, ftype: Any = None, source: Any = None) -> list[str]:
        kinds = self._dataset.field2type
        named = self._dataset.fields(ftype=ftype, source=source)
        return [field for field in named if kinds[field] != FeatureType.FLOAT]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


def without_number_vectors(model_class: type, config: Any, dataset: Any) -> Any:
    """The model with numbers in its linear part only; nowhere, if it has no linear part."""
    model = model_class(config, WithoutNumbers(dataset))
    model.first_order_linear = FMFirstOrderLinear(config, dataset).to(model.device)
    model.first_order_linear.apply(model._init_weights)
    return model


def with_batch_norm(model: nn.Module) -> nn.Module:
    """``model`` with BatchNorm behind the linear layers of RecBole's MLPs, in place.

    MLPs that have it already stay as they are.
    """
    for module in model.modules():
        if type(module) is MLPLayers and not module.use_bn:
            layers: list[nn.Module] = []
            for layer in module.mlp_layers:
                layers.append(layer)
                if isinstance(layer, nn.Linear):
                    layers.append(nn.BatchNorm1d(layer.out_features).to(layer.weight))
            module.mlp_layers = nn.Sequential(*layers)
            module.use_bn = True
    return model


def numbers_alone(linear: FMFirstOrderLinear) -> None:
    """Take the first-order weights of tokens and their sequences out of ``linear``, in place."""
    tables = [linear.token_embedding_table, *getattr(linear, "token_seq_embedding_table", ())]
    for table in tables:
        table.register_forward_hook(_nothing)


def _nothing(_module: nn.Module, _inputs: Any, weights: Tensor) -> Tensor:
    return torch.zeros_like(weights)
