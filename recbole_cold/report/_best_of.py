"""The picture of what tuning gains: the expected best value after 1, 2, ... trials of each row."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cold.errors import UserError
from recbole_cold.report._comparison import Comparison
from recbole_cold.report._drawing import (
    add_panel,
    draw_grid,
    new_figure,
    save_figure,
    with_margin,
    write_heading,
)
from recbole_cold.report._looks import Legend, Line, Look, draw_line, looks_of_comparison
from recbole_cold.report._words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL = (4.2, 3.0)  # inches
_GAP = (0.75, 0.75)


def plot_best_of(document: Mapping[str, Any], path: str | Path) -> None:
    """Draw the curves of a benchmark, a panel per backbone, rows alike in all of them.

    Raises:
        UserError: no row has a value, or the file cannot be written.
    """
    save_figure(lambda: best_of_figure(document), path)


def best_of_figure(document: Mapping[str, Any]) -> Any:
    """The picture of ``plot_best_of`` as a matplotlib figure.

    Raises:
        UserError: the document is of no benchmark, or no row has a value.
    """
    benchmark = document.get("benchmark") or {}
    panels: dict[str, dict[str, list[float]]] = {}
    for place, spent in benchmark.get("spent", {}).items():
        backbone, _, row = place.partition("|")
        if spent["best_of"]:
            panels.setdefault(backbone, {})[row] = spent["best_of"]
    if not panels:
        raise UserError("no row of this benchmark has a value.")
    rows = list(dict.fromkeys(row for curves in panels.values() for row in curves))
    comparison, metric = Comparison(document), benchmark["metric"]
    shown = metric if metric in comparison.metrics else comparison.metrics[0]
    looks = {row: look for row, look in looks_of_comparison(comparison, shown).items()
             if row in rows}  # fmt: skip
    across = min(len(panels), 3)
    down = math.ceil(len(panels) / across)
    left = 0.8
    wide = max(left + across * (_PANEL[0] + _GAP[0]), 6.4)
    told = textwrap.wrap(_told(document, benchmark), int((wide - 0.5) / 0.078))
    legend = Legend(looks, wide)
    above, below = 0.62 + 0.2 * len(told) + 0.28, 0.6 + legend.height
    high = above + down * _PANEL[1] + (down - 1) * _GAP[1] + below
    figure = new_figure(wide, high)
    for number, (backbone, curves) in enumerate(panels.items()):
        line, column = divmod(number, across)
        x = left + column * (_PANEL[0] + _GAP[0])
        y = high - above - (line + 1) * _PANEL[1] - line * _GAP[1]
        axes = add_panel(figure, x, y, *_PANEL)
        _draw(axes, curves, looks)
        axes.set_title(shorten(backbone, 38), fontsize=11, loc="left", weight="bold")
        axes.set_xlabel("trials", fontsize=10)
        if column == 0:
            axes.set_ylabel(f"expected best {benchmark['metric']}", fontsize=10.5)
    dataset = document["documents"][0]["dataset"]
    write_heading(figure, f"{dataset}: what tuning gains", told, down=(0.34, 0.44))
    legend.draw(figure)
    return figure


def _draw(axes: "Axes", curves: Mapping[str, list[float]], looks: Mapping[str, Look]) -> None:
    for row, look in looks.items():
        if row in curves:
            x = list(range(1, len(curves[row]) + 1))
            line = Line(row, look, x, curves[row], curves[row], curves[row])
            draw_line(axes, line, width=1.7, marker=4, band=0.0)
    every = [value for values in curves.values() for value in values]
    axes.set_ylim(*with_margin(min(every), max(every), least=0.002))
    most = max(map(len, curves.values()))
    axes.set_xticks(sorted({1, *range(2, most + 1, max(1, most // 8))}))
    draw_grid(axes)


def _told(document: Mapping[str, Any], benchmark: Mapping[str, Any]) -> str:
    seeds = benchmark["tune_seeds"]
    return (
        f"{benchmark['metric']} ({benchmark['better']} is better) on pseudo-new items, mean over "
        f"the phases and {seeds} seed{'s' * (seeds > 1)}; trial 1 is the default setting, the "
        "others are draws: the expected best of n trials is that of the default and n - 1 draws"
    )
