"""Support and query rows of items as padded, masked tensors.

Shape letters: t tasks (items), j blocks of an item, k rows of a block.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from recbole_cold.rows import Batch, Rows


class Blocks(NamedTuple):
    """Disjoint blocks of each item's rows, oldest first: padded row numbers and their mask."""

    ids_t: np.ndarray
    rows_tjk: np.ndarray
    mask_tjk: np.ndarray


def time_blocks(
    ids: np.ndarray, time: np.ndarray | None, index: np.ndarray, n_blocks: int, size: int | None
) -> Blocks:
    """Cut each item's rows, in time order, into ``n_blocks`` blocks of equal length.

    A block has ``size`` rows, or a quarter (for four blocks) of the item's rows where that is less
    or ``size`` is None; what is missing is padding with mask 0.

    Args:
        ids: item code of every row of the data set.
        time: their times, or None to take ``index`` as the order.
        index: the rows to use.
        n_blocks: blocks per item.
        size: rows per block at most.
    """
    keys = (ids[index],) if time is None else (time[index], ids[index])
    order = index[np.lexsort(keys)]
    ids_t, start_t, count_t = np.unique(ids[order], return_index=True, return_counts=True)
    length_t = count_t // n_blocks
    if size is not None:
        length_t = np.minimum(length_t, size)
    width = int(max(length_t.max(initial=0), 1))
    block_j, place_k = np.arange(n_blocks), np.arange(width)
    mask_tjk = np.broadcast_to(
        place_k < length_t[:, None, None], (len(ids_t), n_blocks, width)
    ).copy()
    position = start_t[:, None, None] + block_j[:, None] * length_t[:, None, None] + place_k
    position = np.where(mask_tjk, position, start_t[:, None, None])
    return Blocks(ids_t, order[position], mask_tjk)


class Episode(NamedTuple):
    """A batch of tasks: their items, and support and query rows flattened to [t * k]."""

    ids_t: Tensor
    support: Batch
    support_mask_tk: Tensor
    query: Batch
    query_mask_tk: Tensor

    def __len__(self) -> int:
        """Rows that count: padding does not."""
        return int(self.support_mask_tk.sum() + self.query_mask_tk.sum())

    def split(self, size: int) -> list["Episode"]:
        """Episodes of ``size`` tasks each, in order; the last one has what is left."""
        masks = self.support_mask_tk.split(size), self.query_mask_tk.split(size)
        rows = [
            [batch.rows.batch(part) for part in batch.index.split(size * mask_tk.shape[1])]
            for batch, mask_tk in (
                (self.support, self.support_mask_tk),
                (self.query, self.query_mask_tk),
            )
        ]
        parts = zip(self.ids_t.split(size), rows[0], masks[0], rows[1], masks[1], strict=True)
        return [Episode(*part) for part in parts]


class EpisodeBatches:
    """Batches of tasks in a seeded order; epoch e uses the e-th pair of blocks, round and round.

    Args:
        rows: where the rows live.
        blocks: of the items to learn from.
        pairs: (support block, query block) of one epoch after the other.
        meta_batch_size: tasks of one batch; 1 is the schedule of per-item code.
        shuffle: draw the order of tasks anew in each epoch.
    """

    def __init__(
        self,
        rows: Rows,
        blocks: Blocks,
        pairs: Sequence[tuple[int, int]],
        meta_batch_size: int,
    ) -> None:
        self.rows, self.pairs, self.meta_batch_size = rows, list(pairs), meta_batch_size
        self._ids = torch.as_tensor(blocks.ids_t, dtype=torch.long).to(rows.device)
        self._rows = torch.as_tensor(blocks.rows_tjk, dtype=torch.long).to(rows.device)
        self._mask = torch.as_tensor(blocks.mask_tjk, dtype=torch.float32).to(rows.device)

    def __len__(self) -> int:
        return -(-len(self._ids) // self.meta_batch_size)

    def epoch(self, generator: Generator, epoch: int, start: int = 0) -> Iterable[Episode]:
        """Task batches ``start``, ``start + 1``, ... of one epoch."""
        order = torch.randperm(len(self._ids), generator=generator).to(self._ids.device)
        support, query = self.pairs[epoch % len(self.pairs)]
        for position in range(start, len(self)):
            tasks = order[position * self.meta_batch_size : (position + 1) * self.meta_batch_size]
            rows_tjk, mask_tjk = self._rows[tasks], self._mask[tasks]
            yield Episode(
                self._ids[tasks],
                self.rows.batch(rows_tjk[:, support].reshape(-1)),
                mask_tjk[:, support],
                self.rows.batch(rows_tjk[:, query].reshape(-1)),
                mask_tjk[:, query],
            )


def masked_mean(value_tk: Tensor, mask_tk: Tensor) -> Tensor:
    """Mean of each task's real rows, 0 for a task without any: [t]."""
    return (value_tk * mask_tk).sum(dim=1) / mask_tk.sum(dim=1).clamp(min=1.0)
