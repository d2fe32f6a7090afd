"""Rows of embedding tables that no training row reads carry no draw: they are zero.

Nothing would ever train such a row; what an initialiser drew there would reach the scores as noise.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


@torch.no_grad()
def zero_rows(table: Tensor, codes: np.ndarray, offset: int = 0) -> None:
    """Set the rows ``codes`` of a field's table [n, d] to zero, in place.

    Args:
        offset: where the field begins in a table of several fields.
    """
    if len(codes):
        table[torch.as_tensor(np.asarray(codes, np.int64), device=table.device) + offset] = 0.0


def zero_unseen(model: nn.Module, unseen: Mapping[str, np.ndarray]) -> None:
    """Zero the rows of ``unseen`` in all token and sequence tables of a click model, in place.

    To be called when the model is initialised. Its first-order part and second tables that name
    their fields as RecBole's models do are found as well.

    Args:
        unseen: field -> codes that no training row has.
    """
    for module in model.modules():
        names = list(getattr(module, "token_field_names", ()))
        table = getattr(module, "token_embedding_table", None)
        if table is not None:
            for field, offset in zip(names, module.token_field_offsets, strict=True):
                zero_rows(table.embedding.weight, unseen.get(field, ()), int(offset))
        names = list(getattr(module, "token_seq_field_names", ()))
        tables = getattr(module, "token_seq_embedding_table", None)
        for field, table in zip(names, tables or (), strict=True):
            zero_rows(table.weight, unseen.get(field, ()))
