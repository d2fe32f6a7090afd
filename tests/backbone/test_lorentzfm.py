"""LorentzFM: its pairs one by one, and the values they cannot leave."""

import itertools
import math

import pytest
import torch

from recbole_cold.backbone.lorentzfm import lorentz_sum
from recbole_cold.errors import UserError


def pair(u, v):
    """``(1 - <u, v>_L - u0 - v0) / (u0 v0)``, as the paper writes it."""
    u0, v0 = (math.sqrt(1.0 + sum(x * x for x in w)) for w in (u, v))
    lorentz = sum(x * y for x, y in zip(u, v, strict=True)) - u0 * v0
    return (1.0 - lorentz - u0 - v0) / (u0 * v0)


def score(*vectors):
    return lorentz_sum(torch.stack(vectors)[None])[0]


def test_equals_the_loop_over_pairs(rng64):
    for scale in (0.05, 1.0, 7.0):
        fields = scale * rng64(5, 6, 4)
        out = lorentz_sum(fields)
        for row in range(5):
            vectors = fields[row].tolist()
            expected = sum(pair(u, v) for u, v in itertools.combinations(vectors, 2))
            assert abs(out[row].item() - expected) < 1e-12


def test_symmetric_in_the_fields(rng64):
    fields = rng64(5, 6, 4)
    for order in (torch.arange(5, -1, -1), torch.tensor([3, 0, 4, 1, 5, 2])):
        assert (lorentz_sum(fields[:, order]) - lorentz_sum(fields)).abs().max() < 1e-13


def test_a_vector_of_zeros_adds_exactly_nothing(rng64):
    for dtype in (torch.float64, torch.float32):
        for u in (10.0 ** rng64(200, 1) * rng64(200, 4)).to(dtype):
            assert score(u, torch.zeros(4, dtype=dtype)) == 0.0
    fields = rng64(5, 6, 4)
    with_zero = torch.cat([fields, torch.zeros(5, 1, 4, dtype=torch.float64)], dim=1)
    assert torch.equal(lorentz_sum(with_zero), lorentz_sum(fields))
    assert torch.equal(lorentz_sum(torch.zeros(2, 6, 4)), torch.zeros(2))


def test_every_pair_lies_between_minus_a_half_and_two(rng64):
    pairs = (10.0 ** rng64(20000, 2, 1)) * rng64(20000, 2, 3)
    out = lorentz_sum(pairs)
    assert out.min() >= -0.5 - 1e-12 and out.max() < 2.0
    assert out.min() < -0.4 and out.max() > 1.9
    u = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)  # u0 = 2
    assert abs(score(u, u).item() + 0.5) < 1e-15
    assert 1.999 < score(1e4 * u, -1e4 * u).item() < 2.0


def test_gradient_at_zero_is_minus_u_over_u0(rng64):
    """So a new item that starts at zero learns."""
    for u in rng64(10, 4):
        v = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(score(u, v), v)
        expected = -u / math.sqrt(1.0 + u.square().sum().item())
        assert (gradient - expected).abs().max() < 1e-15


def test_small_vectors_keep_their_digits(rng64):
    """In float32 u0 - 1 of a small u has no correct digit; the sum must not go through it."""
    fields = 1e-4 * rng64(50, 6, 4)
    exact, single = lorentz_sum(fields), lorentz_sum(fields.float())
    assert ((single - exact).abs() / exact.abs()).max() < 1e-3
    assert torch.autograd.gradcheck(lorentz_sum, (rng64(2, 4, 3).requires_grad_(),))


def test_the_logit_is_that_sum_and_nothing_else(plain):
    model, rows = plain("LorentzFM")
    batch = rows([0, 5, 9])
    fields = model.concat_embed_input_fields(batch)
    assert torch.equal(model(batch), lorentz_sum(fields))
    assert model.bias is None
    with torch.no_grad():
        for table in (model.token_embedding_table, model.float_embedding_table):
            table.embedding.weight.zero_()
        for table in model.token_seq_embedding_table:
            table.weight.zero_()
        assert torch.equal(model(batch), torch.zeros(3, dtype=torch.float64))


def test_a_number_is_its_value_times_a_vector(plain):
    model, rows = plain("LorentzFM")
    batch = rows([3])
    fields = model.concat_embed_input_fields(batch).detach()
    place = len(fields[0]) - len(model.float_field_names) + model.float_field_names.index("price")
    value = batch["price"].reshape(-1)[0].item()
    vector = model.float_embedding_table.embedding.weight[model.float_field_offsets[-1] + 1]
    assert torch.allclose(fields[0, place], value * vector)
    fields[0, place] = 3.0 * fields[0, place]
    batch["price"] = torch.stack([3.0 * batch["price"][..., 0], batch["price"][..., 1]], dim=-1)
    assert (model(batch) - lorentz_sum(fields)).abs().max() < 1e-7


def test_start_and_constant(plain):
    model, rows = plain("LorentzFM", init_std=0.03, output_bias=True)
    spread = model.token_embedding_table.embedding.weight.std().item()
    assert abs(spread - 0.03) < 0.004
    batch = rows([0, 5])
    with torch.no_grad():
        before = model(batch)
        model.bias += 2.0
        assert (model(batch) - before - 2.0).abs().max() < 1e-12
    with pytest.raises(UserError, match="init_std must be a number above 0"):
        plain("LorentzFM", init_std=0.0)
