"""How the rows of a picture look: which are named in colour, which are grey behind them.

Reference rows have one look in every picture, so that they are found at once: the plain backbone
is grey, its row at matched steps grey and dashed, ItemBias black. Of many methods only the best
are in colour: nobody tells fifteen colours apart.
"""

import math
import statistics
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_cold.evaluation.metrics import cost
from recbole_cold.report._comparison import MATCHED, Comparison
from recbole_cold.report._document import Document
from recbole_cold.report._drawing import BLACK, COLOURS, GREY, MARKERS, PALE_GREY, TEXT_GREY
from recbole_cold.report._statistics import Row, base_name, summary
from recbole_cold.report._words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALL_IN_COLOUR = 8
"""Methods that are all in colour; of more, only as many of the best as there are colours."""
YARDSTICK = "ItemBias"


class Look(NamedTuple):
    """How a row is drawn.

    Attributes:
        style: colour, marker and dash of its line.
        kind: ``plain``, ``matched``, ``yardstick``, ``reference`` or ``method``.
        named: False of a row that stands in pale grey behind the others.
    """

    style: dict[str, Any]
    kind: str
    named: bool = True


class Line(NamedTuple):
    """One row in one panel: its phases by number, its means, and the ends of its band."""

    label: str
    look: Look
    x: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


class Bands(NamedTuple):
    """The bands of curves where they are not deviations over seeds.

    Attributes:
        words: what they are, for the line under a title.
        ends: by backbone ('' in a run), row, phase and metric.
    """

    words: str
    ends: Mapping[tuple[str, str, str, str], tuple[float, float]]


def a_line(
    label: str, look: Look, rows: Mapping[int, Row], bands: Bands | None = None, backbone: str = ""
) -> Line:
    """The line of a row, its band one sample deviation on each side or what ``bands`` say.

    Where neither is known, as with one seed, the band is as thin as the line.

    Args:
        rows: the figures of the row by the number of their phase.
    """
    ends = []
    for row in rows.values():
        spread = row.std if row.n > 1 and bands is None else 0.0
        ends.append((row.mean - spread, row.mean + spread))
        if bands is not None:
            place = (backbone, row.label, row.phase, row.metric)
            ends[-1] = bands.ends.get(place, ends[-1])
    low, high = zip(*ends, strict=True)
    return Line(label, look, list(rows), [row.mean for row in rows.values()], [*low], [*high])


def band_words(bands: Bands | None, metrics: Iterable[str], seeds: int) -> list[str]:
    """What the bands of a picture are, and what has none; nothing where there are none."""
    if bands is None:
        return ["band: ± 1 sample std"] * (seeds > 1)
    without = sorted(set(metrics) - {metric for *_, metric in bands.ends})
    return [bands.words + (f", none of {' and '.join(without)}" if without else "")]


def looks_of_run(doc: Document, metric: str) -> dict[str, Look]:
    """The look of each row of a run; the best of many methods are those by ``metric``."""
    return _looks(_kinds(doc), [(row, "") for row in summary(doc, [metric])], doc["phases"])


def looks_of_comparison(comparison: Comparison, metric: str) -> dict[str, Look]:
    """The look of each row of a comparison, the same on all its backbones."""
    found: dict[str, str] = {}
    for doc in comparison.by_backbone.values():
        found |= _kinds(doc)
    # A row that failed everywhere has only its name.
    kinds = {row: found.get(row, "method") for row in comparison.rows}
    cells = comparison.cells(metric).items()
    rows = [(cell.row, backbone) for (backbone, _, _), cell in cells]
    return _looks(kinds, rows, comparison.phases)


def _kinds(doc: Document) -> dict[str, str]:
    """What each row of a document is to the others, by its label."""
    base, found = base_name(doc), {}
    for run in doc["runs"]:
        asked = run["config"].get("reference_rows") or ()
        names = {run["label"], run["model"]}
        if run["label"] == MATCHED or run.get("matched_steps") is not None:
            found[run["label"]] = "matched"
        elif base in names:
            found[run["label"]] = "plain"
        elif YARDSTICK in names:
            found[run["label"]] = "yardstick"
        else:
            found[run["label"]] = "reference" if names & set(asked) else "method"
    return found


def _looks(
    kinds: Mapping[str, str], rows: Sequence[tuple[Row, str]], phases: Sequence[str]
) -> dict[str, Look]:
    """Looks by label, in the order of the labels; ``rows`` are figures and their backbones."""
    methods = [label for label, kind in kinds.items() if kind == "method"]
    named = set(kinds) - set(methods)
    coloured = [label for label, kind in kinds.items() if kind == "reference"]
    if len(methods) <= ALL_IN_COLOUR:
        named |= set(methods)
    else:
        room = max(1, len(COLOURS) - len(coloured))
        named |= set(sorted(methods, key=_mean_place(rows, phases))[:room])
    numbers: Counter[str] = Counter()
    found = {}
    for label, kind in kinds.items():
        group = "coloured" if kind in ("reference", "method") else kind
        if label in named:
            found[label] = Look(_style(group, numbers[group]), kind)
            numbers[group] += 1
        else:
            found[label] = Look({"color": PALE_GREY, "marker": "", "linestyle": "-"}, kind, False)
    return found


