"""New items' vectors and numbers by maximum a posteriori, around any method's cold vectors.

Source: the hierarchical prior of VELF (Xu et al., WWW 2022: an ID's vector is drawn around one that
follows from its side information), with the random intercept of GLMix (KDD 2016); the point
estimate, on all rows seen so far at once:

    logit(r) = F(v_i, x_r) + c + b_i,    v_i ~ N(g_i, deviation^2 I),    b_i ~ N(0, variance)

g_i is the item's cold vector and F the frozen backbone. A row's logit depends on its own item
alone, so that one backward pass gives dF/dv of every row, and the curvature (Gauss and Newton's:
that of the loss, F taken as linear) is a matrix of d + 1 by d + 1 for each item. Between two steps
b and c are solved for exactly (``_item_bias.fit``), for which F need not be asked again.
Shape letters: n rows, m items, u items of one piece of the rows, d embedding size, e = d + 1.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cold.device import sums_at
from recbole_cold.model import _item_bias as item_bias

# Candidates for the prior's deviation, in deviations of old items' vectors from their mean.
WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
_MOST_STEPS = 30
# Steps beyond it, which kinks of F make many, move no metric's fourth digit.
TOLERANCE = 1e-5


class Piece(NamedTuple):
    """Rows of some items, all rows of each.

    Attributes:
        score: logits [n] of the rows with the vectors [n, d] for their items.
        label: 0 or 1, [n], float64.
        item: places among the new items, [n], ascending.
    """

    score: Callable[[Tensor], Tensor]
    label: Tensor
    item: Tensor


class Rows:
    """Rows of new items, item by item, in pieces.

    Args:
        pieces: no item is in two of them.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = list(pieces)
        self.label = torch.cat([piece.label for piece in self.pieces])
        self.item = torch.cat([piece.item for piece in self.pieces])

    @torch.no_grad()
    def logits(self, vector_md: Tensor) -> Tensor:
        """All logits [n], float64."""
        return torch.cat([piece.score(vector_md[piece.item]) for piece in self.pieces]).double()

    def logits_and_slopes(self, vector_md: Tensor) -> tuple[Tensor, Tensor]:
        """All logits [n] and their gradients to the item's vector [n, d], float64."""
        found = []
        for piece in self.pieces:
            vector_nd = vector_md[piece.item].detach().requires_grad_()
            with torch.enable_grad():
                logit = piece.score(vector_nd)
                (slope_nd,) = torch.autograd.grad(logit.sum(), vector_nd)
            found.append((logit.detach().double(), slope_nd.double()))
        logits, slopes = zip(*found, strict=True)
        return torch.cat(logits), torch.cat(slopes)


