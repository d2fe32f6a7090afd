"""New items' vectors and numbers by maximum a posteriori, around any method's cold vectors.

Source: the hierarchical prior of VELF (Xu et al., WWW 2022: an ID's vector is drawn around one that
follows from its side information), with the random intercept of GLMix (KDD 2016); the point
estimate, on all rows seen so far at once:

    logit(r) = F(v_i, x_r) + c + b_i,    v_i ~ N(g_i, deviation^2 I),    b_i ~ N(0, variance)

g_i is the item's cold vector and F the frozen backbone. Given the vectors, b and c are solved for
exactly (``_item_bias.fit``), so that only the vectors are searched for; the gradient of what is
left is the partial one (the envelope theorem).
Shape letters: n rows, m new items, d embedding size.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cold.model import _item_bias as item_bias

# Candidates for the prior's deviation, in deviations of old items' vectors from their mean.
WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
_MOST_STEPS = 30

# Logits [n'] of one piece of the rows with vectors [m, d] for the new items.
Piece = Callable[[Tensor], Tensor]


class Rows:
    """Rows of new items, in pieces: what the search asks for logits.

    Args:
        pieces: logits [n'] of each piece's rows, as a function of all vectors [m, d].
        label: 0 or 1, [n], float64, piece by piece. item: places of the new items, [n].
    """

    def __init__(self, pieces: Sequence[Piece], label: Tensor, item: Tensor) -> None:
        self.pieces, self.label, self.item = pieces, label, item

    @torch.no_grad()
    def logits(self, vector_md: Tensor) -> Tensor:
        """All logits [n], float64."""
        return torch.cat([piece(vector_md) for piece in self.pieces]).double()


def fit(
    rows: Rows, prior_md: Tensor, deviation: float, variance: float
) -> tuple[Tensor, item_bias.ItemBias]:
    """Vectors [m, d] and numbers of the new items, by L-BFGS on the vectors.

    The search is for (v - g) / deviation, whose prior is standard normal. A deviation of 0 leaves
    the vectors at g.
    """
    vector_md = _searched(rows, prior_md, deviation, variance) if deviation else prior_md
    logit = rows.logits(vector_md)
    return vector_md, item_bias.fit(logit, rows.label, rows.item, len(prior_md), variance)


def _searched(rows: Rows, prior_md: Tensor, deviation: float, variance: float) -> Tensor:
    """The vectors [m, d] that ``fit`` searches for."""
    moved = torch.zeros_like(prior_md, requires_grad=True)
    search = torch.optim.LBFGS(
        [moved], max_iter=_MOST_STEPS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        search.zero_grad()
        vector_md = prior_md + deviation * moved.detach()
        found = item_bias.fit(
            rows.logits(vector_md), rows.label, rows.item, len(prior_md), variance
        )
        total = found.bias.square().sum() / (2 * variance)
        total = total + found.shift.square() / (2 * item_bias.SHIFT_VARIANCE)
        start = 0
        with torch.enable_grad():
            for piece in rows.pieces:
                logit = piece(prior_md + deviation * moved).double()
                own = slice(start, start + len(logit))
                start += len(logit)
                score = logit + found.shift + found.bias[rows.item[own]]
                loss = F.binary_cross_entropy_with_logits(score, rows.label[own], reduction="sum")
                loss.backward()
                total = total + loss.detach()
            penalty = moved.square().sum() / 2
            penalty.backward()
        return (total + penalty.detach()).to(moved.dtype)

    search.step(objective)
    return prior_md + deviation * moved.detach()


def predictive_loss(
    seen: Rows, next_rows: Rows, prior_md: Tensor, deviation: float, variance: float
) -> float:
    """Log-loss of rows that the fit has not seen."""
    vector_md, found = fit(seen, prior_md, deviation, variance)
    score = next_rows.logits(vector_md) + found.shift + found.bias[next_rows.item]
    return float(F.binary_cross_entropy_with_logits(score, next_rows.label))


def chosen_deviation(
    seen: Rows, next_rows: Rows, prior_md: Tensor, unit: float, variance: float
) -> float:
    """The deviation, 0 or ``unit`` times one of ``WIDTHS``, that predicts ``next_rows`` best.

    Candidates are tried from the least on, until one is worse than the one before.
    """
    best, least = 0.0, predictive_loss(seen, next_rows, prior_md, 0.0, variance)
    for width in WIDTHS:
        loss = predictive_loss(seen, next_rows, prior_md, unit * width, variance)
        if not loss < least:
            break
        best, least = unit * width, loss
    return best
