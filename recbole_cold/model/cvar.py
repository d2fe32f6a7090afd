"""CVAR: decode an ID embedding from side information through the latent space of ID embeddings.

Source: Zhao et al., "Improving Item Cold-start Recommendation via Model-agnostic Conditional
Variational Autoencoder", SIGIR 2022, arXiv 2205.13795.
Shape letters: b rows or items, d embedding size, z latent size, s side information.
"""

from typing import ClassVar

import torch
from recbole.utils import FeatureType
from torch import Tensor, nn

from recbole_cold.errors import UserError
from recbole_cold.model._base import ColdStartRecommender, Fit, Step
from recbole_cold.model._layers import OwnSide
from recbole_cold.model._shortcuts import lookup


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


class CVAR(ColdStartRecommender):
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
        super().__init__(config, dataset)
        size, latent = self.embedding_size, config["cvar_latent_size"]
        features = self.rows.features_of(self.id_field)
        self.own_side = OwnSide(
            features,
            [field for field in self.backbone.side_fields if field in features],
            {
                field: dataset.num(field)
                for field in features
                if dataset.field2type[field] != FeatureType.FLOAT
            },
            size,
            self.n_ids if config["cvar_own_id"] else None,
            config["pooling"],
        )
        if self.own_side.width == 0:
            raise UserError(
                "CVAR has nothing to decode from: the data set has no side information and "
                "cvar_own_id is off; turn it on or list feature fields under load_col"
            )
        self.posterior = nn.Linear(size, 2 * latent)
        self.prior = nn.Linear(self.own_side.width, 2 * latent)
        self.decoder = nn.Linear(latent + 1, size)
        with torch.no_grad():
            for layer in (self.posterior, self.prior, self.decoder):
                for parameter in layer.parameters():
                    parameter.uniform_(-0.01, 0.01)
        self.to(self.device)

    def module_parameters(self) -> list[nn.Parameter]:
        parts = (self.own_side, self.posterior, self.prior, self.decoder)
        return [parameter for part in parts for parameter in part.parameters()]

    def trainable(self, stage: str) -> list[nn.Parameter]:
        return self.module_parameters() if stage == "learn" else super().trainable(stage)

    # ---------------------------------------------------------------- the module
    def encode_side(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [b, z] of the prior of the items ``ids``."""
        side_bs = self.own_side(ids, self.config["cvar_id_dropout"])
        mean, log_var = self.prior(side_bs).chunk(2, dim=-1)
        return mean, log_var

    def decode(self, latent_bz: Tensor, ids: Tensor) -> Tensor:
        """ID rows [b, d] from latent vectors and the items' frequencies."""
        return self.decoder(torch.cat([latent_bz, self.frequency()[ids][:, None]], dim=-1))

    def target_rows(self, ids: Tensor) -> Tensor:
        """The rows to be matched, as they are now; nothing here moves them: [b, d]."""
        return self._served(ids, self.new_rows, self.backbone.id_rows()).detach()

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

    def decoded_logits(self, interaction, vector_bd: Tensor) -> Tensor:
        """Logits [b]: cold scalar weights while old items play new ones, own ones afterwards."""
        if not bool(self.cold_entered):
            return self.cold_logits(interaction, vector_bd)
        first = self.first_order_of(interaction[self.id_field])
        return self.backbone.logits(interaction, vector_bd, first)

    # ---------------------------------------------------------------- stages
    def _module_fit(self, index: Tensor, name: str, epochs: int, after=None) -> Fit:
        step = Step(
            self.calculate_loss,
            self.module_parameters(),
            self.config["learning_rate"],
            self.config["weight_decay"],
        )
        mode = "train" if self.config["batch_norm"] == "moving" else "eval"
        repeats = self.config["cvar_iters"]
        return Fit(name, [step], self.row_batches(index), epochs, repeats, mode, after)

    def learn_fits(self) -> list[Fit]:
        return [self._module_fit(self.train_index, "learn", self.config["cvar_epochs"])]

    @torch.no_grad()
    def cold_rows(self) -> Tensor:
        """Decoded from the mean of the prior: writing back adds no noise and drops no ID."""
        training = self.own_side.training
        self.own_side.eval()
        rows = self.decode(self.encode_side(self.new_ids)[0], self.new_ids)
        self.own_side.train(training)
        return rows

    def warm_fits(self, index: Tensor) -> list[Fit]:
        fits = super().warm_fits(index)
        if self.config["cvar_warm"] == "init_only":
            return fits
        epochs = self.config["cvar_warm_epochs"]
        return [*fits, self._module_fit(index, "decode", epochs, self._serve)]

    @torch.no_grad()
    def _serve(self) -> None:
        self.new_rows.copy_(self.cold_rows())
