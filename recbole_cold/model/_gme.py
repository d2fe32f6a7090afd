"""GME: MetaE whose generator also attends to the old items that are most like the new one.

Source: Ouyang et al., "Learning Graph Meta Embeddings for Cold-Start Ads in CTR Prediction", SIGIR
2021, arXiv 2105.08909.
Shape letters: b items, k neighbours and the item itself, n all items, d embedding size, s side
information, i and o sizes before and after a projection.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.keys import COUNT, RATE, Key
from recbole_cold.kinds import flag, number, one_of
from recbole_cold.model._gme_neighbours import attribute_matrix, neighbours
from recbole_cold.model._gme_vectors import by_cosine, joined, units_of
from recbole_cold.model.metae import PAIRS, MetaE, TanhDense

logger = logging.getLogger(__name__)

# Items generated at a time when there is nothing to be learned: bounds the [b, k, s] intermediate.
_CHUNK_ITEMS = 8192


def attention(query_bo: Tensor, key_bko: Tensor, score_2o: Tensor, real_bk: Tensor) -> Tensor:
    """``softmax_k LeakyReLU([q W || k W] a)`` over the real keys, given ``q W`` and ``k W``."""
    of_query, of_key = score_2o.chunk(2)
    logit_bk = F.leaky_relu((query_bo @ of_query)[:, None] + key_bko @ of_key, 0.2)
    return torch.softmax(logit_bk.masked_fill(~real_bk, -torch.inf), dim=1)


class Attention(nn.Module):
    """``ELU(sum_k beta_k k W)`` over an item's neighbours and the item itself; no biases."""

    def __init__(self, size_in: int, size_out: int, mask_padding: bool = True) -> None:
        super().__init__()
        self.project = nn.Linear(size_in, size_out, bias=False)
        self.score = nn.Parameter(torch.empty(2 * size_out))
        self.mask_padding = mask_padding
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.xavier_uniform_(self.score.data[None])

    def forward(self, own_bi: Tensor, near_bki: Tensor, real_bk: Tensor) -> Tensor:
        """Vectors [b, o] of items from their own vectors and their neighbours'."""
        near_bki = near_bki * real_bk[..., None]
        real_bk = torch.cat([real_bk, torch.ones_like(real_bk[:, :1])], dim=1)
        if not self.mask_padding:
            # Released code: the zeros in the empty places take their share of the softmax.
            real_bk = torch.ones_like(real_bk)
        key_bko = self.project(torch.cat([near_bki, own_bi[:, None]], dim=1))
        beta_bk = attention(key_bko[:, -1], key_bko, self.score, real_bk)
        return F.elu((beta_bk[..., None] * key_bko).sum(dim=1))


class FromVectors(nn.Module):
    """GME-P and GME-G: the item's generated vector asks, ID vectors of its neighbours answer.

    Args:
        side: width of the side information.
        size: of an ID vector.
        gamma: of the generator.
        mask_padding: whether empty places take no part.
        generated: whether the neighbours' vectors are generated too (GME-G); otherwise they are
            given (GME-P).
    """

    def __init__(
        self, side: int, size: int, gamma: float, mask_padding: bool, generated: bool
    ) -> None:
        super().__init__()
        self.dense = TanhDense(side, size, gamma)
        nn.init.xavier_uniform_(self.dense.dense.weight)
        self.attention = Attention(size, size, mask_padding)
        self.generated = generated

    def forward(self, side_bs: Tensor, near_bki: Tensor, real_bk: Tensor) -> Tensor:
        near_bkd = self.dense(near_bki) if self.generated else near_bki
        return self.attention(self.dense(side_bs), near_bkd, real_bk)


class FromAttributes(nn.Module):
    """GME-A: side information asks side information, and the answer is made an ID vector."""

    def __init__(self, side: int, hidden: int, size: int, gamma: float, mask_padding: bool) -> None:
        super().__init__()
        self.attention = Attention(side, hidden, mask_padding)
        self.dense = TanhDense(hidden, size, gamma)
        nn.init.xavier_uniform_(self.dense.dense.weight)

    def forward(self, side_bs: Tensor, near_bks: Tensor, real_bk: Tensor) -> Tensor:
        return self.dense(self.attention(side_bs, near_bks, real_bk))


class Graph(NamedTuple):
    """Neighbours of old and new items: ids [n, k], which are real, and who has any attribute."""

    index_nk: Tensor
    real_nk: Tensor
    named_n: Tensor