def _style(group: str, number: int) -> dict[str, Any]:
    """The ``number``-th look of a group; no colour comes twice with one marker."""
    colour = {"plain": GREY, "matched": GREY, "yardstick": BLACK}.get(group, "")
    if not colour:
        turn, place = divmod(number, len(COLOURS))
        marker = MARKERS[(place + turn) % len(MARKERS)]
        return {"color": COLOURS[place], "marker": marker, "linestyle": "-" if not turn else ":"}
    dash = {"plain": "-", "matched": "--", "yardstick": "-."}[group]
    first = {"plain": 0, "matched": 1, "yardstick": len(MARKERS) - 1}[group]
    # Plain and matched rows share a colour: they take every second marker.
    step = 1 if group == "yardstick" else 2
    return {"color": colour, "marker": MARKERS[(first + step * number) % len(MARKERS)],
            "linestyle": dash}  # fmt: skip


def _mean_place(rows: Sequence[tuple[Row, str]], phases: Sequence[str]) -> Any:
    """A label's mean place over warm phases and backbones, to sort by; unknown ones come last."""
    warm = set(phases[1:] or phases)
    tables: dict[tuple[str, str], dict[str, float]] = {}
    for row, backbone in rows:
        if row.phase in warm and row.n:
            tables.setdefault((backbone, row.phase), {})[row.label] = cost(row.metric, row.mean)
    places: dict[str, list[int]] = {}
    for costs in tables.values():
        for label, ours in costs.items():
            places.setdefault(label, []).append(sum(other < ours for other in costs.values()))
    # Fewer scores than others have is no advantage.
    most = max(map(len, places.values()), default=0)
    whole = {
        label: statistics.fmean(found) for label, found in places.items() if len(found) == most
    }
    return lambda label: whole.get(label, math.inf)


def draw_line(
    axes: "Axes", line: Line, *, width: float, marker: float, band: float, order: int = 2
) -> None:
    """Draw a row's means and the band around them.

    Args:
        width, marker: of line and marker, in points. band: opacity of the band.
        order: drawn above what has a lower one.
    """
    if not line.look.named:
        axes.plot(line.x, line.mean, linewidth=0.9, zorder=1, label=line.label, **line.look.style)
        return
    axes.plot(
        line.x, line.mean, linewidth=width, markersize=marker, zorder=order, label=line.label,
        **line.look.style,
    )  # fmt: skip
    axes.fill_between(
        line.x, line.low, line.high, color=line.look.style["color"], alpha=band, linewidth=0,
        zorder=1,
    )  # fmt: skip


def limits(lines: Iterable[Line]) -> tuple[float, float]:
    """The lowest and highest point of lines, with the bands of those that have one."""
    lines = list(lines)
    lows = [(line.low if line.look.named else line.mean) for line in lines]
    highs = [(line.high if line.look.named else line.mean) for line in lines]
    # An interval by resamples may leave out the mean that it belongs to.
    least = [min(*ends, *line.mean) for ends, line in zip(lows, lines, strict=True)]
    most = [max(*ends, *line.mean) for ends, line in zip(highs, lines, strict=True)]
    return min(least), max(most)


class Legend:
    """The rows of a picture below its panels: named ones as lines, the others in one sentence.

    Args:
        looks: of the rows that are drawn.
        wide: of the figure, in inches.

    Attributes:
        height: the room that it takes, in inches.
    """

    def __init__(self, looks: Mapping[str, Look], wide: float) -> None:
        self.looks = {row: look for row, look in looks.items() if look.named}
        self.names = [shorten(row, 40) for row in self.looks]
        longest = max(map(len, self.names), default=1)
        self.columns = max(1, min(len(self.names), int((wide - 0.4) / (0.75 + 0.085 * longest))))
        others = [row for row, look in looks.items() if not look.named]
        told = f"pale grey: {', '.join(others)}" if others else ""
        self.others = textwrap.wrap(told, int((wide - 0.5) / 0.078), break_on_hyphens=False)
        rows = math.ceil(len(self.names) / self.columns)
        self.height = 0.27 * rows + 0.15 + 0.18 * len(self.others)

    def draw(self, figure: "Figure") -> None:
        from matplotlib.lines import Line2D

        high = figure.get_size_inches().tolist()[1]
        handles = [
            Line2D([], [], linewidth=1.7, markersize=5.5, **look.style)
            for look in self.looks.values()
        ]
        figure.legend(
            handles, self.names, loc="lower center", ncols=self.columns, frameon=False, fontsize=10,
            bbox_to_anchor=(0.5, (0.02 + 0.18 * len(self.others)) / high), handlelength=2.6,
            columnspacing=1.6,
        )  # fmt: skip
        if self.others:
            figure.text(0.5, 0.06 / high, "\n".join(self.others), fontsize=9.5, color=TEXT_GREY,
                        ha="center", va="bottom")  # fmt: skip
