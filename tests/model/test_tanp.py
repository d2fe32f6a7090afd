"""TaNP against a restatement one task, one row and one number at a time, in float64."""

import math

import pytest
import torch
from helpers import state_of, what_moved
from number_helpers import central_difference, dense, gradient_of
from task_helpers import NO_ITEM_FEATURES, RaggedTasks, exchanged, first_episode, tasks_of
from torch import nn

from recbole_cold.errors import UserError
from recbole_cold.model.tanp import (
    Gaussian,
    Modulation,
    NeuralProcess,
    TaNP,
    cluster_weights,
    clustering_loss,
    gaussian_kl,
    sharpened,
)

SIZES = {
    "encoder": (5, 4), "latent": (6, 5, 7), "task": (6, 3), "pool": 4, "decoder": (6, 5),
}  # fmt: skip


def process(**keys) -> NeuralProcess:
    """A small process in float64, with biases as large as weights."""
    torch.manual_seed(3)
    out = NeuralProcess(3, 2, **{**SIZES, **keys}).double()
    with torch.no_grad():
        for parameter in out.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return out


@pytest.fixture
def tasks(rng64):
    return RaggedTasks(rng64)


# ------------------------------------------------------------------------- one number at a time
def relu(x: list[float]) -> list[float]:
    return [max(v, 0.0) for v in x]


def chain(layers: nn.Sequential, x: list[float], last: bool = False) -> list[float]:
    """Linear layers with ReLU between them, and after the ``last`` one."""
    dense_layers = [layer for layer in layers.modules() if isinstance(layer, nn.Linear)]
    for number, layer in enumerate(dense_layers):
        x = dense(layer, x)
        if last or number < len(dense_layers) - 1:
            x = relu(x)
    return x


def mean(rows: list[list[float]], width: int) -> list[float]:
    if not rows:
        return [0.0] * width
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


class Naive:
    """One task of the process, by the paper's equations."""

    def __init__(self, net: NeuralProcess, own, other, label):
        self.net = net
        own_x = chain(net.own_encoder, own.tolist(), last=True)
        self.rows = [own_x + chain(net.other_encoder, row, last=True) for row in other.tolist()]
        self.label = label.tolist()

    def gaussian(self, rows):
        net = self.net
        r = mean([chain(net.latent_encoder, [*self.rows[k], self.label[k]]) for k in rows], 7)
        hidden = relu(dense(net.latent_hidden[0], r))
        return dense(net.mean, hidden), dense(net.log_variance, hidden)

    def vector(self, rows):
        net = self.net
        t = mean([chain(net.task_encoder, [*self.rows[k], self.label[k]]) for k in rows], 3)
        pool = net.pool.tolist()
        near = []
        for a in pool:
            square = sum((x - y) ** 2 for x, y in zip(t, a, strict=True))
            length = square if net.squared else math.sqrt(square)
            near.append((1 + length / net.tau) ** (-(net.tau + 1) / 2))
        c = [n / sum(near) for n in near]
        return [x + sum(c[j] * pool[j][p] for j in range(4)) for p, x in enumerate(t)], c

    def logit(self, k, z, o):
        net, x = self.net, [*self.rows[k], *z]
        for layer, film in zip(net.layers, net.modulations, strict=True):
            scale = [math.tanh(v) for v in dense(film.scale, o)]
            shift = [math.tanh(v) for v in dense(film.shift, o)]
            if film.gate is not None:
                gate = [1 / (1 + math.exp(-v)) for v in dense(film.gate, o)]
                common = [math.tanh(v) for v in dense(film.common, o)]
                triples = list(zip(gate, common, strict=True))
                scale = [s * g + c * (1 - g) for s, (g, c) in zip(scale, triples, strict=True)]
                shift = [s * g + c * (1 - g) for s, (g, c) in zip(shift, triples, strict=True)]
            hidden = dense(layer, x)
            x = relu([a * h + b for a, h, b in zip(scale, hidden, shift, strict=True)])
        return dense(net.out, x)[0]


VARIANTS = [{}, {"gated": False}, {"squared": False, "tau": 2.0}]


