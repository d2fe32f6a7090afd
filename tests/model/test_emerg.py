"""EmerG: item-specific graphs, adapted with the item's vector, in a network that is shared."""

import itertools
import math
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import state_of, what_moved
from number_helpers import central_difference
from task_helpers import block_episode, exchanged

from recbole_cold.errors import Diverged, UserError
from recbole_cold.model import _memory, emerg
from recbole_cold.model._emerg_attention import attend, attend_plainly
from recbole_cold.model._emerg_contractions import pull, score, spread
from recbole_cold.model._emerg_net import HyperNetwork, largest, min_max, refine
from recbole_cold.model._emerg_states import combine, states, states_plainly
from recbole_cold.model.emerg import PAIRS, EmerG, TaskRows, task_loss
from recbole_cold.training.trainer import Trainer

CLOSE = {"rtol": 0, "atol": 1e-11}


# ------------------------------------------------------------------------------- tools
def built(build, **keys):
    """In float64, with embeddings as large as after training."""
    method = build("EmerG", double=True, **keys)
    method.set_mode("frozen")
    with torch.no_grad():
        for name, parameter in method.net.named_parameters():
            if "embedding" in name:
                parameter.mul_(8.0)
        method.net.out_bias.normal_(generator=torch.Generator().manual_seed(2))
    return method


def episode_of(method, tasks=4, size=5, epoch=0):
    return block_episode(method, tasks, size, epoch, PAIRS)


def loss_of(method, episode):
    """With the same drawn vectors each time."""
    torch.manual_seed(5)
    return method.episode_loss(episode)


