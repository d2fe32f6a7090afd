"""FINAL: the degree of its polynomials, its gate, and who teaches whom, when."""

import math

import pytest
import torch
from torch import nn

from recbole_cold.backbone.final import (
    FactorizedInteraction,
    FieldGate,
    distilled,
    interaction_block,
)
from recbole_cold.errors import UserError

SIZES = {"block1_hidden_size": [6, 4], "block2_hidden_size": [4, 4]}


def entropy(a, y):
    """Binary cross entropy of one logit with a label that may be soft."""
    return math.log1p(math.exp(-abs(a))) + max(a, 0.0) - y * a


def sigmoid(a):
    return 1.0 / (1.0 + math.exp(-a))


@pytest.mark.parametrize("residual", ["sum", "concat"])
def test_a_layer_number_by_number(rng64, residual):
    layer = FactorizedInteraction(3, 4, residual).double()
    x = rng64(5, 3)
    out = layer(x)
    assert out.shape == (5, 4)
    weight, bias = layer.linear.weight.tolist(), layer.linear.bias.tolist()
    for row in range(5):
        h = [
            b + sum(w * value for w, value in zip(line, x[row].tolist(), strict=True))
            for line, b in zip(weight, bias, strict=True)
        ]
        half = len(h) // 2
        products = [h[k] * h[half + k] for k in range(half)]
        if residual == "sum":
            expected = [h[k] + products[k] for k in range(half)]
        else:
            expected = [*h[:half], *products]
        assert (out[row] - torch.tensor(expected, dtype=torch.float64)).abs().max() < 1e-14


def difference(values, order):
    """The finite difference of that order, relative to the size of its terms."""
    terms = [(-1) ** k * math.comb(order, k) * values[k].item() for k in range(order + 1)]
    return abs(sum(terms)) / max(map(abs, terms))


