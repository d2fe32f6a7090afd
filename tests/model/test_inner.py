"""Gradient steps of many tasks at once, differentiable."""

import pytest
import torch
from torch.nn import functional as F

from recbole_cold.errors import Diverged
from recbole_cold.model._inner import adapt, inner_step, loss_in_chunks, stacked_linear


def quadratic(target):
    """``||v - target||^2 / 2`` of each task."""
    return lambda vector: 0.5 * (vector - target).square().sum(dim=1)


def wavy(vector):
    """A loss per task with a Hessian that depends on the vector."""
    return torch.sin(vector).sum(dim=1) * vector.square().sum(dim=1)


def test_on_a_quadratic_it_has_a_closed_form(rng64):
    vector, target = rng64(2, 4).requires_grad_(), rng64(2, 4)
    stepped, loss = inner_step(quadratic(target), vector, 0.1)
    assert torch.allclose(stepped, 0.9 * vector + 0.1 * target, atol=1e-15)
    assert torch.allclose(loss, ((vector - target) ** 2).sum(1) / 2)


def test_losses_are_those_before_the_step(rng64):
    vector = rng64(3, 2).requires_grad_()
    stepped, loss = inner_step(wavy, vector, 0.3)
    assert torch.equal(loss, wavy(vector))
    assert not torch.allclose(wavy(stepped), loss)


def test_batched_tasks_equal_tasks_one_by_one(rng64):
    vector = rng64(5, 3).requires_grad_()
    stepped, loss = inner_step(wavy, vector, 0.2)
    for task in range(5):
        alone = vector[task : task + 1].detach().requires_grad_()
        one, one_loss = inner_step(wavy, alone, 0.2)
        assert (one[0] - stepped[task]).abs().max() < 1e-15
        assert torch.equal(one_loss[0], loss[task])


def test_rate_zero_moves_nothing(rng64):
    vector = rng64(3, 2).requires_grad_()
    assert torch.equal(inner_step(wavy, vector, 0.0)[0], vector)


def test_the_step_is_differentiated_through(rng64):
    """d loss(v - lr g(v)) / dv by central differences; the first-order form leaves out H."""
    start = rng64(2, 3)

    def after(vector, second_order=True):
        vector = vector if vector.requires_grad else vector.clone().requires_grad_()
        return wavy(inner_step(wavy, vector, 0.2, second_order)[0]).sum()

    leaf = start.clone().requires_grad_()
    (exact,) = torch.autograd.grad(after(leaf), leaf)
    for task in range(2):
        for k in range(3):
            step = torch.zeros_like(start)
            step[task, k] = 1e-6
            expected = (after(start + step) - after(start - step)).detach() / 2e-6
            assert abs(exact[task, k] - expected) < 1e-8
    (first,) = torch.autograd.grad(after(leaf, second_order=False), leaf)
    assert (first - exact).abs().max() > 1e-2
    _, before = inner_step(wavy, leaf, 0.2, second_order=False)
    assert torch.autograd.grad(before.sum(), leaf)[0].abs().max() > 0.1  # losses keep their graph
    stepped = inner_step(wavy, start.clone().requires_grad_(), 0.2)[0].detach().requires_grad_()
    (outer,) = torch.autograd.grad(wavy(stepped).sum(), stepped)
    assert torch.allclose(first, outer)  # what is left is the gradient after the step


def test_a_loss_in_chunks_has_the_value_and_gradient_of_the_whole(rng64):
    start, weight = rng64(7, 3).requires_grad_(), rng64(7)

    def loss(vector, weight):
        return (wavy(vector) * weight).sum()

    for size in (1, 3, 7):
        whole = loss(2 * start, weight)
        chunked = loss_in_chunks(loss, 2 * start, weight.split(size), size)
        assert abs(chunked - whole) < 1e-13
        expected, found = torch.autograd.grad(whole, start), torch.autograd.grad(chunked, start)
        assert (expected[0] - found[0]).abs().max() < 1e-13


