"""EmerG in batches of items, against a loop over items as the released program has it.

The loop keeps every item's graph in a table of the model. It copies the model after each meta step
and before each new item, runs the hypernetwork on every row, makes the forward pass of the paper's
equations one after the other, differentiates whole tables and hands all of them to Adam. It is
measured on a sample of items and multiplied up. It computes what the release computes, the first
order and no gradient of the hypernetwork, which is less than what is asked of ours. So the loop is
also measured with the mathematics of ours, the second order and a hypernetwork that learns.
"""

import copy
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import _common as common
from benchmarks._common import Options, Table
from recbole_cold.data.episodes import Episode, EpisodeBatches
from recbole_cold.data.rows import Batch
from recbole_cold.model._emerg_net import refine
from recbole_cold.model.emerg import PAIRS
from recbole_cold.training.backbone_cache import BackboneCache
from recbole_cold.training.trainer import Trainer

SIZES = (1, 8, 32, 128)
SAMPLE = 24  # items of the loop
STEPS = 12


class ReleasedLoop(nn.Module):
    """The network with a row of graph numbers per item, one item at a time."""

    def __init__(self, method) -> None:
        super().__init__()
        self.net, self.hyper = copy.deepcopy(method.net), copy.deepcopy(method.hyper)
        self.id_field, self.label_field = method.id_field, method.label_field
        f = len(self.net.graph_fields)
        self.graphs = nn.Parameter(method.new_graphs.new_zeros(method.n_ids, f * f))
        at = self.net.token_field_names.index(self.id_field)
        self.offset = int(self.net.token_field_offsets[at])

    @property
    def table(self) -> nn.Parameter:
        return self.net.token_embedding_table.embedding.weight

    def fields(self, rows: Batch) -> Tensor:
        return self.net.concat_embed_input_fields(rows).index_select(1, self.net.place)

    def logits(self, raw_ff: Tensor, x: Tensor) -> Tensor:
        """Logits [k] of one item's rows [k, f, d], equation after equation."""
        net, (k, f, size) = self.net, x.shape
        orders = [x]
        for layer, graph in enumerate(refine(raw_ff[None], net.top_k, net.layers)):
            orders.append(orders[-1] * (graph[0] @ (x @ net.message_weight[layer])))
        node = torch.stack(orders, dim=2)
        query, key, value = (
            (node @ weight).view(k, f, -1, net.heads, size).transpose(2, 3)
            for weight in (net.query, net.key, net.value[0])
        )
        share = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(size), dim=-1)
        mixed = (share @ value).transpose(2, 3).reshape(k, f, -1, net.heads * size)
        hidden = F.relu(mixed @ net.out + net.out_bias).sum(dim=2)
        gate = torch.sigmoid(hidden.flatten(1) @ net.gate.view(f * size, f))
        return (gate * (hidden @ net.node_score)).sum(dim=1)

    def loss(self, item: int, rows: Batch) -> Tensor:
        f = len(self.net.graph_fields)
        raw = self.graphs.index_select(0, torch.tensor([item])).view(f, f)
        logits = self.logits(raw, self.fields(rows))
        return F.binary_cross_entropy_with_logits(logits, rows[self.label_field].to(logits.dtype))

    @torch.no_grad()
    def make_graph(self, item: int, rows: Batch) -> None:
        """The hypernetwork's graph becomes the item's row of the table."""
        self.graphs[item] = self.made_graph(self.fields(rows)).flatten()

    def made_graph(self, x: Tensor) -> Tensor:
        """MLP after MLP on every row [k, f, d], and the mean over rows: [f, f]."""
        own = x[:, : len(self.net.own_fields)].flatten(1)
        f, lines = len(self.net.graph_fields), []
        for m in range(f):
            state = torch.cat([own, torch.eye(f).to(own)[m].expand(len(own), -1)], dim=1)
            parts = zip(self.hyper.weights, self.hyper.biases, strict=True)
            for layer, (weight, bias) in enumerate(parts):
                state = (F.relu(state) if layer else state) @ weight[m] + bias[m]
            lines.append(state)
        return torch.stack(lines, dim=1).mean(dim=0)

    def second_order_loss(self, item: int, support: Batch, query: Batch, keys) -> Tensor:
        """What ours computes for an item: differentiable through the inner step and all else."""
        row = self.table[self.offset + item]
        graph, vector = self.made_graph(self.fields(support)), row.view_as(row)

        def loss(graph: Tensor, vector: Tensor, rows: Batch) -> Tensor:
            x = self.fields(rows)
            x = torch.cat([vector.expand(len(x), 1, -1), x[:, 1:]], dim=1)
            logits = self.logits(graph, x)
            label = rows[self.label_field].to(logits.dtype)
            return F.binary_cross_entropy_with_logits(logits, label)

        before, rate = loss(graph, vector, support), keys["emerg_inner_rate"]
        to_graph, to_vector = torch.autograd.grad(before, [graph, vector], create_graph=True)
        after = loss(graph - rate * to_graph, vector - rate * to_vector, query)
        return keys["emerg_gamma"] * before + (1 - keys["emerg_gamma"]) * after

    def second_order_step(self, optimizer, item: int, support: Batch, query: Batch, keys) -> float:
        """``meta_step`` with the mathematics of ours."""
        optimizer.zero_grad()
        loss = self.second_order_loss(item, support, query, keys)
        loss.backward()
        optimizer.step()
        self.__dict__["stored"] = {n: v.clone() for n, v in self.state_dict().items()}
        return loss.item()

    def meta_step(self, optimizer, item: int, support: Batch, query: Batch, keys) -> float:
        """One old item: inner step, loss on the query, Adam over everything, a copy."""
        optimizer.zero_grad()
        self.make_graph(item, support)
        before = self.loss(item, support)
        moved = [self.graphs, self.table]
        gradients = torch.autograd.grad(before, moved, retain_graph=True)
        with torch.no_grad():
            for parameter, gradient in zip(moved, gradients, strict=True):
                # Of the shared table only the item's row is adapted.
                row = item if parameter is self.graphs else self.offset + item
                parameter[row] -= keys["emerg_inner_rate"] * gradient[row]
        after = self.loss(item, query)
        gamma = keys["emerg_gamma"]
        loss = gamma * before + (1 - gamma) * after
        loss.backward()
        with torch.no_grad():
            for parameter, gradient in zip(moved, gradients, strict=True):
                row = item if parameter is self.graphs else self.offset + item
                parameter[row] += keys["emerg_inner_rate"] * gradient[row]
        optimizer.step()
        self.__dict__["stored"] = {n: v.clone() for n, v in self.state_dict().items()}
        return loss.item()

    def warm(self, item: int, rows: Batch, rate: float) -> tuple[Tensor, Tensor]:
        """One new item: a copy of the model, and Adam over both whole tables."""
        twin = copy.deepcopy(self)
        optimizer = torch.optim.Adam([twin.graphs, twin.table], lr=rate)
        for _ in range(STEPS):
            optimizer.zero_grad()
            twin.loss(item, rows).backward()
            # Only the item's rows are its own; the others of the shared table stay.
            twin.table.grad[: twin.offset + item] = 0
            twin.table.grad[twin.offset + item + 1 :] = 0
            optimizer.step()
        return twin.graphs.detach()[item], twin.table.detach()[twin.offset + item]


