"""Scores of triples: values and gradients by hand are those of the plain equations."""

import pytest
import torch
from torch import nn

from recbole_cold.model._triple_scores import (
    dot,
    identification_by_item,
    plain_scores,
    scores,
    scores_and_size,
    scores_through,
)
from recbole_cold.model.aldi import identification

SIZES = [(5, 9, 30, 4), (40, 6, 17, 1), (1, 2, 1, 7), (8, 8, 200, 3)]  # left, right, triples, e


def drawn(rng64, left, right, triples, size):
    """Both tables, and places of which many are the same: row 0 of the right side has none."""
    torch.manual_seed(triples)
    at = torch.randint(left, (triples,))
    at_i, at_j = (torch.randint(1, right, (triples,)) for _ in range(2))
    tables = rng64(left, size).requires_grad_(), rng64(right, size).requires_grad_()
    return tables, (at, at_i, at_j)


def assert_same(out, expected):
    for left, right in zip(out, expected, strict=True):
        assert left.shape == right.shape
        assert torch.allclose(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
class TestAgainstPlainEquations:
    def test_scores_and_size(self, rng64, sizes):
        """Sums of a row that many triples have; each part by itself, and all together."""
        tables, places = drawn(rng64, *sizes)
        out, expected = scores_and_size(*tables, *places), plain_scores(*tables, *places)
        assert_same(out, expected)
        weights = [rng64(part.numel()).view(part.shape) for part in expected]
        for own in ((0,), (1,), (2,), (0, 1, 2)):
            gradients = [
                torch.autograd.grad(
                    sum((parts[k] * weights[k]).sum() for k in own), tables, retain_graph=True
                )
                for parts in (out, expected)
            ]
            assert_same(*gradients)
            assert any(gradient.any() for gradient in gradients[0])

    @pytest.mark.parametrize("moving", [(0,), (1,), (0, 1)])
    def test_scores_where_one_side_is_given(self, rng64, sizes, moving):
        tables, places = drawn(rng64, *sizes)
        tables = [t if k in moving else t.detach() for k, t in enumerate(tables)]
        out, expected = scores(*tables, *places), plain_scores(*tables, *places)[:2]
        assert_same(out, expected)
        wanted = [tables[k] for k in moving]
        weights = [rng64(*part.shape) for part in expected]
        assert_same(
            *(
                torch.autograd.grad(
                    sum((p * w).sum() for p, w in zip(parts, weights, strict=True)), wanted
                )
                for parts in (out, expected)
            )
        )

    def test_through_a_layer_on_either_side(self, rng64, sizes):
        """Whichever side the layer multiplies: values, and gradients of its numbers, too."""
        plain = drawn(rng64, *sizes)
        layer = nn.Linear(sizes[3], sizes[3]).double()
        turned = drawn(rng64, sizes[1], sizes[0] + 1, *sizes[2:])  # more left rows than right ones
        for (left, right), (at, at_i, at_j) in (plain, turned):
            moved = [left, right, layer.weight, layer.bias]
            out = scores_through(layer, left, right, at, at_i, at_j)
            seen = layer(left)[at]
            expected = dot(seen, right[at_i]), dot(seen, right[at_j])
            assert_same(out, expected)
            weights = rng64(2, len(at))
            assert_same(
                *(
                    torch.autograd.grad((torch.stack(parts) * weights).sum(), moved)
                    for parts in (out, expected)
                )
            )

    def test_identification_by_item(self, rng64, sizes):
        (_, rows), (_, at_i, at_j) = drawn(rng64, *sizes)
        out = identification_by_item(rows, at_i, at_j)
        expected = identification(rows[at_i], rows[at_j])
        weight = rng64(len(at_i))
        assert_same([out], [expected])
        assert_same(*(torch.autograd.grad((part * weight).sum(), rows) for part in (out, expected)))


def test_no_pair_has_no_identification(rng64):
    rows, none = rng64(3, 2).requires_grad_(), torch.zeros(0, dtype=torch.long)
    out = identification_by_item(rows, none, none)
    assert out.shape == (0,)
    (gradient,) = torch.autograd.grad(out.sum(), rows)
    assert not gradient.any()