@pytest.mark.parametrize("keys", VARIANTS, ids=str)
class TestNeuralProcess:
    def test_batched_tasks_equal_tasks_one_number_at_a_time(self, tasks, keys):
        """Masked rows and a task without any included."""
        net = process(**keys)
        rows = tasks.rows(net)
        context = net.context(rows, tasks.label, tasks.mask)
        logits = net.decode(rows, context.latent.mean_tz, context.vector_tp)
        for t in range(3):
            naive = Naive(net, tasks.own[t], tasks.other[t], tasks.label[t])
            real = [k for k in range(4) if tasks.mask[t, k]]
            mean_z, log_variance = naive.gaussian(real)
            vector, clusters = naive.vector(real)
            assert context.latent.mean_tz[t].tolist() == pytest.approx(mean_z, abs=1e-12)
            assert context.latent.log_variance_tz[t].tolist() == pytest.approx(log_variance)
            assert context.vector_tp[t].tolist() == pytest.approx(vector, abs=1e-12)
            assert context.clusters_tj[t].tolist() == pytest.approx(clusters, abs=1e-12)
            expected = [naive.logit(k, mean_z, vector) for k in range(4)]
            assert logits[t].tolist() == pytest.approx(expected, abs=1e-12)

    def test_order_and_number_of_copies_of_the_support_do_not_matter(self, tasks, keys):
        """T1: means; half of the support is another support."""
        net = process(**keys)
        rows, label = tasks.rows(net)[:1], tasks.label[:1]

        def out(places):
            mask = torch.ones(1, len(places), dtype=torch.float64)
            context = net.context(rows[:, places], label[:, places], mask)
            return net.decode(rows, context.latent.mean_tz, context.vector_tp)

        plain = out([0, 1, 2, 3])
        assert torch.allclose(out([2, 0, 3, 1]), plain, atol=1e-13)
        assert torch.allclose(out([0, 1, 2, 3, 3, 2, 1, 0]), plain, atol=1e-13)
        assert not torch.allclose(out([0, 1, 2, 3, 3]), plain, atol=1e-4)
        flipped = net.context(rows, 1 - label, torch.ones(1, 4, dtype=torch.float64))
        assert (flipped.vector_tp - net.context(rows, label, torch.ones(1, 4)).vector_tp).norm() > 0

    def test_a_query_rows_logit_does_not_depend_on_the_others(self, tasks, keys):
        """T6."""
        net = process(**keys)
        context = net.context(tasks.rows(net), tasks.label, tasks.mask)

        def out(other):
            row = net.inputs(tasks.own, other)
            return net.decode(row, context.latent.mean_tz, context.vector_tp)

        whole, moved = out(tasks.other), tasks.other.clone()
        moved[:, 1:] += 1.0
        assert torch.allclose(out(moved)[:, 0], whole[:, 0], atol=1e-14)
        assert not torch.allclose(out(moved)[:, 1], whole[:, 1], atol=1e-4)


# ------------------------------------------------------------------------------- the equations
def test_kl_is_that_of_torch_and_zero_for_equal_distributions(rng64):
    """T3: never negative; the second output is the logarithm of a variance, not of a deviation."""
    target, context = Gaussian(rng64(50, 6), rng64(50, 6)), Gaussian(rng64(50, 6), rng64(50, 6))
    normals = [
        torch.distributions.Normal(g.mean_tz, (g.log_variance_tz / 2).exp())
        for g in (target, context)
    ]
    expected = torch.distributions.kl_divergence(*normals).sum(dim=1)
    assert torch.allclose(gaussian_kl(target, context), expected, atol=1e-12)
    assert (gaussian_kl(target, context) >= 0).all()
    assert torch.equal(gaussian_kl(target, target), torch.zeros(50).double())


def test_samples_have_the_distributions_mean_and_variance():
    """And gradients pass through them."""
    torch.manual_seed(0)
    mean_tz = torch.full((20000, 2), 3.0).requires_grad_()
    log_variance = torch.full((20000, 2), math.log(4.0)).requires_grad_()
    drawn = Gaussian(mean_tz, log_variance).sample()
    assert drawn.mean().item() == pytest.approx(3.0, abs=0.05)
    assert drawn.var().item() == pytest.approx(4.0, abs=0.1)
    drawn.sum().backward()
    assert torch.equal(mean_tz.grad, torch.ones(20000, 2))
    assert log_variance.grad.abs().min() > 0


