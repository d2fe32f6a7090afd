"""Light optimizers: the numbers of torch's to the last bit, their states, and what they refuse."""

import pytest
import torch

from recbole_cold.training.light_optimizers import FusedAdam, GradientDescent

SIZES = [(40, 5), (7,), (1, 3), (300, 16)]
KINDS = [torch.float32, torch.float64, torch.float32, torch.float32]


def start():
    draw = torch.Generator().manual_seed(5)
    return [
        torch.nn.Parameter(torch.randn(size, generator=draw).to(kind))
        for size, kind in zip(SIZES, KINDS, strict=True)
    ]


def gradients(steps=range(9)):
    """For each step one gradient a parameter; one of them has none in every third step."""
    for step in steps:
        draw = torch.Generator().manual_seed(100 + step)
        found = [torch.randn(s, generator=draw) * 10.0 ** (step % 4 - 2) for s in SIZES]
        yield [
            None if step % 3 == 0 and place == 1 else value.to(kind)
            for place, (value, kind) in enumerate(zip(found, KINDS, strict=True))
        ]


def take(optimizer, parameters, steps=range(9)):
    """The parameters after these steps; the rate falls."""
    for number, several in zip(steps, gradients(steps), strict=True):
        for parameter, gradient in zip(parameters, several, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.param_groups[0]["lr"] = 0.05 * 0.9**number
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adam_is_torchs(decay):
    """Of both kinds of numbers, whoever has a gradient, at a rate that changes."""
    ours, theirs = start(), start()
    options = {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": decay}
    after = take(FusedAdam(ours, **options), ours)
    assert same(after, take(torch.optim.Adam(theirs, fused=True, **options), theirs))
    assert not same(after, start())


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_gradient_descent_is_torchs(decay):
    ours, theirs = start(), start()
    after = take(GradientDescent(ours, lr=0.05, weight_decay=decay), ours)
    assert same(after, take(torch.optim.SGD(theirs, lr=0.05, weight_decay=decay), theirs))
    assert not same(after, start())


def test_states_are_torchs():
    """Half of the steps here and half there, both ways, is all of them in one place."""
    whole = start()
    expected = take(FusedAdam(whole, lr=0.05), whole)
    fused = {"fused": True, "lr": 0.05}
    for first_kind, first, second_kind, second in (
        (FusedAdam, {}, torch.optim.Adam, fused),
        (torch.optim.Adam, fused, FusedAdam, {}),
        (FusedAdam, {}, FusedAdam, {}),
    ):
        parameters = start()
        before = first_kind(parameters, **first)
        take(before, parameters, range(4))
        after = second_kind(parameters, **second)
        after.load_state_dict({**after.state_dict(), "state": before.state_dict()["state"]})
        assert same(take(after, parameters, range(4, 9)), expected)


def test_a_state_is_brought_to_the_kind_of_its_parameter():
    """But for the count of its steps, which the kernel takes in single precision."""
    parameters = start()
    before = FusedAdam(parameters, betas=(0.7, 0.9))
    take(before, parameters)
    doubles = [torch.nn.Parameter(parameter.detach().double()) for parameter in parameters]
    after = FusedAdam(doubles)
    after.load_state_dict(before.state_dict())
    assert after.param_groups[0]["betas"] == (0.7, 0.9)
    for place, parameter in enumerate(doubles):
        state, old = after.state[parameter], before.state[parameters[place]]
        assert state["step"].dtype == torch.float32 and state["step"] == old["step"] == (
            6 if place == 1 else 9
        )
        for name in ("exp_avg", "exp_avg_sq"):
            assert state[name].dtype == torch.float64
            assert torch.equal(state[name], old[name].double())


def test_a_state_of_other_parameters_is_refused():
    parameters = start()
    with pytest.raises(ValueError, match="another number of parameters"):
        FusedAdam(parameters[:2]).load_state_dict(FusedAdam(parameters).state_dict())


def test_adam_refuses_a_sparse_gradient():
    table = torch.nn.Parameter(torch.ones(3, 2))
    table.grad = torch.ones(3, 2).to_sparse(1)
    with pytest.raises(RuntimeError, match="no sparse gradient"):
        FusedAdam([table]).step()
