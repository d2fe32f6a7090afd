"""DIEN: attention, the attending GRU and the auxiliary loss, restated number by number."""

import math

import pytest
import torch
from recbole.data.interaction import Interaction
from test_basic import linear_layers, naive_mlp
from test_gru4recctr import affine, naive_gru, sigmoid

from recbole_cold.backbone.dien import mean_loss
from recbole_cold.errors import UserError

KEYS = {"mlp_hidden_size": [6], "aux_hidden_size": [5, 3], "history_length": 3}


def naive_augru(cell, steps, attention):
    size, h = cell.hidden_size, [0.0] * cell.hidden_size
    weights = [p.tolist() for p in (cell.weight_ih, cell.bias_ih, cell.weight_hh, cell.bias_hh)]
    for x, a in zip(steps, attention, strict=True):
        own, other = affine(*weights[:2], x), affine(*weights[2:], h)
        r, u = (
            [sigmoid(own[part * size + k] + other[part * size + k]) for k in range(size)]
            for part in (0, 1)
        )
        n = [math.tanh(own[2 * size + k] + r[k] * other[2 * size + k]) for k in range(size)]
        h = [(1 - a * u[k]) * h[k] + a * u[k] * n[k] for k in range(size)]
    return h


def softmax(values):
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


@pytest.fixture
def parts(plain):
    """The model, a batch of histories of 0, 1, 2 and 3 rows, and their lengths."""
    model, rows = plain("DIEN", **KEYS)
    found = [int(rows([n])["history/length"][0]) for n in range(80)]
    return model, rows([found.index(length) for length in range(4)]), range(4)


def states(model, x_nd):
    return [naive_gru(model.gru, x_nd[: t + 1]) for t in range(len(x_nd))]


def test_the_logit_is_an_mlp_of_fields_and_evolved_interest(parts):
    model, batch, lengths = parts
    with torch.no_grad():
        logits, fields = model(batch), model.concat_embed_input_fields(batch)
        x_bnd, q_bd = model.history(batch)[0], model.target(fields)
        projected = model.attention.weight @ q_bd.T
    for row, length in enumerate(lengths):
        steps = states(model, x_bnd[row, :length].tolist())
        scores = [sum(a * b for a, b in zip(s, projected[:, row].tolist(), strict=True))
                  for s in steps]  # fmt: skip
        h = naive_augru(model.augru, steps, softmax(scores) if steps else [])
        values = [*fields[row].flatten().tolist(), *h]
        (expected,) = naive_mlp(linear_layers(model.mlp), values)
        assert abs(expected - logits[row].item()) < 1e-12


def test_the_auxiliary_loss_is_the_mean_over_all_rows_but_the_first(parts):
    model, batch, lengths = parts
    with torch.no_grad():
        x_bnd = model.history(batch)[0]
        click = torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch["label"])
        whole = model.calculate_loss(batch)
    losses = []
    for row, length in enumerate(lengths):
        x_nd = x_bnd[row, :length].tolist()
        steps = states(model, x_nd)
        for t in range(1, length):
            values = [*steps[t - 1], *x_nd[t]]
            *hidden, last = linear_layers(model.aux)
            for layer in hidden:
                values = affine(layer.weight.tolist(), layer.bias.tolist(), values)
                values = [sigmoid(v) for v in values]
            chance = sigmoid(affine(last.weight.tolist(), last.bias.tolist(), values)[0])
            label = batch["history/label"][row, t].item()
            losses.append(-math.log(chance if label else 1 - chance))
    assert len(losses) == 3
    assert abs(whole - click - sum(losses) / 3) < 1e-12


def test_labels_of_histories_reach_the_auxiliary_loss_alone(parts):
    model, batch, _ = parts
    other = Interaction({**batch.interaction, "history/label": 1 - batch["history/label"]})
    with torch.no_grad():
        assert torch.equal(model(other), model(batch))
        assert not torch.equal(model.aux_loss(other), model.aux_loss(batch))


def test_without_rows_there_is_no_auxiliary_loss(parts):
    model, batch, _ = parts
    first = Interaction({field: value[:2] for field, value in batch.interaction.items()})
    assert model.aux_loss(first) == 0.0
    none = torch.zeros(2, 3, dtype=torch.bool)
    assert mean_loss(torch.randn(2, 3), torch.ones(2, 3), none) == 0.0


def test_histories_of_clicks_teach_it_nothing(plain):
    with pytest.raises(UserError, match="use history: all, or aux_weight: 0"):
        plain("DIEN", **KEYS, history="clicked")
    model, rows = plain("DIEN", **KEYS, history="clicked", aux_weight=0.0)
    batch = rows(range(20))
    click = torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch["label"])
    assert torch.equal(model.calculate_loss(batch), click)
    assert not hasattr(model, "aux")


def test_default_sizes(plain):
    model = plain("DIEN")[0]
    sizes = [[layer.out_features for layer in linear_layers(m)] for m in (model.aux, model.mlp)]
    assert sizes == [[100, 50, 1], [200, 80, 1]]
