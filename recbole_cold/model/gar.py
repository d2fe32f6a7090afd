"""GAR: ID embeddings made from content that the recommender ranks as high as real ones.

Source: Chen et al., "Generative Adversarial Framework for Cold-Start Item Recommendation",
SIGIR 2022, doi 10.1145/3477495.3531897, in a form for click models: the recommender is the
backbone, and a user's other items are the same row with another item in it.
Shape letters: b rows of a batch, p rows with a click, d embedding size, s side information.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._modes import evaluating
from recbole_cold.backbone._shortcuts import lookup, remember
from recbole_cold.errors import UserError
from recbole_cold.keys import EPOCHS, SHARE, SIZE, WEIGHT, Key
from recbole_cold.kinds import flag
from recbole_cold.model._content import (
    ContentNet,
    mean,
    mean_where_bare,
    squares,
    weights_of,
)
from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.model._token_rows import TokenRows


def recommender_loss(real_p: Tensor, fake_p: Tensor, other_p: Tensor, beta: float) -> Tensor:
    """L_D: the real item above a mixture of its generated twin and another item.

    ``mean softplus(-(s(v_i) - (1 - beta) s(g_i) - beta s(v_j)))``.
    """
    return mean(F.softplus(-(real_p - (1.0 - beta) * fake_p - beta * other_p)))


def ranking_loss(fake_p: Tensor, real_p: Tensor) -> Tensor:
    """The generator's part in the game: ``mean softplus(-(s(g_i) - s(v_i)))``."""
    return mean(F.softplus(-(fake_p - real_p)))


def distance(made_bd: Tensor, real_bd: Tensor) -> Tensor:
    """``|g - v|``, a mean over the numbers of each row: [b]."""
    return (made_bd - real_bd).abs().mean(dim=-1)


@contextmanager
def without_gradients(module: nn.Module) -> Iterator[None]:
    """Context: what is computed has no gradient to the module's parameters."""
    moving = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)


