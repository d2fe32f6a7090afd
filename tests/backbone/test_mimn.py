"""MIMN: the memory restated row by row and slot by slot, and what each part of it promises."""

import math

import pytest
import torch
from test_basic import linear_layers

from recbole_cold.backbone.mimn import address, spread, unevenness, written

KEYS = {
    "mlp_hidden_size": [6], "attention_hidden_size": [5], "mimn_slots": 3, "history_length": 3,
    "history": "all",
}  # fmt: skip


def softplus(x):
    return math.log1p(math.exp(x))


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def shares(values):
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def naive_spread(weights, shift, power):
    m = len(weights)
    moved = [sum(shift[k + 1] * weights[(j - k) % m] for k in (-1, 0, 1)) for j in range(m)]
    raised = [value**power for value in moved]
    return [value / sum(raised) for value in raised]


class Naive:
    """One history: the memory as lists of vectors."""

    def __init__(self, model):
        m, size = model.slot_names.shape
        self.model, self.m, self.size = model, m, size
        self.c, self.read = torch.zeros(size).double(), torch.tanh(model.first_read)
        self.slots = [model.first_slots[j] for j in range(m)]
        self.sums = [torch.zeros(size).double() for _ in range(m)]
        self.channels = [torch.zeros(size).double() for _ in range(m)]
        self.usage = [0.0] * m

    def weights(self, key, beta):
        key, b = torch.tanh(key), 2 * (softplus(float(beta)) + 1)
        return shares([
            b * (cosine(key, torch.tanh(self.model.slot_names[j])) + cosine(key, self.slots[j])) / 2
            for j in range(self.m)
        ])  # fmt: skip

    def step(self, x):
        model, d = self.model, self.size
        self.c = model.controller(torch.cat([x, self.read])[None], self.c[None])[0]
        seen = [self.c]
        if model.utilization:
            seen.append(torch.tensor(self.usage).double() / 400)
        p = model.heads(torch.cat(seen)).clamp(-20, 20)
        reading, writing = self.weights(p[:d], p[d]), self.weights(p[d + 1 : 2 * d + 1],
                                                                   p[2 * d + 1])  # fmt: skip
        erase, add = torch.sigmoid(p[2 * d + 2 : 3 * d + 2]), torch.tanh(p[3 * d + 2 : 4 * d + 2])
        if model.utilization:
            shift = shares(p[4 * d + 2 : 4 * d + 5].tolist())
            power = 4 * (softplus(float(p[4 * d + 5])) + 1)
            writing = naive_spread(writing, shift, power)
            again = naive_spread(writing, shift, power)
            self.usage = [a + b for a, b in zip(self.usage, again, strict=True)]
        if model.induction:
            j = reading.index(max(reading))
            inputs = torch.cat([x, self.slots[j]])[None]
            self.channels[j] = model.channel(inputs, self.channels[j][None])[0]
        self.read = sum(w * slot for w, slot in zip(reading, self.slots, strict=True))
        self.slots = [slot * (1 - w * erase) + w * add
                      for w, slot in zip(writing, self.slots, strict=True)]  # fmt: skip
        self.sums = [s + w * add for w, s in zip(writing, self.sums, strict=True)]
        return model.output(torch.cat([self.c, self.read])).clamp(-20, 20)


def found(plain, **keys):
    """The model, with parameters that are large enough to tell, and a batch of lengths 0 to 3."""
    model, rows = plain("MIMN", **{**KEYS, **keys})
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
    lengths = [int(rows([n])["history/length"][0]) for n in range(80)]
    return model, rows([lengths.index(length) for length in range(4)])


@pytest.mark.parametrize("induction", [True, False])
@pytest.mark.parametrize("utilization", [0.5, 0.0])
def test_the_logit_is_an_mlp_of_what_the_memory_says(plain, induction, utilization):
    keys = {"mimn_induction": induction, "mimn_utilization": utilization}
    model, batch = found(plain, **keys)
    with torch.no_grad():
        logits, whole = model(batch), model.calculate_loss(batch)
        fields, x_bnd = model.concat_embed_input_fields(batch), model.history(batch)[0]
        usages = []
        for row in range(4):
            memory, q = Naive(model), model.target(fields)[row]
            for x in x_bnd[row, :row]:
                memory.step(x)
            usages.append(memory.usage)
            parts = [fields[row].flatten(), x_bnd[row, :row].sum(dim=0)]
            channels, sums = list(memory.channels), sum(memory.sums) / 3
            parts.append(memory.step(q))
            if induction:
                scores = [float(model.attention(torch.cat([s, q, s - q, s * q]))) for s in channels]
                parts.append(sum(w * s for w, s in zip(shares(scores), channels, strict=True)))
            parts.append(q * sums)
            assert abs(model.mlp(torch.cat(parts)[None]).item() - logits[row].item()) < 1e-10
    click = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["label"])
    spread_out = sum((u - sum(us) / 3) ** 2 for us in usages for u in us) / 12
    assert abs(whole.item() - click.item() - utilization * spread_out) < 1e-10
    assert (spread_out > 0.01) == bool(utilization)


def test_weights_of_slots_are_shares(rng64):
    weight_bm = address(rng64(5, 4), rng64(5), rng64(3, 4), rng64(5, 3, 4))
    assert torch.allclose(weight_bm.sum(dim=1), torch.ones(5).double())
    for power in (0.5, 84.0):  # a plain power of even shares would be no number
        for shares_bm in (weight_bm, torch.full((5, 5), 0.2)):
            spread_bm = spread(shares_bm, rng64(5, 3).softmax(dim=1).to(shares_bm), torch.full(
                (5,), power).to(shares_bm))  # fmt: skip
            assert torch.allclose(spread_bm.sum(dim=1), torch.ones(5).to(shares_bm))
    stay = torch.tensor([[0.0, 1.0, 0.0]] * 5).double()
    assert torch.allclose(spread(weight_bm, stay, torch.ones(5).double()), weight_bm)


def test_nothing_erased_and_nothing_added_leaves_the_memory(rng64):
    slot_bmd, none_bd = rng64(2, 3, 4), torch.zeros(2, 4).double()
    weight_bm = rng64(2, 3).softmax(dim=1)
    assert torch.equal(written(slot_bmd, weight_bm, none_bd, none_bd), slot_bmd)
    whole = torch.tensor([[0.0, 1.0, 0.0]] * 2).double()
    gone = written(slot_bmd, whole, none_bd + 1, none_bd + 7)
    assert torch.equal(gone[:, 0], slot_bmd[:, 0]) and bool((gone[:, 1] == 7).all())


def test_a_step_moves_the_state_of_one_slot(plain):
    model, batch = found(plain)
    with torch.no_grad():
        x_bnd, memory = model.history(batch)[0], model.empty(4)
        for t in range(3):
            after = model.step(x_bnd[:, t], memory)[0]
            moved_bm = (after.channels != memory.channels).any(dim=2)
            assert torch.equal(moved_bm.sum(dim=1), torch.ones(4).long())
            memory = after


def test_even_use_costs_nothing():
    assert unevenness(torch.full((4, 3), 2.5)) == 0.0
    assert unevenness(torch.tensor([[1.0, 1.0], [0.0, 2.0]])) == 0.5


def test_default_sizes(plain):
    model = plain("MIMN")[0]
    assert [layer.out_features for layer in linear_layers(model.mlp)] == [200, 80, 1]
    assert model.slot_names.shape[0] == 4
