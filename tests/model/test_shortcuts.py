"""Table look-ups with a cheaper gradient are torch's embedding, bit for bit."""

import pytest
import torch
from recbole.model.context_aware_recommender.pnn import OuterProductLayer
from torch import nn
from torch.nn import functional as F

from recbole_cold.backbone._shortcuts import Lookup, OuterProduct, lookup, with_shortcuts


@pytest.mark.parametrize("shape", [(50,), (50, 3), (0,), (4, 0)])
@pytest.mark.parametrize("width", [1, 5])
def test_rows_and_gradient_are_those_of_embedding(shape, width):
    """Codes repeat, so that the order of summation would show in float32."""
    code = torch.randint(7, shape, generator=torch.Generator().manual_seed(1))
    results = []
    for look in (lookup, lambda table, code: F.embedding(code, table)):
        torch.manual_seed(2)
        table = torch.randn(9, width, requires_grad=True)
        rows = look(table, code)
        (rows * torch.randn_like(rows)).sum().backward()
        results.append((rows.detach(), table.grad))
    (rows, gradient), (expected_rows, expected_gradient) = results
    assert torch.equal(rows, expected_rows)
    assert torch.equal(gradient, expected_gradient)
    assert rows.shape == (*shape, width)


def test_gradients_of_gradients(rng64):
    code = torch.tensor([0, 2, 2])
    assert torch.autograd.gradgradcheck(
        lambda table: lookup(table, code) ** 3, rng64(3, 2).requires_grad_()
    )


def test_plain_tables_are_exchanged_in_place_and_keep_their_weights():
    """Padding, norms and scaled gradients are left to torch."""
    tables = [nn.Embedding(5, 2), nn.Embedding(5, 2, padding_idx=0), nn.Embedding(5, 2, max_norm=1)]
    model = nn.Sequential(*tables, nn.Embedding(5, 2, scale_grad_by_freq=True), nn.Linear(2, 2))
    weights = list(model.parameters())
    assert with_shortcuts(model) is model
    kinds = [type(module) for module in model]
    assert kinds == [Lookup, nn.Embedding, nn.Embedding, nn.Embedding, nn.Linear]
    assert all(a is b for a, b in zip(model.parameters(), weights, strict=True))


def test_a_table_with_sparse_gradients_keeps_them():
    table = with_shortcuts(nn.Sequential(nn.Embedding(5, 2)))[0]
    table.sparse = True
    table(torch.tensor([1, 1])).sum().backward()
    assert table.weight.grad.is_sparse


@pytest.mark.parametrize("fields", [2, 5])
def test_outer_products_are_recboles_with_gradients(fields):
    """In double precision, where the order of summation is below the tolerance."""
    torch.manual_seed(3)
    layer = OuterProductLayer(fields, 4, device="cpu").double()
    vectors = torch.randn(6, fields, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, fields * (fields - 1) // 2, dtype=torch.float64)

    def outcome():
        product = layer(vectors)
        gradients = torch.autograd.grad((product * weights).sum(), [vectors, layer.kernel])
        return [product, *gradients]

    expected = outcome()
    kernel = layer.kernel
    assert type(with_shortcuts(nn.Sequential(layer))[0]) is OuterProduct and layer.kernel is kernel
    for value, wanted in zip(outcome(), expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
