"""How well probabilities are calibrated, apart from how well they order rows.

All functions take probabilities in float64, clipped away from 0 and 1, and boolean labels.
Shape letters: n rows.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

ECE_BINS = 15
COUNT_PARTS = 4
_MOST_STEPS = 100


def entropy(share: float) -> float:
    """Entropy in nats of a click with this probability: the log-loss of the constant score."""
    if not 0.0 < share < 1.0:
        return 0.0
    return -share * math.log(share) - (1 - share) * math.log1p(-share)


def shift_and_slope(logit: Tensor, positive: Tensor) -> tuple[float, float]:
    """The shift a and slope b with the least log-loss of ``a + b * logit`` (Platt, 1999).

    Newton's method on a convex function, its steps halved where they do not descend. Scores that
    separate the classes have no finite optimum: the search ends where the loss is 0 to rounding.

    Args:
        logit: [n], float64. positive: bool [n], both classes present.
    """
    label = positive.to(logit.dtype)
    design = torch.stack([torch.ones_like(logit), logit], dim=1)
    point = torch.tensor([0.0, 1.0], dtype=logit.dtype, device=logit.device)

    def loss(at: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(design @ at, label)

    now = loss(point)
    for _ in range(_MOST_STEPS):
        chance = torch.sigmoid(design @ point)
        gradient = design.T @ (chance - label) / len(label)
        weighted = design * (chance * (1 - chance))[:, None]
        # A ridge far below any curvature that matters: constant scores have no slope.
        hessian = design.T @ weighted / len(label) + 1e-12 * torch.eye(2, dtype=logit.dtype).to(
            logit.device
        )
        step, length = torch.linalg.solve(hessian, gradient), 1.0
        while length > 1e-8 and not bool((then := loss(point - length * step)) < now):
            length /= 2
        if length <= 1e-8 or float(now - then) < 1e-14:
            break
        point, now = point - length * step, then
    return float(point[0]), float(point[1])


def calibrated_log_loss(chance: Tensor, positive: Tensor) -> float:
    """Log-loss after one shift and one slope of the logits, fitted on these same rows.

    What is left is the loss of the order and spacing of the scores; the difference to the plain
    log-loss is the loss of their calibration.
    """
    clicks = int(positive.sum())
    if clicks in (0, len(positive)):
        return 0.0  # the shift makes any constant certain
    logit = torch.logit(chance)
    shift, slope = shift_and_slope(logit, positive)
    return float(F.binary_cross_entropy_with_logits(shift + slope * logit, positive.double()))


def brier(chance: Tensor, positive: Tensor) -> float:
    """Mean squared difference between probability and label (Brier, 1950)."""
    return float((chance - positive.double()).square().mean())


def equal_mass_bins(chance: Tensor, bins: int = ECE_BINS) -> Tensor:
    """The bin of each row [n], bins of equally many rows, by their probability from low to high.

    Rows with equal scores share a bin, by their middle rank, so the order of rows does not matter.
    """
    n = len(chance)
    _, level, count = chance.unique(return_inverse=True, return_counts=True)
    below = count.cumsum(0) - count
    return ((2 * below + count) * bins // (2 * n)).clamp(max=bins - 1)[level]


def expected_calibration_error(chance: Tensor, positive: Tensor, bins: int = ECE_BINS) -> float:
    """Mean distance between mean probability and share of clicks in bins of equally many rows."""
    place = equal_mass_bins(chance, bins)
    gap = torch.zeros(bins, dtype=torch.float64, device=chance.device)
    order = chance.argsort()
    gap.index_add_(0, place[order], (chance - positive.double())[order])
    return float(gap.abs().sum() / len(chance))


def reliability(
    chance: Tensor, positive: Tensor, bins: int = ECE_BINS
) -> dict[str, list[float | None]]:
    """Mean probability, share of clicks and rows of each bin of :func:`equal_mass_bins`.

    To six decimals: these are drawn. A bin that ties left empty has None, None and 0 rows.
    """
    place = equal_mass_bins(chance, bins)
    rows = torch.bincount(place, minlength=bins)
    order = chance.argsort()  # sums do not depend on the order of rows
    total = torch.zeros(bins, dtype=torch.float64, device=chance.device)
    total.index_add_(0, place[order], chance[order])
    clicks = torch.bincount(place[positive], minlength=bins)
    count: list[int] = rows.tolist()

    def shares(sums: Tensor) -> list[float | None]:
        pairs = zip(sums.tolist(), count, strict=True)
        return [round(each / size, 6) if size else None for each, size in pairs]

    return {"predicted": shares(total), "clicked": shares(clicks), "rows": [*count]}


def predicted_over_clicks(chance: Tensor, positive: Tensor) -> float:
    """Mean probability over the share of clicks (PCOC); above 1: too high. nan without."""
    clicks = int(positive.sum())
    return float(chance.sum()) / clicks if clicks else math.nan


def pcoc_by_count(
    chance: Tensor, positive: Tensor, group: Tensor, parts: int = COUNT_PARTS
) -> dict[str, Any]:
    """PCOC of rare and of frequent groups (items, say): in quarters of equally many of them.

    A group's count is that of its evaluated rows: in a warm phase all new items have equally many
    rows seen. Groups of equal count share a part, so that a part may be empty; it is left out.

    Returns:
        Lists with an entry per part, rarest first: ``least`` and ``most`` rows of a group,
        ``groups``, ``rows``, and ``value``, mean probability over share of clicks.
    """
    found: dict[str, Any] = {"least": [], "most": [], "groups": [], "rows": [], "value": []}
    _, code, count = group.unique(return_inverse=True, return_counts=True)
    _, level, size = count.unique(return_inverse=True, return_counts=True)
    below = size.cumsum(0) - size
    # A level's place is that of its middle: with one row more or less it stays where it is.
    part = ((2 * below + size) * parts // (2 * max(1, len(count))))[level]
    for number in part.unique().tolist():
        inside = part == number
        rows = inside[code]
        found["least"].append(int(count[inside].min()))
        found["most"].append(int(count[inside].max()))
        found["groups"].append(int(inside.sum()))
        found["rows"].append(int(rows.sum()))
        found["value"].append(predicted_over_clicks(chance[rows], positive[rows]))
    return found
