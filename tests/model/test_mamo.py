"""MAMO: memories that give every task its own start, read within a meta-batch, written after it."""

import math

import pytest
import torch
from task_helpers import exchanged
from torch.nn import functional as F

from recbole_cold.data.episodes import masked_mean
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.model._inner import adapt
from recbole_cold.model.mamo import (
    attention,
    flatten,
    own_tower,
    read,
    score,
    start,
    unflatten,
    write,
)
from recbole_cold.training.trainer import Trainer


def cosine(a, b):
    """Of two lists of numbers."""
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


# ------------------------------------------------------------------------------- the memories
class TestMemories:
    @pytest.mark.parametrize("temperature", [1.0, 0.25])
    def test_attention_by_hand(self, rng64, temperature):
        """A softmax over cosines, one number at a time; each task's shares sum to 1."""
        profile, memory = rng64(4, 5), rng64(3, 5)
        out = attention(profile, memory, temperature)
        for task in range(4):
            raw = [
                math.exp(cosine(profile[task].tolist(), row.tolist()) / temperature)
                for row in memory
            ]
            for m in range(3):
                assert out[task, m].item() == pytest.approx(raw[m] / sum(raw), abs=1e-14)
        assert torch.allclose(out.sum(dim=1), torch.ones(4).double(), atol=1e-15)

    def test_attention_reads_directions_not_lengths(self, rng64):
        profile, memory = rng64(4, 5), rng64(3, 5)
        scale = torch.tensor([[1e-3], [2.0], [50.0], [1.0]]).double()
        longer = attention(scale * profile, 7.0 * memory)
        assert torch.allclose(longer, attention(profile, memory), atol=1e-14)

    def test_attention_is_one_row_in_the_limit_of_no_temperature(self, rng64):
        profile, memory = rng64(6, 5), rng64(3, 5)
        nearest = torch.tensor(
            [max(range(3), key=lambda m: cosine(p.tolist(), memory[m].tolist())) for p in profile]
        )
        assert len(nearest.unique()) > 1
        sharp = attention(profile, memory, 1e-3)
        assert torch.allclose(sharp, torch.eye(3).double()[nearest], atol=1e-12)

    def test_read_is_the_weighted_sum_of_the_rows(self, rng64):
        """Also of rows that are matrices; equal attention reads equal weights, other other."""
        share, memory = rng64(2, 3).softmax(dim=1), rng64(3, 2, 4)
        out = read(torch.cat([share, share[:1]]), memory)
        for task in range(2):
            for i in range(2):
                for j in range(4):
                    total = sum(share[task, m].item() * memory[m, i, j].item() for m in range(3))
                    assert out[task, i, j].item() == pytest.approx(total, abs=1e-14)
        assert torch.equal(out[2], out[0]) and not torch.equal(out[1], out[0])

    @pytest.mark.parametrize("forget", ["all", "attended"])
    def test_write_by_hand(self, rng64, forget):
        """The mean over the tasks that have rows; one number at a time."""
        memory, share, value = rng64(3, 2, 4), rng64(5, 3).softmax(dim=1), rng64(5, 2, 4)
        real = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]).double()
        out = write(memory, share, value, 0.3, real, forget)
        for m in range(3):
            given = sum(share[t, m].item() for t in (0, 1, 3)) / 3
            kept = 1 - 0.3 * given if forget == "attended" else 0.7
            for i in range(2):
                for j in range(4):
                    new = sum(share[t, m].item() * value[t, i, j].item() for t in (0, 1, 3)) / 3
                    expected = 0.3 * new + kept * memory[m, i, j].item()
                    assert out[m, i, j].item() == pytest.approx(expected, abs=1e-14)

    @pytest.mark.parametrize("forget", ["all", "attended"])
    def test_rates_zero_and_one(self, rng64, forget):
        """Rate 0 leaves the memory; rate 1 in one row is the value itself."""
        memory, value, share = rng64(3, 4), rng64(2, 4), rng64(2, 3).softmax(dim=1)
        assert torch.equal(write(memory, share, value, 0.0, torch.ones(2), forget), memory)
        one = write(memory[:1], torch.ones(1, 1).double(), value[:1], 1.0, torch.ones(1), forget)
        assert torch.equal(one, value[:1])

    @pytest.mark.parametrize("forget", ["all", "attended"])
    def test_tasks_without_rows_write_nothing(self, rng64, forget):
        memory, value, share = rng64(3, 4), rng64(2, 4), rng64(2, 3).softmax(dim=1)
        assert torch.equal(write(memory, share, value, 0.5, torch.zeros(2), forget), memory)

    def test_what_is_read_after_many_equal_writes(self, rng64):
        """The paper's rule gives back sum(a^2) of it, the attended one all of it."""
        share, value = torch.tensor([[0.5, 0.3, 0.2]]).double(), rng64(1, 4)
        for forget, part in (("all", 0.25 + 0.09 + 0.04), ("attended", 1.0)):
            memory = rng64(3, 4)
            for _ in range(1000):
                memory = write(memory, share, value, 0.5, torch.ones(1), forget)
            assert torch.allclose(read(share, memory), part * value, atol=1e-13)

    def test_weights_as_a_row_and_back(self, rng64):
        weights = {"a": rng64(3, 2, 4), "b": rng64(3, 2), "c": rng64(3, 1, 1)}
        row = flatten(weights.values())
        assert row.shape == (3, 11)
        assert row[1].tolist() == [
            number for weight in weights.values() for number in weight[1].flatten().tolist()
        ]
        back = unflatten(row, {name: weight.shape[1:] for name, weight in weights.items()})
        assert list(back) == list(weights)
        assert all(torch.equal(back[name], weight) for name, weight in weights.items())


