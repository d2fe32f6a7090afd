"""Small multiples: a panel per row of a table, in which all other rows are grey behind it.

Of a run these are a grid of panels; of a comparison on several backbones a matrix, rows by
backbones. Every panel has the same axis, unless that flattens a backbone's curves.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_cold.evaluation.metrics import better
from recbole_cold.report._comparison import Comparison
from recbole_cold.report._comparison_plot import (
    cells_to_draw,
    comparison_title,
    comparison_told,
    lines_of_backbone,
    shared_limits,
)
from recbole_cold.report._document import Document
from recbole_cold.report._drawing import (
    BLACK,
    COLOURS,
    GREY,
    PALE_GREY,
    TEXT_GREY,
    add_panel,
    draw_grid,
    name_phases,
    new_figure,
    refuse_one_phase,
    with_margin,
    write_heading,
)
from recbole_cold.report._looks import (
    Bands,
    Line,
    band_words,
    draw_line,
    limits,
    looks_of_comparison,
    looks_of_run,
)
from recbole_cold.report._pictures import lines_of_run, metrics_to_draw, picture_title
from recbole_cold.report._words import all_seeds, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_ACROSS = 5
_GRID_PANEL, _GRID_GAP = (2.05, 1.3), (0.22, 0.42)  # inches
_MATRIX_PANEL, _MATRIX_GAP = (1.55, 0.72), (0.16, 0.32)
_AXIS_ROOM = 0.4  # for the numbers of an axis that a column has for itself
_LEFT, _RIGHT, _KEY = 0.75, 0.2, 0.32
_LETTER = 0.083  # of a panel's title, in inches
_BEHIND: dict[str, tuple[str, Any]] = {"yardstick": (BLACK, "-."), "matched": (GREY, "--")}


class _Size(NamedTuple):
    """Letters and lines of a panel, in points; ``most``: letters from which phases are slanted."""

    title: float
    ticks: float
    line: float
    marker: float
    most: int


_GRID_SIZE = _Size(10.5, 8.5, 1.9, 4.5, 26)
_MATRIX_SIZE = _Size(9.5, 8, 1.7, 3, 14)


def run_panels(doc: Document, metric: str | None = None, bands: Bands | None = None) -> "Figure":
    """``metric``, or the first one that has values, over the phases: a panel per row.

    Raises:
        UserError: no metric has a known value, or ``metric`` was not computed.
    """
    refuse_one_phase(doc["phases"])
    name = metrics_to_draw(doc, metric)[0]
    lines = lines_of_run(doc, name, looks_of_run(doc, name), bands)
    wide = _LEFT + _width(len(lines)) + _RIGHT
    words = band_words(bands, [name], len(all_seeds(doc)))
    title, told = picture_title(doc, int((wide - 0.5) / 0.078), words)
    return _grid(lines, doc["phases"], f"{title}: {name} ({better(name)})", told)


def comparison_panels(
    comparison: Comparison, metric: str | None = None, bands: Bands | None = None
) -> "Figure":
    """``metric``, or AUC, over the phases: a panel per row and backbone.

    Raises:
        UserError: nothing of the metric is known.
    """
    refuse_one_phase(comparison.phases)
    name, cells = cells_to_draw(comparison, metric)
    looks = looks_of_comparison(comparison, name)
    lines = {
        backbone: found
        for backbone in comparison.backbones
        if (found := lines_of_backbone(comparison, backbone, cells, looks, bands))
    }
    words = band_words(bands, [name], len(comparison.seeds))
    if len(lines) == 1:
        ((backbone, found),) = lines.items()
        told = f"{better(name)}; {backbone}; {comparison_told(comparison, True, words)}"
        wide = _LEFT + _width(len(found)) + _RIGHT
        return _grid(
            found, comparison.phases, comparison_title(comparison, name), _wrapped(told, wide)
        )
    rows = [row for row in comparison.rows if any(_has(found, row) for found in lines.values())]
    return _matrix(comparison, name, lines, rows, words)


def _width(rows: int) -> float:
    """Of all panels of a grid, in inches; never so narrow that a heading has no room."""
    across = _across(rows)
    return max(across * _GRID_PANEL[0] + (across - 1) * _GRID_GAP[0], 6.2)


def _across(rows: int) -> int:
    """Panels beside one another: no row of the grid is nearly empty."""
    down = math.ceil(rows / _MOST_ACROSS)
    return math.ceil(rows / down)


def _most(width: float) -> int:
    """Letters of a row's name above a panel, beside the number on the right."""
    return int((width - 0.42) / _LETTER)


def _has(lines: Sequence[Line], label: str) -> bool:
    return any(line.label == label for line in lines)


def _wrapped(told: str, wide: float) -> list[str]:
    return textwrap.wrap(told, int((wide - 0.5) / 0.078), break_on_hyphens=False)


def _grid(
    lines: Sequence[Line], phases: Sequence[str], title: str, told: Sequence[str]
) -> "Figure":
    across = _across(len(lines))
    down = math.ceil(len(lines) / across)
    wide = _LEFT + _width(len(lines)) + _RIGHT
    above, below = 0.62 + 0.2 * len(told) + 0.28, 0.4 + _KEY
    step = _GRID_PANEL[1] + _GRID_GAP[1]
    high = above + down * step - _GRID_GAP[1] + below
    figure = new_figure(wide, high)
    ends = with_margin(*limits(lines))
    for number, line in enumerate(lines):
        row, column = divmod(number, across)
        left = _LEFT + column * (_GRID_PANEL[0] + _GRID_GAP[0])
        bottom = high - above - row * step - _GRID_PANEL[1]
        axes = add_panel(figure, left, bottom, *_GRID_PANEL)
        _panel(axes, lines, line.label, phases, ends, _GRID_SIZE)
        lowest = number + across >= len(lines)
        axes.tick_params(labelleft=column == 0, labelbottom=lowest)
        axes.set_title(shorten(line.label, _most(_GRID_PANEL[0])), fontsize=_GRID_SIZE.title,
                       loc="left", pad=4)  # fmt: skip
    write_heading(figure, title, told, down=(0.34, 0.44))
    _write_key(figure, lines)
    return figure


