"""Reliability diagrams: the share of clicks against the predicted one, a panel per phase."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_cold.errors import UserError
from recbole_cold.report._comparison import Comparison
from recbole_cold.report._comparison_plot import cells_to_draw, comparison_told
from recbole_cold.report._document import Document
from recbole_cold.report._drawing import (
    GREY,
    add_panel,
    draw_grid,
    new_figure,
    write_heading,
)
from recbole_cold.report._looks import Legend, Look, looks_of_comparison, looks_of_run
from recbole_cold.report._pictures import metrics_to_draw, picture_title
from recbole_cold.report._words import all_seeds, seed_names, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE, _GAP, _LEFT, _RIGHT = 2.45, 0.25, 0.75, 0.25  # inches
_MOST_ACROSS = 4
_LEAST_WIDE = 6.4
_WHAT = "15 bins of equally many rows, from low to high probability, mean over seeds"


class Bins(NamedTuple):
    """Mean probability and share of clicks, bin by bin; bins without rows are left out."""

    predicted: list[float]
    clicked: list[float]


def bins_of(run: Mapping[str, Any], phase: str) -> Bins:
    """A run's bins in one phase: the k-th of all seeds together, each seed by its rows."""
    tables = [
        seed["phases"][phase]["reliability"]
        for seed in run["seeds"]
        if seed["phases"].get(phase, {}).get("reliability")
    ]
    found = Bins([], [])
    for k in range(max((len(table["rows"]) for table in tables), default=0)):
        known = [
            (table["predicted"][k], table["clicked"][k], table["rows"][k])
            for table in tables
            if k < len(table["rows"]) and table["rows"][k] and table["predicted"][k] is not None
            and table["clicked"][k] is not None
        ]  # fmt: skip
        rows = sum(n for *_, n in known)
        if rows:
            found.predicted.append(sum(p * n for p, _, n in known) / rows)
            found.clicked.append(sum(c * n for _, c, n in known) / rows)
    return found


def run_reliability(doc: Document, metric: str | None = None) -> "Figure":
    """A run's reliability diagram; ``metric`` says which of many methods are in colour.

    Raises:
        UserError: the results hold no bins.
    """
    looks = looks_of_run(doc, metrics_to_draw(doc, metric)[0])
    wide = _wide(len(doc["phases"]))
    words = [_WHAT] * (len(all_seeds(doc)) > 1)
    title, told = picture_title(doc, int((wide - 0.5) / 0.078), words)
    return _figure({"": doc}, doc["phases"], looks, f"{title}: predicted and real clicks", told)


def comparison_reliability(comparison: Comparison, metric: str | None = None) -> "Figure":
    """A comparison's reliability diagrams, a row of panels per backbone.

    Raises:
        UserError: the results hold no bins.
    """
    looks = looks_of_comparison(comparison, cells_to_draw(comparison, metric)[0])
    phases, seeds = comparison.phases, comparison.seeds
    title = f"{comparison.document['documents'][0]['dataset']}: predicted and real clicks, "
    title += f"{len(seeds)} seeds ({seed_names(seeds)})" if len(seeds) > 1 else "one seed"
    told = comparison_told(comparison, True, [_WHAT] * (len(seeds) > 1))
    lines = textwrap.wrap(told, int((_wide(len(phases)) - 0.5) / 0.078), break_on_hyphens=False)
    return _figure(comparison.by_backbone, phases, looks, title, lines)


def _wide(phases: int) -> float:
    across = min(phases, _MOST_ACROSS)
    return max(_LEFT + across * (_SIDE + _GAP) - _GAP + _RIGHT, _LEAST_WIDE)


def _figure(
    documents: Mapping[str, Document],
    phases: Sequence[str],
    looks: Mapping[str, Look],
    title: str,
    told: Sequence[str],
) -> "Figure":
    bins = {
        (name, phase, run["label"]): found
        for name, doc in documents.items()
        for run in doc["runs"]
        for phase in phases
        if (found := bins_of(run, phase)).predicted
    }
    if not bins:
        raise UserError(
            "these results hold no bins of predicted and real clicks: an earlier version wrote "
            "them, or scores that are no probabilities; run them again."
        )
    panels = [(name, phase) for name in documents for phase in phases]
    panels = [place for place in panels if any(key[:2] == place for key in bins)]
    across = min(len(phases), _MOST_ACROSS)
    down = math.ceil(len(panels) / across)
    wide = _wide(len(phases))
    legend = Legend({row: look for row, look in looks.items() if _is_in(bins, row)}, wide)
    above, below = 0.62 + 0.2 * len(told) + 0.28, 0.62 + legend.height
    step = _SIDE + 0.45
    high = above + down * step - 0.45 + below
    figure = new_figure(wide, high)
    ends = _ends(bins)
    for number, (name, phase) in enumerate(panels):
        row, column = divmod(number, across)
        left, bottom = _LEFT + column * (_SIDE + _GAP), high - above - row * step - _SIDE
        axes = add_panel(figure, left, bottom, _SIDE, _SIDE)
        here = {label: bins[name, phase, label] for label in looks if (name, phase, label) in bins}
        _panel(axes, here, looks, ends)
        axes.set_title(shorten(f"{name}, {phase}" if name else phase, 30), fontsize=11, loc="left")
        axes.tick_params(
            labelsize=9.5, labelleft=column == 0, labelbottom=number + across >= len(panels)
        )
        if column == 0:
            axes.set_ylabel("share of clicks", fontsize=10.5)
        if number + across >= len(panels):
            axes.set_xlabel("mean predicted probability", fontsize=10)
    write_heading(figure, title, told, down=(0.34, 0.44))
    legend.draw(figure)
    return figure


def _is_in(bins: Mapping[tuple[str, str, str], Bins], label: str) -> bool:
    return any(row == label for *_, row in bins)


def _ends(bins: Mapping[tuple[str, str, str], Bins]) -> tuple[float, float]:
    """Both axes of all panels: the diagonal stays one."""
    values = [value for found in bins.values() for value in (*found.predicted, *found.clicked)]
    low, high = min(values), max(values)
    margin = max(0.04 * (high - low), 0.002)
    return max(0.0, low - margin), min(1.0, high + margin)


def _panel(
    axes: "Axes",
    bins: Mapping[str, Bins],
    looks: Mapping[str, Look],
    ends: tuple[float, float],
) -> None:
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    for label, found in bins.items():
        look = looks[label]
        options: dict[str, Any] = (
            {"linewidth": 1.2, "markersize": 3.2} if look.named else {"linewidth": 0.8}
        )
        order = 3 if look.named else 1
        axes.plot(
            found.predicted, found.clicked, label=label, zorder=order, **options, **look.style
        )
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal")
    axes.locator_params(nbins=6)
    draw_grid(axes)