def fit(
    rows: Rows,
    prior_md: Tensor,
    deviation: float,
    variance: float,
    start_md: Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[Tensor, item_bias.ItemBias]:
    """Vectors [m, d] and numbers of the new items at the optimum.

    A deviation of 0 leaves the vectors at g.

    Args:
        start_md: vectors to search from, those of a similar prior for instance; g otherwise.
        tolerance: the search ends with a step that lowers the objective by no more than this share.
    """
    vector_md = prior_md
    if deviation:
        start_md = prior_md if start_md is None else start_md
        vector_md = _searched(rows, prior_md, deviation, variance, start_md, tolerance)
    logit = rows.logits(vector_md)
    return vector_md, item_bias.fit(logit, rows.label, rows.item, len(prior_md), variance)


def _searched(
    rows: Rows,
    prior_md: Tensor,
    deviation: float,
    variance: float,
    start_md: Tensor,
    tolerance: float,
) -> Tensor:
    """The vectors [m, d] that ``fit`` searches for.

    The search is for (v - g) / deviation, whose prior is standard normal. Items are apart once c is
    given, and each has a damping of its own (Levenberg and Marquardt's): click models have kinks,
    and a step that some items overshoot is right for the others.
    """
    items = len(prior_md)
    moved_md = (start_md - prior_md).double() / deviation
    damping_m = moved_md.new_zeros(items)

    def at(moved_md: Tensor) -> tuple[Tensor, Tensor]:
        logit, slope_nd = rows.logits_and_slopes(prior_md + (deviation * moved_md).to(prior_md))
        return logit, deviation * slope_nd

    def objective(logit: Tensor, bias: Tensor, shift: Tensor, moved_md: Tensor) -> Tensor:
        """Of each item [m], the priors of its vector and number included."""
        score = logit + (bias + shift)[rows.item]
        each = F.binary_cross_entropy_with_logits(score, rows.label, reduction="none")
        prior_m = moved_md.square().sum(dim=1) / 2 + bias.square() / (2 * variance)
        return sums_at(rows.item, each, items) + prior_m

    logit, slope_nd = at(moved_md)
    for _ in range(_MOST_STEPS):
        found = item_bias.fit(logit, rows.label, rows.item, items, variance)
        bias, shift = found.bias, found.shift
        step_me = _steps(rows, logit + shift, slope_nd, moved_md, bias, variance, damping_m)
        there_md, there_bias = moved_md - step_me[:, :-1], bias - step_me[:, -1]
        there_logit, there_slope_nd = at(there_md)
        before_m = objective(logit, bias, shift, moved_md)
        after_m = objective(there_logit, there_bias, shift, there_md)
        better_m = after_m <= before_m
        row = better_m[rows.item]
        moved_md = torch.where(better_m[:, None], there_md, moved_md)
        logit = torch.where(row, there_logit, logit)
        slope_nd = torch.where(row[:, None], there_slope_nd, slope_nd)
        damping_m = torch.where(better_m, damping_m / 4, (4 * damping_m).clamp(min=1.0))
        gain = float((before_m - after_m)[better_m].sum())
        if gain <= tolerance * float(before_m.sum()):
            break
    return prior_md + (deviation * moved_md).to(prior_md)


def _steps(
    rows: Rows,
    score: Tensor,
    slope_nd: Tensor,
    moved_md: Tensor,
    bias: Tensor,
    variance: float,
    damping_m: Tensor,
) -> Tensor:
    """Damped steps [m, e] of every item's vector and number, c as it is.

    Args:
        score: logits [n] with c, without the numbers.
    """
    step_me = torch.cat([moved_md, bias[:, None]], dim=1)  # without rows, back to the prior
    chance = (score + bias[rows.item]).sigmoid()
    gap, weight = chance - rows.label, chance * (1 - chance)
    slope_ne = torch.cat([slope_nd, torch.ones_like(gap)[:, None]], dim=1)
    prior_e = torch.cat([moved_md.new_ones(moved_md.shape[1]), bias.new_tensor([1 / variance])])
    start = 0
    for piece in rows.pieces:
        own = slice(start, start + len(piece.item))
        start = own.stop
        item_u, place = torch.unique_consecutive(piece.item, return_inverse=True)
        # Rows of an item side by side: sums over them are then matrix products.
        first_u = torch.searchsorted(place, torch.arange(len(item_u), device=place.device))
        column = torch.arange(len(place), device=place.device) - first_u[place]
        shape = len(item_u), int(column.max()) + 1
        slope_uke = slope_ne.new_zeros(*shape, slope_ne.shape[1])
        slope_uke[place, column] = slope_ne[own]
        gap_uk, weight_uk = slope_ne.new_zeros(2, *shape)
        gap_uk[place, column], weight_uk[place, column] = gap[own], weight[own]
        gradient_ue = torch.einsum("uk,uke->ue", gap_uk, slope_uke) + prior_e * step_me[item_u]
        block_uee = (weight_uk[..., None] * slope_uke).transpose(1, 2) @ slope_uke
        damped_ue = prior_e * (1 + damping_m[item_u, None])
        block_uee.diagonal(dim1=1, dim2=2).add_(damped_ue)
        factor_uee = torch.linalg.cholesky(block_uee)
        step_me[item_u] = torch.cholesky_solve(gradient_ue[..., None], factor_uee)[..., 0]
    return step_me


def predictive_loss(
    seen: Rows,
    next_rows: Rows,
    prior_md: Tensor,
    deviation: float,
    variance: float,
    start_md: Tensor | None = None,
) -> tuple[float, Tensor]:
    """Log-loss of rows that the fit has not seen, and its vectors."""
    vector_md, found = fit(seen, prior_md, deviation, variance, start_md)
    score = next_rows.logits(vector_md) + found.shift + found.bias[next_rows.item]
    return float(F.binary_cross_entropy_with_logits(score, next_rows.label)), vector_md


def chosen_deviation(
    seen: Rows, next_rows: Rows, prior_md: Tensor, unit: float, variance: float
) -> float:
    """The deviation, 0 or ``unit`` times one of ``WIDTHS``, that predicts ``next_rows`` best.

    Candidates are tried from the least on, each from the vectors of the one before, until one is
    worse.
    """
    least, vector_md = predictive_loss(seen, next_rows, prior_md, 0.0, variance)
    best = 0.0
    for width in WIDTHS:
        loss, vector_md = predictive_loss(
            seen, next_rows, prior_md, unit * width, variance, vector_md
        )
        if not loss < least:
            break
        best, least = unit * width, loss
    return best
