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
