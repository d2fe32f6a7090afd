"""AFN: products of powers, and what happens where the logarithm has no value."""

import math

import pytest
import torch
from torch import nn

from recbole_cold.backbone.afn import LARGEST_EXPONENT, logarithms, powers, powers_of_one_plus

SMALL = {"log_neurons": 5, "mlp_hidden_size": [6], "ensemble_hidden_size": [3]}
LEAST = 1e-5


def neurons(field_bfd, weight_jf):
    return powers(logarithms(field_bfd, LEAST), weight_jf)


def one_hots(*rows):
    return torch.stack([sum(torch.eye(3)[f] for f in row) for row in rows]).double()


def test_exponents_one_give_fields_and_their_products(rng64):
    fields = rng64(4, 3, 5)
    out = neurons(fields, one_hots([0], [2], [0, 2]))
    expected = [fields[:, 0].abs(), fields[:, 2].abs(), (fields[:, 0] * fields[:, 2]).abs()]
    for j, value in enumerate(expected):
        assert torch.allclose(out[:, j], value, rtol=1e-12, atol=0.0)


def test_any_exponents_number_by_number(rng64):
    fields, weight = rng64(4, 3, 5), rng64(2, 3)
    out = neurons(fields, weight)
    assert out.shape == (4, 2, 5)
    for b in range(4):
        for j in range(2):
            for k in range(5):
                expected = math.prod(
                    abs(fields[b, f, k].item()) ** weight[j, f].item() for f in range(3)
                )
                assert abs(out[b, j, k].item() / expected - 1) < 1e-12


def test_the_released_form_multiplies_one_plus_the_fields(rng64):
    fields = rng64(4, 3, 5)
    a, b = fields[:, 0].abs(), fields[:, 2].abs()
    out = powers_of_one_plus(fields, one_hots([0], [0, 2]))
    assert torch.allclose(out[:, 0], a, atol=1e-6)
    assert torch.allclose(out[:, 1], (1 + a) * (1 + b) - 1, atol=1e-6)
    assert not powers_of_one_plus(fields, -one_hots([0])).any()  # (1 + a) ** -1 - 1 is below 0


@pytest.mark.parametrize("form", [neurons, powers_of_one_plus])
def test_signs_do_not_matter(rng64, form):
    fields, weight = rng64(4, 3, 5), rng64(2, 3)
    assert torch.equal(form(fields, weight), form(-fields, weight))
    flipped = fields * torch.tensor([1.0, -1.0, 1.0])[:, None]
    assert torch.equal(form(fields, weight), form(flipped, weight))


def test_scaling_a_field_scales_by_its_power(rng64):
    fields, weight = rng64(4, 3, 5), rng64(2, 3)
    for c in (0.5, 3.0):
        for f in range(3):
            scaled = fields.clone()
            scaled[:, f] *= c
            factor = c ** weight[:, f]
            out = neurons(scaled, weight) / neurons(fields, weight)
            assert torch.allclose(out, factor[None, :, None].expand_as(out), rtol=1e-10)


@pytest.mark.parametrize("form", [neurons, powers_of_one_plus])
def test_zero_is_finite_and_has_exactly_no_gradient(rng64, form):
    """The reason why a new item must not start there."""
    for scale in (0.0, 1.0):
        fields = scale * rng64(4, 3, 5)
        fields[:, 1] = 0.0
        fields.requires_grad_()
        out = form(fields, rng64(2, 3).abs())
        assert bool(torch.isfinite(out).all())
        (gradient,) = torch.autograd.grad(out.sum(), fields)
        assert bool(torch.isfinite(gradient).all())
        assert not gradient[:, 1].any()
        assert gradient[:, 0].any() == (scale > 0)


@pytest.mark.parametrize("form", [neurons, powers_of_one_plus])
def test_large_exponents_stay_numbers(rng64, form):
    """In float32 exp(89) is infinite, and its gradient no number."""
    fields, weight = (100 * rng64(4, 3, 5)).float(), (1000 * rng64(2, 3)).float()
    out = form(fields, weight.requires_grad_())
    assert out.max() <= math.exp(LARGEST_EXPONENT) * 1.01
    assert bool(torch.isfinite(torch.autograd.grad(out.sum(), weight)[0]).all())


