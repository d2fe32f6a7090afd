"""GRU4RecCTR: the last state of a GRU over the history, beside all fields, into an MLP.

Source: the backbone "GRU4Rec" of Zhu et al., "Learning to Warm Up Cold Item Embeddings for
Cold-start Recommendation with Meta Scaling and Shifting Networks", SIGIR 2021, after Hidasi et al.,
ICLR 2016. RecBole's GRU4Rec ranks next items by inner products: it reads no side information and
gives no click probability, which is why this one has another name.
Shape letters as in ``_sequence.py``.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_cold.backbone._base import head
from recbole_cold.backbone._sequence import SequenceModel, last_state
from recbole_cold.keys import DROPOUT, HIDDEN


class GRU4RecCTR(SequenceModel):
    """``MLP([E; h; h * q])``: all fields E, the GRU's last state h, the target q, both D wide."""

    paper = "Hidasi et al., ICLR 2016, as a click model in Zhu et al., SIGIR 2021"
    year = 2016
    once_per_batch = ("state",)
    keys: ClassVar = (
        HIDDEN,
        DROPOUT,
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size = self.element_width
        width = self.num_feature_field * self.embedding_size + 2 * size
        self.gru = nn.GRU(size, size, batch_first=True)  # keeps torch's initialisation
        self.mlp = head([width, *config["mlp_hidden_size"]], config["dropout_prob"])
        self.apply(self._init_weights)

    def state(self, interaction) -> Tensor:
        """The GRU's state after the last row of each history: [b, D], zero without one."""
        x_bnd, length_b = self.history(interaction)
        return last_state(self.gru(x_bnd)[0], length_b)

    def forward(self, interaction) -> Tensor:
        fields_bfd = self.concat_embed_input_fields(interaction)
        h_bd = self.state(interaction)
        h_bd = h_bd * self.kept(h_bd)
        q_bd = self.target(fields_bfd)
        return self.mlp(torch.cat([fields_bfd.flatten(1), h_bd, h_bd * q_bd], dim=1)).squeeze(-1)
