"""MetaE: generate an ID embedding that is good at once and better after one gradient step.

Source: Pan et al., "Warm Up Cold-start Advertisements: Improving CTR Predictions via Learning to
Learn ID Embeddings", SIGIR 2019, arXiv 1904.11547.
Shape letters: t tasks (old items), k rows of a block, d embedding size, s side information.
"""

import logging
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from recbole_cold.data.episodes import Blocks, Episode, EpisodeBatches, time_blocks
from recbole_cold.device import sizes_of
from recbole_cold.errors import UserError
from recbole_cold.keys import COUNT, EPOCHS, INNER_RATE, SHARE, SIZE, Key
from recbole_cold.kinds import list_of, one_of
from recbole_cold.model._content import mean_where_bare
from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._inner import inner_step, loss_in_chunks
from recbole_cold.model._layers import click_loss, mlp
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.model._supports import times_of_tasks

logger = logging.getLogger(__name__)

# Every block is support once and query once.
PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0))


def meta_loss(cold_t: Tensor, warm_t: Tensor, alpha: float) -> Tensor:
    """``alpha * l_a + (1 - alpha) * l_b`` of each task: [t]."""
    return alpha * cold_t + (1.0 - alpha) * warm_t


def _tasks(episode: Episode) -> Tensor:
    """Which tasks have rows to learn from and rows to be tested on: bool [t]."""
    return episode.support_mask_tk.any(dim=1) & episode.query_mask_tk.any(dim=1)


class TanhDense(nn.Module):
    """``g(s) = gamma * tanh(s W)``: the released generator, one layer without bias."""

    def __init__(self, side: int, size: int, gamma: float = 0.2) -> None:
        super().__init__()
        self.dense, self.gamma = nn.Linear(side, size, bias=False), gamma

    def forward(self, side_ts: Tensor) -> Tensor:
        return self.gamma * torch.tanh(self.dense(side_ts))


def rowwise(blocks: Blocks) -> Blocks:
    """Each row a task of its own with one support and one query row of the same item."""
    length_t = blocks.length_t
    place = np.arange(length_t.sum()) - np.repeat(length_t.cumsum() - length_t, length_t)
    ids, start, step = (
        np.repeat(part, length_t) for part in (blocks.ids_t, blocks.start_t, blocks.step_t)
    )
    return Blocks(ids, blocks.order_r, start + place, step, np.ones_like(step), blocks.number)


