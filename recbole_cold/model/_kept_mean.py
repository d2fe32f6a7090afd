"""The mean of some rows of a table, kept up while few of its rows move at a time.

Shape letters: b some ids, m the ids whose mean it is, w numbers of a row.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Rows are added up in units of 2^-36, in 64 bits: a million rows of up to 100 fit.
_UNIT = 2.0**36
_CHUNK = 65536


def _whole(rows_bw: Tensor) -> Tensor:
    """The sum of the rows in units: whole numbers [w]."""
    return (rows_bw.double() * _UNIT).round().long().sum(dim=0)


class KeptMean:
    """Instead of all m rows, a step reads those that the step before moved.

    Sums are of whole numbers, so that what is added up step by step is the sum taken anew to the
    last bit: a run that was interrupted goes on with the same numbers.

    Args:
        rows_of: the rows [b, w] of some ids as they are now.
        ids: whose mean it is, each once: [m].
        n_ids: number of ids there are.
    """

    def __init__(self, rows_of: Callable[[Tensor], Tensor], ids: Tensor, n_ids: int) -> None:
        self._rows_of, self._ids = rows_of, ids
        self._counts_n = torch.zeros(n_ids, dtype=torch.bool, device=ids.device)
        self._counts_n[ids] = True
        self._sum: Tensor | None = None
        self._dtype = rows_of(ids[:0]).dtype
        self._moving, self._before = ids[:0], torch.zeros(())

    @torch.no_grad()
    def mean(self) -> Tensor:
        """The mean of the rows as they are now: [w]."""
        if self._sum is None:
            parts = [_whole(self._rows_of(part)) for part in self._ids.split(_CHUNK)]
            self._sum = torch.stack(parts).sum(dim=0)
        elif len(self._moving):
            self._sum = self._sum - self._before + _whole(self._rows_of(self._moving))
        self._moving = self._ids[:0]
        return (self._sum.double() / (_UNIT * len(self._ids))).to(self._dtype)

    @torch.no_grad()
    def will_move(self, ids: Tensor) -> None:
        """Until ``mean`` is asked again, no other rows move than those of ``ids`` [b]."""
        unique = ids.unique()
        self._moving = unique[self._counts_n[unique]]
        self._before = _whole(self._rows_of(self._moving))
