"""Item-specific feature graphs as heat maps: one row per phase, one column per order."""

from pathlib import Path
from typing import Any

import numpy as np

from recbole_cold.errors import UserError
from recbole_cold.graphs import Graphs
from recbole_cold.report._drawing import add_panel, new_figure, save_figure, write_heading
from recbole_cold.report._words import shorten

_LONGEST_FIELD = 16
_CELL = 0.26  # inches of a heat map's cell


def plot_graphs(found: Graphs, item: str, path: str | Path, told: str = "") -> None:
    """Draw the adjacency matrices of one item, by phase and order, field names on both axes.

    The file appears whole or not at all; its suffix (png, pdf, svg) is the format.

    Raises:
        UserError: the item is none of the new ones, or the suffix is another.
    """
    if item not in found.items:
        some = ", ".join(list(found.items)[:5])
        raise UserError(
            f"item '{item}' is none of the {len(found.items)} new items of this run; "
            f"the first ones are {some}"
        )
    graphs = found.graphs[:, :, list(found.items).index(item)]
    save_figure(lambda: _figure(found, graphs, f"Feature graphs of item {item}", told), path)


def _figure(found: Graphs, graphs: np.ndarray, title: str, told: str) -> Any:
    n_phases, n_orders = graphs.shape[:2]
    names = [shorten(field, _LONGEST_FIELD) for field in found.fields]
    side = max(_CELL * len(names), 1.2)
    room = 0.25 + 0.085 * max(map(len, names))  # for names left of a row and below the last one
    left, above, gap, right = room + 0.3, 0.95, 0.3, 0.95
    wide = left + n_orders * side + (n_orders - 1) * gap + right
    high = above + n_phases * side + (n_phases - 1) * gap + room
    low, top, colours = 0.0, 1.0, "Blues"
    if graphs.min() < low or graphs.max() > top:  # raw graphs have entries of any size and sign
        top = float(np.ceil(10 * np.abs(graphs).max()) / 10)
        low, colours = -top, "RdBu"
    figure = new_figure(wide, high)
    for phase in range(n_phases):
        for order in range(n_orders):
            x = left + order * (side + gap)
            y = high - above - side - phase * (side + gap)
            axes = add_panel(figure, x, y, side, side)
            image = axes.imshow(graphs[phase, order], vmin=low, vmax=top, cmap=colours)
            last, first = phase == n_phases - 1, order == 0
            axes.set_xticks(range(len(names)), names if last else [], rotation=90, fontsize=8.5)
            axes.set_yticks(range(len(names)), names if first else [], fontsize=8.5)
            axes.tick_params(length=0)
            if phase == 0:
                axes.set_title(f"order {order + 1}", fontsize=10.5)
            if order == n_orders - 1:
                axes.text(1.04, 0.5, found.phases[phase], transform=axes.transAxes,
                          rotation=270, va="center", fontsize=10.5)  # fmt: skip
    y, x = high - above - side, wide - 0.55
    bar = add_panel(figure, x, y, 0.12, side)
    figure.colorbar(image, cax=bar, ticks=[low, (low + top) / 2, top]).ax.tick_params(labelsize=8.5)
    write_heading(figure, title, [told], down=(0.32, 0.55), align="baseline")
    return figure