def matrix_rate() -> float:
    """Floating-point operations per second of a product of 1024 x 1024 matrices."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(common.cpu_seconds(lambda: a @ a) for _ in range(10))


def naive_flops(loop: ReleasedLoop, rows: Batch, second_order: bool) -> float:
    """Operations per row of the matrix products in the equations as they are written.

    Forward and backward to graph and fields; ``second_order``: a support and a query row, the
    inner step, and the gradient of everything through it, per row of both.
    """
    f = len(loop.net.graph_fields)
    x = loop.fields(rows).detach().requires_grad_()
    raw = torch.randn(f, f).requires_grad_()

    def loss(raw: Tensor, x: Tensor) -> Tensor:
        return loop.logits(raw, x).square().mean()

    with FlopCounterMode(display=False) as counter:
        before = loss(raw, x)
        gradient = torch.autograd.grad(before, [raw, x], create_graph=second_order)
        if second_order:
            stepped = [v - g for v, g in zip((raw, x), gradient, strict=True)]
            (before + loss(*stepped)).backward()
    return counter.get_total_flops() / len(rows) / (2 if second_order else 1)


def episodes_of(method, size: int, cap: int | None, sample: Sequence[int] | None = None):
    """Episodes of the first pair of quarters, in the items' order."""
    blocks = method._blocks()
    if sample is not None:
        blocks = blocks.some(list(sample))
    batches = EpisodeBatches(method.rows, blocks, PAIRS, size, cap, cap, shuffle=False)
    return batches.epoch(torch.Generator().manual_seed(0), 0)


