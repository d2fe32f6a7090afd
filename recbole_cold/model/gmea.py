"""GME-A: attend to the side information of the old items that are most like the new one.

Source: Ouyang et al., "Learning Graph Meta Embeddings for Cold-Start Ads in CTR Prediction", SIGIR
2021, arXiv 2105.08909.
"""

from typing import ClassVar

from torch import nn

from recbole_cold.keys import SIZE, Key
from recbole_cold.kinds import optional
from recbole_cold.model._gme import GME, FromAttributes


class GMEA(GME):
    """``phi_i = gamma tanh(ELU(sum_k beta_k k W) W_m)`` with the keys s_j of neighbours and s_i.

    The query is s_i, the item's side information.
    """

    keys: ClassVar = (Key("gme_hidden_size", optional(SIZE)),)

    def make_generator(self, side: int) -> nn.Module:
        # The release has 30 for the three attributes of MovieLens-1M.
        hidden = self.config["gme_hidden_size"] or 10 * max(len(self.attribute_columns()), 1)
        gamma, mask = self.config["gme_gamma"], self.config["gme_mask_padding"]
        return FromAttributes(side, hidden, self.embedding_size, gamma, mask)
