"""Adam without torch's optimizer classes: the same numbers, without the import of a compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from recbole_cold.trainer import Adam


def parameters():
    generator = torch.Generator().manual_seed(1)
    shapes = [(7, 3), (5,), (2, 2)]
    made = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    return [*made, nn.Parameter(torch.randn(3, generator=generator).double())]


def draw_gradients(several, number):
    """One of them has none in the first steps and one none at all."""
    generator = torch.Generator().manual_seed(number)
    for position, parameter in enumerate(several):
        drawn = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        late = position == 1 and number < 3
        parameter.grad = None if late or position == 2 else drawn


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_numbers_are_those_of_torch_bit_for_bit(decay):
    ours, theirs = parameters(), parameters()
    adam = Adam(ours, 0.05, decay)
    reference = torch.optim.Adam(theirs, lr=0.05, weight_decay=decay, fused=True)
    for number in range(8):
        draw_gradients(ours, number)
        draw_gradients(theirs, number)
        adam.step()
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not torch.equal(ours[1], parameters()[1])
    assert torch.equal(ours[2], parameters()[2])


def test_it_continues_from_its_state():
    whole, stopped = parameters(), parameters()
    adam = Adam(whole, 0.05, 0.1)
    first = Adam(stopped, 0.05, 0.1)
    for number in range(4):
        for several, optimizer in ((whole, adam), (stopped, first)):
            draw_gradients(several, number)
            optimizer.step()
    later = Adam(stopped, 0.05, 0.1)
    later.load_state_dict(first.state_dict())
    for number in range(4, 8):
        for several, optimizer in ((whole, adam), (stopped, later)):
            draw_gradients(several, number)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(whole, stopped, strict=True))
    assert first.state[0]["step"] == 4 and later.state[0]["step"] == 8


@pytest.mark.slow
def test_training_does_not_import_the_compiler():
    code = (
        "import sys, torch\n"
        "from recbole_cold.trainer import Adam\n"
        "p = torch.nn.Parameter(torch.ones(2)); p.sum().backward(); Adam([p], 0.1, 0.0).step()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
