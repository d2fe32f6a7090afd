"""Base class of our click models (RecBole's loss, prediction, initialisation); second tables.

Shape letters: b rows of a batch, f fields, d embedding size.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

from recbole.model.abstract_recommender import ContextRecommender
from recbole.model.layers import MLPLayers
from torch import Tensor, nn


class ClickModel(ContextRecommender):
    """A context model whose ``forward`` gives logits [b]; a subclass adds its layers.

    Args:
        config: RecBole's configuration, or ours.
        dataset: RecBole's data set, or ours.
    """

    paper: ClassVar[str] = ""
    year: ClassVar[int | None] = None

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.sigmoid = nn.Sigmoid()
        self.loss = nn.BCEWithLogitsLoss()

    def _init_weights(self, module: nn.Module) -> None:
        """As in RecBole's context models: Xavier-normal weights, no bias."""
        if isinstance(module, (nn.Embedding, nn.Linear)):
            nn.init.xavier_normal_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def calculate_loss(self, interaction) -> Tensor:
        """Mean binary cross entropy of the rows."""
        return self.loss(self.forward(interaction), interaction[self.LABEL])

    def predict(self, interaction) -> Tensor:
        """Click probabilities [b]."""
        return self.sigmoid(self.forward(interaction))


class FieldTables(ContextRecommender):
    """Embedding tables of some fields, apart from the model's own ones: [b, f, d].

    The vector that the seam puts in place of an ID's row reaches the model's own tables only, so an
    ID that may be cold must not be in a second table.

    Args:
        config: the model's.
        dataset: the model's.
        fields: which ones; at least one that the model embeds.
        pool: the model's pooling, ``embed_token_seq_fields`` of its class.
    """

    def __init__(
        self, config, dataset, fields: Collection[str], pool: Callable[..., Tensor | None]
    ) -> None:
        super().__init__(config, _SomeFields(dataset, fields))
        del self.first_order_linear
        self._pool = pool

    def embed_token_seq_fields(self, token_seq_fields, mode="mean") -> Tensor | None:
        return self._pool(self, token_seq_fields) if token_seq_fields else None

    def forward(self, interaction) -> Tensor:
        # Where the seam has replaced sequences by codes into pooled tables, the rows themselves.
        return self.concat_embed_input_fields(getattr(interaction, "whole", interaction))


class _SomeFields:
    """A data set that shows a model only some of its fields."""

    def __init__(self, dataset, fields: Collection[str]) -> None:
        self._dataset, self._kept = dataset, frozenset(fields)

    def fields(self, source: Any = None) -> list[str]:
        return [field for field in self._dataset.fields(source=source) if field in self._kept]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


def embedded_fields(model: ContextRecommender) -> list[str]:
    """The fields that a context model embeds, in the order of its embeddings' second axis."""
    return [
        *model.token_seq_field_names,
        *model.token_field_names,
        *model.float_seq_field_names,
        *model.float_field_names,
    ]


def head(sizes: Sequence[int], dropout: float, batch_norm: bool = False) -> nn.Sequential:
    """RecBole's MLP (dropout, linear, ReLU in turn) with a linear output of one number: [b, 1]."""
    return nn.Sequential(MLPLayers(list(sizes), dropout, bn=batch_norm), nn.Linear(sizes[-1], 1))
