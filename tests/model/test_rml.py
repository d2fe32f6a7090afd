"""RML: the equations of its network, its local and global steps, and fine-tuning by phases."""

import copy
import math

import pytest
import torch
from helpers import fill, state_of, what_moved
from torch import nn

from recbole_cold.backbone._layers import MaskedNorm
from recbole_cold.backbone._modes import evaluating
from recbole_cold.backbone._sequence import compared, last_state
from recbole_cold.data.histories import LENGTH, PREFIX
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.model import rml as rml_module
from recbole_cold.model._rml_net import LSTM, aux_loss, learned_states, lstm_states, read_by
from recbole_cold.model.rml import local_step, losses_after, sum_of, support_size
from recbole_cold.training.optimizers import optimizers_of
from recbole_cold.training.trainer import Trainer

EXACT = {"rtol": 1e-9, "atol": 1e-11}
N = 4  # positions of a history
SMALL = {
    "rml_att_hidden": [5],
    "rml_hidden": [6, 5],
    "rml_aux_hidden": [4, 3],
    "rml_epochs": 1,
    "history_length": N,
    "train_batch_size": 96,
}


@pytest.fixture
def rml(build):
    """``rml(key=value)``: in double precision, all parameters of a size that tells."""

    def make(**keys):
        method = build("RML", double=True, **{**SMALL, **keys})
        fill(method.trainable("learn"))
        return method

    return make


def fields_of(net):
    names = [*net.user.names, *net.event.names]
    history = [PREFIX + name for name in (*net.event.names, net.LABEL, "length")]
    return {*names, *history, net.LABEL, "item_id", PREFIX + "item_id"}


def sessions(method):
    """A plain dictionary with the fields of 24 training rows, lengths from 0 to N."""
    every = len(method.train_index) // 24
    batch = method.rows.batch(method.train_index[::every][:24])
    found = {field: batch[field].clone() for field in fields_of(method.net)}
    assert set(found[LENGTH].tolist()) >= {0, 1, N}
    return found


def part(interaction, rows):
    return {field: value[rows] for field, value in interaction.items()}


def reordered(interaction):
    """Full histories with their events in another order."""
    whole = part(interaction, interaction[LENGTH] == N)
    order = torch.tensor([2, 0, 3, 1])
    moved = {
        field: value[:, order] if field.startswith(PREFIX) and value.dim() > 1 else value
        for field, value in whole.items()
    }
    return whole, moved


def gradients(loss, parameters):
    return torch.autograd.grad(loss, parameters, allow_unused=True)


