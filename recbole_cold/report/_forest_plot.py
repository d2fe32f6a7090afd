"""The forest plot: differences to one reference row with their intervals, a panel per phase."""

import math
import statistics
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import better
from recbole_cold.report._claims import FEWEST_SEEDS, smallest_within
from recbole_cold.report._comparison import ITEM_BIAS, MATCHED, Comparison, of_run
from recbole_cold.report._document import Document
from recbole_cold.report._drawing import (
    COLOURS,
    GREY,
    TEXT_GREY,
    add_panel,
    name_rows,
    new_figure,
    open_frame,
    write_heading,
)
from recbole_cold.report._intervals import Known
from recbole_cold.report._words import scored_on, seed_names, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 2.35  # inches of a panel
_LINE = 0.3  # inches of a row
_GAP = 0.16
_BAND = "#e4e4e4"
_MOST_NAME = 34
_FAR = 4  # a row that goes so many times as far as the median row does not set the scale
_OFFSET = {"item": 0.14, "user": -0.14}  # of a row's line: items above, users below
_LOOK = {"item": (COLOURS[0], "o", 2.4), "user": (COLOURS[5], "s", 1.4)}


class _Line(NamedTuple):
    """One row of the plot: its name, the intervals and the claim of each phase, and whether others
    are measured by it."""

    name: str
    intervals: dict[str, list[Known]]
    real: set[str]
    is_reference: bool


def forest_figure(
    shown: Document | Comparison, metric: str | None = None, against: str | None = None
) -> Any:
    """Differences to one row as a matplotlib figure.

    Args:
        shown: the results of a run, or a comparison.
        metric: AUC, WithinAUC or LogLoss; AUC.
        against: the reference row; ItemBias, where the table has it, else the plain backbone.

    Raises:
        UserError: there are no intervals of that kind, or several backbones.
    """
    comparison = shown if isinstance(shown, Comparison) else of_run(shown)
    metric = metric or "AUC"
    reference = _reference(comparison, against)
    groups = {b: _lines(comparison, b, metric, reference) for b in comparison.backbones}
    groups = {backbone: lines for backbone, lines in groups.items() if lines}
    if not groups:
        row = comparison.titles.get(str(reference), reference) or "a reference row"
        raise UserError(
            f"these results have no interval of {metric} against {row}: intervals are of AUC, "
            "WithinAUC and LogLoss, against Base, its matched row and ItemBias where these were "
            "run, and need the scores of the rows."
        )
    return _figure(comparison, groups, metric, str(reference))


def _reference(comparison: Comparison, against: str | None) -> str | None:
    """The name of a reference row, as tables have it."""
    found = [comparison.references(backbone) for backbone in comparison.by_backbone]
    labels = {row: name for rows in found for name, row in rows.items() if row}
    names = {"matched": MATCHED, **{title: row for row, title in comparison.titles.items()}}
    if against is not None:
        wanted = names.get(against, against)
        if wanted not in labels:
            told = ", ".join(comparison.titles.get(row, row) for row in labels) or "none"
            raise UserError(f"'{against}' is no reference row of these results; there are {told}.")
        return labels[wanted]
    return next((n for n in (ITEM_BIAS, "Base", MATCHED) if n in labels.values()), None)


def _lines(
    comparison: Comparison, backbone: str, metric: str, reference: str | None
) -> list[_Line]:
    row_against = comparison.references(backbone).get(reference or "")
    if row_against is None:
        return []
    claims, lines = comparison.claims(), []
    for row in comparison.rows_of(backbone):
        keys = {phase: (backbone, row, phase) for phase in comparison.phases}
        known = {p: comparison.intervals(key, row_against, metric) for p, key in keys.items()}
        real = {phase for phase, key in keys.items() if key in claims and claims[key].real}
        real = real if metric == "AUC" else set()  # a claim is one of AUC
        if any(known.values()):
            is_reference = row in comparison.references(backbone).values()
            lines.append(_Line(comparison.titles.get(row, row), known, real, is_reference))
    return lines


def _figure(
    comparison: Comparison, groups: dict[str, list[_Line]], metric: str, reference: str
) -> Any:
    """Panels of all phases side by side, laid out in inches, under them what they mean."""
    several = len(groups) > 1
    names = [line.name for lines in groups.values() for line in lines]
    left = 0.35 + 0.085 * max(len(shorten(name, _MOST_NAME)) for name in names)
    count = len(comparison.phases)
    wide = left + count * _WIDE + (count - 1) * _GAP + 0.25
    title, told = _heading(comparison, metric, reference, int((wide - 0.5) / 0.078))
    places, headings, at = [], {}, 0.0
    for backbone, lines in groups.items():
        if several:
            headings[backbone] = at
            at += 1
        places += [(at + number, line) for number, line in enumerate(lines)]
        at += len(lines)
    tall = _LINE * at + 0.15
    above, below = 0.62 + 0.2 * len(told) + 0.22, 0.85
    high = above + tall + below
    figure = new_figure(wide, high)
    limits = _limits(comparison, [line for _, line in places], metric)
    for number, phase in enumerate(comparison.phases):
        axes = add_panel(figure, left + number * (_WIDE + _GAP), below, _WIDE, tall)
        axes.set_xlim(*limits)
        _draw(axes, comparison, phase, places, metric)
        axes.set_ylim(at - 0.5 + 0.1, -0.5 - 0.1)
        axes.set_title(phase, fontsize=11, loc="left")
        axes.set_yticks([place for place, _ in places], labels=[""] * len(places))
        if number == 0:
            rows = [(place, shorten(line.name, _MOST_NAME)) for place, line in places]
            shown = [(place, shorten(backbone, 40)) for backbone, place in headings.items()]
            name_rows(axes, rows, shown, -(left - 0.2) / _WIDE, size=10.5)
    write_heading(figure, title, told, down=(0.34, 0.44), sizes=(13.5, 10.5))
    _legend(figure, comparison, metric, wide, high)
    return figure