# ------------------------------------------------------------------------------- the network
SHAPES = {
    "own.0.weight": (3, 6), "own.0.bias": (3,), "own.1.weight": (2, 3), "own.1.bias": (2,),
    "other.0.weight": (4, 5), "other.0.bias": (4,), "other.1.weight": (2, 4), "other.1.bias": (2,),
    "mix.bias": (4,),
    "rec.0.weight": (2, 4), "rec.0.bias": (2,), "rec.1.weight": (1, 2), "rec.1.bias": (1,),
}  # fmt: skip


def naive_logit(weights, own, other):
    """One row, one task, in the paper's words; ``memory`` is M_t."""

    def layer(name, x):
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    sides = [
        F.leaky_relu(layer(f"{side}.1", F.leaky_relu(layer(f"{side}.0", x))))
        for side, x in (("own", own), ("other", other))
    ]
    mixed = weights["memory"] @ torch.cat(sides) + weights["mix.bias"]
    return layer("rec.1", F.leaky_relu(layer("rec.0", mixed)))[0]


def naive_loss(weights, own, other_kq, y_k, mask_k):
    """Mean cross entropy of the real rows of one task."""
    losses = [
        F.softplus(logit) - y * logit
        for other, y, real in zip(other_kq, y_k, mask_k.tolist(), strict=True)
        if real
        for logit in [naive_logit(weights, own, other)]
    ]
    return sum(losses) / len(losses) if losses else torch.zeros((), dtype=torch.float64)


@pytest.fixture
def tasks(rng64):
    """Three ragged tasks: shared weights, M_t, own sides, rows, labels, masks."""
    shared = {name: 0.6 * rng64(*shape) for name, shape in SHAPES.items()}
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).double()
    return {
        "shared": shared,
        "memory": 0.6 * rng64(3, 4, 4),
        "own": rng64(3, 6),
        "other": rng64(3, 4, 5),
        "y": (rng64(3, 4) > 0).double(),
        "mask": mask,
        "query": rng64(3, 4, 5),
        "query_y": (rng64(3, 4) > 0).double(),
    }


def stacked_outer(tasks, order, steps=2, rate=0.3):
    """(A): logits of the query and the outer gradient on shared weights and on ``memory``."""
    shared = {name: w.clone().requires_grad_() for name, w in tasks["shared"].items()}
    memory = tasks["memory"].clone().requires_grad_()
    fast = {**{name: w.expand(3, *w.shape) for name, w in shared.items()}, "memory": memory}

    def loss(weights):
        logits = score(weights, tasks["own"], tasks["other"])
        loss_tk = F.binary_cross_entropy_with_logits(logits, tasks["y"], reduction="none")
        return masked_mean(loss_tk, tasks["mask"])

    adapted, _ = adapt(loss, fast, learning_rates=rate, steps=steps, second_order=order == 2)
    logits = score(adapted, tasks["own"], tasks["query"])
    outer = F.binary_cross_entropy_with_logits(logits, tasks["query_y"])
    leaves = {**shared, "memory": memory}
    gradients = torch.autograd.grad(outer, list(leaves.values()))
    return logits, dict(zip(leaves, gradients, strict=True))