def unpadded(batch: Batch, mask_tk: Tensor) -> Batch:
    return batch.rows.batch(batch.index[mask_tk.flatten() > 0])


# ------------------------------------------------------------------------------- contestants
def our_pass(method, size: int, cap: int | None) -> Callable[[], tuple[int, int]]:
    """A pass over all old items with one Adam step per meta-batch; items and rows."""
    parameters = method.trainable("learn")
    adam = torch.optim.Adam(parameters, lr=method.config["emerg_meta_rate"], fused=True)

    def run() -> tuple[int, int]:
        items = rows = 0
        for episode in episodes_of(method, size, cap):
            adam.zero_grad()
            method.episode_loss(episode).backward()
            adam.step()
            items, rows = items + len(episode.ids_t), rows + len(episode)
        return items, rows

    return run


def sampled_pass(
    loop: ReleasedLoop, method, sample: Sequence[int], cap: int | None, second_order: bool = False
):
    """The loop's meta steps on a sample; losses and rows."""
    step = loop.second_order_step if second_order else loop.meta_step
    adam = torch.optim.Adam(loop.parameters(), lr=method.config["emerg_meta_rate"])

    def run() -> tuple[list[float], int]:
        losses, rows = [], 0
        for episode in episodes_of(method, 1, cap, sample):
            parts = [
                unpadded(episode.support, episode.support_mask_tk),
                unpadded(episode.query, episode.query_mask_tk),
            ]
            losses.append(step(adam, int(episode.ids_t[0]), *parts, method.config))
            rows += len(episode)
        return losses, rows

    return run


def our_warm_up(method, index: Tensor) -> None:
    """Twelve steps of all new items at once."""
    (fit,) = method.warm_fits(index)
    (step,) = fit.steps
    adam = torch.optim.Adam(step.parameters, lr=step.learning_rate, fused=True)
    moving = {id(parameter) for parameter in step.parameters}
    for parameter in method.parameters():
        parameter.requires_grad_(id(parameter) in moving)
    for _ in range(STEPS):
        (batch,) = fit.batches.epoch(torch.Generator(), 0)
        adam.zero_grad()
        step.loss(batch).backward()
        adam.step()
    for parameter in method.parameters():
        parameter.requires_grad_(True)


# ------------------------------------------------------------------------------- the benchmark
def measure(options: Options) -> Table:
    """A meta pass, a phase's adaptation, and what the meta-batch size does."""
    table = Table(
        "EmerG: a meta-training pass over old items, and 12 steps of all new items",
        ["work", "items", "rows", "CPU s", "us/row", "matrix rate", "AUC cold / a / b / c",
         "peak MiB"],
        [],
    )  # fmt: skip
    rate = matrix_rate()
    table.notes.append(f"matrix rate: {rate / 1e9:.0f} GFlop/s, of 1024 x 1024 single precision")
    _meta(options, table, rate)
    _warm(options, table, rate)
    _sizes(options, table)
    table.notes.append(
        f"per-item loops are measured on {SAMPLE} items and multiplied up by items (warm-up) or "
        "rows (pass); they compute the first order, one of them the second. Operations are those "
        "of the matrix products in the equations as written, for all contestants alike"
    )
    table.notes.append(
        "a pass is bound by its operations, not by copies and dense Adam, at the size of ML-1M: "
        "its second order alone is about twice the loop's work per row"
    )
    return table


def prepared(options: Options, **keys: Any):
    method = common.method_of(options, "EmerG", emerg_id_draw="table", **keys)
    method.begin_learn()
    method.set_mode("frozen")
    return method


