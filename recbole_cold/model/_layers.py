"""Small networks, and the click loss of tasks, that several methods use."""

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._shortcuts import Lookup, lookup
from recbole_cold.backbone._unseen import zero_rows
from recbole_cold.backbone._vectors import VectorTable, project_
from recbole_cold.data.episodes import masked_mean
from recbole_cold.data.vectors import Scaled
from recbole_cold.device import whole
from recbole_cold.model._token_rows import TokenRows


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given sizes with ReLU between them and none at the end."""
    layers: list[nn.Module] = []
    for size_in, size_out in itertools.pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@contextmanager
def empty_layers() -> Iterator[None]:
    """Context: layers without inputs, which give their bias, are made without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        yield


def rows_mean(value_tkd: Tensor, mask_tk: Tensor) -> Tensor:
    """Mean over each task's real rows, zeros for a task without any: [t, d]."""
    return (value_tkd * mask_tk[..., None]).sum(dim=1) / mask_tk.sum(dim=1).clamp(min=1.0)[:, None]


def click_loss(logit_tk: Tensor, label_tk: Tensor, mask_tk: Tensor) -> Tensor:
    """Mean binary cross entropy of each task's real rows, 0 for a task without any: [t]."""
    logit_tk = whole(logit_tk)
    loss_tk = F.binary_cross_entropy_with_logits(
        logit_tk, label_tk.to(logit_tk.dtype), reduction="none"
    )
    return masked_mean(loss_tk, mask_tk.to(logit_tk.dtype))


_FEW_TOKENS = 64  # up to here a product with all rows of a table costs less than to pick some


class Counted(NamedTuple):
    """How large a part of each sequence a token is, to pool few tokens by a product.

    Attributes:
        share: [b, tokens], zeros for padding.
    """

    share: Tensor

    @classmethod
    def of(cls, code_bl: Tensor, table: Tensor) -> "Counted":
        real = (code_bl != 0).to(table.dtype)
        counts = table.new_zeros(len(code_bl), len(table)).scatter_add(1, code_bl, real)
        return cls(counts / real.sum(dim=1, keepdim=True).clamp(min=1.0))

    def mean(self, table: Tensor) -> Tensor:
        """The mean rows [b, d] of ``table``, zeros for a sequence without codes."""
        return self.share @ table


class Listed(NamedTuple):
    """The real codes of sequences, one sequence after the other, to be pooled by their means.

    ``F.embedding_bag`` looks at padding, too, and sorts all codes for each gradient.

    Attributes:
        code: [n].
        owner: the sequence of each code [n].
        count: how many each sequence has, at least 1: [b, 1].
    """

    code: Tensor
    owner: Tensor
    count: Tensor

    @classmethod
    def of(cls, code_bl: Tensor) -> "Listed":
        owner, at = code_bl.nonzero(as_tuple=True)
        count = (code_bl != 0).sum(dim=1, keepdim=True)
        return cls(code_bl[owner, at], owner, count.clamp(min=1))

    def mean(self, table: Tensor) -> Tensor:
        """The mean rows [b, d] of ``table``, zeros for a sequence without codes."""
        total = table.new_zeros(len(self.count), table.shape[1])
        return total.index_add(0, self.owner, lookup(table, self.code)) / self.count


