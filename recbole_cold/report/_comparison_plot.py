"""The picture of a comparison: phase curves, one panel per backbone, one legend for all."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import better
from recbole_cold.report._comparison import MATCHED, Cell, Comparison, Key
from recbole_cold.report._drawing import (
    TEXT_GREY,
    add_panel,
    draw_grid,
    line_style,
    name_phases,
    new_figure,
    save_figure,
    with_margin,
    write_heading,
)
from recbole_cold.report._words import scored_on, seed_names, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL = (3.3, 2.55)  # inches
_GAP = (0.35, 0.6)
_SHARED_RANGE = 1.6  # panels share an axis unless that would flatten them by more than this


def plot_comparison(comparison: Comparison, path: str | Path, metric: str = "AUC") -> None:
    """Draw ``metric`` over the phases, a panel per backbone, rows alike in all of them.

    The axis is shared where that leaves the curves readable; the picture says where it is not.

    Raises:
        UserError: the suffix is not png, pdf or svg, or nothing of the metric is known.
    """
    save_figure(lambda: comparison_figure(comparison, metric), path)


def comparison_figure(comparison: Comparison, metric: str = "AUC") -> Any:
    """The picture of ``plot_comparison`` as a matplotlib figure.

    Raises:
        UserError: nothing of the metric is known.
    """
    metric = metric if metric in comparison.metrics else next(iter(comparison.metrics), metric)
    cells = comparison.cells(metric) if metric in comparison.metrics else {}
    if not cells:
        raise UserError(f"no cell of this comparison has a value of {metric}.")
    return _figure(comparison, metric, cells)


def _styles(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """The look of each row's line; the plain backbone's rows are grey."""
    styles, numbers = {}, {True: 0, False: 0}
    for row in comparison.rows:
        plain = row in ("Base", MATCHED) or row.startswith(("Base[", "Base ("))
        styles[row] = line_style(numbers[plain], plain)
        numbers[plain] += 1
    return styles


def _figure(comparison: Comparison, metric: str, cells: Mapping[Key, Cell]) -> Any:
    """Panels in rows of at most three, laid out in inches; the legend has a row of its own."""
    from matplotlib.lines import Line2D

    count = len(comparison.backbones)
    across = count if count <= 3 else (2 if count == 4 else 3)
    down = math.ceil(count / across)
    styles = _styles(comparison)
    ranges = _ranges(comparison, cells)
    shared = len(set(ranges.values())) <= 1
    gap = _GAP[0] if shared else _GAP[0] + 0.35
    left, right = 0.75, 0.25
    wide = max(left + across * _PANEL[0] + (across - 1) * gap + right, 6.4)
    told = textwrap.wrap(_told(comparison, metric, shared), int((wide - 0.5) / 0.078))
    names = {row: shorten(row, 40) for row in comparison.rows}
    columns = max(
        1, min(len(names), int((wide - 0.4) / (0.75 + 0.085 * max(map(len, names.values())))))
    )
    legend = 0.27 * math.ceil(len(names) / columns) + 0.15
    above, below = 0.62 + 0.2 * len(told) + 0.28, 0.5 + legend
    high = above + down * _PANEL[1] + (down - 1) * _GAP[1] + below
    figure = new_figure(wide, high)
    for number, backbone in enumerate(comparison.backbones):
        row, column = divmod(number, across)
        x = left + column * (_PANEL[0] + gap)
        y = high - above - (row + 1) * _PANEL[1] - row * _GAP[1]
        axes = add_panel(figure, x, y, *_PANEL)
        _panel(axes, comparison, backbone, cells, styles)
        axes.set_ylim(*ranges[backbone])
        axes.tick_params(axis="y", labelsize=9.5, labelleft=not shared or column == 0)
        if column == 0:
            axes.set_ylabel(metric, fontsize=10.5)
    seeds = comparison.seeds
    title = f"{comparison.document['documents'][0]['dataset']}: {metric} over the phases"
    title += f", {len(seeds)} seeds ({seed_names(seeds)})" if len(seeds) > 1 else ", one seed"
    write_heading(figure, title, told, down=(0.34, 0.44))
    handles = [Line2D([], [], linewidth=1.7, markersize=5.5, **styles[row]) for row in names]
    figure.legend(
        handles, list(names.values()), loc="lower center", ncols=columns, frameon=False,
        fontsize=10, bbox_to_anchor=(0.5, 0.02 / high), handlelength=2.6, columnspacing=1.6,
    )  # fmt: skip
    return figure


def _panel(
    axes: "Axes",
    comparison: Comparison,
    backbone: str,
    cells: Mapping[Key, Cell],
    styles: Mapping[str, dict[str, Any]],
) -> None:
    phases = comparison.phases
    for row, style in styles.items():
        known = [
            (x, cells[backbone, row, phase].row)
            for x, phase in enumerate(phases)
            if (backbone, row, phase) in cells
        ]
        if not known:
            continue
        places, means = [x for x, _ in known], [figures.mean for _, figures in known]
        spread = [figures.std if figures.n > 1 else 0.0 for _, figures in known]
        axes.plot(places, means, linewidth=1.7, markersize=5, **style)
        low = [mean - std for mean, std in zip(means, spread, strict=True)]
        high = [mean + std for mean, std in zip(means, spread, strict=True)]
        axes.fill_between(places, low, high, color=style["color"], alpha=0.1, linewidth=0)
    gone = [row for row in styles if comparison.run(backbone, row) is None]
    axes.set_title(shorten(backbone, 38), fontsize=11, loc="left", weight="bold")
    if gone:
        told = "missing: " + ", ".join(gone)
        axes.text(0.98, 0.03, shorten(told, 44), transform=axes.transAxes, fontsize=8.5,
                  ha="right", color=TEXT_GREY)  # fmt: skip
    name_phases(axes, phases, most=24, sizes=(8.5, 9.5))
    draw_grid(axes)


def _ranges(comparison: Comparison, cells: Mapping[Key, Cell]) -> dict[str, tuple[float, float]]:
    """The y-axis of every panel: one for all, unless that flattens every panel."""
    own = {}
    for backbone in comparison.backbones:
        rows = [cell.row for key, cell in cells.items() if key[0] == backbone]
        spread = [(row.mean, row.std if row.n > 1 else 0.0) for row in rows]
        if spread:
            low, high = min(m - s for m, s in spread), max(m + s for m, s in spread)
            own[backbone] = with_margin(low, high)
    whole = (min(low for low, _ in own.values()), max(high for _, high in own.values()))
    widest = max(high - low for low, high in own.values())
    one = whole[1] - whole[0] <= _SHARED_RANGE * widest
    return {b: whole if one else own.get(b, whole) for b in comparison.backbones}


def _told(comparison: Comparison, metric: str, shared: bool) -> str:
    doc = comparison.document["documents"][0]
    runs = [run for part in comparison.by_backbone.values() for run in part["runs"]]
    parts = [
        better(metric),
        scored_on({**doc, "runs": runs}),
        f"protocol {doc['protocol']}",
    ]
    parts += ["band: ± 1 sample std"] if len(comparison.seeds) > 1 else []
    parts += ["pre-training shared over seeds"] if doc["share_pretrained"] else []
    parts += [] if shared else ["the panels' axes differ"]
    return "; ".join(parts)
