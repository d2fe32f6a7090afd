"""DropoutNet: train the backbone to survive a missing item-ID embedding.

Source: Volkovs, Yu, Poutanen, "DropoutNet: Addressing Cold Start in Recommender Systems",
NeurIPS 2017, in the form in which CTR tables use it: while the backbone is trained, the ID
embedding of some rows is replaced by the mean of old items', which a new item is then served with.
Shape letters: b rows of a batch, d embedding size.
"""

from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from recbole_cold.keys import SHARE, Key
from recbole_cold.kinds import one_of
from recbole_cold.model._fit import Fit
from recbole_cold.model._kept_mean import KeptMean
from recbole_cold.model._method import ColdStartRecommender

# Of ID vectors, and of scalar weights where they have a mean.
Kept = tuple[KeptMean, KeptMean | None]


def drop(vector_bd: Tensor, substitute_d: Tensor, dropped_b: Tensor) -> Tensor:
    """``substitute`` where ``dropped``, the row's own vector elsewhere: [b, d]."""
    return torch.where(dropped_b[:, None], substitute_d, vector_bd)


class DropoutNet(ColdStartRecommender):
    """The backbone, pre-trained with item IDs missing at random."""

    paper = "Volkovs et al., NeurIPS 2017"
    year = 2017
    keys: ClassVar = (
        Key("dropoutnet_rate", SHARE),
        Key("dropoutnet_granularity", one_of("row", "batch")),
        Key("dropoutnet_mean", one_of("old", "table")),
        Key("dropoutnet_cold", one_of("mean", "raw")),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.rate = float(config["dropoutnet_rate"])
        self.granularity = config["dropoutnet_granularity"]

    def pretrain_key(self) -> dict:
        if self.rate == 0.0:
            return {}  # the plain backbone, bit for bit
        # The scalar weight of a row without ID is that of a new item.
        keys = ("dropoutnet_mean", "id_first_order")
        return {"DropoutNet": [self.rate, self.granularity, *(self.config[key] for key in keys)]}

    def pretrain_fits(self) -> list[Fit]:
        if not self.rate:
            return [self.pretrain_fit(self.backbone.calculate_loss)]
        fit = self.pretrain_fit(partial(self.dropped_loss, kept=self._kept_means()))
        same = self.rows.histories is None and self.backbone.replayable
        return [replace(fit, capturable=same)]

    def _kept_means(self) -> Kept | None:
        """The means that rows without ID get, for one fit."""
        if self.rows.histories is not None:
            return None  # a history's items move as well
        every = torch.arange(self.n_ids, device=self.device)
        of = every if self.config["dropoutnet_mean"] == "table" else self.old_ids
        vectors = KeptMean(self.backbone.id_vectors, of, self.n_ids)
        if not self.backbone.has_first_order or self.config["id_first_order"] != "mean":
            return vectors, None
        return vectors, KeptMean(self.backbone.id_weights, self.old_ids, self.n_ids)

    def dropped_rows(self, size: int) -> Tensor:
        """Which of ``size`` rows lose their ID: drawn per row, or once for the batch: bool [b]."""
        draws = 1 if self.granularity == "batch" else size
        return (torch.rand(draws, device=self.device) < self.rate).expand(size)

    def substitute(self) -> Tensor:
        """The vector [d] of a row without ID; no gradient reaches the rows it is the mean of."""
        # Released code takes the mean of the whole table, padding and untrained rows included.
        if self.config["dropoutnet_mean"] == "table":
            return self.backbone.id_table().detach().mean(dim=0)
        with torch.no_grad():
            return self.old_mean()

    def _substitutes(self, ids: Tensor, kept: Kept | None) -> tuple[Tensor, Tensor]:
        """Vector [d] and scalar weight [1] of a row without ID, before rows of ``ids`` move."""
        if kept is None or not self.backbone.moves_rows_alone:
            return self.substitute(), self.cold_first_order()
        vectors, weights = kept
        found = vectors.mean(), self.cold_first_order() if weights is None else weights.mean()
        for means in kept:
            if means is not None:
                means.will_move(ids)
        return found

    def dropped_loss(self, interaction, kept: Kept | None = None) -> Tensor:
        """The backbone's own loss of a batch in which some rows have no item ID.

        Args:
            interaction: the batch.
            kept: the means, where each batch of this fit comes through here.
        """
        ids = interaction[self.id_field]
        dropped_b = self.dropped_rows(len(ids))
        substitute_d, substitute_1 = self._substitutes(ids, kept)
        vector_bd = drop(self.backbone.id_vectors(ids), substitute_d, dropped_b)
        first_b1 = self.backbone.id_weights(ids)
        if first_b1 is not None:
            first_b1 = drop(first_b1, substitute_1, dropped_b)
        with self.backbone.item_slot(vector_bd, first_b1):
            return self.backbone.calculate_loss(interaction)

    def cold_vectors(self) -> Tensor:
        """The substitute that the backbone was trained with; ``raw``: untouched rows (released)."""
        if self.config["dropoutnet_cold"] == "raw":
            return super().cold_vectors()
        return self.substitute().expand(len(self.new_ids), -1).clone()
