"""ALDI: the model of warm items teaches a model of content to score items as it does.

Source: Huang et al., "Aligning Distillation for Cold-start Item Recommendation", SIGIR 2023,
doi 10.1145/3539618.3591732, in a form for click models: teacher and student are the same frozen
backbone, with an item's own ID embedding and with one generated from its content.
Shape letters: b rows of a batch, p pairs, n all items, d embedding size, s side information.
"""

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cold.backbone._modes import evaluating
from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.device import in_float32, sums_at
from recbole_cold.keys import EPOCHS, SIZE, WEIGHT, Key
from recbole_cold.kinds import flag, number
from recbole_cold.model._content import ContentNet, mean, mean_where_bare
from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.model._triple_scores import identification_by_item


class Pairs(NamedTuple):
    """What one model says of pairs of a clicked item i and another item j."""

    score_i: Tensor  # [p]
    score_j: Tensor  # [p]
    same_i: Tensor  # [p], ``identification``


def soft_bce(logit: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy with a soft label: ``softplus(a) - q a``."""
    return F.softplus(logit) - target * logit


@in_float32
def identification(vector_i: Tensor, vector_j: Tensor) -> Tensor:
    """How much an item is like itself rather than like the others j of the batch: [p].

    ``I(b) = |v_i|^2 - mean_b' v_i . v_j(b')``; the mean goes inside the product, so nothing of
    size p x p is made.
    """
    return vector_i.square().sum(dim=-1) - vector_i @ vector_j.mean(dim=0)


def distillation(
    student: Pairs, teacher: Pairs, weight_p: Tensor, alpha: float, beta: float, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The three alignments with the teacher: ranking, identification, rating.

    The weights are the teacher's qualification; the distance of ratings has none.
    """
    order_s, order_t = student.score_i - student.score_j, teacher.score_i - teacher.score_j
    apart = (teacher.score_i - student.score_i).abs() + (teacher.score_j - student.score_j).abs()
    return (
        alpha * mean(weight_p * soft_bce(order_s, torch.sigmoid(order_t).detach())),
        beta * mean(weight_p * soft_bce(student.same_i, torch.sigmoid(teacher.same_i).detach())),
        gamma * mean(apart),
    )


def qualification(share_n: Tensor, limit: float, n_items: int, n_users: int) -> Tensor:
    """``min(tanh(a n_i), tanh M)`` with ``a = M |I| / |U|``: an average item weighs ``tanh M``."""
    return torch.tanh(limit * n_items / max(n_users, 1) * share_n).clamp(max=math.tanh(limit))


def distinct_pairs(first: Tensor, second: Tensor, n_second: int) -> tuple[Tensor, Tensor]:
    """Every pair of codes once, in the order of ``first``: two tensors [q]."""
    pair = torch.unique(first * n_second + second)
    return torch.div(pair, n_second, rounding_mode="floor"), pair % n_second


def audience_share(item_q: Tensor, user_q: Tensor, n_items: int, n_users: int) -> Tensor:
    """``n_i = sum over users u of item i of 1 / |I(u)|``, from distinct pairs: [n]."""
    own = torch.bincount(user_q, minlength=n_users).to(torch.float32)
    return sums_at(item_q, 1.0 / own[user_q], n_items)


