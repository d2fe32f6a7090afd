"""One number per new item on top of a model's scores: a random intercept, fitted by MAP.

Source: the per-item random effect of Zhang et al., "GLMix: Generalized Linear Mixed Models For
Large-Scale Response Prediction", KDD 2016, equation 2, on the logits of a click model:

    logit(r) = z_r + c + b_i,    b_i ~ N(0, variance),    c ~ N(0, SHIFT_VARIANCE)

z_r is what the model gives for row r of item i; c is one shift that all new items share. The
variance follows from the same rows by empirical Bayes, so that items which hardly differ get small
numbers. The order inside an item is that of z, whatever b and c are.
Shape letters: n rows, m items, k nodes of a quadrature.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cold.device import sums_at

# So wide that it only keeps c finite where all rows are clicks, or none is.
SHIFT_VARIANCE = 100.0
LEAST_VARIANCE, MOST_VARIANCE = 1e-4, 100.0

_MOST_STEPS = 100
_NODES = 9
# Items that the variance is learned from: with this many its standard error is about one percent.
_ITEMS_FOR_VARIANCE = 20_000


class ItemBias(NamedTuple):
    """The shift c [], the items' numbers b [m], and the curvature of the loss at each b [m]."""

    shift: Tensor
    bias: Tensor
    precision: Tensor


def fit(logit: Tensor, label: Tensor, item: Tensor, n_items: int, variance: float) -> ItemBias:
    """The MAP estimate by Newton's method, for all items and the shift at once.

    The Hessian is diagonal but for the row of c, so that one Schur complement solves it. The
    objective is convex: a step is halved until it does not overshoot, that is until the slope along
    it is no steeper than before.

    Args:
        logit: z [n], float64. label: 0 or 1, [n], float64. item: places below ``n_items``, [n].
    """
    point = logit.new_zeros(n_items + 1)  # b, then c
    least = logit.new_full((n_items + 1,), 1 / variance)
    least[-1] = 1 / SHIFT_VARIANCE

    def derivatives(point: Tensor) -> tuple[Tensor, Tensor]:
        chance = (logit + point[-1]).add_(point[item]).sigmoid_()
        gap = sums_at(item, chance - label, n_items)
        curve = sums_at(item, chance.mul_(1 - chance), n_items)
        return torch.cat([gap, gap.sum()[None]]).add_(least * point), curve

    slope, curve = derivatives(point)
    for _ in range(_MOST_STEPS):
        precision = curve + least[:-1]
        share = curve / precision
        shift_step = (slope[-1] - share.dot(slope[:-1])) / (
            curve.sum() + least[-1] - share.dot(curve)
        )
        step = torch.cat([slope[:-1] / precision - share * shift_step, shift_step[None]])
        along, length = float(slope.dot(step)), 1.0
        # Newton's error is squared with each step, so that this one leaves about 1e-12.
        if float(step.abs().max()) < 1e-6:
            point = point - step
            break
        while True:
            there = point - length * step
            slope, curve = derivatives(there)
            if abs(float(slope.dot(step))) <= along or length < 1e-6:
                break
            length /= 2
        point = there
    return ItemBias(point[-1], point[:-1], curve + least[:-1])


def negative_evidence(
    logit: Tensor, label: Tensor, item: Tensor, n_items: int, variance: float
) -> float:
    """Minus the log-likelihood of the labels with b integrated out and c at its MAP estimate.

    The integral over each item's b is Gauss and Hermite's, with nodes around the mode (Pinheiro and
    Bates, 1995): exact but for 1e-5 or so with nine nodes.
    """
    found = fit(logit, label, item, n_items, variance)
    nodes, weights = np.polynomial.hermite.hermgauss(_NODES)
    width = (2 / found.precision).sqrt()
    terms = []
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        bias = found.bias + width * node
        score = logit + found.shift + bias[item]
        likelihood = sums_at(item, score * label - F.softplus(score), n_items)
        terms.append(likelihood - bias.square() / (2 * variance) + math.log(weight) + node**2)
    each = (
        torch.stack(terms).logsumexp(dim=0) + width.log() - 0.5 * math.log(2 * math.pi * variance)
    )
    return float(found.shift.square() / (2 * SHIFT_VARIANCE) - each.sum())


def learned_variance(
    logit: Tensor, label: Tensor, item: Tensor, n_items: int, generator: torch.Generator
) -> float:
    """The variance of the items' numbers with the greatest evidence (empirical Bayes).

    Of more than ``_ITEMS_FOR_VARIANCE`` items, so many are drawn. Without a row the variance does
    not matter and is 1.
    """
    from scipy.optimize import minimize_scalar

    present = torch.bincount(item, minlength=n_items) > 0
    known = torch.nonzero(present).reshape(-1)
    if not len(known):
        return 1.0
    drawn = torch.randperm(len(known), generator=generator)[:_ITEMS_FOR_VARIANCE]
    place = torch.full((n_items,), -1, device=item.device)
    place[known[drawn.to(known.device)]] = torch.arange(len(drawn), device=item.device)
    of_drawn = place[item] >= 0
    rows = logit[of_drawn], label[of_drawn], place[item[of_drawn]]
    found = minimize_scalar(
        lambda log_variance: negative_evidence(*rows, len(drawn), math.exp(log_variance)),
        bounds=(math.log(LEAST_VARIANCE), math.log(MOST_VARIANCE)),
        method="bounded",
        options={"xatol": 0.02},
    )
    return math.exp(found.x)
