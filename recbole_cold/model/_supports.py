"""Supports of a few-shot learner's tasks: the rows that the state of each item is made of.

"Item" means what a task is; where rows are sessions it is a user.
Shape letters: t tasks, k rows of a support, m items with a support, n all items, b rows of a batch.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from recbole_cold.data.episodes import Episode, newest_rows
from recbole_cold.data.rows import Batch, Rows
from recbole_cold.data.split import times_of
from recbole_cold.distinct import codes_in
from recbole_cold.model._fit import RowBatches
from recbole_cold.model._token_rows import TokenRows


class Supports(nn.Module):
    """For each of m items row numbers, filled from the left; buffers, so that a state has them.

    Args:
        ids: codes of the items, int64 [m].
        room: rows of an item at most.
        n_ids: number of codes.
        grow: whether phases add rows; else they stand as they are after ``add`` was first called.

    Attributes:
        ids: as given.
        slot_n: place in ``ids`` by code, -1 for an item without a support.
        rows: [m, room]; beyond ``count`` they mean nothing.
        count: [m].
    """

    def __init__(self, ids: Tensor, room: int, n_ids: int, grow: bool) -> None:
        super().__init__()
        self.grow = grow
        slot_n = torch.full((n_ids,), -1, dtype=torch.long, device=ids.device)
        slot_n[ids] = torch.arange(len(ids), device=ids.device)
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("slot_n", slot_n, persistent=False)
        self.register_buffer("rows", ids.new_zeros(len(ids), max(room, 1)))
        self.register_buffer("count", torch.zeros_like(ids))

    def token_rows(self) -> dict[str, tuple[TokenRows, ...]]:
        """What is here are numbers of the data's rows."""
        return {"rows": (), "count": ()}

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, index: Tensor, id_b: Tensor) -> None:
        """Append the rows ``index`` [b] of the items ``id_b`` [b], in this order; what there is no
        room for is left out."""
        slot = self.slot_n[id_b]
        index, slot = index[slot >= 0], slot[slot >= 0]
        order = torch.argsort(slot, stable=True)
        index, slot = index[order], slot[order]
        count = torch.bincount(slot, minlength=len(self))
        place = torch.arange(len(slot), device=slot.device) - (count.cumsum(0) - count)[slot]
        place = place + self.count[slot]
        fits = place < self.rows.shape[1]
        self.rows[slot[fits], place[fits]] = index[fits]
        self.count += count
        self.count.clamp_(max=self.rows.shape[1])

    def slot_of(self, ids: Tensor) -> Tensor:
        """Places in ``ids``, -1 without a support; any code may be asked for."""
        n = len(self.slot_n)
        return torch.where(ids < n, self.slot_n[ids.clamp(max=n - 1)], -1)

    def is_row(self) -> Tensor:
        """Where ``rows`` means something: bool [m, room]."""
        return torch.arange(self.rows.shape[1], device=self.rows.device) < self.count[:, None]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """A state brings its own room: that of the run, which a model's folder does not know."""
        kept = state_dict.get(f"{prefix}rows")
        if kept is not None and len(kept) == len(self):
            self.rows = self.rows.new_zeros(kept.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def of(self, slot_t: Tensor) -> tuple[Tensor, Tensor]:
        """Row numbers and mask, both [t, k], of items by their places, -1 for one without a
        support; padded to the longest, and to one row where there is none."""
        count_t = torch.where(slot_t >= 0, self.count[slot_t.clamp(min=0)], 0)
        width = max(int(count_t.max()) if len(count_t) else 0, 1)
        place_k = torch.arange(width, device=slot_t.device)
        mask_tk = (place_k < count_t[:, None]).to(torch.float32)
        return self.rows[slot_t.clamp(min=0), :width], mask_tk


def supports_of(dataset: Any, field: str, rows: Rows, most: int) -> Supports:
    """The supports of a run.

    Those of new items are empty and have room for all warm-up sets. Where no item is new, each item
    has its newest rows of ``train`` at once; held-out rows are queries, and never support.

    Args:
        dataset: a view with its split.
        field: the ID that tasks are grouped by.
        rows: its ``Rows``.
        most: rows of a support at most, where no item is new.
    """
    split, all_ids = dataset.split, np.asarray(dataset.inter[field])
    grow = bool(len(split.new_ids))
    if grow:
        parts = [np.asarray(split[name]) for name in split.warm_parts]
        index = np.concatenate([*parts, np.zeros(0, np.int64)])
    else:
        index = newest_rows(all_ids, times_of_tasks(dataset), np.asarray(split["train"]), most)
    ids = split.new_ids if grow else codes_in(all_ids[index])
    counts = np.bincount(all_ids[index], minlength=dataset.num(field))
    room = int(counts[ids].max(initial=0))
    supports = Supports(rows.index(ids), room, dataset.num(field), grow)
    if not grow:
        supports.add(rows.index(index), rows.index(all_ids[index]))
    return supports


def times_of_tasks(dataset: Any) -> np.ndarray | None:
    """What orders a task's rows: one number per row, or None: the order in which parts have them.

    Sessions of data without times are in an order that their split has drawn.
    """
    split = dataset.split
    if split.histories is None:
        return dataset.time
    return times_of(dataset.time, dataset.n_rows, int(split.manifest["seed"]))


class QueryBatches(RowBatches):
    """Shuffled mini-batches of rows, each of them the query of a task.

    Args:
        index: numbers of rows [n].
        episode_of: the tasks of a batch of rows, with their supports.
    """

    def __init__(
        self, index: Tensor, batch_size: int, rows: Rows, episode_of: Callable[[Batch], Episode]
    ) -> None:
        super().__init__(index, batch_size, rows)
        self._episode_of = episode_of

    def epoch(self, generator: Generator, epoch: int, start: int = 0) -> Iterable[Episode]:
        for batch in super().epoch(generator, epoch, start):
            yield self._episode_of(batch)