def gradients_of(method, episode):
    parameters = method.trainable("learn")
    found = torch.autograd.grad(loss_of(method, episode), parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def tasks_of(method, episode):
    """Vectors, side fields, graphs, support and query rows of an episode's tasks."""
    torch.manual_seed(5)
    vector = method.start_vectors(episode.ids_t)
    side = method.side_fields_of(episode.ids_t)
    graph = method.raw_graphs(episode.ids_t, vector, side)
    support = method.task_rows(episode.support, episode.support_mask_tk)
    query = method.task_rows(episode.query, episode.query_mask_tk)
    return vector, side, graph, support, query


def naive_refine(raw, top_k, layers):
    """Equations (3)-(6), number by number."""
    f = len(raw)

    def scaled(matrix):
        flat = [v for row in matrix for v in row]
        low, high = min(flat), max(flat)
        return [[(v - low) / (high - low + 1e-8) for v in row] for row in matrix]

    a = scaled(raw)
    for m in range(f):
        a[m][m] = 1.0
    off = [(-a[m][n], m * f + n) for m in range(f) for n in range(f) if m != n]
    kept = {place for _, place in sorted(off)[: top_k - f]}
    a = [[a[m][n] if m == n or m * f + n in kept else 0.0 for n in range(f)] for m in range(f)]
    first = [[(a[m][n] + a[n][m]) / 2 for n in range(f)] for m in range(f)]
    orders = [first]
    for _ in range(layers - 1):
        last = orders[-1]
        power = [
            [sum(last[m][j] * first[j][n] for j in range(f)) * (first[m][n] != 0) for n in range(f)]
            for m in range(f)
        ]
        power = scaled(power)
        orders.append(
            [
                [(1.0 if m == n else power[m][n]) * (first[m][n] != 0) for n in range(f)]
                for m in range(f)
            ]
        )
    return orders


def naive_logit(net, graphs, fields_fd):
    """One row's logit by the paper's equations, queries, keys, values and output one by one."""
    f, size = fields_fd.shape
    orders = [fields_fd]
    for layer, graph in enumerate(graphs):
        state = []
        for m in range(f):
            message = sum(
                graph[m][j] * (fields_fd[j] @ net.message_weight[layer]) for j in range(f)
            )
            state.append(orders[-1][m] * message)
        orders.append(torch.stack(state))
    nodes = []
    for m in range(f):
        x = torch.stack([order[m] for order in orders])
        heads = []
        for h in range(net.heads):
            part = slice(h * size, (h + 1) * size)
            q, k, v = x @ net.query[:, part], x @ net.key[:, part], x @ net.value[0][:, part]
            heads.append(torch.softmax(q @ k.T / math.sqrt(size), dim=1) @ v)
        nodes.append(torch.relu(torch.cat(heads, dim=1) @ net.out + net.out_bias).sum(dim=0))
    nodes = torch.stack(nodes)
    gates = torch.sigmoid(nodes.reshape(-1) @ net.gate.reshape(-1, f))
    return sum(gates[m] * (net.node_score @ nodes[m]) for m in range(f))


def states_of(net, graphs, fields):
    return net.states(fields, net.messages(graphs, fields))


# ------------------------------------------------------------------------------- states, attention
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_products_and_their_first_two_derivatives(rng64, layers):
    parts = [rng64(2, 3).requires_grad_(), rng64(layers, 2, 3).requires_grad_()]

    def plain(fields, messages):
        return states_plainly(fields, messages.unbind(0), "product")

    def fast(fields, messages):
        return states(fields, messages, "product")

    assert torch.equal(fast(*parts), plain(*parts))
    gradients = [torch.autograd.grad(way(*parts).square().sum(), parts) for way in (fast, plain)]
    assert all(torch.allclose(a, b, **CLOSE) for a, b in zip(*gradients, strict=True))
    assert torch.autograd.gradgradcheck(fast, parts)


def test_contractions_by_hand(rng64):
    p, z, x = rng64(2, 3, 4, 5), rng64(2, 6, 3, 5), rng64(6, 4, 5)
    for operation, equation, parts, like in (
        (score, "hdon,dan->hoan", (z, x), p),
        (spread, "hoan,dan->hdon", (p, x), z),
        (pull, "hoan,hdon->dan", (p, z), x),
    ):
        expected, out = torch.einsum(equation, *parts), torch.full_like(like, math.nan)
        assert operation(*parts, out) is out and torch.allclose(out, expected)
        assert torch.allclose(operation(*parts, out, more=True), 2 * expected)


def attention_of(rng64, n_orders, heads, size=4, n=5):
    shapes = (size, n_orders, n), (heads, size, size), (heads, size, size), (size,)
    return tuple(rng64(*shape).requires_grad_() for shape in shapes)


class TestAttention:
    """``attend`` and its derivatives by hand, against the equation and autograd."""

    @pytest.mark.parametrize(("n_orders", "heads", "nodes"), [(2, 1, 9), (3, 3, 9), (4, 2, 2)])
    def test_values_and_gradients_to_the_second_order(
        self, rng64, monkeypatch, n_orders, heads, nodes
    ):
        """As the inner step needs them: the gradient to the states, then that of all through it."""
        monkeypatch.setattr("recbole_cold.model._emerg_attention._NODES", nodes)
        parts = attention_of(rng64, n_orders, heads)
        weight, along = rng64(4, 5), rng64(4, n_orders, 5)
        found = []
        for way in (attend, attend_plainly):
            node = way(*parts)
            loss = (node * weight).sum() + node.square().sum()
            (inner,) = torch.autograd.grad(loss, parts[:1], create_graph=True)
            outer = torch.autograd.grad(
                (inner * along).sum() + inner.square().sum() + 0.3 * loss, parts, retain_graph=True
            )
            found.append([node, inner, *torch.autograd.grad(loss, parts), *outer])
        for fast, plain in zip(*found, strict=True):
            assert torch.allclose(fast, plain, rtol=1e-9, atol=1e-9)

    def test_second_order_to_every_part(self, rng64):
        parts = attention_of(rng64, 3, 2, size=3, n=2)
        assert torch.autograd.gradcheck(attend, parts, fast_mode=True)
        assert torch.autograd.gradgradcheck(attend, parts, fast_mode=True)

    def test_large_scores_overflow_no_more_than_a_softmax(self, rng64):
        orders, scores, out, bias = (part.detach() for part in attention_of(rng64, 3, 2))
        for sign in (1e4, -1e4):
            found = attend(orders, sign * scores, out, bias)
            assert torch.allclose(found, attend_plainly(orders, sign * scores, out, bias))

    def test_a_third_order_is_refused(self, rng64):
        value, parts = attend, attention_of(rng64, 2, 1)
        loss = value(*parts).square().sum()
        for _ in range(2):
            (gradient,) = torch.autograd.grad(loss, parts[:1], create_graph=True)
            loss = gradient.square().sum()
        with pytest.raises(RuntimeError, match="once_differentiable"):
            loss.backward()


MAPPED = """
import ctypes, runpy, sys
import torch

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks a b c d e f".split()]

mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Info

def mapped(mebibytes):
    before = mallinfo().hblks
    piece = torch.empty(mebibytes * 2**20, dtype=torch.uint8)
    return mallinfo().hblks - before

apart = mapped(25)
runpy.run_path(sys.argv[1])["keep_freed_memory"]()
print(apart, mapped(31))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they did")
def test_large_pieces_come_from_memory_that_is_kept():
    """One of 25 MiB is mapped by itself, and goes back to the system; afterwards not even 31."""
    program = [sys.executable, "-c", MAPPED, _memory.__file__]
    others = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")  # which choose how memory is kept
    plain = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=plain)
    before, afterwards = done.stdout.split()
    if before != "1":
        pytest.skip("torch does not take its memory from the C library here")
    assert afterwards == "0"


# ------------------------------------------------------------------------------- the graph
class TestRefine:
    def test_equations_number_by_number(self, rng64):
        raw = rng64(5, 6, 6)
        orders = refine(raw, 20, 3)
        for item in range(5):
            for found, expected in zip(
                orders, naive_refine(raw[item].tolist(), 20, 3), strict=True
            ):
                assert torch.allclose(
                    found[item], torch.tensor(expected, dtype=torch.float64), **CLOSE
                )

    def test_shape_of_refined_graphs(self, rng64):
        """Values in [0, 1], ones on the diagonal, at most 2K - F edges, those of order 1 only."""
        raw, f, top_k = rng64(50, 9, 9) * 3, 9, 40
        first, second, third = refine(raw, top_k, 3)
        for order in (first, second, third):
            assert bool(((order >= 0) & (order <= 1 + 1e-12)).all())
            assert torch.equal(order.diagonal(dim1=1, dim2=2), torch.ones(50, f).double())
            assert int((order != 0).flatten(1).sum(dim=1).max()) <= 2 * top_k - f
            assert bool((order[first == 0] == 0).all())
        assert torch.equal(first, first.mT) and torch.allclose(second, second.mT, **CLOSE)
        kept = largest(min_max(raw), top_k)
        assert bool((kept.flatten(1).sum(dim=1) == top_k).all())
        assert bool(kept.diagonal(dim1=1, dim2=2).all())

    def test_each_graph_by_itself(self, rng64):
        """Scaling knows nothing of other items; shift and scale of a raw graph change nothing."""
        raw = rng64(4, 6, 6)
        orders = refine(raw, 20, 2)
        for item in range(4):
            for whole, alone in zip(orders, refine(raw[item : item + 1], 20, 2), strict=True):
                assert torch.equal(whole[item : item + 1], alone)
        for found, expected in zip(refine(3.0 * raw - 2.0, 20, 2), orders, strict=True):
            assert torch.allclose(found, expected, atol=1e-6)

    def test_a_constant_graph_is_finite(self):
        for order in refine(torch.full((1, 5, 5), 0.3), 12, 3):
            assert bool(torch.isfinite(order).all())

    def test_of_equal_entries_the_first_stay(self):
        kept = largest(torch.zeros(1, 3, 3), 5)[0]
        assert kept.tolist() == [[True, True, True], [False, True, False], [False, False, True]]

    def test_ablations_change_their_step_only(self, rng64):
        """Without the mask order 2 has edges that order 1 lacks; all entries leave it nothing."""
        raw = rng64(8, 6, 6)
        masked, open_ = refine(raw, 10, 2), refine(raw, 10, 2, mask=False)
        assert torch.equal(masked[0], open_[0])
        assert bool((open_[1][masked[0] == 0] != 0).any())
        dense = refine(raw, None, 2)
        assert int((dense[0] == 0).sum()) <= 8  # at most each graph's smallest entry
        assert int((refine(raw, 10, 1)[0] == 0).sum()) > 8 * 8

    def test_gradients_go_through_the_values(self, rng64):
        raw = rng64(2, 4, 4).requires_grad_()
        assert torch.autograd.gradcheck(lambda a: torch.stack(refine(a, 9, 3)), (raw,))


@pytest.mark.parametrize("shared", [False, True])
def test_hypernetwork_row_by_row(rng64, shared):
    """Row m is MLP_m([e_1; ...; e_p; onehot(m)])."""
    torch.manual_seed(1)
    network = HyperNetwork(6, 4, shared).double()
    own = rng64(3, 6)
    graphs = network(own)
    for item, m in itertools.product(range(3), range(4)):
        state = torch.cat([own[item], torch.eye(4).double()[m]])
        at = 0 if shared else m
        for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            state = (torch.relu(state) if number else state) @ weight[at] + bias[at]
        assert torch.allclose(graphs[item, m], state, **CLOSE)


# ------------------------------------------------------------------------------- the network
class TestNetwork:
    def fields(self, net, rng64, k=3):
        return rng64(net.embedding_size, 1, len(net.graph_fields), k)

    def test_logits_row_by_row(self, build, rng64):
        net = built(build).net
        f = len(net.graph_fields)
        fields, raw = self.fields(net, rng64), rng64(1, f, f)
        logits = net.task_logits(raw, fields)
        graphs = [graph[0] for graph in net.graphs(raw)]
        for row in range(3):
            expected = naive_logit(net, graphs, fields[:, 0, :, row].T)
            assert logits[0, row].item() == pytest.approx(expected.item(), abs=1e-10)

    def test_order_of_interactions(self, build, rng64):
        """Proposition 4.1: h^(l) is homogeneous of degree l + 1, and a polynomial of no more."""
        net = built(build, emerg_layers=3).net
        f = len(net.graph_fields)
        fields, along = self.fields(net, rng64, 1), self.fields(net, rng64, 1)
        graphs = net.graphs(rng64(1, f, f))
        states = states_of(net, graphs, fields)
        scaled = states_of(net, graphs, 1.7 * fields)
        line = [states_of(net, graphs, fields + t * along) for t in range(6)]
        for layer in range(4):
            expected = 1.7 ** (layer + 1) * states[:, layer]
            assert torch.allclose(scaled[:, layer], expected, rtol=1e-12)
            values = [state[:, layer] for state in line]
            for _ in range(layer + 1):
                values = [b - a for a, b in itertools.pairwise(values)]
            size = max(v.abs().max() for v in (state[:, layer] for state in line))
            assert values[0].abs().max() > 1e-6 * size
            assert all((b - a).abs().max() < 1e-12 * size for a, b in itertools.pairwise(values))

    @pytest.mark.parametrize("keys", [{}, {"emerg_layers": 3, "emerg_message_act": "leaky_relu"}])
    def test_fields_of_the_item_send_once_for_all_rows(self, build, rng64, keys):
        """The same states as with the item's fields in every row, and the same gradients."""
        net = built(build, **keys).net
        f, p, size = len(net.graph_fields), len(net.own_fields), net.embedding_size
        parts = [rng64(3, f, f), rng64(size, 3, p), rng64(size, 3, f - p, 4)]
        parts = [part.requires_grad_() for part in parts]
        raw, own, other = parts
        once = net.states(*net.item_messages(net.graphs(raw), own, other))
        fields = torch.cat([own[..., None].expand(-1, -1, -1, 4), other], dim=2)
        rows = states_of(net, net.graphs(raw), fields)
        assert torch.allclose(once, rows, **CLOSE)
        gradients = [torch.autograd.grad(x.square().sum(), parts) for x in (once, rows)]
        assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(*gradients, strict=True))

    @pytest.mark.parametrize("keys", [{"emerg_interact": "max"}, {"emerg_interact": "sum"},
                                      {"emerg_message_act": "leaky_relu"}])  # fmt: skip
    def test_other_interactions_have_another_order(self, build, rng64, keys):
        net = built(build, emerg_layers=2, **keys).net
        f = len(net.graph_fields)
        fields, graphs = self.fields(net, rng64), net.graphs(rng64(1, f, f))
        states, scaled = (states_of(net, graphs, x) for x in (fields, -2.0 * fields))
        assert not torch.allclose(scaled[:, 2], -8.0 * states[:, 2])

    def test_interactions_by_hand(self):
        before, message = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
        for word, expected in (("product", [0.5, -6]), ("max", [1, 3]), ("sum", [1.5, 1])):
            assert combine(before, message, word).tolist() == expected

    def test_a_field_without_edges_reaches_no_other(self, build, rng64):
        net = built(build).net
        f, k = len(net.graph_fields), 2
        graphs = []
        for graph in net.graphs(rng64(1, f, f)):
            graph = graph.clone()
            graph[:, k, :] = graph[:, :, k] = 0.0
            graph[:, k, k] = 1.0
            graphs.append(graph)
        fields = self.fields(net, rng64)
        other = fields.clone()
        other[:, :, k] += 1.0
        one, two = states_of(net, graphs, fields), states_of(net, graphs, other)
        rest = [m for m in range(f) if m != k]
        assert torch.equal(one[:, :, :, rest], two[:, :, :, rest])
        assert not torch.equal(one[:, :, :, k], two[:, :, :, k])

    def test_forward_is_the_task_form_with_the_global_graph(self, build):
        """The seam's plain model, the rows of a task, and rows with graphs of their own agree."""
        method = built(build, numerical_features=["income", "price"])
        net = method.net
        batch = method.rows.batch(torch.arange(12))
        ids, side = batch["item_id"], method.side_fields_of(batch["item_id"])
        vector = method.backbone.id_table()[ids]
        plain = method.backbone.logits(batch)
        rows = method.task_rows(batch, torch.ones(12, 1).double())
        fast = {"graph": net.global_graph.expand(12, -1, -1), "vector": vector}
        found = method.adapted_logits(fast, side, rows.other_dtqk)
        assert torch.allclose(found[:, 0], plain, **CLOSE)
        given = method.backbone.logits(batch, vector + 1.0)
        fast["vector"] = vector + 1.0
        found = method.adapted_logits(fast, side, rows.other_dtqk)
        assert torch.allclose(found[:, 0], given, **CLOSE)

    def test_multi_hot_fields_are_sums_without_padding(self, build):
        method = built(build)
        item = torch.tensor([3])
        column = method.rows.features_of("item_id")["title"][item]
        position = method.net.token_seq_field_names.index("title")
        table = method.net.token_seq_embedding_table[position].weight
        expected = sum(table[word] for word in column[0].tolist() if word != 0)
        place = method.net.own_fields.index("title") - 1
        assert torch.allclose(method.side_fields_of(item)[0, place], expected, **CLOSE)
        half = built(build, emerg_pooling="mean")
        words = int((column != 0).sum())
        assert torch.allclose(half.side_fields_of(item)[0, place] * words, expected, atol=1e-6)

    def test_released_attention_by_hand(self, build, rng64):
        """Numbers are cut in contiguous thirds; a head is not a head."""
        net = built(build, emerg_attention="regrouped").net
        size, f, n_orders = net.embedding_size, len(net.graph_fields), 3
        orders = rng64(size, n_orders, 1, f, 2)
        found = net.attend_regrouped(orders)
        for row in range(2):
            x = orders[:, :, 0, :, row].permute(1, 2, 0)
            query, key = x.reshape(n_orders, -1) @ net.query, x.reshape(n_orders, -1) @ net.key
            value = torch.stack([torch.stack([x[a, m] @ net.value[m] for m in range(f)])
                                 for a in range(n_orders)])  # fmt: skip
            groups = []
            for q, k, v in zip(*(part.reshape(-1).chunk(net.heads) for part in (query, key, value)),
                               strict=True):  # fmt: skip
                q, k, v = (part.view(n_orders * f, size) for part in (q, k, v))
                groups.append(torch.softmax(q @ k.T / math.sqrt(size), dim=1) @ v)
            mixed = torch.cat([g.reshape(-1) for g in groups]).view(n_orders, f, -1)
            node = torch.relu(mixed @ net.out + net.out_bias).sum(dim=0)
            assert torch.allclose(found[:, 0, :, row].T, node, **CLOSE)

    def test_cut_fields_have_no_edges(self, build):
        method = built(build, emerg_cut_fields=["title", "age"], emerg_refine=False)
        net = method.net
        f = len(net.graph_fields)
        first, second = net.graphs(torch.ones(1, f, f).double())
        assert torch.equal(first, second)
        for m, n in itertools.product(range(f), range(f)):
            cut = {net.graph_fields[m], net.graph_fields[n]} & {"title", "age"}
            assert first[0, m, n] == (0.0 if cut else 1.0)

    def test_pretraining_is_known_by_all_that_the_network_reads(self, build):
        """Every key that is read while the network is built and runs, and no other, is its key."""
        method = build("EmerG")
        read = set()
        original = type(method.config).__getitem__

        class Reading(type(method.config)):
            def __getitem__(self, key):
                read.add(key)
                return original(self, key)

        method.config.__class__ = Reading
        net = type(method.net)(method.config, method.dataset)
        net(method.rows.batch(torch.arange(4)))
        assert set(method.pretrain_key()) == {key for key in read if key.startswith("emerg_")}

    def test_bad_values_are_refused(self, build):
        with pytest.raises(UserError, match="keeps its diagonal; give at least"):
            build("EmerG", emerg_top_k=3)
        with pytest.raises(UserError, match="names nothing_like_it, which the network does not"):
            build("EmerG", emerg_cut_fields=["nothing_like_it"])
        with pytest.raises(UserError, match="emerg_interact 'maximum' is none of"):
            build("EmerG", emerg_interact="maximum")
        with pytest.raises(UserError, match="emerg_order '3' is none of 1, 2"):
            build("EmerG", emerg_order=3)
        with pytest.raises(UserError, match="set emerg_pretrain_graph: shared"):
            build("EmerG", emerg_graph="shared", emerg_pretrain_graph="free")