# ------------------------------------------------------------------------------- equations
class TestEquations:
    def test_attention_branch_number_by_number(self, rml):
        """``A = sum_t w_t E_t`` over real events, ``w = ffn(E_t, E_T)``, no softmax."""
        method = rml()
        net = method.net.eval()
        session = net.session(sessions(method))
        first, last = net.attention.linear
        alpha = net.attention.activation[0].alpha
        norm = net.attention.activation[0].norm
        out = net.attend(session)
        for row in range(0, 24, 5):
            total = torch.zeros(net.event.width, dtype=torch.float64)
            target = session.target_be[row]
            for t in range(int(session.length_b[row])):
                event = session.event_bne[row, t]
                read = torch.cat([event, target, event - target, event * target])
                hidden = first.weight @ read + first.bias
                z = (hidden - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
                p = 1 / (1 + (-z).exp())
                hidden = p * hidden + (1 - p) * alpha * hidden
                total = total + (last.weight @ hidden + last.bias) * event
            torch.testing.assert_close(out[row], total, **EXACT)

    def test_lstm_is_torchs(self, rng64):
        ours, theirs = LSTM(5).double(), nn.LSTM(5, 5, batch_first=True).double()
        with torch.no_grad():
            for name, value in zip(
                ("weight_in", "weight_hidden", "bias_in", "bias_hidden"),
                theirs.parameters(),
                strict=True,
            ):
                getattr(ours, name).copy_(value)
        x = rng64(4, 3, 5)
        torch.testing.assert_close(ours(x), theirs(x)[0], **EXACT)

    @pytest.mark.parametrize("sizes", [(6, 5, 4, 3), (1, 1, 2, 2), (3, 7, 2, 5), (0, 2, 3, 3)])
    def test_states_with_gradients_by_hand(self, rng64, sizes):
        """Those of the equations, of states that are all used or one alone: sessions, positions,
        hidden numbers, width of an event."""
        b, n, h, e = sizes
        inputs = [rng64(b, n, e), rng64(4 * h, e), rng64(4 * h, h), rng64(4 * h), rng64(4 * h)]
        inputs = [value.requires_grad_() for value in inputs]
        out, expected = learned_states(*inputs), lstm_states(inputs[0], inputs[1:])
        torch.testing.assert_close(out, expected, **EXACT)
        alone = torch.zeros(n, 1, dtype=torch.float64)
        alone[n // 2] = 1.0
        for weight in (rng64(b, n, h), rng64(b, n, h) * alone):
            found = [
                torch.autograd.grad((states * weight).sum(), inputs, retain_graph=True)
                for states in (out, expected)
            ]
            for left, right in zip(*found, strict=True):
                torch.testing.assert_close(left, right, **EXACT)

    def test_what_is_compared_is_not_joined(self, rng64):
        event, target = rng64(6, 4, 3).requires_grad_(), rng64(6, 3).requires_grad_()
        layer = nn.Linear(12, 5).double()
        moved = [event, target, layer.weight, layer.bias]
        out, expected = read_by(layer, event, target), layer(compared(event, target))
        torch.testing.assert_close(out, expected, **EXACT)
        weight = rng64(6, 4, 5)
        for left, right in zip(
            *(torch.autograd.grad((part * weight).sum(), moved) for part in (out, expected)),
            strict=True,
        ):
            torch.testing.assert_close(left, right, **EXACT)

    def test_only_maml_differentiates_the_states_twice(self, rml):
        """Scores are computed by the equations; so are states of which second derivatives are
        asked."""
        for kind in ("sequential", "maml"):
            net = rml(rml_meta=kind).net
            assert net.lstm.twice == (kind == "maml")
            with torch.no_grad():
                event = torch.randn(3, N, net.event.width, dtype=torch.float64)
                assert torch.equal(net.lstm(event), lstm_states(event, list(net.lstm.parameters())))

    def test_aux_loss_of_labels_by_hand(self):
        logit = torch.tensor([[0.3, -1.2, 2.0], [0.7, 0.0, 9.0]], dtype=torch.float64)
        label = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
        mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)

        def term(x, y):
            p = 1 / (1 + math.exp(-x))
            return -math.log(p if y else 1 - p)

        first = term(0.3, 1) + term(-1.2, 0) + term(2.0, 1)
        by_hand = torch.tensor([first, term(0.7, 0)], dtype=torch.float64)
        torch.testing.assert_close(aux_loss(logit, label, mask), by_hand, **EXACT)
        means = by_hand / torch.tensor([3.0, 1.0])
        torch.testing.assert_close(aux_loss(logit, label, mask, mean=True), means, **EXACT)
        assert aux_loss(logit, label, mask & False).tolist() == [0.0, 0.0]

    def test_aux_pairs_each_state_with_the_next_event(self, rml):
        """``sum_{t=2} l(h_{t-1} . E_t, y_t)``, one session and one event at a time."""
        method = rml()
        net, rows = method.net, sessions(method)
        session = net.session(rows)
        states, label = net.states(session), rows[PREFIX + net.LABEL]
        total = 0.0
        for row in range(24):
            for t in range(1, int(session.length_b[row])):
                x = (states[row, t - 1] @ session.event_bne[row, t]).item()
                p = 1 / (1 + math.exp(-x))
                total -= math.log(p if label[row, t] else 1 - p)
        assert math.isclose(net.losses(rows)[2].item(), total / 24, rel_tol=1e-9)

    def test_the_mlp_reads_both_branches_user_and_target(self, rml):
        """C = [A; R; E_U; E_T], 3D + F_u d columns."""
        method = rml()
        net = method.net.eval()
        session = net.session(sessions(method))
        states = net.states(session)
        last = torch.stack([
            states[row, n - 1] if n else torch.zeros_like(states[row, 0])
            for row, n in enumerate(session.length_b.tolist())
        ])  # fmt: skip
        joined = torch.cat([net.attend(session), last, session.user_bu, session.target_be], 1)
        assert joined.shape[1] == 3 * net.event.width + net.user.width
        assert [layer.out_features for layer in net.head.linear] == [6, 5, 1]
        expected = net.head(joined)[:, 0]
        torch.testing.assert_close(net(sessions(method)), expected, **EXACT)

    def test_parts_of_the_loss(self, rml):
        """``alpha L + beta lambda_r L_reg + gamma L_aux``; L_reg has no tables, LSTM or biases."""
        method = rml(rml_alpha=0.5, rml_beta=0.25, rml_lambda=0.1, rml_gamma=2.0)
        net, rows = method.net, sessions(method)
        click, reg, aux = net.losses(rows)
        by_hand = nn.functional.binary_cross_entropy_with_logits(
            net(rows), rows[net.LABEL].double()
        )
        torch.testing.assert_close(click, by_hand, **EXACT)
        layers = [m for net_ in (net.attention, net.head) for m in net_.modules()
                  if isinstance(m, nn.Linear)]  # fmt: skip
        assert len(layers) == 5
        torch.testing.assert_close(reg, sum(m.weight.pow(2).sum() for m in layers), **EXACT)
        parts = net.weighted_losses(rows)
        torch.testing.assert_close(torch.stack(parts), torch.stack([click / 2, reg / 40, 2 * aux]))

    def test_only_the_lstm_is_an_lstm_with_an_mlp(self, rml):
        """R3: L alone, without attention and meta-learning, is LSTM4Rec for clicks."""
        method = rml(rml_branch="lstm", rml_beta=0, rml_gamma=0, rml_alpha=1, rml_meta="none")
        net, rows = method.net.eval(), sessions(method)
        assert net.attention is None
        reference = nn.LSTM(net.event.width, net.event.width, batch_first=True).double()
        with torch.no_grad():
            for theirs, ours in zip(reference.parameters(), net.lstm.parameters(), strict=True):
                theirs.copy_(ours)
        session = net.session(rows)
        states = reference(session.event_bne)[0]
        last = torch.stack([
            states[row, n - 1] if n else 0 * states[row, 0]
            for row, n in enumerate(session.length_b.tolist())
        ])  # fmt: skip
        logit = net.head(torch.cat([last, session.user_bu, session.target_be], dim=1))[:, 0]
        torch.testing.assert_close(net(rows), logit, **EXACT)
        loss = nn.functional.binary_cross_entropy_with_logits(logit, rows[net.LABEL].double())
        torch.testing.assert_close(sum_of(net.weighted_losses(rows)), loss, **EXACT)

    def test_only_attention_has_no_auxiliary_loss(self, rml):
        method = rml(rml_branch="att")
        assert method.net.lstm is None and method.net.losses(sessions(method))[2] == 0
        width = method.net.event.width
        assert method.net.head.linear[0].in_features == 2 * width + method.net.user.width

    def test_flattened_branches(self, rml):
        """``Concat&Flatten``: n events, or n states, in place of one vector; padding is zero."""
        method = rml(rml_att_pool="flatten", rml_lstm_out="flatten")
        net, rows = method.net.eval(), sessions(method)
        session, width = net.session(rows), method.net.event.width
        summed = copy.copy(net)
        summed.pool = "sum"
        flat = net.attend(session)
        assert flat.shape == (24, N * width)
        torch.testing.assert_close(flat.view(24, N, width).sum(1), summed.attend(session), **EXACT)
        assert net.head.linear[0].in_features == 2 * N * width + width + net.user.width
        first_state = part(rows, rows[LENGTH] == 0)
        assert net(first_state).isfinite().all()

    def test_auxiliary_mlp(self, rml):
        """``[h; e]`` through sigmoid layers, as in DIEN."""
        method = rml(rml_aux_head="mlp")
        net = method.net
        h, e = (
            torch.ones(2, 3, net.event.width).double(),
            torch.ones(2, 3, net.event.width).double(),
        )
        one, two, three = net.aux_head.linear
        x = torch.cat([h, e], dim=-1)
        expected = three(torch.sigmoid(two(torch.sigmoid(one(x)))))[..., 0]
        torch.testing.assert_close(net.aux_logits(h, e), expected, **EXACT)
        assert net.losses(sessions(method))[2].requires_grad


# ------------------------------------------------------------------------------- sessions
class TestSessions:
    def test_order_matters_to_the_lstm_alone(self, rml):
        """R5."""
        for branch, same in (("att", True), ("lstm", False)):
            method = rml(rml_branch=branch)
            whole, moved = reordered(sessions(method))
            net = method.net.eval()
            assert torch.allclose(net(whole), net(moved), rtol=1e-9) is same

    @pytest.mark.parametrize("keys", [{}, {"rml_aux_head": "mlp", "rml_aux_includes_target": True}])
    def test_padding_does_not_matter(self, rml, keys):
        """R10, in training mode: losses and statistics, whatever stands there, however much."""
        method = rml(**keys)
        rows, net = sessions(method), method.net.train()
        other = copy.deepcopy(net)
        length = rows[LENGTH]
        pad = torch.arange(N) >= length[:, None]
        filled = {}
        for field, value in rows.items():
            if field.startswith(PREFIX) and value.dim() > 1:
                value = torch.cat([value, value[:, :2]], dim=1)
                at = torch.cat([pad, torch.ones(24, 2, dtype=torch.bool)], dim=1)
                value = torch.where(at.view(24, N + 2, *[1] * (value.dim() - 2)),
                                    torch.ones_like(value), value)  # fmt: skip
            filled[field] = value
        for found, expected in zip(other.losses(filled), net.losses(rows), strict=True):
            torch.testing.assert_close(found, expected, **EXACT)
        for name, value in other.state_dict().items():
            torch.testing.assert_close(value, net.state_dict()[name], **EXACT)

    def test_an_empty_history_is_finite(self, rml):
        """And leaves only user and target: A = R = 0."""
        method = rml()
        net, rows = method.net.train(), sessions(method)
        rows[LENGTH] = torch.zeros_like(rows[LENGTH])
        loss = sum_of(net.weighted_losses(rows))
        found = gradients(loss, method.trainable("learn"))
        assert loss.isfinite() and all(g.isfinite().all() for g in found if g is not None)
        assert net.losses(rows)[2] == 0
        session = net.eval().session(rows)
        zeros = torch.zeros(24, 2 * net.event.width).double()
        expected = net.head(torch.cat([zeros, session.user_bu, session.target_be], dim=1))[:, 0]
        torch.testing.assert_close(net(rows), expected, **EXACT)

    def test_auxiliary_labels(self, rml):
        """R4: shifted labels change it, the first event's label and a single event do not."""
        method = rml()
        net, rows = method.net, sessions(method)
        labels, label = PREFIX + net.LABEL, net.LABEL
        plain = net.losses(rows)
        shifted = net.losses({**rows, labels: rows[labels].roll(1, dims=1)})
        assert not torch.isclose(shifted[2], plain[2]) and shifted[0] == plain[0]
        first = rows[labels].clone()
        first[:, 0] = 1 - first[:, 0]
        assert net.losses({**rows, labels: first})[2] == plain[2]
        assert net.losses({**rows, label: 1 - rows[label]})[2] == plain[2]
        one = {**rows, LENGTH: rows[LENGTH].clamp(max=1)}
        assert net.losses(one)[2] == 0

    def test_the_target_in_the_auxiliary_loss(self, rml):
        """R4: exactly one term more per session, that of the last state, the target, its label."""
        method = rml(rml_aux_includes_target=True)
        net, rows = method.net, sessions(method)
        net.aux_target = False
        without = net.losses(rows)[2]
        net.aux_target = True
        session = net.session(rows)
        last = last_state(net.states(session), session.length_b)
        term = nn.functional.binary_cross_entropy_with_logits(
            (last * session.target_be).sum(1), rows[net.LABEL].double(), reduction="none"
        )
        real = (session.length_b > 0).double()
        torch.testing.assert_close(net.losses(rows)[2] - without, (term * real).sum() / 24, **EXACT)

    def test_hidden_histories(self, rml):
        """``history_dropout``: in training some sessions are as without a history; never else."""
        method = rml(history_dropout=0.5)
        net, rows = method.net, sessions(method)
        torch.manual_seed(5)
        length = net.train().session(rows).length_b
        hidden = (length == 0) & (rows[LENGTH] > 0)
        assert 3 <= hidden.sum() <= 20 and torch.equal(length[~hidden], rows[LENGTH][~hidden])
        assert torch.equal(net.eval().session(rows).length_b, rows[LENGTH])

    def test_ids_can_be_left_out(self, rml):
        for ids, same in ((True, False), (False, True)):
            method = rml(rml_session_ids=ids)
            net, rows = method.net.eval(), sessions(rml())
            other = {**rows, "user_id": rows["user_id"].roll(1), "item_id": rows["item_id"].roll(1)}
            other[PREFIX + "item_id"] = rows[PREFIX + "item_id"].roll(1, dims=0)
            assert torch.equal(net(rows), net(other)) is same

    def test_fields_of_the_row_belong_to_the_event(self, rml):
        net = rml().net
        assert {"device", "genre", "item_id"} <= set(net.event.names)
        assert {"user_id", "age", "gender"} == set(net.user.names)

    def test_labels_of_the_history_are_no_input(self, rml):
        method = rml()
        net, rows = method.net.eval(), sessions(method)
        expected = net(rows)
        del rows[PREFIX + net.LABEL]
        assert torch.equal(net(rows), expected)


# ------------------------------------------------------------------------------- steps
def halves(rows):
    cut = support_size(24)
    return part(rows, slice(0, cut)), part(rows, slice(cut, None))


def take(method, fit, batch):
    """One batch through the steps of a fit, as the trainer takes them."""
    optimizers = optimizers_of(fit.steps, method, "dense")
    method.set_mode("train")
    for step, optimizer in zip(fit.steps, optimizers, strict=True):
        optimizer.zero_grad()
        sum_of(step.loss(batch)).backward()
        optimizer.step()


def adam_of(net, rate=1e-2):
    """PyTorch's, over all that a network reads."""
    return torch.optim.Adam(
        [p for name, p in net.named_parameters() if "first_order" not in name], lr=rate
    )


def same(net, expected):
    """Parameters and statistics of two networks are the same."""
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], msg=name, **EXACT)


