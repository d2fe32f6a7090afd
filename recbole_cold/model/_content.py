"""ID embeddings from content: the network of GAR and ALDI, and items without content.

Shape letters: b rows or items, n all items, d embedding size, s side information.
"""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recbole_cold.device import whole

logger = logging.getLogger(__name__)


class _Tanh(torch.autograd.Function):
    """``2 sigmoid(2 x) - 1``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = torch.sigmoid(x * 2.0).mul_(2.0).sub_(1.0)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        return torch.addcmul(gradient, gradient * out, out, value=-1.0)


def tanh(x: Tensor) -> Tensor:
    """``torch.tanh``; of float32 on a CPU, with gradients, in half its time, within 2e-7 of it."""
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch.is_grad_enabled():
        return _Tanh.apply(x)
    return torch.tanh(x)


class ContentNet(nn.Module):
    """Linear, BatchNorm, tanh, dropout, Linear: a vector of ``size`` numbers from side information.

    Statistics of a batch are those of its different items. A single item has none to be normalised
    by: it reads the running ones and leaves them.
    """

    def __init__(self, side: int, hidden: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.inside, self.norm = nn.Linear(side, hidden), nn.BatchNorm1d(hidden)
        self.dropout, self.outside = nn.Dropout(dropout), nn.Linear(hidden, size)

    def forward(self, side_bs: Tensor) -> Tensor:
        return whole(self.outside(self.hidden(side_bs)))

    def hidden(self, side_bs: Tensor) -> Tensor:
        """What the last layer reads: [b, hidden]."""
        return self.dropout(tanh(self._normalised(self.inside(side_bs))))

    def _normalised(self, hidden: Tensor) -> Tensor:
        if not self.training or len(hidden) > 1:
            return self.norm(hidden)
        norm = self.norm
        return F.batch_norm(
            hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )


def weights_of(module: nn.Module) -> list[nn.Parameter]:
    """The weight matrices of all linear layers inside, for the released code's L2 penalty."""
    return [part.weight for part in module.modules() if isinstance(part, nn.Linear)]


def squares(weights: list[nn.Parameter]) -> Tensor:
    """The sum of the squares of all numbers: a scalar; 0 where there are none."""
    return sum((weight.square().sum() for weight in weights), start=torch.zeros(()))


@torch.no_grad()
def without_content(backbone) -> Tensor:
    """Which items have padding in every token and sequence field and no content vector: bool [n].

    Float fields do not count, since their gaps are filled with the mean. If all side
    information is float fields, every item has content.
    """
    features = backbone.features_of(backbone.id_field)
    codes = [features[field] for field in backbone.side_fields if field in features]
    codes = [code.reshape(len(code), -1) for code in codes if not code.is_floating_point()]
    if not codes:
        device = backbone.id_table().device
        return torch.zeros(backbone.n_ids, dtype=torch.bool, device=device)
    return ~torch.cat(codes, dim=1).any(dim=1)


def tell_without_content(bare_b: Tensor, start: str) -> None:
    """Log how many of the new items have no content (``bare_b``), and how they start."""
    number = int(bare_b.sum())
    if number:
        logger.info(
            "%d of %d new items have no side information; they start from %s",
            number,
            len(bare_b),
            start,
        )


def mean_where_bare(method, rows_md: Tensor, ids: Tensor | None = None) -> Tensor:
    """Rows of new items, with the mean of old items' rows for those without content (logged).

    Args:
        ids: whose rows they are, [m], if not those of the new items.
    """
    bare = without_content(method.backbone)[method.new_ids if ids is None else ids]
    tell_without_content(bare, "the mean of old items' embeddings")
    return torch.where(bare[:, None], method.old_mean().detach(), rows_md)


def mean(value_b: Tensor) -> Tensor:
    """The mean, 0 of an empty tensor: a batch may have no row with a click."""
    return value_b.sum() / max(value_b.numel(), 1)
