"""FinalMLP: two MLPs on differently gated inputs, fused by a bilinear form in heads.

Source: Mao et al., "FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction", AAAI 2023.
Shape letters: b rows of a batch, f fields, d embedding size, h heads, i and j widths of the
streams' slices, c width of a gate's context.
"""

import math
from typing import ClassVar

import torch
from recbole.model.layers import MLPLayers
from recbole.utils import FeatureSource
from torch import Tensor, nn

from recbole_cold.backbone._base import ClickModel, FieldTables, embedded_fields
from recbole_cold.errors import UserError
from recbole_cold.keys import DROPOUT, SIZE, Key
from recbole_cold.kinds import either, field_name, flag, list_of, optional, text, whole

# The features of a side, without its ID: an ID that may be cold has no row in a gate's own table.
SIDES = {"user": FeatureSource.USER, "item": FeatureSource.ITEM}


def fuse(first_bhi: Tensor, second_bhj: Tensor, weight_hij: Tensor) -> Tensor:
    """``sum_h first_h^T W_h second_h``: [b]."""
    return torch.einsum("bhi,hij,bhj->b", first_bhi, weight_hij, second_bhj)


class Gate(nn.Module):
    """``2 sigmoid(MLP(context))``, a factor in (0, 2) for each input of a stream: [b or 1, f * d].

    The context is the embeddings of some fields from tables of their own, or, without fields, a
    learned vector: then all rows have the same gate.
    """

    def __init__(self, tables: FieldTables | None, size: int, hidden: list[int], out: int) -> None:
        super().__init__()
        self.tables = tables
        if tables is None:
            self.context = nn.Parameter(torch.zeros(1, size))
        width = size if tables is None else size * tables.num_feature_field
        self.mlp = nn.Sequential(MLPLayers([width, *hidden]), nn.Linear([width, *hidden][-1], out))

    def forward(self, interaction) -> Tensor:
        if self.tables is None:
            return 2.0 * torch.sigmoid(self.mlp(self.context))
        return 2.0 * torch.sigmoid(self.mlp(self.tables(interaction).flatten(1)))


class Fusion(nn.Module):
    """``w1.o1 + b1 + w2.o2 + b2 + sum_h o1_h^T W_h o2_h`` with contiguous slices o_h: [b].

    Args:
        first: width of the first stream's output.
        second: width of the second's.
        heads: number of slices; 0 leaves the bilinear term out.
    """

    def __init__(self, first: int, second: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.Linear(first, 1), nn.Linear(second, 1)
        if heads:
            i, j = first // heads, second // heads
            std = math.sqrt(2.0 / (i + j))  # Xavier's, for each head
            self.weight_hij = nn.Parameter(std * torch.randn(heads, i, j))

    def forward(self, first_bi: Tensor, second_bj: Tensor) -> Tensor:
        linear = (self.first(first_bi) + self.second(second_bj)).squeeze(-1)
        if not self.heads:
            return linear
        shape = (first_bi.shape[0], self.heads, -1)
        return linear + fuse(first_bi.view(shape), second_bj.view(shape), self.weight_hij)


class FinalMLP(ClickModel):
    """Two streams over all embeddings, each behind its gate; ``fs: false`` takes the gates away.

    DualMLP, the paper's baseline, is ``fs: false`` and ``fusion_heads: 0``.
    """

    paper = "Mao et al., AAAI 2023"
    year = 2023
    keys: ClassVar = (
        Key("mlp1_hidden_size", list_of(SIZE, filled=False)),
        Key("mlp2_hidden_size", list_of(SIZE, filled=False)),
        Key("fusion_heads", whole(0, 10_000)),
        Key("fs", flag()),
        Key("fs1_context", optional(either(text(), list_of(field_name(), filled=False)))),
        Key("fs2_context", optional(either(text(), list_of(field_name(), filled=False)))),
        Key("fs_hidden_size", list_of(SIZE, filled=False)),
        DROPOUT,
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        width = self.num_feature_field * self.embedding_size
        dropout = config["dropout_prob"]
        sizes = [config["mlp1_hidden_size"], config["mlp2_hidden_size"]]
        ends = [size[-1] if size else width for size in sizes]
        self._check_heads(config["fusion_heads"], ends)
        self.mlp1, self.mlp2 = (MLPLayers([width, *size], dropout) for size in sizes)
        self.gate1 = self.gate2 = None
        if config["fs"]:
            self.gate1 = self._gate(config, dataset, "fs1_context", width)
            self.gate2 = self._gate(config, dataset, "fs2_context", width)
        self.fusion = Fusion(*ends, config["fusion_heads"])
        self.apply(self._init_weights)

    @staticmethod
    def _check_heads(heads: int, ends: list[int]) -> None:
        if heads and any(end % heads for end in ends):
            raise UserError(
                f"fusion_heads is {heads}, which does not divide the last layers' sizes "
                f"{ends[0]} and {ends[1]}; choose a divisor of both"
            )

    def _gate(self, config, dataset, key: str, width: int) -> Gate:
        fields = self._context(dataset, key, config[key])
        # The class's function, not the bound method: it pools the sequences of the gate's tables.
        pool = type(self).embed_token_seq_fields
        tables = FieldTables(config, dataset, fields, pool) if fields else None
        return Gate(tables, self.embedding_size, config["fs_hidden_size"], width)

    def _context(self, dataset, key: str, asked: str | list[str] | None) -> list[str]:
        """The fields of a gate's context: a side's features, or those that are named."""
        known = embedded_fields(self)
        if isinstance(asked, str) and asked in SIDES:
            return [field for field in dataset.fields(source=[SIDES[asked]]) if field in known]
        fields = [] if asked in (None, "none") else asked
        if not isinstance(fields, (list, tuple)) or not set(fields) <= set(known):
            raise UserError(
                f"{key} '{asked}' is none of user, item, none and no list of fields out of "
                f"{', '.join(known)}; choose one of them"
            )
        return list(fields)

    def forward(self, interaction) -> Tensor:
        flat = self.concat_embed_input_fields(interaction).flatten(1)
        first = flat if self.gate1 is None else flat * self.gate1(interaction)
        second = flat if self.gate2 is None else flat * self.gate2(interaction)
        return self.fusion(self.mlp1(first), self.mlp2(second))