# ------------------------------------------------------------------------------- tasks
class TestTasks:
    def test_the_graph_comes_from_the_item_alone(self, build):
        """Two rows of an item share it whatever the user; two items differ."""
        method = built(build)
        ids = torch.tensor([2, 3])
        vector = torch.zeros(2, method.embedding_size).double()
        before = method.raw_graphs(ids, vector, method.side_fields_of(ids))
        with torch.no_grad():
            for field in ("user_id", "age", "gender", "device"):
                method.backbone.table_of(field).add_(1.0)
        after = method.raw_graphs(ids, vector, method.side_fields_of(ids))
        assert torch.equal(before, after) and not torch.equal(before[0], before[1])

    def test_no_item_is_known_by_its_table_row(self, build):
        """The hypernetwork reads a drawn vector; the table's row of the item changes nothing."""
        method = built(build)
        episode = episode_of(method)
        before = loss_of(method, episode)
        with torch.no_grad():
            method.backbone.id_table().add_(1.0)
        assert torch.equal(loss_of(method, episode), before)
        table = built(build, emerg_id_draw="table")
        before = loss_of(table, episode)
        with torch.no_grad():
            table.backbone.id_table().add_(1.0)
        assert not torch.equal(loss_of(table, episode), before)

    def test_drawn_vectors_are_small_and_differ(self, build):
        method = built(build)
        vectors = method.start_vectors(torch.arange(200))
        assert vectors.abs().max() <= 0.01 and vectors.abs().max() > 0.0099
        assert len(vectors.unique(dim=0)) == 200

    def test_episode_loss_task_by_task(self, build):
        """``gamma L_S(phi) + (1 - gamma) L_Q(phi')`` with torch's own inner gradient, unpadded."""
        method = built(build, emerg_gamma=0.3, emerg_inner_rate=0.5)
        episode = episode_of(method)
        vector, side, graph, support, query = tasks_of(method, episode)
        total = 0.0
        for task in range(4):
            one = slice(task, task + 1)
            a, e = graph[one], vector[one]
            losses = []
            for rows in (support, query):
                n = int(rows.mask_tk[task].sum())
                other, label = rows.other_dtqk[:, one, :, :n], rows.label_tk[one, :n]

                def loss(a, e, other=other, label=label, one=one):
                    fast = {"graph": a, "vector": e}
                    logit = method.adapted_logits(fast, side[one], other)
                    p = torch.sigmoid(logit)
                    return -(label * p.log() + (1 - label) * (1 - p).log()).mean()

                losses.append(loss)
            e = e.detach().requires_grad_()
            before = losses[0](a, e)
            ga, ge = torch.autograd.grad(before, (a, e), create_graph=True)
            after = losses[1](a - 0.5 * ga, e - 0.5 * ge)
            total = total + 0.3 * before + 0.7 * after
        assert loss_of(method, episode).item() == pytest.approx(total.item() / 4, abs=1e-11)
        expected = torch.autograd.grad(total / 4, method.trainable("learn"), allow_unused=True)
        for found, naive in zip(gradients_of(method, episode), expected, strict=True):
            naive = torch.zeros_like(found) if naive is None else naive
            assert torch.allclose(found, naive, **CLOSE)

    @pytest.mark.parametrize("order", [1, 2])
    def test_the_hypernetwork_learns(self, build, order):
        """Its gradient is not zero, in both orders, for every layer; a random graph has none."""
        method = built(build, emerg_order=order)
        loss = loss_of(method, episode_of(method))
        for gradient in torch.autograd.grad(loss, list(method.hyper.parameters())):
            assert gradient.abs().max() > 1e-9
        random = built(build, emerg_graph="random")
        assert not hasattr(random, "hyper")
        assert not random.raw_graphs(torch.tensor([1]), None, None).requires_grad

    def test_the_step_of_a_table_row_does_not_go_through_its_graph(self, build):
        """Graph and vector are independent in the inner step, wherever the vector comes from."""
        method = built(build, emerg_id_draw="table", emerg_inner_rate=2.0)
        episode = episode_of(method)
        vector = method.start_vectors(episode.ids_t)
        side = method.side_fields_of(episode.ids_t)
        graph = method.raw_graphs(episode.ids_t, vector, side)
        support = method.task_rows(episode.support, episode.support_mask_tk)
        moved, _ = method.adapt({"graph": graph, "vector": vector}, side, support, episode.ids_t)
        apart = {"graph": graph.detach(), "vector": vector.detach()}
        expected, _ = method.adapt(apart, side.detach(), support, episode.ids_t)
        assert vector.requires_grad and torch.equal(moved["vector"], expected["vector"])

    def test_second_order_is_the_gradient_of_the_loss(self, build):
        """Against central differences; the first order is another number, but equal loss."""
        method = built(build, emerg_inner_rate=2.0)
        episode = episode_of(method)
        exact = gradients_of(method, episode)
        pick = torch.Generator().manual_seed(3)
        parameters = method.trainable("learn")
        moving = [n for n, g in enumerate(exact) if g.abs().max() > 0]
        for n in [moving[int(i)] for i in torch.randint(len(moving), (10,), generator=pick)]:
            flat, place = parameters[n].data.reshape(-1), int(exact[n].abs().argmax())
            numeric = central_difference(lambda: loss_of(method, episode), flat, place)
            assert exact[n].reshape(-1)[place].item() == pytest.approx(numeric, abs=1e-7)
        first = built(build, emerg_inner_rate=2.0, emerg_order=1)
        assert torch.equal(loss_of(first, episode), loss_of(method, episode))
        apart = max(
            (a - b).abs().max() for a, b in zip(gradients_of(first, episode), exact, strict=True)
        )
        assert apart > 1e-5

    @pytest.mark.parametrize("draw", ["task", "table"])
    def test_chunks_are_the_whole(self, build, draw):
        """Loss and gradient of an episode in chunks of one task, and of two with one left over."""
        method = built(build, emerg_id_draw=draw)
        episode = episode_of(method, tasks=5)
        query = episode.query_mask_tk.clone()
        query[2] = 0
        episode = exchanged(episode, query_mask_tk=query)
        loss, whole = loss_of(method, episode), gradients_of(method, episode)
        for rows in (1, 20):
            method._chunks.most = rows
            assert abs(loss_of(method, episode) - loss) < 1e-12
            for found, expected in zip(gradients_of(method, episode), whole, strict=True):
                assert torch.allclose(found, expected, **CLOSE)

    def test_padding_changes_nothing(self, build):
        method = built(build)
        episode = episode_of(method)
        t, k = episode.support_mask_tk.shape
        index = episode.support.index.view(t, k)
        wide = method.rows.batch(torch.cat([index, index[:, :1].expand(t, 3)], dim=1).reshape(-1))
        mask = torch.cat([episode.support_mask_tk, torch.zeros(t, 3)], dim=1)
        padded = exchanged(episode, support=wide, support_mask_tk=mask)
        assert torch.allclose(loss_of(method, padded), loss_of(method, episode), **CLOSE)
        support = method.task_rows(wide, mask)
        vector, side, graph, plain, _ = tasks_of(method, episode)
        fast = {"graph": graph, "vector": vector}
        one, _ = method.adapt(fast, side, support, episode.ids_t)
        two, _ = method.adapt(fast, side, plain, episode.ids_t)
        assert all(torch.allclose(one[name], two[name], **CLOSE) for name in one)

    def test_order_of_tasks_and_rows(self, build):
        """Permuted tasks give permuted results; permuted support rows the same."""
        method = built(build)
        episode = episode_of(method)
        vector, side, graph, support, _ = tasks_of(method, episode)
        fast = {"graph": graph, "vector": vector}
        adapted, losses = method.adapt(fast, side, support, episode.ids_t)
        order = torch.tensor([2, 0, 3, 1])
        moved = TaskRows(
            support.other_dtqk[:, order].flip(-1),
            support.label_tk[order].flip(-1),
            support.mask_tk[order].flip(-1),
        )
        fast = {name: value[order] for name, value in fast.items()}
        again, losses_again = method.adapt(fast, side[order], moved, episode.ids_t[order])
        assert torch.allclose(losses_again, losses[order], **CLOSE)
        for name in adapted:
            assert torch.allclose(again[name], adapted[name][order], **CLOSE)

    def test_inner_step_moves_graph_and_vector_only(self, build):
        """Each task its own; nothing stored; no support, rate 0 or no steps: nothing at all."""
        method = built(build, emerg_inner_rate=0.5)
        episode = episode_of(method)
        vector, side, graph, support, _ = tasks_of(method, episode)
        fast = {"graph": graph, "vector": vector}
        before = state_of(method)
        adapted, _ = method.adapt(fast, side, support, episode.ids_t)
        assert set(adapted) == {"graph", "vector"}
        assert all((adapted[n] - fast[n]).flatten(1).abs().amax(1).min() > 1e-9 for n in fast)
        assert not what_moved(before, method)
        labels = support.label_tk.clone()
        labels[1] = 1 - labels[1]
        other, _ = method.adapt(fast, side, support._replace(label_tk=labels), episode.ids_t)
        for name in fast:
            assert torch.equal(other[name][[0, 2, 3]], adapted[name][[0, 2, 3]])
            assert not torch.equal(other[name][1], adapted[name][1])
        empty = support._replace(mask_tk=torch.zeros_like(support.mask_tk))
        still, _ = method.adapt(fast, side, empty, episode.ids_t)
        assert all(torch.equal(still[name], fast[name]) for name in fast)
        for keys in ({"emerg_inner_rate": 0.0}, {"emerg_inner_steps": 0}, {"emerg_inner": False}):
            method = built(build, **keys)
            vector, side, graph, support, _ = tasks_of(method, episode)
            fast = {"graph": graph, "vector": vector}
            still, _ = method.adapt(fast, side, support, episode.ids_t)
            assert all(torch.equal(still[name], fast[name]) for name in fast)

    def test_adaptation_helps_on_a_separable_toy(self, build):
        """Labels that follow the user's gender: steps on the support lower the query's loss."""
        method = built(build, emerg_inner_rate=1.0, emerg_inner_steps=20)
        episode = episode_of(method, size=12)
        vector, side, graph, support, query = tasks_of(method, episode)
        for rows, batch in ((support, episode.support), (query, episode.query)):
            rows.label_tk.copy_((batch["gender"] == 1).view_as(rows.label_tk))
        fast = {"graph": graph, "vector": vector}
        adapted, _ = method.adapt(fast, side, support, episode.ids_t)
        losses = [
            task_loss(method.adapted_logits(state, side, query.other_dtqk), query).mean()
            for state in (fast, adapted)
        ]
        assert losses[1] < losses[0] - 0.01

    def test_a_step_without_a_number_is_named(self, build):
        method = built(build)
        episode = episode_of(method)
        vector, side, graph, support, _ = tasks_of(method, episode)
        support.other_dtqk[:, 2] = math.nan
        name = method.name_of(episode.ids_t[2])
        assert name.startswith("item_id 'i")
        with pytest.raises(Diverged, match=f"inner step 1 of 1 .* for {name}"):
            method.adapt({"graph": graph, "vector": vector}, side, support, episode.ids_t)

    def test_tasks_without_rows_have_no_share(self, build):
        method = built(build)
        episode = episode_of(method)
        mask = episode.query_mask_tk.clone()
        mask[1] = 0
        episode = exchanged(episode, query_mask_tk=mask)
        vector = tasks_of(method, episode)[0]
        with torch.no_grad():
            loss_t = method._chunk_loss(vector, episode)
        assert loss_of(method, episode).item() == pytest.approx(
            loss_t[[0, 2, 3]].mean().item(), abs=1e-12
        )


