"""AVAEW: an ID row decoded from side information that a classifier cannot tell from a real one.

Source: Zhang et al., "Item Cold Start Recommendation via Adversarial Variational Auto-encoder
Warm-up", 2023, arXiv 2302.14395. No code was released; what the paper leaves open is said in the
yaml.
Shape letters: b rows or items, d embedding size, z latent size, h hidden size of the classifier.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.model._base import Step
from recbole_cold.model._shortcuts import lookup
from recbole_cold.model._side_decoder import Passes, SideDecoder, uniform_
from recbole_cold.model.cvar import sample, wasserstein


def classifier_losses(real_b: Tensor, fake_b: Tensor) -> tuple[Tensor, Tensor]:
    """``mean softplus(-G(r))`` and ``mean softplus(G(v))`` of the logits G (eq. 8)."""
    return F.softplus(-real_b).mean(), F.softplus(fake_b).mean()


def mean_match(real_bh: Tensor, fake_bh: Tensor) -> Tensor:
    """Squared distance of the batch means (eq. 9)."""
    return (real_bh.mean(dim=0) - fake_bh.mean(dim=0)).square().sum()


def pair_match(real_bh: Tensor, fake_bh: Tensor) -> Tensor:
    """Mean squared distance of pairs (eq. 10)."""
    return (real_bh - fake_bh).square().sum(dim=1).mean()


class Classifier(nn.Module):
    """Tells real ID rows from decoded ones; its hidden activations are the features matched."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(size, hidden), nn.Linear(hidden, 1)

    def features(self, vector_bd: Tensor) -> Tensor:
        """f_G: the last hidden activations [b, h]."""
        return F.leaky_relu(self.hidden(vector_bd), 0.2)

    def forward(self, vector_bd: Tensor) -> Tensor:
        """Logits [b] that the vectors are real."""
        return self.out(self.features(vector_bd)).squeeze(-1)


class AVAEW(SideDecoder):
    """CVAR's encoders and decoder, trained in turns with a classifier of ID rows.

    The decoder is to match the classifier's features of real rows, in the mean of the batch and
    item by item. The classifier learns to tell the rows of old items from decoded ones.
    """

    paper = "Zhang et al., 2023 (arXiv 2302.14395)"
    year = 2023
    choices: ClassVar = {"avaew_warm": ("overwrite", "init_only")}
    losses = ("prediction", "reconstruction", "Wasserstein", "mean match", "pair match")

    def __init__(self, config, dataset) -> None:
        passes = Passes(
            config["avaew_epochs"],
            config["avaew_warm_epochs"],
            config["avaew_iters"],
            config["avaew_warm"] == "overwrite",
        )
        own_id, id_dropout = config["avaew_own_id"], config["avaew_id_dropout"]
        super().__init__(config, dataset, own_id, id_dropout, passes)
        size, latent = self.embedding_size, config["avaew_latent_size"]
        self.posterior = nn.Linear(size, 2 * latent)
        self.prior = nn.Linear(self.own_side.width, 2 * latent)
        self.decoder = nn.Linear(latent + bool(config["avaew_use_count"]), size)
        uniform_(self.posterior, self.prior, self.decoder)
        self.classifier = Classifier(size, config["avaew_classifier_size"])
        self.to(self.device)

    def module(self) -> list[nn.Module]:
        return [self.own_side, self.posterior, self.prior, self.decoder]

    def trainable(self, stage: str) -> list[nn.Parameter]:
        both = [*self.module_parameters(), *self.classifier.parameters()]
        return both if stage == "learn" else super().trainable(stage)

    def module_steps(self) -> list[Step]:
        """First what decodes, by the classifier as it is; then the classifier, by what it gets."""
        classifier = list(self.classifier.parameters())
        return [
            self.module_step(self.calculate_loss, self.module_parameters(), self.losses),
            self.module_step(self.classifier_loss, classifier, ("of real rows", "of decoded rows")),
        ]

    # ---------------------------------------------------------------- the module
    def encode_side(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [b, z] of the prior of the items ``ids``."""
        mean, log_var = self.prior(self.side(ids)).chunk(2, dim=-1)
        return mean, log_var

    def decode(self, latent_bz: Tensor, ids: Tensor) -> Tensor:
        """ID rows [b, d] from latent vectors (eq. 3, 5)."""
        if self.config["avaew_use_count"]:
            latent_bz = torch.cat([latent_bz, self.frequency()[ids][:, None]], dim=-1)
        return self.decoder(latent_bz)

    def decoded(self, ids: Tensor) -> Tensor:
        """Rows [b, d] from the mean of the prior: writing back adds no noise."""
        return self.decode(self.encode_side(ids)[0], ids)

    def real_rows(self, size: int) -> Tensor:
        """Rows of old items drawn uniformly: [size, d]; a warm-up set has none of its own."""
        pick = torch.randint(len(self.old_ids), (size,), device=self.device)
        return self.backbone.id_rows().detach()[self.old_ids[pick]]

    # ---------------------------------------------------------------- losses
    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        """The parts of eq. 11, each a mean over the batch's rows, weighted."""
        noise = self.config["avaew_noise"]
        # Once per item of the batch; every row then reads its item's result.
        ids, place = interaction.unique(self.id_field)
        rows = self.target_rows(ids)
        mean, log_var = self.posterior(rows).chunk(2, dim=-1)
        mean_p, log_var_p = self.encode_side(ids)
        rebuilt = self.decode(sample(mean, log_var, noise), ids)
        decoded = self.decode(sample(mean_p, log_var_p, noise), ids)
        logits = self.decoded_logits(interaction, lookup(decoded, place))
        apart = (rebuilt - rows).square().sum(dim=-1)
        distance = wasserstein(mean, log_var, mean_p, log_var_p)
        return (
            self.loss(logits, interaction),
            self.config["avaew_reconstruction"] * apart[place].mean(),
            self.config["avaew_beta"] * distance[place].mean(),
            *self.matches(rows, decoded, place),
        )

    def matches(self, rows: Tensor, decoded: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Both feature matching terms of the items' rows, weighted by their rows in the batch."""
        features = self.classifier.features
        fake = features(decoded)[place]
        by_mean = mean_match(features(self.real_rows(len(place))), fake)
        by_pair = pair_match(features(rows)[place], fake)
        return self.config["avaew_match_mean"] * by_mean, self.config["avaew_match_pair"] * by_pair

    def classifier_loss(self, interaction) -> tuple[Tensor, Tensor]:
        """What the classifier makes of real rows, and of decoded ones (eq. 8)."""
        ids, place = interaction.unique(self.id_field)
        with torch.no_grad():
            mean, log_var = self.encode_side(ids)
            decoded = self.decode(sample(mean, log_var, self.config["avaew_noise"]), ids)
        real = self.classifier(self.real_rows(len(place)))
        return classifier_losses(real, self.classifier(decoded)[place])
