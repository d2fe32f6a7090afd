"""Support and query rows of items as padded, masked tensors; in sessions those of users.

Shape letters: t tasks (items), j blocks of an item, k rows of a block.
"""

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from recbole_cold.data.rows import Batch, Rows


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
    order, ids_t, start_t, count_t = _by_item(ids, time, index)
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


def _by_item(
    ids: np.ndarray, time: np.ndarray | None, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows by item and time, and each item's code, place of its first row, number of rows."""
    keys = (ids[index],) if time is None else (time[index], ids[index])
    order = index[np.lexsort(keys)]
    return order, *np.unique(ids[order], return_index=True, return_counts=True)


def newest_rows(
    ids: np.ndarray, time: np.ndarray | None, index: np.ndarray, most: int
) -> np.ndarray:
    """The newest ``most`` rows of each item among ``index``: item by item, oldest first.

    Args:
        ids: item code of every row of the data set.
        time: their times, or None to take ``index`` as the order.
    """
    order, _, start_t, count_t = _by_item(ids, time, index)
    end_r = np.repeat(start_t + count_t, count_t)
    return order[end_r - np.arange(len(order)) <= most]


class Episode(NamedTuple):
    """A batch of tasks: their items, and support and query rows flattened to [t * k]."""

    ids_t: Tensor
    support: Batch
    support_mask_tk: Tensor
    query: Batch
    query_mask_tk: Tensor

    def __len__(self) -> int:
        """The number of real rows; padding does not count."""
        return int(self.support_mask_tk.sum() + self.query_mask_tk.sum())

    def tasks(self, part: slice) -> "Episode":
        """The episode of some of its tasks."""
        support, query = (
            (batch.rows.batch(batch.index.view(mask_tk.shape)[part].reshape(-1)), mask_tk[part])
            for batch, mask_tk in (
                (self.support, self.support_mask_tk),
                (self.query, self.query_mask_tk),
            )
        )
        return Episode(self.ids_t[part], *support, *query)

    def split(self, size: int) -> list["Episode"]:
        """Episodes of ``size`` tasks each, in order; the last one has what is left."""
        return [self.tasks(slice(n, n + size)) for n in range(0, len(self.ids_t), size)]


class TaskBatches:
    """Batches of tasks in a seeded order; subclasses make the episode of a batch.

    Each batch draws from a generator of its own, so that a resumed epoch draws the same.

    Args:
        rows: where the rows live.
        ids: item code of every task.
        meta_batch_size: tasks of one batch; 1 is the schedule of per-item code.
        shuffle: draw the order of tasks anew in each epoch; else it is that of the items' codes.
    """

    def __init__(self, rows: Rows, ids: Tensor, meta_batch_size: int, shuffle: bool = True) -> None:
        self.rows, self._ids = rows, ids
        self.meta_batch_size, self.shuffle = meta_batch_size, shuffle

    def __len__(self) -> int:
        return -(-len(self._ids) // self.meta_batch_size)

    def epoch(self, generator: Generator, epoch: int, start: int = 0) -> Iterable[Episode]:
        """Task batches ``start``, ``start + 1``, ... of one epoch."""
        order = torch.randperm(len(self._ids), generator=generator)
        if not self.shuffle:
            order = torch.arange(len(self._ids))
        seeds = torch.randint(2**62, (len(self),), generator=generator).tolist()
        for position in range(start, len(self)):
            tasks = order[position * self.meta_batch_size : (position + 1) * self.meta_batch_size]
            yield self.episode(tasks, epoch, Generator().manual_seed(seeds[position]))

    def episode(self, tasks: Tensor, epoch: int, draw: Generator) -> Episode:
        """The episode of tasks given by their numbers, on the CPU as ``draw`` is."""
        raise NotImplementedError


class EpisodeBatches(TaskBatches):
    """Episodes of whole blocks; epoch e uses the e-th pair of blocks, round and round.

    Args:
        rows: where the rows live.
        blocks: of the items to learn from.
        pairs: (support block, query block) of one epoch after the other.
        meta_batch_size: tasks of one batch.
        support_cap: support rows of a task at most: of a longer block a part, drawn anew each time.
        query_cap: the same for query rows.
        shuffle: as above.
    """

    def __init__(
        self,
        rows: Rows,
        blocks: Blocks,
        pairs: Sequence[tuple[int, int]],
        meta_batch_size: int,
        support_cap: int | None = None,
        query_cap: int | None = None,
        shuffle: bool = True,
    ) -> None:
        ids = torch.as_tensor(blocks.ids_t, dtype=torch.long).to(rows.device)
        super().__init__(rows, ids, meta_batch_size, shuffle)
        self.pairs, self.caps = list(pairs), (support_cap, query_cap)
        self._rows = torch.as_tensor(blocks.rows_tjk, dtype=torch.long).to(rows.device)
        self._mask = torch.as_tensor(blocks.mask_tjk, dtype=torch.float32).to(rows.device)

    def rows_seen(self, epochs: int) -> int:
        """Support and query rows of so many epochs, a row as often as it comes."""
        size_tj = self._mask.sum(dim=2).long()
        return sum(
            int(size_tj[:, block].clamp(max=cap).sum())
            for _, pair in zip(range(epochs), cycle(self.pairs), strict=False)
            for block, cap in zip(pair, self.caps, strict=True)
        )

    def episode(self, tasks: Tensor, epoch: int, draw: Generator) -> Episode:
        blocks, tasks = self.pairs[epoch % len(self.pairs)], tasks.to(self._ids.device)
        support, query = (
            self._part(tasks, block, cap, draw)
            for block, cap in zip(blocks, self.caps, strict=True)
        )
        return Episode(self._ids[tasks], *support, *query)

    def _part(
        self, tasks: Tensor, block: int, cap: int | None, draw: Generator
    ) -> tuple[Batch, Tensor]:
        rows_tk, mask_tk = self._rows[tasks, block], self._mask[tasks, block]
        if cap is not None and cap < rows_tk.shape[1]:
            place_tk = _subset(mask_tk.sum(dim=1), cap, rows_tk.shape[1], draw)
            rows_tk, mask_tk = rows_tk.gather(1, place_tk), mask_tk.gather(1, place_tk)
        return self.rows.batch(rows_tk.reshape(-1)), mask_tk


class FewShotBatches(TaskBatches):
    """Batches of tasks with few support rows, drawn anew each time.

    The number of support rows is drawn for a whole batch, then each task's rows without
    replacement; the older ones are support, the newer ones query.

    An item with too few rows gives what it has, in the same proportion; the rest is padding.

    Args:
        rows: where the rows live.
        ids: item code of every row of the data set.
        time: their times, or None to take ``index`` as the order.
        index: the rows to use.
        sizes: numbers of support rows to draw from.
        n_query: query rows of a task.
        meta_batch_size: tasks of one batch.

    Attributes:
        short: items that cannot fill the largest support and the query.
    """

    def __init__(
        self,
        rows: Rows,
        ids: np.ndarray,
        time: np.ndarray | None,
        index: np.ndarray,
        sizes: Sequence[int],
        n_query: int,
        meta_batch_size: int,
    ) -> None:
        order, ids_t, start_t, count_t = _by_item(ids, time, index)
        enough = count_t >= 2  # one row to learn from, one to be tested on
        tasks, start, count = (
            torch.from_numpy(part[enough]).long() for part in (ids_t, start_t, count_t)
        )
        super().__init__(rows, tasks, meta_batch_size)
        self.sizes, self.n_query = tuple(sizes), n_query
        self._order, self._start, self._count = torch.from_numpy(order), start, count
        self.short = int((self._count < max(self.sizes) + n_query).sum())

    def episode(self, tasks: Tensor, epoch: int, draw: Generator) -> Episode:
        size = self.sizes[int(torch.randint(len(self.sizes), (), generator=draw))]
        whole, count_t = size + self.n_query, self._count[tasks]
        place_tk = _subset(count_t, whole, max(int(count_t.max()), whole), draw)
        n_t = count_t.clamp(max=whole)
        support_t = torch.where(n_t == whole, size, (n_t * size // whole).clamp(min=1))
        row_tk = self._order[self._start[tasks][:, None] + place_tk.clamp(max=count_t[:, None] - 1)]
        support = self._part(row_tk, torch.zeros_like(n_t), support_t, size)
        query = self._part(row_tk, support_t, n_t - support_t, self.n_query)
        return Episode(self._ids[tasks].to(self.rows.device), *support, *query)

    def _part(
        self, row_tk: Tensor, first_t: Tensor, length_t: Tensor, most: int
    ) -> tuple[Batch, Tensor]:
        """``length`` rows of each task from place ``first`` on, padded to ``most``."""
        k = torch.arange(most)
        mask_tk = k < length_t[:, None]
        row_tk = row_tk.gather(1, torch.where(mask_tk, first_t[:, None] + k, 0))
        device = self.rows.device
        return self.rows.batch(row_tk.reshape(-1).to(device)), mask_tk.to(device, torch.float32)


def _subset(count_t: Tensor, size: int, width: int, generator: Generator) -> Tensor:
    """``size`` different places of each task's first ``count``, drawn evenly, in order: [t, size].

    Places that are missing come last, and lie behind the task's real ones.
    """
    draw_tk = torch.rand(len(count_t), width, generator=generator).to(count_t.device)
    draw_tk += (torch.arange(width, device=count_t.device) >= count_t[:, None]) * 2.0
    return draw_tk.topk(size, dim=1, largest=False).indices.sort(dim=1).values


def masked_mean(value_tk: Tensor, mask_tk: Tensor) -> Tensor:
    """Mean of each task's real rows, 0 for a task without any: [t]."""
    return (value_tk * mask_tk).sum(dim=1) / mask_tk.sum(dim=1).clamp(min=1.0)
