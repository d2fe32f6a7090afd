"""The pictures of finished results, by the name they have on the command line and in Python.

A new picture is one row of ``PLOTS``; ``recbole-cold plot`` and ``Results.plot`` read the table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_cold.errors import UserError, nearest
from recbole_cold.report._across import Across, across_text
from recbole_cold.report._cd_plot import cd_figure
from recbole_cold.report._comparison import Comparison, validate_comparison
from recbole_cold.report._comparison_plot import comparison_figure
from recbole_cold.report._document import SCHEMA, Document
from recbole_cold.report._forest_plot import forest_figure
from recbole_cold.report._looks import Bands
from recbole_cold.report._multiples import comparison_panels, run_panels
from recbole_cold.report._paper_figures import FORMS, Batches, Drawn, Panel, Series
from recbole_cold.report._pictures import curves_figure
from recbole_cold.report._reliability import comparison_reliability, run_reliability
from recbole_cold.report._words import all_seeds, backbone_names, scored_on, seed_names

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
        bands: those of lines; None: one sample deviation over the seeds.
        batches: the metric on batches of scored rows, by backbone ('' in a run) and row.
    """

    metric: str | None = None
    against: str | None = None
    rope: float | None = None
    bands: Bands | None = None
    batches: Batches | None = None


class Plot(NamedTuple):
    """A kind of picture.

    Attributes:
        told: what it shows, in the words of ``recbole-cold plot --help``.
        draw: the figure of one or more results.
        several: whether it takes more than one.
        text: what the screen shows beside it.
        takes: the flags that it may be asked with beside a metric.
    """

    told: str
    draw: Callable[[Sequence[Shown], Asked], "Figure"]
    several: bool = False
    text: Callable[[Sequence[Shown], Asked], str] | None = None
    takes: tuple[str, ...] = ()


def _of(
    run: Callable[..., "Figure"], comparison: Callable[..., "Figure"], *given: str
) -> Callable[[Sequence[Shown], Asked], "Figure"]:
    """Draws one result, which is a run's or a comparison's.

    Args:
        given: what the two take beside the metric, by its name in ``Asked``.
    """

    def draw(shown: Sequence[Shown], asked: Asked) -> "Figure":
        (one,) = shown
        more = {name: getattr(asked, name) for name in given}
        return (comparison if isinstance(one, Comparison) else run)(one, asked.metric, **more)

    return draw


def _in_form(form: str) -> Callable[[Sequence[Shown], Asked], "Figure"]:
    """Draws the batches of one result in a form of published figures."""

    def draw(shown: Sequence[Shown], asked: Asked) -> "Figure":
        (one,) = shown
        return FORMS[form](_drawn(one, asked))

    return draw


def _drawn(shown: Shown, asked: Asked) -> Drawn:
    """What a form of batches draws: a panel, or a group of rows, per backbone."""
    documents = documents_of(shown)
    first = next(iter(documents.values()))
    batches = asked.batches or Batches((), {})
    nothing = [math.nan] * len(first["phases"])
    panels = [
        Panel(
            backbone if len(documents) > 1 else "",
            [
                Series(run["label"], nothing, nothing, nothing,
                       batches=batches.values.get((backbone, run["label"])))
                for run in document["runs"]
            ],
        )
        for backbone, document in documents.items()
    ]  # fmt: skip
    metric, seeds = asked.metric or "AUC", all_seeds(first)
    many = f"{len(seeds)} seeds ({seed_names(seeds)})" if len(seeds) > 1 else "one seed"
    runs = [run for document in documents.values() for run in document["runs"]]
    told = f"{scored_on({**first, 'runs': runs})}; protocol {first['protocol']}"
    on = f", {next(iter(documents)) or backbone_names(first)}" if len(documents) == 1 else ""
    title = f"{first['dataset']}{on}: {metric} on batches, {many}"
    return Drawn(title, told, "", metric, first["phases"], panels, batches.sizes)


def _across(shown: Sequence[Shown], asked: Asked) -> Across:
    return Across([as_comparison(one) for one in shown], asked.metric)


PLOTS: dict[str, Plot] = {
    "curves": Plot(
        "metrics over the phases",
        _of(curves_figure, comparison_figure, "bands"),
        takes=("band",),
    ),
    "panels": Plot(
        "the same, a panel per row with the others grey behind it",
        _of(run_panels, comparison_panels, "bands"),
        takes=("band",),
    ),
    "boxes": Plot(
        "a metric on batches of scored rows, a box per row and phase",
        _in_form("boxes"),
        takes=("batch",),
    ),
    "ridgelines": Plot(
        "the same as densities, a panel per phase", _in_form("ridgelines"), takes=("batch",)
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


def documents_of(shown: Shown) -> dict[str, Document]:
    """The results documents in some results by their backbone; that of a run has the name ''."""
    return dict(shown.by_backbone) if isinstance(shown, Comparison) else {"": shown}


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
