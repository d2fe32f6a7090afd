"""ALDI-MF: ALDI as it was published, two towers beside a matrix factorisation; cold phase only.

Source: Huang et al., "Aligning Distillation for Cold-start Item Recommendation", SIGIR 2023,
doi 10.1145/3539618.3591732.
Shape letters: b rows or triples, n all items, o all users, e factor size, s side information.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._beyond import mean_of
from recbole_cold.backbone._modes import evaluating
from recbole_cold.backbone._shortcuts import lookup, with_shortcuts
from recbole_cold.backbone._unseen import zero_rows
from recbole_cold.errors import UserError
from recbole_cold.keys import EPOCHS, SIZE, WEIGHT, Key
from recbole_cold.kinds import one_of
from recbole_cold.model._content import (
    ContentNet,
    mean,
    squares,
    tell_without_content,
    weights_of,
    without_content,
)
from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._method import FINE_TUNING
from recbole_cold.model._token_rows import TokenRows
from recbole_cold.model._triple_scores import (
    dot,
    identification_by_item,
    scores,
    scores_and_size,
    scores_through,
)
from recbole_cold.model.aldi import ALDI, Pairs


def pairwise_loss(score_i: Tensor, score_j: Tensor) -> Tensor:
    """``mean softplus(-(s_i - s_j))``: the clicked item above the other one (BPR)."""
    return mean(F.softplus(-(score_i - score_j)))


@dataclass(frozen=True)
class Triples:
    """A user, one of the user's items, and any old item: codes [b] each."""

    user: Tensor
    item: Tensor
    other: Tensor

    def __len__(self) -> int:
        return len(self.user)


