"""Critical-difference diagrams in Demsar's form (JMLR 2006): one per phase.

An axis of mean ranks, the best on the right; a line from each row's place to its name; bars over
rows that Nemenyi's test does not distinguish; above, the critical difference in the axis' length.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recbole_cold.evaluation import ranks
from recbole_cold.report._across import Across, Ranked
from recbole_cold.report._drawing import BLACK, TEXT_GREY, add_panel, new_figure, write_heading
from recbole_cold.report._words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AXIS = 4.0  # inches
_LETTER, _MOST = 0.085, 30  # of names: inches, letters
_NAME = 0.23  # inches between names
_BAR = 0.11  # inches between bars
_TOP = 0.78  # inches from a diagram's upper edge to its axis


def cd_figure(across: Across, level: float = 0.05) -> "Figure":
    """A critical-difference diagram for each phase.

    Raises:
        UserError: fewer than five blocks.
    """
    tables = across.phases
    differences = [
        ranks.critical_difference(len(table.rows), len(across.blocks), level) for table in tables
    ]
    names = [len(shorten(row, _MOST)) for table in tables for row in table.rows]
    margin = 0.75 + _LETTER * max(names)
    wide = 2 * margin + _AXIS
    told = [across.told, *([across.caution] * bool(across.caution))]
    told[0] += f"; bars join rows that Nemenyi's test does not distinguish ({level:g})"
    lines = [
        line
        for text in told
        for line in textwrap.wrap(text, int((wide - 0.5) / 0.078), break_on_hyphens=False)
    ]
    above = 0.62 + 0.2 * len(lines) + 0.1
    heights = [_height(table, d) for table, d in zip(tables, differences, strict=True)]
    high = above + sum(heights) + 0.1
    figure = new_figure(wide, high)
    for number, (table, difference) in enumerate(zip(tables, differences, strict=True)):
        bottom = high - above - sum(heights[: number + 1])
        axes = add_panel(figure, 0, bottom, wide, heights[number])
        _diagram(axes, table, difference, margin)
    title = f"{across.metric}: mean ranks over data sets and backbones, 1 is best"
    write_heading(figure, title, lines, down=(0.34, 0.44))
    return figure


def _groups(table: Ranked, difference: float) -> list[tuple[float, float]]:
    """The first and last mean rank of each group that is not distinguished."""
    mean = table.mean_ranks
    return [
        (min(mean[k] for k in group), max(mean[k] for k in group))
        for group in ranks.cliques(mean, difference)
    ]


def _levels(groups: Sequence[tuple[float, float]], gap: float) -> list[int]:
    """The line of each bar: the first on which it touches no other."""
    ends: list[float] = []  # of the last bar on each line
    found = []
    for low, high in groups:
        level = next((k for k, end in enumerate(ends) if low > end + gap), len(ends))
        ends[level : level + 1] = [high]
        found.append(level)
    return found


def _height(table: Ranked, difference: float) -> float:
    bars = max(_levels(_groups(table, difference), 0.2), default=-1) + 1
    return _TOP + 0.14 + _BAR * bars + _NAME * math.ceil(len(table.rows) / 2) + 0.25


def _diagram(axes: "Axes", table: Ranked, difference: float, margin: float) -> None:
    """Everything in inches, from the diagram's upper left corner down."""
    wide = 2 * margin + _AXIS
    axes.set_xlim(0, wide)
    axes.set_ylim(_height(table, difference), 0)
    axes.axis("off")
    mean, rows = table.mean_ranks, [shorten(row, _MOST) for row in table.rows]
    last = len(rows)

    def place(rank: float) -> float:
        return margin + (last - rank) / (last - 1) * _AXIS

    def draw(x: Sequence[float], y: Sequence[float], width: float, label: str = "") -> None:
        axes.plot(x, y, linewidth=width, color=BLACK, solid_capstyle="butt", clip_on=False,
                  label=label)  # fmt: skip

    p = ranks.friedman(table.costs).p_value
    told = f"Friedman p = {p:.3f}" if p >= 0.001 else "Friedman p < 0.001"
    axes.text(0.2, 0.16, table.phase, fontsize=11, weight="bold", va="center")
    axes.text(wide - 0.2, 0.16, told, fontsize=9.5, va="center", ha="right", color=TEXT_GREY)
    draw([place(last), place(1)], [_TOP, _TOP], 1)
    step = max(1, math.ceil((last - 1) / 14))
    for rank in range(1, last + 1, step):
        draw([place(rank)] * 2, [_TOP - 0.08, _TOP], 1)
        axes.text(place(rank), _TOP - 0.12, str(rank), fontsize=9, ha="center", va="bottom")
    length = place(1) - place(1 + difference)
    start = place(last)
    draw([start, start + length], [0.36, 0.36], 1.2, label="critical difference")
    for x in (start, start + length):
        draw([x, x], [0.32, 0.40], 1.2)
    axes.text(start + length / 2, 0.3, f"CD = {difference:.2f}", fontsize=9, ha="center",
              va="bottom")  # fmt: skip
    groups = _groups(table, difference)
    levels = _levels(groups, 0.2)
    for (low, high_), level in zip(groups, levels, strict=True):
        y = _TOP + 0.12 + _BAR * level
        draw([place(high_) - 0.04, place(low) + 0.04], [y, y], 3.2, label="group")
    below = _TOP + 0.2 + _BAR * (max(levels, default=-1) + 1)
    order = sorted(range(last), key=lambda k: (mean[k], k))
    half = (last + 1) // 2
    for number, k in enumerate(order):
        right = number < half  # the better half; the middle of each side is lowest
        y = below + _NAME * (number if right else last - 1 - number) + 0.1
        end, align = (wide - margin + 0.12, "left") if right else (margin - 0.12, "right")
        draw([place(mean[k]), place(mean[k]), end], [_TOP, y, y], 0.8, label=table.rows[k])
        name = f"{rows[k]}  {mean[k]:.2f}" if not right else f"{mean[k]:.2f}  {rows[k]}"
        axes.text(end + (0.05 if right else -0.05), y, name, fontsize=9.5, ha=align, va="center")