def _meta(options: Options, table: Table, rate: float) -> None:
    method = prepared(options)
    n_items = len(method.old_ids)
    sample = sorted(torch.randperm(n_items, generator=torch.Generator().manual_seed(1))[:SAMPLE])
    sample = [int(item) for item in sample]
    whole, capped = "batched, whole quarters", "batched, 80 rows of a quarter"
    counts: dict[str, tuple[int, int]] = {}
    losses: dict[bool, list[float]] = {}
    sampled_rows = [1]

    def ours(name: str, cap: int | None) -> Callable[[], Callable[[], None]]:
        def prepare() -> Callable[[], None]:
            run = our_pass(prepared(options), 8, cap)
            return lambda: counts.update({name: run()})

        return prepare

    def loop(second_order: bool) -> Callable[[], Callable[[], None]]:
        def prepare() -> Callable[[], None]:
            run = sampled_pass(ReleasedLoop(method), method, sample, None, second_order)

            def work() -> None:
                found, sampled_rows[0] = run()
                losses.setdefault(second_order, found)

            return work

        return prepare

    released, equal = "per-item loop, whole quarters", "per-item loop of the second order"
    contestants = {whole: ours(whole, None), capped: ours(capped, 80)}
    contestants |= {released: loop(False), equal: loop(True)}
    seconds = common.smallest(common.alternate(contestants, options.repeats))
    reference = ReleasedLoop(method)
    episode = next(iter(episodes_of(method, 1, None, sample[:1])))
    flops = naive_flops(reference, unpadded(episode.support, episode.support_mask_tk), True)
    all_rows = counts[whole][1]
    for name in (whole, capped):
        items, rows = counts[name]
        table.rows.append(_row(name, items, rows, seconds[name], flops, rate))
    for name in (released, equal):
        seconds[name] *= all_rows / sampled_rows[0]
        table.rows.append(_row(name, n_items, all_rows, seconds[name], flops, rate))
    for name in (whole, capped):
        ratio = seconds[name] / seconds[released]
        table.claims.append((f"a meta pass, {name}, to the loop", ratio, 0.1, "<="))
    ratio = seconds[whole] / seconds[equal]
    table.claims.append(
        (f"a meta pass, {whole}, to the loop of the second order", ratio, 0.1, "<=")
    )
    table.agreement["batched and one by one"] = _batched_against_single(method)
    table.agreement["first loss of the loop"] = _first_loss(method, sample[0], losses[False][0])
    table.agreement["second-order gradients of the loop, double precision"] = _same_gradients(
        method, sample[0]
    )


def _row(name: str, items: int, rows: int, seconds: float, flops: float, rate: float) -> list[Any]:
    share = f"{100 * flops * rows / seconds / rate:.0f} %"
    return [name, items, rows, round(seconds, 2), round(1e6 * seconds / rows, 1), share, "", ""]


def _gradient(method, episode: Episode) -> list[Tensor]:
    for parameter in method.parameters():
        parameter.grad = None
    method.episode_loss(episode).backward()
    moved = [p.grad for p in method.trainable("learn") if p.grad is not None]
    return [gradient.clone() for gradient in moved]


def _batched_against_single(method) -> float:
    """Second-order gradients of eight items at once and one after the other."""
    episode = next(iter(episodes_of(method, 8, 40)))
    batched = _gradient(method, episode)
    single = [_gradient(method, part) for part in episode.split(1)]
    mean = [sum(parts) / len(parts) for parts in zip(*single, strict=True)]
    return common.largest_difference(batched, mean)


def _first_loss(method, item: int, loss: float) -> float:
    episode = next(iter(episodes_of(method, 1, None, [item])))
    return abs(method.episode_loss(episode).item() - loss)


def _same_gradients(method, item: int) -> float:
    """What one item teaches the network and the hypernetwork, by ours and by the loop."""
    method = _doubled(method)
    episode = next(iter(episodes_of(method, 1, 40, [item])))
    loop, theirs = ReleasedLoop(method), {}
    parts = [
        unpadded(episode.support, episode.support_mask_tk),
        unpadded(episode.query, episode.query_mask_tk),
    ]
    loop.second_order_loss(int(episode.ids_t[0]), *parts, method.config).backward()
    for ours, copied in ((method.net, loop.net), (method.hyper, loop.hyper)):
        pairs = zip(ours.parameters(), copied.parameters(), strict=True)
        theirs |= {id(mine): twin.grad for mine, twin in pairs}
    mine = _gradient(method, episode)
    moved = [p for p in method.trainable("learn") if p.grad is not None]
    return common.largest_difference(mine, [theirs[id(p)] for p in moved])


def _doubled(method):
    """A copy in double precision."""
    method = copy.deepcopy(method).double()
    method.__dict__["net"] = method.backbone.model
    return method


