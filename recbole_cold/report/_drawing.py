"""What all pictures share: looks of lines, a figure laid out in inches, its heading, its file.

matplotlib is imported when a figure is made, not before.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cold.errors import UserError
from recbole_cold.store import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours without the yellow, which is lost on white, and the black: told apart by
# readers with any of the common colour vision deficiencies, and by marker in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BLACK, GREY, PALE_GREY = "#000000", "#666666", "#bdbdbd"
TEXT_GREY, _GRID_GREY = "#444444", "#dddddd"


# ------------------------------------------------------------------------------- files
def save_figure(draw: "Callable[[], Figure]", path: str | Path) -> "Figure":
    """Draw a figure and write it, whole or not at all; the suffix is the format.

    Equal figures give equal files: dates and versions are left out.

    Raises:
        UserError: it cannot be drawn, the suffix is not png, pdf or svg, or the folder is
            unwritable.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    if kind not in metadata:
        raise UserError(f"cannot draw '{path}': name a file that ends in .png, .pdf or .svg.")
    try:
        figure = draw()
    except UserError as error:
        raise UserError(f"cannot draw '{path}': {error}") from error
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata[kind])
    write_bytes(path, buffer.getvalue())
    return figure


# ------------------------------------------------------------------------------- layout
def new_figure(wide: float, high: float) -> "Figure":
    """An empty figure of this size in inches, which needs no display and no pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide, high), dpi=150)
    FigureCanvasAgg(figure)
    return figure


def add_panel(
    figure: "Figure", left: float, bottom: float, width: float, height: float, **options: Any
) -> "Axes":
    """New axes at this place of the figure, everything in inches from its lower left corner."""
    wide, high = figure.get_size_inches().tolist()
    place = (left / wide, bottom / high, width / wide, height / high)
    return figure.add_axes(place, **options)


def write_heading(
    figure: "Figure",
    title: str,
    below: Sequence[str],
    *,
    down: tuple[float, float],
    sizes: tuple[float, float] = (13, 9.5),
    align: str = "top",
) -> None:
    """Write a bold title and grey lines under it.

    Args:
        down: inches from the upper edge to the title's baseline, and to the lines under it.
        sizes: of both fonts.
        align: which edge of the lines under the title is at that place, as in matplotlib.
    """
    wide, high = figure.get_size_inches().tolist()
    figure.text(0.2 / wide, 1 - down[0] / high, title, fontsize=sizes[0], weight="bold")
    figure.text(
        0.2 / wide, 1 - down[1] / high, "\n".join(below), fontsize=sizes[1], color=TEXT_GREY,
        va=align,
    )  # fmt: skip


# ------------------------------------------------------------------------------- axes
def slant(crowded: bool, degrees: float) -> dict[str, Any]:
    """Options of tick labels: slanted where they are crowded, upright otherwise."""
    return {"rotation": degrees, "ha": "right", "rotation_mode": "anchor"} if crowded else {}


def have_curves(phases: Sequence[str]) -> bool:
    """Whether results in these phases can be drawn as curves: one phase is a point."""
    return len(phases) > 1


def refuse_one_phase(phases: Sequence[str]) -> None:
    """
    Raises:
        UserError: there is nothing to draw a curve over.
    """
    if not have_curves(phases):
        raise UserError(
            f"curves go over phases, and these results have one ({', '.join(phases)}); draw kind "
            "forest, boxes, ridgelines or reliability"
        )


def name_phases(
    axes: "Axes", phases: Sequence[str], *, most: int, sizes: tuple[float, float]
) -> None:
    """Label the x-axis with the phases.

    Args:
        most: letters in all from which on the labels are slanted.
        sizes: of the font: slanted, upright.
    """
    crowded = sum(map(len, phases)) > most
    size = sizes[0] if crowded else sizes[1]
    axes.set_xticks(range(len(phases)), phases, fontsize=size, **slant(crowded, 20))
    margin = 0.06 * max(len(phases) - 1, 1)
    axes.set_xlim(-margin, len(phases) - 1 + margin)


def name_rows(
    axes: "Axes",
    rows: Sequence[tuple[float, str]],
    headings: Sequence[tuple[float, str]],
    left: float,
    size: float,
) -> None:
    """Name the rows of a panel, and groups of them by bold headings.

    Args:
        rows, headings: place and name of each.
        left: where headings begin, in widths of the panel from its left edge.
        size: of headings, in points.
    """
    axes.set_yticks([place for place, _ in rows], labels=[n for _, n in rows], fontsize=10.5)
    for place, name in headings:
        axes.text(
            left, place, name, fontsize=size, va="center", weight="bold",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip


def with_margin(
    low: float, high: float, share: float = 0.06, least: float = 0.005
) -> tuple[float, float]:
    """Limits of an axis: never so narrow that noise looks like a difference."""
    margin = max(share * (high - low), least)
    return low - margin, high + margin


def draw_grid(axes: "Axes") -> None:
    """Pale horizontal lines behind everything, and no frame above and on the right."""
    axes.grid(axis="y", color=_GRID_GREY, linewidth=0.7)
    axes.set_axisbelow(True)
    open_frame(axes)


def open_frame(axes: "Axes") -> None:
    """Take away the frame above and on the right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
