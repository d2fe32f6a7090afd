"""Old items whose content vectors point the same way: neighbours by cosine, beside shared tokens.

Shape letters: n all items, o old items, a asked items, m width of the vectors, k neighbours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_MOST = 1 << 24  # cosines at a time: 64 MiB


def by_cosine(
    units: Sequence[Tensor], old_ids: Tensor, ids: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """The ``size`` old items with the largest positive cosine, best first: ids [n, k] and a mask.

    Of several fields the cosines are added; a field that one of two items misses adds nothing.

    Args:
        units: per field, vectors of length 1, or zeros for missing ones: [n, m].
        old_ids: who may be a neighbour; an item is not its own.
        ids: whose neighbours are wanted; the others get none.
        size: k, or less where there are fewer old items.
    """
    n, k = len(units[0]), min(size, len(old_ids))
    index = torch.zeros(n, k, dtype=torch.int32, device=old_ids.device)
    mask = torch.zeros(n, k, dtype=torch.bool, device=old_ids.device)
    old = [unit[old_ids] for unit in units]
    for part in ids.split(max(1, _MOST // max(len(old_ids), 1))):
        cosine = sum(unit[part] @ known.T for unit, known in zip(units, old, strict=True))
        cosine = cosine.masked_fill(part[:, None] == old_ids, -torch.inf)
        value, place = cosine.topk(k, dim=1)
        index[part] = old_ids[place].int()
        # What is left of two that share nothing but rounding is no likeness.
        mask[part] = value > 1e-6
    return index, mask


def units_of(vectors_nm: Tensor) -> Tensor:
    """Vectors brought to length 1; zeros stay."""
    return F.normalize(vectors_nm, dim=1)


def joined(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two lists of neighbours side by side, each neighbour once: [n, k + k'], and a mask."""
    (index, real), (more, there) = one, other
    for column in range(index.shape[1]):
        again = (more == index[:, column, None]) & real[:, column, None]
        there = there & ~again
    return torch.cat([index, more], dim=1), torch.cat([real, there], dim=1)
