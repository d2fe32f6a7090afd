"""Pictures in the forms of published figures; each form is a function of plain arrays.

``FORMS`` is the table of them. A published number is a hollow mark beside ours.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import METRICS
from recbole_cold.graphs import Graphs
from recbole_cold.report import _graphs, _ridgelines, _vectors
from recbole_cold.report._drawing import (
    BLACK,
    COLOURS,
    MARKERS,
    add_panel,
    draw_grid,
    name_phases,
    new_figure,
    save_figure,
    with_margin,
    write_heading,
)
from recbole_cold.report._vectors import IdVectors
from recbole_cold.report._words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL = (4.0, 2.9)  # inches
_DASHES = ("-", "--", "-.", ":")
_LONGEST = 30  # letters of a name in a legend


class Series(NamedTuple):
    """What is drawn of one row; nan where nothing is known.

    Attributes:
        mean, std, published: a number per phase.
        at: the row's place on the axis of a sweep.
        batches: per phase, the metric on every batch of the scored rows; nan where one has rows of
            one class only.
    """

    label: str
    mean: Sequence[float]
    std: Sequence[float]
    published: Sequence[float]
    at: float | None = None
    batches: Sequence[Sequence[float]] | None = None


class Panel(NamedTuple):
    """One panel: what stands above it, and its rows."""

    title: str
    series: Sequence[Series]


class Batches(NamedTuple):
    """A metric on every batch of scored rows.

    Attributes:
        sizes: rows of a batch; several where the rows of a table differ in it.
        values: by group (a block, a backbone) and name of a row: a list per phase, all seeds.
    """

    sizes: Sequence[int]
    values: Mapping[tuple[str, str], Sequence[Sequence[float]]]


class Drawn(NamedTuple):
    """All that a form may draw; a form says what it misses.

    Attributes:
        told: the line under the title; ``seeds``: over how many, where a form shows means.
        batches: rows of a batch, for the forms in ``OF_BATCHES``.
        graphs: the feature graphs of ``item``, for heat maps.
        vectors: ID vectors, one panel per row.
    """

    title: str
    told: str = ""
    seeds: str = ""
    metric: str = "AUC"
    phases: Sequence[str] = ()
    panels: Sequence[Panel] = ()
    batches: Sequence[int] = ()
    graphs: Graphs | None = None
    item: str = ""
    vectors: Sequence[IdVectors] = ()


def plot_form(form: str, drawn: Drawn, path: str | Path) -> None:
    """Draw ``drawn`` in one of the forms; the file appears whole or not at all.

    Raises:
        UserError: what the form draws is not there, or the suffix is not png, pdf or svg.
    """
    save_figure(lambda: FORMS[form](drawn), path)


# ------------------------------------------------------------------------------- forms
def curves(drawn: Drawn) -> Any:
    """A line per row over the phases, its band one standard deviation on each side."""

    styles = _styles(drawn)

    def draw(axes: "Axes", panel: Panel) -> None:
        places = np.arange(len(drawn.phases))
        for each in panel.series:
            style, mean, std = styles[each.label], _array(each.mean), _zeros(each.std)
            axes.plot(places, mean, linewidth=1.7, markersize=5, label=_name(each), **style)
            axes.fill_between(places, mean - std, mean + std, color=style["color"], alpha=0.12,
                              linewidth=0)  # fmt: skip
            _hollow(axes, places, each.published, style)
        name_phases(axes, drawn.phases, most=30, sizes=(9, 10))

    return _panels(drawn, draw, styles, "band: ± 1 sample std", hollow=True)


def bars(drawn: Drawn) -> Any:
    """A group of bars per phase, a bar per row, with one standard deviation on each side."""

    styles = _styles(drawn)

    def draw(axes: "Axes", panel: Panel) -> None:
        count = len(panel.series)
        for number, each in enumerate(panel.series):
            style = styles[each.label]
            places = np.arange(len(drawn.phases)) + (number - (count - 1) / 2) * 0.8 / count
            axes.bar(places, _array(each.mean), 0.74 / count, yerr=_zeros(each.std),
                     color=style["color"], label=_name(each),
                     error_kw={"linewidth": 1})  # fmt: skip
            _hollow(axes, places, each.published, {**style, "color": "black"})
        name_phases(axes, drawn.phases, most=30, sizes=(9, 10))
        axes.set_xlim(-0.6, len(drawn.phases) - 0.4)

    told = "bars do not start at 0; whiskers: ± 1 sample std"
    return _panels(drawn, draw, styles, told, hollow=True)


def sweep(drawn: Drawn) -> Any:
    """A line per phase over the rows' places (a number of layers, say).

    Raises:
        UserError: a row has no place.
    """

    def draw(axes: "Axes", panel: Panel) -> None:
        rows = [each for each in panel.series if each.at is not None]
        if len(rows) < len(panel.series) or not rows:
            raise UserError("a row of this sweep has no number (at) to stand at.")
        rows.sort(key=lambda each: each.at or 0.0)
        places = np.array([each.at for each in rows], dtype=float)
        for number, phase in enumerate(drawn.phases):
            style = _style(number)
            mean = np.array([each.mean[number] for each in rows], dtype=float)
            std = _zeros([each.std[number] for each in rows])
            axes.errorbar(places, mean, yerr=std, linewidth=1.7, markersize=5, capsize=3,
                          label=phase, **style)  # fmt: skip
            _hollow(axes, places, [each.published[number] for each in rows], style)
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.set_xlim(*with_margin(places.min(), places.max(), 0.08, 0.1))

    return _panels(drawn, draw, drawn.phases, "whiskers: ± 1 sample std", hollow=True)


def boxes(drawn: Drawn) -> Any:
    """Per phase a box per row: the metric on every batch of the scored rows.

    Box: quartiles and median; whiskers: 1.5 times their distance; points: beyond.

    Raises:
        UserError: no row has batches.
    """
    told = _batch_words(drawn)
    styles = _styles(drawn)

    def draw(axes: "Axes", panel: Panel) -> None:
        count = len(panel.series)
        for number, each in enumerate(panel.series):
            style = styles[each.label]
            places = np.arange(len(drawn.phases)) + (number - (count - 1) / 2) * 0.8 / count
            found = [_array(batch)[~np.isnan(_array(batch))] for batch in each.batches or ()]
            colour, look = {"color": style["color"]}, _box_look(style)
            axes.boxplot(
                found, positions=places[: len(found)], widths=0.66 / count, manage_ticks=False,
                patch_artist=True, boxprops=look,
                whiskerprops=colour,
                capprops=colour, medianprops={"color": "black", "linewidth": 1.4},
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": style["color"]},
            )  # fmt: skip
            axes.bar([0], [math.nan], label=_name(each), **look)
        name_phases(axes, drawn.phases, most=30, sizes=(9, 10))
        axes.set_xlim(-0.6, len(drawn.phases) - 0.4)

    drawn = drawn._replace(seeds="")  # nothing is a mean over seeds
    return _panels(drawn, draw, styles, f"a box: quartiles of {told}", hollow=False)


def ridgelines(drawn: Drawn) -> Any:
    """Per phase a panel, in it a ridge per row: the density of the metric over the batches.

    Raises:
        UserError: no row has batches.
    """
    told = _batch_words(drawn)
    styles = _styles(drawn)
    groups = [
        (
            panel.title,
            [
                _ridgelines.Ridge(
                    each.label, styles[each.label]["color"],
                    [_array(batch)[~np.isnan(_array(batch))] for batch in each.batches],
                )
                for each in panel.series
                if each.batches
            ],
        )
        for panel in drawn.panels
    ]  # fmt: skip
    groups = [(title, ridges) for title, ridges in groups if ridges]
    wide = _ridgelines.wide_of(groups, len(drawn.phases))
    words = f"a ridge: density of {told}; peaks have one height; black: median; ticks: batches"
    lines = textwrap.wrap("; ".join(filter(None, [drawn.told, words])), int((wide - 0.5) / 0.078))
    metric = METRICS.get(drawn.metric)
    most = 1.0 if metric is not None and metric.best == "high" else None
    return _ridgelines.ridges_figure(groups, drawn.phases, drawn.metric, drawn.title, lines, most)


def graphs(drawn: Drawn) -> Any:
    """Heat maps of one item's feature graphs: a row per phase, a column per order.

    Raises:
        UserError: there are no graphs.
    """
    if drawn.graphs is None:
        raise UserError("no row of this figure has feature graphs.")
    place = list(drawn.graphs.items).index(drawn.item)
    maps = drawn.graphs.graphs[:, :, place]
    return _graphs._figure(drawn.graphs, maps, f"{drawn.title}: item {drawn.item}", drawn.told)


def vectors(drawn: Drawn) -> Any:
    """New items' ID vectors among those of old ones, a panel per row.

    Raises:
        UserError: there are no vectors.
    """
    if not drawn.vectors:
        raise UserError("no row of this figure has ID vectors.")
    return _vectors._figure(drawn.vectors, drawn.title, drawn.told)


FORMS: dict[str, Callable[[Drawn], Any]] = {
    # A table has no picture of its own; its rows as curves say the same.
    "table": curves,
    "curves": curves,
    "bars": bars,
    "sweep": sweep,
    "boxes": boxes,
    "ridgelines": ridgelines,
    "graphs": graphs,
    "vectors": vectors,
}
"""Form -> the function that draws it."""
OF_BATCHES = ("boxes", "ridgelines")
"""The forms that show a metric on batches of scored rows."""


# ------------------------------------------------------------------------------- shared
def batch_values(
    metric: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    scores: np.ndarray,
    size: int,
) -> np.ndarray:
    """``metric(labels, scores)`` on each batch of ``size`` rows in their order, the rest left out.

    Args:
        labels, scores: [rows].

    Returns:
        A number per whole batch; nan where a batch has one class only.
    """
    count = len(labels) // size
    pairs = zip(
        labels[: count * size].reshape(count, size),
        scores[: count * size].reshape(count, size),
        strict=True,
    )
    return np.array([metric(y, s) if 0 < y.sum() < size else math.nan for y, s in pairs])


def _batch_words(drawn: Drawn) -> str:
    """What a batch is, how many there are, and how many of them have no value.

    Raises:
        UserError: there is no batch with a value.
    """
    rows = [each.batches for panel in drawn.panels for each in panel.series if each.batches]
    counts = [len(batch) for batches in rows for batch in batches]
    size = " or ".join(f"{size:,}" for size in drawn.batches)
    if not rows:
        raise UserError("boxes and ridgelines need the scores of single rows, and none were kept.")
    if not sum(counts):
        raise UserError(
            f"no phase has a whole batch of {size} rows of one seed; take smaller batches."
        )
    gone = sum(int(np.isnan(_array(batch)).sum()) for batches in rows for batch in batches)
    if gone == sum(counts):
        raise UserError(f"every batch of {size} rows has one class only.")
    low, high = min(counts), max(counts)
    many = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    left_out = f"{gone:,} of all {sum(counts):,} have" if gone else "no batch has"
    return f"{many} batches of {size} scored rows, all seeds; {left_out} one class" + (
        " and are left out" if gone else ""
    )


def _panels(
    drawn: Drawn,
    draw: Callable[["Axes", Panel], None],
    legend: Iterable[str],
    words: str,
    *,
    hollow: bool,
) -> Any:
    """Panels in rows of at most three, with one legend below all of them.

    Args:
        legend: names of what is drawn in a panel.
        words: what the marks are.
        hollow: whether published numbers are drawn.
    """
    panels = [panel for panel in drawn.panels if _known(panel)]
    if not panels:
        raise UserError(f"no row of this figure has a value of {drawn.metric}.")
    across = min(len(panels), 3 if len(panels) != 4 else 2)
    down = -(-len(panels) // across)
    left, gap, right = 0.85, 0.75, 0.3
    wide = max(left + across * _PANEL[0] + (across - 1) * gap + right, 7.0)
    across_panel = (wide - left - right - (across - 1) * gap) / across  # inches
    hollow &= any(not np.isnan(_array(each.published)).all() for p in panels for each in p.series)
    told = "; ".join(
        filter(None, [drawn.told, drawn.seeds, words, "hollow: published" if hollow else ""])
    )
    lines = textwrap.wrap(told, int((wide - 0.5) / 0.078))
    above = 0.62 + 0.2 * len(lines) + 0.28
    names = [shorten(name, _LONGEST) for name in legend]
    columns = max(1, min(len(names), int((wide - 0.4) / (0.8 + 0.085 * max(map(len, names))))))
    below = 0.62 + 0.27 * -(-len(names) // columns)
    high = above + down * _PANEL[1] + (down - 1) * 0.65 + below
    figure, places = new_figure(wide, high), []
    for number, panel in enumerate(panels):
        row, column = divmod(number, across)
        x = left + column * (across_panel + gap)
        y = high - above - (row + 1) * _PANEL[1] - row * 0.65
        axes = add_panel(figure, x, y, across_panel, _PANEL[1])
        draw(axes, panel)
        axes.set_ylim(*_limits(panel))
        axes.set_title(shorten(panel.title, 44), fontsize=11, loc="left", weight="bold")
        axes.tick_params(axis="y", labelsize=9.5)
        axes.set_ylabel(drawn.metric if column == 0 else "", fontsize=10.5)
        draw_grid(axes)
        places.append(axes)
    found = {
        label: handle
        for axes in places
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(found.values()), list(found), loc="lower center", ncols=columns, frameon=False,
        fontsize=10, bbox_to_anchor=(0.5, 0.02 / high), handlelength=2.4, columnspacing=1.5,
    )  # fmt: skip
    write_heading(figure, drawn.title, lines, down=(0.34, 0.44))
    return figure


def _known(panel: Panel) -> bool:
    """Whether there is a number of ours: published ones alone are no picture."""
    return any(not np.isnan(_array(s.mean)).all() or s.batches for s in panel.series)


def _values(panel: Panel) -> list[float]:
    """Every number that a panel has to show."""
    found: list[float] = []
    for each in panel.series:
        mean, std = _array(each.mean), _zeros(each.std)
        found += [*(mean - std), *(mean + std), *_array(each.published)]
        found += [value for batch in each.batches or () for value in batch]
    return [value for value in found if not math.isnan(value)]


def _limits(panel: Panel) -> tuple[float, float]:
    values = _values(panel)
    return with_margin(min(values), max(values), 0.08)


def _styles(drawn: Drawn) -> dict[str, dict[str, Any]]:
    """A row looks alike in all panels."""
    labels = dict.fromkeys(each.label for panel in drawn.panels for each in panel.series)
    return {label: _style(number) for number, label in enumerate(labels)}


def _style(number: int) -> dict[str, Any]:
    """Colour, marker and dash of the ``number``-th row: all are in colour, as in the papers."""
    colours = (*COLOURS, BLACK)
    return {
        "color": colours[number % len(colours)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": _DASHES[number // len(colours) % len(_DASHES)],
    }


def _box_look(style: Mapping[str, Any]) -> dict[str, Any]:
    """Of a box: pale, and hatched where another row has its colour already."""
    from matplotlib.colors import to_rgba

    again = _DASHES.index(style["linestyle"])
    return {
        "facecolor": to_rgba(style["color"], 0.4), "edgecolor": style["color"],
        "hatch": ("", "////", "....", "xxxx")[again],
    }  # fmt: skip


def _name(series: Series) -> str:
    return shorten(series.label, _LONGEST)


def _hollow(axes: "Axes", places: Any, values: Sequence[float], style: dict[str, Any]) -> None:
    """Published numbers: the row's mark without its filling."""
    axes.plot(places, _array(values), linestyle="", marker=style["marker"], markersize=7,
              markerfacecolor="none", markeredgecolor=style["color"], markeredgewidth=1.3,
              zorder=4)  # fmt: skip


def _array(values: Sequence[float]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def _zeros(values: Sequence[float]) -> np.ndarray:
    """Standard deviations, 0 where one seed has none."""
    return np.nan_to_num(_array(values))