class GAR(ColdStartRecommender):
    """A generator of ID embeddings plays against the backbone, which goes on learning.

    For each batch the backbone learns to tell real rows from generated ones (and clicks as before),
    then the generator learns to make rows that the backbone ranks above real ones. Old items' rows
    are frozen: they are what is imitated. New items are served with generated rows, by the backbone
    as the game left it, and are then fine-tuned.
    """

    paper = "Chen et al., SIGIR 2022"
    year = 2022
    keys: ClassVar = (
        Key("gar_alpha", SHARE),
        Key("gar_beta", SHARE),
        Key("gar_click_weight", WEIGHT),
        Key("gar_generator_click_weight", WEIGHT),
        Key("gar_finetune_recommender", flag()),
        Key("gar_hidden_size", SIZE),
        Key("gar_dropout", SHARE),
        Key("gar_l2", WEIGHT),
        Key("gar_epochs", EPOCHS),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        histories = self.rows.histories
        if histories is not None and histories.side == dataset.split.cold_side:
            side = histories.side
            raise UserError(
                f"GAR scores rows with another {side} in their place, which would have the first "
                f"{side}'s history; choose the other history_side"
            )
        self.generator = ContentNet(
            self.side_width, config["gar_hidden_size"], self.embedding_size, config["gar_dropout"]
        ).to(self.device)
        # Content as the pre-trained tables have it: the game moves the tables themselves.
        self.register_buffer(
            "content", torch.zeros(self.n_ids, self.side_width, device=self.device)
        )
        # What content is read with, by field: for items that the run has never seen.
        self.content_fields = [f for f in self.backbone.side_fields if self._has_table(f)]
        for number, field in enumerate(self.content_fields):
            table = torch.zeros_like(self._content_table(field).detach())
            self.register_buffer(f"content_table_{number}", table)

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        found = {**super().token_rows(), "content": (TokenRows(self.id_field),)}
        for number, field in enumerate(self.content_fields):
            found[f"content_table_{number}"] = (TokenRows(field),)
        return found

    def _has_table(self, field: str) -> bool:
        model = self.backbone.model
        return field in model.token_field_names or field in model.token_seq_field_names

    def _content_table(self, field: str) -> Tensor:
        """The rows of a field of items as the backbone has them now: [codes, d]."""
        model = self.backbone.model
        if field in model.token_field_names:
            return self.backbone.table_of(field)
        place = model.token_seq_field_names.index(field)
        return model.token_seq_embedding_table[place].weight

    @torch.no_grad()
    def begin_learn(self) -> None:
        self.content.copy_(self.side_vectors())
        for number, field in enumerate(self.content_fields):
            getattr(self, f"content_table_{number}").copy_(self._content_table(field))

    # ---------------------------------------------------------------- who plays
    def _recommender_moves(self) -> None:
        self.set_mode("train")
        self.set_backbone_mode(dropout=True)  # it learns: dropout is its own, as in pre-training
        self.generator.eval()

    def _generator_moves(self) -> None:
        self.train()
        self.backbone.eval()

    def made_rows(self, ids: Tensor) -> Tensor:
        """Generated embeddings [b, d] of the items ``ids``, made once per item."""
        unique, place = ids.unique(return_inverse=True)
        return lookup(self.generator(self.content[unique]), place)

    def real_rows(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings [b, d] and scalar weights [b, 1] of old items; nothing here moves them."""
        weights = self.backbone.id_weights(ids)
        first = None if weights is None else weights.detach()
        return self.backbone.id_vectors(ids).detach(), first

    def clicked_rows(self, batch) -> Tensor:
        """Where the batch has rows with a click [p]; both moves ask."""
        return remember(batch, "clicked", lambda: torch.nonzero(batch[self.label_field] > 0)[:, 0])

    # ---------------------------------------------------------------- the recommender's move
    def three_logits(self, batch, clicked: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of all rows [b], of the clicked ones with generated items [p], with others [p].

        One forward pass over all three.

        Args:
            batch: rows of old items.
            clicked: positions [p] in the batch.
            other: the items [p] in whose place the clicked rows are scored, features and all.
        """
        ids = batch[self.id_field]
        seen = ids[clicked]
        rows = batch.rows.batch(
            torch.cat([batch.index, batch.index[clicked], batch.index[clicked]])
        )
        rows[self.id_field] = torch.cat([ids, seen, other])
        with torch.no_grad():
            made = self.made_rows(seen)
        (real, weight), (strange, strange_weight) = self.real_rows(ids), self.real_rows(other)
        first = None
        if weight is not None and strange_weight is not None:
            # A generated row stands for a new item, whose scalar weight is not its own.
            first = torch.cat(
                [weight, self.cold_first_order().expand(len(made), 1), strange_weight]
            )
        logits = self.backbone.logits(rows, torch.cat([real, made, strange]), first)
        real_b, fake_p, other_p = logits.split([len(ids), len(seen), len(seen)])
        return real_b, fake_p, other_p

    def recommender_step(self, batch) -> tuple[Tensor, ...]:
        """``L_D``, the click loss of real rows, and the penalty; moves the backbone only."""
        self._recommender_moves()
        clicked = self.clicked_rows(batch)
        drawn = torch.randint(len(self.old_ids), (len(clicked),), device=self.device)
        real_b, fake_p, other_p = self.three_logits(batch, clicked, self.old_ids[drawn])
        game = recommender_loss(lookup(real_b, clicked), fake_p, other_p, self.config["gar_beta"])
        clicks = self.config["gar_click_weight"] * self.loss(real_b, batch)
        return game, clicks, self.config["gar_l2"] * squares(weights_of(self.backbone))

    # ---------------------------------------------------------------- the generator's move
    def generator_step(self, batch) -> tuple[Tensor, ...]:
        """``(1 - alpha)`` ranking + ``alpha |g - v|`` + clicks + penalty; moves the generator."""
        self._generator_moves()
        alpha, clicked = self.config["gar_alpha"], self.clicked_rows(batch)
        ids = batch[self.id_field]
        made, (real, weight) = self.made_rows(ids), self.real_rows(ids)
        with torch.no_grad():
            real_b = self.backbone.logits(batch, real, weight)
        # The other move's parameters stand still: gradients to them would be thrown away.
        with without_gradients(self.backbone):
            fake_b = self.cold_logits(batch, made)
        return (
            (1.0 - alpha) * ranking_loss(lookup(fake_b, clicked), real_b[clicked]),
            alpha * mean(distance(made, real)),
            self.config["gar_generator_click_weight"] * self.loss(fake_b, batch),
            self.config["gar_l2"] * squares(weights_of(self.generator)),
        )

    # ---------------------------------------------------------------- stages
    def learn_fits(self) -> list[Fit]:
        """The two moves, one after the other for each batch.

        Neither has the general ``weight_decay``: it would move the frozen rows of the ID table.
        """
        rate = self.config["learning_rate"]
        steps = [
            Step(
                self.generator_step,
                list(self.generator.parameters()),
                rate,
                names=("generator's game", "distance", "generator's clicks", "generator's penalty"),
            )
        ]
        if self.config["gar_finetune_recommender"]:
            recommender = Step(
                self.recommender_step,
                list(self.backbone.parameters()),
                rate,
                names=("recommender's game", "recommender's clicks", "recommender's penalty"),
            )
            steps.insert(0, recommender)
        batches = self.row_batches(self.train_index)
        return [Fit("learn", steps, batches, epochs=self.config["gar_epochs"])]

    @torch.no_grad()
    def cold_vectors(self) -> Tensor:
        """Generated without dropout; the mean of old items where there is no content."""
        with evaluating(self.generator):
            rows = self.generator(self.content[self.new_ids])
        return mean_where_bare(self, rows)

    @torch.no_grad()
    def unseen_vectors(self, names: Sequence[str]) -> Tensor:
        """As ``cold_vectors``, of content that the tables before the game read in the features."""
        ids = self.new_ids[: len(names)]
        tables = [self._content_table(field) for field in self.content_fields]
        now = [table.clone() for table in tables]
        try:
            for number, table in enumerate(tables):
                table.copy_(getattr(self, f"content_table_{number}"))
            content = self.side_vectors(ids)
        finally:
            for table, before in zip(tables, now, strict=True):
                table.copy_(before)
        with evaluating(self.generator):
            return mean_where_bare(self, self.generator(content), ids)
