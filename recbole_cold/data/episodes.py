"""Support and query rows of items as padded, masked tensors; in sessions those of users.

Shape letters: t tasks (items), j blocks of an item, k rows of a block, r rows of all tasks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from recbole_cold.data.rows import Batch, Rows
from recbole_cold.device import sent
from recbole_cold.distinct import runs_of


@dataclass(frozen=True, eq=False)
class Blocks:
    """Disjoint blocks of each item's rows, oldest first, all blocks of an item of equal length.

    A block is a stretch of ``order_r``: nothing is padded but what a batch takes. Padded to the
    most popular item, a million items would need a thousand times the memory.

    Attributes:
        ids_t: item codes.
        order_r: row numbers, those of an item side by side.
        start_t: where an item's first block starts in ``order_r``.
        step_t: from the start of a block to that of the next.
        length_t: rows of each block.
        number: blocks of an item.
    """

    ids_t: np.ndarray
    order_r: np.ndarray
    start_t: np.ndarray
    step_t: np.ndarray
    length_t: np.ndarray
    number: int

    @property
    def width(self) -> int:
        """Rows of the longest block, at least 1."""
        return int(max(self.length_t.max(initial=0), 1))

    def some(self, tasks: slice | Sequence[int]) -> "Blocks":
        """The blocks of some items, by their places."""
        parts = (self.ids_t, self.start_t, self.step_t, self.length_t)
        ids_t, start_t, step_t, length_t = (part[tasks] for part in parts)
        return Blocks(ids_t, self.order_r, start_t, step_t, length_t, self.number)

    @property
    def mask_tjk(self) -> np.ndarray:
        """Which of ``rows_tjk`` are real: bool."""
        mask_tk = np.arange(self.width) < self.length_t[:, None]
        return np.repeat(mask_tk[:, None], self.number, axis=1)

    @property
    def rows_tjk(self) -> np.ndarray:
        """Row numbers padded to the longest block, by the item's first row: for few items."""
        place_tjk = np.arange(self.number)[:, None] * self.step_t[:, None, None]
        place_tjk = np.where(self.mask_tjk, place_tjk + np.arange(self.width), 0)
        return self.order_r[self.start_t[:, None, None] + place_tjk]


def time_blocks(
    ids: np.ndarray, time: np.ndarray | None, index: np.ndarray, n_blocks: int, size: int | None
) -> Blocks:
    """Cut each item's rows, in time order, into ``n_blocks`` blocks of equal length.

    A block has ``size`` rows, or a quarter (for four blocks) of the item's rows where that is less
    or ``size`` is None. An item with fewer rows than blocks has empty blocks.

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
    return Blocks(ids_t, order, start_t, length_t, length_t, n_blocks)


def _by_item(
    ids: np.ndarray, time: np.ndarray | None, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows by item and time, and each item's code, place of its first row, number of rows."""
    keys = (ids[index],) if time is None else (time[index], ids[index])
    order = index[np.lexsort(keys)]
    return order, *runs_of(ids[order])


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
    """A batch of tasks: their items, and support and query rows flattened to [t * k].

    Attributes:
        real: its rows without the padding, where it is known: to count them waits for a card.
    """

    ids_t: Tensor
    support: Batch
    support_mask_tk: Tensor
    query: Batch
    query_mask_tk: Tensor
    real: int | None = None

    def __len__(self) -> int:
        """The number of real rows; padding does not count."""
        if self.real is not None:
            return self.real
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

    def inputs(self) -> tuple[Tensor, ...]:
        """All that tells this episode from others of its shapes."""
        support, query = self.support.index, self.query.index
        return self.ids_t, support, self.support_mask_tk, query, self.query_mask_tk

    def of_inputs(self, *inputs: Tensor) -> "Episode":
        """An episode of other ``inputs``, of which nothing is computed yet."""
        ids_t, support, support_mask_tk, query, query_mask_tk = inputs
        rows = self.support.rows
        return Episode(
            ids_t, rows.batch(support), support_mask_tk, rows.batch(query), query_mask_tk
        )

    def split(self, size: int) -> list["Episode"]:
        """Episodes of ``size`` tasks each, in order; the last one has what is left."""
        return [self.tasks(slice(n, n + size)) for n in range(0, len(self.ids_t), size)]