class TestAblations:
    def test_which_parameters_learn(self, build):
        """The first-order weights never; the global graph only where it is every item's."""
        names = {}
        for graph in ("hyper", "shared", "random"):
            method = build("EmerG", emerg_graph=graph)
            moving = {id(p) for p in method.trainable("learn")}
            names[graph] = {n for n, p in method.named_parameters() if id(p) in moving}
            warm = {id(p) for p in method.trainable("warm_up")}
            warm = {n for n, p in method.named_parameters() if id(p) in warm}
            assert warm == ({"new_vectors"} if graph == "random" else {"new_vectors", "new_graphs"})
            assert not any("first_order" in name for name in names[graph])
        assert "backbone.model.global_graph" in names["shared"]
        assert "backbone.model.global_graph" not in names["hyper"] | names["random"]
        assert any(name.startswith("hyper.") for name in names["hyper"])
        untrained = build("EmerG", emerg_hyper="untrained")
        moving = {id(p) for p in untrained.trainable("learn")}
        assert not any(id(p) in moving for p in untrained.hyper.parameters())

    def test_random_graphs_are_seeded_and_fixed(self, build):
        one, two = build("EmerG", emerg_graph="random"), build("EmerG", emerg_graph="random")
        other = build("EmerG", emerg_graph="random", seed=8)
        assert torch.equal(one.random_graphs, two.random_graphs)
        assert not torch.equal(one.random_graphs, other.random_graphs)
        method = built(build, emerg_graph="random")
        episode = episode_of(method)
        vector, side, graph, support, _ = tasks_of(method, episode)
        adapted, _ = method.adapt({"graph": graph, "vector": vector}, side, support, episode.ids_t)
        assert torch.equal(adapted["graph"], graph)
        assert not torch.equal(adapted["vector"], vector)

    def test_random_graphs_that_adapt(self, build):
        """The same draw, moved by the inner step and in the warm phases; still none that learns."""
        method = built(build, emerg_graph="random_adapted", emerg_inner_rate=0.5)
        fixed = built(build, emerg_graph="random")
        assert torch.equal(method.random_graphs, fixed.random_graphs)
        episode = episode_of(method)
        vector, side, graph, support, _ = tasks_of(method, episode)
        adapted, _ = method.adapt({"graph": graph, "vector": vector}, side, support, episode.ids_t)
        assert not torch.equal(adapted["graph"], graph)
        assert any(p is method.new_graphs for p in method.trainable("warm_up"))
        assert not any(p is method.new_graphs for p in fixed.trainable("warm_up"))
        shapes = [[p.shape for p in one.trainable("learn")] for one in (method, fixed)]
        assert shapes[0] == shapes[1]

    def test_an_untrained_hypernetwork_is_cut_off(self, build):
        """No gradient reaches the item's fields through it, as none reaches its own weights."""
        ids = torch.tensor([2, 3])
        for hyper in ("trained", "untrained"):
            method = built(build, emerg_hyper=hyper)
            vector = torch.zeros(2, method.embedding_size).double().requires_grad_()
            graphs = method.raw_graphs(ids, vector, method.side_fields_of(ids))
            assert graphs.requires_grad == (hyper == "trained")

    def test_one_graph_for_all_items_adapts_per_task(self, build):
        method = built(build, emerg_graph="shared", emerg_inner_rate=0.5)
        episode = episode_of(method)
        vector, side, graph, support, _ = tasks_of(method, episode)
        assert all(torch.equal(g, method.net.global_graph[0]) for g in graph)
        adapted, _ = method.adapt({"graph": graph, "vector": vector}, side, support, episode.ids_t)
        assert not torch.equal(adapted["graph"][0], adapted["graph"][1])
        (gradient,) = torch.autograd.grad(loss_of(method, episode), [method.net.global_graph])
        assert gradient.abs().max() > 1e-9

    def test_without_meta_training_as_many_rows_come_in_ordinary_batches(self, build):
        keys = {"emerg_epochs": 7, "emerg_support_cap": 10, "emerg_query_cap": 11}
        (meta,) = built(build, **keys).learn_fits()
        draw = torch.Generator().manual_seed(1)
        seen = sum(
            int(episode.support_mask_tk.sum() + episode.query_mask_tk.sum())
            for epoch in range(meta.epochs)
            for episode in meta.batches.epoch(draw, epoch)
        )
        method = built(build, emerg_meta=False, **keys)
        (fit,) = method.learn_fits()
        batches = [list(fit.batches.epoch(draw, epoch)) for epoch in range(fit.epochs)]
        rows = [sum(len(batch) for batch in epoch) for epoch in batches]
        assert [len(epoch) for epoch in batches] == [len(fit.batches)] * fit.epochs
        assert len(set(rows)) == 1 and rows[0] <= len(method.train_index)
        assert 0 <= sum(rows) - seen < fit.epochs and fit.epochs > 1
        batch = method.rows.batch(method.train_index[:20])
        logits = method.logits(batch)
        label = batch[method.label_field].double()
        p = torch.sigmoid(logits)
        expected = -(label * p.log() + (1 - label) * (1 - p).log()).mean()
        loss = method.calculate_loss(batch)
        assert loss.item() == pytest.approx(expected.item(), abs=1e-7)
        for gradient in torch.autograd.grad(loss, list(method.hyper.parameters())):
            assert gradient.abs().max() > 0

    def test_without_inner_steps_nothing_is_warmed(self, build):
        method = build("EmerG", emerg_inner=False)
        assert method.warm_fits(method.rows.index(method.dataset.split["warm_a"])) == []