class TestSteps:
    @pytest.fixture
    def first_batch(self, rml):
        def make(**keys):
            method = rml(**keys)
            (fit,) = method.learn_fits()
            batch = next(iter(fit.batches.epoch(torch.Generator().manual_seed(1), 0)))
            return method, fit, batch

        return make

    def test_batches_are_cut_two_to_one(self, rml):
        """Random batches, two thirds support; the last keeps the proportion, or is left out."""
        method = rml(train_batch_size=12)
        for n, sizes in ((31, [(8, 4), (8, 4), (5, 2)]), (26, [(8, 4), (8, 4)]), (2, [])):
            batches = method.batches(method.train_index[:n], "sequential")
            found = list(batches.epoch(torch.Generator().manual_seed(1), 0))
            assert [(len(b.support), len(b.query)) for b in found] == sizes
            assert len(batches) == len(found)
            for batch in found:
                both = torch.cat([batch.support.index, batch.query.index])
                assert torch.equal(both, batch.whole.index)
        whole = method.batches(method.train_index[:26], "none")
        assert sum(len(b) for b in whole.epoch(torch.Generator().manual_seed(1), 0)) == 26
        assert support_size(128) == 128 - 42

    def test_local_step_is_gradient_descent_on_lstm_and_attention(self, first_batch):
        """R1 and eq. 9: SGD by hand on the support, nothing else moves."""
        method, fit, batch = first_batch(rml_local_rate=0.3)
        net, before = method.net, state_of(method)
        twin = copy.deepcopy(net).train()
        loss = sum_of(twin.weighted_losses(batch.support))
        found = torch.autograd.grad(loss, twin.meta_parameters())
        fit = type(fit)("local", fit.steps[:1], fit.batches)
        start = [p.detach().clone() for p in net.meta_parameters()]
        take(method, fit, batch)
        for now, was, gradient in zip(net.meta_parameters(), start, found, strict=True):
            torch.testing.assert_close(now.detach(), was - 0.3 * gradient, **EXACT)
        names = what_moved(before, method)
        assert names and all(".lstm." in name or ".attention." in name for name in names)

    def test_global_step_moves_everything(self, first_batch):
        """R1; a row of a table moves if it is read."""
        method, fit, batch = first_batch(rml_local_rate=0.0)
        before = state_of(method.net)
        take(method, fit, batch)
        still = before.keys() - what_moved(before, method.net)
        assert {name for name in still if "first_order" not in name} == {
            name for name in still if name.endswith("num_batches_tracked")
        }

    def test_without_a_local_rate_it_is_adam_on_the_query(self, first_batch):
        """R2, and Dice's statistics are those of the query alone."""
        method, fit, batch = first_batch(rml_local_rate=0.0)
        twin = copy.deepcopy(method.net).train()
        adam = adam_of(twin)
        sum_of(twin.weighted_losses(batch.query)).backward()
        adam.step()
        take(method, fit, batch)
        same(method.net, twin)

    def test_the_ablation_is_adam_on_the_whole_batch(self, first_batch):
        method, fit, batch = first_batch(rml_meta="none")
        twin = copy.deepcopy(method.net).train()
        adam = adam_of(twin)
        sum_of(twin.weighted_losses(batch.whole)).backward()
        adam.step()
        take(method, fit, batch)
        same(method.net, twin)

    @pytest.mark.parametrize("kind", ["fomaml", "maml"])
    def test_gradient_after_a_local_step_that_is_not_kept(self, rml, kind):
        """fomaml: the query's gradient at the moved point; maml: finite differences through it."""
        method = rml(rml_meta=kind)
        net, rows = method.net.train(), sessions(method)
        support, query = halves(rows)
        rate, parameters = 0.5, method.trainable("learn")

        def loss(second_order=kind == "maml"):
            moved = local_step(net, support, rate, second_order)
            return sum_of(losses_after(net, moved, query))

        found = gradients(loss(), parameters)
        meta = {id(p): n for n, p in enumerate(net.meta_parameters())}
        if kind == "fomaml":
            twin = copy.deepcopy(net)
            begin = sum_of(twin.weighted_losses(support))
            slopes = torch.autograd.grad(begin, twin.meta_parameters())
            with torch.no_grad():
                for parameter, slope in zip(twin.meta_parameters(), slopes, strict=True):
                    parameter -= rate * slope
            there = [p for name, p in twin.named_parameters() if "first_order" not in name]
            expected = gradients(sum_of(twin.weighted_losses(query)), there)
            for one, two in zip(found, expected, strict=True):
                torch.testing.assert_close(one, two, **EXACT)
            return
        draws = torch.Generator().manual_seed(2)
        for number, parameter in enumerate(parameters):
            place = int(torch.randint(parameter.numel(), (1,), generator=draws))
            if id(parameter) not in meta and number % 3:
                continue
            flat, values = parameter.data.view(-1), []
            for sign in (1.0, -1.0):
                flat[place] += sign * 1e-5
                values.append(loss().item())
                flat[place] -= sign * 1e-5
            slope = (values[0] - values[1]) / 2e-5
            assert math.isclose(found[number].view(-1)[place].item(), slope,
                                rel_tol=2e-5, abs_tol=1e-8)  # fmt: skip

    @pytest.mark.parametrize("kind", ["fomaml", "maml"])
    def test_a_step_that_is_not_kept(self, first_batch, kind):
        """Adam's step starts from where the local step began, with the query's statistics."""
        method, fit, batch = first_batch(rml_meta=kind, rml_local_rate=0.2)
        assert len(fit.steps) == 1
        twin = copy.deepcopy(method.net).train()
        adam = adam_of(twin)
        before = state_of(twin)
        moved = local_step(twin, batch.support, 0.2, kind == "maml")
        assert what_moved(before, twin) == set()
        sum_of(losses_after(twin, moved, batch.query)).backward()
        adam.step()
        take(method, fit, batch)
        same(method.net, twin)

    def test_both_steps_by_one_adam(self, first_batch):
        method, fit, batch = first_batch(rml_meta="adam_both", rml_local_rate=0.05)
        twin = copy.deepcopy(method.net).train()
        adam = adam_of(twin, 0.05)
        frozen = copy.deepcopy(twin)
        found = torch.autograd.grad(
            sum_of(frozen.weighted_losses(batch.support)), frozen.meta_parameters()
        )
        for parameter, gradient in zip(twin.meta_parameters(), found, strict=True):
            parameter.grad = gradient
        adam.step()
        adam.zero_grad()
        adam.param_groups[0]["lr"] = 1e-2
        sum_of(twin.weighted_losses(batch.query)).backward()
        adam.step()
        take(method, fit, batch)
        same(method.net, twin)

    def test_two_readings_of_the_decay_rate(self, rml):
        """.7 of the learning rates per epoch, eta_1 of a step that is not kept included; beta_1."""
        by_epoch, beta = rml(), rml(rml_decay="beta_1")
        assert [(s.decay, s.betas) for s in by_epoch.learn_fits()[0].steps] == [
            (0.7, (0.9, 0.999))
        ] * 2
        assert [(s.decay, s.betas[0]) for s in beta.learn_fits()[0].steps][1] == (1.0, 0.7)
        assert {s.decay for s in by_epoch.warm_fits(by_epoch.train_index[:9])[0].steps} == {1.0}
        method = rml(rml_meta="fomaml", rml_local_rate=0.4)
        rates, plain = [], local_step
        with pytest.MonkeyPatch.context() as patch:

            def spy(net, rows, rate, second_order):
                rates.append(rate)
                return plain(net, rows, rate, second_order)

            patch.setattr("recbole_cold.model.rml.local_step", spy)
            (fit,) = method.learn_fits()
            for epoch in (0, 2):
                batch = next(iter(fit.batches.epoch(torch.Generator(), epoch)))
                fit.steps[0].loss(batch)
        assert rates == pytest.approx([0.4, 0.4 * 0.49])


