"""MeLU: the decision network's start is learned, its layers adapt to a few rows."""

import math

import pytest
import torch
from test_fewshot import CLOSE, episode_of, learner, padded, picked, scored, sides  # noqa: F401
from torch.nn import functional as F

from recbole_cold.data.episodes import Episode
from recbole_cold.errors import UserError
from recbole_cold.model._fewshot import row_loss
from recbole_cold.model.melu import MeLU
from recbole_cold.testing import MethodConformance


def entropy(a, y):
    """Binary cross entropy of one logit."""
    return torch.log1p(torch.exp(-a.abs())) + a.clamp(min=0) - y * a


def naive_logits(method, support, query, steps, second_order=True):
    """The paper's algorithm, task by task and row by row: query logits of each task."""
    rate, found = method.config["melu_inner_rate"], []

    def logit(head, rows, task, k):
        hidden = torch.cat([rows.own_tp[task], rows.other_tkq[task, k]])
        for layer in range(len(head) // 2):
            hidden = hidden.clamp(min=0) if layer else hidden
            hidden = head[2 * layer] @ hidden + head[2 * layer + 1]
        return hidden[0]

    for task in range(len(support.ids_t)):
        head = [p for layer in method.net.head for p in (layer.weight, layer.bias)]
        real = [k for k, m in enumerate(support.mask_tk[task].tolist()) if m]
        for _ in range(steps if real else 0):
            loss = sum(entropy(logit(head, support, task, k), support.label_tk[task, k])
                       for k in real) / len(real)  # fmt: skip
            gradient = torch.autograd.grad(loss, head, create_graph=True)
            if not second_order:
                gradient = [part.detach() for part in gradient]
            head = [p - rate * g for p, g in zip(head, gradient, strict=True)]
        found.append(torch.stack([logit(head, query, task, k)
                                  for k in range(query.mask_tk.shape[1])]))  # fmt: skip
    return torch.stack(found)


def naive_loss(method, episode, steps, second_order=True):
    support, query = method.both_of(episode)
    logit_tk = naive_logits(method, support, query, steps, second_order)
    total = 0.0
    for task in range(len(logit_tk)):
        real = [k for k, m in enumerate(query.mask_tk[task].tolist()) if m]
        losses = [entropy(logit_tk[task, k], query.label_tk[task, k]) for k in real]
        total = total + sum(losses) / len(losses)
    return total / len(logit_tk)


def ragged(episode):
    """Task 0 with one support row, task 1 without any, task 2 with three query rows."""
    support, query = episode.support_mask_tk.clone(), episode.query_mask_tk.clone()
    support[0, 1:] = support[1] = query[2, 3:] = 0
    return Episode(episode.ids_t, episode.support, support, episode.query, query)


def gradients(method, loss):
    parameters = method.trainable("learn")
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    parts = [
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
    ]
    return torch.cat([part.reshape(-1) for part in parts])


@pytest.fixture
def melu(learner):  # noqa: F811
    """In training mode, with few and short tasks, of which some are ragged."""

    def make(**keys):
        small = {"melu_hidden_size": [5, 4], "meta_batch_size": 4, "episode_query": 8,
                 "warm_sets": 2, "warm_size": 2, "melu_inner_rate": 0.3}  # fmt: skip
        method = learner("MeLU", **{**small, **keys})
        method.net.train()
        return method

    return make


class TestMeLU(MethodConformance):
    method = MeLU
    trains = frozenset()  # everything is in the network, which `learn` trains

    # ---------------------------------------------------------------- G1: batched equals looped
    @pytest.mark.parametrize("order", [2, 1])
    @pytest.mark.parametrize("steps", [1, 3])
    def test_loss_and_outer_gradient_by_hand(self, melu, steps, order):
        method = melu(melu_inner_steps=steps, melu_order=order)
        episode = ragged(episode_of(method))
        loss = method.episode_loss(episode)
        naive = naive_loss(method, episode, steps, order == 2)
        assert abs(loss - naive) < 1e-12
        assert (gradients(method, loss) - gradients(method, naive)).abs().max() < 1e-12

    def test_served_scores_take_the_steps_of_the_phases(self, melu):
        method = melu(melu_test_steps=4, melu_inner_steps=1)
        method.set_mode("evaluate")
        support, query = sides(method)
        expected = naive_logits(method, support, query, 4)
        torch.testing.assert_close(scored(method, support, query), expected, **CLOSE)

    # ---------------------------------------------------------------- G4
    @pytest.mark.parametrize("keys", [{"melu_test_steps": 0}, {"melu_inner_rate": 0.0}])
    def test_no_step_and_rate_zero_are_unadapted(self, melu, keys):
        method = melu(**keys)
        method.set_mode("evaluate")
        support, query = sides(method)
        plain = scored(method, support.empty(), query)
        assert torch.equal(scored(method, support, query), plain)
        hidden = query.inputs()
        for number, layer in enumerate(method.net.head):
            hidden = layer(hidden.relu() if number else hidden)
        torch.testing.assert_close(hidden[..., 0].detach(), plain, **CLOSE)

    # ---------------------------------------------------------------- G6
    def test_outer_gradient_by_finite_differences(self, melu):
        """Ten random coordinates each of the tables and of the head."""
        method = melu(melu_inner_steps=2)
        episode = episode_of(method)
        exact = gradients(method, method.episode_loss(episode))
        parameters = method.trainable("learn")
        ends = torch.tensor([p.numel() for p in parameters]).cumsum(0)
        moving = torch.nonzero(exact)[:, 0]
        generator, checked = torch.Generator().manual_seed(3), 0
        n_head = sum(p.numel() for p in method.net.head.parameters())
        for group in (moving[moving < len(exact) - n_head], moving[moving >= len(exact) - n_head]):
            for place in group[torch.randperm(len(group), generator=generator)[:10]].tolist():
                number = int(torch.searchsorted(ends, place, right=True))
                flat = parameters[number].data.view(-1)
                at = place - (int(ends[number - 1]) if number else 0)
                value, values = flat[at].item(), []
                for step in (1e-5, -1e-5):
                    flat[at] = value + step
                    values.append(method.episode_loss(episode).item())
                flat[at] = value
                assert abs((values[0] - values[1]) / 2e-5 - exact[place].item()) < 1e-8
                checked += 1
        assert checked == 20

    # ---------------------------------------------------------------- G7
    def test_adaptation_lowers_the_loss_where_a_task_is_separable(self, melu):
        """Items that everybody likes, and items that nobody does."""
        method = melu()
        method.set_mode("evaluate")
        support, query = sides(method)
        liked = (torch.arange(len(support.ids_t)) % 2).double()[:, None]
        support = support._replace(label_tk=liked.expand_as(support.label_tk))
        query = query._replace(label_tk=liked.expand_as(query.label_tk))
        before = row_loss(scored(method, support.empty(), query), query)
        after = row_loss(scored(method, support, query), query)
        assert (after < before - 0.05).all()

    # ---------------------------------------------------------------- M1
    def test_only_the_head_adapts(self, melu):
        method = melu()
        before = {k: v.clone() for k, v in method.state_dict().items()}
        support, _ = sides(method)
        with torch.no_grad():
            state = method.net.state(support)
        assert set(state) == {f"{layer}.{part}" for layer in range(3)
                              for part in ("weight", "bias")}  # fmt: skip
        for name, value in state.items():
            start = method.net.head.get_parameter(name)
            assert value.shape == (len(support.ids_t), *start.shape)
            assert ((value - start).flatten(1).abs().amax(dim=1) > 1e-9).all()
        assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())

    # ---------------------------------------------------------------- M2
    def test_one_step_of_a_logistic_regression(self, melu):
        """W - alpha mean (sigma - y) x, b - alpha mean (sigma - y)."""
        method = melu(melu_hidden_size=[], melu_inner_steps=1)
        support, _ = sides(method)
        state = method.net.state(support)
        weight, bias = method.net.head[0].weight[0], method.net.head[0].bias[0]
        for task in range(len(support.ids_t)):
            real = support.mask_tk[task].bool()
            x = support.inputs()[task][real]
            error = torch.sigmoid(x @ weight + bias) - support.label_tk[task][real]
            by_hand = weight - 0.3 * (error[:, None] * x).mean(dim=0)
            torch.testing.assert_close(state["0.weight"][task, 0], by_hand, **CLOSE)
            torch.testing.assert_close(state["0.bias"][task, 0], bias - 0.3 * error.mean(), **CLOSE)

    # ---------------------------------------------------------------- M3
    def test_the_second_order_counts_and_vanishes_with_the_rate(self, melu):
        differences = []
        for rate in (0.3, 1e-4):
            found = []
            for order in (2, 1):
                method = melu(melu_inner_rate=rate, melu_order=order)
                found.append(gradients(method, method.episode_loss(episode_of(method))))
            differences.append((found[0] - found[1]).abs().max().item())
        assert differences[0] > 1e-3
        assert differences[1] < 1e-3 * differences[0]

    # ---------------------------------------------------------------- M4
    def test_supports_of_two_sizes_in_one_batch(self, melu):
        method = melu()
        method.set_mode("evaluate")
        support, query = sides(method)
        short = picked(support, [0], slice(0, 1))
        mask = support.mask_tk.clone()
        mask[0, 1:] = 0
        together = scored(method, padded(support._replace(mask_tk=mask), 2), query)
        alone = scored(method, short, picked(query, [0]))
        torch.testing.assert_close(together[:1], alone, **CLOSE)
        rest = scored(method, picked(support, [1, 2]), picked(query, [1, 2]))
        torch.testing.assert_close(together[1:3], rest, **CLOSE)

    # ---------------------------------------------------------------- M5
    @pytest.mark.parametrize("order", [2, 1])
    def test_tables_and_head_learn_from_the_query(self, melu, order):
        """In the first-order form, too: from the gradient after the steps."""
        method = melu(melu_order=order)
        episode = episode_of(method)
        found = dict(zip(
            (name for name, _ in method.backbone.named_parameters()),
            torch.autograd.grad(method.episode_loss(episode), method.trainable("learn"),
                                allow_unused=True), strict=True,
        ))  # fmt: skip
        read = {k for k, v in found.items() if v is not None and v.abs().max() > 1e-9}
        assert {k for k in found if k.startswith("model.head.")} <= read
        assert "model.token_embedding_table.embedding.weight" in read
        assert {f"model.token_seq_embedding_table.{n}.weight" for n in (0, 1)} <= read

    # ---------------------------------------------------------------- what it is for
    def test_rate_of_the_release_moves_nothing(self, melu):
        """alpha = 5e-6 on cross entropy: the served scores are the unadapted ones to 1e-4."""
        method = melu(melu_inner_rate=5e-6, melu_test_steps=1)
        method.set_mode("evaluate")
        support, query = sides(method)
        moved = scored(method, support, query) - scored(method, support.empty(), query)
        assert 0 < moved.abs().max() < 1e-4

    def test_unknown_order(self, melu):
        with pytest.raises(UserError, match="melu_order '3' is none of 1, 2"):
            melu(melu_order=3)

    def test_loss_is_the_query_loss(self, melu):
        """The support's own loss takes no part: flipping query labels mirrors it exactly."""
        method = melu(melu_inner_rate=0.0)
        episode = episode_of(method)
        _, query = method.both_of(episode)
        logit = scored(method, query.empty(), query)
        by_hand = F.binary_cross_entropy_with_logits(
            logit, query.label_tk.double(), reduction="none"
        )
        by_hand = (by_hand * query.mask_tk).sum(1) / query.mask_tk.sum(1)
        assert math.isclose(method.episode_loss(episode).item(), by_hand.mean().item(),
                            rel_tol=1e-12)  # fmt: skip
