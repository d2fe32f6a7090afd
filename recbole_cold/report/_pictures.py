"""Phase curves as a picture; matplotlib is loaded only when one is drawn."""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import LOWER_IS_BETTER
from recbole_cold.report._document import Document
from recbole_cold.report._statistics import base_run, summary
from recbole_cold.report._words import all_seeds, backbone_names, scored_on, seed_names, shorten
from recbole_cold.store import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Okabe and Ito's colours without the yellow, which is lost on white: told apart by readers with any
# of the common colour vision deficiencies, and by marker and dash in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
GREY = "#666666"
_LONGEST_NAME = 28


class _Line(NamedTuple):
    """One run in one panel: its phases by number, mean and deviation (0 of a single seed)."""

    label: str
    style: dict[str, Any]
    x: list[int]
    mean: list[float]
    std: list[float]


def picture_kind(path: Path) -> str:
    """The format that a file's suffix asks for."""
    kind = path.suffix.lstrip(".").lower()
    if kind not in ("png", "pdf", "svg"):
        raise UserError(f"cannot draw '{path}': name a file that ends in .png, .pdf or .svg.")
    return kind


def saved(figure: Any, buffer: io.BytesIO, kind: str) -> None:
    """Write a figure without dates and versions: equal results give equal bytes."""
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(buffer, format=kind, metadata=metadata[kind])


def plot_curves(doc: Document, path: str | Path) -> None:
    """Draw AUC over the phases, one line per run with its std band, and LogLoss beside it.

    The file appears whole or not at all; its suffix (png, pdf, svg) is the format.

    Raises:
        UserError: no metric has a known value, the suffix is another, or the folder is unwritable.
    """
    save_figure(lambda: curves_figure(doc), path)


def save_figure(draw: Callable[[], Any], path: str | Path) -> Any:
    """Draw a figure and write it, whole or not at all; the suffix is the format.

    Raises:
        UserError: it cannot be drawn, the suffix is another, or the folder is unwritable.
    """
    path = Path(path)
    kind = picture_kind(path)
    try:
        figure = draw()
    except UserError as error:
        raise UserError(f"cannot draw '{path}': {error}") from error
    buffer = io.BytesIO()
    saved(figure, buffer, kind)
    write_bytes(path, buffer.getvalue())
    return figure


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
    shape = MARKERS[of_kind % len(MARKERS)]
    if plain:
        return {"color": GREY, "marker": shape, "linestyle": DASHES[of_kind % len(DASHES)]}
    dash = DASHES[of_kind // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[of_kind % len(COLOURS)], "marker": shape, "linestyle": dash}


def _figure(doc: Document, panels: Mapping[str, list[_Line]]) -> Any:
    """Panels side by side, laid out in inches: names need the same room in any picture."""
    # The object interface: no display, no pyplot state shared with the caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first = next(iter(panels.values()))
    name_room = 0.45 + 0.085 * max(len(shorten(line.label, _LONGEST_NAME)) for line in first)
    # Left edge and width of each panel: the names of the lines stand right of the first one.
    places = [(0.75, 4.6), (0.75 + 4.6 + name_room + 0.7, 3.4)][: len(panels)]
    wide = max(places[-1][0] + places[-1][1] + (0.3 if len(panels) > 1 else name_room), 7.0)
    seeds, told = _picture_title(doc, int((wide - 0.5) / 0.08))
    tall, below, above = max(3.6, 0.21 * len(first)), 0.55, 0.75 + 0.2 * len(told)
    high = below + tall + above
    figure = Figure(figsize=(wide, high), dpi=150)
    FigureCanvasAgg(figure)
    for (left, width), (metric, lines) in zip(places, panels.items(), strict=True):
        axes = figure.add_axes((left / wide, below / high, width / wide, tall / high))
        _draw(axes, doc, metric, lines)
        if lines is first:
            _name_lines(axes, lines, tall)
    figure.text(0.2 / wide, 1 - 0.32 / high, seeds, fontsize=14, weight="bold")
    lines_below = "\n".join(told)
    top = 1 - 0.42 / high
    figure.text(0.2 / wide, top, lines_below, fontsize=10.5, color="#444444", va="top")
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
    better = "lower" if metric in LOWER_IS_BETTER else "higher"
    axes.set_title(f"{metric} ({better} is better)", fontsize=11.5, loc="left")
    phases = doc["phases"]
    crowded = sum(map(len, phases)) > 30
    slant: dict[str, Any] = (
        {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    )
    axes.set_xticks(range(len(phases)), phases, fontsize=9.5 if crowded else 10.5, **slant)
    margin = 0.06 * max(len(phases) - 1, 1)
    axes.set_xlim(-margin, len(phases) - 1 + margin)
    bottom, top = _range(lines)
    axes.set_ylim(bottom, top)
    if metric == "AUC" and bottom < 0.5 < top:
        axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    axes.tick_params(axis="y", labelsize=10.5)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _range(lines: Sequence[_Line]) -> tuple[float, float]:
    """All means and bands with a margin, and never so narrow that noise looks like a difference."""
    low = min(mean - std for line in lines for mean, std in zip(line.mean, line.std, strict=True))
    high = max(mean + std for line in lines for mean, std in zip(line.mean, line.std, strict=True))
    margin = max(0.06 * (high - low), 0.005)
    return low - margin, high + margin


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
