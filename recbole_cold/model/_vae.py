"""Base class of CVAR and AVAEW: ID rows and side information in one latent space.

Shape letters: b rows of a batch, i its items, d embedding size, z latent size.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbole_cold.backbone._shortcuts import remember
from recbole_cold.device import in_float32, whole
from recbole_cold.model._side_decoder import SideDecoder, uniform_


def deviation(log_var: Tensor) -> Tensor:
    """``exp(log_var / 2)``, whose gradient stays finite as it goes to zero."""
    return torch.exp(log_var / 2)


def wasserstein(mean: Tensor, spread: Tensor, mean_p: Tensor, spread_p: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of diagonal Gaussians by means and deviations: [b].

    ``||m - m'||^2 + ||s - s'||^2``.
    """
    apart = (mean - mean_p).square().sum(dim=-1)
    return apart + (spread - spread_p).square().sum(dim=-1)


def sample(mean: Tensor, spread: Tensor, noise: float) -> Tensor:
    """``mean + noise * spread * xi`` with standard normal xi."""
    if noise == 0.0:
        return mean
    return torch.addcmul(mean, spread, torch.randn_like(mean), value=noise)


@in_float32
def mean_of(value: Tensor, share_b: Tensor | None) -> Tensor:
    """The mean over b, or, of values that stand for several rows each, by their shares [b] of all
    rows."""
    return value.mean(dim=0) if share_b is None else share_b @ value


class Items(NamedTuple):
    """What the items of a batch are while it is used, each once; no gradient moves it.

    Attributes:
        ids: [i].
        place: the item of each row [b].
        share: the share of the batch's rows that an item has [i]; sums by it are means over rows.
        rows: the ID rows to be matched [i, d].
        frequency: what the decoder reads beside the latent vector [i, 1], if it does.
    """

    ids: Tensor
    place: Tensor
    share: Tensor
    rows: Tensor
    frequency: Tensor | None


class Autoencoded(NamedTuple):
    """The codes and decoded rows of a batch, once per item.

    Attributes:
        items: the batch's.
        decoded: rows from the side information [i, d].
        apart: squared distance of an ID row and what its own code is decoded to [i].
        distance: squared 2-Wasserstein distance of the two codes [i].
    """

    items: Items
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

    def items_of(self, interaction) -> Items:
        """The batch's items; found once, however often it is used in a row."""

        def compute() -> Items:
            ids, place = interaction.unique(self.id_field)
            rows = self.target_rows(ids)
            counted = torch.zeros_like(ids).index_add(0, place, torch.ones_like(place))
            share = counted.to(rows.dtype) / len(place)
            return Items(ids, place, share, rows, self.frequency_read(ids))

        found: Items = remember(interaction, (self, "items"), compute)
        return found

    def frequency_read(self, ids: Tensor) -> Tensor | None:
        """Frequencies [i, 1] of the items ``ids``, if the decoder reads them."""
        return self.frequency(ids)[:, None] if self.reads_frequency else None

    def encode_side(self, ids: Tensor, interaction: Any = None) -> tuple[Tensor, Tensor]:
        """Mean and deviation [i, z] of the prior of the items ``ids``, all those of a batch if it
        is given."""
        mean, log_var = whole(self.prior(self.side(ids, interaction))).chunk(2, dim=-1)
        return mean, deviation(log_var)

    def decode(self, latent_iz: Tensor, frequency_i1: Tensor | None) -> Tensor:
        """ID rows [i, d] from latent vectors, and from the items' frequencies."""
        if frequency_i1 is not None:
            latent_iz = torch.cat([latent_iz, frequency_i1], dim=-1)
        return whole(self.decoder(latent_iz))

    def decoded(self, ids: Tensor) -> Tensor:
        """Rows [i, d] from the mean of the prior: writing back adds no noise."""
        return self.decode(self.encode_side(ids)[0], self.frequency_read(ids))

    def drawn(self, interaction) -> Tensor:
        """Rows [i, d] of a batch's items from a draw of the prior, as they are while the module
        learns."""
        items = self.items_of(interaction)
        latent_iz = sample(*self.encode_side(items.ids, interaction), self.key("noise"))
        return self.decode(latent_iz, items.frequency)

    def autoencode(self, interaction) -> Autoencoded:
        """Both codes of the batch's items, and what is decoded from a draw of each."""
        # Once per item of the batch; every row then reads its item's result.
        items, noise = self.items_of(interaction), self.key("noise")
        mean, log_var = whole(self.posterior(items.rows)).chunk(2, dim=-1)
        code = mean, deviation(log_var)
        code_p = self.encode_side(items.ids, interaction)
        rebuilt = self.decode(sample(*code, noise), items.frequency)
        decoded = self.decode(sample(*code_p, noise), items.frequency)
        apart = (rebuilt - items.rows).square().sum(dim=-1)
        return Autoencoded(items, decoded, apart, wasserstein(*code, *code_p))
