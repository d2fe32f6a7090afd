"""How EmerG serves items: each with its vector and its feature graph, unseen ones too.

Shape letters as in ``emerg.py``; u different items of a batch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recbole_cold import seeding
from recbole_cold.backbone._beyond import Beyond
from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.data.rows import Batch
from recbole_cold.model._emerg_net import EmerGNet
from recbole_cold.model._method import ColdStartRecommender

# Graphs that are drawn, not made.
RANDOM = ("random", "random_adapted")


class ServedGraphs(ColdStartRecommender):
    """The part of EmerG that scores rows with the graphs and vectors that there are."""

    net: EmerGNet
    kind: str
    new_graphs: nn.Parameter
    random_graphs: Tensor

    def side_fields_of(self, ids: Tensor) -> Tensor:
        """The items' fields but for the ID: [t, p - 1, d]."""
        raise NotImplementedError

    def raw_graphs(self, ids: Tensor, vector_td: Tensor, side_tpd: Tensor) -> Tensor:
        """Where the items' graphs start: [t, f, f]."""
        raise NotImplementedError

    def why_not_kept(self) -> str | None:
        return self.unlike(ServedGraphs)

    def why_not_exported(self) -> str | None:
        return self.unlike(ServedGraphs)

    def read_beyond(self, trained: Mapping[str, np.ndarray], means: set[str]) -> None:
        super().read_beyond(trained, means)
        self.net.beyond = Beyond(self.net, trained, means)  # fields that it embeds past the tables

    def unseen_vectors(self, names: Sequence[str]) -> Tensor:
        """Drawn for each ID by itself, so that a vector does not depend on who else is unseen."""
        if self.config["new_item_init"] != "random":
            return super().unseen_vectors(names)
        seed, shape = self.config["seed"], (self.embedding_size,)
        draws = [seeding.generator(seed, "unseen id row", name) for name in names]
        fresh = torch.stack([torch.rand(shape, generator=draw) for draw in draws])
        return (fresh * 0.02 - 0.01).to(self.new_vectors)

    @torch.no_grad()
    def more_served(self, ids: Tensor, vector_bd: Tensor) -> dict[str, Tensor]:
        """``item_graph``: each item's adjacency matrix of order 1, [b, f, f].

        That of an unseen item is the hypernetwork's; where graphs are drawn, the mean of old ones.
        """
        ids_u, place = ids.unique(return_inverse=True)
        row_b = torch.arange(len(ids), device=ids.device)
        vector_ud = vector_bd[torch.empty_like(ids_u).scatter_(0, place, row_b)]
        known_u = ids_u < self.n_ids
        some_u = torch.where(known_u, ids_u, self.old_ids[0])
        raw = self.raw_graphs(some_u, vector_ud, self.side_fields_of(ids_u))
        if self.kind in RANDOM:
            mean_ff = self.random_graphs[self.old_ids].mean(dim=0)
            raw = torch.where(known_u[:, None, None], raw, mean_ff)
        if len(self.new_graphs):
            slot_u = self.new_place(ids_u)
            own = (slot_u >= 0)[:, None, None] & self.new_items_started
            raw = torch.where(own, lookup(self.new_graphs, slot_u.clamp(min=0)), raw)
        return {"item_graph": self.net.first_order(raw)[place]}

    def logits(self, interaction: Batch) -> Tensor:
        """Logits [b] with every row's item's own graph and vector."""
        ids, place = interaction.unique(self.id_field)
        vector_ud, _ = self.item_vectors(ids)
        side_upd = self.side_fields_of(ids)
        raw = self.raw_graphs(ids, vector_ud, side_upd)
        slot = self.new_index[ids]
        served = lookup(self.new_graphs, slot.clamp(min=0)) if len(self.new_graphs) else raw
        entered = (slot >= 0)[:, None, None] & self.new_items_started
        raw = torch.where(entered, served, raw)
        own = torch.cat([vector_ud[:, None], side_upd], dim=1)
        graphs = [lookup(graph.flatten(1), place).view(-1, *graph.shape[1:])
                  for graph in self.net.graphs(raw)]  # fmt: skip
        parts = [lookup(own.flatten(1), place).view(len(place), -1, self.embedding_size)]
        if self.net.other_fields:
            other = self.net.embed_fields(self.net.other_fields, interaction)
            parts.append(other.transpose(0, 1))
        return self.net.read_out(*self.net.row_messages(graphs, torch.cat(parts, dim=1)))[0]
