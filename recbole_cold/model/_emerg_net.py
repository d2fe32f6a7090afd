"""EmerG's network: feature graphs, the hypernetwork that makes them, and the model that reads them.

Shape letters as in ``emerg.py``. Inside the network the embedding size is the first axis and the
rows are the last one: what is done per order and head is then a few long vectors, not many short
ones.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.utils import FeatureSource
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._beyond import Beyond
from recbole_cold.backbone._shortcuts import pooled
from recbole_cold.data._cache import cache_root
from recbole_cold.device import in_float32
from recbole_cold.errors import UserError
from recbole_cold.model._emerg_attention import attend, attend_plainly
from recbole_cold.model._emerg_compiled import attend_compiled, kernel_for
from recbole_cold.model._emerg_states import states

_LEAK = 0.01
# Keys that the network reads, and with them its pre-training.
NETWORK_KEYS = (
    "emerg_layers",
    "emerg_heads",
    "emerg_top_k",
    "emerg_interact",
    "emerg_message_act",
    "emerg_attention",
    "emerg_pooling",
    "emerg_init_std",
    "emerg_graph_scale",
    "emerg_pretrain_graph",
    "emerg_refine",
    "emerg_sparsify",
    "emerg_mask",
    "emerg_cut_fields",
)


def min_max(graph_tff: Tensor) -> Tensor:
    """Every graph's own entries scaled to [0, 1]."""
    low = graph_tff.amin(dim=(-2, -1), keepdim=True)
    high = graph_tff.amax(dim=(-2, -1), keepdim=True)
    return (graph_tff - low) / (high - low + 1e-8)


def with_self_loops(graph_tff: Tensor) -> Tensor:
    """The same graphs with ones on the diagonal."""
    eye = torch.eye(graph_tff.shape[-1], dtype=torch.bool, device=graph_tff.device)
    return graph_tff.masked_fill(eye, 1.0)


@torch.no_grad()
def largest(graph_tff: Tensor, top_k: int) -> Tensor:
    """Where each graph's ``top_k`` largest entries are, the diagonal among them: bool."""
    size = graph_tff.shape[-1]
    eye = torch.eye(size, dtype=torch.bool, device=graph_tff.device)
    flat = graph_tff.masked_fill(eye, math.inf).flatten(-2)
    # Stable: of equal entries the first ones stay.
    order = flat.sort(dim=-1, descending=True, stable=True).indices
    keep = torch.zeros_like(flat, dtype=torch.bool)
    return keep.scatter_(-1, order[..., :top_k], True).view_as(graph_tff)


def first_order(raw_tff: Tensor, top_k: int | None) -> Tensor:
    """The adjacency matrix of order 1: the largest entries of the scaled graph, made symmetric.

    Args:
        top_k: entries kept, the diagonal included; ``None`` keeps all.
    """
    first = with_self_loops(min_max(raw_tff))
    if top_k is not None and top_k < first.shape[-1] ** 2:
        first = first * largest(first, top_k)
    return (first + first.transpose(-2, -1)) / 2


@in_float32
def higher_orders(first: Tensor, layers: int, *, mask: bool = True) -> list[Tensor]:
    """Adjacency matrices of the orders 1 to ``layers`` from that of order 1.

    Each is a path longer by one, where order 1 has an edge (``mask``).
    """
    edges = (first != 0).to(first.dtype)
    orders = [first]
    for _ in range(layers - 1):
        power = orders[-1] @ first
        if mask:
            power = power * edges
        power = with_self_loops(min_max(power))
        orders.append(power * edges if mask else power)
    return orders


def refine(raw_tff: Tensor, top_k: int | None, layers: int, *, mask: bool = True) -> list[Tensor]:
    """Adjacency matrices of the orders 1 to ``layers`` from a raw graph: eq. (3)-(6).

    Which entries are kept and where edges are counts as given; gradients go through the values.
    """
    return higher_orders(first_order(raw_tff, top_k), layers, mask=mask)


def cut_fields(graph_tff: Tensor, without: Tensor) -> Tensor:
    """The graph without the edges of the fields ``without`` (bool [f]), self-loops included."""
    return graph_tff.masked_fill(without[:, None] | without, 0.0)