class TaskBatches:
    """Batches of tasks in a seeded order; subclasses make the episode of a batch.

    Each batch draws from a generator of its own, so that a resumed epoch draws the same.

    Args:
        rows: where the rows live.
        ids: item code of every task, kept on the CPU, where the order of tasks is drawn.
        meta_batch_size: tasks of one batch; 1 is the schedule of per-item code.
        shuffle: draw the order of tasks anew in each epoch; else it is that of the items' codes.
    """

    def __init__(self, rows: Rows, ids: Tensor, meta_batch_size: int, shuffle: bool = True) -> None:
        self.rows, self._ids = rows, ids.cpu()
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

    A batch is padded to the longest block of its own tasks, by their first rows with mask 0.

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
        ids = torch.as_tensor(blocks.ids_t, dtype=torch.long)
        super().__init__(rows, ids, meta_batch_size, shuffle)
        self.pairs, self.caps = list(pairs), (support_cap, query_cap)
        # On the CPU, where the order of tasks is drawn; a batch goes to the device.
        self._order, self._start, self._step, self._length = (
            torch.as_tensor(part, dtype=torch.long)
            for part in (blocks.order_r, blocks.start_t, blocks.step_t, blocks.length_t)
        )
        self._width = blocks.width

    def rows_seen(self, epochs: int) -> int:
        """Support and query rows of so many epochs, a row as often as it comes."""
        lengths = (
            self._length if cap is None else self._length.clamp(max=cap) for cap in self.caps
        )
        return epochs * sum(int(length_t.sum()) for length_t in lengths)

    def episode(self, tasks: Tensor, epoch: int, draw: Generator) -> Episode:
        blocks = self.pairs[epoch % len(self.pairs)]
        parts = [
            self._part(tasks, block, cap, draw)
            for block, cap in zip(blocks, self.caps, strict=True)
        ]
        return _episode(self.rows, self._ids[tasks], parts)

    def _part(
        self, tasks: Tensor, block: int, cap: int | None, draw: Generator
    ) -> tuple[Tensor, Tensor]:
        """Row numbers and mask [t, k] of one part of the tasks, on the CPU."""
        length_t = self._length[tasks]
        if cap is not None and cap < self._width:
            place_tk = _subset(length_t, cap, self._width, draw)
        else:
            place_tk = torch.arange(max(int(length_t.max()), 1)).expand(len(tasks), -1)
        mask_tk = place_tk < length_t[:, None]
        place_tk = torch.where(mask_tk, block * self._step[tasks][:, None] + place_tk, 0)
        return self._order[self._start[tasks][:, None] + place_tk], mask_tk


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
        return _episode(self.rows, self._ids[tasks], [support, query])

    def _part(
        self, row_tk: Tensor, first_t: Tensor, length_t: Tensor, most: int
    ) -> tuple[Tensor, Tensor]:
        """``length`` rows of each task from place ``first`` on, padded to ``most``, and mask."""
        k = torch.arange(most)
        mask_tk = k < length_t[:, None]
        return row_tk.gather(1, torch.where(mask_tk, first_t[:, None] + k, 0)), mask_tk


def _episode(rows: Rows, ids_t: Tensor, parts: Sequence[tuple[Tensor, Tensor]]) -> Episode:
    """The episode of support and query, row numbers and mask [t, k] each, made on the CPU.

    All numbers go to the device as one tensor, and no answer is waited for.
    """
    real = sum(int(mask_tk.sum()) for _, mask_tk in parts)
    flat = [ids_t, *(part_tk.reshape(-1).long() for both in parts for part_tk in both)]
    if rows.device.type != "cpu":
        sizes = [len(part) for part in flat]
        flat = list(sent(torch.cat(flat), rows.device).split(sizes))
    made: list[Any] = []
    for (_, mask_tk), row, mask in zip(parts, flat[1::2], flat[2::2], strict=True):
        made += [rows.batch(row), mask.view(mask_tk.shape).to(torch.float32)]
    support, support_mask, query, query_mask = made
    return Episode(flat[0], support, support_mask, query, query_mask, real)


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
