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
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from recbole_cold import seeding
from recbole_cold.data.episodes import Blocks, Episode, EpisodeBatches, masked_mean, time_blocks
from recbole_cold.data.rows import Batch, Rows
from recbole_cold.errors import UserError
from recbole_cold.graphs import Graphs
from recbole_cold.keys import COUNT, EPOCHS, INNER_RATE, RATE, STEPS, WEIGHT, Key
from recbole_cold.kinds import field_name, flag, list_of, number, one_of, optional, whole
from recbole_cold.model._emerg_net import NETWORK_KEYS, EmerGNet, HyperNetwork
from recbole_cold.model._emerg_serving import RANDOM, ServedGraphs
from recbole_cold.model._fit import Fit, RowBatches, Step
from recbole_cold.model._inner import Chunks, adapt
from recbole_cold.model._memory import keep_freed_memory
from recbole_cold.model._token_rows import TokenRows

logger = logging.getLogger(__name__)
# (a, b), (b, c), (c, d): support and query follow each other in time.
PAIRS = ((0, 1), (1, 2), (2, 3))
# Rows differentiated at once: their intermediates stay near a processor's cache.
_CHUNK_ROWS = 1280


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
    """The batches of a ``Fit``: one per epoch, always the same."""

    def __init__(self, batch: WarmBatch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def epoch(self, generator: Generator, epoch: int, start: int = 0) -> Iterable[WarmBatch]:
        return [self.batch][start:]


class EmerG(ServedGraphs):
    """Every item has a feature graph of its own in a network that is shared.

    A hypernetwork makes the graph from the item's fields. Meta-training on old items teaches it,
    and the network, to be good at once and better after a gradient step on the graph and the ID
    vector; for new items only these two move, in the warm phases.
    """

    paper = "Wang et al., KDD 2024"
    year = 2024
    network = EmerGNet
    keys: ClassVar = (
        Key("emerg_layers", whole(1, 1000)),
        Key("emerg_heads", whole(1, 1000)),
        Key("emerg_top_k", optional(COUNT)),
        Key("emerg_interact", one_of("product", "max", "sum")),
        Key("emerg_message_act", one_of("none", "leaky_relu")),
        Key("emerg_attention", one_of("per_field", "regrouped")),
        Key("emerg_pooling", one_of("sum", "mean")),
        Key("emerg_init_std", number(least=0)),
        Key("emerg_graph_scale", number(least=0)),
        Key("emerg_shared_hyper", flag()),
        Key("emerg_pretrain_graph", one_of("shared", "free")),
        Key("emerg_meta_rate", RATE),
        Key("emerg_epochs", EPOCHS),
        Key("emerg_meta_batch_size", COUNT),
        Key("emerg_shuffle", flag()),
        Key("emerg_pretrain_shuffle", flag()),
        Key("emerg_support_cap", optional(COUNT)),
        Key("emerg_query_cap", optional(COUNT)),
        Key("emerg_gamma", WEIGHT),
        Key("emerg_inner_rate", INNER_RATE),
        Key("emerg_inner_steps", STEPS),
        Key("emerg_order", one_of(1, 2)),
        Key("emerg_id_draw", one_of("task", "table")),
        Key("emerg_graph", one_of("hyper", "shared", "random", "random_adapted")),
        Key("emerg_hyper", one_of("trained", "untrained")),
        Key("emerg_refine", flag()),
        Key("emerg_sparsify", flag()),
        Key("emerg_mask", flag()),
        Key("emerg_cut_fields", optional(list_of(field_name(), filled=False))),
        Key("emerg_meta", flag()),
        Key("emerg_inner", flag()),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.net: EmerGNet
        self.__dict__["net"] = self.backbone.model
        n_fields, size = len(self.net.graph_fields), self.embedding_size
        self.kind = config["emerg_graph"]
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
        elif self.kind != "shared":
            draw = seeding.generator(config["seed"], "random graphs")
            graphs = torch.randn(self.n_ids, n_fields, n_fields, generator=draw)
            self.register_buffer("random_graphs", graphs, persistent=False)
        m = len(self.new_ids)
        self.new_graphs = nn.Parameter(torch.zeros(m, n_fields, n_fields))
        # Graphs and vectors at the start and after each warm phase: for pictures, and for items
        # that have no rows in a phase.
        self._phase_names = [phase.name for phase in dataset.split.phases]
        phases = len(self._phase_names)
        self.register_buffer("graph_history", torch.zeros(phases, m, n_fields, n_fields))
        self.register_buffer("row_history", torch.zeros(phases, m, size))
        self.register_buffer("phase", torch.tensor(0))
        self._chunks = Chunks(_CHUNK_ROWS, "rows")
        keep_freed_memory()
        self._tokens = dataset.field2id_token[self.id_field]
        self._time = dataset.time
        self._all_ids = np.asarray(dataset.inter[self.id_field])
        self._train = np.asarray(dataset.split["train"])
        self.to(self.device)

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        new = TokenRows(self.id_field, self.new_ids)
        own = {"new_graphs": (new,)}
        later = dict.fromkeys(("graph_history", "row_history"), (new._replace(axis=1),))
        return {**super().token_rows(), **own, **later}

    def pretrain_key(self) -> dict[str, Any]:
        """The keys that change the network, so that ablations are pre-trained separately."""
        return {key: self.config[key] for key in (*NETWORK_KEYS, "emerg_pretrain_shuffle")}

    def pretrain_fits(self) -> list[Fit]:
        """Pre-training; without shuffling its rows come as they happened in time."""
        fits = super().pretrain_fits()
        if self.config["emerg_pretrain_shuffle"]:
            return fits
        index = self.train_index
        if self._time is not None:
            index = index[self._index(np.argsort(self._time[self._train], kind="stable"))]
        in_order = RowBatches(index, self.config["train_batch_size"], self.rows, shuffle=False)
        return [replace(fit, batches=in_order) for fit in fits]

    # ---------------------------------------------------------------- what moves
    @property
    def adapts_graph(self) -> bool:
        """Whether the graph adapts: where it is ``random`` it stays, and only the vector adapts."""
        return self.kind != "random"

    def trainable(self, stage: str) -> list[nn.Parameter]:
        if stage != "learn":
            return [self.new_graphs, self.new_vectors] if self.adapts_graph else [self.new_vectors]
        skip = {id(p) for p in self.net.first_order_linear.parameters()}
        if self.kind != "shared":
            skip.add(id(self.net.global_graph))
        parameters = [p for p in self.net.parameters() if id(p) not in skip]
        if self.kind == "hyper" and self.config["emerg_hyper"] == "trained":
            parameters += list(self.hyper.parameters())
        return parameters

    # ---------------------------------------------------------------- items and rows as tensors
    def side_fields_of(self, ids: Tensor) -> Tensor:
        """The items' fields but for the ID: [t, p - 1, d]."""
        fields = self.net.own_fields[1:]
        if not fields:
            return self.new_vectors.new_zeros(len(ids), 0, self.embedding_size)
        features = self.rows.features_of(self.id_field)
        columns = {field: self._column(field, features[field][ids]) for field in fields}
        return self.net.embed_fields(fields, columns).transpose(0, 1)

    def _column(self, field: str, value: Tensor) -> Tensor:
        return Rows.as_number(value) if field in self.rows.numerical else value

    def task_rows(self, batch: Batch, mask_tk: Tensor) -> TaskRows:
        """The rows of tasks, flattened to [t * k] in ``batch``, their other fields embedded."""
        (rows,) = self.sets_of_rows(batch, mask_tk)
        return rows

    def sets_of_rows(self, batch: Batch, *masks_tk: Tensor) -> list[TaskRows]:
        """``task_rows`` of several sets, with one look-up for all.

        Args:
            batch: of each task the rows of all sets, one set after the other, flattened to [t * k].
            masks_tk: of each set, which of its rows are real.
        """
        t, widths = len(masks_tk[0]), [mask_tk.shape[1] for mask_tk in masks_tk]
        fields, size = self.net.other_fields, self.embedding_size
        labels = batch[self.label_field].view(t, -1).to(masks_tk[0].dtype).split(widths, dim=1)
        if fields:
            embedded = self.net.embed_fields(fields, batch).view(len(fields), t, -1, size)
        else:
            embedded = self.new_vectors.new_zeros(0, t, sum(widths), size)
        made = []
        for label_tk, mask_tk, part in zip(
            labels, masks_tk, embedded.split(widths, dim=2), strict=True
        ):
            # The embedding size is the first axis of the network.
            other = part.transpose(0, 1).reshape(-1, size).T.contiguous()
            other = other.view(size, t, len(fields), mask_tk.shape[1])
            made.append(TaskRows(other, label_tk, mask_tk))
        return made

    def raw_graphs(self, ids: Tensor, vector_td: Tensor, side_tpd: Tensor) -> Tensor:
        """Where the items' graphs start: [t, f, f]."""
        if self.kind in RANDOM:
            return self.random_graphs[ids]
        if self.kind == "shared":
            return self.net.global_graph.expand(len(ids), -1, -1)
        own = torch.cat([vector_td[:, None], side_tpd], dim=1)
        graphs = self.hyper(own.flatten(1))
        return graphs if self.config["emerg_hyper"] == "trained" else graphs.detach()

    def adapted_logits(
        self, fast: Mapping[str, Tensor], side_tpd: Tensor, other_dtqk: Tensor
    ) -> Tensor:
        """Logits [t, k] of tasks' rows with graphs and ID vectors ``fast``."""
        own = torch.cat([fast["vector"][:, None], side_tpd], dim=1)
        return self.net.item_task_logits(fast["graph"], own.permute(2, 0, 1), other_dtqk)

    # ---------------------------------------------------------------- meta-training
    def begin_learn(self) -> None:
        """Redraw every ID row before meta-training."""
        rows = self.backbone.id_table()
        draw = seeding.generator(self.config["seed"], "id rows")
        with torch.no_grad():
            fresh = torch.rand(rows.shape, generator=draw) * 0.02 - 0.01
            rows.copy_(fresh.to(rows))

    def start_vectors(self, ids: Tensor) -> Tensor:
        """ID vectors [t, d] at the start of a task."""
        if self.config["emerg_id_draw"] == "table":
            return self.backbone.id_vectors(ids)
        shape = (len(ids), self.embedding_size)
        return torch.rand(shape, device=self.device).to(self.new_vectors.dtype) * 0.02 - 0.01

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
        support_index, support_mask = _narrow(episode.support.index, episode.support_mask_tk)
        query_index, query_mask = _narrow(episode.query.index, episode.query_mask_tk)
        batch = self.rows.batch(torch.cat([support_index, query_index], dim=1).view(-1))
        support_rows, query_rows = self.sets_of_rows(batch, support_mask, query_mask)
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
        if not blocks.length_t.any():
            raise UserError(
                "EmerG needs old items with at least 4 rows, a quarter to learn from and the next "
                "one to be tested on; use a data set with more rows per item"
            )
        return blocks

    def learn_fits(self) -> list[Fit]:
        rate, decay = self.config["emerg_meta_rate"], self.config["weight_decay"]
        parameters = self.trainable("learn")
        episodes = EpisodeBatches(
            self.rows,
            self._blocks(),
            PAIRS,
            self.config["emerg_meta_batch_size"],
            self.config["emerg_support_cap"],
            self.config["emerg_query_cap"],
            self.config["emerg_shuffle"],
        )
        epochs = self.config["emerg_epochs"]
        if self.config["emerg_meta"]:
            step = Step(self.episode_loss, parameters, rate, decay)
            return [Fit("learn", [step], episodes, epochs)]
        # As many rows as the episodes have, so that the ablation takes away nothing else.
        seen = episodes.rows_seen(epochs)
        passes = math.ceil(seen / len(self.train_index))
        size, most = self.config["train_batch_size"], math.ceil(seen / passes)
        batches = RowBatches(self.train_index, size, self.rows, most=most)
        step = Step(self.calculate_loss, parameters, rate, decay)
        return [Fit("learn", [step], batches, passes)]

    # ---------------------------------------------------------------- new items
    @torch.no_grad()
    def cold_vectors(self) -> Tensor:
        if self.config["new_item_init"] != "random":
            return super().cold_vectors()
        draw = seeding.generator(self.config["seed"], "new id rows")
        fresh = torch.rand(self.new_vectors.shape, generator=draw) * 0.02 - 0.01
        return fresh.to(self.new_vectors)

    @torch.no_grad()
    def start_new_items(self) -> None:
        super().start_new_items()
        side = self.side_fields_of(self.new_ids)
        self.new_graphs.copy_(self.raw_graphs(self.new_ids, self.new_vectors, side))
        self._remember()

    @torch.no_grad()
    def _remember(self) -> None:
        at = int(self.phase)
        self.graph_history[at].copy_(self.new_graphs)
        self.row_history[at].copy_(self.new_vectors)

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
            self.new_index[ids_t],
            ids_t,
            self.rows.batch(self._index(blocks.rows_tjk[:, 0].reshape(-1))),
            mask_tk.to(self.new_vectors.dtype),
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
            fast = {"graph": self.new_graphs[slots], "vector": self.new_vectors[slots]}
            return task_loss(self.adapted_logits(fast, side[tasks], part.other_dtqk), part).sum()

        n_tasks, width = batch.mask_tk.shape
        return self._chunks.summed(loss, n_tasks, self.trainable("warm_up"), width)

    @torch.no_grad()
    def _settle(self, batch: WarmBatch) -> None:
        """Put items without rows in this phase back, since Adam's momentum moves them too."""
        idle = torch.ones(len(self.new_ids), dtype=torch.bool, device=self.device)
        idle[batch.slots_t] = False
        at = int(self.phase)
        self.new_graphs[idle] = self.graph_history[at, idle]
        self.new_vectors[idle] = self.row_history[at, idle]
        self._remember()

    def artifacts(self) -> dict[str, bytes]:
        """``graphs.npz``: what ``recbole-cold plot`` draws."""
        return {"graphs.npz": self.graphs().as_bytes()}

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
            self._phase_names[:n_phases],
            orders.cpu().numpy(),
        )


def _narrow(index: Tensor, mask_tk: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers and mask [t, k] without columns that are padding for every task."""
    width = _width(mask_tk)
    return index.view_as(mask_tk)[:, :width], mask_tk[:, :width]