def _matrix(
    comparison: Comparison,
    metric: str,
    lines: Mapping[str, Sequence[Line]],
    rows: Sequence[str],
    bands: Sequence[str],
) -> "Figure":
    ranges = shared_limits(lines)
    shared = len(set(ranges.values())) == 1
    gap = _MATRIX_GAP[0] + (0 if shared else _AXIS_ROOM)
    panel = (max(_MATRIX_PANEL[0], min(2.4, 5.6 / len(lines))), _MATRIX_PANEL[1])
    wide = max(_LEFT + len(lines) * (panel[0] + gap) - gap + _RIGHT, 6.4)
    told = _wrapped(f"{better(metric)}; {comparison_told(comparison, shared, bands)}", wide)
    above, below = 0.62 + 0.2 * len(told) + 0.6, 0.55 + _KEY
    # The matrix has the room of a second line where a name needs one.
    most = _most(panel[0])
    names = {label: textwrap.wrap(shorten(label, 2 * most - 2), most) for label in rows}
    lower = 0.13 * (max(map(len, names.values())) - 1)
    above, step = above + lower, _MATRIX_PANEL[1] + _MATRIX_GAP[1] + lower
    high = above + len(rows) * step - _MATRIX_GAP[1] - lower + below
    figure = new_figure(wide, high)
    for column, (backbone, found) in enumerate(lines.items()):
        left = _LEFT + column * (panel[0] + gap)
        for row, label in enumerate(rows):
            bottom = high - above - row * step - _MATRIX_PANEL[1]
            axes = add_panel(figure, left, bottom, *panel)
            _panel(axes, found, label, comparison.phases, ranges[backbone], _MATRIX_SIZE)
            if not column:
                axes.set_title("\n".join(names[label]), fontsize=_MATRIX_SIZE.title, loc="left",
                               pad=4, linespacing=1.0)  # fmt: skip
            axes.tick_params(labelleft=not shared or column == 0, labelbottom=row == len(rows) - 1)
        name = shorten(backbone, int((panel[0] + gap) / 0.1))
        figure.text(left / wide, 1 - (above - 0.3 - lower) / high, name, fontsize=11, weight="bold")
    write_heading(figure, comparison_title(comparison, metric), told, down=(0.34, 0.44))
    _write_key(figure, [line for found in lines.values() for line in found])
    return figure


def _panel(
    axes: "Axes",
    lines: Sequence[Line],
    label: str,
    phases: Sequence[str],
    ends: tuple[float, float],
    size: _Size,
) -> None:
    """One row before the others; the reference rows behind it keep their dashes."""
    for line in lines:
        if line.label == label:
            look = line.look._replace(named=True, style={**_front(line), "linestyle": "-"})
            draw_line(axes, line._replace(look=look), width=size.line, marker=size.marker,
                      band=0.15, order=4)  # fmt: skip
            axes.set_title(f"{line.mean[-1]:.4f}", fontsize=size.ticks, loc="right", pad=4,
                           color=TEXT_GREY)  # fmt: skip
            continue
        colour, dash = _BEHIND.get(line.look.kind, (PALE_GREY, "-"))
        order = 3 if line.look.kind in _BEHIND else 1
        axes.plot(line.x, line.mean, color=colour, linestyle=dash, linewidth=0.8, zorder=order)
    if not _has(lines, label):
        axes.text(0.5, 0.5, "missing", transform=axes.transAxes, ha="center", va="center",
                  fontsize=size.ticks, color=TEXT_GREY)  # fmt: skip
    name_phases(axes, phases, most=size.most, sizes=(size.ticks, size.ticks))
    axes.set_ylim(*ends)
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(axis="both", labelsize=size.ticks, length=2.5)
    draw_grid(axes)


def _front(line: Line) -> dict[str, Any]:
    colour = line.look.style["color"] if line.look.kind != "method" else COLOURS[0]
    return {"color": colour, "marker": "o"}


def _write_key(figure: "Figure", lines: Sequence[Line]) -> None:
    """What the lines behind are, and what the number in a panel is."""
    from matplotlib.lines import Line2D

    wide, high = figure.get_size_inches().tolist()
    named = {line.look.kind: line.label for line in lines if line.look.kind in _BEHIND}
    handles = [
        Line2D([], [], color=_BEHIND[kind][0], linestyle=_BEHIND[kind][1], linewidth=1)
        for kind in named
    ]
    handles.append(Line2D([], [], color=PALE_GREY, linewidth=1))
    names = [*(shorten(label, 40) for label in named.values()), "the other rows"]
    figure.legend(handles, names, loc="lower right", ncols=len(names), frameon=False, fontsize=9.5,
                  bbox_to_anchor=(1 - 0.1 / wide, 0.0), handlelength=2.6)  # fmt: skip
    figure.text(0.2 / wide, 0.1 / high, "numbers: the last phase's mean", fontsize=9.5,
                color=TEXT_GREY)  # fmt: skip