class TestPretrainingOrder:
    def test_unshuffled_rows_come_in_the_order_of_time(self, build):
        method = build("EmerG", emerg_pretrain_shuffle=False)
        (fit,) = method.pretrain_fits()
        draw = torch.Generator().manual_seed(1)
        index = torch.cat([batch.index for batch in fit.batches.epoch(draw, 0)])
        times = torch.as_tensor(method.dataset.time)[index]
        assert (times.diff() >= 0).all()
        assert torch.equal(index.sort().values, method.train_index.sort().values)
        again = torch.cat([batch.index for batch in fit.batches.epoch(draw, 1, start=1)])
        assert torch.equal(again, index[fit.batches.batch_size :])

    def test_shuffled_ones_do_not(self, build):
        method = build("EmerG")
        (fit,) = method.pretrain_fits()
        draw = torch.Generator().manual_seed(1)
        index = torch.cat([batch.index for batch in fit.batches.epoch(draw, 0)])
        assert (torch.as_tensor(method.dataset.time)[index].diff() < 0).any()
        other = build("EmerG", emerg_pretrain_shuffle=False)
        assert method.pretrain_key() != other.pretrain_key()


# ------------------------------------------------------------------------------- new items
def learned(build, **keys):
    """Pre-trained, meta-trained for one pass, and entered."""
    keys = {"pretrain_epochs": 1, "emerg_epochs": 1, "emerg_meta_batch_size": 4, **keys}
    method = build("EmerG", double=True, **keys)
    trainer = Trainer(method, 7)
    trainer.pretrain()
    trainer.learn()
    return method, trainer


