"""Codes beyond a field's table: the mean of the trained rows, or the padding, in their place.

A value that the run has never seen gets a code that its field's table does not have. Hooks on the
tables read padding there, and put the mean of the trained rows in where the field's policy says so.
Shape letters: b rows of a batch, f fields, d embedding size.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def read_beyond(model: nn.Module, trained: Mapping[str, np.ndarray], means: set[str]) -> None:
    """Let all token tables of a click model take codes beyond their end; in place, for good.

    Args:
        model: whose parameters do not move any more.
        trained: field -> which of its codes training had, bool.
        means: the fields whose codes beyond the end are the mean row; padding is read for others.
    """
    for module in list(model.modules()):
        table = getattr(module, "token_embedding_table", None)
        if table is not None and list(getattr(module, "token_field_names", ())):
            _Beyond(module, table, trained, means)


class _Beyond:
    """The hooks of one table of several fields."""

    def __init__(
        self, owner: Any, table: Any, trained: Mapping[str, np.ndarray], means: set[str]
    ) -> None:
        weight = table.embedding.weight
        fields = list(owner.token_field_names)
        self.sizes_f = torch.tensor([int(n) for n in owner.token_field_dims], device=weight.device)
        self.is_mean_f = torch.tensor([field in means for field in fields], device=weight.device)
        self.mean_fd = weight.new_zeros(len(fields), weight.shape[1])
        for at, (field, offset) in enumerate(zip(fields, owner.token_field_offsets, strict=True)):
            known = np.flatnonzero(trained[field]) if field in means else ()
            if len(known):
                rows = torch.as_tensor(known, device=weight.device) + int(offset)
                self.mean_fd[at] = weight.detach()[rows].mean(dim=0)
        self.beyond_bf: Tensor | None = None
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
