"""The phase curves of one run as a picture."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import better
from recbole_cold.report._document import Document
from recbole_cold.report._drawing import (
    GREY,
    add_panel,
    draw_grid,
    line_style,
    name_phases,
    new_figure,
    save_figure,
    with_margin,
    write_heading,
)
from recbole_cold.report._statistics import base_run, summary
from recbole_cold.report._words import all_seeds, backbone_names, scored_on, seed_names, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LONGEST_NAME = 28


class _Line(NamedTuple):
    """One run in one panel: its phases by number, mean and deviation (0 of a single seed)."""

    label: str
    style: dict[str, Any]
    x: list[int]
    mean: list[float]
    std: list[float]


def plot_curves(doc: Document, path: str | Path) -> None:
    """Draw AUC over the phases, one line per run with its std band, and LogLoss beside it.

    The file appears whole or not at all; its suffix (png, pdf, svg) is the format.

    Raises:
        UserError: no metric has a known value, the suffix is another, or the folder is unwritable.
    """
    save_figure(lambda: curves_figure(doc), path)


def curves_figure(doc: Document) -> Any:
    """The picture of ``plot_curves`` as a matplotlib figure.

    Raises:
        UserError: no metric has a known value.
    """
    panels = {
        name: _lines(doc, name) for name in ("AUC", "LogLoss", "F1") if name in doc["metrics"]
    }
    panels = dict([(name, lines) for name, lines in panels.items() if lines][:2])
    if not panels:
        raise UserError("no phase of these results has a metric with a value.")
    return _figure(doc, panels)


def _lines(doc: Document, metric: str) -> list[_Line]:
    order = {name: number for number, name in enumerate(doc["phases"])}
    lines = []
    for number, run in enumerate(doc["runs"]):
        known = [row for row in summary(doc, [metric]) if row.label == run["label"] and row.n]
        if known:
            spread = [row.std if row.n > 1 else 0.0 for row in known]
            means = [row.mean for row in known]
            x = [order[row.phase] for row in known]
            lines.append(_Line(run["label"], _style(doc, number), x, means, spread))
    return lines


def _style(doc: Document, number: int) -> dict[str, Any]:
    """Runs of the plain base are grey, so that the methods stand before them."""
    base = base_run(doc, None)
    models = [run["model"] for run in doc["runs"]]
    plain = base is not None and models[number] == base["model"]
    of_kind = (
        sum((model == base["model"]) == plain for model in models[:number]) if base else number
    )
    return line_style(of_kind, plain)


def _figure(doc: Document, panels: Mapping[str, list[_Line]]) -> Any:
    """Panels side by side, laid out in inches: names need the same room in any picture."""
    first = next(iter(panels.values()))
    name_room = 0.45 + 0.085 * max(len(shorten(line.label, _LONGEST_NAME)) for line in first)
    # Left edge and width of each panel: the names of the lines stand right of the first one.
    places = [(0.75, 4.6), (0.75 + 4.6 + name_room + 0.7, 3.4)][: len(panels)]
    wide = max(places[-1][0] + places[-1][1] + (0.3 if len(panels) > 1 else name_room), 7.0)
    title, told = _picture_title(doc, int((wide - 0.5) / 0.08))
    tall, below, above = max(3.6, 0.21 * len(first)), 0.55, 0.75 + 0.2 * len(told)
    high = below + tall + above
    figure = new_figure(wide, high)
    for (left, width), (metric, lines) in zip(places, panels.items(), strict=True):
        axes = add_panel(figure, left, below, width, tall)
        _draw(axes, doc, metric, lines)
        if lines is first:
            _name_lines(axes, lines, tall)
    write_heading(figure, title, told, down=(0.32, 0.42), sizes=(14, 10.5))
    return figure


def _picture_title(doc: Document, width: int) -> tuple[str, list[str]]:
    """Title and the lines under it, no longer than ``width`` characters."""
    seeds = all_seeds(doc)
    told = f"{scored_on(doc)}; protocol {doc['protocol']}"
    if len(seeds) < 2:
        return f"{doc['dataset']}, {backbone_names(doc)}, seed {seed_names(seeds)}", [told]
    told += "; band: ± 1 sample std"
    told += "; pre-training shared over seeds" if doc["share_pretrained"] else ""
    title = f"{doc['dataset']}, {backbone_names(doc)}, {len(seeds)} seeds ({seed_names(seeds)})"
    return title, textwrap.wrap(told, width, break_on_hyphens=False)


def _draw(axes: "Axes", doc: Document, metric: str, lines: Sequence[_Line]) -> None:
    for line in lines:
        axes.plot(line.x, line.mean, linewidth=1.9, markersize=6, **line.style)
        low = [mean - std for mean, std in zip(line.mean, line.std, strict=True)]
        high = [mean + std for mean, std in zip(line.mean, line.std, strict=True)]
        axes.fill_between(line.x, low, high, color=line.style["color"], alpha=0.13, linewidth=0)
    axes.set_title(f"{metric} ({better(metric)})", fontsize=11.5, loc="left")
    name_phases(axes, doc["phases"], most=30, sizes=(9.5, 10.5))
    bottom, top = _range(lines)
    axes.set_ylim(bottom, top)
    if metric == "AUC" and bottom < 0.5 < top:
        axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    axes.tick_params(axis="y", labelsize=10.5)
    draw_grid(axes)


def _range(lines: Sequence[_Line]) -> tuple[float, float]:
    """Limits of the y-axis, around all means and bands."""
    low = min(mean - std for line in lines for mean, std in zip(line.mean, line.std, strict=True))
    high = max(mean + std for line in lines for mean, std in zip(line.mean, line.std, strict=True))
    return with_margin(low, high)


def _name_lines(axes: "Axes", lines: Sequence[_Line], inches: float) -> None:
    """Each name at the end of its line, moved apart where lines end close together."""
    from matplotlib.colors import to_rgb

    bottom, top = axes.get_ylim()
    step = 0.2 / inches * (top - bottom)
    ends = sorted(lines, key=lambda line: line.mean[-1])
    heights = _apart([line.mean[-1] for line in ends], step, bottom, top)
    for line, height in zip(ends, heights, strict=True):
        colour = line.style["color"]
        # Letters are thinner than lines and need a darker shade of the same colour.
        axes.annotate(
            shorten(line.label, _LONGEST_NAME), xy=(line.x[-1], line.mean[-1]),
            xytext=(1.045, height), textcoords=axes.get_yaxis_transform(),
            color=[0.75 * part for part in to_rgb(colour)], fontsize=10.5, va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.8, "relpos": (0, 0.5),
                        "shrinkA": 1, "shrinkB": 4},
        )  # fmt: skip


def _apart(heights: Sequence[float], step: float, bottom: float, top: float) -> list[float]:
    """Ascending ``heights`` moved as little as needed to be ``step`` apart, within the panel.

    Names that touch form a block around their common centre, as in isotonic regression.
    """
    blocks: list[tuple[float, int]] = []  # (height of the first name, names)
    for height in heights:
        first, size = height, 1
        while blocks and first < blocks[-1][0] + step * blocks[-1][1]:
            before, count = blocks.pop()
            first = (before * count + (first - step * count) * size) / (count + size)
            size += count
        blocks.append((first, size))
    placed = [first + step * k for first, size in blocks for k in range(size)]
    for k in range(len(placed)):  # back into the panel, from below and then from above
        placed[k] = max(placed[k], bottom + step * k)
    for k in range(len(placed)):
        placed[-1 - k] = min(placed[-1 - k], top - step * k)
    return placed
