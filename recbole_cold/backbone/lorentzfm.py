"""LorentzFM: every pair of fields by how far it violates a triangle inequality in Lorentz space.

Source: Xu and Wu, "Learning Feature Interactions with Lorentzian Factorization Machine", AAAI 2020.
Shape letters: b rows of a batch, f fields, d embedding size.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_cold.backbone._base import ClickModel
from recbole_cold.keys import Key
from recbole_cold.kinds import flag, number


def lorentz_sum(field_bfd: Tensor) -> Tensor:
    """Sum of ``(1 - <u, v>_L - u0 - v0) / (u0 v0)`` over all pairs of fields: [b].

    With ``u0 = sqrt(1 + |u|^2)`` and ``<u, v>_L = u.v - u0 v0`` a pair is
    ``((u0 - 1)(v0 - 1) - u.v) / (u0 v0)``: a product of ``q = (u0 - 1) / u0`` less one of
    ``p = u / u0``. So all pairs together take two sums over the fields, as in FM, and a vector of
    zeros adds exactly nothing.
    """
    square_bf = field_bfd.square().sum(dim=-1)
    time_bf = torch.sqrt(1.0 + square_bf)
    q_bf = square_bf / ((1.0 + time_bf) * time_bf)  # u0 - 1 without cancellation
    p_bfd = field_bfd / time_bf[..., None]
    inside = q_bf.sum(dim=-1).square() - q_bf.square().sum(dim=-1)
    outside = p_bfd.sum(dim=-2).square() - p_bfd.square().sum(dim=-2)
    return 0.5 * (inside - outside.sum(dim=-1))


class LorentzFM(ClickModel):
    """The sum over pairs is the logit: no first-order weights, no network, by default no bias."""

    paper = "Xu and Wu, AAAI 2020"
    year = 2020
    keys: ClassVar = (
        Key("init_std", number(above=0)),
        Key("output_bias", flag()),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.init_std = config["init_std"]
        # Without it no sum of bounded pairs can say that clicks are rare.
        self.bias = nn.Parameter(torch.zeros(1)) if config["output_bias"] else None
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.init_std)

    def forward(self, interaction) -> Tensor:
        logits = lorentz_sum(self.concat_embed_input_fields(interaction))
        return logits if self.bias is None else logits + self.bias