class GME(MetaE):
    """Base of the three forms: the graph, MetaE's training, and items without neighbours."""

    paper = "Ouyang et al., SIGIR 2021"
    year = 2021
    needs_new_items: ClassVar = True
    row_pairs = PAIRS[:2]
    keys: ClassVar = (
        Key("gme_neighbours", COUNT),
        Key("gme_max_share", number(above=0, most=1)),
        Key("gme_mask_padding", flag()),
        Key("gme_alone", one_of("mean", "self")),
        Key("gme_gamma", number()),
        Key("gme_learning_rate", RATE),
        Key("gme_batch_rows", COUNT),
        Key("metae_generator", one_of("tanh_dense")),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self._vectors = self.rows.scaled_vectors(dataset)
        # Part of the state: a model's folder has no rows to count.
        self.register_buffer("training_rows", self._count(self.train_index))

    def side_vectors(self, ids: Tensor | None = None) -> Tensor:
        """Side information only, with the protocol ``released`` too: [n, s], of ``ids`` [b, s]."""
        return self.backbone.side_vectors(False, ids)

    def learning(self) -> tuple[float, int]:
        return self.config["gme_learning_rate"], self.config["gme_batch_rows"]

    # ---------------------------------------------------------------- the graph
    def attribute_columns(self) -> list[np.ndarray]:
        """Token codes and sequences of all items; numbers are no values to be shared."""
        features = self.rows.features_of(self.id_field)
        fields = [f for f in self.backbone.side_fields if f not in self.rows.vectors]
        columns = [features[f] for f in fields if f in features]
        return [column.cpu().numpy() for column in columns if not column.is_floating_point()]

    def content_units(self) -> list[Tensor]:
        """Content vectors of all items, on the scale of the seen ones and of length 1: [n, m]."""
        features = self.rows.features_of(self.id_field)
        fields = [field for field in self.backbone.side_fields if field in self._vectors]
        return [units_of(self._vectors[field](features[field][:, 0])) for field in fields]

    @cached_property
    def graph(self) -> Graph:
        """The graph, made once from side information and rows of old items; it is not learned."""
        return self.graph_of(torch.cat([self.old_ids, self.new_ids]))

    def graph_of(self, ids: Tensor) -> Graph:
        """The graph with neighbours of the items ``ids`` alone, by features as they are now.

        Items that share tokens come first; those with the nearest content vectors join them.
        """
        has_nv = attribute_matrix(self.attribute_columns(), self.n_ids)
        index, real = neighbours(
            has_nv,
            self.old_ids.cpu().numpy(),
            self.training_rows.cpu().numpy(),
            self.config["gme_neighbours"],
            ids.cpu().numpy(),
            self.config["gme_max_share"],
        )
        parts = index, real, np.diff(has_nv.indptr) > 0
        index, real, named = (torch.from_numpy(part).to(self.device) for part in parts)
        units = self.content_units()
        if units:
            near = by_cosine(units, self.old_ids, ids, self.config["gme_neighbours"])
            index, real = joined((index, real), near)
            named = named | torch.stack([unit.any(dim=1) for unit in units]).any(dim=0)
        return Graph(index, real, named)

    # ---------------------------------------------------------------- generating
    def near_rows(self, index_bk: Tensor, side_ns: Tensor) -> Tensor:
        """The keys and values of the neighbours: [b, k, s], or [b, k, d]."""
        return side_ns[index_bk]

    def generate(self, ids: Tensor, side_ns: Tensor, graph: Graph | None = None) -> Tensor:
        """Vectors [b, d] of the items ``ids``.

        Args:
            graph: another than the run's.
        """
        graph = self.graph if graph is None else graph
        index_bk, real_bk = graph.index_nk[ids].long(), graph.real_nk[ids]
        return self.generator(side_ns[ids], self.near_rows(index_bk, side_ns), real_bk)

    def item_generator(self) -> Callable[[Tensor], Tensor]:
        side_ns = self.side_vectors()
        if self.per_item:
            return lambda ids: self.generate(ids, side_ns)

        def once_per_item(ids: Tensor) -> Tensor:
            unique, place = ids.unique(return_inverse=True)
            return self.generate(unique, side_ns)[place]

        return once_per_item

    @torch.no_grad()
    def cold_vectors(self) -> Tensor:
        """Generated; the mean of old items where there is no neighbour (``gme_alone``)."""
        rows, alone = self._cold(self.new_ids, self.graph)
        if bool(alone.any()):
            self._say(alone)
        return rows

    def _cold(self, ids: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """First vectors [b, d] of items, and which of them have no neighbour."""
        side_ns, parts = self.side_vectors(), ids.split(_CHUNK_ITEMS)
        rows = torch.cat([self.generate(part, side_ns, graph) for part in parts])
        alone = ~graph.real_nk[ids].any(dim=1)
        if self.config["gme_alone"] == "mean":
            rows[alone] = self.old_mean()
        return rows, alone

    @torch.no_grad()
    def unseen_vectors(self, names: Sequence[str]) -> Tensor:
        """As ``cold_vectors``, with neighbours looked for anew by the features of unseen items."""
        ids = self.new_ids[: len(names)]
        return self._cold(ids, self.graph_of(ids))[0]

    def _say(self, alone_m: Tensor) -> None:
        nameless = int((~self.graph.named_n[self.new_ids[alone_m]]).sum())
        start = {
            "mean": "they start from the mean vector of old items",
            "self": "they are generated from what they have themselves",
        }[self.config["gme_alone"]]
        logger.info(
            "%d of %d new items have no neighbour (%d have no side information, %d share none "
            "with an old item); %s",
            int(alone_m.sum()),
            len(alone_m),
            nameless,
            int(alone_m.sum()) - nameless,
            start,
        )
