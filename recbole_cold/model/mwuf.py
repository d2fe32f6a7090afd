"""MWUF: warm a cold item-ID embedding by meta scaling and meta shifting.

Source: Zhu et al., "Learning to Warm Up Cold Item Embeddings for Cold-start Recommendation with
Meta Scaling and Shifting Networks", SIGIR 2021, arXiv 2105.04790.
Shape letters: b rows of a batch, n items, m new items, c items with a cold embedding (the old and
the new ones), d embedding size, s side information.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_cold.backbone._shortcuts import Lookup, lookup
from recbole_cold.keys import SIZE, Key
from recbole_cold.kinds import list_of, one_of
from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._layers import mlp
from recbole_cold.model._method import ColdStartRecommender, Untouched
from recbole_cold.model._token_rows import TokenRows


def warm(cold_bd: Tensor, scale_bd: Tensor | None, shift_bd: Tensor | None) -> Tensor:
    """``v_warm = v_cold * scale + shift`` (eq. 5); ``None`` leaves that part out."""
    scaled = cold_bd if scale_bd is None else cold_bd * scale_bd
    return scaled if shift_bd is None else scaled + shift_bd


def mean_audience(sums_cd: Tensor, counts_c: Tensor) -> Tensor:
    """Mean embedding of the users of each item, zero where there are none yet: [c, d]."""
    return sums_cd / counts_c.clamp(min=1.0)[:, None]


class MWUF(ColdStartRecommender):
    """Two small networks turn the cold embedding of an item into a warm one.

    The scaling network reads the item's side information, the shifting network the mean
    embedding of the users seen so far. ``mwuf_parts`` leaves one of them out (section 4.6).
    """

    paper = "Zhu et al., SIGIR 2021"
    year = 2021
    keys: ClassVar = (
        Key("meta_hidden_size", list_of(SIZE, filled=False)),
        Key("mwuf_parts", list_of(one_of("scale", "shift"))),
        Key("mwuf_users", one_of("all", "positive", "swapped")),
        Key("mwuf_warm", one_of("recompute", "init_only")),
        Key("mwuf_mean", one_of("old", "table")),
        Key("mwuf_init", one_of("default", "uniform")),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        parts, size = set(config["mwuf_parts"]), self.embedding_size
        hidden = list(config["meta_hidden_size"])
        side = self.side_width if "scale" in parts else 0
        self.scale_net = mlp([side, *hidden, size]) if "scale" in parts else None
        self.shift_net = mlp([size, *hidden, size]) if "shift" in parts else None
        if config["mwuf_init"] == "uniform":
            with torch.no_grad():
                for parameter in self.networks():
                    parameter.uniform_(-0.01, 0.01)
        # A catalogue may have many items that are neither old nor new; nothing is kept of them.
        own_ids = torch.cat([self.old_ids, self.new_ids]).unique()
        own_index = torch.full_like(self.new_index, -1)
        own_index[own_ids] = torch.arange(len(own_ids), device=self.device)
        self.register_buffer("own_ids", own_ids, persistent=False)
        self.register_buffer("own_index", own_index, persistent=False)
        self.cold_id = Lookup(len(own_ids), size, _weight=torch.zeros(len(own_ids), size))
        self.register_buffer("audience_sum", torch.zeros(len(own_ids), size))
        self.register_buffer("audience_count", torch.zeros(len(own_ids)))
        self.to(self.device)

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        own = (TokenRows(self.id_field, self.own_ids),)
        names = ("cold_id.weight", "audience_sum", "audience_count")
        return {**super().token_rows(), **dict.fromkeys(names, own)}

    def cold_of(self, ids: Tensor) -> Tensor:
        """C of the items ``ids``, old or new ones: [b, d]."""
        return self.cold_id(self.own_index[ids])

    def networks(self) -> list[nn.Parameter]:
        nets = [net for net in (self.scale_net, self.shift_net) if net is not None]
        return [parameter for net in nets for parameter in net.parameters()]

    # ---------------------------------------------------------------- who has seen the item
    @torch.no_grad()
    def _add_audience(self, index: Tensor) -> None:
        """Add the users of the rows ``index`` to their items' U(i)."""
        columns = self.rows.columns
        if self.config["mwuf_users"] == "positive":
            index = index[columns[self.label_field][index] > 0]
        item, user = columns[self.id_field][index].long(), columns[self.other_field][index].long()
        if self.config["mwuf_users"] == "swapped":
            # Released code exchanges the two ids when it builds the lists; each then indexes the
            # other's table. Ids beyond that table have no counterpart and are left out.
            fits = (user < self.n_ids) & (item < len(self._user_rows()))
            item, user = user[fits], item[fits]
        # A user whom a grown model does not know has no vector, and is in no audience.
        place = self.own_index[item]
        counts = (place >= 0) & (user < len(self._user_rows()))
        place, user = place[counts], user[counts]
        ones = torch.ones(len(place), device=self.device)
        # A sparse item-by-user matrix times the user table: nothing of size [rows, d] is made.
        users = self._user_rows()
        size = (len(self.own_ids), len(users))
        pairs = torch.sparse_coo_tensor(
            torch.stack([place, user]), ones, size, check_invariants=False
        )
        self.audience_sum += torch.sparse.mm(pairs.coalesce(), users)
        self.audience_count += torch.bincount(place, minlength=len(self.own_ids)).to(ones.dtype)

    def _user_rows(self) -> Tensor:
        return self.backbone.table_of(self.other_field).detach()

    def observe(self, index: Tensor) -> None:
        super().observe(index)
        if self.config["mwuf_warm"] == "recompute":
            self._add_audience(index)

    # ---------------------------------------------------------------- equation 5
    def meta_factors(self, ids: Tensor, side_ns: Tensor | None) -> tuple[Tensor | None, ...]:
        """Scale and shift [b, d] of the items ``ids``."""
        scale = shift = None
        if self.scale_net is not None:
            scale = self.scale_net(side_ns[ids])
        if self.shift_net is not None:
            place = self.own_index[ids]
            audience = mean_audience(self.audience_sum[place], self.audience_count[place])
            shift = self.shift_net(audience)
        return scale, shift

    def warm_vectors(self, ids: Tensor, side_ns: Tensor | None) -> Tensor:
        """w_i of the items ``ids``; the warm loss must not move the cold embedding: [b, d]."""
        cold = self.cold_of(ids).detach()
        return warm(cold, *self.meta_factors(ids, side_ns))

    def _steps(self, learning_rate: float, first_order: bool) -> list[Step]:
        """Algorithm 1, for each batch: the cold loss moves C, then the warm loss moves h and g."""
        side_ns = self.side_vectors() if self.scale_net is not None else None

        def score(batch, vector_bd: Tensor) -> Tensor:
            if first_order:
                first = self.first_order_of(batch[self.id_field])
                logits = self.backbone.logits(batch, vector_bd, first)
            else:
                logits = self.cold_logits(batch, vector_bd)
            return self.loss(logits, batch)

        def cold_loss(batch) -> Tensor:
            return score(batch, self.cold_of(batch[self.id_field]))

        def warm_loss(batch) -> Tensor:
            # Networks run once per item of the batch, not once per row.
            unique, place = batch.unique(self.id_field)
            return score(batch, lookup(self.warm_vectors(unique, side_ns), place))

        decay = self.config["weight_decay"]
        cold_parameters: list[nn.Parameter] = [self.cold_id.weight]
        if first_order and self.backbone.has_first_order:
            cold_parameters.append(self.new_first_order)
        return [
            Step(cold_loss, cold_parameters, learning_rate, decay),
            Step(warm_loss, self.networks(), self.config["learning_rate"], decay),
        ]

    # ---------------------------------------------------------------- stages
    @torch.no_grad()
    def begin_learn(self) -> None:
        """C starts at the mean of old items (section 3.2); old items are treated as if new."""
        self.cold_id.weight.copy_(self._first_cold().expand_as(self.cold_id.weight))
        self._add_audience(self.train_index)

    def _first_cold(self) -> Tensor:
        """C of every item at the start: [d]."""
        rows = self.backbone.id_table()
        return rows.mean(dim=0) if self.config["mwuf_mean"] == "table" else self.old_mean()

    def untouched(self) -> list[Untouched]:
        place = self.own_index[self.new_ids]
        return [
            Untouched(self.counts, self.new_ids, 0.0),
            Untouched(self.cold_id.weight.data, place, self._first_cold().detach()),
            Untouched(self.audience_sum, place, 0.0),
            Untouched(self.audience_count, place, 0.0),
        ]

    def learn_fits(self) -> list[Fit]:
        steps = self._steps(self.config["learning_rate"], first_order=False)
        return [Fit("learn", steps, self.row_batches(self.train_index))]

    @torch.no_grad()
    def cold_vectors(self) -> Tensor:
        side_ns = self.side_vectors() if self.scale_net is not None else None
        return self.warm_vectors(self.new_ids, side_ns)

    def warm_fits(self, index: Tensor) -> list[Fit]:
        """Cold rows of new items and both networks learn on; then the rows are warmed again."""
        if self.config["mwuf_warm"] == "init_only":
            return super().warm_fits(index)
        steps = self._steps(self.config["warm_learning_rate"], first_order=True)
        return [
            Fit(
                "warm up",
                steps,
                self.row_batches(index),
                epochs=self.config["warm_epochs"],
                after=self._serve,
            )
        ]

    @torch.no_grad()
    def _serve(self) -> None:
        self.new_vectors.copy_(self.cold_vectors())
