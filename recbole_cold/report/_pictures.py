"""The phase curves of one run as a picture."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import COMPARISONS, better
from recbole_cold.report._document import Document
from recbole_cold.report._drawing import (
    GREY,
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
    Line,
    Look,
    a_line,
    band_words,
    draw_line,
    limits,
    looks_of_run,
)
from recbole_cold.report._statistics import summary, wanted_metrics
from recbole_cold.report._words import all_seeds, backbone_names, scored_on, seed_names, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_FIRST = ("AUC", "LogLoss", "F1")  # drawn rather than others
_LONGEST_NAME = 28


def plot_curves(doc: Document, path: str | Path, bands: Bands | None = None) -> None:
    """Draw AUC over the phases, one line per run with its band, and LogLoss beside it.

    Of more than eight methods only the best have colours; the others are grey, and named.
    The file appears whole or not at all; its suffix (png, pdf, svg) is the format.

    Args:
        bands: those of the lines; None: one sample deviation over the seeds on each side.

    Raises:
        UserError: there is one phase, no metric has a known value, the suffix is another, or the
            folder is unwritable.
    """
    save_figure(lambda: curves_figure(doc, bands=bands), path)


def curves_figure(doc: Document, metric: str | None = None, bands: Bands | None = None) -> Any:
    """The picture of ``plot_curves`` as a matplotlib figure.

    Args:
        metric: draw this one alone.
        bands: those of the lines; None: one sample deviation over the seeds on each side.

    Raises:
        UserError: no metric has a known value, or ``metric`` was not computed.
    """
    refuse_one_phase(doc["phases"])
    names = metrics_to_draw(doc, metric)
    looks = looks_of_run(doc, names[0])
    panels = {name: lines_of_run(doc, name, looks, bands) for name in names}
    return _figure(doc, panels, bands)


def metrics_to_draw(doc: Document, metric: str | None = None) -> list[str]:
    """``metric``, or else the two metrics of a run that are drawn first; each has values.

    Raises:
        UserError: nothing has a value, or ``metric`` was not computed.
    """
    names = [name for name in _FIRST if name in doc["metrics"]]
    names += [name for name in doc["metrics"] if name not in (*_FIRST, *COMPARISONS)]
    if metric is not None:
        names = wanted_metrics(doc, [metric])
    known = [name for name in names if any(row.n for row in summary(doc, [name]))]
    if not known:
        told = "a metric with a value" if metric is None else f"a value of {metric}"
        raise UserError(f"no phase of these results has {told}.")
    return known[:2]


def lines_of_run(
    doc: Document, metric: str, looks: Mapping[str, Look], bands: Bands | None = None
) -> list[Line]:
    """Rows of a run that have a value of ``metric``, in their order."""
    order = {name: number for number, name in enumerate(doc["phases"])}
    rows = [row for row in summary(doc, [metric]) if row.n]
    lines = []
    for label, look in looks.items():
        known = {order[row.phase]: row for row in rows if row.label == label}
        if known:
            lines.append(a_line(label, look, known, bands))
    return lines


def _figure(doc: Document, panels: Mapping[str, list[Line]], bands: Bands | None = None) -> Any:
    """Panels side by side, laid out in inches: names need the same room in any picture."""
    first = next(iter(panels.values()))
    name_room = 0.45 + 0.085 * max(len(shorten(line.label, _LONGEST_NAME)) for line in first)
    # Left edge and width of each panel: the names of the lines stand right of the first one.
    places = [(0.75, 4.6), (0.75 + 4.6 + name_room + 0.7, 3.4)][: len(panels)]
    wide = max(places[-1][0] + places[-1][1] + (0.3 if len(panels) > 1 else name_room), 7.0)
    title, told = picture_title(
        doc, int((wide - 0.5) / 0.08), band_words(bands, panels, len(all_seeds(doc)))
    )
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


def picture_title(doc: Document, width: int, bands: Sequence[str]) -> tuple[str, list[str]]:
    """Title and the lines under it, no longer than ``width`` characters.

    Args:
        bands: what ``band_words`` gives.
    """
    seeds = all_seeds(doc)
    parts = [scored_on(doc), f"protocol {doc['protocol']}", *bands]
    many = f"{len(seeds)} seeds ({seed_names(seeds)})" if len(seeds) > 1 else ""
    if many and doc["share_pretrained"]:
        parts.append("pre-training shared over seeds")
    title = f"{doc['dataset']}, {backbone_names(doc)}, {many or f'seed {seed_names(seeds)}'}"
    return title, textwrap.wrap("; ".join(parts), width, break_on_hyphens=False)


def _draw(axes: "Axes", doc: Document, metric: str, lines: Sequence[Line]) -> None:
    for line in lines:
        draw_line(axes, line, width=1.9, marker=6, band=0.13)
    axes.set_title(f"{metric} ({better(metric)})", fontsize=11.5, loc="left")
    name_phases(axes, doc["phases"], most=30, sizes=(9.5, 10.5))
    bottom, top = with_margin(*limits(lines))
    axes.set_ylim(bottom, top)
    if metric == "AUC" and bottom < 0.5 < top:
        axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    axes.tick_params(axis="y", labelsize=10.5)
    draw_grid(axes)


def _name_lines(axes: "Axes", lines: Sequence[Line], inches: float) -> None:
    """Each name at the end of its line, moved apart where lines end close together."""
    from matplotlib.colors import to_rgb

    bottom, top = axes.get_ylim()
    step = 0.2 / inches * (top - bottom)
    ends = sorted(lines, key=lambda line: line.mean[-1])
    heights = _apart([line.mean[-1] for line in ends], step, bottom, top)
    for line, height in zip(ends, heights, strict=True):
        colour = line.look.style["color"]
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