class OwnSide(nn.Module):
    """Side information from tables that the method owns and trains, apart from the backbone's.

    Args:
        features: feature columns of every item by field: codes [n], sequences [n, l], numbers [n];
            read anew at each call, since a popularity column changes between phases.
        fields: the ones to use, in this order.
        vocabulary: number of tokens of each token or sequence field.
        size: embedding size d.
        n_ids: rows of the private ID table; ``None`` has none. It starts at zero: a new item then
            reads what it was before any of its rows was seen.
        pooling: ``mean`` over the real positions of a sequence, or ``sum_with_pad``.
        unseen: field -> codes that no training row has; their rows are zero (``dataset.unseen``).
        vectors: content vectors by field, whose column holds codes. Each is projected to d columns
            as large as a table's rows at the start, whatever its width; missing ones are zeros.
    """

    def __init__(
        self,
        features: Mapping[str, Tensor],
        fields: Sequence[str],
        vocabulary: Mapping[str, int],
        size: int,
        n_ids: int | None,
        pooling: str = "mean",
        unseen: Mapping[str, np.ndarray] | None = None,
        vectors: Mapping[str, Scaled] | None = None,
    ) -> None:
        super().__init__()
        self._features, self._pooling = features, pooling
        self.fields = [
            field for field in fields if field in vocabulary or features[field].is_floating_point()
        ]
        self.tables = nn.ModuleDict(
            {
                _key(field): Lookup(vocabulary[field], size)
                for field in self.fields
                if field in vocabulary
            }
        )
        for field, codes in (unseen or {}).items():
            if _key(field) in self.tables:
                zero_rows(self.tables[_key(field)].weight, codes)
        for field in (vectors or {}).keys() & self.fields:
            project_(self.tables[_key(field)], vectors[field], size=1.0)
        self.own_id = None
        if n_ids is not None:
            self.own_id = Lookup(n_ids, size)
            nn.init.zeros_(self.own_id.weight)
        numbers = len(self.fields) - len(self.tables)
        self.width = size * (len(self.tables) + (n_ids is not None)) + numbers

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        """Whose rows the tables hold, but the ID's: its field is the method's to say."""
        return {
            f"tables.{_key(field)}.weight": (TokenRows(field),)
            for field in self.fields
            if _key(field) in self.tables and not isinstance(self.tables[_key(field)], VectorTable)
        }

    def read(self, ids: Tensor) -> list[Tensor | Counted | Listed]:
        """The features of the items ``ids`` [b], which ``forward`` embeds: for a batch that is used
        several times."""
        return [
            self._read(field, self._features[field].index_select(0, ids)) for field in self.fields
        ]

    def _read(self, field: str, column: Tensor) -> Tensor | Counted | Listed:
        if column.is_floating_point() or column.dim() == 1 or self._pooling != "mean":
            return column
        table = self.tables[_key(field)]
        if isinstance(table, VectorTable) or table.sparse:
            return column
        if table.num_embeddings <= _FEW_TOKENS:
            return Counted.of(column, table.weight.detach())
        # On a card the sums of listed codes would come in any order.
        return Listed.of(column) if column.device.type == "cpu" else column

    def forward(
        self,
        ids: Tensor,
        id_dropout: float = 0.0,
        features: list[Tensor | Counted | Listed] | None = None,
    ) -> Tensor:
        """Side vectors [b, s] of the items ``ids`` [b].

        Args:
            id_dropout: the probability that a private row is hidden in training mode.
            features: what ``read`` gave for these items.
        """
        parts = []
        if self.own_id is not None:
            own = self.own_id(ids)
            if id_dropout > 0.0 and self.training:
                kept = torch.rand(len(ids), 1, device=ids.device) >= id_dropout
                own = own * kept
            parts.append(own)
        if features is not None:
            columns = features
        elif torch.is_grad_enabled():
            columns = self.read(ids)
        else:  # what is served does not depend on the other items that are asked for
            columns = [self._features[field].index_select(0, ids) for field in self.fields]
        for field, column in zip(self.fields, columns, strict=True):
            if isinstance(column, Counted | Listed):
                parts.append(column.mean(self.tables[_key(field)].weight))
            elif column.is_floating_point():
                parts.append(column[:, None])
            elif column.dim() == 1:
                parts.append(self.tables[_key(field)](column))
            elif isinstance(self.tables[_key(field)], VectorTable):
                parts.append(self.tables[_key(field)](column[:, 0]))
            else:
                parts.append(self._pool(column, self.tables[_key(field)]))
        return torch.cat(parts, dim=1)

    def _pool(self, code_bl: Tensor, table: nn.Embedding) -> Tensor:
        weight, sparse = table.weight, table.sparse
        if self._pooling == "sum_with_pad":
            return F.embedding_bag(code_bl, weight, mode="sum", sparse=sparse)
        return F.embedding_bag(code_bl, weight, mode="mean", padding_idx=0, sparse=sparse)


def _key(field: str) -> str:
    """A field name as a module name, which may not hold a dot."""
    return "field_" + field.replace(".", "_")
