"""The pictures of finished results, by the name they have on the command line and in Python.

A new picture is one row of ``PLOTS``; ``recbole-cold plot`` and ``Results.plot`` read the table.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_cold.errors import UserError, nearest
from recbole_cold.report._across import Across, across_text
from recbole_cold.report._cd_plot import cd_figure
from recbole_cold.report._comparison import Comparison, validate_comparison
from recbole_cold.report._comparison_plot import comparison_figure
from recbole_cold.report._document import SCHEMA, Document
from recbole_cold.report._forest_plot import forest_figure
from recbole_cold.report._multiples import comparison_panels, run_panels
from recbole_cold.report._pictures import curves_figure
from recbole_cold.report._reliability import comparison_reliability, run_reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Shown = Document | Comparison
"""The results of a run, or those of a comparison."""


class Asked(NamedTuple):
    """What a picture may be asked for; None is its default.

    Attributes:
        metric: what is drawn; of reliability, what the best rows are chosen by.
        against: the row that gains are over, in the picture or in the text beside it.
        rope: a gain up to it does not matter, in the text beside a picture.
    """

    metric: str | None = None
    against: str | None = None
    rope: float | None = None


class Plot(NamedTuple):
    """A kind of picture.

    Attributes:
        told: what it shows, in the words of ``recbole-cold plot --help``.
        draw: the figure of one or more results.
        several: whether it takes more than one.
        text: what the screen shows beside it.
        takes: what it may be asked for beside a metric.
    """

    told: str
    draw: Callable[[Sequence[Shown], Asked], "Figure"]
    several: bool = False
    text: Callable[[Sequence[Shown], Asked], str] | None = None
    takes: tuple[str, ...] = ()


def _of(
    run: Callable[[Document, str | None], "Figure"],
    comparison: Callable[[Comparison, str | None], "Figure"],
) -> Callable[[Sequence[Shown], Asked], "Figure"]:
    """Draws one result, which is a run's or a comparison's."""

    def draw(shown: Sequence[Shown], asked: Asked) -> "Figure":
        (one,) = shown
        if isinstance(one, Comparison):
            return comparison(one, asked.metric)
        return run(one, asked.metric)

    return draw


def _across(shown: Sequence[Shown], asked: Asked) -> Across:
    return Across([as_comparison(one) for one in shown], asked.metric)


PLOTS: dict[str, Plot] = {
    "curves": Plot("metrics over the phases", _of(curves_figure, comparison_figure)),
    "panels": Plot(
        "the same, a panel per row with the others grey behind it",
        _of(run_panels, comparison_panels),
    ),
    "reliability": Plot(
        "predicted and real share of clicks, a panel per phase",
        _of(run_reliability, comparison_reliability),
    ),
    "cd": Plot(
        "mean ranks over data sets and backbones, and which differ",
        lambda shown, asked: cd_figure(_across(shown, asked)),
        several=True,
        text=lambda shown, asked: across_text(_across(shown, asked), asked.against, asked.rope),
        takes=("against", "rope"),
    ),
    "forest": Plot(
        "differences to one row with intervals, a panel per phase",
        lambda shown, asked: forest_figure(shown[0], asked.metric, asked.against),
        takes=("against",),
    ),
}
"""Kinds of pictures by name."""


def plot_of(kind: str, count: int = 1) -> Plot:
    """The kind of picture of this name, for so many results.

    Raises:
        UserError: there is none, or it takes one result.
    """
    if kind not in PLOTS:
        guess = nearest(kind, PLOTS)
        raise UserError(
            f"'{kind}' is no kind of picture; "
            + (f"did you mean '{guess}'? " if guess else "")
            + f"use one of {', '.join(PLOTS)}"
        )
    if count > 1 and not PLOTS[kind].several:
        several = ", ".join(name for name, plot in PLOTS.items() if plot.several)
        raise UserError(
            f"{kind} shows one folder and {count} are given; give one (several go into one table "
            f"by recbole-cold compare DIR DIR), or ask for {several}"
        )
    return PLOTS[kind]


def as_comparison(shown: Shown) -> Comparison:
    """The results of a run as a comparison on one backbone; a comparison as it is.

    A method with a network of its own stands beside the backbone of the others.
    """
    if isinstance(shown, Comparison):
        return shown
    runs: Sequence[Mapping[str, Any]] = shown["runs"]
    backbones = [str(run["backbone"]) for run in runs]
    plain = [name for name, run in zip(backbones, runs, strict=True) if name != run["model"]]
    document = {**shown, "backbone_label": next(iter([*plain, *backbones]), "")}
    return Comparison(validate_comparison({"schema": SCHEMA, "documents": [document]}))
