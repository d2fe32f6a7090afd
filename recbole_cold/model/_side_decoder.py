"""Base class of CVAR, AVAEW and CSDM: ID rows decoded from side information in each phase.

New items are served with what is decoded from their side information. In a warm phase their rows
are fine-tuned, then the module learns on with these rows as targets, and the rows are decoded anew.
Shape letters: b rows or items, d embedding size, s side information.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from recbole.utils import FeatureType
from torch import Tensor, nn

from recbole_cold.backbone._modes import evaluating
from recbole_cold.backbone._shortcuts import remember
from recbole_cold.errors import UserError
from recbole_cold.model._content import mean_where_bare, without_content
from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._layers import OwnSide
from recbole_cold.model._method import ColdStartRecommender, Untouched
from recbole_cold.model._token_rows import TokenRows


class SideDecoder(ColdStartRecommender):
    """The stages around a module that decodes ID rows; a subclass brings the module.

    A subclass has these keys, each behind its ``prefix``:

    * ``own_id``: whether a private ID table is part of the side information;
    * ``id_dropout``: probability that an item's private ID is hidden in a batch while learning;
    * ``epochs``, ``warm_epochs``: passes over the rows of old items, and over a warm-up set after
      fine-tuning;
    * ``iters``: how often each batch is used in a row;
    * ``warm``: ``overwrite``: the module learns on in warm phases and rows are decoded again;
      ``init_only``: it only initialises, and the phases are plain fine-tuning.
    """

    prefix: ClassVar[str]

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        features = self.rows.features_of(self.id_field)
        self.own_side = OwnSide(
            features,
            [field for field in self.backbone.side_fields if field in features],
            {
                field: dataset.num(field)
                for field in features
                if dataset.field2type[field] != FeatureType.FLOAT
            },
            self.embedding_size,
            self.n_ids if self.key("own_id") else None,
            config["pooling"],
            dataset.unseen,
            self.rows.scaled_vectors(dataset),
        )
        if self.own_side.width == 0:
            raise UserError(
                f"{type(self).__name__} has nothing to decode from: the data set has no side "
                "information and its private ID table (own_id) is off; turn it on or list feature "
                "fields under load_col"
            )

    # ---------------------------------------------------------------- what a subclass answers
    @abstractmethod
    def module(self) -> Sequence[nn.Module]:
        """The parts that learn to decode."""

    @abstractmethod
    def decoded(self, ids: Tensor) -> Tensor:
        """Rows [b, d] from the side information of the items ``ids``, as they are served."""

    def module_steps(self) -> list[Step]:
        """The steps of a batch while the module learns."""
        return [self.module_step(self.calculate_loss, self.module_parameters())]

    # ---------------------------------------------------------------- tools
    def key(self, name: str) -> Any:
        """The method's own configuration key ``name``."""
        return self.config[f"{self.prefix}_{name}"]

    def module_step(
        self, loss: Callable, parameters: Sequence[nn.Parameter], names: Sequence[str] = ()
    ) -> Step:
        rate, decay = self.config["learning_rate"], self.config["weight_decay"]
        return Step(loss, parameters, rate, decay, names)

    def module_parameters(self) -> list[nn.Parameter]:
        return [parameter for part in self.module() for parameter in part.parameters()]

    def trainable(self, stage: str) -> list[nn.Parameter]:
        return self.module_parameters() if stage == "learn" else super().trainable(stage)

    def side(self, ids: Tensor, interaction: Any = None) -> Tensor:
        """Own side vectors [b, s] of the items ``ids``.

        Args:
            interaction: the batch whose items these are, each once; their features are then read
                once, however often it is used.
        """
        features = None
        if interaction is not None:
            key = (self.own_side, self.id_field)
            features = remember(interaction, key, lambda: self.own_side.read(ids))
        return self.own_side(ids, self.key("id_dropout"), features)

    def target_rows(self, ids: Tensor) -> Tensor:
        """The current ID rows, which are to be matched; no gradient moves them: [b, d]."""
        return self._served(ids, self.new_vectors, self.backbone.id_vectors(ids)).detach()

    def decoded_logits(self, interaction, vector_bd: Tensor) -> Tensor:
        """Logits [b]: cold scalar weights while old items play new ones, own ones afterwards."""
        if not bool(self.new_items_started):
            return self.cold_logits(interaction, vector_bd)
        first = self.first_order_of(interaction[self.id_field])
        return self.backbone.logits(interaction, vector_bd, first)

    # ---------------------------------------------------------------- stages
    def untouched(self) -> list[Untouched] | None:
        found = super().untouched()
        if found is None or self.own_side.own_id is None:
            return found
        return [*found, Untouched(self.own_side.own_id.weight.data, self.new_ids, 0.0)]

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        found = super().token_rows()
        if self.own_side.own_id is not None:
            found["own_side.own_id.weight"] = (TokenRows(self.id_field),)
        return found

    def _module_fit(self, index: Tensor, name: str, epochs: int, after=None) -> Fit:
        repeats, steps = self.key("iters"), self.module_steps()
        return Fit(name, steps, self.row_batches(index), epochs, repeats, after=after)

    def learn_fits(self) -> list[Fit]:
        return [self._module_fit(self.train_index, "learn", self.key("epochs"))]

    @torch.no_grad()
    def cold_vectors(self) -> Tensor:
        """Rows decoded without noise; the mean of old items for items without side information."""
        return mean_where_bare(self, self._decoded_now())

    def warm_fits(self, index: Tensor) -> list[Fit]:
        fits = super().warm_fits(index)
        if self.key("warm") == "init_only":
            return fits
        epochs = self.key("warm_epochs")
        return [*fits, self._module_fit(index, "decode", epochs, self._serve)]

    @torch.no_grad()
    def _serve(self) -> None:
        """Decode again: a private ID has learned what an item without side information is like."""
        rows = self._decoded_now()
        if self.own_side.own_id is None:
            bare = without_content(self.backbone)[self.new_ids]
            rows = torch.where(bare[:, None], self.new_vectors, rows)
        self.new_vectors.copy_(rows)

    def _decoded_now(self) -> Tensor:
        with evaluating(*self.module()):
            return self.decoded(self.new_ids)


def uniform_(*layers: nn.Module) -> None:
    """Draw all parameters from U(-0.01, 0.01), as the released code of CVAR and CSDM does."""
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter.uniform_(-0.01, 0.01)
