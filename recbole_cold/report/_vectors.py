"""Pictures of the ID vectors of new items among those of old ones, in two dimensions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_cold.report._drawing import (
    COLOURS,
    GREY,
    add_panel,
    new_figure,
    open_frame,
    save_figure,
    write_heading,
)
from recbole_cold.report._words import shorten

_MOST_POINTS = 5000  # drawn per kind and panel; more would hide each other
_PANELS_IN_A_ROW = 4


class IdVectors(NamedTuple):
    """Served ID vectors of one run in one phase: those of old items [o, d], of new ones [m, d]."""

    label: str
    old: np.ndarray
    new: np.ndarray


class Plane(NamedTuple):
    """Two directions of a space: a point's place in them is ``(point - origin) @ axes``.

    Attributes:
        origin: [d].
        axes: [d, 2], orthonormal; the largest number of each is positive.
        share: of the variance of what they were made of, in [0, 1]: [2].
    """

    origin: np.ndarray
    axes: np.ndarray
    share: np.ndarray

    def place(self, points: np.ndarray) -> np.ndarray:
        return (points - self.origin) @ self.axes


def principal_plane(points: np.ndarray) -> Plane:
    """The first two principal components of ``points`` [n, d]; d of 1 has a second one of zeros."""
    points = np.asarray(points, dtype=np.float64)
    origin = points.mean(axis=0)
    _, values, rows = np.linalg.svd(points - origin, full_matrices=False)
    axes, share = np.zeros((points.shape[1], 2)), np.zeros(2)
    for number, row in enumerate(rows[:2]):
        axes[:, number] = row * np.sign(row[np.abs(row).argmax()])
        share[number] = values[number] ** 2 / max((values**2).sum(), np.finfo(float).tiny)
    return Plane(origin, axes, share)


def mean_distance(vectors: IdVectors) -> float:
    """The distance between the mean vectors of new and of old items, over all dimensions.

    The unit is the root mean square distance of old items from their mean; without spread, inf.
    """
    old, new = (np.asarray(part, dtype=np.float64) for part in vectors[1:])
    spread = np.sqrt(((old - old.mean(axis=0)) ** 2).sum(axis=1).mean())
    return float(np.linalg.norm(new.mean(axis=0) - old.mean(axis=0)) / spread) if spread else np.inf


def plot_vectors(panels: Sequence[IdVectors], title: str, path: str | Path) -> None:
    """Draw each run's old and new items in the plane of its old items' principal components.

    The file appears whole or not at all; its suffix (png, pdf, svg) is the format.

    Raises:
        UserError: the suffix is another, or the folder is unwritable.
    """
    save_figure(lambda: _figure(panels, title), path)


def _figure(panels: Sequence[IdVectors], title: str, about: str = "") -> Any:
    columns = min(len(panels), _PANELS_IN_A_ROW)
    lines = -(-len(panels) // columns)
    wide, high = max(0.4 + 3.3 * columns, 6.2), 0.95 + 3.5 * lines
    figure = new_figure(wide, high)
    for number, panel in enumerate(panels):
        left = 0.75 + 3.3 * (number % columns)
        below = high - 0.95 - 3.5 * (number // columns) - 2.85
        # The same old items span the same plane: then distances compare from panel to panel.
        before = zip(panels, figure.axes, strict=False)
        twin = next((axes for other, axes in before if np.array_equal(other.old, panel.old)), None)
        axes = add_panel(figure, left, below, 2.45, 2.45, sharex=twin, sharey=twin)
        _draw(axes, panel, COLOURS[number % len(COLOURS)])
    told = "grey: old items, whose first two principal components these are; colour: new items"
    if about:
        write_heading(figure, title, [about, told], down=(0.32, 0.44))
    else:
        write_heading(figure, title, [told], down=(0.32, 0.58), align="baseline")
    return figure


def _draw(axes: Any, panel: IdVectors, colour: str) -> None:
    plane = principal_plane(panel.old)
    for points, look in (
        (panel.old, {"color": GREY, "marker": "o", "alpha": 0.35, "zorder": 1}),
        (panel.new, {"color": colour, "marker": "^", "alpha": 0.55, "zorder": 2}),
    ):
        place = plane.place(points[:: -(-len(points) // _MOST_POINTS) or 1])
        axes.scatter(place[:, 0], place[:, 1], s=7, linewidths=0, rasterized=True, **look)
    axes.set_title(
        f"{shorten(panel.label, 30)}\nmeans apart {mean_distance(panel):.2f}",
        fontsize=10,
        loc="left",
    )
    axes.set_xlabel(f"component 1 ({plane.share[0]:.0%})", fontsize=9)
    axes.set_ylabel(f"component 2 ({plane.share[1]:.0%})", fontsize=9)
    axes.tick_params(labelsize=8)
    open_frame(axes)