def _warm(options: Options, table: Table, rate: float) -> None:
    method = prepared(options)
    method.start_new_items()
    start = [method.new_graphs.detach().clone(), method.new_vectors.detach().clone()]
    index = method.rows.index(method.dataset.split["warm_a"])
    ids = method.rows.columns[method.id_field][index].long()
    slots = torch.randperm(len(method.new_ids), generator=torch.Generator().manual_seed(1))
    slots = slots[:SAMPLE].tolist()

    def ours() -> Callable[[], None]:
        with torch.no_grad():
            method.new_graphs.copy_(start[0])
            method.new_vectors.copy_(start[1])
        return lambda: our_warm_up(method, index)

    def loop() -> Callable[[], None]:
        reference = ReleasedLoop(method)
        with torch.no_grad():
            reference.graphs[method.new_ids] = start[0].flatten(1)
            reference.table[reference.offset + method.new_ids] = start[1]

        def run() -> None:
            for slot in slots:
                item = int(method.new_ids[slot])
                rows = method.rows.batch(index[ids == item])
                reference.warm(item, rows, method.config["warm_learning_rate"])

        return run

    seconds = common.smallest(common.alternate({"ours": ours, "loop": loop}, options.repeats))
    flops = naive_flops(ReleasedLoop(method), method.rows.batch(index[:20]), False)
    rows, items = STEPS * len(index), len(method.new_ids)
    loop_seconds = seconds["loop"] * items / len(slots)
    table.rows.append(_row("12 steps, batched", items, rows, seconds["ours"], flops, rate))
    table.rows.append(_row("12 steps, per-item loop", items, rows, loop_seconds, flops, rate))
    ratio = seconds["ours"] / loop_seconds
    table.claims.append(("12 steps of all new items, to the loop", ratio, 0.1, "<="))
    table.agreement["adapted graphs and vectors, double precision"] = _same_adaptation(
        method, index, slots[:4]
    )


def _same_adaptation(method, index: Tensor, slots: Sequence[int]) -> float:
    """Some items' graphs and vectors after 12 steps, at once and one after the other.

    In double precision: Adam divides by the size of a gradient, which makes rounding of single
    precision visible where a gradient is small.
    """
    method = _doubled(method)
    method.start_new_items()
    ids = method.rows.columns[method.id_field][index].long()
    reference = ReleasedLoop(method)
    with torch.no_grad():
        reference.graphs[method.new_ids] = method.new_graphs.flatten(1)
        reference.table[reference.offset + method.new_ids] = method.new_vectors
    items = method.new_ids[list(slots)]
    our_warm_up(method, index[torch.isin(ids, items)])
    rate, difference = method.config["warm_learning_rate"], 0.0
    for slot, item in zip(slots, items.tolist(), strict=True):
        mine = [method.new_graphs.detach()[slot].flatten(), method.new_vectors.detach()[slot]]
        theirs = reference.warm(item, method.rows.batch(index[ids == item]), rate)
        difference = max(difference, common.largest_difference(mine, theirs))
    return difference


def _sizes(options: Options, table: Table) -> None:
    """Whole trainings by meta-batch size, pre-trained once."""
    epochs = 3 if options.full else 1
    with tempfile.TemporaryDirectory() as folder:
        cache = BackboneCache(Path(folder), lambda _method, seed: str(seed))
        for size in SIZES:
            keys = {"train_batch_size": 512, "pretrain_epochs": 2 if options.full else 1}
            keys |= {"emerg_meta_batch_size": size, "emerg_epochs": epochs}
            method = common.method_of(options, "EmerG", **{**keys, **options.keys})
            trainer = Trainer(method, method.config["seed"], cache=cache)
            trainer.pretrain()
            trainer.learn()
            split, values = method.dataset.split, []
            for phase in ("cold", "warm_a", "warm_b", "warm_c"):
                if phase != "cold":
                    trainer.warm_up(phase, split[phase])
                values.append(trainer.evaluate(phase, split["test"])["metrics"]["AUC"])
            stage = next(s for s in trainer.journal["stages"] if s["name"] == "learn")
            table.rows.append(
                [
                    f"{epochs} passes in meta-batches of {size}",
                    len(method.old_ids),
                    stage["rows"],
                    round(stage["cpu_seconds"], 2),
                    round(1e6 * stage["cpu_seconds"] / stage["rows"], 1),
                    "",
                    " / ".join(f"{value:.4f}" for value in values),
                    round(stage["peak_memory_mb"]),
                ]
            )