class TripleBatches:
    """Drawn triples: a user, one of the user's items, any old item, each uniformly.

    Args:
        items: items [q] of the distinct pairs of item and user.
        users: their users [q].
        others: the items [n_old] from which the third is drawn.
        batch_size: triples of a batch; an epoch has as many triples as there are pairs.
    """

    def __init__(self, items: Tensor, users: Tensor, others: Tensor, batch_size: int) -> None:
        order = users.sort(stable=True).indices
        self.items, self.others, self.batch_size = items[order], others, batch_size
        self.users, self.counts = users.unique(return_counts=True)
        self.starts = self.counts.cumsum(0) - self.counts

    def __len__(self) -> int:
        return -(-len(self.items) // self.batch_size)

    def epoch(self, generator: Generator, epoch: int, start: int = 0) -> Iterable[Triples]:
        """Batches ``start``, ``start + 1``, ... of one epoch, in the generator's order."""
        device, size = self.items.device, len(self.items)
        # Of the whole epoch at once, so that a late start gives the same tail.
        user = torch.randint(len(self.users), (size,), generator=generator).to(device)
        share = torch.rand(size, generator=generator, dtype=torch.float64).to(device)
        other = torch.randint(len(self.others), (size,), generator=generator).to(device)
        for position in range(start, len(self)):
            part = slice(position * self.batch_size, (position + 1) * self.batch_size)
            place = user[part]
            counts = self.counts.index_select(0, place)
            own = torch.minimum((share[part] * counts).long(), counts - 1)
            item = self.items.index_select(0, self.starts.index_select(0, place) + own)
            seen = self.users.index_select(0, place)
            yield Triples(seen, item, self.others.index_select(0, other[part]))


class ALDIMF(ALDI):
    """A factorisation of the clicks teaches two towers, of content and of user factors.

    Old items are scored by the teacher, ``u . v``; new ones by the student,
    ``f_U(u) . f_I(content)``. The click model gives the content vectors and nothing else. There is
    nothing to fine-tune: warm phases repeat the cold one. Scores rank; they are no calibrated
    probabilities, so LogLoss says little.
    """

    serves: ClassVar = ("cold",)
    idle_keys: ClassVar = FINE_TUNING
    keys: ClassVar = (
        Key("aldimf_teacher", one_of("bpr", "backbone")),
        Key("aldimf_factor_size", SIZE),
        Key("aldimf_teacher_epochs", EPOCHS),
        Key("aldimf_teacher_l2", WEIGHT),
        Key("aldimf_l2", WEIGHT),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size, hidden = self.factor_size, config["aldi_hidden_size"]
        self.user_tower = ContentNet(size, hidden, size)
        for tower in (self.generator, self.user_tower):
            _initialise(tower)
        self.teacher = None
        if config["aldimf_teacher"] == "bpr":
            tables = {"user": self.n_others, "item": self.n_ids}
            self.teacher = nn.ModuleDict(
                {name: with_shortcuts(nn.Embedding(rows, size)) for name, rows in tables.items()}
            )
            for table in self.teacher.values():
                nn.init.xavier_normal_(table.weight)
            zero_rows(self.teacher["user"].weight, dataset.unseen.get(self.other_field, ()))
        old = torch.zeros(self.n_ids, dtype=torch.bool)
        old[self.old_ids.cpu()] = True
        self.register_buffer("is_old", old, persistent=False)
        self.register_buffer("is_bare", without_content(self.backbone), persistent=False)
        self.register_buffer("new_factors", torch.zeros(len(self.new_ids), size))
        self.beyond_user: Tensor | None = None  # [e] of a user beyond the table
        self.to(self.device)

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        found = super().token_rows()
        found["new_factors"] = (TokenRows(self.id_field, self.new_ids),)
        if self.teacher is not None:
            found["teacher.user.weight"] = (TokenRows(self.other_field),)
            found["teacher.item.weight"] = (TokenRows(self.id_field),)
        return found

    @property
    def factor_size(self) -> int:
        """e: the release has 200 for teacher and student alike; the backbone's rows have d."""
        if self.config["aldimf_teacher"] == "backbone":
            return self.embedding_size
        return self.config["aldimf_factor_size"]

    def make_generator(self, side: int) -> ContentNet:
        return ContentNet(side, self.config["aldi_hidden_size"], self.factor_size)

    # ---------------------------------------------------------------- teacher
    def user_factors(self) -> Tensor:
        """u of every user: [o, e]."""
        if self.teacher is None:
            return self.backbone.table_of(self.other_field)
        return self.teacher["user"].weight

    def item_factors(self) -> Tensor:
        """v of every item: [n, e]."""
        return self.backbone.id_table() if self.teacher is None else self.teacher["item"].weight

    def teacher_loss(self, triples: Triples) -> tuple[Tensor, Tensor]:
        """BPR on the triples and a penalty on the factors in them."""
        user, at = _table_at(self.teacher["user"], triples.user)
        item, place = _table_at(self.teacher["item"], torch.cat([triples.item, triples.other]))
        score_i, score_j, size = scores_and_size(user, item, at, *place.chunk(2))
        penalty = self.config["aldimf_teacher_l2"] / len(triples) * size
        return pairwise_loss(score_i, score_j), penalty

    # ---------------------------------------------------------------- student
    def student_on_triples(
        self, triples: Triples, side_ns: Tensor, weight_n: Tensor
    ) -> tuple[Tensor, ...]:
        """BPR of the student's scores, its alignment with the teacher, and the penalty."""
        # One pass over all items of the batch: one set of BatchNorm statistics.
        ids, place = torch.cat([triples.item, triples.other]).unique(return_inverse=True)
        users, seat = triples.user.unique(return_inverse=True)
        i, j = place.chunk(2)
        with torch.no_grad():  # the teacher is given
            user, real = lookup(self.user_factors(), users), lookup(self.item_factors(), ids)
            same = identification_by_item(real, i, j)
            teacher = Pairs(*scores(user, real, seat, i, j), same)
        made, tower = self.generator(lookup(side_ns, ids)), self.user_tower
        own = scores_through(tower.outside, tower.hidden(user), made, seat, i, j)
        student = Pairs(*own, identification_by_item(made, i, j))
        weights = [*weights_of(self.generator), *weights_of(self.user_tower)]
        return (
            pairwise_loss(student.score_i, student.score_j),
            *self.alignment(student, teacher, lookup(weight_n, triples.item)),
            self.config["aldimf_l2"] * squares(weights),
        )

    # ---------------------------------------------------------------- stages
    def learn_fits(self) -> list[Fit]:
        """The teacher, unless it is the backbone; then the student."""
        items, users = self.clicks()
        if len(items) == 0:
            raise UserError(
                "ALDIMF learns from clicks, and no row of an old item has one; "
                "lower threshold or use other data"
            )
        batches = TripleBatches(items, users, self.old_ids, self.config["train_batch_size"])
        rate = self.config["learning_rate"]
        side_ns, weight_n = self.side_vectors(), self.qualifications()
        towers = [*self.generator.parameters(), *self.user_tower.parameters()]
        student = Step(
            lambda triples: self.student_on_triples(triples, side_ns, weight_n),
            towers,
            rate,
            names=("clicks", "ranking", "identification", "rating", "penalty"),
        )
        fits = [Fit("learn", [student], batches, epochs=self.config["aldi_epochs"])]
        if self.teacher is not None:
            teacher = Step(
                self.teacher_loss,
                list(self.teacher.parameters()),
                rate,
                names=("clicks", "penalty"),
            )
            epochs = self.config["aldimf_teacher_epochs"]
            fits.insert(0, Fit("teacher", [teacher], batches, epochs=epochs))
        return fits

    def cold_vectors(self) -> Tensor:
        """Unused rows: a new item's score comes from ``new_factors``."""
        return torch.zeros_like(self.new_vectors)

    @torch.no_grad()
    def start_new_items(self) -> None:
        super().start_new_items()
        self.new_factors.copy_(self.content_factors(self.new_ids))
        tell_without_content(self.is_bare[self.new_ids], "the mean of old items' content")

    def warm_fits(self, index: Tensor) -> list[Fit]:
        """None: the paper has no way to learn on from a new item's clicks."""
        return []

    # ---------------------------------------------------------------- scores
    @torch.no_grad()
    def content_factors(self, ids: Tensor, is_bare: Tensor | None = None) -> Tensor:
        """f_I of the items ``ids``, the mean of old items' where there is no content: [b, e].

        Args:
            is_bare: who has none, bool [n], where features are not those of the run.
        """
        made, bare = self.generated(ids), (self.is_bare if is_bare is None else is_bare)[ids]
        return torch.where(bare[:, None], self.mean_vector(), made) if bool(bare.any()) else made

    def served_factors(self, ids: Tensor) -> Tensor:
        """v of old items, f_I of all others: [b, e]."""
        slot, old = self.new_index[ids], self.is_old[ids]
        factors = lookup(self.new_factors, slot.clamp(min=0))
        factors = torch.where(old[:, None], lookup(self.item_factors(), ids), factors)
        stray = ~old & (slot < 0)  # too rare to be old or new; the protocol never scores them
        if bool(stray.any()):
            factors[stray] = self.content_factors(ids[stray])
        return factors

    @torch.no_grad()
    def logits(self, interaction) -> Tensor:
        """``u . v`` for old items, ``f_U(u) . f_I(content)`` for all others: [b]."""
        ids, place = interaction[self.id_field].unique(return_inverse=True)
        item = lookup(self.served_factors(ids), place)
        return dot(self._user_of(interaction, self.is_old[ids][place]), item)

    def _user_of(self, interaction, old_b: Tensor) -> Tensor:
        """u where the row's item is old, f_U(u) where it is not: [b, e]."""
        users, seat = interaction[self.other_field].unique(return_inverse=True)
        if self.beyond_user is None:
            warm_user = lookup(self.user_factors(), users)
        else:
            known = lookup(self.user_factors(), users.clamp(max=self.n_others - 1))
            warm_user = torch.where(users[:, None] < self.n_others, known, self.beyond_user)
        with evaluating(self.user_tower):
            cold_user = self.user_tower(warm_user)
        return torch.where(old_b[:, None], lookup(warm_user, seat), lookup(cold_user, seat))

    # ---------------------------------------------------------------- a folder, and what is unseen
    def why_not_kept(self) -> str | None:
        return self.unlike(ALDIMF)

    def why_not_exported(self) -> str | None:
        return "it has two factors of each user, one for old and one for new items"

    @torch.no_grad()
    def kept_vectors(self, ids: Tensor) -> tuple[Tensor, None]:
        """The factors."""
        return self.served_factors(ids), None

    @torch.no_grad()
    def mean_vector(self) -> Tensor:
        """f_I, the mean of old items."""
        return self.generated(self.old_ids).mean(dim=0)

    @torch.no_grad()
    def unseen_vectors(self, names: Sequence[str]) -> Tensor:
        return self.content_factors(self.new_ids[: len(names)], without_content(self.backbone))

    @torch.no_grad()
    def read_beyond(self, trained: Mapping[str, np.ndarray], means: set[str]) -> None:
        super().read_beyond(trained, means)
        factors, field = self.user_factors().detach(), self.other_field
        self.beyond_user = mean_of(factors, trained[field]) if field in means else factors[0]

    @torch.no_grad()
    def served_logits(self, interaction, vector_bd: Tensor, *_: object) -> Tensor:
        ids = interaction[self.id_field]
        old = self.is_old[ids.clamp(max=self.n_ids - 1)] & (ids < self.n_ids)
        return dot(self._user_of(interaction, old), vector_bd)


def _table_at(table: nn.Embedding, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Rows, and where in them those of the codes are; a lazy table's gradient is its module's."""
    if table.sparse:
        return table(codes), torch.arange(len(codes), device=codes.device)
    return table.weight, codes


def _initialise(tower: ContentNet) -> None:
    """The release's start: truncated normal of deviation 0.01, zero offsets."""
    for layer in (tower.inside, tower.outside):
        nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)
        nn.init.zeros_(layer.bias)
