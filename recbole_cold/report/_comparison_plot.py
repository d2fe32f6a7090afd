"""The picture of a comparison: phase curves, one panel per backbone, one legend for all."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import better, known_metrics
from recbole_cold.report._comparison import Cell, Comparison, Key
from recbole_cold.report._drawing import (
    TEXT_GREY,
    add_panel,
    draw_grid,
    name_phases,
    new_figure,
    refuse_one_phase,
    save_figure,
    with_margin,
    write_heading,
)
from recbole_cold.report._looks import (
    Bands,
    Legend,
    Line,
    Look,
    a_line,
    band_words,
    draw_line,
    limits,
    looks_of_comparison,
)
from recbole_cold.report._words import scored_on, seed_names, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL = (3.3, 2.55)  # inches
_GAP = (0.35, 0.6)
_SHARED_RANGE = 1.6  # panels share an axis unless that would flatten them by more than this


def plot_comparison(
    comparison: Comparison,
    path: str | Path,
    metric: str | None = None,
    bands: Bands | None = None,
) -> None:
    """Draw ``metric`` over the phases, a panel per backbone, rows alike in all of them.

    Without a metric it is AUC, or else the table's first one.
    The axis is shared where that leaves the curves readable; the picture says where it is not.

    Raises:
        UserError: the suffix is not png, pdf or svg, or nothing of the metric is known.
    """
    save_figure(lambda: comparison_figure(comparison, metric, bands), path)


def comparison_figure(
    comparison: Comparison, metric: str | None = None, bands: Bands | None = None
) -> Any:
    """The picture of ``plot_comparison`` as a matplotlib figure.

    Raises:
        UserError: nothing of the metric is known.
    """
    refuse_one_phase(comparison.phases)
    metric, cells = cells_to_draw(comparison, metric)
    return _figure(comparison, metric, cells, bands)


def cells_to_draw(comparison: Comparison, metric: str | None = None) -> tuple[str, dict[Key, Cell]]:
    """``metric``, or else the table's first one, and its cells, of which there are some.

    Raises:
        UserError: there is none.
    """
    if metric is not None:
        metric = known_metrics(metric)[0]
        if metric not in comparison.metrics:
            known = ", ".join(comparison.metrics)
            raise UserError(f"this comparison has no {metric} on every backbone; it has {known}.")
    first = "AUC" if "AUC" in comparison.metrics else next(iter(comparison.metrics), "any metric")
    name = metric or first
    cells = comparison.cells(name) if comparison.metrics else {}
    if not cells:
        raise UserError(f"no cell of this comparison has a value of {name}.")
    return name, cells


def lines_of_backbone(
    comparison: Comparison,
    backbone: str,
    cells: Mapping[Key, Cell],
    looks: Mapping[str, Look],
    bands: Bands | None = None,
) -> list[Line]:
    """Rows that have a value on a backbone, in their order."""
    lines = []
    for label, look in looks.items():
        found = {
            x: cells[backbone, label, phase].row
            for x, phase in enumerate(comparison.phases)
            if (backbone, label, phase) in cells
        }
        if found:
            lines.append(a_line(label, look, found, bands, backbone))
    return lines


def _figure(
    comparison: Comparison, metric: str, cells: Mapping[Key, Cell], bands: Bands | None
) -> Any:
    """Panels in rows of at most three, laid out in inches; the legend has a row of its own."""
    count = len(comparison.backbones)
    across = count if count <= 3 else (2 if count == 4 else 3)
    down = math.ceil(count / across)
    looks = looks_of_comparison(comparison, metric)
    lines = {
        backbone: lines_of_backbone(comparison, backbone, cells, looks, bands)
        for backbone in comparison.backbones
    }
    ranges = shared_limits(lines)
    shared = len(set(ranges.values())) <= 1
    gap = _GAP[0] if shared else _GAP[0] + 0.35
    left, right = 0.75, 0.25
    wide = max(left + across * _PANEL[0] + (across - 1) * gap + right, 6.4)
    words = comparison_told(comparison, shared, band_words(bands, [metric], len(comparison.seeds)))
    told = textwrap.wrap(words, int((wide - 0.5) / 0.078))
    legend = Legend(looks, wide)
    above, below = 0.62 + 0.2 * len(told) + 0.28, 0.5 + legend.height
    high = above + down * _PANEL[1] + (down - 1) * _GAP[1] + below
    figure = new_figure(wide, high)
    for number, backbone in enumerate(comparison.backbones):
        row, column = divmod(number, across)
        x = left + column * (_PANEL[0] + gap)
        y = high - above - (row + 1) * _PANEL[1] - row * _GAP[1]
        axes = add_panel(figure, x, y, *_PANEL)
        _panel(axes, comparison, backbone, lines[backbone])
        axes.set_ylim(*ranges[backbone])
        axes.tick_params(axis="y", labelsize=9.5, labelleft=not shared or column == 0)
        if column == 0:
            axes.set_ylabel(f"{metric} ({better(metric)})", fontsize=10.5)
    write_heading(figure, comparison_title(comparison, metric), told, down=(0.34, 0.44))
    legend.draw(figure)
    return figure


def comparison_title(comparison: Comparison, what: str) -> str:
    """The data, what is shown over the phases, and the seeds."""
    seeds = comparison.seeds
    title = f"{comparison.document['documents'][0]['dataset']}: {what} over the phases"
    return title + (
        f", {len(seeds)} seeds ({seed_names(seeds)})" if len(seeds) > 1 else ", one seed"
    )


def _panel(axes: "Axes", comparison: Comparison, backbone: str, lines: Sequence[Line]) -> None:
    for line in lines:
        draw_line(axes, line, width=1.7, marker=5, band=0.1)
    gone = [row for row in comparison.rows_of(backbone) if comparison.run(backbone, row) is None]
    axes.set_title(shorten(backbone, 38), fontsize=11, loc="left", weight="bold")
    if gone:
        told = "missing: " + ", ".join(gone)
        axes.text(0.98, 0.03, shorten(told, 44), transform=axes.transAxes, fontsize=8.5,
                  ha="right", color=TEXT_GREY)  # fmt: skip
    name_phases(axes, comparison.phases, most=24, sizes=(8.5, 9.5))
    draw_grid(axes)


def shared_limits(lines: Mapping[str, Sequence[Line]]) -> dict[str, tuple[float, float]]:
    """The y-axis of every panel: one for all, unless that flattens every panel."""
    own = {name: with_margin(*limits(found)) for name, found in lines.items() if found}
    whole = (min(low for low, _ in own.values()), max(high for _, high in own.values()))
    widest = max(high - low for low, high in own.values())
    one = whole[1] - whole[0] <= _SHARED_RANGE * widest
    return {name: whole if one else own.get(name, whole) for name in lines}


def comparison_told(comparison: Comparison, shared: bool, bands: Sequence[str]) -> str:
    """What the scores are of, what the bands are, and whether the panels share an axis.

    Args:
        bands: what ``band_words`` gives.
    """
    doc = comparison.document["documents"][0]
    runs = [run for part in comparison.by_backbone.values() for run in part["runs"]]
    parts = [scored_on({**doc, "runs": runs}), f"protocol {doc['protocol']}"]
    parts += bands
    parts += ["pre-training shared over seeds"] if doc["share_pretrained"] else []
    parts += [] if shared else ["the panels' axes differ"]
    return "; ".join(parts)