@pytest.mark.parametrize("residual", ["sum", "concat"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_d_is_a_polynomial_of_degree_two_to_the_d(rng64, residual, depth):
    """It reaches that degree along a line, and does not exceed it."""
    torch.manual_seed(5)
    block = interaction_block(5, [6] * depth, residual, False, 0.0).double()
    start, direction = rng64(5), rng64(5)
    degree = 2**depth
    steps = torch.linspace(-1.0, 1.0, degree + 2, dtype=torch.float64)
    with torch.no_grad():
        values = block(start + steps[:, None] * direction)[:, 0]
    assert difference(values, degree + 1) < 1e-12
    assert difference(values, degree) > 1e-9


def test_without_the_first_half_a_layer_is_affine(rng64):
    layer = FactorizedInteraction(3, 4, "sum").double()
    with torch.no_grad():
        layer.linear.weight[4:].zero_()
        layer.linear.bias[4:].zero_()
    a, b, origin = rng64(3), rng64(3), torch.zeros(3, dtype=torch.float64)
    assert (layer(a + b) - layer(a) - layer(b) + layer(origin)).abs().max() < 1e-14
    assert (layer(a) - layer(b)).abs().min() > 0


def test_the_gate_is_one_at_the_start_and_linear_over_fields(plain, rng64):
    model, rows = plain("FINAL", **SIZES)
    fields = model.concat_embed_input_fields(rows([0, 5]))
    assert torch.equal(model.gate(fields), torch.cat([fields, fields], dim=1))
    gate = FieldGate(3).double()
    with torch.no_grad():
        gate.linear.weight.copy_(rng64(3, 3))
    x = rng64(2, 3, 4)
    out = gate(x)
    for row in range(2):
        for f in range(3):
            for k in range(4):
                g = gate.linear.bias[f] + sum(
                    gate.linear.weight[f, other] * x[row, other, k] for other in range(3)
                )
                assert abs(out[row, f, k] - x[row, f, k]) < 1e-15
                assert abs(out[row, 3 + f, k] - x[row, f, k] * g) < 1e-14


def test_the_logit_is_the_mean_of_both_blocks(plain):
    """The first reads [E; E * g], the second E."""
    model, rows = plain("FINAL", **SIZES)
    batch = rows([0, 5, 9])
    with torch.no_grad():
        model.gate.linear.weight.normal_()
        fields = model.concat_embed_input_fields(batch)
        first = model.block1(model.gate(fields).flatten(1))[:, 0]
        second = model.block2(fields.flatten(1))[:, 0]
        assert (model(batch) - (first + second) / 2).abs().max() < 1e-15
        assert not torch.allclose(first, second)


def test_the_loss_has_three_terms_row_by_row(plain):
    model, rows = plain("FINAL", **SIZES)
    batch = rows(range(20))
    with torch.no_grad():
        first, second = (part.tolist() for part in model.streams(batch))
        loss = model.calculate_loss(batch).item()
    expected = 0.0
    for a1, a2, y in zip(first, second, batch["label"].tolist(), strict=True):
        mean = (a1 + a2) / 2
        soft = sigmoid(mean)
        expected += (entropy(mean, y) + entropy(a1, soft) + entropy(a2, soft)) / 20
    assert abs(loss - expected) < 1e-12


def test_the_taught_probability_has_no_gradient(rng64):
    """Gradients are those of the loss with the soft label as a number."""
    a1, a2 = rng64(6).requires_grad_(), rng64(6).requires_grad_()
    y = (rng64(6) > 0).double()
    loss = nn.functional.binary_cross_entropy_with_logits
    soft = torch.sigmoid((a1 + a2) / 2).detach().clone()
    by_hand = loss((a1 + a2) / 2, y) + loss(a1, soft) + loss(a2, soft)
    expected = torch.autograd.grad(by_hand, [a1, a2])
    found = torch.autograd.grad(distilled(a1, a2, y), [a1, a2])
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-15


def test_blocks_that_agree_pay_their_entropy(rng64):
    a, y = rng64(6), torch.ones(6, dtype=torch.float64)
    extra = distilled(a, a, y).item() - sum(entropy(x, 1.0) for x in a.tolist()) / 6
    p = [sigmoid(x) for x in a.tolist()]
    expected = sum(-q * math.log(q) - (1 - q) * math.log(1 - q) for q in p) / 6
    assert abs(extra - 2 * expected) < 1e-12
    shared = a.clone().requires_grad_()
    teaching = distilled(shared, shared, y) - nn.functional.binary_cross_entropy_with_logits(
        shared, y
    )
    assert torch.autograd.grad(teaching, shared)[0].abs().max() < 1e-15


def test_one_block_has_the_plain_loss(plain):
    model, rows = plain("FINAL", block_type="1B", **SIZES)
    batch = rows(range(20))
    assert model.block2 is None
    with torch.no_grad():
        logits = model(batch)
        expected = sum(map(entropy, logits.tolist(), batch["label"].tolist())) / 20
        assert abs(model.calculate_loss(batch).item() - expected) < 1e-12
        fields = model.concat_embed_input_fields(batch)
        assert torch.equal(logits, model.block1(model.gate(fields).flatten(1))[:, 0])


def test_blocks_teach_each_other_in_pretraining_only(build):
    """A warm phase has the click loss of the mean logit, nothing else."""
    method = build("FINAL", **SIZES)
    batch = method.rows.batch(torch.arange(20))
    method.backbone.eval()
    (pretraining,) = method.pretrain_fits()
    (warm,) = method.warm_fits(method.train_index[:20])
    with torch.no_grad():
        plain = method.loss(method.backbone.logits(batch), batch)
        own = method.backbone.model.calculate_loss(batch)
        assert abs(own - plain) > 0.1
        assert abs(pretraining.steps[0].loss(batch) - own) < 1e-6
        method.start_new_items()
        served = method.loss(method.logits(batch), batch)
        assert torch.equal(warm.steps[0].loss(batch), served)


def test_batch_norm_moves_in_pretraining_only(build):
    """``batch_norm: moving`` lets it drift in warm phases, as published code does."""
    for batch_norm, drifts in (("frozen", False), ("moving", True)):
        method = build("FINAL", batch_norm=batch_norm, **SIZES)
        batch = method.rows.batch(torch.arange(20))
        norms = [m for m in method.backbone.modules() if isinstance(m, nn.BatchNorm1d)]
        assert len(norms) == 4
        for fit in (method.pretrain_fits()[0], method.warm_fits(method.train_index[:20])[0]):
            before = [norm.running_mean.clone() for norm in norms]
            method.set_mode(fit.mode)
            fit.steps[0].loss(batch)
            moved = [
                not torch.equal(norm.running_mean, old)
                for norm, old in zip(norms, before, strict=True)
            ]
            assert moved == [fit.name == "pretrain" or drifts] * 4


def test_sizes_that_have_no_half_are_refused(plain):
    with pytest.raises(UserError, match="block2_hidden_size has 5, which has no half"):
        plain("FINAL", block2_hidden_size=[5])
    plain("FINAL", block2_hidden_size=[5], fi_residual="sum")
