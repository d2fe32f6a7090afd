"""EmerG: a feature graph per item, made by a hypernetwork and adapted on few rows.

Source: Wang, Piao, Dong, Yao, Zhou, "Warming Up Cold-Start CTR Prediction by Learning Item-Specific
Feature Interactions", KDD 2024.
Shape letters: t tasks (items), k rows of a task, b rows of a batch, f (and g) fields, p fields of
the item, q other fields, d embedding size, h heads, a and o orders (layers + 1), n = t f k.
Inside the network the embedding size is the first axis and the rows are the last one: what is done
per order and head is then a few long vectors, not many short ones.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.utils import FeatureSource
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from recbole_cold import seeding
from recbole_cold.episodes import Blocks, Episode, EpisodeBatches, masked_mean, time_blocks
from recbole_cold.errors import UserError
from recbole_cold.graphs import Graphs
from recbole_cold.model._base import ColdStartRecommender, Fit, Step
from recbole_cold.model._contract import mix, score
from recbole_cold.model._inner import Chunks, adapt
from recbole_cold.model._shortcuts import lookup, pooled
from recbole_cold.rows import Batch, Rows

logger = logging.getLogger(__name__)

# (a, b), (b, c), (c, d): support and query follow each other in time.
PAIRS = ((0, 1), (1, 2), (2, 3))
# Rows differentiated at once: their intermediates stay near a processor's cache.
_CHUNK_ROWS = 1280
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


# ------------------------------------------------------------------------------- the graph
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


def refine(raw_tff: Tensor, top_k: int | None, layers: int, *, mask: bool = True) -> list[Tensor]:
    """Adjacency matrices of the orders 1 to ``layers`` from a raw graph: eq. (3)-(6).

    Order 1 keeps the largest entries of the scaled graph and is made symmetric; each further order
    is a path longer by one, where order 1 has an edge (``mask``). Which entries are kept and where
    edges are counts as given; gradients go through the values.

    Args:
        top_k: entries kept, the diagonal included; ``None`` keeps all.
    """
    first = with_self_loops(min_max(raw_tff))
    if top_k is not None and top_k < first.shape[-1] ** 2:
        first = first * largest(first, top_k)
    first = (first + first.transpose(-2, -1)) / 2
    edges = (first != 0).to(first.dtype)
    orders = [first]
    for _ in range(layers - 1):
        power = orders[-1] @ first
        if mask:
            power = power * edges
        power = with_self_loops(min_max(power))
        orders.append(power * edges if mask else power)
    return orders


def cut_fields(graph_tff: Tensor, without: Tensor) -> Tensor:
    """The graph without the edges of the fields ``without`` (bool [f]), self-loops included."""
    return graph_tff.masked_fill(without[:, None] | without, 0.0)


def combine(before: Tensor, message: Tensor, interact: str) -> Tensor:
    """A node's next state from its last one and its message."""
    if interact == "product":
        return before * message
    return torch.maximum(before, message) if interact == "max" else before + message


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


