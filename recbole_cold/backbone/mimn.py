"""MIMN: a memory of a few slots that a history is read into, row by row, of fixed size.

Source: Pi et al., "Practice on Long Sequential User Behavior Modeling for Click-Through Rate
Prediction", KDD 2019: a neural Turing machine, a regulariser of how evenly its slots are used, and
a GRU per slot (memory induction). Left out: the auxiliary loss on drawn negatives, and the gate of
a head, which the published code computes and does not use.
Shape letters as in ``_sequence.py``; m slots, h width of a state (h = D), p parameters of a head.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._layers import mlp
from recbole_cold.backbone._sequence import (
    ATTENTION,
    SequenceModel,
    compared,
    is_there,
)
from recbole_cold.keys import DROPOUT, HIDDEN, WEIGHT, Key
from recbole_cold.kinds import flag, whole

LIMIT = 20.0  # of the heads' numbers and of the output, as in the published code
USED = 400.0  # steps by which the usage that the heads see is divided, as there


class Memory(NamedTuple):
    """The state after some rows of a history.

    Attributes:
        controller: of its GRU [b, h].
        read: the vector read last [b, D].
        slots: the memory [b, m, D].
        sums: of what was added to each slot [b, m, D].
        usage: how often each slot was written to [b, m].
        channels: the states of the slots' GRU [b, m, D].
    """

    controller: Tensor
    read: Tensor
    slots: Tensor
    sums: Tensor
    usage: Tensor
    channels: Tensor

    def where(self, there_b: Tensor, other: "Memory") -> "Memory":
        """This state where ``there_b``, another one elsewhere."""
        pairs = zip(self, other, strict=True)
        return Memory(
            *(torch.where(there_b.view(-1, *(1 for _ in new.shape[1:])), new, old)
              for new, old in pairs)
        )  # fmt: skip


def address(key_bd: Tensor, beta_b: Tensor, name_md: Tensor, slot_bmd: Tensor) -> Tensor:
    """``softmax_j(b (cos(k, name_j) + cos(k, M_j)) / 2)``, k = tanh(key), b = 2 (softplus(beta) +
    1): the weight of each slot [b, m], which are shares."""
    key_bmd = torch.tanh(key_bd)[:, None].expand_as(slot_bmd)
    near_bm = F.cosine_similarity(key_bmd, name_md.expand_as(slot_bmd), dim=-1)
    near_bm = 0.5 * (near_bm + F.cosine_similarity(key_bmd, slot_bmd, dim=-1))
    return (2.0 * (F.softplus(beta_b) + 1.0)[:, None] * near_bm).softmax(dim=1)


def spread(weight_bm: Tensor, shift_b3: Tensor, power_b: Tensor) -> Tensor:
    """Shares moved around the circle of slots by -1, 0, 1 with chances ``shift_b3``, then raised to
    a power and made shares again: [b, m]."""
    moved_bm = sum(
        shift_b3[:, place, None] * weight_bm.roll(step, dims=1)
        for place, step in enumerate((-1, 0, 1))
    )
    # By logarithms: a high power of every share may be too small a number. Shares of 0 stay far
    # below any that counts.
    return (power_b[:, None] * moved_bm.clamp(min=1e-16).log()).softmax(dim=1)


def written(slot_bmd: Tensor, weight_bm: Tensor, erase_bd: Tensor, add_bd: Tensor) -> Tensor:
    """``M * (1 - w erase) + w add``, the outer products of slots and coordinates."""
    weight_bm1 = weight_bm[..., None]
    return slot_bmd * (1.0 - weight_bm1 * erase_bd[:, None]) + weight_bm1 * add_bd[:, None]


def unevenness(usage_bm: Tensor) -> Tensor:
    """Mean square of how far each slot's usage is from its row's mean; 0 if all are used alike."""
    return (usage_bm - usage_bm.mean(dim=1, keepdim=True)).square().mean()


class MIMN(SequenceModel):
    """``MLP([E; sum_t x_t; o; p; q * mean_j S_j])``: all fields E, the memory's answer o to the
    target q, the slots' GRU states p pooled by q, and what was added to the slots, S.

    The model's own loss has ``mimn_utilization`` times ``unevenness`` beside the click loss.
    """

    paper = "Pi et al., KDD 2019"
    year = 2019
    once_per_batch = ("memory",)
    keys: ClassVar = (
        HIDDEN,
        DROPOUT,
        ATTENTION,
        Key("mimn_slots", whole(2, 1000)),
        Key("mimn_induction", flag()),
        Key("mimn_utilization", WEIGHT),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size, m = self.element_width, config["mimn_slots"]
        self.utilization, self.induction = config["mimn_utilization"], config["mimn_induction"]
        self.controller = nn.GRUCell(2 * size, size)  # the GRUs keep torch's initialisation
        # A key and a strength for each head, what is erased and added, and how writing spreads.
        self._parts = [size, 1, size, 1, size, size, *([3, 1] if self.utilization else [])]
        seen = size + (m if self.utilization else 0)
        self.heads = nn.Linear(seen, sum(self._parts))
        self.output = nn.Linear(2 * size, size)
        width = self.num_feature_field * self.embedding_size + 3 * size
        if self.induction:
            self.channel = nn.GRUCell(2 * size, size)
            self.attention = mlp([4 * size, *config[ATTENTION.name], 1], "sigmoid")
            width += size
        layers: list[nn.Module] = [nn.BatchNorm1d(width)]
        for out in config["mlp_hidden_size"]:
            layers += [nn.Dropout(config["dropout_prob"]), nn.Linear(width, out), nn.PReLU()]
            width = out
        self.mlp = nn.Sequential(*layers, nn.Linear(width, 1))
        self.apply(self._init_weights)
        self.first_read = nn.Parameter(torch.zeros(size))
        self.slot_names = nn.Parameter(0.5 * torch.randn(m, size))
        self.register_buffer("first_slots", torch.tanh(1e-5 * torch.randn(m, size)))

    def empty(self, b: int) -> Memory:
        """The memory of ``b`` histories before their first rows."""
        m, size = self.slot_names.shape
        slots_bmd = self.first_slots.expand(b, m, size)
        none_bmd = torch.zeros_like(slots_bmd)
        read_bd = torch.tanh(self.first_read).expand(b, size)
        return Memory(none_bmd[:, 0], read_bd, slots_bmd, none_bmd, none_bmd[..., 0], none_bmd)

    def step(self, x_bd: Tensor, old: Memory) -> tuple[Memory, Tensor]:
        """The memory after one more element [b, D], and the output o [b, h] of that step."""
        controller = self.controller(torch.cat([x_bd, old.read], dim=1), old.controller)
        seen = [controller, *([old.usage.detach() / USED] if self.utilization else [])]
        numbers = self.heads(torch.cat(seen, dim=1)).clamp(-LIMIT, LIMIT).split(self._parts, dim=1)
        read_key, read_beta, write_key, write_beta, erase, add, *more = numbers
        names = torch.tanh(self.slot_names)
        read_bm = address(read_key, read_beta[:, 0], names, old.slots)
        write_bm = address(write_key, write_beta[:, 0], names, old.slots)
        usage = old.usage
        if self.utilization:
            shift_b3 = more[0].softmax(dim=1)
            power_b = 4.0 * (F.softplus(more[1][:, 0]) + 1.0)
            write_bm = spread(write_bm, shift_b3, power_b)
            # Once more, so that the regulariser moves the spreading alone, as in published code.
            usage = usage + spread(write_bm.detach(), shift_b3, power_b)
        added_bd = torch.tanh(add)
        read_bd = torch.einsum("bm,bmd->bd", read_bm, old.slots)
        new = Memory(
            controller,
            read_bd,
            written(old.slots, write_bm, torch.sigmoid(erase), added_bd),
            old.sums + write_bm.detach()[..., None] * added_bd[:, None],
            usage,
            self._one_channel(x_bd, read_bm, old) if self.induction else old.channels,
        )
        output_bh = self.output(torch.cat([controller, read_bd], dim=1)).clamp(-LIMIT, LIMIT)
        return new, output_bh

    def _one_channel(self, x_bd: Tensor, read_bm: Tensor, old: Memory) -> Tensor:
        """The slots' states with that of the most read slot moved by the slots' GRU."""
        rows, slot_b = torch.arange(x_bd.shape[0], device=x_bd.device), read_bm.argmax(dim=1)
        slot_bd = old.slots.detach()[rows, slot_b]
        state_bd = self.channel(torch.cat([x_bd, slot_bd], dim=1), old.channels[rows, slot_b])
        is_it = F.one_hot(slot_b, read_bm.shape[1])[..., None].bool()
        return torch.where(is_it, state_bd[:, None], old.channels)

    def memory(self, interaction) -> tuple[Memory, Tensor]:
        """The memory after each history, and the sum of its elements [b, D]."""
        x_bnd, length_b = self.history(interaction)
        memory = self.empty(x_bnd.shape[0])
        there_bn = is_there(length_b, x_bnd.shape[1])
        for x_bd, there_b in zip(x_bnd.unbind(dim=1), there_bn.unbind(dim=1), strict=True):
            memory = self.step(x_bd, memory)[0].where(there_b, memory)
        return memory, x_bnd.sum(dim=1)

    def answer(self, interaction, memory: Memory, sum_bd: Tensor) -> Tensor:
        """Logits [b] of rows with the memory of their histories."""
        fields_bfd = self.concat_embed_input_fields(interaction)
        q_bd = self.target(fields_bfd)
        kept_b1 = self.kept(sum_bd)
        memory = memory.where(kept_b1[:, 0] > 0, self.empty(sum_bd.shape[0]))
        output_bh = self.step(q_bd, memory)[1]
        parts = [fields_bfd.flatten(1), sum_bd * kept_b1, output_bh]
        if self.induction:
            weight_bm = self.attention(compared(memory.channels, q_bd)).squeeze(-1).softmax(dim=1)
            parts.append(torch.einsum("bm,bmd->bd", weight_bm, memory.channels))
        parts.append(q_bd * memory.sums.mean(dim=1))
        return self.mlp(torch.cat(parts, dim=1)).squeeze(-1)

    def forward(self, interaction) -> Tensor:
        return self.answer(interaction, *self.memory(interaction))

    def calculate_loss(self, interaction) -> Tensor:
        """The click loss of the rows and, weighted, how unevenly their slots are used."""
        memory, sum_bd = self.memory(interaction)
        loss = self.loss(self.answer(interaction, memory, sum_bd), interaction[self.LABEL])
        if not self.utilization:
            return loss
        return loss + self.utilization * unevenness(memory.usage)
