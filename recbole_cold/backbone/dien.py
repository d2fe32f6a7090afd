"""DIEN: interests out of a GRU that an auxiliary loss teaches, and a second GRU that attends.

Source: Zhou et al., "Deep Interest Evolution Network for Click-Through Rate Prediction", AAAI 2019.
The auxiliary loss has logged labels here, as in the baseline of Chen et al., MM 2022; the paper
and RecBole's DIEN (a sequential model) draw negatives. RecBole's DIEN needs them when it predicts,
too, and has no empty histories.
Shape letters as in ``_sequence.py``.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._base import head
from recbole_cold.backbone._layers import mlp
from recbole_cold.backbone._sequence import SequenceModel, is_there
from recbole_cold.data.histories import PREFIX
from recbole_cold.errors import UserError
from recbole_cold.keys import DROPOUT, HIDDEN, LAYERS, WEIGHT, Key


def attention(state_bnd: Tensor, weight_dd: Tensor, q_bd: Tensor, there_bn: Tensor) -> Tensor:
    """``a_t = softmax_t(s_t W q)`` over the rows that are there (equation 12): [b, n], 0 at
    padding."""
    score_bn = torch.einsum("bnd,de,be->bn", state_bnd, weight_dd, q_bd)
    score_bn = score_bn.masked_fill(~there_bn, torch.finfo(score_bn.dtype).min)
    return score_bn.softmax(dim=1) * there_bn


class AUGRU(nn.GRUCell):
    """A GRU whose update gate u_t is a_t u_t (equations 15 and 16): h_t = (1 - a u) h + a u n.

    A step of attention 0, which padding has, leaves the state as it was. The cell's second gate is
    the paper's update gate, which is 1 where torch's keeps the state.
    """

    def forward(self, x_bnd: Tensor, a_bn: Tensor) -> Tensor:  # type: ignore[override]
        """The state after the last row, [b, D]; zero for an empty history."""
        h_bd = x_bnd.new_zeros(x_bnd.shape[0], self.hidden_size)
        own_nbe = F.linear(x_bnd, self.weight_ih, self.bias_ih).unbind(dim=1)
        for own_be, a_b in zip(own_nbe, a_bn.unbind(dim=1), strict=True):
            other_be = F.linear(h_bd, self.weight_hh, self.bias_hh)
            own_r, own_u, own_n = own_be.chunk(3, dim=1)
            other_r, other_u, other_n = other_be.chunk(3, dim=1)
            reset_bd = torch.sigmoid(own_r + other_r)
            update_bd = a_b[:, None] * torch.sigmoid(own_u + other_u)
            new_bd = torch.tanh(own_n + reset_bd * other_n)
            h_bd = h_bd + update_bd * (new_bd - h_bd)
        return h_bd


def mean_loss(logit_bn: Tensor, label_bn: Tensor, there_bn: Tensor) -> Tensor:
    """Mean binary cross entropy over the places that are there; 0 where none is."""
    loss_bn = F.binary_cross_entropy_with_logits(logit_bn, label_bn, reduction="none")
    return (loss_bn * there_bn).sum() / there_bn.sum().clamp(min=1)


class DIEN(SequenceModel):
    """``MLP([E; h])``: all fields E, the last state h of the attending GRU.

    The model's own loss has ``aux_weight`` times the auxiliary one: each interest s_t, with the
    next element x_t+1, tells the label of that row (equation 7), by a net on [s; x] as in the
    published code. It is part of pre-training alone, and ``history_dropout`` hides nothing from it.
    """

    paper = "Zhou et al., AAAI 2019"
    year = 2019
    once_per_batch = ("interests",)
    keys: ClassVar = (
        HIDDEN,
        DROPOUT,
        Key("aux_weight", WEIGHT),
        Key("aux_hidden_size", LAYERS),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size = self.element_width
        width = self.num_feature_field * self.embedding_size + size
        self.aux_weight = config["aux_weight"]
        if self.aux_weight and config["history"] == "clicked":
            raise UserError(
                "DIEN's auxiliary loss learns from the labels of histories, and with history: "
                "clicked all are 1; use history: all, or aux_weight: 0"
            )
        self.gru = nn.GRU(size, size, batch_first=True)  # the GRUs keep torch's initialisation
        self.augru = AUGRU(size, size)
        self.attention = nn.Linear(size, size, bias=False)
        if self.aux_weight:
            self.aux = mlp([2 * size, *config["aux_hidden_size"], 1], "sigmoid")
        self.mlp = head([width, *config["mlp_hidden_size"]], config["dropout_prob"])
        self.apply(self._init_weights)

    def interests(self, interaction) -> tuple[Tensor, Tensor, Tensor]:
        """The elements and the states after each of them, [b, n, D] both, and the lengths [b]."""
        x_bnd, length_b = self.history(interaction)
        return x_bnd, self.gru(x_bnd)[0], length_b

    def forward(self, interaction) -> Tensor:
        fields_bfd = self.concat_embed_input_fields(interaction)
        _, state_bnd, length_b = self.interests(interaction)
        there_bn = is_there(length_b, state_bnd.shape[1])
        q_bd = self.target(fields_bfd)
        a_bn = attention(state_bnd, self.attention.weight, q_bd, there_bn)
        h_bd = self.augru(state_bnd, a_bn) * self.kept(length_b)
        return self.mlp(torch.cat([fields_bfd.flatten(1), h_bd], dim=1)).squeeze(-1)

    def aux_loss(self, interaction) -> Tensor:
        """Mean loss of the labels of all history rows but each history's first."""
        x_bnd, state_bnd, length_b = self.interests(interaction)
        logit_bn = self.aux(torch.cat([state_bnd[:, :-1], x_bnd[:, 1:]], dim=-1)).squeeze(-1)
        label_bn = interaction[f"{PREFIX}{self.LABEL}"][:, 1 : x_bnd.shape[1]]
        there_bn = is_there(length_b, x_bnd.shape[1])[:, 1:]
        return mean_loss(logit_bn, label_bn.to(logit_bn.dtype), there_bn)

    def calculate_loss(self, interaction) -> Tensor:
        """The click loss of the rows and, weighted, the auxiliary loss."""
        loss = super().calculate_loss(interaction)
        return loss + self.aux_weight * self.aux_loss(interaction) if self.aux_weight else loss