# ------------------------------------------------------------------------------- the network
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
            code = torch.stack([interaction[f] + o for f, o in zip(tokens, offsets, strict=True)])
            rows = lookup(self.token_embedding_table.embedding.weight, code)
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

    def _number(self, field: str, pair_b2: Tensor) -> Tensor:
        offset = int(self.float_field_offsets[self.float_field_names.index(field)])
        code = pair_b2[..., 1].long() + offset
        return pair_b2[..., :1] * lookup(self.float_embedding_table.embedding.weight, code)

    # ---------------------------------------------------------------- the forward pass
    def graphs(self, raw_tff: Tensor) -> list[Tensor]:
        """The adjacency matrices of all layers from raw graphs."""
        if self.refined:
            orders = refine(raw_tff, self.top_k, self.layers, mask=self.masked)
        else:
            orders = [raw_tff] * self.layers
        if self.without is not None:
            orders = [cut_fields(order, self.without) for order in orders]
        return orders

    def _message_act(self, message: Tensor, layer: int) -> Tensor:
        if self.message_act == "leaky_relu" and layer < self.layers - 1:
            return F.leaky_relu(message, _LEAK)
        return message

    def propagate(self, graphs: Sequence[Tensor], fields_dtfk: Tensor) -> Tensor:
        """Node states of all orders [d, a, t, f, k]; the rows of a task share its graphs."""
        orders = [fields_dtfk]
        for layer, graph_tff in enumerate(graphs):
            changed = self.message_weight[layer].T @ fields_dtfk.flatten(1)
            message = graph_tff @ changed.view_as(fields_dtfk)
            message = self._message_act(message, layer)
            orders.append(combine(orders[-1], message, self.interact))
        return torch.stack(orders, dim=1)

    def propagate_rows(self, graphs: Sequence[Tensor], fields_bfd: Tensor) -> Tensor:
        """``propagate`` with graphs [b, f, f] of each row's own: [d, a, 1, f, b]."""
        orders = [fields_bfd]
        for layer, graph_bff in enumerate(graphs):
            message = torch.bmm(graph_bff, fields_bfd @ self.message_weight[layer])
            message = self._message_act(message, layer)
            orders.append(combine(orders[-1], message, self.interact))
        return torch.stack([_fields_first(order) for order in orders], dim=1)

    def attend(self, orders_dan: Tensor) -> Tensor:
        """Each node's orders attend to each other and are summed: [d, n].

        ``sum_o ReLU(W_o concat_h softmax(Q K^T / sqrt d) V + b)``; queries with keys, and values
        with the output, are one matrix per head, since nothing stands between them.
        """
        size, n_orders, n = orders_dan.shape
        heads = self.heads
        query, key = (weight.view(size, heads, size) for weight in (self.query, self.key))
        value = self.value.view(size, heads, size)
        score_hdd = torch.einsum("dhe,che->hcd", query, key) / math.sqrt(size)
        out_dhd = torch.einsum("dhe,hec->chd", value, self.out.view(heads, size, size))
        flat = orders_dan.reshape(size, -1)
        asked = (score_hdd.reshape(-1, size) @ flat).view(heads, size, n_orders, n)
        share_ohan = torch.softmax(score(asked, orders_dan), dim=0)
        mixed = mix(share_ohan, orders_dan)
        out = out_dhd.reshape(size, -1) @ mixed.reshape(heads * size, -1) + self.out_bias[:, None]
        return F.relu(out).view(size, n_orders, n).sum(dim=1)

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

    def read_out(self, orders: Tensor) -> Tensor:
        """Logits [t, k] from the node states of all orders [d, a, t, f, k]."""
        size, n_orders, t, f, k = orders.shape
        if self.attention == "regrouped":
            node = self.attend_regrouped(orders)
        else:
            node = self.attend(orders.reshape(size, n_orders, -1)).view(size, t, f, k)
        node = node.transpose(1, 2).reshape(size, f, t * k)
        gate = torch.sigmoid(self.gate.permute(2, 1, 0).reshape(f, -1) @ node.reshape(size * f, -1))
        value = (self.node_score @ node.reshape(size, -1)).view(f, t * k)
        return (gate * value).sum(dim=0).view(t, k)

    def task_logits(self, raw_tff: Tensor, fields_dtfk: Tensor) -> Tensor:
        """Logits [t, k] of tasks with raw graphs of their own."""
        return self.read_out(self.propagate(self.graphs(raw_tff), fields_dtfk))

    def forward(self, interaction) -> Tensor:
        fields_bfd = self.concat_embed_input_fields(interaction).index_select(1, self.place)
        fields_dtfk = _fields_first(fields_bfd)
        if self.pretrain_graph == "shared":
            return self.task_logits(self.global_graph, fields_dtfk)[0]
        orders = [fields_dtfk]
        for layer, graph_ff in enumerate(self.global_graph):
            message = self._message_act(graph_ff @ fields_dtfk, layer)
            orders.append(combine(orders[-1], message, self.interact))
        return self.read_out(torch.stack(orders, dim=1))[0]

    def calculate_loss(self, interaction) -> Tensor:
        return self.loss(self.forward(interaction), interaction[self.LABEL])

    def predict(self, interaction) -> Tensor:
        return torch.sigmoid(self.forward(interaction))


def _fields_first(fields_bfd: Tensor) -> Tensor:
    """Rows that are one task: [d, 1, f, b]."""
    b, f, d = fields_bfd.shape
    return fields_bfd.transpose(0, 1).reshape(f * b, d).T.contiguous().view(d, 1, f, b)


# ------------------------------------------------------------------------------- tasks
class TaskRows(NamedTuple):
    """Rows of tasks as the network reads them: their other fields, labels and mask."""

    other_dtqk: Tensor
    label_tk: Tensor
    mask_tk: Tensor

    def part(self, tasks: slice) -> "TaskRows":
        """Some of the tasks, without columns that only others use."""
        mask_tk = self.mask_tk[tasks]
        k = _width(mask_tk)
        return TaskRows(self.other_dtqk[:, tasks, :, :k], self.label_tk[tasks, :k], mask_tk[:, :k])