def test_the_logit_is_an_mlp_of_the_neurons(plain):
    model, rows = plain("AFN", log_bn=False, **SMALL)
    batch = rows([0, 5, 9])
    assert model.log_min == LEAST
    with torch.no_grad():
        fields = model.concat_embed_input_fields(batch)
        out = neurons(fields, model.weight_jf)
        assert out.shape == (3, 5, 4) and fields.shape[1] == model.num_feature_field
        assert torch.equal(model(batch), model.mlp(out.flatten(1))[:, 0])
    bound = 1 / math.sqrt(model.num_feature_field)
    large = plain("AFN", **{**SMALL, "log_neurons": 300})[0].weight_jf.abs()
    assert bound * 0.98 < large.max() <= bound


def test_batch_norm_is_per_field_before_and_per_neuron_behind(plain):
    """In training mode the logarithms of a field have mean 0 and variance 1, over rows and d."""
    model, rows = plain("AFN", **SMALL)
    batch = rows(range(40))
    seen = []
    model.log_bn.register_forward_hook(lambda _m, _i, out: seen.append(out))
    model.train()
    with torch.no_grad():
        out = model.neurons(model.concat_embed_input_fields(batch))
    for value in (seen[0].transpose(0, 1), out.transpose(0, 1)):
        rows_of = value.reshape(len(value), -1)
        assert rows_of.mean(dim=1).abs().max() < 1e-12
        assert (rows_of.var(dim=1, unbiased=False) - 1).abs().max() < 0.05
    assert len(seen[0][0]) == model.num_feature_field and len(out[0]) == 5
    assert {m for m in model.mlp.modules() if isinstance(m, nn.BatchNorm1d)} == set()


def test_numbers_are_a_linear_term_in_the_released_form(plain):
    model, rows = plain("AFN", log_form="log1p", log_bn=False, **SMALL)
    batch = rows([0, 5, 9])
    assert model.weight_jf.shape[1] == model.num_feature_field - 2
    with torch.no_grad():
        model.float_weight.copy_(torch.tensor([2.0, -3.0]))
        fields = model.concat_embed_input_fields(batch)
        assert fields.shape[1] == model.num_feature_field - 2
        expected = model.mlp(powers_of_one_plus(fields, model.weight_jf).flatten(1))[:, 0]
        for name, weight in zip(model.float_field_names, (2.0, -3.0), strict=True):
            expected = expected + weight * batch[name][..., 0].reshape(-1).double()
        assert (model(batch) - expected).abs().max() < 1e-12


def test_the_ensemble_is_linear_in_both_logits(plain):
    model, rows = plain("AFN", ensemble_dnn=True, ensemble_shares_ids=False, **SMALL)
    batch = rows([0, 5, 9])
    part = model.ensemble
    assert part.tables.num_feature_field == model.num_feature_field
    with torch.no_grad():
        fields = model.concat_embed_input_fields(batch)
        afn = model.mlp(model.neurons(fields).flatten(1))[:, 0]
        deep = part.mlp(part.tables(batch).flatten(1))[:, 0]
        (w_afn, w_deep), bias = part.output.weight[0], part.output.bias
        assert (model(batch) - (w_afn * afn + w_deep * deep + bias)).abs().max() < 1e-12


def test_a_given_vector_reaches_both_networks(build):
    """The second table holds no ID; its network reads the IDs' vectors of the first one."""
    method = build("AFN", ensemble_dnn=True, **SMALL)
    backbone = method.backbone.eval()
    part = backbone.model.ensemble
    assert not {"user_id", "item_id"} & set(part.tables.token_field_names)
    batch = method.rows.batch(torch.arange(6))
    given = torch.full((6, 4), 0.25)
    seen = []
    part.mlp.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        backbone.logits(batch, given)
    users = backbone.table_of("user_id")[batch["user_id"]]
    assert torch.equal(seen[0][:, -8:], torch.cat([users, given], dim=1))
