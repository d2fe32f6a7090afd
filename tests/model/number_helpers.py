"""What several tests compare with: a linear layer by hand, gradients as vectors and by differences.

No equation of a method is here: its own file restates it.
"""

import torch


def dense(layer, x: list[float]) -> list[float]:
    """A linear layer, one number at a time."""
    bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b
        for row, b in zip(layer.weight.tolist(), bias, strict=True)
    ]


def gradient_of(parameters, loss):
    """As one vector, with zeros for what the loss does not read."""
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])


def central_difference(loss, flat, place, step=1e-5):
    """The derivative of ``loss()`` by one number of a parameter."""
    value, sides = flat[place].item(), []
    for moved_to in (value + step, value - step):
        flat[place] = moved_to
        sides.append(loss().item())
    flat[place] = value
    return (sides[0] - sides[1]) / (2 * step)


def central_differences(loss, parameters, step=1e-5):
    """By every number, as one vector."""
    flats = [parameter.data.view(-1) for parameter in parameters]
    numeric = [central_difference(loss, flat, n, step) for flat in flats for n in range(len(flat))]
    return torch.tensor(numeric, dtype=torch.float64)


def item_codes(method) -> slice:
    """Where items are in the table that a click model has for all its token fields."""
    names = method.backbone.model.token_field_names
    start = sum(method.dataset.num(name) for name in names[: names.index("item_id")])
    return slice(start, start + method.n_ids)


def id_gradients(method, loss):
    """By the items' ID rows, by those of the fields before them, and by the new items' own rows
    (None where the loss does not read them)."""
    weight, ids = method.backbone.model.token_embedding_table.embedding.weight, item_codes(method)
    by_table, by_rows = torch.autograd.grad(
        loss, [weight, method.new_vectors], retain_graph=True, allow_unused=True
    )
    return by_table[ids], by_table[: ids.start], by_rows
