"""Basic: embeddings of all fields into an MLP, the plainest deep click model.

Source: the backbone named "Basic" of the recurrent meta-learning paper's comparison; it gives no
layer sizes. RecBole's FNN is the same network with tanh and dropout.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_cold.backbone._base import head
from recbole_cold.backbone._sequence import SequenceModel, mean_of
from recbole_cold.keys import DROPOUT, HIDDEN, Key
from recbole_cold.kinds import one_of


class Basic(SequenceModel):
    """``MLP(flatten(E))``: no first-order part, no interactions but the MLP's own.

    With ``basic_history: mean`` the mean of the history's elements stands beside E.
    """

    paper = "embeddings and an MLP, no paper of its own"
    reads_histories = False
    keys: ClassVar = (
        HIDDEN,
        DROPOUT,
        Key("basic_history", one_of("none", "mean")),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        width = self.num_feature_field * self.embedding_size
        if self.element_fields:
            width += self.element_width
        self.mlp = head([width, *config["mlp_hidden_size"]], config["dropout_prob"])
        self.apply(self._init_weights)

    @classmethod
    def needs_histories(cls, config: Any) -> bool:
        """Whether the mean of the history is asked for."""
        return config["basic_history"] == "mean"

    def forward(self, interaction) -> Tensor:
        flat = self.concat_embed_input_fields(interaction).flatten(1)
        if self.element_fields:
            x_bnd, length_b = self.history(interaction)
            flat = torch.cat([flat, mean_of(x_bnd, length_b) * self.kept(length_b)], dim=1)
        return self.mlp(flat).squeeze(-1)