def _width(mask_tk: Tensor) -> int:
    return max(1, int(mask_tk.sum(dim=1).max())) if len(mask_tk) else 1


def task_loss(logits_tk: Tensor, rows: TaskRows) -> Tensor:
    """Mean binary cross entropy of each task's real rows, 0 without any: [t]."""
    return masked_mean(F.softplus(logits_tk) - rows.label_tk * logits_tk, rows.mask_tk)


class WarmBatch(NamedTuple):
    """All new items' rows of a warm-up set as tasks, one optimizer step's batch."""

    slots_t: Tensor
    ids_t: Tensor
    rows: Batch
    mask_tk: Tensor

    def __len__(self) -> int:
        return int(self.mask_tk.sum())


class WholeSet:
    """One batch per epoch, always the same."""

    def __init__(self, batch: WarmBatch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def epoch(self, generator: Generator, epoch: int, start: int = 0) -> Iterable[WarmBatch]:
        return [self.batch][start:]


# ------------------------------------------------------------------------------- the method
class EmerG(ColdStartRecommender):
    """Every item has a feature graph of its own in a network that is shared.

    A hypernetwork makes the graph from the item's fields. Meta-training on old items teaches it,
    and the network, to be good at once and better after a gradient step on the graph and the ID
    vector; for new items only these two move, in the warm phases.
    """

    paper = "Wang et al., KDD 2024"
    year = 2024
    network = EmerGNet
    choices: ClassVar = {
        "emerg_interact": ("product", "max", "sum"),
        "emerg_message_act": ("none", "leaky_relu"),
        "emerg_attention": ("per_field", "regrouped"),
        "emerg_pretrain_graph": ("shared", "free"),
        "emerg_pooling": ("sum", "mean"),
        "emerg_graph": ("hyper", "shared", "random"),
        "emerg_hyper": ("trained", "untrained"),
        "emerg_id_draw": ("task", "table"),
    }

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.net: EmerGNet
        self.__dict__["net"] = self.backbone.model
        n_fields, size = len(self.net.graph_fields), self.embedding_size
        self.kind = config["emerg_graph"]
        if config["emerg_order"] not in (1, 2):
            raise UserError(f"emerg_order is {config['emerg_order']}; it must be 1 or 2")
        if self.kind == "shared" and config["emerg_pretrain_graph"] == "free":
            raise UserError(
                "emerg_graph: shared starts from the pre-trained graph, and emerg_pretrain_graph: "
                "free has none; set emerg_pretrain_graph: shared"
            )
        if self.kind == "hyper":
            side = len(self.net.own_fields) * size
            self.hyper = HyperNetwork(
                side, n_fields, config["emerg_shared_hyper"], config["emerg_graph_scale"]
            )
        elif self.kind == "random":
            draw = seeding.generator(config["seed"], "random graphs")
            graphs = torch.randn(self.n_ids, n_fields, n_fields, generator=draw)
            self.register_buffer("random_graphs", graphs, persistent=False)
        m = len(self.new_ids)
        self.new_graphs = nn.Parameter(torch.zeros(m, n_fields, n_fields))
        # Graphs and vectors at the start and after each warm phase: for pictures, and for items
        # that have no rows in a phase.
        self._warm_parts = list(dataset.split.warm_parts)
        phases = 1 + len(self._warm_parts)
        self.register_buffer("graph_history", torch.zeros(phases, m, n_fields, n_fields))
        self.register_buffer("row_history", torch.zeros(phases, m, size))
        self.register_buffer("phase", torch.tensor(0))
        self._chunks = Chunks(_CHUNK_ROWS, "rows")
        self._tokens = dataset.field2id_token[self.id_field]
        self._time = dataset.time
        self._all_ids = np.asarray(dataset.inter[self.id_field])
        self._train = np.asarray(dataset.split["train"])
        self.to(self.device)

    def pretrain_key(self) -> dict[str, Any]:
        """What makes the network another one: ablations pre-train on their own."""
        return {key: self.config[key] for key in NETWORK_KEYS}

    # ---------------------------------------------------------------- what moves
    @property
    def adapts_graph(self) -> bool:
        """A random graph is what it is; only the vector adapts beside it."""
        return self.kind != "random"

    def trainable(self, stage: str) -> list[nn.Parameter]:
        if stage != "learn":
            return [self.new_graphs, self.new_rows] if self.adapts_graph else [self.new_rows]
        skip = {id(self.net.global_graph)} if self.kind != "shared" else set()
        parameters = [p for p in self.net.parameters() if id(p) not in skip]
        parameters = [p for p in parameters if not self._is_first_order(p)]
        if self.kind == "hyper" and self.config["emerg_hyper"] == "trained":
            parameters += list(self.hyper.parameters())
        return parameters

    def _is_first_order(self, parameter: nn.Parameter) -> bool:
        return any(parameter is p for p in self.net.first_order_linear.parameters())

    # ---------------------------------------------------------------- items and rows as tensors
    def side_fields_of(self, ids: Tensor) -> Tensor:
        """The items' fields but for the ID: [t, p - 1, d]."""
        fields = self.net.own_fields[1:]
        if not fields:
            return self.new_rows.new_zeros(len(ids), 0, self.embedding_size)
        features = self.rows.features_of(self.id_field)
        columns = {field: self._column(field, features[field][ids]) for field in fields}
        return self.net.embed_fields(fields, columns).transpose(0, 1)

    def _column(self, field: str, value: Tensor) -> Tensor:
        return Rows.as_number(value) if field in self.rows.numerical else value

    def task_rows(self, batch: Batch, mask_tk: Tensor) -> TaskRows:
        """The rows of tasks, flattened to [t * k] in ``batch``, their other fields embedded."""
        t, k = mask_tk.shape
        label = batch[self.label_field].view(t, k).to(mask_tk.dtype)
        fields = self.net.other_fields
        size = self.embedding_size
        if not fields:
            return TaskRows(self.new_rows.new_zeros(size, t, 0, k), label, mask_tk)
        other = self.net.embed_fields(fields, batch).view(len(fields), t, k, size)
        other = other.transpose(0, 1).reshape(-1, size).T.contiguous()
        return TaskRows(other.view(size, t, len(fields), k), label, mask_tk)

    def raw_graphs(self, ids: Tensor, vector_td: Tensor, side_tpd: Tensor) -> Tensor:
        """Where the items' graphs start: [t, f, f]."""
        if self.kind == "random":
            return self.random_graphs[ids]
        if self.kind == "shared":
            return self.net.global_graph.expand(len(ids), -1, -1)
        own = torch.cat([vector_td[:, None], side_tpd], dim=1)
        return self.hyper(own.flatten(1))

    def adapted_logits(
        self, fast: Mapping[str, Tensor], side_tpd: Tensor, other_dtqk: Tensor
    ) -> Tensor:
        """Logits [t, k] of tasks' rows with graphs and ID vectors ``fast``."""
        k = other_dtqk.shape[-1]
        own = torch.cat([fast["vector"][:, None], side_tpd], dim=1)
        own_dtpk = own.permute(2, 0, 1)[..., None].expand(-1, -1, -1, k)
        fields = torch.cat([own_dtpk, other_dtqk], dim=2)
        return self.net.task_logits(fast["graph"], fields)

    # ---------------------------------------------------------------- meta-training
    def begin_learn(self) -> None:
        """Old items forget who they are: every ID row is drawn anew."""
        rows = self.backbone.id_rows()
        draw = seeding.generator(self.config["seed"], "id rows")
        with torch.no_grad():
            fresh = torch.rand(rows.shape, generator=draw) * 0.02 - 0.01
            rows.copy_(fresh.to(rows))

    def start_vectors(self, ids: Tensor) -> Tensor:
        """ID vectors [t, d] at the start of a task."""
        if self.config["emerg_id_draw"] == "table":
            return lookup(self.backbone.id_rows(), ids)
        shape = (len(ids), self.embedding_size)
        return torch.rand(shape, device=self.device).to(self.new_rows.dtype) * 0.02 - 0.01

    def episode_loss(self, episode: Episode) -> Tensor:
        """``mean_i [gamma L_S(phi_i) + (1 - gamma) L_Q(phi_i')]``, in chunks of tasks."""
        support_tk, query_tk = episode.support_mask_tk, episode.query_mask_tk
        real_t = support_tk.any(dim=1) & query_tk.any(dim=1)
        n_real = real_t.sum().clamp(min=1)
        from_table = self.config["emerg_id_draw"] == "table"
        drawn = None if from_table else self.start_vectors(episode.ids_t)

        def loss(tasks: slice) -> Tensor:
            part = episode.tasks(tasks)
            vector = self.start_vectors(part.ids_t) if drawn is None else drawn[tasks]
            return self._chunk_loss(vector, part).mul(real_t[tasks]).sum() / n_real

        width = _width(support_tk) + _width(query_tk)
        return self._chunks.summed(loss, len(real_t), self.trainable("learn"), width)

    def _chunk_loss(self, vector_td: Tensor, episode: Episode) -> Tensor:
        """The loss of each task: [t]."""
        support = _narrow(episode.support, episode.support_mask_tk)
        query = _narrow(episode.query, episode.query_mask_tk)
        support_rows, query_rows = self.task_rows(*support), self.task_rows(*query)
        side_tpd = self.side_fields_of(episode.ids_t)
        graph = self.raw_graphs(episode.ids_t, vector_td, side_tpd)
        fast = {"graph": graph, "vector": vector_td}
        adapted, support_t = self.adapt(fast, side_tpd, support_rows, episode.ids_t)
        logits = self.adapted_logits(adapted, side_tpd, query_rows.other_dtqk)
        gamma = self.config["emerg_gamma"]
        return gamma * support_t + (1.0 - gamma) * task_loss(logits, query_rows)

    def adapt(
        self, fast: dict[str, Tensor], side_tpd: Tensor, rows: TaskRows, ids: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Graph and ID vector after the inner steps, and the support loss [t] before them."""
        fixed = {} if self.adapts_graph else {"graph": fast["graph"]}
        moving = {name: value for name, value in fast.items() if name not in fixed}

        def loss(moving: dict[str, Tensor]) -> Tensor:
            logits = self.adapted_logits({**fixed, **moving}, side_tpd, rows.other_dtqk)
            return task_loss(logits, rows)

        adapted, start_t = adapt(
            loss,
            moving,
            learning_rates=self.config["emerg_inner_rate"],
            steps=self.config["emerg_inner_steps"] if self.config["emerg_inner"] else 0,
            second_order=self.config["emerg_order"] == 2,
            name_of=lambda task: self.name_of(ids[task]),
        )
        return {**fixed, **adapted}, start_t

    def name_of(self, code: Tensor) -> str:
        """The item's own name in the data."""
        return f"{self.id_field} '{self._tokens[int(code)]}'"

    def _blocks(self) -> Blocks:
        blocks = time_blocks(self._all_ids, self._time, self._train, 4, None)
        if not blocks.mask_tjk.any():
            raise UserError(
                "EmerG needs old items with at least 4 rows, a quarter to learn from and the next "
                "one to be tested on; use a data set with more rows per item"
            )
        return blocks

    def learn_fits(self) -> list[Fit]:
        rate, decay = self.config["emerg_meta_rate"], self.config["weight_decay"]
        parameters = self.trainable("learn")
        if not self.config["emerg_meta"]:
            step = Step(self.calculate_loss, parameters, rate, decay)
            return [Fit("learn", [step], self.row_batches(self.train_index))]
        batches = EpisodeBatches(
            self.rows,
            self._blocks(),
            PAIRS,
            self.config["emerg_meta_batch_size"],
            self.config["emerg_support_cap"],
            self.config["emerg_query_cap"],
            self.config["emerg_shuffle"],
        )
        step = Step(self.episode_loss, parameters, rate, decay)
        return [Fit("learn", [step], batches, epochs=self.config["emerg_epochs"])]

    # ---------------------------------------------------------------- new items
    @torch.no_grad()
    def cold_rows(self) -> Tensor:
        if self.config["new_item_init"] != "random":
            return super().cold_rows()
        draw = seeding.generator(self.config["seed"], "new id rows")
        fresh = torch.rand(self.new_rows.shape, generator=draw) * 0.02 - 0.01
        return fresh.to(self.new_rows)

    @torch.no_grad()
    def enter_cold(self) -> None:
        super().enter_cold()
        side = self.side_fields_of(self.new_ids)
        self.new_graphs.copy_(self.raw_graphs(self.new_ids, self.new_rows, side))
        self._remember()

    @torch.no_grad()
    def _remember(self) -> None:
        at = int(self.phase)
        self.graph_history[at].copy_(self.new_graphs)
        self.row_history[at].copy_(self.new_rows)

    def observe(self, index: Tensor) -> None:
        super().observe(index)
        self.phase += 1
        self._remember()

    def warm_fits(self, index: Tensor) -> list[Fit]:
        if not self.config["emerg_inner"]:
            return []
        rows = index.cpu().numpy()
        blocks = time_blocks(self._all_ids, self._time, rows, 1, None)
        ids_t = torch.as_tensor(blocks.ids_t, dtype=torch.long, device=self.device)
        mask_tk = torch.as_tensor(blocks.mask_tjk[:, 0], device=self.device)
        batch = WarmBatch(
            self.slot[ids_t],
            ids_t,
            self.rows.batch(self._index(blocks.rows_tjk[:, 0].reshape(-1))),
            mask_tk.to(self.new_rows.dtype),
        )
        step = Step(
            self.warm_loss,
            self.trainable("warm_up"),
            self.config["warm_learning_rate"],
            self.config["weight_decay"],
        )
        epochs, settle = self.config["warm_epochs"], partial(self._settle, batch)
        return [Fit("adapt", [step], WholeSet(batch), epochs, after=settle, keep="adapt")]

    def warm_loss(self, batch: WarmBatch) -> Tensor:
        """The sum over items of the mean loss of their rows: each item's own descent."""
        memo = batch.rows.memo
        if "tasks" not in memo:
            with torch.no_grad():
                memo["tasks"] = self.task_rows(batch.rows, batch.mask_tk)
                memo["side"] = self.side_fields_of(batch.ids_t)
        rows, side = memo["tasks"], memo["side"]

        def loss(tasks: slice) -> Tensor:
            slots = batch.slots_t[tasks]
            part = rows.part(tasks)
            fast = {"graph": self.new_graphs[slots], "vector": self.new_rows[slots]}
            return task_loss(self.adapted_logits(fast, side[tasks], part.other_dtqk), part).sum()

        n_tasks, width = batch.mask_tk.shape
        return self._chunks.summed(loss, n_tasks, self.trainable("warm_up"), width)

    @torch.no_grad()
    def _settle(self, batch: WarmBatch) -> None:
        """Items without rows in this phase stay where they were, whatever Adam's momentum did."""
        idle = torch.ones(len(self.new_ids), dtype=torch.bool, device=self.device)
        idle[batch.slots_t] = False
        at = int(self.phase)
        self.new_graphs[idle] = self.graph_history[at, idle]
        self.new_rows[idle] = self.row_history[at, idle]
        self._remember()

    @torch.no_grad()
    def graphs(self) -> Graphs:
        """Every new item's adjacency matrices, at the start and after each phase so far."""
        n_phases = int(self.phase) + 1
        orders = torch.stack(
            [torch.stack(self.net.graphs(raw)) for raw in self.graph_history[:n_phases]]
        )
        return Graphs(
            self.net.graph_fields,
            [str(self._tokens[code]) for code in self.new_ids.tolist()],
            ["cold", *self._warm_parts][:n_phases],
            orders.cpu().numpy(),
        )

    # ---------------------------------------------------------------- serving
    def logits(self, interaction: Batch) -> Tensor:
        """Logits [b] with every row's item's own graph and vector."""
        ids, place = interaction.unique(self.id_field)
        vector_ud, _ = self.item_vectors(ids)
        side_upd = self.side_fields_of(ids)
        raw = self.raw_graphs(ids, vector_ud, side_upd)
        slot = self.slot[ids]
        served = lookup(self.new_graphs, slot.clamp(min=0)) if len(self.new_graphs) else raw
        entered = (slot >= 0)[:, None, None] & self.cold_entered
        raw = torch.where(entered, served, raw)
        own = torch.cat([vector_ud[:, None], side_upd], dim=1)
        graphs = [lookup(graph.flatten(1), place).view(-1, *graph.shape[1:])
                  for graph in self.net.graphs(raw)]  # fmt: skip
        parts = [lookup(own.flatten(1), place).view(len(place), -1, self.embedding_size)]
        if self.net.other_fields:
            other = self.net.embed_fields(self.net.other_fields, interaction)
            parts.append(other.transpose(0, 1))
        orders = self.net.propagate_rows(graphs, torch.cat(parts, dim=1))
        return self.net.read_out(orders)[0]


def _narrow(batch: Batch, mask_tk: Tensor) -> tuple[Batch, Tensor]:
    """The same rows without columns that are padding for every task."""
    t, k = mask_tk.shape
    width = _width(mask_tk)
    if width == k:
        return batch, mask_tk
    return batch.rows.batch(batch.index.view(t, k)[:, :width].reshape(-1)), mask_tk[:, :width]
