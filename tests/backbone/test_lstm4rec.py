"""LSTM4Rec: an LSTM and an MLP, restated number by number."""

import math

import torch
from test_basic import linear_layers, naive_mlp
from test_gru4recctr import affine, sigmoid


def naive_lstm(lstm, steps):
    """torch's gates: input, forget, cell, output."""
    size = lstm.hidden_size
    h, c = [0.0] * size, [0.0] * size
    weights = [p.tolist() for p in (lstm.weight_ih_l0, lstm.bias_ih_l0, lstm.weight_hh_l0,
               lstm.bias_hh_l0)]  # fmt: skip
    for x in steps:
        both = [a + b for a, b in zip(affine(*weights[:2], x), affine(*weights[2:], h),
                strict=True)]  # fmt: skip
        i, f, g, o = (both[part * size : (part + 1) * size] for part in range(4))
        c = [sigmoid(f[k]) * c[k] + sigmoid(i[k]) * math.tanh(g[k]) for k in range(size)]
        h = [sigmoid(o[k]) * math.tanh(c[k]) for k in range(size)]
    return h


def test_the_logit_is_an_mlp_of_fields_and_state(plain):
    model, rows = plain("LSTM4Rec", mlp_hidden_size=[6], history_length=3, history_side="item")
    lengths = [int(rows([n])["history/length"][0]) for n in range(60)]
    index = [lengths.index(length) for length in (0, 1, 3)]
    batch = rows(index)
    with torch.no_grad():
        logits, fields = model(batch), model.concat_embed_input_fields(batch)
        x_bnd = model.history(batch)[0]
    for row, length in enumerate((0, 1, 3)):
        h = naive_lstm(model.lstm, x_bnd[row, :length].tolist())
        values = [*fields[row].flatten().tolist(), *h]
        (expected,) = naive_mlp(linear_layers(model.mlp), values)
        assert abs(expected - logits[row].item()) < 1e-12
    assert not model.state(batch)[0].any()


def test_default_sizes(plain):
    layers = linear_layers(plain("LSTM4Rec")[0].mlp)
    assert [layer.out_features for layer in layers] == [200, 80, 1]
