"""Histories: the rows that a row's user, or its item, had before, as fields of a batch.

A model reads ``interaction["history/length"]`` [b] and ``interaction["history/<field>"]``: the
field of each history row, [b, n] for tokens and the label, [b, n, s] for token sequences,
[b, n, 2] for numbers that are inputs. Oldest first, left-aligned; padding is 0. ``Rows`` gathers
them when they are first asked for; what is here says which rows they are.

Source of the item side: Zhu et al., SIGIR 2021, whose sequence models read the users that an item
had. RecBole's own sequences are made before any split, so that a training row can have new items in
its history and a test row other test rows; they are not used.
Shape letters: b rows of a batch, n longest history, r rows of the data set, m elements, s sessions.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from recbole_cold.data.split import times_of
from recbole_cold.errors import UserError

PREFIX = "history/"
LENGTH = f"{PREFIX}length"
SIDES = ("user", "item")


class Histories(Protocol):
    """Which rows are the histories of rows.

    Attributes:
        length: n, the longest history.
        side: whose they are: ``user`` or ``item``.
    """

    length: int
    side: str

    def of(self, index: Tensor) -> Tensor:
        """Row numbers [b, n] of the histories of the rows ``index`` [b]: left-aligned, oldest
        first, padded with -1."""
        ...

    def show(self, index: Tensor) -> None:
        """Let the rows ``index`` be in histories from now on."""
        ...


class VisibleHistories:
    """Of each row the last n rows of the same id that are strictly earlier, visible, and wanted.

    Rows of the same moment are no history of each other: nobody knows which came first, and no row
    is in its own. All rows lie in one order, id by id and oldest first; a running count of the
    elements among them turns a row's two places in that order into a stretch of the elements.
    So a batch needs gathers only, and a change of what is visible one pass over the rows.

    Args:
        ids: the code of the side in each row [r].
        time: one number per row [r], NumPy.
        wanted: which rows may be elements at all [r], bool.
        visible: numbers of the rows that may be seen from the beginning.
        length: n.
        side: ``user`` or ``item``, whose codes ``ids`` are.
    """

    def __init__(
        self,
        ids: Tensor,
        time: np.ndarray,
        wanted: Tensor,
        visible: Tensor,
        *,
        length: int,
        side: str,
    ) -> None:
        self.length, self.side = length, side
        codes = ids.cpu().numpy()
        order = np.lexsort((time, codes))
        small = torch.int32 if len(order) < 2**31 - 1 else torch.int64
        place = torch.arange(len(order), dtype=small).numpy()
        other_id = _changes(codes[order])
        first = np.maximum.accumulate(np.where(other_id, place, 0))
        moment = np.maximum.accumulate(np.where(other_id | _changes(time[order]), place, 0))

        def by_row(places: np.ndarray) -> Tensor:
            found = torch.empty(len(order), dtype=small)
            found[torch.from_numpy(order)] = torch.from_numpy(places)
            return found.to(ids.device)

        # Where the row's id begins in the order, and where the row's moment does.
        self._first_r, self._moment_r = by_row(first), by_row(moment)
        self._order = torch.from_numpy(order).to(small).to(ids.device)
        self._wanted = wanted
        self._visible = torch.zeros_like(wanted)
        self.show(visible)

    def show(self, index: Tensor) -> None:
        """Let the rows ``index`` be in histories from now on."""
        # Nothing is written in place: a copy of this object shares what it has, and no more.
        self._visible = self._visible.index_fill(0, index, True)
        taken = (self._visible & self._wanted)[self._order.long()]
        self._element_m = self._order[taken]
        count = taken.cumsum(0, dtype=self._order.dtype)
        self._before = torch.cat([count.new_zeros(1), count])

    def of(self, index: Tensor) -> Tensor:
        """Row numbers [b, n], left-aligned, oldest first, padded with -1."""
        shape = (len(index), self.length)
        if not len(self._element_m):
            return index.new_full(shape, -1)
        begin_b, end_b = (
            self._before[places[index].long()].long() for places in (self._first_r, self._moment_r)
        )
        begin_b = torch.maximum(begin_b, end_b - self.length)
        place_bn = begin_b[:, None] + torch.arange(self.length, device=index.device)
        none_bn = place_bn >= end_b[:, None]
        place_bn = place_bn.clamp_(max=len(self._element_m) - 1)
        row_bn = self._element_m.index_select(0, place_bn.view(-1)).view(shape)
        return row_bn.masked_fill_(none_bn, -1).long()


def _changes(column: np.ndarray) -> np.ndarray:
    """Where a sorted column has another value than one place before; true at the first place."""
    return np.r_[np.ones(min(1, len(column)), bool), column[1:] != column[:-1]]


class SessionHistories:
    """The rows before the target in its session; which rows they are was said by the split.

    Args:
        table: ``of(index)`` gives row numbers [b, w], left-aligned, oldest first, padded with -1;
            a row that is no target has none.
        length: the newest n of them are kept.
    """

    side = "user"

    def __init__(self, table: Any, length: int) -> None:
        self._table = table
        self.length = min(length, int(table.rows.shape[1]))

    def show(self, index: Tensor) -> None:
        """Nothing: a session is known with its target."""

    def of(self, index: Tensor) -> Tensor:
        """Row numbers [b, n], left-aligned, oldest first, padded with -1."""
        row_bw = self._table.of(index)
        count_b = (row_bw >= 0).sum(dim=1)
        begin_b = (count_b - self.length).clamp(min=0)
        place_bn = begin_b[:, None] + torch.arange(self.length, device=index.device)
        inside = place_bn < count_b[:, None]
        return torch.where(inside, row_bw.gather(1, place_bn.clamp(max=row_bw.shape[1] - 1)), -1)


# ------------------------------------------------------------------------------- for a run
def are_read(config: Any) -> bool:
    """Whether the click model of a configuration, or a method's own network, reads histories.

    The class says so: ``reads_histories = True``, or, if it depends on keys, a class method
    ``needs_histories(config)``.
    """
    cls = config.backbone_class
    asked = getattr(cls, "needs_histories", None)
    return bool(getattr(cls, "reads_histories", False) if asked is None else asked(config))


def histories_of(config: Any, dataset: Any, rows: Any) -> Histories | None:
    """The histories of one method's rows, ``train`` visible; None if its model reads none.

    Rows of new ids are no elements: their rows of the embedding table are as they were drawn, and
    served vectors are not put into histories. So user histories (of new items) or item histories
    (of new users) stay those of ``train`` in all phases.

    Args:
        dataset: a view with its split.
        rows: its ``Rows``.

    Raises:
        UserError: a field has the name of the lengths, or sessions are asked for item histories.
    """
    if not are_read(config):
        return None
    if "length" in dataset.field2type:
        raise UserError(
            f"the data have a field 'length', and '{LENGTH}' is the length of histories; rename "
            "the field, or choose a backbone that reads no histories"
        )
    side, split = config["history_side"], dataset.split
    sessions = getattr(split, "histories", None)
    if sessions is not None:
        if side != "user":
            raise UserError(
                "history_side: item asks for the users of an item, and a split into sessions has "
                "the histories of users; leave history_side out"
            )
        return SessionHistories(sessions, config["history_length"])
    ids = rows.columns[_id_field(dataset, side)]
    wanted = torch.ones(len(ids), dtype=torch.bool, device=rows.device)
    if config["history"] == "clicked":
        wanted = rows.columns[rows.label_field] > 0
    if side != split.cold_side:
        new = torch.zeros(dataset.num(_id_field(dataset, split.cold_side)), dtype=torch.bool)
        new[torch.from_numpy(np.array(split.new_ids))] = True
        elements = rows.columns[_id_field(dataset, split.cold_side)].long()
        wanted = wanted & ~new.to(rows.device)[elements]
    return VisibleHistories(
        ids,
        _times(dataset.time, len(ids), split["train"], _seed(config, split)),
        wanted,
        rows.index(split["train"]),
        length=config["history_length"],
        side=side,
    )


def _times(time: np.ndarray | None, n: int, train: np.ndarray, seed: int) -> np.ndarray:
    """What orders the rows [n]; without times a drawn order, the rows of ``train`` first.

    Their own order is drawn apart from the others': it must not depend on how many these are.
    """
    times = times_of(time, n, seed)
    if time is None:
        times = times + n
        times[train] = times_of(None, len(train), seed)
    return times


def _id_field(dataset: Any, side: str) -> str:
    return dataset.uid_field if side == "user" else dataset.iid_field


def _seed(config: Any, split: Any) -> int:
    """Of the order of rows without times: the split's own where it drew one."""
    seeds = (split.manifest.get("seed"), config["pretrain_seed"], config["seed"])
    return next(seed for seed in seeds if seed is not None)


def notes(config: Any, dataset: Any) -> Iterator[str]:
    """What the histories of a run are, in a sentence; nothing for a model that reads none."""
    if not are_read(config) or getattr(dataset.split, "histories", None) is not None:
        return
    side, cold = config["history_side"], dataset.split.cold_side
    kind = "clicked rows" if config["history"] == "clicked" else "rows, clicked or not,"
    said = (
        f"a history is the last {config['history_length']} {kind} of the row's {side} that are "
        "visible and strictly earlier"
    )
    if side != cold:
        said += f", rows of new {cold}s left out"
    if dataset.time is None:
        said += (
            "; the data have no times, so earlier means an order drawn with seed "
            f"{_seed(config, dataset.split)}, training rows first"
        )
    yield said