def looped_outer(tasks, order, steps=2, rate=0.3):
    """(C): one task after the other, one row after the other."""
    shared = {name: w.clone().requires_grad_() for name, w in tasks["shared"].items()}
    memory = tasks["memory"].clone().requires_grad_()
    logits = []
    for task in range(3):
        weights = {**shared, "memory": memory[task]}
        for _ in range(steps):
            loss = naive_loss(weights, *(tasks[key][task] for key in ("own", "other", "y", "mask")))
            gradients = torch.autograd.grad(
                loss, list(weights.values()), create_graph=order == 2
            )  # fmt: skip
            weights = {
                name: w - rate * g for (name, w), g in zip(weights.items(), gradients, strict=True)
            }
        logits.append(
            torch.stack([naive_logit(weights, tasks["own"][task], q) for q in tasks["query"][task]])
        )
    logits = torch.stack(logits)
    outer = F.binary_cross_entropy_with_logits(logits, tasks["query_y"])
    leaves = {**shared, "memory": memory}
    gradients = torch.autograd.grad(outer, list(leaves.values()))
    return logits, dict(zip(leaves, gradients, strict=True))


def mapped_outer(tasks, order, steps=2, rate=0.3):
    """(B): ``torch.func`` over the naive form of one task."""
    leaves = {**tasks["shared"], "memory": tasks["memory"]}

    def one(memory, own, other, y, mask, query, shared):
        def loss(weights):
            logit_k = torch.func.vmap(naive_logit, (None, None, 0))(weights, own, other)
            loss_k = F.binary_cross_entropy_with_logits(logit_k, y, reduction="none")
            return (loss_k * mask).sum() / mask.sum()

        weights = {**shared, "memory": memory}
        for _ in range(steps):
            gradients = torch.func.grad(loss)(weights)
            if order == 1:
                gradients = {name: g.detach() for name, g in gradients.items()}
            weights = {name: w - rate * gradients[name] for name, w in weights.items()}
        return torch.func.vmap(naive_logit, (None, None, 0))(weights, own, query)

    def outer(leaves):
        shared = {name: w for name, w in leaves.items() if name != "memory"}
        parts = [tasks[key] for key in ("own", "other", "y", "mask", "query")]
        logits = torch.func.vmap(one, (*[0] * 6, None))(leaves["memory"], *parts, shared)
        return F.binary_cross_entropy_with_logits(logits, tasks["query_y"]), logits

    gradients, (_, logits) = torch.func.grad_and_value(outer, has_aux=True)(leaves)
    return logits, gradients


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("reference", [looped_outer, mapped_outer])
def test_stacked_tasks_equal_a_loop_and_torch_func(tasks, order, reference):
    """Logits after two inner steps and all outer gradients, of a ragged batch."""
    logits, gradients = stacked_outer(tasks, order)
    expected, others = reference(tasks, order)
    assert torch.allclose(logits, expected, atol=1e-12)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, others[name], atol=1e-12), name
    _, unlike = stacked_outer(tasks, 3 - order)
    assert (unlike["rec.0.weight"] - gradients["rec.0.weight"]).abs().max() > 1e-6


def test_the_start_by_hand(tasks, rng64):
    """own - tau b_t and M_t from the memories; everything else is the shared weight itself."""
    share, gradients, matrices = rng64(3, 2).softmax(dim=1), rng64(2, 29), rng64(2, 4, 4)
    out = start(tasks["shared"], share, gradients, matrices, 0.1)
    assert set(out) == {*SHAPES, "memory"}
    for task in range(3):
        first, second = share[task]
        assert torch.allclose(
            out["memory"][task], first * matrices[0] + second * matrices[1], atol=1e-14
        )
        bias = first * gradients[0] + second * gradients[1]
        place = 0
        for name, weight in tasks["shared"].items():
            expected = weight
            if name.startswith("own."):
                part = bias[place : place + weight.numel()].view_as(weight)
                expected, place = weight - 0.1 * part, place + weight.numel()
            assert torch.allclose(out[name][task], expected, atol=1e-14), name
        assert place == 29
    still = start(tasks["shared"], share, 1e6 * gradients, matrices, 0.0)
    same = start(tasks["shared"], share, gradients, matrices, 0.0)
    assert all(torch.equal(same[name][1], w) for name, w in tasks["shared"].items())
    assert all(torch.equal(still[name], same[name]) for name in out)