@pytest.mark.parametrize("squared", [True, False])
def test_clusters_sum_to_one_and_find_the_row_a_task_lies_on(rng64, squared):
    """T4: with a small tau the task vector becomes t + A_j as t goes to A_j."""
    vector, pool = rng64(9, 5), rng64(4, 5)
    weights = cluster_weights(vector, pool, 1.0, squared)
    assert torch.allclose(weights.sum(dim=1), torch.ones(9).double(), atol=1e-14)
    assert (weights > 0).all()
    for t in range(9):
        lengths = [math.dist(vector[t].tolist(), pool[j].tolist()) for j in range(4)]
        near = [1 / (1 + (x**2 if squared else x)) for x in lengths]
        expected = [n / sum(near) for n in near]
        assert weights[t].tolist() == pytest.approx(expected, abs=1e-12)
    moved = pool[2:3].clone().requires_grad_()
    on_a_row = cluster_weights(moved, pool, 1e-9, squared)
    vector_on = moved + on_a_row @ pool
    assert torch.allclose(vector_on, 2 * pool[2:3], atol=1e-2)
    (gradient,) = torch.autograd.grad(on_a_row[0, 2], moved)
    assert torch.isfinite(gradient).all()


def test_sharpened_clusters_by_hand(rng64):
    clusters = torch.softmax(rng64(5, 3), dim=1)
    out = sharpened(clusters)
    shares = [sum(clusters[t, j].item() for t in range(5)) for j in range(3)]
    loss = 0.0
    for t in range(5):
        weight = [clusters[t, j].item() ** 2 / shares[j] for j in range(3)]
        expected = [w / sum(weight) for w in weight]
        assert out[t].tolist() == pytest.approx(expected, abs=1e-14)
        loss += sum(d * math.log(d / clusters[t, j].item()) for j, d in enumerate(expected)) / 5
    assert clustering_loss(clusters, False).item() == pytest.approx(loss, abs=1e-14)


