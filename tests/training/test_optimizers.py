"""Optimizers of a fit's steps: gradient descent, rates by epoch, one Adam for two steps."""

import pytest
import torch
from torch import nn

from recbole_cold.errors import UserError
from recbole_cold.model._fit import Step
from recbole_cold.training.optimizers import (
    Optimizers,
    continue_from,
    names_of,
    optimizers_of,
)


@pytest.fixture
def net():
    torch.manual_seed(3)
    return nn.ModuleList([nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)]).double()


def some(n, *modules):
    return [parameter for module in modules[:n] for parameter in module.parameters()]


def loss_of(net, scale=1.0):
    x = torch.tensor([[1.0, 2.0, -1.0]], dtype=torch.float64)
    return scale * sum((layer(x) - 1.0).square().sum() for layer in net)


def take(net, optimizer, scale=1.0):
    optimizer.zero_grad()
    loss_of(net, scale).backward()
    optimizer.step()


def weights(net):
    return [layer.weight.detach().clone() for layer in net]


def test_gradient_descent(net):
    """``w - rate * gradient``, nothing else; the other layer stays."""
    step = Step(loss_of, some(1, *net), 0.1, optimizer="sgd")
    optimizer = Optimizers(step, net, "lazy")
    before = weights(net)
    (gradient,) = torch.autograd.grad(loss_of(net), some(1, *net))
    take(net, optimizer)
    torch.testing.assert_close(net[0].weight.detach(), before[0] - 0.1 * gradient)
    assert torch.equal(net[1].weight, before[1]) and optimizer.name == "SGD"


def test_rates_by_epoch(net):
    """The start rate times the decay, once per epoch, however many steps there were."""
    step = Step(loss_of, some(1, *net), 0.1, optimizer="sgd", decay=0.5)
    optimizer = Optimizers(step, net, "dense")
    for epoch, rate in ((0, 0.1), (0, 0.1), (1, 0.05), (3, 0.0125)):
        optimizer.start_epoch(epoch)
        before = weights(net)[0]
        (gradient,) = torch.autograd.grad(loss_of(net), some(1, *net))
        take(net, optimizer)
        torch.testing.assert_close(net[0].weight.detach(), before - rate * gradient)


def test_betas_are_adams(net):
    step = Step(loss_of, some(2, *net), 0.1, betas=(0.7, 0.99))
    theirs = nn.ModuleList([nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)]).double()
    theirs.load_state_dict(net.state_dict())
    plain = torch.optim.Adam(theirs.parameters(), lr=0.1, betas=(0.7, 0.99))
    optimizer = Optimizers(step, net, "dense")
    for scale in (1.0, -3.0, 0.5):
        take(net, optimizer, scale)
        plain.zero_grad()
        loss_of(theirs, scale).backward()
        plain.step()
    torch.testing.assert_close(weights(net), weights(theirs))


def test_one_adam_for_two_steps(net):
    """The first step moves its own parameter at its own rate, and both have one set of moments."""
    first = Step(loss_of, some(1, *net), 0.3, with_next=True)
    second = Step(loss_of, some(2, *net), 0.1)
    optimizers = optimizers_of([first, second], net, "dense")
    before = weights(net)
    take(net, optimizers[0])
    assert torch.equal(net[1].weight, before[1])
    # Adam's first step is the rate times the gradient's sign.
    moved = (net[0].weight.detach() - before[0]).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.3), rtol=1e-6, atol=0)
    take(net, optimizers[1])
    state = optimizers[1].parts[0].state
    assert [int(state[layer.weight]["step"]) for layer in net] == [2, 1]
    moved = (net[1].weight.detach() - before[1]).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), rtol=1e-6, atol=0)
    assert names_of(optimizers) == "dense Adam"


def test_a_fit_without_the_first_step_continues_the_last_one(net):
    steps = [Step(loss_of, some(1, *net), 0.1, optimizer="sgd"), Step(loss_of, some(2, *net), 0.1)]
    optimizers = optimizers_of(steps, net, "dense")
    assert names_of(optimizers) == "SGD and dense Adam"
    for optimizer in optimizers:
        take(net, optimizer)
    kept = [optimizer.state_dict() for optimizer in optimizers]
    alone, whole = optimizers_of(steps[1:], net, "dense"), optimizers_of(steps, net, "dense")
    continue_from(alone, kept)
    continue_from(whole, kept[1:])
    for after in (alone[0], whole[1]):
        assert {int(state["step"]) for state in after.parts[0].state.values()} == {1}


def test_a_table_that_is_read_past_its_module():
    """Updated lazily it moves by the rows that have a gradient, as if they were looked up."""
    after = []
    for past in (False, True):
        torch.manual_seed(3)
        table = nn.Embedding(20, 3)
        optimizer = Optimizers(Step(None, [table.weight], 0.1), table, "lazy")
        code = torch.tensor([4, 9, 4])
        rows = table.weight[code] if past else table(code)
        (rows * torch.arange(1.0, 10.0).view(3, 3)).sum().backward()
        assert table.weight.grad.is_sparse != past
        optimizer.step()
        after.append(table.weight.detach())
    assert torch.equal(*after)


def test_an_unknown_optimizer(net):
    with pytest.raises(UserError, match="optimizer 'sdg' of a Step is none of adam, sgd; did you"):
        Step(loss_of, some(1, *net), 0.1, optimizer="sdg")
