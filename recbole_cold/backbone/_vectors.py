"""Content vectors as one more field of a context model: ``e = P c``, zero where c is missing.

RecBole's models know numbers and tokens, so a model is shown the field as a token sequence of
length one that holds the code of the vector; RecBole's pooling of one embedding is that embedding,
and it masks code 0, a missing vector. The field's table is then P: a row per coordinate of the
vector in place of a row per token.
Shape letters: m width of the vectors, d embedding size.
"""

from collections.abc import Mapping
from typing import Any

import torch
from recbole.utils import FeatureType
from torch import Tensor, nn

from recbole_cold.data.vectors import Scaled


class AsCodes:
    """A data set that shows a model its content vectors as token sequences."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.field2type = {
            field: FeatureType.TOKEN_SEQ if kind == FeatureType.FLOAT_SEQ else kind
            for field, kind in dataset.field2type.items()
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


class VectorTable(nn.Embedding):
    """``P c`` of a code's vector c, no bias: the weight [m, d] is P transposed.

    Made of a table that a model has made, in place, so that all who hold it have it
    (``project_``). The vectors themselves are no part of the state and are shared by all copies.
    """

    vectors: Scaled

    def forward(self, code: Tensor) -> Tensor:
        return self.vectors.projected(code, self.weight)


@torch.no_grad()
def project_(table: nn.Embedding, vectors: Scaled, size: float | None = None) -> None:
    """Make ``table`` ([m, d]) a ``VectorTable``, in place.

    P starts at the principal directions of the seen vectors, since a random one of few dimensions
    would lose most of a wide vector; images of seen vectors are as large as the table's numbers
    were. A single column, a first-order weight, starts at zero.

    Args:
        table: as its owner initialised it.
        vectors: what it is to read.
        size: root mean square of the images' coordinates; ``None``: that of the table's numbers.
    """
    weight = table.weight
    size = float(weight.square().mean().sqrt()) if size is None else size
    if weight.shape[1] == 1:
        weight.zero_()
    else:
        weight.copy_(vectors.principal(weight.shape[1]) * size)
    table.__class__ = VectorTable
    table.__dict__["vectors"] = vectors


def read_vectors(model: nn.Module, vectors: Mapping[str, Scaled]) -> None:
    """Let every table of ``model`` that stands for a content vector read it; in place.

    Args:
        model: made from an ``AsCodes``, its parameters as they are to be at the start.
        vectors: by field.
    """
    for module in model.modules():
        names = getattr(module, "token_seq_field_names", ())
        for position, field in enumerate(names):
            if field in vectors:
                project_(module.token_seq_embedding_table[position], vectors[field])
