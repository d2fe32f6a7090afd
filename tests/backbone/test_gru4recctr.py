"""GRU4RecCTR: a GRU and an MLP, restated number by number."""

import math

import torch
from test_basic import linear_layers, naive_mlp


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def affine(weight, bias, x):
    return [b + sum(w * v for w, v in zip(row, x, strict=True)) for row, b in zip(weight, bias,
            strict=True)]  # fmt: skip


def naive_gru(gru, steps):
    """torch's gates: reset, update, new; h' = (1 - z) n + z h with n = tanh(W x + r (U h + c))."""
    size, h = gru.hidden_size, [0.0] * gru.hidden_size
    weights = [p.tolist() for p in (gru.weight_ih_l0, gru.bias_ih_l0, gru.weight_hh_l0,
               gru.bias_hh_l0)]  # fmt: skip
    for x in steps:
        own, other = affine(*weights[:2], x), affine(*weights[2:], h)
        r, z = (
            [sigmoid(own[part * size + k] + other[part * size + k]) for k in range(size)]
            for part in (0, 1)
        )
        n = [math.tanh(own[2 * size + k] + r[k] * other[2 * size + k]) for k in range(size)]
        h = [(1 - z[k]) * n[k] + z[k] * h[k] for k in range(size)]
    return h


def test_the_logit_is_an_mlp_of_fields_state_and_product(plain):
    model, rows = plain("GRU4RecCTR", mlp_hidden_size=[6, 5], history_length=3)
    lengths = [int(rows([n])["history/length"][0]) for n in range(60)]
    index = [lengths.index(length) for length in (0, 1, 2, 3)]
    batch = rows(index)
    with torch.no_grad():
        logits, fields = model(batch), model.concat_embed_input_fields(batch)
        x_bnd, q_bd = model.history(batch)[0], model.target(fields)
    layers = linear_layers(model.mlp)
    assert [layer.out_features for layer in layers] == [6, 5, 1]
    for row, length in enumerate((0, 1, 2, 3)):
        h = naive_gru(model.gru, x_bnd[row, :length].tolist())
        product = [a * b for a, b in zip(h, q_bd[row].tolist(), strict=True)]
        (expected,) = naive_mlp(layers, [*fields[row].flatten().tolist(), *h, *product])
        assert abs(expected - logits[row].item()) < 1e-12
    assert not model.state(batch)[0].any()


def test_default_sizes(plain):
    layers = linear_layers(plain("GRU4RecCTR")[0].mlp)
    assert [layer.out_features for layer in layers] == [64, 64, 64, 1]
