"""Basic: embeddings and an MLP, restated number by number."""

import torch


def naive_mlp(layers, values):
    """ReLU between linear layers, one number at a time."""
    for place, layer in enumerate(layers):
        out = []
        for row, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True):
            total = bias + sum(w * x for w, x in zip(row, values, strict=True))
            out.append(total if place == len(layers) - 1 else max(total, 0.0))
        values = out
    return values


def linear_layers(module):
    return [part for part in module.modules() if isinstance(part, torch.nn.Linear)]


def test_the_logit_is_an_mlp_of_all_embeddings(plain):
    model, rows = plain("Basic", mlp_hidden_size=[6, 5])
    batch = rows([0, 5, 9])
    with torch.no_grad():
        logits = model(batch)
        fields = model.concat_embed_input_fields(batch)
    assert fields.shape == (3, model.num_feature_field, 4)
    layers = linear_layers(model.mlp)
    assert [layer.out_features for layer in layers] == [6, 5, 1]
    for row in range(3):
        (expected,) = naive_mlp(layers, fields[row].flatten().tolist())
        assert abs(expected - logits[row].item()) < 1e-12


def test_default_sizes(plain):
    layers = linear_layers(plain("Basic")[0].mlp)
    assert [layer.out_features for layer in layers] == [200, 80, 1]


def test_the_mean_of_the_history_stands_beside_the_embeddings(plain):
    model, rows = plain("Basic", mlp_hidden_size=[6], basic_history="mean", history_length=3)
    lengths = [int(rows([n])["history/length"][0]) for n in range(60)]
    index = [lengths.index(length) for length in (0, 2, 3)]
    batch = rows(index)
    with torch.no_grad():
        logits = model(batch)
        fields, x_bnd = model.concat_embed_input_fields(batch), model.history(batch)[0]
    for row, length in enumerate((0, 2, 3)):
        steps = x_bnd[row, :length].tolist() or [[0.0] * x_bnd.shape[2]]
        mean = [sum(step[k] for step in steps) / len(steps) for k in range(x_bnd.shape[2])]
        values = [*fields[row].flatten().tolist(), *mean]
        (expected,) = naive_mlp(linear_layers(model.mlp), values)
        assert abs(expected - logits[row].item()) < 1e-12
