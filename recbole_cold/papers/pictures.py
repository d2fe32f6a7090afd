"""What the forms of published figures are drawn from, beyond the scores of a comparison."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import report
from recbole_cold.comparison.campaign import Campaign
from recbole_cold.errors import UserError
from recbole_cold.experiment.batches import batches
from recbole_cold.experiment.folders import find_graphs
from recbole_cold.experiment.requests import Request
from recbole_cold.experiment.scores import in_folder
from recbole_cold.experiment.session import Again, continue_run, run_request
from recbole_cold.graphs import Graphs, load_graphs
from recbole_cold.papers.requests import Part, ReproduceRequest, label_of


class Gathered(NamedTuple):
    """What a figure needs beside scores; empty where it needs nothing.

    Attributes:
        graphs: of all new items, of the first row that has any.
        item: whose graphs are drawn.
        vectors: ID vectors, a panel per row.
        distances: row -> distance of the means of new and old items' vectors.
    """

    graphs: Graphs | None = None
    item: str = ""
    vectors: Sequence[report.IdVectors] = ()
    distances: Mapping[str, float] | None = None


class Place(NamedTuple):
    """Where a figure's source works: what is reproduced, and how it goes on after a stop."""

    request: ReproduceRequest
    parts: Sequence[Part]
    campaigns: Sequence[Campaign]
    folder: Path
    stop: Callable[[], bool]
    again: Again


def gather(
    request: ReproduceRequest,
    parts: Sequence[Part],
    campaigns: Sequence[Campaign],
    folder: Path,
    stop: Callable[[], bool],
    again: Again,
) -> Gathered:
    """What the request's forms need beyond scores.

    Raises:
        UserError: it cannot be had here.
    """
    place, found = Place(request, parts, campaigns, folder, stop, again), Gathered()
    for form in request.paper_item().forms:
        if form in SOURCES:
            found = found._replace(**SOURCES[form](place))
    return found


def draw(
    found: Mapping[str, Any], comparison: Mapping[str, Any], drawn: Gathered, folder: Path
) -> list[str]:
    """Draw a reproduction in its forms; the files' names in the folder, none without numbers.

    Raises:
        UserError: something that a form draws is not there, though no cell failed.
    """
    of_batches = None
    if set(found["forms"]) & set(report.OF_BATCHES):
        of_batches = _batches(found, comparison, folder)
    # What of one run is drawn is its first seed's.
    whole = report.drawn_of(found, batches=of_batches)._replace(
        graphs=drawn.graphs, item=drawn.item, vectors=drawn.vectors
    )
    names = []
    for number, form in enumerate(found["forms"]):
        name = f"figures/{found['name']}{f'-{form}' if number else ''}.png"
        try:
            report.plot_form(form, whole, folder / name)
        except UserError:
            if found["failures"]:  # every cell may have failed
                continue
            raise
        names.append(name)
    return names


def _batches(
    found: Mapping[str, Any], comparison: Mapping[str, Any], folder: Path
) -> report.Batches:
    """The first metric on every batch of test rows, by block and row.

    A batch is as many rows as one of training.
    """
    runs = {
        (document["backbone_label"], run["label"]): run
        for document in comparison["documents"]
        for run in document["runs"]
    }
    places = [((row["block"], row["name"]), (row["group"], row["label"])) for row in found["rows"]]
    rows = [(name, runs[place]) for name, place in places if place in runs]
    return batches(rows, found["phases"], found["metrics"][0], in_folder(folder))


def _graphs(place: Place) -> dict[str, Any]:
    """A run that keeps its graphs, which cells of a comparison do not; it can be continued."""
    runs = sorted(place.folder.glob("*/request.json"))
    if runs:
        ran = continue_run(runs[-1].parent, place.stop, again=place.again)
    else:
        asked = place.parts[0].request
        overrides = {**asked.overrides, "seeds": 1, "saved_dir": str(place.folder)}
        request = Request(
            asked.models, asked.dataset, asked.backbones, (), overrides, asked.command, asked.place
        )
        ran = run_request(request, stop=place.stop, again=place.again)
    assert ran.folder is not None
    report.write_json(place.folder / "trials" / "graphs.json", ran.document)  # found by its cell
    _, _, path = find_graphs(ran.folder, None, None)
    graphs = load_graphs(path)
    item = place.request.item or str(graphs.items[0])
    if item not in list(graphs.items):
        some = ", ".join(list(map(str, graphs.items))[:5])
        raise UserError(f"--item: '{item}' is none of the new items; the first ones are {some}")
    return {"graphs": graphs, "item": item}


def _vectors(place: Place) -> dict[str, Any]:
    """The vectors that items are served with before any row of a new one was seen."""
    panels = []
    for part, campaign in zip(place.parts, place.campaigns, strict=True):
        names = {label_of(row): row.name for row in part.rows}
        experiment = campaign.first()
        for entry in experiment.entries:
            if entry.label in names:
                found = experiment.vectors(entry, "cold")
                panels.append(found._replace(label=names[entry.label]))
    distances = {panel.label: report.mean_distance(panel) for panel in panels}
    return {"vectors": panels, "distances": distances}


SOURCES: dict[str, Callable[[Place], dict[str, Any]]] = {"graphs": _graphs, "vectors": _vectors}
"""Form -> what gets its arrays, by field of ``Gathered``; the other forms draw scores alone."""