class MetaE(ColdStartRecommender):
    """A generator reads an item's side information and gives its initial ID embedding.

    It is trained on old items as if they were new: the loss before and after one gradient step on
    the generated embedding, through that step (second order).
    """

    paper = "Pan et al., SIGIR 2019"
    year = 2019
    # Where none is new, it starts those that are no target in training; nearly all are.
    needs_new_items: ClassVar[bool] = False
    keys: ClassVar = (
        Key("metae_generator", one_of("mlp", "tanh_dense")),
        Key("metae_hidden_size", list_of(SIZE, filled=False)),
        Key("metae_alpha", SHARE),
        Key("metae_inner_rate", INNER_RATE),
        Key("metae_inner", one_of("per_item", "per_row_batchmean")),
        Key("metae_batch_items", COUNT),
        Key("metae_block_size", COUNT),
        Key("metae_epochs", EPOCHS),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.generator = self.make_generator(self.side_width).to(self.device)
        self.per_item = config["metae_inner"] == "per_item"
        self._time = times_of_tasks(dataset)
        self._all_ids = np.asarray(dataset.inter[self.id_field])
        self._train = np.asarray(dataset.split["train"])

    def trainable(self, stage: str) -> list[nn.Parameter]:
        return list(self.generator.parameters()) if stage == "learn" else super().trainable(stage)

    # ---------------------------------------------------------------- what a subclass may exchange
    row_pairs: ClassVar[Sequence[tuple[int, int]]] = PAIRS[:1]  # of the released loop

    def make_generator(self, side: int) -> nn.Module:
        """The network that is learned; ``side`` is the width of the side information."""
        size = self.embedding_size
        if self.config["metae_generator"] == "tanh_dense":
            return TanhDense(side, size)
        return mlp([side, *self.config["metae_hidden_size"], size])

    def item_generator(self) -> Callable[[Tensor], Tensor]:
        """A function from the items [t] of a batch of tasks to their vectors [t, d]."""
        side_ns = self.side_vectors()
        return lambda ids_t: self.generator(side_ns[ids_t])

    def learning(self) -> tuple[float, int]:
        """The learning rate, and the rows of a batch of the released loop."""
        return self.config["learning_rate"], self.config["train_batch_size"]

    # ---------------------------------------------------------------- the loss of a batch of tasks
    def task_losses(self, vector_td: Tensor, rows, mask_tk: Tensor) -> Tensor:
        """Mean loss of each task's rows with the task's vector: [t]."""
        vector = vector_td.repeat_interleave(mask_tk.shape[1], dim=0)
        logits = self.cold_logits(rows, vector)
        label_tk = rows[self.label_field].view_as(mask_tk)
        return click_loss(logits.view_as(mask_tk), label_tk, mask_tk)

    def episode_loss(self, vector_td: Tensor, episode: Episode) -> Tensor:
        """``mean_i [alpha l_a + (1 - alpha) l_b]``, l_b after the inner step on l_a."""
        rate = self.config["metae_inner_rate"]
        if not self.per_item:
            # Released code differentiates one mean over the whole batch.
            rate = rate / len(vector_td)
        at_once = sizes_of(vector_td.device).differentiated  # support rows
        size = max(1, at_once // episode.support_mask_tk.shape[1])
        if len(vector_td) <= size:
            return self._mean_loss(vector_td, episode, rate)
        real = _tasks(episode).sum().clamp(min=1)

        def share(part_td: Tensor, part: Episode) -> Tensor:
            return self._mean_loss(part_td, part, rate) * _tasks(part).sum() / real

        return loss_in_chunks(share, vector_td, episode.split(size), size)

    def _mean_loss(self, vector_td: Tensor, episode: Episode, rate: float) -> Tensor:
        """The mean over an episode's tasks that have support and query rows."""

        def support_loss(vector: Tensor) -> Tensor:
            return self.task_losses(vector, episode.support, episode.support_mask_tk)

        stepped, cold_t = inner_step(support_loss, vector_td, rate)
        warm_t = self.task_losses(stepped, episode.query, episode.query_mask_tk)
        real_t = _tasks(episode)
        loss_t = meta_loss(cold_t, warm_t, self.config["metae_alpha"]) * real_t
        return loss_t.sum() / real_t.sum().clamp(min=1)

    # ---------------------------------------------------------------- stages
    def _blocks(self) -> Blocks:
        size = self.config["metae_block_size"] if self.per_item else None
        blocks = time_blocks(self._all_ids, self._time, self._train, 4, size)
        short = int((blocks.length_t < blocks.width).sum()) if self.per_item else 0
        if short:
            logger.info(
                "%d of %d old items have fewer than %d rows; their blocks are shorter and masked",
                short,
                len(blocks.ids_t),
                4 * blocks.width,
            )
        if not blocks.length_t.any():
            raise UserError(
                f"{type(self).__name__} needs old items with at least 4 rows (two for support, two "
                "for query); lower metae_block_size does not help here: use a data set with more "
                "rows per item"
            )
        return blocks if self.per_item else rowwise(blocks)

    def learn_fits(self) -> list[Fit]:
        generate, (learning_rate, batch_rows) = self.item_generator(), self.learning()

        def loss(episode: Episode) -> Tensor:
            return self.episode_loss(generate(episode.ids_t), episode)

        batches = EpisodeBatches(
            self.rows,
            self._blocks(),
            PAIRS if self.per_item else self.row_pairs,
            self.config["metae_batch_items"] if self.per_item else batch_rows,
        )
        decay = self.config["weight_decay"]
        step = Step(loss, self.trainable("learn"), learning_rate, decay)
        epochs = len(batches.pairs) * self.config["metae_epochs"]
        # A row for a task: each batch then asks for its different items, or some tasks are chunked.
        same = self.per_item and self.rows.histories is None
        same = same and self.backbone.replayable
        return [Fit("learn", [step], batches, epochs=epochs, capturable=same)]

    @torch.no_grad()
    def cold_vectors(self) -> Tensor:
        """Generated; the mean of old items where there is nothing to generate from."""
        return self.generated(self.new_ids)

    def generated(self, ids: Tensor) -> Tensor:
        """First vectors of the items ``ids`` [m]: [m, d]."""
        return mean_where_bare(self, self.generator(self.side_vectors(ids)), ids)

    @torch.no_grad()
    def start_new_items(self) -> None:
        """Where no item is new, those that training never read start as new ones do: in the table,
        which the phases go on training with everything else."""
        super().start_new_items()
        if not len(self.new_ids):
            ids = self.unread_ids()
            self.backbone.id_table()[ids] = self.generated(ids)
            if self.backbone.has_first_order:
                self.backbone.first_order_table()[ids] = self.cold_first_order()

    def unread_ids(self) -> Tensor:
        """Old items of which neither a training row nor its history has one: [m]."""
        read = self.train_index
        if self.rows.histories is not None:
            shown = self.rows.histories.of(read)
            read = torch.cat([read, shown[shown >= 0]])
        return self.old_ids[self._count(read)[self.old_ids] == 0]
