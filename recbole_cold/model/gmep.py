"""GME-P: attend to the pre-trained ID vectors of the old items that are most like the new one.

Source: Ouyang et al., "Learning Graph Meta Embeddings for Cold-Start Ads in CTR Prediction", SIGIR
2021, arXiv 2105.08909.
"""

from torch import Tensor, nn

from recbole_cold.model._gme import GME, FromVectors


class GMEP(GME):
    """``phi_i = ELU(sum_k beta_k k W)`` with the keys V_j of i's neighbours and g_i itself.

    The query is g_i, the vector generated from i's side information. V is frozen.
    """

    def make_generator(self, side: int) -> nn.Module:
        gamma, mask = self.config["gme_gamma"], self.config["gme_mask_padding"]
        return FromVectors(side, self.embedding_size, gamma, mask, generated=False)

    def near_rows(self, index_bk: Tensor, side_ns: Tensor) -> Tensor:
        return self.backbone.id_vectors(index_bk).detach()
