"""GME-G: attend to the generated ID vectors of the old items that are most like the new one.

Source: Ouyang et al., "Learning Graph Meta Embeddings for Cold-Start Ads in CTR Prediction", SIGIR
2021, arXiv 2105.08909.
"""

from torch import nn

from recbole_cold.model._gme import GME, FromVectors


class GMEG(GME):
    """``phi_i = ELU(sum_k beta_k k W)`` with the keys g_j of i's neighbours and g_i itself.

    The query is g_i; all g come from side information by the same generator.
    """

    def make_generator(self, side: int) -> nn.Module:
        gamma, mask = self.config["gme_gamma"], self.config["gme_mask_padding"]
        return FromVectors(side, self.embedding_size, gamma, mask, generated=True)
