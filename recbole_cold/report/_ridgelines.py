"""Ridgelines: how a metric lies on batches of scored rows, a density per row and phase."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recbole_cold.report._drawing import (
    TEXT_GREY,
    add_panel,
    name_rows,
    new_figure,
    open_frame,
    with_margin,
    write_heading,
)
from recbole_cold.report._words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HIGHEST = 1.25  # of a ridge, in distances between rows: ridges overlap, as mountains do
_LINE = 0.36  # inches between rows
_GAP = 0.2
_MOST_NAME = 30
_SAME = 1e-9  # values that lie closer have no density


class Ridge(NamedTuple):
    """One row: its name, its colour and, per phase, the values on batches, without unknown ones."""

    label: str
    colour: str
    batches: Sequence[np.ndarray]


def density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Places and a Gaussian kernel density of ``values`` there, its peak scaled to 1.

    The bandwidth is by Scott's rule, n^(-1/5) sample deviations; the places go three bandwidths
    beyond the outermost values.

    Args:
        values: [n].

    Returns:
        Places [m] and heights [m]; None where the values are fewer than two, or all equal.
    """
    from scipy.stats import gaussian_kde

    if len(values) < 2 or np.ptp(values) <= _SAME:
        return None
    found = gaussian_kde(values)
    reach = 3 * float(np.sqrt(found.covariance[0, 0]))
    places = np.linspace(values.min() - reach, values.max() + reach, 256)
    heights = found(places)
    return places, heights / heights.max()


def ridges_figure(
    groups: Sequence[tuple[str, Sequence[Ridge]]],
    phases: Sequence[str],
    metric: str,
    title: str,
    told: Sequence[str],
    most: float | None = None,
) -> Any:
    """A panel per phase, in it a ridge per row; groups of rows under their headings.

    Args:
        told: the lines under the title, for figures of ``wide_of`` inches.
        most: what no value can be above.
    """
    places: list[tuple[float, Ridge]] = []
    headings, at = {}, 0.0
    for name, ridges in groups:
        if name:
            headings[name] = at
            at += 1.2
        places += [(at + number, ridge) for number, ridge in enumerate(ridges)]
        at += len(ridges) + 0.4
    left, wide, panel = _widths(groups, len(phases))
    last, first = at - 1.4, min(places[0][0] - _HIGHEST - 0.1, -0.4 if headings else 0.0)
    tall = _LINE * (last + 0.5 - first)
    above, below = 0.62 + 0.2 * len(told) + 0.26, 0.55
    high = above + tall + below
    figure = new_figure(wide, high)
    every = np.concatenate([batch for _, ridge in places for batch in ridge.batches])
    low, top = with_margin(every.min(), every.max(), 0.12)
    limits = (low, top if most is None else min(top, most))
    for number, phase in enumerate(phases):
        axes = add_panel(figure, left + number * (panel + _GAP), below, panel, tall)
        axes.set_xlim(*limits)
        axes.set_ylim(last + 0.5, first)
        for order, (place, ridge) in enumerate(places):
            _draw(axes, place, ridge, number, order)
        axes.set_title(phase, fontsize=11, loc="left")
        axes.set_yticks([place for place, _ in places], labels=[""] * len(places))
        if number == 0:
            names = [(place, shorten(ridge.label, _MOST_NAME)) for place, ridge in places]
            shown = [(place, shorten(name, _MOST_NAME)) for name, place in headings.items()]
            name_rows(axes, names, shown, -(left - 0.2) / panel, size=11)
        axes.set_xlabel(metric, fontsize=10.5)
        axes.tick_params(axis="x", labelsize=9.5)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        open_frame(axes)
        axes.spines["left"].set_visible(False)
    write_heading(figure, title, told, down=(0.34, 0.44))
    return figure


def wide_of(groups: Sequence[tuple[str, Sequence[Ridge]]], phases: int) -> float:
    """The width of the figure, in inches."""
    return _widths(groups, phases)[1]


def _widths(
    groups: Sequence[tuple[str, Sequence[Ridge]]], phases: int
) -> tuple[float, float, float]:
    """The room of names, the figure's width and a panel's, in inches."""
    labels = [ridge.label for _, ridges in groups for ridge in ridges]
    names = max(0.085 * len(shorten(label, _MOST_NAME)) for label in labels)
    # Headings are bold and larger.
    left = 0.35 + max(names, *(0.11 * len(shorten(name, _MOST_NAME)) for name, _ in groups))
    panel = max(2.3, (7.0 - left - 0.25 - (phases - 1) * _GAP) / phases)
    return left, left + phases * panel + (phases - 1) * _GAP + 0.25, panel


def _draw(axes: "Axes", place: float, ridge: Ridge, phase: int, order: int) -> None:
    """A ridge over its base line, the median in it, and a tick under it for every batch."""
    values = ridge.batches[phase] if phase < len(ridge.batches) else np.zeros(0)
    above = 2 + 3 * order  # lower rows stand before upper ones
    axes.axhline(place, color="#d0d0d0", linewidth=0.7, zorder=above)
    if not len(values):
        axes.text(0.99, place - 0.12, "no batch", transform=axes.get_yaxis_transform(), fontsize=8,
                  ha="right", va="bottom", color=TEXT_GREY, zorder=above)  # fmt: skip
        return
    found = density(values)
    middle, height = float(np.median(values)), 0.6
    if found is not None:
        x, y = found
        axes.fill_between(x, place, place - _HIGHEST * y, color="white", linewidth=0, zorder=above)
        axes.fill_between(
            x, place, place - _HIGHEST * y, color=ridge.colour, alpha=0.45, linewidth=0,
            zorder=above, label=ridge.label,
        )  # fmt: skip
        axes.plot(x, place - _HIGHEST * y, color=ridge.colour, linewidth=1.2, zorder=above + 1)
        height = _HIGHEST * float(np.interp(middle, x, y))
    axes.plot([middle, middle], [place, place - height], color="black", linewidth=1.3,
              zorder=above + 1)  # fmt: skip
    # Ridges of lower rows do not hide batches of upper ones.
    axes.vlines(values, place + 0.04, place + 0.22, color=ridge.colour, linewidth=0.8, zorder=1000)
