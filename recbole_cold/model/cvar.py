"""CVAR: decode an ID embedding from side information through the latent space of ID embeddings.

Source: Zhao et al., "Improving Item Cold-start Recommendation via Model-agnostic Conditional
Variational Autoencoder", SIGIR 2022, arXiv 2205.13795.
"""

from typing import ClassVar

from torch import Tensor

from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.keys import COUNT, EPOCHS, SHARE, SIZE, WEIGHT, Key
from recbole_cold.kinds import flag, number, one_of
from recbole_cold.model._vae import VariationalDecoder, mean_of


class CVAR(VariationalDecoder):
    """Two encoders, of the ID row and of the side information, share a latent space and a decoder.

    The decoder reads the latent vector and the item's frequency. New items are served with the row
    decoded from their side information; after each warm phase the module learns on with the
    fine-tuned rows as targets and the rows are decoded again. ``cvar_warm: init_only`` is the
    paper's initialisation-only form: decoded once, then fine-tuned.
    """

    paper = "Zhao et al., SIGIR 2022"
    year = 2022
    prefix = "cvar"
    keys: ClassVar = (
        Key("cvar_latent_size", SIZE),
        Key("cvar_iters", COUNT),
        Key("cvar_epochs", EPOCHS),
        Key("cvar_warm_epochs", EPOCHS),
        Key("cvar_warm", one_of("overwrite", "init_only")),
        Key("cvar_noise", number(least=0)),
        Key("cvar_reconstruction", WEIGHT),
        Key("cvar_beta", WEIGHT),
        Key("cvar_own_id", flag()),
        Key("cvar_id_dropout", SHARE),
    )

    def calculate_loss(self, interaction) -> Tensor:
        """Prediction + reconstruction + beta * W2, each a mean over the batch's rows."""
        made = self.autoencode(interaction)
        apart = self.key("reconstruction") * made.apart + self.key("beta") * made.distance
        logits = self.decoded_logits(interaction, lookup(made.decoded, made.items.place))
        return self.loss(logits, interaction) + mean_of(apart, made.items.share)
