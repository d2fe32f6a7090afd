"""DIN: the history's elements, weighted by how each of them goes with the target, into an MLP.

Source: Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018, with the
sizes of its place in Zhu et al., SIGIR 2021. RecBole's DIN (a sequential model) reads no fields of
the user, divides the weights by a root of their width, and needs RecBole's own sequences.
Shape letters as in ``_sequence.py``.
"""

from typing import ClassVar

import torch
from torch import Tensor

from recbole_cold.backbone._base import head
from recbole_cold.backbone._layers import mlp
from recbole_cold.backbone._sequence import (
    ATTENTION,
    SequenceModel,
    compared,
    is_there,
)
from recbole_cold.keys import DROPOUT, HIDDEN


def pool(weight_bn: Tensor, x_bnd: Tensor) -> Tensor:
    """``sum_t w_t x_t``, no softmax, so that a history of much interest weighs more (the paper's
    equation 3): [b, D]."""
    return torch.einsum("bn,bnd->bd", weight_bn, x_bnd)


class DIN(SequenceModel):
    """``MLP([E; p; p * q])``: all fields E, the weighted sum p of the history, the target q.

    ``w_t = ffn([x_t; q; x_t - q; x_t * q])`` with sigmoids between the layers.
    """

    paper = "Zhou et al., KDD 2018"
    year = 2018
    keys: ClassVar = (
        HIDDEN,
        DROPOUT,
        ATTENTION,
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size = self.element_width
        width = self.num_feature_field * self.embedding_size + 2 * size
        self.attention = mlp([4 * size, *config[ATTENTION.name], 1], "sigmoid")
        self.mlp = head([width, *config["mlp_hidden_size"]], config["dropout_prob"])
        self.apply(self._init_weights)

    def weights(self, x_bnd: Tensor, q_bd: Tensor, length_b: Tensor) -> Tensor:
        """The weight of every element [b, n], 0 at padding."""
        weight_bn = self.attention(compared(x_bnd, q_bd)).squeeze(-1)
        return weight_bn * is_there(length_b, x_bnd.shape[1])

    def forward(self, interaction) -> Tensor:
        fields_bfd = self.concat_embed_input_fields(interaction)
        x_bnd, length_b = self.history(interaction)
        q_bd = self.target(fields_bfd)
        p_bd = pool(self.weights(x_bnd, q_bd, length_b), x_bnd) * self.kept(length_b)
        return self.mlp(torch.cat([fields_bfd.flatten(1), p_bd, p_bd * q_bd], dim=1)).squeeze(-1)
