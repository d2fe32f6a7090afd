"""Base class of CVAR and AVAEW: ID rows and side information in one latent space.

Shape letters: b rows of a batch, i its items, d embedding size, z latent size.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_cold.model._side_decoder import SideDecoder, uniform_


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


class Autoencoded(NamedTuple):
    """The codes and decoded rows of a batch, once per item.

    Attributes:
        place: the item of each row [b].
        rows: the ID rows to be matched [i, d].
        decoded: rows from the side information [i, d].
        apart: squared distance of an ID row and what its own code is decoded to [i].
        distance: squared 2-Wasserstein distance of the two codes [i].
    """

    place: Tensor
    rows: Tensor
    decoded: Tensor
    apart: Tensor
    distance: Tensor


class VariationalDecoder(SideDecoder):
    """Two encoders, of the ID row and of the side information, share a latent space and a decoder.

    Beside those of ``SideDecoder``, a subclass has the keys ``latent_size`` and ``noise``, the
    spread of drawn latent vectors.
    """

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size, latent = self.embedding_size, self.key("latent_size")
        self.posterior = nn.Linear(size, 2 * latent)
        self.prior = nn.Linear(self.own_side.width, 2 * latent)
        self.decoder = nn.Linear(latent + self.reads_frequency, size)
        uniform_(self.posterior, self.prior, self.decoder)
        self.to(self.device)

    @property
    def reads_frequency(self) -> bool:
        """Whether the decoder reads the item's frequency beside the latent vector."""
        return True

    def module(self) -> list[nn.Module]:
        return [self.own_side, self.posterior, self.prior, self.decoder]

    def encode_side(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [i, z] of the prior of the items ``ids``."""
        mean, log_var = self.prior(self.side(ids)).chunk(2, dim=-1)
        return mean, log_var

    def decode(self, latent_iz: Tensor, ids: Tensor) -> Tensor:
        """ID rows [i, d] from latent vectors, and from the items' frequencies."""
        if self.reads_frequency:
            latent_iz = torch.cat([latent_iz, self.frequency(ids)[:, None]], dim=-1)
        return self.decoder(latent_iz)

    def decoded(self, ids: Tensor) -> Tensor:
        """Rows [i, d] from the mean of the prior: writing back adds no noise."""
        return self.decode(self.encode_side(ids)[0], ids)

    def drawn(self, ids: Tensor) -> Tensor:
        """Rows [i, d] from a draw of the prior, as they are while the module learns."""
        return self.decode(sample(*self.encode_side(ids), self.key("noise")), ids)

    def autoencode(self, interaction) -> Autoencoded:
        """Both codes of the batch's items, and what is decoded from a draw of each."""
        # Once per item of the batch; every row then reads its item's result.
        ids, place = interaction.unique(self.id_field)
        rows, noise = self.target_rows(ids), self.key("noise")
        mean, log_var = self.posterior(rows).chunk(2, dim=-1)
        mean_p, log_var_p = self.encode_side(ids)
        rebuilt = self.decode(sample(mean, log_var, noise), ids)
        decoded = self.decode(sample(mean_p, log_var_p, noise), ids)
        apart = (rebuilt - rows).square().sum(dim=-1)
        return Autoencoded(
            place, rows, decoded, apart, wasserstein(mean, log_var, mean_p, log_var_p)
        )
