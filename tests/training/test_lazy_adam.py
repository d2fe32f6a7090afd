"""Lazy Adam: torch's SparseAdam, restated row by row; the L2 term; what does not move."""

import math

import pytest
import torch

from recbole_cold.training.lazy_adam import LazyAdam

RATE, BETAS, EPS = 0.05, (0.8, 0.95), 1e-8


def gradients(twice, width=3, steps=6, rows=12, dtype=torch.float32):
    """Sparse gradients of a table: five look-ups a step; ``twice``: rows come more than once."""
    draw = torch.Generator().manual_seed(4)
    for step in range(steps):
        code = torch.randperm(rows // 2, generator=draw)[:5] + step % 3
        if twice:
            code[3:] = code[:2]
        value = torch.randn(5, width, generator=draw, dtype=torch.float64).to(dtype)
        yield torch.sparse_coo_tensor(code[None], value, (rows, width), check_invariants=False)


def start(width=3, rows=12, dtype=torch.float32):
    draw = torch.Generator().manual_seed(9)
    table = torch.randn(rows, width, generator=draw, dtype=torch.float64)
    return torch.nn.Parameter(table.to(dtype))


def after(optimizer, table, found):
    """The table after steps with these gradients."""
    for gradient in found:
        table.grad = gradient
        optimizer.step()
    return table.detach().clone()


@pytest.mark.parametrize("width", [1, 3])
def test_the_numbers_of_sparse_adam(width):
    """To the last bit where no row is looked up twice in a step."""
    tables = []
    for kind in (torch.optim.SparseAdam, LazyAdam):
        table = start(width)
        optimizer = kind([table], lr=RATE, betas=BETAS, eps=EPS)
        tables.append(after(optimizer, table, gradients(False, width)))
    assert torch.equal(*tables) and not torch.equal(tables[0], start(width))


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_row_by_row(decay):
    """One number at a time: look-ups of a row are summed, and a step counts for all rows."""
    table, rows = start(dtype=torch.float64), start(dtype=torch.float64).tolist()
    moments = {}
    for step, gradient in enumerate(gradients(True, dtype=torch.float64), start=1):
        summed = {}
        for code, value in zip(
            gradient._indices()[0].tolist(), gradient._values().tolist(), strict=True
        ):
            before = summed.get(code, [0.0] * 3)
            summed[code] = [a + b for a, b in zip(before, value, strict=True)]
        for code, slope in summed.items():
            for k in range(3):
                g = slope[k] + decay * rows[code][k]
                m, v = moments.get((code, k), (0.0, 0.0))
                m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g * g
                moments[code, k] = m, v
                root = math.sqrt(1 - BETAS[1] ** step)
                move = m / (1 - BETAS[0] ** step) * root / (math.sqrt(v) + EPS)
                rows[code][k] -= RATE * move
    optimizer = LazyAdam([table], lr=RATE, betas=BETAS, eps=EPS, weight_decay=decay)
    found = after(optimizer, table, gradients(True, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(rows, dtype=torch.float64))


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_a_row_without_a_gradient_stays(decay):
    """Whatever its moments are, and with an L2 term: bit for bit."""
    table = start()
    optimizer = LazyAdam([table], lr=RATE, weight_decay=decay)
    for gradient in gradients(True):
        before = table.detach().clone()
        after(optimizer, table, [gradient])
        moved = (table.detach() != before).any(dim=1).nonzero()[:, 0]
        assert moved.tolist() == gradient._indices()[0].unique().tolist()
    table.grad = None
    before = table.detach().clone()
    optimizer.step()
    assert torch.equal(table, before)


def test_a_kept_state_goes_on():
    """Half of the steps, the state into a new optimizer, the other half: as without a break."""
    whole = start()
    expected = after(LazyAdam([whole], lr=RATE), whole, gradients(True))
    table, found = start(), list(gradients(True))
    first = LazyAdam([table], lr=RATE)
    after(first, table, found[:3])
    second = LazyAdam([table], lr=RATE)
    second.load_state_dict(first.state_dict())
    assert torch.equal(after(second, table, found[3:]), expected)
