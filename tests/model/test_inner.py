"""The inner step: one gradient step of many vectors at once, differentiable."""

import torch

from recbole_cold.model._inner import inner_step, loss_in_chunks


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