class HyperNetwork(nn.Module):
    """Row m of an item's raw graph from the vectors of its own fields: one small MLP per row.

    Args:
        side: width of the item's fields together.
        n_fields: f.
        shared: one MLP for all rows, told apart by the one-hot row number only.
        scale: of the last layer's start, against ``nn.Linear``'s own.
    """

    def __init__(self, side: int, n_fields: int, shared: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.side, self.n_fields = side, n_fields
        sizes = [(side + n_fields, n_fields), (n_fields, n_fields), (n_fields, n_fields)]
        n_mlps = 1 if shared else n_fields
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (size_in, size_out) in enumerate(sizes):
            bound = (scale if layer == len(sizes) - 1 else 1.0) / math.sqrt(size_in)
            weight = torch.empty(n_mlps, size_in, size_out).uniform_(-bound, bound)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.empty(n_mlps, size_out).uniform_(-bound, bound)))

    @in_float32  # whose largest entries are looked for: narrow ones would be equal
    def forward(self, own_ts: Tensor) -> Tensor:
        """Raw graphs [t, f, f] from the items' concatenated vectors."""
        size = self.n_fields
        weight, row = self.weights[0].split([self.side, size], dim=1)
        # The one-hot row number picks one row of the first weight.
        number = row.diagonal().T if len(row) == size else row[0]
        state = own_ts.expand(size, *own_ts.shape)
        bias = (self.biases[0] + number)[:, None]
        state = torch.baddbmm(bias, state, weight.expand(size, -1, -1))
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            bias = bias.expand(size, -1)[:, None]
            state = torch.baddbmm(bias, F.relu(state), weight.expand(size, -1, -1))
        return state.transpose(0, 1)


