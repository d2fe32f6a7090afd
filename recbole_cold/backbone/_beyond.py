"""Codes beyond a field's table: the mean of the trained rows, or the padding, in their place.

A value that the run has never seen gets a code that its field's table does not have. Hooks on the
tables read padding there, and put the mean of the trained rows in where the field's policy says so.
Shape letters: b rows of a batch, f fields, d embedding size.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def read_beyond(
    model: nn.Module,
    trained: Mapping[str, np.ndarray],
    means: set[str],
    views: Iterable[nn.Module] = (),
) -> None:
    """Let all token tables of a click model take codes beyond their end; in place, for good.

    Args:
        model: whose parameters do not move any more.
        trained: field -> which of its codes training had, bool.
        means: the fields whose codes beyond the end are the mean row; padding is read for others.
        views: further modules with some of the model's fields, and hooks of their own.
    """
    for module in [*model.modules(), *views]:
        table = getattr(module, "token_embedding_table", None)
        if table is not None and list(getattr(module, "token_field_names", ())):
            Beyond(module, trained, means).hook(table)


def mean_of(table_nd: Tensor, trained: np.ndarray) -> Tensor:
    """The mean [d] of the rows that training had; zeros where it had none."""
    known = np.flatnonzero(trained)
    if not len(known):
        return torch.zeros_like(table_nd[0])
    return table_nd.detach()[torch.as_tensor(known, device=table_nd.device)].mean(dim=0)


class Beyond:
    """What stands for codes beyond the end of each field of a table of several fields.

    Args:
        owner: RecBole's module with the table and the names, sizes and offsets of its fields.
        trained, means: as ``read_beyond`` takes them.
    """

    def __init__(self, owner: Any, trained: Mapping[str, np.ndarray], means: set[str]) -> None:
        weight = owner.token_embedding_table.embedding.weight
        self.fields = list(owner.token_field_names)
        sizes = [int(size) for size in owner.token_field_dims]
        self.sizes_f = torch.tensor(sizes, device=weight.device)
        is_mean = [field in means for field in self.fields]
        self.is_mean_f = torch.tensor(is_mean, device=weight.device)
        self.mean_fd = weight.new_zeros(len(self.fields), weight.shape[1])
        offsets = zip(self.fields, owner.token_field_offsets, sizes, strict=True)
        for at, (field, offset, size) in enumerate(offsets):
            if field in means:
                own = weight[int(offset) : int(offset) + size]
                self.mean_fd[at] = mean_of(own, trained[field])
        self.beyond_bf: Tensor | None = None

    def hook(self, table: nn.Module) -> None:
        """Let the module that looks all the fields up [b, f] answer so."""
        table.register_forward_pre_hook(self._before)
        table.register_forward_hook(self._after)

    def _before(self, _table: Any, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        beyond_bf = inputs[0] >= self.sizes_f
        if not bool(beyond_bf.any()):
            self.beyond_bf = None
            return None
        self.beyond_bf = beyond_bf
        return (inputs[0].masked_fill(beyond_bf, 0),)

    def _after(self, _table: Any, _inputs: Any, rows_bfd: Tensor) -> Tensor | None:
        if self.beyond_bf is None:
            return None
        put_bf = self.beyond_bf & self.is_mean_f
        return torch.where(put_bf[..., None], self.mean_fd, rows_bfd)

    def rows(
        self, fields: Sequence[str], code_fb: Tensor, read: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Rows [f, b, d] of some of the fields, where a network looks them up by itself: ``read``
        gives those of known codes."""
        at = torch.tensor([self.fields.index(field) for field in fields], device=code_fb.device)
        beyond_fb = code_fb >= self.sizes_f[at][:, None]
        put_fb = beyond_fb & self.is_mean_f[at][:, None]
        found_fbd = read(code_fb.masked_fill(beyond_fb, 0))
        return torch.where(put_fb[..., None], self.mean_fd[at][:, None], found_fbd)