# ------------------------------------------------------------------------------- stages
def learned(method, *phases, tmp=None, stop=lambda: False):
    trainer = Trainer(method, seed=7, state_path=tmp, stop=stop)
    trainer.pretrain()
    trainer.learn()
    for phase in phases:
        trainer.warm_up(phase, method.dataset.split[phase])
    return trainer


def dices(method):
    return [part for part in method.net.modules() if isinstance(part, MaskedNorm)]


def entering_dice(method):
    """Mean and variance of what enters each layer while ``train`` is scored, by layer."""
    found = {}

    def hook(norm, inputs):
        x, mask = (*inputs, None)[:2]
        real = x.reshape(-1, x.shape[-1]) if mask is None else x[mask]
        found[norm] = real.mean(dim=0), real.var(dim=0)

    handles = [norm.register_forward_pre_hook(hook) for norm in dices(method)]
    with evaluating(method), torch.no_grad():
        method.net(method.rows.batch(method.train_index))
    for handle in handles:
        handle.remove()
    return found


class TestStages:
    def test_statistics_move_in_training_only(self, rml):
        """R6: scores are the same twice, and in any batch."""
        method = rml()
        trainer = learned(method)
        index = method.rows.index(method.dataset.split["test"])
        before = state_of(method)
        once, alone = trainer.score(index), trainer.score(index[:3])
        assert what_moved(before, method) == set()
        torch.testing.assert_close(once[:3], alone, **EXACT)
        assert not method.net.head.activation[0].norm.running_mean.eq(0).any()

    def test_it_is_scored_with_statistics_of_its_final_weights(self, rml):
        """After learning and after each phase: what enters Dice's layers when ``train`` is scored
        has the means and variances that they are normalised by."""
        method, moving = rml(), rml(rml_statistics="moving")
        for each, close in ((method, True), (moving, False)):
            trainer = learned(each)
            for phase in (None, "warm_a"):
                if phase is not None:
                    trainer.warm_up(phase, each.dataset.split[phase])
                found = [
                    torch.allclose(norm.running_mean, mean, rtol=0.02, atol=1e-3 * spread)
                    and torch.allclose(norm.running_var, variance, rtol=0.02)
                    for norm, (mean, variance) in entering_dice(each).items()
                    for spread in [float(variance.sqrt().min())]
                ]
                assert len(found) == 3 and all(found) == close
        for one, other in zip(method.parameters(), moving.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_labels_have_no_part_in_the_statistics(self, rml):
        method = rml()
        learned(method)
        before = state_of(method)
        for norm in dices(method):
            norm.running_mean.fill_(9.0)
        labels = method.rows.columns[method.rows.label_field]
        method.rows.columns[method.rows.label_field] = 1 - labels
        method.settle()
        assert what_moved(before, method) == set()

    def test_of_many_sessions_some_are_drawn(self, rml, monkeypatch):
        method = rml()
        monkeypatch.setattr(rml_module, "_SETTLED", 40)
        looks = []
        method.net.register_forward_hook(lambda net, inputs, out: looks.append(inputs[0].index))
        method.settle()
        method.settle()
        one, again = looks
        assert len(one) == 40 and torch.equal(one, again)
        assert set(one.tolist()) <= set(method.train_index.tolist())
        assert not torch.equal(one.sort().values, method.train_index.sort().values[:40])

    def test_held_out_labels_reach_nothing_before_their_phase(self, rml):
        """R7."""
        states = []
        for flipped in (False, True):
            method = rml()
            if flipped:
                later = torch.ones(len(method.rows.columns["label"]), dtype=torch.bool)
                later[method.train_index] = False
                later[method.rows.index(method.dataset.split["warm_a"])] = False
                label = method.rows.columns["label"]
                method.rows.columns["label"] = torch.where(later, 1 - label, label)
            learned(method, "warm_a")
            states.append(method.state_dict())
        for name, value in states[0].items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, states[1][name]), name

    def test_order_of_the_phases_matters(self, rml):
        """R8: and the first phase's result does not depend on what follows."""
        ends, firsts = [], []
        for phases in (("warm_a", "warm_b"), ("warm_b", "warm_a"), ("warm_a",)):
            method = rml()
            trainer = learned(method, phases[0])
            firsts.append(state_of(method.net))
            for phase in phases[1:]:
                trainer.warm_up(phase, method.dataset.split[phase])
            ends.append(state_of(method.net))
        name = "head.linear.0.weight"
        assert torch.equal(firsts[0][name], firsts[2][name])
        assert not torch.equal(ends[0][name], ends[1][name])

    def test_resumed_in_a_phase(self, rml, tmp_path):
        """R9: stopped in the middle of fine-tuning, the run ends with the same numbers."""
        keys = {"rml_epochs": 2, "warm_epochs": 2}
        whole = rml(**keys)
        learned(whole, "warm_a", "warm_b")
        path, calls = tmp_path / "state", iter(range(10**6))
        steps = len(whole.learn_fits()[0].batches) * 2
        phase = whole.warm_fits(whole.rows.index(whole.dataset.split["warm_a"]))[0]
        stop_at = steps + phase.optimizer_steps
        with pytest.raises(Interrupted):
            learned(rml(**keys), "warm_a", "warm_b", tmp=path, stop=lambda: next(calls) == stop_at)
        again = rml(**keys)
        trainer = Trainer(again, seed=7, state_path=path)
        assert trainer.resume()
        assert [s["name"] for s in trainer.journal["stages"]] == ["pretrain", "learn", "warm_a"]
        assert trainer._pending["position"]["taken"] == 1
        trainer.warm_up("warm_b", again.dataset.split["warm_b"])
        for name, value in whole.net.state_dict().items():
            assert torch.equal(value, again.net.state_dict()[name]), name

    def test_scope_of_fine_tuning(self, rml):
        method = rml(rml_ft_scope="meta")
        trainer = learned(method)
        before = {name: p.detach().clone() for name, p in method.named_parameters()}
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        moved = {n for n, p in method.named_parameters() if not torch.equal(p, before[n])}
        assert moved and all(".lstm." in name or ".attention." in name for name in moved)
        everything = rml()
        assert len(everything.trainable("warm_up")) == len(everything.trainable("learn"))

    def test_steps_of_fine_tuning(self, rml):
        """The global step on whole batches, or local and global as in learning."""
        index, keys = rml().train_index[:26], {"train_batch_size": 12}
        (fit,) = rml(**keys).warm_fits(index)
        assert len(fit.steps) == 1 and sum(map(len, fit.batches.epoch(torch.Generator(), 0))) == 26
        (fit,) = rml(rml_ft_step="local+global", **keys).warm_fits(index)
        assert [step.optimizer for step in fit.steps] == ["sgd", "adam"]
        (fit,) = rml(rml_ft_step="local+global", **keys).warm_fits(index[:2])
        assert len(fit.steps) == len(fit.batches) == 1

    def test_adam_goes_on_from_phase_to_phase(self, rml):
        method = rml()
        trainer = learned(method)
        adam = trainer._kept["RML"][-1][0]
        taken = len(method.learn_fits()[0].batches)
        assert {int(state["step"]) for state in adam["state"].values()} == {taken}
        index = method.dataset.split["warm_a"]
        trainer.warm_up("warm_a", index)
        more = len(method.warm_fits(method.rows.index(index))[0].batches)
        adam = trainer._kept["RML"][-1][0]
        assert {int(state["step"]) for state in adam["state"].values()} == {taken + more}

    def test_new_items_start_in_the_network_s_table(self, rml):
        """At the mean of old items; the row is what is served, and what a phase moves."""
        method = rml()
        trainer = learned(method)
        table = method.backbone.id_table()
        mean = table[method.old_ids].mean(dim=0)
        torch.testing.assert_close(table[method.new_ids], mean.expand(len(method.new_ids), -1))
        trainer.warm_up("warm_a", method.dataset.split["warm_a"])
        served, first = method.item_vectors(method.new_ids)
        assert first is None and torch.equal(served, table[method.new_ids])
        assert (table[method.new_ids] != mean).any(dim=1).all()

    def test_it_learns(self, rml):
        method = rml(rml_epochs=6, rml_decay_rate=1.0, train_batch_size=64)
        rows = method.rows.batch(method.train_index)
        with evaluating(method):
            before = method.net.losses(rows)[0].item()
        learned(method)
        with evaluating(method):
            assert method.net.losses(rows)[0].item() < 0.8 * before


