"""DIN: attention without softmax and an MLP, restated number by number."""

import torch
from test_basic import linear_layers, naive_mlp
from test_gru4recctr import affine, sigmoid

from recbole_cold.backbone._sequence import compared
from recbole_cold.backbone.din import pool


def naive_weight(net, x, q):
    values = [*x, *q, *(a - b for a, b in zip(x, q, strict=True)),
              *(a * b for a, b in zip(x, q, strict=True))]  # fmt: skip
    *hidden, last = linear_layers(net)
    for layer in hidden:
        values = [sigmoid(v) for v in affine(layer.weight.tolist(), layer.bias.tolist(), values)]
    return affine(last.weight.tolist(), last.bias.tolist(), values)[0]


def test_the_logit_is_an_mlp_of_fields_interest_and_product(plain):
    keys = {"mlp_hidden_size": [6], "attention_hidden_size": [5, 3], "history_length": 3}
    model, rows = plain("DIN", **keys)
    lengths = [int(rows([n])["history/length"][0]) for n in range(60)]
    index = [lengths.index(length) for length in (0, 1, 3)]
    batch = rows(index)
    with torch.no_grad():
        logits, fields = model(batch), model.concat_embed_input_fields(batch)
        x_bnd, q_bd = model.history(batch)[0], model.target(fields)
    for row, length in enumerate((0, 1, 3)):
        q, p = q_bd[row].tolist(), [0.0] * q_bd.shape[1]
        for x in x_bnd[row, :length].tolist():
            weight = naive_weight(model.attention, x, q)
            p = [a + weight * b for a, b in zip(p, x, strict=True)]
        values = [*fields[row].flatten().tolist(), *p, *(a * b for a, b in zip(p, q, strict=True))]
        (expected,) = naive_mlp(linear_layers(model.mlp), values)
        assert abs(expected - logits[row].item()) < 1e-12


def test_weights_are_no_shares(rng64):
    """Twice the history is twice the interest."""
    x_bnd, q_bd, weight_bn = rng64(2, 3, 4), rng64(2, 4), rng64(2, 3)
    twice = pool(torch.cat([weight_bn, weight_bn], dim=1), torch.cat([x_bnd, x_bnd], dim=1))
    assert (twice - 2 * pool(weight_bn, x_bnd)).abs().max() < 1e-12
    both = compared(x_bnd, q_bd)
    assert torch.equal(both[1, 2], torch.cat([x_bnd[1, 2], q_bd[1], x_bnd[1, 2] - q_bd[1],
                                              x_bnd[1, 2] * q_bd[1]]))  # fmt: skip


def test_default_sizes(plain):
    model = plain("DIN")[0]
    sizes = [[layer.out_features for layer in linear_layers(m)] for m in (model.attention,
             model.mlp)]  # fmt: skip
    assert sizes == [[80, 40, 1], [64, 64, 64, 1]]