def pair_rows(user_b: Tensor, clicked_b: Tensor, draw_p: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of each clicked row and of a row without click beside it: two tensors [p].

    The second row is one of the same user where the batch has any, else any.

    Args:
        user_b: the rows' users.
        clicked_b: which rows have a click.
        draw_p: a number in [0, 1) for each clicked row, by which its partner is drawn.
    """
    positive, negative = torch.nonzero(clicked_b)[:, 0], torch.nonzero(~clicked_b)[:, 0]
    if len(negative) == 0:
        return positive[:0], negative
    user, order = user_b[negative].sort(stable=True)
    wanted = user_b[positive]
    start = torch.searchsorted(user, wanted)
    number = torch.searchsorted(user, wanted, right=True) - start
    start = torch.where(number > 0, start, 0)
    number = torch.where(number > 0, number, len(negative))
    # A draw just below 1 times a large number may round up to it.
    place = torch.minimum((draw_p * number).long(), number - 1)
    return positive, negative[order[start + place]]


class ALDI(ColdStartRecommender):
    """A generator of ID embeddings, taught by the backbone with the real ones.

    It learns to click, and to agree with the teacher on which of two items comes first, on how
    unlike its batch an item is, and on the scores themselves. Rare items teach less. New items are
    served with generated rows and are then fine-tuned.
    """

    paper = "Huang et al., SIGIR 2023"
    year = 2023
    keys: ClassVar = (
        Key("aldi_ranking", WEIGHT),
        Key("aldi_identification", WEIGHT),
        Key("aldi_rating", WEIGHT),
        Key("aldi_weights", flag()),
        Key("aldi_limit", number(above=0)),
        Key("aldi_hidden_size", SIZE),
        Key("aldi_epochs", EPOCHS),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.n_others = dataset.num(self.other_field)
        self.generator = self.make_generator(self.side_width).to(self.device)

    def make_generator(self, side: int) -> ContentNet:
        return ContentNet(side, self.config["aldi_hidden_size"], self.embedding_size)

    def trainable(self, stage: str) -> list:
        return list(self.generator.parameters()) if stage == "learn" else super().trainable(stage)

    # ---------------------------------------------------------------- who may teach
    def clicks(self) -> tuple[Tensor, Tensor]:
        """Old items and the users who clicked on them, every pair once: codes [q] and [q]."""
        columns = self.rows.columns
        index = self.train_index[columns[self.label_field][self.train_index] > 0]
        items, users = columns[self.id_field][index], columns[self.other_field][index]
        return distinct_pairs(items.long(), users.long(), self.n_others)

    def qualifications(self) -> Tensor:
        """w_i of every item: [n]; 1 for all where the weights are off."""
        if not self.config["aldi_weights"]:
            return torch.ones(self.n_ids, device=self.device)
        items, users = self.clicks()
        share = audience_share(items, users, self.n_ids, self.n_others)
        n_users = int(users.unique().numel())
        return qualification(share, self.config["aldi_limit"], len(self.old_ids), n_users)

    def alignment(self, student: Pairs, teacher: Pairs, weight_p: Tensor) -> tuple[Tensor, ...]:
        """Ranking, identification and rating losses with the configured weights."""
        return distillation(
            student,
            teacher,
            weight_p,
            self.config["aldi_ranking"],
            self.config["aldi_identification"],
            self.config["aldi_rating"],
        )

    # ---------------------------------------------------------------- stages
    def student_loss(self, batch, side_ns: Tensor, weight_n: Tensor) -> tuple[Tensor, ...]:
        """The click loss of the student on all rows, and its alignment with the teacher on pairs.

        A pair is a clicked row and a row without click; rows do not influence each other, so
        teacher and student each take one forward pass over the batch.
        """
        ids, place = batch.unique(self.id_field)
        made = self.generator(side_ns[ids])
        real = self.backbone.id_vectors(ids).detach()
        student_b = self.cold_logits(batch, lookup(made, place))
        with torch.no_grad():
            teacher_b = self.backbone.logits(batch)
        clicked = batch[self.label_field] > 0
        draw = torch.rand(int(clicked.sum()), device=self.device)
        i, j = pair_rows(batch[self.other_field], clicked, draw)
        item_i, item_j = place[i], place[j]
        same_s, same_t = (identification_by_item(rows, item_i, item_j) for rows in (made, real))
        student = Pairs(lookup(student_b, i), lookup(student_b, j), same_s)
        teacher = Pairs(teacher_b[i], teacher_b[j], same_t)
        return self.loss(student_b, batch), *self.alignment(student, teacher, weight_n[ids[item_i]])

    def learn_fits(self) -> list[Fit]:
        side_ns, weight_n = self.side_vectors(), self.qualifications()
        step = Step(
            lambda batch: self.student_loss(batch, side_ns, weight_n),
            self.trainable("learn"),
            self.config["learning_rate"],
            self.config["weight_decay"],
            names=("clicks", "ranking", "identification", "rating"),
        )
        batches = self.row_batches(self.train_index)
        return [Fit("learn", [step], batches, epochs=self.config["aldi_epochs"])]

    @torch.no_grad()
    def generated(self, ids: Tensor) -> Tensor:
        """Generated vectors [b, d or e] as they are served, with the running statistics."""
        with evaluating(self.generator):
            return self.generator(self.side_vectors(ids))

    def cold_vectors(self) -> Tensor:
        """Generated rows; the mean of old items where there is no content."""
        return mean_where_bare(self, self.generated(self.new_ids))