class TestWarmUp:
    def test_one_adam_over_all_items_is_one_per_item(self, build):
        """Three phases of separate loops, each with its own optimizer that lives on."""
        method, trainer = learned(build, warm_epochs=3)
        split = method.dataset.split
        graphs, vectors = method.new_graphs.detach().clone(), method.new_vectors.detach().clone()
        side = method.side_fields_of(method.new_ids).detach()
        for name in ("warm_a", "warm_b", "warm_c"):
            trainer.warm_up(name, split[name])
        ids = method._all_ids
        for slot, item in enumerate(method.new_ids.tolist()):
            a = graphs[slot : slot + 1].clone().requires_grad_()
            e = vectors[slot : slot + 1].clone().requires_grad_()
            adam = torch.optim.Adam([a, e], lr=method.config["warm_learning_rate"])
            for name in ("warm_a", "warm_b", "warm_c"):
                mine = split[name][ids[split[name]] == item]
                batch = method.rows.batch(method.rows.index(mine))
                with torch.no_grad():
                    rows = method.task_rows(batch, torch.ones(1, len(mine)).double())
                for _ in range(3):
                    adam.zero_grad()
                    fast = {"graph": a, "vector": e}
                    logits = method.adapted_logits(fast, side[slot : slot + 1], rows.other_dtqk)
                    task_loss(logits, rows).sum().backward()
                    adam.step()
            assert torch.allclose(method.new_graphs[slot], a[0], atol=1e-9)
            assert torch.allclose(method.new_vectors[slot], e[0], atol=1e-9)

    def test_steps_in_chunks_are_whole_steps(self, build, monkeypatch):
        results = []
        for rows in (4, 10_000):
            monkeypatch.setattr(emerg, "_CHUNK_ROWS", rows)
            method, trainer = learned(build, warm_epochs=2)
            trainer.warm_up("warm_a", method.dataset.split["warm_a"])
            results.append(method.new_graphs.detach().clone())
        assert torch.allclose(*results, atol=1e-9)

    def test_history_has_every_phase(self, build):
        """Graphs at the start and after each phase."""
        method, trainer = learned(build, warm_epochs=2)
        split, kept = method.dataset.split, [method.new_graphs.detach().clone()]
        for name in ("warm_a", "warm_b"):
            trainer.warm_up(name, split[name])
            kept.append(method.new_graphs.detach().clone())
        assert int(method.phase) == 2 and len(method.graph_history) == 4
        for phase, graphs in enumerate(kept):
            assert torch.equal(method.graph_history[phase], graphs)
        assert not torch.equal(kept[0], kept[1]) and not torch.equal(kept[1], kept[2])

    def test_items_without_rows_stay(self, build):
        method, trainer = learned(build, warm_epochs=2)
        split = method.dataset.split
        trainer.warm_up("warm_a", split["warm_a"])
        graphs, rows = method.new_graphs.detach().clone(), method.new_vectors.detach().clone()
        idle = int(method.new_ids[2])
        some = split["warm_b"][method._all_ids[split["warm_b"]] != idle]
        trainer.warm_up("warm_b", some)
        same = torch.zeros(len(graphs), dtype=torch.bool)
        same[2] = True
        assert torch.equal(method.new_graphs[same], graphs[same])
        assert torch.equal(method.new_vectors[same], rows[same])
        moved = (method.new_graphs - graphs).flatten(1).abs().amax(dim=1) > 0
        assert torch.equal(moved, ~same)

    def test_adams_state_lives_on(self, build, tmp_path):
        """A second phase goes on from the first one's moments, and so does a resumed run."""
        whole, trainer = learned(build, warm_epochs=2)
        split = whole.dataset.split
        trainer.warm_up("warm_a", split["warm_a"])
        steps = [float(state["step"]) for state in trainer._kept["adapt"][0][0]["state"].values()]
        assert steps == [2.0, 2.0]
        trainer.state_path = tmp_path / "state.pt"
        trainer._save()
        trainer.state_path = None
        trainer.warm_up("warm_b", split["warm_b"])
        resumed = build("EmerG", double=True, warm_epochs=2, emerg_epochs=1,
                        emerg_meta_batch_size=4, pretrain_epochs=1)  # fmt: skip
        again = Trainer(resumed, 7, tmp_path / "state.pt")
        assert again.resume()
        again.warm_up("warm_b", split["warm_b"])
        assert torch.equal(resumed.new_graphs, whole.new_graphs)
        steps = [float(state["step"]) for state in again._kept["adapt"][0][0]["state"].values()]
        assert steps == [4.0, 4.0]

    def test_rows_score_with_their_items_graph_and_vector(self, build):
        """Flat rows of many items, some old, against each item's rows by themselves."""
        method, trainer = learned(build, warm_epochs=2)
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        method.set_mode("evaluate")
        index = torch.arange(0, method.dataset.n_rows, 7)
        batch = method.rows.batch(index)
        with torch.no_grad():
            flat = method.logits(batch)
            for item in batch["item_id"].unique().tolist():
                mine = batch["item_id"] == item
                rows = method.task_rows(
                    method.rows.batch(index[mine]), torch.ones(1, int(mine.sum())).double()
                )
                ids = torch.tensor([item])
                slot, side = int(method.new_index[item]), method.side_fields_of(ids)
                vector = method.backbone.id_table()[ids]
                graph = method.raw_graphs(ids, vector, side)
                if slot >= 0:
                    vector, graph = method.new_vectors[[slot]], method.new_graphs[[slot]]
                fast = {"graph": graph, "vector": vector}
                alone = method.adapted_logits(fast, side, rows.other_dtqk)
                assert torch.allclose(flat[mine], alone[0], atol=1e-9)

    def test_labels_of_test_rows_reach_no_score(self, build):
        scores = []
        for flip in (False, True):
            method, trainer = learned(build, warm_epochs=2)
            split = method.dataset.split
            index = method.rows.index(split["test"])
            if flip:
                labels = method.rows.columns[method.label_field] = method.rows.columns[
                    method.label_field
                ].clone()
                labels[index] = 1 - labels[index]
            trainer.warm_up("warm_a", split["warm_a"])
            scores.append(trainer.score(index))
        assert torch.equal(*scores)

    def test_start_of_new_items(self, build):
        method, _ = learned(build)
        assert method.new_vectors.abs().max() <= 0.01 and method.new_vectors.abs().min() > 0
        side = method.side_fields_of(method.new_ids)
        graphs = method.raw_graphs(method.new_ids, method.new_vectors, side)
        assert torch.equal(method.new_graphs, graphs)
        zero, _ = learned(build, new_item_init="zero")
        assert not zero.new_vectors.any()


