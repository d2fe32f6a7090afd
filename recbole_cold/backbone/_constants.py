"""RecBole's layers with their constants where the model is; the numbers are the same, bit for bit.

RecBole makes them of Python's numbers in every forward pass. On a card each is a copy from the
host, which the card is waited for, and which a CUDA graph refuses to record.
Shape letters: b rows of a batch, f fields, l length of a sequence, p pairs of fields, d embedding
size.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.model.context_aware_recommender.afm import AFM
from recbole.model.context_aware_recommender.fignn import FiGNN
from recbole.model.context_aware_recommender.pnn import InnerProductLayer
from recbole.model.layers import FLEmbedding, FMEmbedding
from torch import Tensor, nn


class _WithOffsets(nn.Module):
    """A table of several fields whose ``offsets`` are also a tensor, ``offset_f``: no part of the
    state, and moved with the table."""

    embedding: nn.Embedding
    offset_f: Tensor

    @property
    def offsets(self) -> np.ndarray:
        """Where each field begins in the table [f]; may be set anew, as an array."""
        found: np.ndarray = self.__dict__["_offsets"]
        return found

    @offsets.setter
    def offsets(self, offsets: np.ndarray) -> None:
        self.__dict__["_offsets"] = offsets
        # A view of this table shares its dictionary of buffers, and may have other fields.
        self.__dict__["_buffers"] = dict(self._buffers)
        at = self.embedding.weight.device
        self.register_buffer("offset_f", torch.as_tensor(offsets, device=at), persistent=False)


class TokenTable(_WithOffsets, FMEmbedding):
    """RecBole's table of all token fields."""

    def forward(self, code_bf: Tensor) -> Tensor:
        """The fields' vectors [b, f, d] of codes that count anew in each field."""
        return self.embedding(code_bf + self.offset_f)


class NumberTable(_WithOffsets, FLEmbedding):
    """RecBole's table of all number fields."""

    def forward(self, pair_bf2: Tensor) -> Tensor:
        """Each number times its field's vector [b, f, d], of pairs (number, index)."""
        base_bf1, index_bf1 = torch.split(pair_bf2, [1, 1], dim=-1)
        return base_bf1 * self.embedding(index_bf1.squeeze(-1).long() + self.offset_f)


def _pairs(part: Any, feat_emb: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second vector [b, p, d] of every pair of the fields of a layer or model."""
    fields = part.num_feature_field
    first, second = torch.triu_indices(fields, fields, 1, device=feat_emb.device)
    return feat_emb[:, first], feat_emb[:, second]


class InnerProduct(InnerProductLayer):
    """RecBole's inner products of PNN."""

    def forward(self, feat_emb: Tensor) -> Tensor:
        """Products [b, p] of all pairs among the vectors [b, f, d]."""
        p_bpd, q_bpd = _pairs(self, feat_emb)
        return (p_bpd * q_bpd).sum(dim=-1)


def with_offsets(module: nn.Module) -> None:
    """Make a table of RecBole's one of the above, in place; others stay as they are."""
    kind = {FMEmbedding: TokenTable, FLEmbedding: NumberTable}.get(type(module))
    if kind is not None:
        offsets = module.__dict__.pop("offsets")
        module.__class__ = kind
        module.offsets = offsets


def mean_of_real(table: nn.Module, code_bl: Tensor) -> Tensor:
    """The mean vector [b, d] of each sequence's codes but padding, as RecBole computes it."""
    real_bl = (code_bl != 0).float()
    total_bd = (table(code_bl) * real_bl[..., None]).sum(dim=1)
    # As a tensor: the ONNX exporter takes a number that is so small, added, for none at all, and an
    # empty sequence would be 0 / 0.
    little = torch.full((1,), 1e-8, device=real_bl.device)
    return total_bd / (real_bl.sum(dim=1, keepdim=True) + little)


def copies_from_host(model: nn.Module) -> bool:
    """Whether a forward pass of a click model copies constants to the card for all that; a class of
    a plug-in can say so with an attribute of this name."""
    return bool(getattr(model, "copies_from_host", isinstance(model, FiGNN)))


@cache
def without_host_constants(model_class: type) -> type:
    """The class of a click model without constants that its methods copy to the card."""
    exchanged: dict[str, Any] = {}
    theirs = model_class.embed_token_seq_fields  # type: ignore[attr-defined]
    if theirs is ContextRecommender.embed_token_seq_fields:

        def embed_token_seq_fields(
            self: Any, token_seq_fields: list[Tensor], mode: str = "mean"
        ) -> Tensor | None:
            if mode != "mean" or not token_seq_fields:
                found: Tensor | None = theirs(self, token_seq_fields, mode)
                return found
            pairs = zip(self.token_seq_embedding_table, token_seq_fields, strict=True)
            return torch.stack([mean_of_real(table, field) for table, field in pairs], dim=1)

        exchanged["embed_token_seq_fields"] = embed_token_seq_fields
    if getattr(model_class, "build_cross", None) is AFM.build_cross:
        exchanged["build_cross"] = _pairs
    if not exchanged:
        return model_class
    # Known by the model's own name and module, in messages and in the keys of results.
    names = ("__module__", "__qualname__", "__doc__")
    return type(
        model_class.__name__,
        (model_class,),
        {**{name: getattr(model_class, name) for name in names}, **exchanged},
    )