# ------------------------------------------------------------------------------- the method
MEMORIES = ("profiles", "gradients", "matrices")


def built(build, **keys):
    """In float64 and in training mode, with inner steps that are large enough to be seen."""
    keys = {"mamo_inner_rate": 0.5, "mamo_tau": 0.5, "episode_query": 4, **keys}
    method = build("MAMO", double=True, **keys)
    method.set_mode("train")
    return method


def episode_of(method, tasks=4, seed=3):
    """The first batch of tasks of an epoch; half of them lose some support rows."""
    batches = method.batches()
    batches.meta_batch_size = tasks
    episode = next(iter(batches.epoch(torch.Generator().manual_seed(seed), 0)))
    mask = episode.support_mask_tk.clone()
    mask[: tasks // 2, 2:] = 0
    return exchanged(episode, support_mask_tk=mask)


def memories(method):
    return {name: getattr(method.net, name).clone() for name in MEMORIES}


def gradient_of(method, episode):
    """The outer gradient on all parameters, as one vector."""
    parameters = method.trainable("learn")
    gradients = torch.autograd.grad(
        method.episode_loss(episode), parameters, materialize_grads=True
    )
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def naive_tasks(method, episode, write):
    """Each task by itself: a, g, M_t', p, query loss; in order 1."""
    net, rate = method.net, method.config["mamo_inner_rate"]
    shared = dict(net.layers.named_parameters())
    support, query = method.both_of(episode)
    for task in range(len(episode.ids_t)):
        own = support.own_tp[task]
        raw = [math.exp(cosine(own.tolist(), row.tolist())) for row in net.profiles]
        share = [value / sum(raw) for value in raw]
        weights, place = dict(shared), 0
        for name in [name for name in shared if name.startswith("own.")]:
            end = place + shared[name].numel()
            shift = sum(a * row[place:end] for a, row in zip(share, net.gradients, strict=True))
            weights[name], place = shared[name] - 0.5 * shift.view_as(shared[name]), end
        matrix = sum(a * m for a, m in zip(share, net.matrices, strict=True))
        weights["memory"] = matrix.requires_grad_()

        def loss(weights, rows, own=own, task=task):
            parts = rows.other_tkq[task], rows.label_tk[task].double(), rows.mask_tk[task]
            return naive_loss(weights, own, *parts)

        for step in range(method.config["mamo_inner_steps"]):
            gradients = torch.autograd.grad(loss(weights, support), list(weights.values()))
            gradients = dict(zip(weights, gradients, strict=True))
            if step == 0:
                first = gradients
            weights = {name: (w - rate * gradients[name]) for name, w in weights.items()}
        after = loss(weights, query)
        if write == "query":
            first = dict(
                zip(
                    weights,
                    torch.autograd.grad(after, list(weights.values()), retain_graph=True),
                    strict=True,
                )
            )
        yield (
            share,
            torch.cat([g.reshape(-1) for g in own_tower(first)]),
            weights["memory"],
            own,
            after,
        )


class TestMAMO:
    @pytest.mark.parametrize("gradient", ["support", "query"])
    @pytest.mark.parametrize("forget", ["all", "attended"])
    def test_one_batch_by_hand(self, build, gradient, forget):
        """The loss and the three memories after it, task by task and row by row."""
        method = built(build, mamo_write=gradient, mamo_forget=forget)
        episode, before = episode_of(method), memories(method)
        tasks = list(naive_tasks(method, episode, gradient))
        loss = method.episode_loss(episode)
        assert abs(loss - sum(task[4] for task in tasks) / 4) < 1e-13
        for name, rate, place in (
            ("profiles", 0.5, 3), ("gradients", 0.05, 1), ("matrices", 0.1, 2)
        ):  # fmt: skip
            for m in range(3):
                new = sum(task[0][m] * task[place] for task in tasks) / 4
                faded = sum(task[0][m] for task in tasks) / 4 if forget == "attended" else 1.0
                expected = rate * new + (1 - rate * faded) * before[name][m]
                found = getattr(method.net, name)[m]
                assert (found - expected).abs().max() < 1e-13, name
                assert (found - before[name][m]).abs().max() > 1e-6, name

    def test_memories_are_read_only_within_a_batch(self, build):
        """Loss and gradient are those of memories that nobody writes to."""
        writing, reading = built(build), built(build)
        reading.net.remember = lambda *_: None
        episode, other = episode_of(writing), episode_of(reading)
        assert torch.equal(gradient_of(writing, episode), gradient_of(reading, other))
        again = built(build)
        assert torch.equal(again.episode_loss(episode_of(again)), reading.episode_loss(other))
        assert not torch.equal(writing.episode_loss(episode), reading.episode_loss(other))

    @pytest.mark.parametrize("rate, name", [("alpha", "profiles"), ("beta", "gradients"),
                                            ("gamma", "matrices")])  # fmt: skip
    def test_each_memory_has_its_own_rate(self, build, rate, name):
        """A3: with rate 0 it stays, the other two move; alpha = 1 in one row is the profile."""
        method = built(build, **{f"mamo_{rate}": 0.0})
        before = memories(method)
        method.episode_loss(episode_of(method))
        after = memories(method)
        assert {n for n in MEMORIES if torch.equal(before[n], after[n])} == {name}
        method = built(build, mamo_alpha=1.0, mamo_memories=1)
        episode = episode_of(method, tasks=1)
        method.episode_loss(episode)
        assert torch.equal(method.net.profiles, method.own_side(episode.ids_t))

    def test_without_tau_the_memory_of_gradients_is_not_read(self, build):
        """A2; with it, it is."""
        for tau, same in ((0.0, True), (0.5, False)):
            method, other = built(build, mamo_tau=tau), built(build, mamo_tau=tau)
            other.net.gradients.mul_(-3.0)
            losses = [m.episode_loss(episode_of(m)) for m in (method, other)]
            assert torch.equal(*losses) == same

    def test_the_matrix_goes_with_the_profile(self, build):
        """A5: equal for equal profiles, other for others; adapted ones reach no memory yet."""
        method = built(build)
        net, before = method.net, memories(method)
        support, _ = method.both_of(episode_of(method))
        own = support.own_tp.clone()
        own[1] = own[0]
        begun = net.begin(net.attention(own))
        assert torch.equal(begun["memory"][0], begun["memory"][1])
        assert (begun["memory"][0] - begun["memory"][2]).abs().max() > 1e-6
        adapted, _ = net.adapted(begun, support)
        assert all(not torch.equal(adapted["memory"][t], begun["memory"][t]) for t in range(4))
        assert all(torch.equal(value, before[name]) for name, value in memories(method).items())

    def test_phases_read_and_never_write(self, build):
        """A4: learning writes; scoring, supports and a loss outside of training do not."""
        method = build("MAMO", meta_epochs=1)
        trainer, started = Trainer(method, seed=7), memories(method)
        split = method.dataset.split
        trainer.learn()
        learned = memories(method)
        assert not any(torch.equal(learned[name], started[name]) for name in MEMORIES)
        scores = []
        for name in ("warm_a", "warm_b"):
            trainer.warm_up(name, split[name])
            scores.append(trainer.score(method.rows.index(split["test"])))
        assert not torch.equal(*scores)
        method.set_mode("evaluate")
        method.episode_loss(episode_of(method))
        assert all(torch.equal(value, learned[name]) for name, value in memories(method).items())

    def test_an_interrupted_meta_training_has_equal_memories(self, build, tmp_path):
        """A6: they are in the state, at the batch they belong to; drawn from the seed."""
        whole = build("MAMO", meta_epochs=3, meta_batch_size=4)
        Trainer(whole, seed=7).learn()
        assert {f"backbone.model.{name}" for name in MEMORIES} <= whole.state_dict().keys()
        for stop_at in (1, 2, 5, None):
            method = build("MAMO", meta_epochs=3, meta_batch_size=4)
            batches = []
            trainer = Trainer(
                method,
                seed=7,
                state_path=tmp_path / "state.pt",
                stop=lambda batches=batches, at=stop_at: batches.append(1) or len(batches) == at,
            )
            trainer.resume()
            if stop_at is None:
                trainer.learn()
            else:
                with pytest.raises(Interrupted):
                    trainer.learn()
                torch.manual_seed(stop_at)
        assert 0 < len(batches) < 12
        for name in MEMORIES:
            assert torch.equal(getattr(method.net, name), getattr(whole.net, name)), name
        states = zip(whole.state_dict().values(), method.state_dict().values(), strict=True)
        assert all(torch.equal(*pair) for pair in states)

    def test_second_order_gradient_by_differences(self, build):
        """Ten numbers of the outer gradient in order 2; in order 1 it is another one."""
        method = built(build, mamo_order=2)
        method.net.remember = lambda *_: None
        episode = episode_of(method)
        exact = gradient_of(method, episode)
        moving = (exact.abs() > 1e-4).nonzero()[:, 0]
        places = moving[torch.randperm(len(moving), generator=torch.Generator().manual_seed(5))]
        assert len(places) > 10
        parameters = method.trainable("learn")
        for place in places[:10].tolist():
            number = place
            for parameter in parameters:
                if number < parameter.numel():
                    break
                number -= parameter.numel()
            flat, losses = parameter.data.view(-1), []
            value = flat[number].item()
            for step in (1e-6, -1e-6):
                flat[number] = value + step
                losses.append(method.episode_loss(episode).item())
            flat[number] = value
            assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(exact[place].item(), abs=1e-7)
        first = built(build, mamo_order=1)
        assert (gradient_of(first, episode_of(first)) - exact).abs().max() > 1e-4

    def test_tables_and_every_layer_learn(self, build):
        """The outer gradient reaches all parameters, in the first order, too."""
        method = built(build)
        method.episode_loss(episode_of(method)).backward()
        idle = {n for n, p in method.net.named_parameters() if p.grad is None or not p.grad.any()}
        assert {name for name in idle if not name.startswith("first_order_linear")} == set()

    # ---------------------------------------------------------------- as every few-shot learner
    def test_padding_does_not_count(self, build):
        """G2: other rows in masked places change nothing, nor do more of them."""
        method = built(build)
        method.net.remember = lambda *_: None
        episode = episode_of(method)
        index = episode.support.index.view_as(episode.support_mask_tk)
        noise = torch.where(episode.support_mask_tk > 0, index, 11)
        more = torch.cat([noise, noise[:, :2]], dim=1)
        mask = F.pad(episode.support_mask_tk, (0, 2))
        padded = exchanged(
            episode, support=method.rows.batch(more.reshape(-1)), support_mask_tk=mask
        )
        assert abs(method.episode_loss(padded) - method.episode_loss(episode)) < 1e-13

    def test_order_of_tasks_and_rows(self, build):
        """G3: tasks keep their own state in any order, and a support has no order."""
        method = built(build)
        support, _ = method.both_of(episode_of(method))
        with torch.no_grad():
            plain = method.net.state(support)
            order = torch.tensor([2, 0, 1, 3])
            other = method.net.state(type(support)(*(part[order] for part in support)))
            own, *rows = support[1], *(part.flip(1) for part in support[2:])
            flipped = method.net.state(type(support)(support.ids_t, own, *rows))
        for name, value in plain.items():
            assert torch.allclose(other[name], value[order], atol=1e-14), name
            assert torch.allclose(flipped[name], value, atol=1e-14), name
        assert (plain["memory"][0] - plain["memory"][1]).abs().max() > 1e-6

    @pytest.mark.parametrize("keys", [{"mamo_inner_steps": 0}, {"mamo_inner_rate": 0.0}])
    def test_no_step_is_the_start(self, build, keys):
        """G4: without steps, with rate 0, or without rows the weights are those of the start."""
        method = built(build, **keys)
        support, _ = method.both_of(episode_of(method))
        with torch.no_grad():
            begun = method.net.begin(method.net.attention(support.own_tp))
            for rows in (support, support.empty()):
                state = method.net.state(rows)
                assert all(torch.equal(state[name], begun[name]) for name in begun)
            moving = built(build)
            state = moving.net.state(support)
            assert all(not torch.equal(state[name], begun[name]) for name in begun)
            masked = support._replace(mask_tk=torch.zeros_like(support.mask_tk))
            state = moving.net.state(masked)
            assert all(torch.equal(state[name], begun[name]) for name in begun)

    def test_a_task_adapts_alone(self, build):
        """G5: other labels of one task leave the others, and all that is stored, bit for bit."""
        method = built(build)
        stored = {name: value.clone() for name, value in method.state_dict().items()}
        support, _ = method.both_of(episode_of(method))
        label = support.label_tk.clone()
        label[2] = 1 - label[2]
        with torch.no_grad():
            plain = method.net.state(support)
            other = method.net.state(support._replace(label_tk=label))
        for name, value in plain.items():
            same = [torch.equal(value[task], other[name][task]) for task in range(4)]
            assert same == [True, True, False, True], name
        assert all(torch.equal(v, stored[n]) for n, v in method.state_dict().items())

    def test_a_separable_task_is_learned_from_its_support(self, build):
        """G7: labels that follow the other side; the loss of unseen rows falls."""
        method = built(build, mamo_inner_steps=60)
        episode, rows = episode_of(method), []
        for part in method.both_of(episode):
            label = (torch.arange(part.label_tk.shape[1]) % 2).expand_as(part.label_tk).double()
            other = (label[:, :, None] * 2 - 1).expand_as(part.other_tkq)
            mask = torch.ones_like(part.mask_tk)
            mask[:, part.label_tk.shape[1] // 2 * 2 :] = 0
            rows.append(part._replace(other_tkq=other, label_tk=label, mask_tk=mask))
        support, query = rows
        with torch.no_grad():
            losses = []
            for seen in (support.empty(), support):
                logits = method.net.task_logits(method.net.state(seen), query)
                losses.append(F.binary_cross_entropy_with_logits(logits, query.label_tk))
        assert losses[1] < 0.8 * losses[0]

    def test_test_labels_reach_no_score(self, build):
        """G8: exchange them all; scores after every phase are the same bit for bit."""
        scores = []
        for flip in (False, True):
            method = build("MAMO", meta_epochs=1)
            split, trainer = method.dataset.split, Trainer(method, seed=7)
            test = method.rows.index(split["test"])
            labels = method.rows.columns[method.label_field].clone()
            labels[test] = 1 - labels[test] if flip else labels[test]
            method.rows.columns[method.label_field] = labels
            trainer.learn()
            trainer.warm_up("warm_a", split["warm_a"])
            scores.append(trainer.score(test))
        assert torch.equal(*scores)

    def test_without_features_all_read_the_same(self, build, caplog):
        """A profile of nothing attends to all rows alike, and the run says so."""
        columns = {"inter": ["user_id", "item_id", "rating", "timestamp"], "user": ["user_id"],
                   "item": ["item_id"]}  # fmt: skip
        method = build("MAMO", load_col=columns)
        assert "by the features of an item, and this data set has none" in caplog.text
        support, _ = method.both_of(episode_of(method))
        share = method.net.attention(support.own_tp)
        assert torch.equal(share, torch.full((4, 3), 1 / 3))
        caplog.clear()
        build("MAMO", load_col=columns, own_id=True)
        build("MAMO")
        assert "features" not in caplog.text

    def test_tables_start_with_the_given_spread(self, build):
        for std in (0.1, 0.02):
            tables = [m for m in build("MAMO", mamo_init_std=std).net.modules()
                      if isinstance(m, torch.nn.Embedding) and m.embedding_dim == 4]  # fmt: skip
            numbers = torch.cat([table.weight.reshape(-1) for table in tables])
            assert len(numbers) > 400
            assert numbers.std().item() == pytest.approx(std, rel=0.1)

    @pytest.mark.parametrize("key, known", [("mamo_write", "support, query"),
                                            ("mamo_forget", "all, attended")])  # fmt: skip
    def test_other_words_are_refused(self, build, key, known):
        with pytest.raises(UserError, match=f"none of {known}"):
            build("MAMO", **{key: "suport"})
