"""LSTM4Rec: the last state of an LSTM over the history, beside all fields, into an MLP.

Source: the baseline of that name in Chen et al., "Recurrent Meta-Learning against Generalized
Cold-Start Problem in CTR Prediction", MM 2022, which gives no sizes.
Shape letters as in ``_sequence.py``.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_cold.backbone._base import head
from recbole_cold.backbone._sequence import SequenceModel, last_state
from recbole_cold.device import in_float32
from recbole_cold.keys import DROPOUT, HIDDEN


@in_float32  # not every processor's LSTM takes bfloat16
def outputs(x_bnd: Tensor, lstm: nn.LSTM) -> Tensor:
    """The hidden states at all places: [b, n, D]."""
    return lstm(x_bnd)[0]


class LSTM4Rec(SequenceModel):
    """``MLP([E; h])``: all fields E, the last hidden state h of an LSTM, D wide."""

    paper = "a baseline of Chen et al., MM 2022"
    year = 2022
    once_per_batch = ("state",)
    keys: ClassVar = (
        HIDDEN,
        DROPOUT,
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size = self.element_width
        width = self.num_feature_field * self.embedding_size + size
        self.lstm = nn.LSTM(size, size, batch_first=True)  # keeps torch's initialisation
        self.mlp = head([width, *config["mlp_hidden_size"]], config["dropout_prob"])
        self.apply(self._init_weights)

    def state(self, interaction) -> Tensor:
        """The hidden state after the last row of each history: [b, D], zero without one."""
        x_bnd, length_b = self.history(interaction)
        return last_state(outputs(x_bnd, self.lstm), length_b)

    def forward(self, interaction) -> Tensor:
        fields_bfd = self.concat_embed_input_fields(interaction)
        h_bd = self.state(interaction)
        h_bd = h_bd * self.kept(h_bd)
        return self.mlp(torch.cat([fields_bfd.flatten(1), h_bd], dim=1)).squeeze(-1)
