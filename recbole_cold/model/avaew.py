"""AVAEW: an ID row decoded from side information that a classifier cannot tell from a real one.

Source: Zhang et al., "Item Cold Start Recommendation via Adversarial Variational Auto-encoder
Warm-up", 2023, arXiv 2302.14395. No code was released; what the paper leaves open is said in the
yaml.
Shape letters: b rows or items, d embedding size, h hidden size of the classifier.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.device import whole
from recbole_cold.keys import COUNT, EPOCHS, SHARE, SIZE, WEIGHT, Key
from recbole_cold.kinds import flag, number, one_of
from recbole_cold.model._fit import Step
from recbole_cold.model._vae import Items, VariationalDecoder, mean_of


def classifier_losses(
    real_b: Tensor, fake_b: Tensor, share_b: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``mean softplus(-G(r))`` and ``mean softplus(G(v))`` of the logits G (eq. 8)."""
    return F.softplus(-real_b).mean(), mean_of(F.softplus(fake_b), share_b)


def mean_match(real_bh: Tensor, fake_bh: Tensor, share_b: Tensor | None = None) -> Tensor:
    """Squared distance of the batch means (eq. 9)."""
    return (real_bh.mean(dim=0) - mean_of(fake_bh, share_b)).square().sum()


def pair_match(real_bh: Tensor, fake_bh: Tensor, share_b: Tensor | None = None) -> Tensor:
    """Mean squared distance of pairs (eq. 10)."""
    return mean_of((real_bh - fake_bh).square().sum(dim=1), share_b)


class Classifier(nn.Module):
    """Tells real ID rows from decoded ones; its hidden activations are the features matched."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(size, hidden), nn.Linear(hidden, 1)

    def features(self, vector_bd: Tensor) -> Tensor:
        """f_G: the last hidden activations [b, h]."""
        return whole(F.leaky_relu(self.hidden(vector_bd), 0.2))

    def forward(self, vector_bd: Tensor) -> Tensor:
        """Logits [b] that the vectors are real."""
        return whole(self.out(self.features(vector_bd))).squeeze(-1)


class AVAEW(VariationalDecoder):
    """CVAR's encoders and decoder, trained in turns with a classifier of ID rows.

    The decoder is to match the classifier's features of real rows, in the mean of the batch and
    item by item. The classifier learns to tell the rows of old items from decoded ones.
    """

    paper = "Zhang et al., 2023 (arXiv 2302.14395)"
    year = 2023
    prefix = "avaew"
    keys: ClassVar = (
        Key("avaew_latent_size", SIZE),
        Key("avaew_classifier_size", SIZE),
        Key("avaew_iters", COUNT),
        Key("avaew_epochs", EPOCHS),
        Key("avaew_warm_epochs", EPOCHS),
        Key("avaew_warm", one_of("overwrite", "init_only")),
        Key("avaew_noise", number(least=0)),
        Key("avaew_reconstruction", WEIGHT),
        Key("avaew_beta", WEIGHT),
        Key("avaew_match_mean", WEIGHT),
        Key("avaew_match_pair", WEIGHT),
        Key("avaew_use_count", flag()),
        Key("avaew_own_id", flag()),
        Key("avaew_id_dropout", SHARE),
    )
    losses = ("prediction", "reconstruction", "Wasserstein", "mean match", "pair match")

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.classifier = Classifier(self.embedding_size, config["avaew_classifier_size"])
        self.to(self.device)

    @property
    def reads_frequency(self) -> bool:
        return bool(self.config["avaew_use_count"])

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

    def real_rows(self, size: int) -> Tensor:
        """Rows of old items drawn uniformly: [size, d]; a warm-up set has none of its own."""
        pick = torch.randint(len(self.old_ids), (size,), device=self.device)
        return self.backbone.id_vectors(self.old_ids[pick]).detach()

    # ---------------------------------------------------------------- losses
    def calculate_loss(self, interaction) -> tuple[Tensor, ...]:
        """The parts of eq. 11, each a mean over the batch's rows, weighted."""
        made = self.autoencode(interaction)
        items = made.items
        logits = self.decoded_logits(interaction, lookup(made.decoded, items.place))
        return (
            self.loss(logits, interaction),
            self.key("reconstruction") * mean_of(made.apart, items.share),
            self.key("beta") * mean_of(made.distance, items.share),
            *self.matches(items, made.decoded),
        )

    def matches(self, items: Items, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Both feature matching terms of the items' rows, weighted by their rows in the batch."""
        features, share = self.classifier.features, items.share
        with torch.no_grad():  # of these rows nothing moves in the decoder's step
            real, own = features(self.real_rows(len(items.place))), features(items.rows)
        fake = features(decoded)
        by_mean, by_pair = mean_match(real, fake, share), pair_match(own, fake, share)
        return self.key("match_mean") * by_mean, self.key("match_pair") * by_pair

    def classifier_loss(self, interaction) -> tuple[Tensor, Tensor]:
        """What the classifier makes of real rows, and of decoded ones (eq. 8)."""
        items = self.items_of(interaction)
        with torch.no_grad():
            decoded = self.drawn(interaction)
        real = self.classifier(self.real_rows(len(items.place)))
        return classifier_losses(real, self.classifier(decoded), items.share)