def test_short_memory_makes_smaller_chunks(build, monkeypatch, caplog):
    """An allocation that fails is tried again with half of the items; another error is not."""
    method = built(build)
    episode = episode_of(method, tasks=5)
    loss, whole = loss_of(method, episode), gradients_of(method, episode)
    original, sizes = EmerG._chunk_loss, []

    def fails(self, vector, part):
        sizes.append(len(part.ids_t))
        if len(part.ids_t) > 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return original(self, vector, part)

    monkeypatch.setattr(EmerG, "_chunk_loss", fails)
    with caplog.at_level("WARNING", "recbole_cold"):
        assert abs(loss_of(method, episode) - loss) < 1e-12
    assert sizes == [5, 2, 1, 1, 1, 1, 1]
    assert "memory is short: going on with 10 rows at a time" in caplog.text
    for found, expected in zip(gradients_of(method, episode), whole, strict=True):
        assert torch.allclose(found, expected, **CLOSE)

    def breaks(self, vector, part):
        raise RuntimeError("something else")

    monkeypatch.setattr(EmerG, "_chunk_loss", breaks)
    with pytest.raises(RuntimeError, match="something else"):
        loss_of(method, episode)


def test_old_items_with_too_few_rows(build):
    with pytest.raises(UserError, match="EmerG needs old items with at least 4 rows"):
        method = build("EmerG")
        method._train = np.asarray(method._train)[:2]
        method.learn_fits()


def test_schedule_of_the_paper(build):
    """Quarters, support before query, caps, the release's order of items."""
    method = build("EmerG", emerg_support_cap=3, emerg_query_cap=2, emerg_meta_batch_size=4)
    (fit,) = method.learn_fits()
    assert fit.epochs == 3 and len(fit.batches) == math.ceil(len(method.old_ids) / 4)
    (released,) = build("EmerG", protocol="released").learn_fits()
    assert released.epochs == 9
    for epoch in range(3):
        for episode in fit.batches.epoch(torch.Generator().manual_seed(1), epoch):
            assert episode.support_mask_tk.shape[1] == 3 and episode.query_mask_tk.shape[1] == 2
            t = len(episode.ids_t)
            when = torch.from_numpy(np.array(method._time))
            support = when[episode.support.index].view(t, -1)
            query = when[episode.query.index].view(t, -1)
            assert bool((support.amax(1) <= query.amin(1)).all())
    method = build("EmerG", emerg_shuffle=False, emerg_meta_batch_size=1)
    (fit,) = method.learn_fits()
    order = [int(e.ids_t[0]) for e in fit.batches.epoch(torch.Generator().manual_seed(1), 0)]
    assert order == sorted(order)
