"""Layers of click models that read histories: Dice, and an MLP with an activation of choice.

Source of Dice: Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018,
arXiv 1706.06978, equation 4.
Shape letters: b rows, n positions of a history, w width of a layer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from recbole_cold.backbone._modes import evaluating
from recbole_cold.device import whole


def dice(x: Tensor, standard: Tensor, alpha_w: Tensor) -> Tensor:
    """``f(x) = p x + (1 - p) alpha x`` with ``p = sigmoid((x - E[x]) / sqrt(Var[x] + eps))``.

    Args:
        x: [..., w].
        standard: ``(x - E[x]) / sqrt(Var[x] + eps)``, of the same shape.
        alpha_w: slope where ``p`` is 0.
    """
    share = torch.sigmoid(standard)
    # (alpha + p (1 - alpha)) x: two passes over x and over its gradient, where the formula has five
    return torch.addcmul(alpha_w, share, 1.0 - alpha_w) * x


class MaskedNorm(nn.BatchNorm1d):
    """BatchNorm without weight and bias for [..., w], whose statistics leave masked entries out.

    Histories are padded to one length, and what stands in a padded position must not matter;
    without the mask it would be part of mean and variance. In training mode each batch is
    normalised by its own statistics, and the running ones move towards them as in PyTorch; a batch
    without any real entry leaves them alone. Differentiable twice.

    Args:
        width: w.
        eps: added to the variance; 1e-8 is the DIN paper's for Dice.
    """

    def __init__(self, width: int, eps: float = 1e-8) -> None:
        super().__init__(width, eps=eps, affine=False)
        # Whether training moves the running statistics (``fixed_statistics``), and how many real
        # entries they are the mean of (``settle_statistics``); None: a moving average.
        self.moving = True
        self.seen: Tensor | None = None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` standardised.

        Args:
            x: [..., w].
            mask: [...], true at real entries; None: all are.
        """
        x = whole(x)  # statistics are sums
        if not self.training:
            return (x - self.running_mean) * torch.rsqrt(self.running_var + self.eps)
        flat = x.reshape(-1, x.shape[-1])
        real = (
            flat.new_ones(flat.shape[0], 1) if mask is None else mask.reshape(-1, 1).to(flat.dtype)
        )
        n = real.sum()
        mean = (flat * real).sum(dim=0) / n.clamp(min=1.0)
        centred = flat - mean
        variance = (centred.square() * real).sum(dim=0) / n.clamp(min=1.0)
        if self.moving:
            self._move(mean.detach(), variance.detach(), n)
        return (centred * torch.rsqrt(variance + self.eps)).view_as(x)

    @torch.no_grad()
    def _move(self, mean: Tensor, variance: Tensor, n: Tensor) -> None:
        # As in PyTorch the running variance is the unbiased one.
        unbiased = variance * n / (n - 1.0).clamp(min=1.0)
        if self.seen is None:
            weight = self.momentum * (n > 0).to(mean.dtype)
        else:
            self.seen = self.seen + n
            weight = n / self.seen.clamp(min=1.0)
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(unbiased, weight)


class Dice(nn.Module):
    """The activation ``dice`` with a learned slope per column, 0 at the start.

    Args:
        width: w, the number of columns.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = MaskedNorm(width)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[..., w] from [..., w]; ``mask`` [...] as in ``MaskedNorm``."""
        return dice(x, self.norm(x, mask), self.alpha)


class MLP(nn.Module):
    """Linear layers with an activation between them, and none at the end.

    Args:
        sizes: of the input, the hidden layers and the output.
        activation: makes the activation behind a layer of the given width.
    """

    def __init__(self, sizes: Sequence[int], activation: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.activation = nn.ModuleList(activation(size) for size in sizes[1:-1])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[..., last size] from [..., first size].

        Args:
            mask: [...], true at real entries; only Dice asks for it.
        """
        return self.behind(self.linear[0](x), mask)

    def behind(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """As the whole, from what the first linear layer gives."""
        for activation, layer in zip(self.activation, islice(self.linear, 1, None), strict=True):
            x = activation(x, mask) if isinstance(activation, Dice) else activation(x)
            x = layer(x)
        return x


def mlp(sizes: Sequence[int], activation: str) -> MLP:
    """``MLP`` with the activation ``dice``, ``relu``, ``sigmoid`` or ``tanh``."""
    plain: dict[str, Callable[[int], nn.Module]] = {
        "dice": Dice,
        "relu": lambda _width: nn.ReLU(),
        "sigmoid": lambda _width: nn.Sigmoid(),
        "tanh": lambda _width: nn.Tanh(),
    }
    return MLP(sizes, plain[activation])


def _norms(module: nn.Module) -> list[MaskedNorm]:
    return [part for part in module.modules() if isinstance(part, MaskedNorm)]


@contextmanager
def fixed_statistics(*parts: nn.Module) -> Iterator[None]:
    """Context: batches are normalised as before, but running statistics do not move.

    For a step that must leave no trace in the buffers, such as the inner step of a meta-learner.
    Layers of ``MaskedNorm`` only.
    """
    norms = [norm for part in parts for norm in _norms(part)]
    before = [norm.moving for norm in norms]
    for norm in norms:
        norm.moving = False
    try:
        yield
    finally:
        for norm, moving in zip(norms, before, strict=True):
            norm.moving = moving


@torch.no_grad()
def settle_statistics(model: nn.Module, batches: Iterable[Any]) -> None:
    """Take the running statistics of ``model``'s layers of ``MaskedNorm`` anew from ``batches``.

    A moving average is one of weights that have moved on since. Where a layer's spread is small
    against its drift, as it is while embeddings are young, the two have little to do with each
    other, and a network that tells clicks apart in training mode does not when it is scored. So the
    means and variances of the batches are averaged with the weights as they are, each batch
    weighted by its real entries. Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, arXiv
    2105.07576, section 3.

    Args:
        batches: each one is given to ``model``; all else is in evaluation mode.
    """
    norms = _norms(model)
    with evaluating(model):
        for norm in norms:
            norm.training, norm.seen = True, norm.running_mean.new_zeros(())
        try:
            for batch in batches:
                model(batch)
        finally:
            for norm in norms:
                norm.seen = None