# ---------------------------------------------------------------------------- any parameters
def head_of(rng64):
    """A small network with a smooth kink-free activation, and ragged tasks for it."""
    head = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    with torch.no_grad():
        for parameter in head.double().parameters():
            parameter.copy_(rng64(*parameter.shape))
    support, query = rng64(5, 6, 3), rng64(5, 4, 3)
    label = {6: (rng64(5, 6) > 0).double(), 4: (rng64(5, 4) > 0).double()}
    mask = (torch.arange(6) < torch.tensor([6, 4, 1, 0, 3])[:, None]).double()
    return head, support, query, label, mask


def masked_loss(logit, label, mask):
    each = F.binary_cross_entropy_with_logits(logit, label, reduction="none")
    return (each * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def stacked(head, support, query, label, mask, steps, second_order):
    """Query logits by fast weights along a leading axis."""

    def logits(fast, x):
        hidden = torch.tanh(stacked_linear(x, fast["0.weight"], fast["0.bias"]))
        return stacked_linear(hidden, fast["2.weight"], fast["2.bias"])[..., 0]

    start = {k: v.expand(len(support), *v.shape) for k, v in head.named_parameters()}
    fast, _ = adapt(
        lambda fast: masked_loss(logits(fast, support), label[6], mask),
        start, learning_rates=0.3, steps=steps, second_order=second_order,
    )  # fmt: skip
    return logits(fast, query)


def vmapped(head, support, query, label, mask, steps, second_order):
    """The same by ``torch.func``, the head as it is."""
    shared = dict(head.named_parameters())

    def one(x, y, m, x_query):
        def loss(p):
            return masked_loss(torch.func.functional_call(head, p, (x,))[:, 0], y, m)

        p = shared
        for _ in range(steps):
            g = torch.func.grad(loss)(p)
            if not second_order:
                g = {k: v.detach() for k, v in g.items()}
            p = {k: p[k] - 0.3 * g[k] for k in p}
        return torch.func.functional_call(head, p, (x_query,))[:, 0]

    return torch.func.vmap(one)(support, label[6], mask, query)


def looped(head, support, query, label, mask, steps, second_order):
    """The same, one task after the other, padding cut off."""
    rows = []
    for task in range(len(support)):
        n = int(mask[task].sum())
        p = dict(head.named_parameters())
        for _ in range(steps if n else 0):
            logit = torch.func.functional_call(head, p, (support[task, :n],))[:, 0]
            loss = F.binary_cross_entropy_with_logits(logit, label[6][task, :n])
            g = torch.autograd.grad(loss, list(p.values()), create_graph=second_order)
            p = {k: v - 0.3 * part for (k, v), part in zip(p.items(), g, strict=True)}
        rows.append(torch.func.functional_call(head, p, (query[task],))[:, 0])
    return torch.stack(rows)


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_stacked_equals_vmapped_equals_looped(rng64, steps, second_order):
    """Logits of ragged tasks, and the outer gradient of the shared start."""
    parts = head_of(rng64)
    parameters = list(parts[0].parameters())
    found = []
    for form in (looped, vmapped, stacked):
        logit = form(*parts, steps, second_order)
        outer = masked_loss(logit, parts[3][4], torch.ones_like(logit)).mean()
        gradient = torch.autograd.grad(outer, parameters)
        found.append(torch.cat([logit.reshape(-1), *(part.reshape(-1) for part in gradient)]))
    assert (found[0] - found[1]).abs().max() < 1e-12
    assert (found[0] - found[2]).abs().max() < 1e-12


def test_gradcheck_through_several_steps():
    generator = torch.Generator().manual_seed(1)
    start, scale = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator).unbind(1)[:2]

    def outer(vector, scale):
        fast, before = adapt(
            lambda fast: wavy(fast["v"]) * fast["s"].sum(dim=1),
            {"v": vector, "s": scale}, learning_rates={"v": 0.1, "s": 0.02}, steps=3,
        )  # fmt: skip
        return (wavy(fast["v"]) * fast["s"].prod(dim=1)).sum() + before.sum()

    leaves = [part.clone().requires_grad_() for part in (start, scale)]
    assert torch.autograd.gradcheck(outer, leaves, eps=1e-6, atol=1e-8)


