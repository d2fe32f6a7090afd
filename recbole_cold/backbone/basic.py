"""Basic: embeddings of all fields into an MLP, the plainest deep click model.

Source: the backbone named "Basic" of the recurrent meta-learning paper's comparison; it gives no
layer sizes. RecBole's FNN is the same network with tanh and dropout.
"""

from typing import ClassVar

from torch import Tensor

from recbole_cold.backbone._base import ClickModel, head
from recbole_cold.keys import DROPOUT, HIDDEN


class Basic(ClickModel):
    """``MLP(flatten(E))``: no first-order part, no interactions but the MLP's own."""

    paper = "embeddings and an MLP, no paper of its own"
    keys: ClassVar = (
        HIDDEN,
        DROPOUT,
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        width = self.num_feature_field * self.embedding_size
        self.mlp = head([width, *config["mlp_hidden_size"]], config["dropout_prob"])
        self.apply(self._init_weights)

    def forward(self, interaction) -> Tensor:
        return self.mlp(self.concat_embed_input_fields(interaction).flatten(1)).squeeze(-1)
