"""Own side vectors: cheaper pooling is torch's; a batch used again reads its features once."""

import pytest
import torch
from helpers import batch_of, widen
from torch.nn import functional as F

from recbole_cold.model import _layers
from recbole_cold.model._layers import OwnSide

# Repeated codes, padding in the middle, nothing at all.
WORDS = torch.tensor([[1, 4, 4], [0, 0, 0], [0, 2, 0], [3, 0, 4], [4, 0, 0]])


def side_of(words=WORDS, **keys):
    torch.manual_seed(1)
    return OwnSide({"words": words}, ["words"], {"words": 5}, 3, None, **keys).double()


@pytest.mark.parametrize("few", [4, 5])
@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4], [2, 0, 2], [1], []])
def test_pooling_is_that_of_embedding_bag_with_gradients(monkeypatch, few, ids):
    """By listed codes, or, of no more than ``few`` tokens, by a product."""
    monkeypatch.setattr(_layers, "_FEW_TOKENS", few)
    side, ids = side_of(), torch.tensor(ids, dtype=torch.long)
    table = side.tables["field_words"].weight
    kind = _layers.Counted if few == 5 else _layers.Listed
    assert [type(each) for each in side.read(ids)] == [kind]
    found = side(ids)
    expected = F.embedding_bag(WORDS[ids], table, mode="mean", padding_idx=0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn(len(ids), 3).double()
    gradients = [
        torch.autograd.grad((each * weights).sum(), table)[0] for each in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_tables_with_sparse_gradients_keep_them():
    side = side_of()
    side.tables["field_words"].sparse = True
    assert torch.equal(side.read(torch.tensor([0]))[0], WORDS[:1])
    side(torch.tensor([0, 3])).sum().backward()
    assert side.tables["field_words"].weight.grad.is_sparse


def test_sums_over_padding_are_left_to_torch():
    side = side_of(pooling="sum_with_pad")
    ids = torch.tensor([0, 1])
    assert torch.equal(side.read(ids)[0], WORDS[:2])
    expected = side.tables["field_words"].weight[WORDS[:2]].sum(dim=1)
    torch.testing.assert_close(side(ids), expected)


def _parts(loss):
    return torch.stack(loss if isinstance(loss, tuple) else (loss,)).detach()


@pytest.mark.parametrize("name", ["CVAR", "AVAEW"])
def test_a_batch_used_again_is_what_a_new_one_is(build, monkeypatch, name):
    """After the module has moved, and with features read once."""
    method = build(name, double=True, **{f"{name.lower()}_noise": 0.0})
    if name == "AVAEW":
        method.real_rows = lambda size: torch.ones(size, 4).double()
    method.set_mode("frozen")
    read, seen = OwnSide.read, []
    monkeypatch.setattr(OwnSide, "read", lambda *given: seen.append(1) or read(*given))
    kept, losses = batch_of(method), []
    widen(method)
    for _ in range(3):
        with torch.no_grad():
            for parameter in method.trainable("learn"):
                parameter.mul_(0.8)
        for batch in (kept, batch_of(method)):
            found = [_parts(step.loss(batch)) for step in method.module_steps()]
            losses.append(torch.cat(found))
    for used, fresh in zip(losses[::2], losses[1::2], strict=True):
        torch.testing.assert_close(used, fresh, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(losses[0], losses[2])
    assert len(seen) == 1 + 3