def _draw(
    axes: "Axes", comparison: Comparison, phase: str, places: list[tuple[float, _Line]], metric: str
) -> None:
    smallest = _smallest(comparison, metric)
    if smallest:
        axes.axvspan(-smallest, smallest, color=_BAND, linewidth=0, zorder=0)
    axes.axvline(0, color=GREY, linewidth=0.9, zorder=1)
    for place, line in places:
        for known in line.intervals[phase]:
            colour, marker, thick = _LOOK[known.by]
            y = place - _OFFSET[known.by]
            axes.plot([known.low, known.high], [y, y], color=colour, linewidth=thick, zorder=2)
            filled = colour if phase in line.real or known.by != "item" else "white"
            if _beyond(axes, known.difference):
                _point_out(axes, known, y)
                continue
            axes.plot(
                [known.difference], [y], marker=marker, markersize=5.5 if known.by == "item" else 3,
                color=colour, markerfacecolor=filled, zorder=3,
            )  # fmt: skip
    axes.tick_params(axis="x", labelsize=9.5)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.4g}" if value else "0")
    axes.grid(axis="x", color=_BAND, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    open_frame(axes)


def _beyond(axes: "Axes", value: float) -> bool:
    low, high = axes.get_xlim()
    return not low <= value <= high


def _point_out(axes: "Axes", known: Known, y: float) -> None:
    """An arrow at the edge of a panel for a difference beyond it; over items with its value."""
    left = known.difference < 0
    colour = _LOOK[known.by][0]
    low, high = axes.get_xlim()
    edge = low + (high - low) * (0.025 if left else 0.975)
    axes.plot([edge], [y], marker="<" if left else ">", markersize=5, color=colour)
    if known.by == "item":
        axes.annotate(
            f"{known.difference:+.3f}", (edge, y), (7 if left else -7, 0), fontsize=8.5,
            textcoords="offset points", color=GREY, va="center", ha="left" if left else "right",
        )  # fmt: skip


def _limits(comparison: Comparison, lines: list[_Line], metric: str) -> tuple[float, float]:
    """One range for all panels, around the band, zero and every interval, but for those of rows so
    far out that nothing could be told of the others."""
    reach = [_reach(line) for line in lines]
    usual = _FAR * statistics.median(reach)
    near = [
        line for line, far in zip(lines, reach, strict=True) if line.is_reference or far <= usual
    ]
    known = [one for line in near for each in line.intervals.values() for one in each]
    smallest = 1.5 * _smallest(comparison, metric)
    low = min(-smallest, *(one.low for one in known))
    high = max(smallest, *(one.high for one in known))
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _reach(line: _Line) -> float:
    """How far from zero the intervals of a row go."""
    known = [one for each in line.intervals.values() for one in each]
    return max(max(abs(one.low), abs(one.high)) for one in known)


def _smallest(comparison: Comparison, metric: str) -> float:
    """The smallest effect of interest; 0 for metrics that have none."""
    sizes = {"AUC": comparison.smallest, "WithinAUC": smallest_within(comparison.smallest)}
    return sizes.get(metric, 0.0)


def _heading(
    comparison: Comparison, metric: str, reference: str, width: int
) -> tuple[str, list[str]]:
    doc = next(iter(comparison.by_backbone.values()))
    row = comparison.titles.get(reference, reference)
    seeds = comparison.seeds
    told = f"{len(seeds)} seeds ({seed_names(seeds)})" if len(seeds) > 1 else "one seed"
    runs = [run for part in comparison.by_backbone.values() for run in part["runs"]]
    below = f"{better(metric)}; {scored_on({**doc, 'runs': runs})}; protocol {doc['protocol']}"
    lines = textwrap.wrap(below, max(width, 30), break_on_hyphens=False)
    return f"{doc['dataset']}: {metric} minus {row}, {told}", lines


def _legend(figure: Any, comparison: Comparison, metric: str, wide: float, high: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for by, (colour, marker, thick) in _LOOK.items():
        size = 5.5 if by == "item" else 3
        face = "white" if by == "item" else colour
        handles.append(Line2D([], [], color=colour, marker=marker, linewidth=thick,
                              markersize=size, markerfacecolor=face))  # fmt: skip
        handles[-1].set_label(f"95 % interval over {by}s")
    if metric == "AUC":
        colour, marker, thick = _LOOK["item"]
        handles.append(Line2D([], [], color=colour, marker=marker, linewidth=thick, markersize=5.5))
        handles[-1].set_label(f"real gain ({FEWEST_SEEDS} seeds or more)")
    smallest = _smallest(comparison, metric)
    if smallest:
        handles.append(Patch(color=_BAND, label=f"up to ± {smallest:g}: too small to matter"))
    columns = min(len(handles), max(1, math.floor((wide - 0.3) / 2.45)))
    figure.legend(
        handles=handles, loc="lower left", ncols=columns, frameon=False, fontsize=9.5,
        bbox_to_anchor=(0.15 / wide, 0.03 / high), columnspacing=1.4, handlelength=2.2,
        labelcolor=TEXT_GREY,
    )  # fmt: skip
