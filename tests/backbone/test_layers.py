"""Dice and the MLP of history models: formulas, masks, and statistics that move or not."""

import math

import pytest
import torch
from torch import nn

from recbole_cold.backbone._layers import (
    Dice,
    MaskedNorm,
    fixed_statistics,
    mlp,
    settle_statistics,
)


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(5)
    return lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_dice_by_the_formula(draw):
    """One number at a time, with the mean and variance of each column."""
    layer, x = Dice(3).double(), draw(5, 3)
    with torch.no_grad():
        layer.alpha.copy_(torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64))
    out = layer(x)
    for column, alpha in enumerate([0.3, -0.2, 0.0]):
        values = x[:, column].tolist()
        mean = sum(values) / 5
        variance = sum((value - mean) ** 2 for value in values) / 5
        for row, value in enumerate(values):
            share = 1 / (1 + math.exp(-(value - mean) / math.sqrt(variance + 1e-8)))
            expected = share * value + (1 - share) * alpha * value
            assert abs(out[row, column].item() - expected) < 1e-12


def test_the_slope_is_learned_and_starts_at_zero(draw):
    layer = Dice(4).double()
    assert layer.alpha.tolist() == [0.0] * 4
    layer(draw(6, 4)).square().sum().backward()
    assert layer.alpha.grad.abs().min() > 0


def test_without_a_mask_it_is_batch_norm(draw):
    """Outputs and running statistics of PyTorch's layer, in training and in evaluation."""
    ours, theirs = MaskedNorm(3).double(), nn.BatchNorm1d(3, eps=1e-8, affine=False).double()
    for _ in range(3):
        x = draw(7, 3) * 2.0 + 1.0
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x))


def test_masked_entries_have_no_part_in_statistics(draw):
    x, mask = draw(4, 5, 3), torch.tensor([[1, 1, 0, 0, 0]] * 4, dtype=torch.bool)
    ours, alone = MaskedNorm(3).double(), MaskedNorm(3).double()
    found = ours(x.masked_fill(~mask[..., None], 1e6), mask)[mask]
    torch.testing.assert_close(found, alone(x[mask]))
    torch.testing.assert_close(ours.running_var, alone.running_var)


def test_no_real_entry_moves_nothing(draw):
    """An empty batch and a single entry are finite, and so are their gradients."""
    layer, x = Dice(3).double(), draw(2, 3).requires_grad_()
    nothing = torch.zeros(2, dtype=torch.bool)
    layer(x, nothing)
    assert layer.norm.running_mean.eq(0).all() and layer.norm.running_var.eq(1).all()
    out = layer(x, torch.tensor([True, False]))
    out.sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()
    assert layer.norm.running_var.isfinite().all()


def test_fixed_statistics(draw):
    """The output of a batch stays what it was, the running statistics stay where they were."""
    layer, x = MaskedNorm(3).double(), draw(6, 3)
    with fixed_statistics(layer):
        inside = layer(x)
        assert layer.running_mean.eq(0).all() and layer.running_var.eq(1).all()
    torch.testing.assert_close(layer(x), inside)
    assert layer.running_mean.abs().min() > 0


def test_settled_statistics_are_those_of_all_batches(draw):
    """Means of the batches, weighted by their real entries; what was there before is forgotten, and
    afterwards the average moves again."""
    layer, x = MaskedNorm(3).double(), draw(7, 3)
    mask = torch.tensor([True, True, False, True, True, True, True])

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.drop = layer, torch.nn.Dropout(0.9)

        def forward(self, part):
            assert torch.equal(self.drop(x), x)
            return self.norm(x[part], mask[part])

    layer.running_mean.fill_(9.0)
    model = Model()
    settle_statistics(model, [slice(0, 3), slice(2, 3), slice(3, 7)])
    torch.testing.assert_close(layer.running_mean, x[mask].mean(dim=0))
    spread = (2 * x[:2].var(dim=0) + 4 * x[3:].var(dim=0)) / 6
    torch.testing.assert_close(layer.running_var, spread)
    assert layer.training and model.drop.training and layer.seen is None
    layer(draw(6, 3))
    assert not torch.allclose(layer.running_mean, x[mask].mean(dim=0))


def test_mlp_has_no_activation_at_the_end(draw):
    net, x = mlp([4, 3, 2], "relu").double(), draw(6, 4)
    torch.nn.init.constant_(net.linear[1].bias, -5.0)
    expected = net.linear[1](torch.relu(net.linear[0](x)))
    torch.testing.assert_close(net(x), expected)
    assert expected.min() < 0


def test_mlp_hands_the_mask_to_dice(draw):
    net, x = mlp([4, 3, 1], "dice").double(), draw(2, 3, 4)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    other = x.masked_fill(~mask[..., None], 7.0)
    torch.testing.assert_close(net(x, mask)[mask], net(other, mask)[mask])
    assert not torch.allclose(net(x)[mask], net(other)[mask])
