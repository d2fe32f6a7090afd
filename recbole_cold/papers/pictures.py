"""What the forms of published figures are drawn from, beyond the scores of a comparison."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import report
from recbole_cold.comparison.campaign import Campaign
from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import METRICS
from recbole_cold.experiment.folders import find_graphs
from recbole_cold.experiment.requests import Request
from recbole_cold.experiment.scores import DamagedScores, in_folder
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
    """What the request's form needs beyond scores.

    Raises:
        UserError: it cannot be had here.
    """
    source = SOURCES.get(request.paper_item().form, lambda place: Gathered())
    return source(Place(request, parts, campaigns, folder, stop, again))


def batches(
    found: Mapping[str, Any], comparison: Mapping[str, Any], folder: Path
) -> dict[tuple[str, str], list[list[float]]]:
    """The first metric on every batch of test rows, by block and row: per phase, all seeds.

    A batch is as many rows as one of training, in the order of the part.

    Raises:
        UserError: the metric is not one of scores and labels alone, or scores were not kept.
    """
    name = found["metrics"][0]
    metric = METRICS[name]
    if metric.group:
        raise UserError(f"boxes are of a metric of scores and labels; {name} needs groups of rows")
    find = in_folder(folder)
    runs = {
        (document["backbone_label"], run["label"]): run
        for document in comparison["documents"]
        for run in document["runs"]
    }
    values: dict[tuple[str, str], list[list[float]]] = {}
    for row in found["rows"]:
        run = runs.get((row["group"], row["label"]))
        if run is None:
            continue
        of_row = values[row["block"], row["name"]] = [[] for _ in found["phases"]]
        for seed in run["seeds"]:
            try:
                kept = find(row["label"], seed)
            except DamagedScores as error:
                raise UserError(f"{row['label']}, seed {seed['seed']}: {error}") from error
            for place, phase in enumerate(found["phases"]):
                labels, scores = kept.rows_of(phase).label, kept.scores[phase]
                size = int(run["config"]["train_batch_size"])
                of_row[place] += list(
                    report.batch_values(lambda y, s: metric.function(s, y), labels, scores, size)
                )
    return values


def draw(
    found: Mapping[str, Any], comparison: Mapping[str, Any], drawn: Gathered, folder: Path
) -> str | None:
    """Draw a reproduction in its form; the file's name in the folder, None without numbers."""
    of_batches = batches(found, comparison, folder) if found["form"] == "boxes" else None
    # What of one run is drawn is its first seed's.
    whole = report.drawn_of(found, batches=of_batches)._replace(
        graphs=drawn.graphs, item=drawn.item, vectors=drawn.vectors
    )
    name = f"figures/{found['name']}.png"
    try:
        report.plot_form(found["form"], whole, folder / name)
    except UserError:
        if found["failures"]:  # every cell may have failed
            return None
        raise
    return name


def _graphs(place: Place) -> Gathered:
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
    return Gathered(graphs=graphs, item=item)


def _vectors(place: Place) -> Gathered:
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
    return Gathered(vectors=panels, distances=distances)


SOURCES: dict[str, Callable[[Place], Gathered]] = {"graphs": _graphs, "vectors": _vectors}
"""Form -> what gets its arrays; the other forms draw scores alone."""
