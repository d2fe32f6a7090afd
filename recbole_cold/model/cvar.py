"""CVAR: decode an ID embedding from side information through the latent space of ID embeddings.

Source: Zhao et al., "Improving Item Cold-start Recommendation via Model-agnostic Conditional
Variational Autoencoder", SIGIR 2022, arXiv 2205.13795.
Shape letters: b rows or items, d embedding size, z latent size, s side information.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_cold.model._shortcuts import lookup
from recbole_cold.model._side_decoder import Passes, SideDecoder, uniform_


def wasserstein(mean: Tensor, log_var: Tensor, mean_p: Tensor, log_var_p: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of diagonal Gaussians: [b].

    ``||m - m'||^2 + ||s - s'||^2`` with the standard deviations ``s = exp(log_var / 2)``, whose
    gradient stays finite as s goes to zero.
    """
    spread = torch.exp(log_var / 2) - torch.exp(log_var_p / 2)
    return (mean - mean_p).square().sum(dim=-1) + spread.square().sum(dim=-1)


def sample(mean: Tensor, log_var: Tensor, noise: float) -> Tensor:
    """``mean + noise * exp(log_var / 2) * xi`` with standard normal xi."""
    if noise == 0.0:
        return mean
    return mean + noise * torch.exp(log_var / 2) * torch.randn_like(mean)


class CVAR(SideDecoder):
    """Two encoders, of the ID row and of the side information, share a latent space and a decoder.

    The decoder reads the latent vector and the item's frequency. New items are served with the row
    decoded from their side information; after each warm phase the module learns on with the
    fine-tuned rows as targets and the rows are decoded again. ``cvar_warm: init_only`` is the
    paper's initialisation-only form: decoded once, then fine-tuned.
    """

    paper = "Zhao et al., SIGIR 2022"
    year = 2022
    choices: ClassVar = {
        "cvar_warm": ("overwrite", "init_only"),
    }

    def __init__(self, config, dataset) -> None:
        passes = Passes(
            config["cvar_epochs"],
            config["cvar_warm_epochs"],
            config["cvar_iters"],
            config["cvar_warm"] == "overwrite",
        )
        own_id, id_dropout = config["cvar_own_id"], config["cvar_id_dropout"]
        super().__init__(config, dataset, own_id, id_dropout, passes)
        size, latent = self.embedding_size, config["cvar_latent_size"]
        self.posterior = nn.Linear(size, 2 * latent)
        self.prior = nn.Linear(self.own_side.width, 2 * latent)
        self.decoder = nn.Linear(latent + 1, size)
        uniform_(self.posterior, self.prior, self.decoder)
        self.to(self.device)

    def module(self) -> list[nn.Module]:
        return [self.own_side, self.posterior, self.prior, self.decoder]

    # ---------------------------------------------------------------- the module
    def encode_side(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [b, z] of the prior of the items ``ids``."""
        mean, log_var = self.prior(self.side(ids)).chunk(2, dim=-1)
        return mean, log_var

    def decode(self, latent_bz: Tensor, ids: Tensor) -> Tensor:
        """ID rows [b, d] from latent vectors and the items' frequencies."""
        return self.decoder(torch.cat([latent_bz, self.frequency()[ids][:, None]], dim=-1))

    def decoded(self, ids: Tensor) -> Tensor:
        """Rows [b, d] from the mean of the prior: writing back adds no noise."""
        return self.decode(self.encode_side(ids)[0], ids)

    def calculate_loss(self, interaction) -> Tensor:
        """Prediction + reconstruction + beta * W2, each a mean over the batch's rows."""
        noise = self.config["cvar_noise"]
        # Once per item of the batch; every row then reads its item's result.
        ids, place = interaction.unique(self.id_field)
        rows = self.target_rows(ids)
        mean, log_var = self.posterior(rows).chunk(2, dim=-1)
        mean_p, log_var_p = self.encode_side(ids)
        rebuilt = self.decode(sample(mean, log_var, noise), ids)
        decoded = self.decode(sample(mean_p, log_var_p, noise), ids)
        apart = (rebuilt - rows).square().sum(dim=-1)
        apart = self.config["cvar_reconstruction"] * apart
        apart = apart + self.config["cvar_beta"] * wasserstein(mean, log_var, mean_p, log_var_p)
        logits = self.decoded_logits(interaction, lookup(decoded, place))
        return self.loss(logits, interaction) + apart.index_select(0, place).mean()