class TestOnSessions:
    """The paper's protocol: targets with the histories that the split gives them."""

    @pytest.fixture
    def rml(self, rml):
        keys = {"split_rule": "sessions", "session_length": 4, "session_min": 2}
        return lambda **more: rml(**keys, session_user_min=5, **more)

    def test_a_batch_is_a_session(self, rml):
        """n is the split's, whatever the longest history of other splits may be."""
        method = rml(history_length=50, rml_lstm_out="flatten")
        split = method.dataset.split
        batch = method.rows.batch(method.rows.index(split["test"]))
        session = method.net.session(batch)
        table = split.histories.of(batch.index)
        assert session.event_bne.shape[1] == table.shape[1] == 3
        assert torch.equal(session.mask_bn, table >= 0) and session.mask_bn[:, 0].all()
        items = method.rows.columns["item_id"].long()
        history = batch[PREFIX + "item_id"]
        assert torch.equal(history[table >= 0], items[table[table >= 0]])

    def test_every_phase_is_fine_tuned_and_scored(self, rml):
        method = rml(train_batch_size=12)
        split, trainer = method.dataset.split, learned(method)
        assert len(method.new_ids) == 0
        scores = [trainer.score(method.rows.index(split["test"]))]
        for phase in split.phases[1:]:
            trainer.warm_up(phase.name, split[phase.warm_up_on])
            scores.append(trainer.score(method.rows.index(split["test"])))
        assert len(scores) == 4 and all(each.isfinite().all() for each in scores)
        assert not any(torch.equal(scores[n], scores[n + 1]) for n in range(3))

    def test_labels_of_later_phases_reach_nothing(self, rml):
        """R7 of the paper's protocol: they are in no history either."""
        states = []
        for flipped in (False, True):
            method = rml()
            if flipped:
                later = method.rows.index(
                    [row for part in ("ft_b", "ft_c", "test") for row in method.dataset.split[part]]
                )
                label = method.rows.columns["label"].clone()
                label[later] = 1 - label[later]
                method.rows.columns["label"] = label
            learned(method, "ft_a")
            states.append(state_of(method.net))
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


class TestErrors:
    def test_histories_of_items(self, rml):
        with pytest.raises(UserError, match="RML reads what its user did; set history_side: user"):
            rml(history_side="item")

    def test_no_fields_of_items(self, rml):
        with pytest.raises(UserError, match="nothing that is known of an item"):
            rml(rml_session_ids=False, load_col={
                "inter": ["user_id", "item_id", "rating", "timestamp"], "user": None, "item": None,
            })  # fmt: skip

    def test_beta_of_one(self, rml):
        with pytest.raises(UserError, match="never forget a gradient"):
            rml(rml_decay="beta_1", rml_decay_rate=1)

    def test_batches_too_small_to_be_cut(self, rml):
        method = rml(train_batch_size=2)
        with pytest.raises(UserError, match="cuts a batch into support and query"):
            method.learn_fits()

    def test_too_few_rows(self, rml):
        method = rml()
        method.train_index = method.train_index[:2]
        with pytest.raises(UserError, match="2 rows to learn from and needs at least 3"):
            method.learn_fits()
