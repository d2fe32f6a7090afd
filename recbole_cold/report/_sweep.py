"""A sweep as a picture: the selection metric against every axis of the search space."""

import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cold.errors import UserError
from recbole_cold.kinds import text_of
from recbole_cold.report._drawing import (
    COLOURS,
    GREY,
    add_panel,
    draw_grid,
    new_figure,
    save_figure,
    slant,
    with_margin,
    write_heading,
)
from recbole_cold.report._words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE = COLOURS[:2]
_PER_ROW = 4
_SPREAD = 0.16  # of the distance between two values, for settings that share one


def plot_sweep(document: Mapping[str, Any], path: str | Path) -> None:
    """Draw one panel per axis: a point per setting, its deviation over seeds, the best marked.

    Axes of listed values also show the mean over all settings with that value. The file appears
    whole or not at all.

    Raises:
        UserError: no setting has a value, or the folder is unwritable.
    """
    save_figure(lambda: sweep_figure(document), path)


def sweep_figure(document: Mapping[str, Any]) -> Any:
    """The picture of ``plot_sweep`` as a matplotlib figure.

    Raises:
        UserError: no setting has a value.
    """
    known = [each for each in document["settings"] if each["mean"] is not None]
    known = [each for each in known if math.isfinite(each["mean"])]
    if not known:
        raise UserError("no setting of this sweep has a value.")
    return _figure(document, known)


def _figure(document: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> Any:
    axes = document["space"]
    across = min(len(axes), _PER_ROW)
    down = math.ceil(len(axes) / across)
    left, panel, gap, tall = 0.85, 2.9, 0.3, 2.9
    wide = max(left + across * (panel + gap), 7.0)
    panel = min((wide - left) / across - gap, 5.5)
    title, told = _title(document, int((wide - 0.4) / 0.078))
    above = 0.75 + 0.2 * len(told)
    below = 0.95 if any(map(_is_crowded, axes)) else 0.65
    high = above + down * (tall + below)
    figure = new_figure(wide, high)
    bottom, top = _range(known)
    for number, axis in enumerate(axes):
        row, column = divmod(number, across)
        x = left + column * (panel + gap)
        y = high - above - row * (tall + below) - tall
        panel_axes = add_panel(figure, x, y, panel, tall)
        _draw(panel_axes, axis, known, document)
        panel_axes.set_ylim(bottom, top)
        if column:
            panel_axes.set_yticklabels([])
        else:
            name = document["selection"]["metric"]
            panel_axes.set_ylabel(f"{name} ({document['selection']['better']} is better)")
    write_heading(figure, title, told, down=(0.34, 0.45))
    return figure


def _title(document: Mapping[str, Any], width: int) -> tuple[str, list[str]]:
    selection, seeds = document["selection"], len(document["seeds"])
    title = f"{document['dataset']}, {document['model']} on {document['backbone']}"
    phase = selection["select_on"]
    over = "mean over the phases" if phase == "mean" else f"phase {phase}"
    told = f"{selection['metric']}, {over}, on pseudo-new items; a point is a setting"
    told += f": mean ± sample std of {seeds} seeds" if seeds > 1 else ", one seed"
    told += "; bar: mean of all settings with a value; orange: the best"
    return shorten(title, int(width * 0.75)), textwrap.wrap(told, width, break_on_hyphens=False)


def _draw(
    axes: "Axes",
    axis: Mapping[str, Any],
    known: Sequence[Mapping[str, Any]],
    document: Mapping[str, Any],
) -> None:
    listed = axis["kind"] in ("grid", "choice")
    best = (document["best"] or {}).get("params")
    places = _places(axis, known)
    if listed:
        _draw_means(axes, axis, known)
    for each, x in zip(known, places, strict=True):
        is_best = each["params"] == best
        several = each["std"] is not None and math.isfinite(each["std"])
        axes.errorbar(
            [x], [each["mean"]], yerr=[each["std"]] if several else None, fmt="o",
            color=_ORANGE if is_best else _BLUE, markersize=8 if is_best else 5.5,
            markeredgecolor="white", markeredgewidth=0.7, elinewidth=1.1,
            alpha=1.0 if is_best else 0.75, zorder=4 if is_best else 3,
        )  # fmt: skip
    if listed:
        names = _tick_names(axis)
        axes.set_xticks(range(len(names)), names, fontsize=8.5, **slant(_is_crowded(axis), 25))
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif axis["kind"] == "loguniform":
        axes.set_xscale("log")
    axes.set_title(shorten(axis["key"], 34), fontsize=10.5, loc="left")
    axes.tick_params(labelsize=8.5)
    draw_grid(axes)


def _tick_names(axis: Mapping[str, Any]) -> list[str]:
    return [shorten(_name(value), 18) for value in axis["values"]]


def _is_crowded(axis: Mapping[str, Any]) -> bool:
    if axis["kind"] not in ("grid", "choice"):
        return False
    names = _tick_names(axis)
    return sum(map(len, names)) > 22 or len(names) > 6


def _draw_means(axes: "Axes", axis: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> None:
    groups: dict[int, list[float]] = {}
    for each in known:
        groups.setdefault(_index(axis, each), []).append(each["mean"])
    order = sorted(groups)
    means = [statistics.fmean(groups[number]) for number in order]
    if not any(isinstance(value, str | bool | type(None)) for value in axis["values"]):
        axes.plot(order, means, color=GREY, linewidth=1.2, zorder=1)  # words have no order
    axes.plot(order, means, color=GREY, marker="_", markersize=16, linestyle="", zorder=2)


def _places(axis: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> list[float]:
    """Where each setting stands; settings with one listed value stand beside each other."""
    if axis["kind"] not in ("grid", "choice"):
        return [float(each["params"][axis["key"]]) for each in known]
    numbers = [_index(axis, each) for each in known]
    places = []
    for position, number in enumerate(numbers):
        same, before = numbers.count(number), numbers[:position].count(number)
        offset = (before / (same - 1) - 0.5) * 2 * _SPREAD if same > 1 else 0.0
        places.append(number + offset)
    return places


def _index(axis: Mapping[str, Any], setting: Mapping[str, Any]) -> int:
    return [_name(value) for value in axis["values"]].index(_name(setting["params"][axis["key"]]))


def _name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else text_of(value)


def _range(known: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Limits of the y-axis, around all points with their deviations."""
    spread = [each["std"] or 0.0 for each in known]
    spread = [0.0 if math.isnan(std) else std for std in spread]
    low = min(each["mean"] - std for each, std in zip(known, spread, strict=True))
    high = max(each["mean"] + std for each, std in zip(known, spread, strict=True))
    return with_margin(low, high, share=0.08, least=0.002)
