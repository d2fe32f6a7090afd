"""Small networks, and the click loss of tasks, that several methods use."""

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.backbone._unseen import zero_rows
from recbole_cold.backbone._vectors import VectorTable, project_
from recbole_cold.data.episodes import masked_mean
from recbole_cold.data.vectors import Scaled
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
    loss_tk = F.binary_cross_entropy_with_logits(
        logit_tk, label_tk.to(logit_tk.dtype), reduction="none"
    )
    return masked_mean(loss_tk, mask_tk.to(logit_tk.dtype))


def real_positions(code_bl: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, code and share in the row's mean of each position that is not padding: [n] each."""
    real_bl = code_bl != 0
    row = real_bl.nonzero()[:, 0]
    return row, code_bl[real_bl], real_bl.sum(dim=1).reciprocal()[row]


def bag_means(weight: Tensor, row: Tensor, code: Tensor, share: Tensor, rows: int) -> Tensor:
    """The mean of each row's vectors [rows, d], zeros for a row without; ``F.embedding_bag``."""
    mean = torch.zeros(rows, weight.shape[1], dtype=weight.dtype, device=weight.device)
    part = lookup(weight, code) * share[:, None].to(weight.dtype)
    return mean.index_add(0, row, part)


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
        self._bags_of: Tensor | None = None
        self._bags: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        self.fields = [
            field for field in fields if field in vocabulary or features[field].is_floating_point()
        ]
        self.tables = nn.ModuleDict(
            {
                _key(field): nn.Embedding(vocabulary[field], size)
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
            self.own_id = nn.Embedding(n_ids, size)
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

    def forward(self, ids: Tensor, id_dropout: float = 0.0) -> Tensor:
        """Side vectors [b, s] of the items ``ids`` [b]."""
        parts = []
        if self.own_id is not None:
            own = self.own_id(ids)
            if id_dropout > 0.0 and self.training:
                kept = torch.rand(len(ids), 1, device=ids.device) >= id_dropout
                own = own * kept
            parts.append(own)
        for field in self.fields:
            column = self._features[field][ids]
            if column.is_floating_point():
                parts.append(column[:, None])
            elif column.dim() == 1:
                parts.append(self.tables[_key(field)](column))
            elif isinstance(self.tables[_key(field)], VectorTable):
                parts.append(self.tables[_key(field)](column[:, 0]))
            else:
                parts.append(self._pooled(field, column, ids))
        return torch.cat(parts, dim=1)

    def _pooled(self, field: str, code_bl: Tensor, ids: Tensor) -> Tensor:
        """The mean or sum [b, d] over a sequence.

        While a table learns on a processor, the mean goes through the real positions alone, which
        are found once for all uses of a batch: the gradient of ``embedding_bag`` sorts them anew
        each time. On a GPU finding them would make the processor wait.
        """
        table = self.tables[_key(field)]
        learns = torch.is_grad_enabled() and table.weight.requires_grad and not table.sparse
        if self._pooling != "mean" or not learns or code_bl.device.type != "cpu":
            return self._pool(code_bl, table)
        if self._bags_of is not ids:  # the same tensor for each use of a batch
            self._bags_of, self._bags = ids, {}
        if field not in self._bags:
            self._bags[field] = real_positions(code_bl)
        return bag_means(table.weight, *self._bags[field], len(code_bl))

    def _pool(self, code_bl: Tensor, table: nn.Embedding) -> Tensor:
        weight, sparse = table.weight, table.sparse
        if self._pooling == "sum_with_pad":
            return F.embedding_bag(code_bl, weight, mode="sum", sparse=sparse)
        return F.embedding_bag(code_bl, weight, mode="mean", padding_idx=0, sparse=sparse)


def _key(field: str) -> str:
    """A field name as a module name, which may not hold a dot."""
    return "field_" + field.replace(".", "_")