def test_each_name_has_its_own_rate(rng64):
    start = {"v": rng64(3, 2), "s": rng64(3, 2)}
    fast, _ = adapt(
        lambda fast: quadratic(0.0)(fast["v"]) + quadratic(0.0)(fast["s"]),
        start, learning_rates={"v": 0.5, "s": 0.0},
    )  # fmt: skip
    assert torch.allclose(fast["v"], 0.5 * start["v"], atol=1e-15)
    assert torch.equal(fast["s"], start["s"])


@pytest.mark.parametrize("second_order", [True, False])
def test_what_one_start_is_made_from_the_other_has_no_part(rng64, second_order):
    """A vector, and a graph made from it: in the step both are independent variables."""
    vector = rng64(3, 2).requires_grad_()
    made = 2.0 * vector
    start = {"vector": vector, "graph": made}
    moved, _ = adapt(
        lambda fast: (fast["vector"] * fast["graph"]).sum(dim=1),
        start, learning_rates=0.1, second_order=second_order,
    )  # fmt: skip
    assert torch.allclose(moved["vector"], vector - 0.1 * made, atol=1e-15)
    assert torch.allclose(moved["graph"], made - 0.1 * vector, atol=1e-15)
    # The loss after the step still sees that one is made from the other.
    (gradient,) = torch.autograd.grad(moved["graph"].sum(), vector)
    assert torch.allclose(gradient, torch.full_like(vector, 1.9 if second_order else 2.0))


def test_scoring_adapts_without_a_graph(rng64):
    vector = rng64(4, 3)
    expected, before = adapt(
        lambda fast: wavy(fast["v"]), {"v": vector.clone().requires_grad_()},
        learning_rates=0.1, steps=3,
    )  # fmt: skip
    with torch.no_grad():
        fast, loss = adapt(lambda f: wavy(f["v"]), {"v": vector}, learning_rates=0.1, steps=3)
    assert torch.equal(fast["v"], expected["v"].detach()) and torch.equal(loss, before.detach())
    shared = torch.nn.Parameter(vector[0])
    with torch.no_grad():
        fast, _ = adapt(
            lambda f: wavy(f["v"]), {"v": shared.expand(4, 3)}, learning_rates=0.1, steps=1
        )
    assert (fast["v"] - shared).abs().min() > 1e-6
    assert not fast["v"].requires_grad and not loss.requires_grad and not vector.requires_grad


def test_a_step_that_gives_no_number_is_named(rng64):
    """Task 2 doubles at each step until its square root has no derivative at 0: step 3."""
    start = torch.tensor([[1.0], [4.0], [0.75]]).double()

    def loss(fast):
        v = fast["v"][:, 0]
        return torch.where(torch.tensor([False, False, True]), (v - 0.25).sqrt() * 0 + v, 0 * v)

    with pytest.raises(Diverged, match=r"inner step 3 of 4 .* for item c"):
        adapt(
            loss, {"v": start}, learning_rates=0.25, steps=4, name_of=lambda t: f"item {'abc'[t]}"
        )


def test_a_linear_layer_per_task(rng64):
    x, weight, bias = rng64(3, 5, 2), rng64(3, 4, 2), rng64(3, 4)
    for task in range(3):
        alone = F.linear(x[task], weight[task], bias[task])
        assert torch.allclose(stacked_linear(x, weight, bias)[task], alone, atol=1e-15)
        alone = F.linear(x[task], weight[task])
        assert torch.allclose(stacked_linear(x, weight)[task], alone, atol=1e-15)
