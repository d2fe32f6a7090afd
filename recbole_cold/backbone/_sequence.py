"""What click models share that read histories: elements from the model's own tables, and masks.

A history is a row's user's earlier items (``history_side: user``) or its item's earlier users; see
``data/histories.py``. An element is the concatenation of its fields' vectors, ID first or not as
the model orders them, and the target is the same of the row itself. The vector that a cold-start
method gives replaces the target's ID; elements are read from the tables past the seam's hooks.
Shape letters: b rows of a batch, n longest history of the batch, f fields, d embedding size, e
fields of an element, D = e * d its width.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from recbole.utils import FeatureSource
from torch import Tensor

from recbole_cold.backbone._base import ClickModel, embedded_fields
from recbole_cold.backbone._shortcuts import pooled
from recbole_cold.data.histories import LENGTH, PREFIX
from recbole_cold.errors import UserError
from recbole_cold.keys import LAYERS, Key

# What a history of a side consists of: items of a user, users of an item.
ELEMENTS = {
    "user": [FeatureSource.ITEM_ID, FeatureSource.ITEM],
    "item": [FeatureSource.USER_ID, FeatureSource.USER],
}

ATTENTION = Key("attention_hidden_size", LAYERS)


def is_there(length_b: Tensor, width: int) -> Tensor:
    """Which places of left-aligned histories are rows: bool [b, width]."""
    return torch.arange(width, device=length_b.device) < length_b[:, None]


def last_state(state_bnh: Tensor, length_b: Tensor) -> Tensor:
    """The state after the last row of each history [b, h]; zero where a history is empty.

    A recurrent network reads padding after the last row, so states up to there know nothing of it.
    """
    last_b = (length_b - 1).clamp(min=0)
    state_bh = state_bnh[torch.arange(length_b.shape[0], device=length_b.device), last_b]
    return state_bh * (length_b > 0)[:, None]


def mean_of(x_bnd: Tensor, length_b: Tensor) -> Tensor:
    """The mean of each history's elements [b, D], padding being zero; zero for an empty one."""
    return x_bnd.sum(dim=1) / length_b.clamp(min=1)[:, None]


def compared(x_bnd: Tensor, q_bd: Tensor) -> Tensor:
    """``[x; q; x - q; x * q]`` of every element x and the row's target q: [b, n, 4 D]."""
    q_bnd = q_bd[:, None].expand_as(x_bnd)
    return torch.cat([x_bnd, q_bnd, x_bnd - q_bnd, x_bnd * q_bnd], dim=-1)


class SequenceModel(ClickModel):
    """A click model that reads histories; a subclass adds its layers and its ``forward``.

    Attributes:
        element_fields: the fields of an element, in the order of the model's embeddings.
        once_per_batch: functions of an interaction that know nothing of the target's vector; a
            frozen backbone calls each once per batch.

    Raises:
        UserError: nobody makes histories: RecBole's own runner.
    """

    reads_histories: ClassVar[bool] = True
    once_per_batch: ClassVar[tuple[str, ...]] = ("history",)

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.element_fields: list[str] = []
        self.history_dropout = 0.0
        if not self.needs_histories(config):
            return
        side = config["history_side"]
        if side not in ELEMENTS:
            raise UserError(
                f"{type(self).__name__} reads the history of each row, which RecBole's own runner "
                f"does not make; use recbole-cold --backbone={type(self).__name__}"
            )
        self.history_dropout = config["history_dropout"]
        known, own = embedded_fields(self), dataset.fields(source=ELEMENTS[side])
        self.element_fields = [field for field in known if field in own]
        self._places = [known.index(field) for field in self.element_fields]
        self.element_width = len(self.element_fields) * self.embedding_size

    @classmethod
    def needs_histories(cls, config: Any) -> bool:
        """Whether the model reads histories with the keys of ``config``."""
        return cls.reads_histories

    @property
    def history_fields(self) -> list[str]:
        """The fields of an interaction that ``history`` reads."""
        return [LENGTH, *(f"{PREFIX}{field}" for field in self.element_fields)]

    def target(self, fields_bfd: Tensor) -> Tensor:
        """The row's own item (its own user) [b, D], of what ``concat_embed_input_fields`` gave."""
        return fields_bfd[:, self._places].flatten(1)

    def history(self, interaction) -> tuple[Tensor, Tensor]:
        """The elements [b, n, D] of the rows' histories, zero at padding, and their lengths [b].

        n is the length of the longest in the batch, 1 at least.
        """
        length_b = interaction[LENGTH]
        n = max(1, int(length_b.max()))
        parts = [
            *self._sequences(interaction, n),
            *self._tokens(interaction, n),
            *self._numbers(interaction, n),
        ]
        x_bnd = torch.cat(parts, dim=2).flatten(2)
        return x_bnd * is_there(length_b, n)[..., None], length_b

    def _named(self, names: Sequence[str]) -> list[str]:
        return [field for field in names if field in self.element_fields]

    def _sequences(self, interaction, n: int) -> list[Tensor]:
        """Pooled token sequences and content vectors, as the model pools a row's own: [b, n, 1, d]
        each."""
        found = []
        for field in self._named(self.token_seq_field_names):
            code_bns = interaction[PREFIX + field][:, :n]
            place = self.token_seq_field_names.index(field)
            vector = pooled(self, place, code_bns.flatten(0, 1))
            found.append(vector.view(*code_bns.shape[:2], 1, -1))
        return found

    def _tokens(self, interaction, n: int) -> list[Tensor]:
        fields = self._named(self.token_field_names)
        if not fields:
            return []
        code_bne = torch.stack([interaction[PREFIX + field][:, :n] for field in fields], dim=-1)
        offsets = [
            int(self.token_field_offsets[self.token_field_names.index(field)]) for field in fields
        ]
        # The table inside RecBole's module: the seam's hook, which puts the given vector into the
        # slot of the ID, is on the module around it.
        return [self.token_embedding_table.embedding(code_bne + code_bne.new_tensor(offsets))]

    def _numbers(self, interaction, n: int) -> list[Tensor]:
        """A number times its field's only vector, as RecBole's FLEmbedding has it."""
        fields = self._named(self.float_field_names)
        if not fields:
            return []
        value_bne = torch.stack([interaction[PREFIX + field][:, :n, 0] for field in fields], dim=-1)
        rows = [
            int(self.float_field_offsets[self.float_field_names.index(field)]) + 1
            for field in fields
        ]
        table = self.float_embedding_table.embedding
        vector_ed = table(torch.tensor(rows, device=value_bne.device))
        return [value_bne[..., None] * vector_ed]

    def kept(self, each_b: Tensor) -> Tensor:
        """1 for a history that is read, 0 for one that ``history_dropout`` hides: [b, 1].

        Drawn as dropout is, in training mode only. Every summary of an empty history is zero, so a
        summary times this is that of a hidden one.

        Args:
            each_b: anything that has a row per history.
        """
        kept_b1 = torch.ones(each_b.shape[0], 1, device=each_b.device)
        if self.training and self.history_dropout:
            kept_b1 = (torch.rand_like(kept_b1) >= self.history_dropout).to(kept_b1.dtype)
        return kept_b1