class EmerGNet(ContextRecommender):
    """The multiplicative graph network on RecBole's embedding tables, with one graph for all items.

    By itself, as in pre-training, it is a click model like any other; ``EmerG`` gives each item a
    graph of its own. Fields stand in the order: the item's ID, its other fields, the rest.
    """

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.layers, self.heads = config["emerg_layers"], config["emerg_heads"]
        self.interact, self.message_act = config["emerg_interact"], config["emerg_message_act"]
        self.refined, self.masked = config["emerg_refine"], config["emerg_mask"]
        self.pretrain_graph = config["emerg_pretrain_graph"]
        self.pooling = config["emerg_pooling"]
        user_side = config["cold_side"] == "user"
        self.id_field = dataset.uid_field if user_side else dataset.iid_field
        self._order_fields(dataset, FeatureSource.USER if user_side else FeatureSource.ITEM)
        self.top_k = self._top_k(config)
        size, n_fields, wide = self.embedding_size, self.num_feature_field, self.heads
        wide *= size
        self.message_weight = nn.Parameter(torch.empty(self.layers, size, size))
        self.attention = config["emerg_attention"]
        whole = n_fields if self.attention == "regrouped" else 1
        self.query = nn.Parameter(torch.empty(whole * size, whole * wide))
        self.key = nn.Parameter(torch.empty(whole * size, whole * wide))
        self.value = nn.Parameter(torch.empty(whole, size, wide))
        self.out = nn.Parameter(torch.empty(wide, size))
        self.out_bias = nn.Parameter(torch.zeros(size))
        self.gate = nn.Parameter(torch.empty(n_fields, size, n_fields))
        self.node_score = nn.Parameter(torch.empty(size))
        maps = 1 if self.pretrain_graph == "shared" else self.layers
        self.global_graph = nn.Parameter(torch.empty(maps, n_fields, n_fields))
        self.loss = nn.BCEWithLogitsLoss()
        self.compiled_in = cache_root(config["cache_dir"]) / "compiled"
        self.beyond: Beyond | None = None  # where codes may be beyond the tables
        self._initialise(config["emerg_init_std"], config["emerg_graph_scale"])

    def _order_fields(self, dataset, own_source: FeatureSource) -> None:
        # As RecBole concatenates embeddings: sequences, tokens, number sequences, numbers.
        order = [
            *self.token_seq_field_names,
            *self.token_field_names,
            *self.float_seq_field_names,
            *self.float_field_names,
        ]
        side = set(dataset.fields(source=[own_source]))
        self.own_fields = [self.id_field, *(f for f in order if f in side and f != self.id_field)]
        self.other_fields = [field for field in order if field not in self.own_fields]
        self.graph_fields = [*self.own_fields, *self.other_fields]
        place = torch.tensor([order.index(field) for field in self.graph_fields])
        self.register_buffer("place", place, persistent=False)

    def _top_k(self, config) -> int | None:
        n_fields, top_k = self.num_feature_field, config["emerg_top_k"]
        cut = list(config["emerg_cut_fields"] or ())
        unknown = [field for field in cut if field not in self.graph_fields]
        if unknown:
            raise UserError(
                f"emerg_cut_fields names {', '.join(unknown)}, which the network does not have; "
                f"its fields are {', '.join(self.graph_fields)}"
            )
        without = torch.tensor([field in cut for field in self.graph_fields])
        self.register_buffer("without", without if cut else None, persistent=False)
        if not config["emerg_sparsify"]:
            return None
        if top_k is None:
            return max(n_fields**2 // 2, n_fields)
        if top_k < n_fields:
            raise UserError(
                f"emerg_top_k is {top_k}, but a graph of {n_fields} fields keeps its diagonal; "
                f"give at least {n_fields}"
            )
        return top_k

    def _initialise(self, std: float, scale: float) -> None:
        for table in self.modules():
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=std)
        for weight in self.message_weight:
            nn.init.xavier_normal_(weight)
        for weight in (self.query, self.key, *self.value, self.out):
            nn.init.xavier_normal_(weight)
        nn.init.xavier_normal_(self.gate.view(-1, self.gate.shape[-1]))
        nn.init.xavier_normal_(self.node_score.view(-1, 1))
        nn.init.normal_(self.global_graph, std=scale)

    def embed_token_seq_fields(self, token_seq_fields, mode="mean"):
        return super().embed_token_seq_fields(token_seq_fields, self.pooling)

    # ---------------------------------------------------------------- embeddings
    def embed_fields(self, fields: Sequence[str], interaction: Mapping[str, Tensor]) -> Tensor:
        """The embeddings of some fields by themselves, past the seam: [fields, b, d]."""
        parts: dict[str, Tensor] = {}
        tokens = [field for field in fields if field in self.token_field_names]
        if tokens:
            offsets = [int(self.token_field_offsets[self.token_field_names.index(f)])
                       for f in tokens]  # fmt: skip
            rows = self._token_rows(tokens, offsets, interaction)
            if len(tokens) == len(fields):
                return rows
            parts.update(zip(tokens, rows, strict=True))
        for field in fields:
            if field in self.token_seq_field_names:
                position = self.token_seq_field_names.index(field)
                parts[field] = pooled(self, position, interaction[field])
            elif field in self.float_field_names:
                parts[field] = self._number(field, interaction[field])
            elif field in self.float_seq_field_names:
                column = interaction[field]
                whole = [column] * len(self.float_seq_field_names)
                position = self.float_seq_field_names.index(field)
                parts[field] = self.embed_float_seq_fields(whole)[:, position]
        return torch.stack([parts[field] for field in fields])

    def _token_rows(
        self, fields: Sequence[str], offsets: Sequence[int], interaction: Mapping[str, Tensor]
    ) -> Tensor:
        """The rows of token fields that begin at these offsets of the table: [fields, b, d]."""
        table = self.token_embedding_table.embedding
        if self.beyond is None:
            parts = zip(fields, offsets, strict=True)
            return table(torch.stack([interaction[field] + offset for field, offset in parts]))
        begin_f1 = torch.tensor(offsets, device=table.weight.device)[:, None]
        code_fb = torch.stack([interaction[field] for field in fields])
        return self.beyond.rows(fields, code_fb, lambda known_fb: table(known_fb + begin_f1))

    def _number(self, field: str, pair_b2: Tensor) -> Tensor:
        offset = int(self.float_field_offsets[self.float_field_names.index(field)])
        code = pair_b2[..., 1].long() + offset
        return pair_b2[..., :1] * self.float_embedding_table.embedding(code)

    # ---------------------------------------------------------------- the forward pass
    def graphs(self, raw_tff: Tensor) -> list[Tensor]:
        """The adjacency matrices of all layers from raw graphs."""
        return self.orders(self.first_order(raw_tff))

    def first_order(self, raw_tff: Tensor) -> Tensor:
        """What the adjacency matrices of all layers are made of: that of order 1."""
        return first_order(raw_tff, self.top_k) if self.refined else raw_tff

    def orders(self, first_tff: Tensor) -> list[Tensor]:
        """The adjacency matrices of all layers from those of order 1."""
        if self.refined:
            orders = higher_orders(first_tff, self.layers, mask=self.masked)
        else:
            orders = [first_tff] * self.layers
        if self.without is not None:
            orders = [cut_fields(order, self.without) for order in orders]
        return orders

    def messages(self, graphs: Sequence[Tensor], fields_dtfk: Tensor) -> Tensor:
        """What each layer's nodes receive [l, d, t, f, k]; the rows of a task share its graphs."""
        # All layers' messages come from the fields themselves, so in one product each.
        changed = self._changed(fields_dtfk)
        return self._acted(torch.stack(list(graphs))[:, None] @ changed)

    def item_messages(
        self, graphs: Sequence[Tensor], own_dtp: Tensor, other_dtqk: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fields and ``messages``, where the first fields are the same in all rows of a task.

        What they send is computed once for a task, and not for its every row.
        """
        d, _, q, k = other_dtqk.shape
        own_graph, other_graph = torch.stack(list(graphs))[:, None].split([own_dtp.shape[2], q], -1)
        once = own_graph @ self._changed(own_dtp[..., None])
        changed = self._changed(other_dtqk).flatten(0, 2)
        other_graph = other_graph.expand(-1, d, -1, -1, -1).flatten(0, 2)
        messages = torch.baddbmm(once.flatten(0, 2), other_graph, changed)
        own_dtpk = own_dtp[..., None].expand(-1, -1, -1, k)
        fields_dtfk = torch.cat([own_dtpk, other_dtqk], dim=2)
        return fields_dtfk, self._acted(messages.view(self.layers, *fields_dtfk.shape))

    def row_messages(self, graphs: Sequence[Tensor], fields_bfd: Tensor) -> tuple[Tensor, Tensor]:
        """Fields and ``messages`` with graphs [b, f, f] of each row's own, all rows one task's."""
        messages = [
            _fields_first(torch.bmm(graph_bff, fields_bfd @ weight_dd))
            for graph_bff, weight_dd in zip(graphs, self.message_weight, strict=True)
        ]
        return _fields_first(fields_bfd), self._acted(torch.stack(messages))

    def _changed(self, fields_dtfk: Tensor) -> Tensor:
        """What the fields send in each layer before a graph weighs it: [l, d, t, f, k]."""
        weight = self.message_weight.transpose(1, 2).flatten(0, 1)
        return (weight @ fields_dtfk.flatten(1)).view(self.layers, *fields_dtfk.shape)

    def _acted(self, messages: Tensor) -> Tensor:
        if self.message_act == "leaky_relu" and self.layers > 1:
            return torch.cat([F.leaky_relu(messages[:-1], _LEAK), messages[-1:]])
        return messages

    def states(self, fields_dtfk: Tensor, messages: Tensor) -> Tensor:
        """Node states of all orders [d, a, t, f, k]."""
        return states(fields_dtfk, messages, self.interact)

    @in_float32
    def attend(self, fields_dtfk: Tensor, messages: Tensor) -> Tensor:
        """Each node's orders attend to each other and are summed: [d, n].

        ``sum_o ReLU(W_o concat_h softmax(Q K^T / sqrt d) V + b)``; queries with keys, and values
        with the output, are one matrix per head, since nothing stands between them.
        """
        size, heads = len(fields_dtfk), self.heads
        query, key = (weight.view(size, heads, size) for weight in (self.query, self.key))
        value = self.value.view(size, heads, size)
        score_hdd = torch.einsum("dhe,che->hcd", query, key) / math.sqrt(size)
        out_hdd = torch.einsum("dhe,hec->hcd", value, self.out.view(heads, size, size))
        weights = score_hdd, out_hdd, self.out_bias
        exported = torch.compiler.is_compiling()
        if self.interact == "product" and not exported:
            fields_dn, messages_ldn = fields_dtfk.flatten(1), messages.flatten(2)
            kernel = kernel_for(messages_ldn, score_hdd, self.compiled_in)
            if kernel is not None:
                return attend_compiled(kernel, fields_dn, messages_ldn, *weights)
        orders_dan = self.states(fields_dtfk, messages).flatten(2)
        # An exporter follows no derivatives, and no blocks of an unknown number of nodes.
        return (attend_plainly if exported else attend)(orders_dan, *weights)

    @in_float32
    def attend_regrouped(self, orders_datfk: Tensor) -> Tensor:
        """The released program's attention: [d, t, f, k].

        Queries and keys are linear in all fields of an order at once; what are then called heads
        are contiguous thirds of the numbers, which cut across heads, fields and orders.
        """
        size, n_orders, t, f, k = orders_datfk.shape
        rows = orders_datfk.permute(2, 4, 1, 3, 0).reshape(t * k, n_orders, f, size)
        flat = rows.flatten(2)
        value = torch.einsum("raFd,Fde->raFe", rows, self.value)
        query, key, value = (
            part.reshape(t * k, self.heads, n_orders * f, size)
            for part in (flat @ self.query, flat @ self.key, value)
        )
        share = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(size), dim=-1)
        mixed = (share @ value).reshape(t * k, n_orders, f, self.heads * size)
        node = F.relu(mixed @ self.out + self.out_bias).sum(dim=1)
        return node.view(t, k, f, size).permute(3, 0, 2, 1)

    def read_out(self, fields_dtfk: Tensor, messages: Tensor) -> Tensor:
        """Logits [t, k] from fields [d, t, f, k] and the messages of each layer."""
        size, t, f, k = fields_dtfk.shape
        if self.attention == "regrouped":
            node = self.attend_regrouped(self.states(fields_dtfk, messages))
        else:
            node = self.attend(fields_dtfk, messages).view(size, t, f, k)
        node = node.transpose(1, 2).reshape(size, f, t * k)
        gate = torch.sigmoid(self.gate.permute(2, 1, 0).reshape(f, -1) @ node.reshape(size * f, -1))
        value = (self.node_score @ node.reshape(size, -1)).view(f, t * k)
        return (gate * value).sum(dim=0).view(t, k)

    def task_logits(self, raw_tff: Tensor, fields_dtfk: Tensor) -> Tensor:
        """Logits [t, k] of tasks with raw graphs of their own."""
        return self.read_out(fields_dtfk, self.messages(self.graphs(raw_tff), fields_dtfk))

    def item_task_logits(self, raw_tff: Tensor, own_dtp: Tensor, other_dtqk: Tensor) -> Tensor:
        """``task_logits`` of tasks whose rows share their first fields ``own_dtp``."""
        return self.read_out(*self.item_messages(self.graphs(raw_tff), own_dtp, other_dtqk))

    def item_logits(
        self, interaction: Mapping[str, Tensor], item_vector: Tensor, item_graph: Tensor
    ) -> Tensor:
        """Logits [b] of rows with each item's ID vector [b, d] and graph of order 1 [b, f, f]."""
        parts = [item_vector[:, None]]
        for fields in (self.own_fields[1:], self.other_fields):
            if fields:
                parts.append(self.embed_fields(fields, interaction).transpose(0, 1))
        sent = self.row_messages(self.orders(item_graph), torch.cat(parts, dim=1))
        return self.read_out(*sent)[0]

    def forward(self, interaction) -> Tensor:
        fields_bfd = self.concat_embed_input_fields(interaction).index_select(1, self.place)
        fields_dtfk = _fields_first(fields_bfd)
        if self.pretrain_graph == "shared":
            return self.task_logits(self.global_graph, fields_dtfk)[0]
        messages = self.global_graph[:, None, None] @ fields_dtfk
        return self.read_out(fields_dtfk, self._acted(messages))[0]

    def calculate_loss(self, interaction) -> Tensor:
        return self.loss(self.forward(interaction), interaction[self.LABEL])

    def predict(self, interaction) -> Tensor:
        return torch.sigmoid(self.forward(interaction))


def _fields_first(fields_bfd: Tensor) -> Tensor:
    """Rows that are one task: [d, 1, f, b]."""
    b, f, d = fields_bfd.shape
    return fields_bfd.transpose(0, 1).reshape(f * b, d).T.contiguous().view(d, 1, f, b)