def test_the_clustering_target_has_gradient_unless_detached(rng64):
    logits = rng64(5, 3).requires_grad_()

    def gradient(detach):
        loss = clustering_loss(torch.softmax(logits, dim=1), detach)
        return torch.autograd.grad(loss, logits)[0]

    with torch.no_grad():
        fixed = sharpened(torch.softmax(logits, dim=1))
    cross = -(fixed * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
    expected = torch.autograd.grad(cross, logits)[0]
    assert torch.allclose(gradient(True), expected, atol=1e-14)
    assert not torch.allclose(gradient(False), expected, atol=1e-3)


def test_an_open_gate_is_plain_modulation(rng64):
    """T5; a closed one gives scale and shift the same vector."""
    film, vector = Modulation(3, 4, gated=True).double(), rng64(5, 3).abs()
    plain = Modulation(3, 4, gated=False).double()
    plain.load_state_dict({k: v for k, v in film.state_dict().items() if k[:2] == "sc"}, False)
    plain.shift.load_state_dict(film.shift.state_dict())
    with torch.no_grad():
        film.gate.weight.fill_(1e3)
    for found, expected in zip(film(vector), plain(vector), strict=True):
        assert torch.allclose(found, expected, atol=1e-12)
    with torch.no_grad():
        film.gate.weight.fill_(-1e3)
    scale, shift = film(vector)
    assert torch.allclose(scale, shift, atol=1e-12)
    assert torch.allclose(scale, torch.tanh(film.common(vector)), atol=1e-12)


# ------------------------------------------------------------------------------- the method
SMALL = {
    "tanp_encoder_size": [5, 4],
    "tanp_latent_size": [6, 5, 7],
    "tanp_task_size": [6, 3],
    "tanp_pool_size": 4,
    "tanp_decoder_size": [6, 5],
    "meta_batch_size": 5,
    "meta_epochs": 2,
}


def built(build, **keys) -> TaNP:
    """In float64, with parameters as large as after training."""
    method = build("TaNP", "FM", double=True, **{**SMALL, **keys})
    with torch.no_grad():
        for parameter in method.net.process.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return method


def without_noise(monkeypatch):
    monkeypatch.setattr(Gaussian, "sample", lambda self: self.mean_tz)


class TestTaNP:
    @pytest.mark.parametrize("keys", [{}, {"tanp_film": "plain", "tanp_pool_distance": "abs"}])
    def test_loss_of_an_episode_one_number_at_a_time(self, build, monkeypatch, keys):
        """Targets are support and query; latents of both for the decoder, their KL, the clusters'.

        With rows that are masked in both.
        """
        without_noise(monkeypatch)
        keys = {"tanp_kl_weight": 0.3, "tanp_cluster_weight": 0.7, **keys}
        method = built(build, **keys)
        episode = first_episode(method, short=1)
        support, query = method.both_of(episode)
        total, weights = 0.0, []
        for t in range(5):
            other = torch.cat([support.other_tkq[t], query.other_tkq[t]])
            label = torch.cat([support.label_tk[t], query.label_tk[t]])
            naive = Naive(method.net.process, support.own_tp[t], other, label)
            size = len(support.label_tk[t])
            seen = [k for k in range(size) if support.mask_tk[t, k]]
            rest = [size + k for k in range(len(label) - size) if query.mask_tk[t, k]]
            context, target = naive.gaussian(seen), naive.gaussian(seen + rest)
            vector, clusters = naive.vector(seen)
            weights.append(clusters)
            losses = []
            for k in seen + rest:
                logit = naive.logit(k, target[0], vector)
                losses.append(math.log1p(math.exp(logit)) - label[k].item() * logit)
            total += sum(losses) / len(losses) / 5
            for mt, st, mc, sc in zip(*target, *context, strict=True):
                kl = (math.exp(st) + (mt - mc) ** 2) / math.exp(sc) - 1 + sc - st
                total += 0.3 * 0.5 * kl / 5
        total += 0.7 * clustering_loss(torch.tensor(weights, dtype=torch.float64), False).item()
        assert method.episode_loss(episode).item() == pytest.approx(total, abs=1e-10)

    def test_batched_tasks_have_the_gradient_of_tasks_one_by_one(self, build, monkeypatch):
        """G1, G3: without the clusters' loss, which looks at all tasks; and in any order."""
        without_noise(monkeypatch)
        method = built(build, tanp_cluster_weight=0.0)
        episode = first_episode(method, short=1)
        whole = method.episode_loss(episode)
        ones = [method.episode_loss(tasks_of(episode, [t])) for t in range(5)]
        assert whole.item() == pytest.approx(sum(one.item() for one in ones) / 5, abs=1e-13)
        parameters = list(method.net.parameters())
        expected = sum(gradient_of(parameters, one) for one in ones) / 5
        assert (gradient_of(parameters, whole) - expected).abs().max() < 1e-13
        permuted = method.episode_loss(tasks_of(episode, [3, 0, 4, 1, 2]))
        assert permuted.item() == pytest.approx(whole.item(), abs=1e-13)

    def test_gradient_against_central_differences(self, build):
        """Through the draw of the latents, its noise held."""
        method = built(build)
        episode = first_episode(method)

        def loss():
            torch.manual_seed(5)
            return method.episode_loss(episode)

        exact = gradient_of(list(method.net.parameters()), loss())
        flat = [(p, n) for p in method.net.process.parameters() for n in range(p.numel())]
        places = len(exact) - len(flat) + torch.arange(len(flat))
        for number in range(0, len(flat), 97):
            parameter, n = flat[number]
            numeric = central_difference(loss, parameter.data.view(-1), n, 1e-6)
            assert exact[places[number]].item() == pytest.approx(numeric, abs=1e-6)

    def test_padding_does_not_count(self, build, monkeypatch):
        """G2: other rows in masked places."""
        without_noise(monkeypatch)
        method = built(build)
        episode = first_episode(method, short=2)
        noise = [
            torch.where(mask.flatten() > 0, batch.index, batch.index.roll(7))
            for batch, mask in (
                (episode.support, episode.support_mask_tk),
                (episode.query, episode.query_mask_tk),
            )
        ]
        assert not torch.equal(noise[0], episode.support.index)
        other = exchanged(
            episode, support=method.rows.batch(noise[0]), query=method.rows.batch(noise[1])
        )
        assert torch.equal(method.episode_loss(other), method.episode_loss(episode))

    def test_query_labels_reach_predictions_through_the_latents_only(self, build, monkeypatch):
        """T2, in training: with the latents held no logit depends on them."""
        method = built(build)
        episode = first_episode(method)
        flipped = exchanged(episode, query=method.rows.batch(episode.query.index))
        flipped.query[method.label_field] = 1 - episode.query[method.label_field]
        decode, seen = NeuralProcess.decode, []

        def watched(self, *words):
            seen.append(decode(self, *words))
            return seen[-1]

        monkeypatch.setattr(NeuralProcess, "decode", watched)
        for held in (False, True):
            seen.clear()
            if held:
                monkeypatch.setattr(Gaussian, "sample", lambda g: torch.zeros_like(g.mean_tz))
            for one in (episode, flipped):
                torch.manual_seed(5)
                method.episode_loss(one)
            assert torch.equal(*seen) == held

    def test_serving_draws_nothing_and_looks_at_no_label_of_a_scored_row(self, build):
        """T2, G5, G8: the same twice, whatever the labels of the test rows, other items' supports
        and the rows scored beside; nothing stored changes."""
        method = built(build)
        split = method.dataset.split
        method.start_new_items()
        method.observe(method.rows.index(split["warm_a"]))
        method.set_mode("evaluate")
        index = method.rows.index(split["test"])

        def scores():
            method.restored()
            return method.logits(method.rows.batch(index))

        before = state_of(method)
        plain = scores()
        torch.manual_seed(99)
        assert torch.equal(scores(), plain)
        label = method.rows.columns[method.label_field]
        method.rows.columns[method.label_field] = label.clone()
        method.rows.columns[method.label_field][index] = 1 - label[index]
        assert torch.equal(scores(), plain)
        method.rows.columns[method.label_field][method.supports.rows[0]] = (
            1 - label[method.supports.rows[0]]
        )
        first = method.new_index[method.rows.columns[method.id_field][index].long()] == 0
        moved = (scores() - plain).abs()
        assert moved[first].min() > 1e-9
        assert moved[~first].max() == 0
        method.rows.columns[method.label_field] = label
        assert not what_moved(before, method)

    def test_supports_that_tell_the_label_are_used(self):
        """G7: tasks whose rows all have one label, unknown without their supports."""
        torch.manual_seed(0)
        net = NeuralProcess(2, 2, **SIZES)
        adam = torch.optim.Adam(net.parameters(), lr=1e-2)
        for step in range(300):
            label = (torch.rand(16, 1) > 0.5).float().expand(16, 8).contiguous()
            row, mask = net.inputs(torch.randn(16, 2), torch.randn(16, 8, 2)), torch.ones(16, 8)
            context = net.context(row[:, :4], label[:, :4], mask[:, :4])
            target = net.latent(row, label, mask)
            logit = net.decode(row, target.sample(), context.vector_tp)
            loss = nn.functional.binary_cross_entropy_with_logits(logit, label)
            if step < 299:
                adam.zero_grad()
                (loss + 0.1 * gaussian_kl(target, context.latent).mean()).backward()
                adam.step()
        logit = net.decode(row[:, 4:], context.latent.mean_tz, context.vector_tp)
        served = nn.functional.binary_cross_entropy_with_logits(logit, label[:, 4:])
        assert served < 0.1

    def test_a_side_without_features_has_no_say(self, build):
        """The support alone tells new items apart; no warning about empty layers."""
        method = built(build, load_col=NO_ITEM_FEATURES)
        assert method.net.own.width == 0
        assert torch.isfinite(method.episode_loss(first_episode(method)))

    def test_words_that_are_none_are_refused(self, build):
        with pytest.raises(UserError, match="tanp_film 'gated' is none of gating, plain"):
            build("TaNP", "FM", tanp_film="gated")
