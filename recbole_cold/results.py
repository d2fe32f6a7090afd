"""Results of ``run``, ``compare`` and ``tune``, as they return them or from their folders."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cold import paths, report
from recbole_cold.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from recbole_cold.experiment.scores import Find


class Results:
    """Scores of one run: methods, phases, metrics and seeds.

    Attributes:
        document: everything, as ``results.json`` holds it.
        folder: where the files are; None where nothing was kept.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        folder: Path | None,
        row_scores: Mapping[tuple[str, int], Any] | None = None,
    ) -> None:
        self.document, self.folder = dict(document), folder
        self._row_scores = row_scores or {}  # those that no folder holds

    def frame(self) -> "pd.DataFrame":
        """One row per score: method, backbone, phase, metric, seed, value."""
        return _frame(report.values(self.document))

    def scores(self) -> "pd.DataFrame":
        """One row per evaluated row: method, backbone, seed, phase, item, user, label, score.

        Items and users are the tokens of the data set. Names and tokens are categories, as 58,000
        rows in four phases are 230,000 lines a method and seed.

        Raises:
            UserError: no row scores were kept, or what was kept is damaged.
        """
        return self._scores_of({None: self.document})

    def _scores_of(self, documents: Mapping[str | None, Mapping[str, Any]]) -> "pd.DataFrame":
        """The scores of documents by backbone; None: each run names its own."""
        from recbole_cold.experiment.scores import scores_frame

        return scores_frame(documents, self.find_scores())

    def find_scores(self) -> "Find":
        """Finds the scores of a row and seed, in the folder or where none was kept."""
        from recbole_cold.experiment.scores import find_in

        return find_in(self.folder, self._row_scores)

    def table(self) -> str:
        """Scores and costs, as on the screen."""
        from recbole_cold.experiment.session import screen_text

        return screen_text(self.document)

    def plot(
        self,
        path: str | Path | None = None,
        metric: str | None = None,
        kind: str = "curves",
        beside: Sequence["Results"] = (),
        band: str | None = None,
        batch: int | None = None,
    ) -> "Figure":
        """A picture of the results; also written to ``path`` (png, pdf or svg) where one is given.

        Args:
            metric: what is drawn; AUC, if the results have it.
            kind: ``curves``, ``panels``, ``boxes``, ``ridgelines``, ``reliability``, ``cd`` or
                ``forest``, as of ``recbole-cold plot``.
            beside: results on other data, for ``cd``.
            band: of curves and panels: ``std``, ``users`` or ``items``.
            batch: rows of a batch, of boxes and ridgelines; those of a training batch.

        Raises:
            UserError: there is nothing to draw, or the file cannot be written.
        """
        results = [self, *beside]
        chosen, asked = to_plot(results, kind, metric=metric, band=band, batch=batch)
        return _drawn(lambda: chosen.draw([each.shown for each in results], asked), path)

    @property
    def shown(self) -> Any:
        """What pictures are made from."""
        return self.document

    @property
    def failures(self) -> list[str]:
        """What failed, one sentence each."""
        return list(self.document.get("failures", []))

    def __repr__(self) -> str:
        labels = ", ".join(run["label"] for run in self.document["runs"])
        return f"<results of {labels} on {self.document['dataset']}{_place(self.folder)}>"

    def _repr_html_(self) -> str:
        return report.html_of(repr(self), [self.document])


class ComparisonResults(Results):
    """Scores of methods on backbones.

    Attributes:
        document: everything, as ``comparison.json`` holds it.
    """

    @cached_property
    def comparison(self) -> report.Comparison:
        """The table with its tests, cell by cell."""
        return report.Comparison(self.document)

    def frame(self) -> "pd.DataFrame":
        """One row per score: method, backbone, phase, metric, seed, value."""
        documents = self.comparison.by_backbone.values()
        return _frame(value for document in documents for value in report.values(document))

    def scores(self) -> "pd.DataFrame":
        """One row per evaluated row: method, backbone, seed, phase, item, user, label, score.

        Raises:
            UserError: no row scores were kept, or what was kept is damaged.
        """
        return self._scores_of(self.comparison.by_backbone)

    def table(self) -> str:
        """Scores, tests and costs, as on the screen."""
        return report.comparison_table(self.comparison)

    @property
    def shown(self) -> report.Comparison:
        """What pictures are made from."""
        return self.comparison

    @property
    def failures(self) -> list[str]:
        """What failed, one sentence each."""
        return [
            f"{failure['row']} on {failure['backbone']}, seed {failure['seed']}: "
            + (failure["error"].strip().splitlines() or ["unknown"])[-1]
            for failure in self.document["failures"]
        ]

    def __repr__(self) -> str:
        compared = self.comparison
        dataset = self.document["documents"][0]["dataset"]
        return (
            f"<comparison of {', '.join(compared.rows)} on {', '.join(compared.backbones)}, "
            f"{dataset}{_place(self.folder)}>"
        )

    def _repr_html_(self) -> str:
        return report.html_of(repr(self), list(self.comparison.by_backbone.values()))


class SubsetResults(Results):
    """Scores on several subsets of sessions: data sets of their own, with a run (or a comparison)
    each.

    Attributes:
        document: in ``subsets`` the document of each, by its name.
        subsets: the results of each, by its name; ``found["wc"]`` is one of them.
    """

    def __init__(self, subsets: Mapping[str, Results], folder: Path | None) -> None:
        from recbole_cold.experiment.subsets import joined

        super().__init__(joined({name: own.document for name, own in subsets.items()}), folder)
        self.subsets = dict(subsets)

    def __getitem__(self, name: str) -> Results:
        """The results on one subset.

        Raises:
            UserError: there is none of this name.
        """
        if name not in self.subsets:
            raise UserError(f"'{name}' is none of the subsets {', '.join(self.subsets)}")
        return self.subsets[name]

    def frame(self) -> "pd.DataFrame":
        """One row per score: subset, method, backbone, phase, metric, seed, value."""
        return _stacked({name: own.frame() for name, own in self.subsets.items()})

    def scores(self) -> "pd.DataFrame":
        """One row per evaluated row: subset, method, backbone, seed, phase, item, user, label,
        score.

        Raises:
            UserError: no row scores were kept, or what was kept is damaged.
        """
        return _stacked({name: own.scores() for name, own in self.subsets.items()})

    def table(self, width: int | None = None) -> str:
        """Scores and costs of all subsets side by side.

        Args:
            width: columns of the screen; subsets that do not fit go underneath.
        """
        shown = {name: own.shown for name, own in self.subsets.items()}
        return f"{report.subsets_table(shown, width)}\n"

    @property
    def shown(self) -> Any:
        """Pictures are made from one subset.

        Raises:
            UserError: says which there are.
        """
        first = next(iter(self.subsets))
        place = f"'{self.folder / first}'" if self.folder else f"found[{first!r}]"
        raise UserError(
            f"a picture shows one subset, and these are results on {' and '.join(self.subsets)}; "
            f"give one of them, {place} for instance"
        )

    def __repr__(self) -> str:
        told = "; ".join(f"{name}: {own!r}" for name, own in self.subsets.items())
        return f"<subsets {told}>"

    def _repr_html_(self) -> str:
        return "".join(
            f"<p>{html.escape(name)}</p>{own._repr_html_()}" for name, own in self.subsets.items()
        )


class SweepResults(Results):
    """Settings that were tried, and the best one's scores on ``test``.

    Attributes:
        document: everything, as ``sweep.json`` holds it.
    """

    folder: Path

    @property
    def best(self) -> dict[str, Any]:
        """The chosen setting: ``params``, ``mean`` and ``std`` over seeds, ``n``, ``phases``.

        Raises:
            UserError: no setting came through.
        """
        if self.document["best"] is None:
            raise UserError(f"no setting of '{self.folder}' came through; see its trials")
        return dict(self.document["best"])

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration in ``best.yaml``, for ``run(config=...)``."""
        from recbole_cold.config import read_yaml

        return read_yaml(self.folder / "best.yaml")

    @cached_property
    def final(self) -> Results:
        """The run of the chosen setting, fitted on everything and scored on ``test``."""
        if not self.document["final"]:
            raise UserError(f"the final run of '{self.folder}' is missing; resume the sweep")
        folder = self.folder / self.document["final"]
        return Results(report.load(folder), folder)

    def frame(self) -> "pd.DataFrame":
        """One row per trial: its key and setting, seed, status, the value it is chosen by, a
        column per phase, seconds and error."""
        import pandas as pd

        metric = self.document["selection"]["metric"]
        rows = [
            {
                "key": trial["key"],
                "setting": trial["setting"],
                **trial["params"],
                "seed": trial["seed"],
                "status": trial["status"],
                "value": trial["value"],
                **{
                    phase: trial["phases"].get(phase, {}).get(metric, math.nan)
                    for phase in self.document["phases"]
                },
                "seconds": trial["seconds"],
                "error": trial["error"],
            }
            for trial in self.document["trials"]
        ]
        return pd.DataFrame(rows)

    def scores(self) -> "pd.DataFrame":
        """The row scores of the final run; trials keep none."""
        return self.final.scores()

    def table(self) -> str:
        """Settings from the best down, then the final run, as on the screen."""
        from recbole_cold.sweep.tables import sweep_table

        return sweep_table(self.document, self.folder)

    def plot(
        self,
        path: str | Path | None = None,
        metric: str | None = None,
        kind: str | None = None,
        beside: Sequence[Results] = (),
        band: str | None = None,
        batch: int | None = None,
    ) -> "Figure":
        """The value against every axis of the space; also written where a path is given.

        With a metric, a kind, other results, a band or a batch: that picture of the final run.
        """
        if metric is None and kind is None and not beside and band is None and batch is None:
            return _drawn(lambda: report.sweep_figure(self.document), path)
        return self.final.plot(path, metric, kind or "curves", beside, band, batch)

    @property
    def shown(self) -> Any:
        """What pictures are made from: the final run."""
        return self.final.shown

    def find_scores(self) -> "Find":
        """Finds the scores of the final run."""
        return self.final.find_scores()

    @property
    def failures(self) -> list[str]:
        """What failed, one sentence each."""
        return [
            f"{trial['params']}, seed {trial['seed']}: {trial['error'].strip().splitlines()[-1]}"
            for trial in self.document["trials"]
            if trial["status"] == "failed"
        ]

    def __repr__(self) -> str:
        best = self.document["best"]
        told = "none came through" if best is None else f"best {best['params']}"
        return (
            f"<{len(self.document['settings'])} settings of {self.document['model']} on "
            f"{self.document['dataset']}, {told}{_place(self.folder)}>"
        )

    def _repr_html_(self) -> str:
        keys = [axis["key"] for axis in self.document["space"]]
        sign = 1 if self.document["selection"]["better"] == "lower" else -1
        known = [each for each in self.document["settings"] if math.isfinite(each["mean"])]
        known.sort(key=lambda each: sign * each["mean"])
        rows = [
            [*(str(each["params"][key]) for key in keys), f"{each['mean']:.4f}"] for each in known
        ]
        return report.html_table(repr(self), [*keys, self.document["selection"]["metric"]], rows)


def load_results(folder: str | Path) -> Results:
    """The results in the folder of a run, a comparison or a sweep.

    Of several subsets of sessions: of those that have results.

    Raises:
        UserError: it holds none of them, or a file in it is damaged.
    """
    from recbole_cold.experiment.subsets import folders_in
    from recbole_cold.sweep.folders import read_sweep

    folder = paths.absolute(folder)
    begun = folders_in(folder)
    subsets = {n: load_results(place) for n, place in begun.items() if _has_results(place)}
    if subsets:
        return SubsetResults(subsets, folder)
    if (folder / "comparison.json").is_file():
        return ComparisonResults(report.load_comparison(folder), folder)
    if (folder / "sweep.json").is_file():
        return SweepResults(read_sweep(folder), folder)
    if (folder / "results.json").is_file():
        return Results(report.load(folder), folder)
    raise UserError(
        f"'{folder}' has no results.json, comparison.json or sweep.json; give the folder of a run, "
        "a comparison or a sweep that has results"
    )


def to_plot(found: Sequence[Results], kind: str, **given: Any) -> tuple[report.Plot, report.Asked]:
    """A kind of picture, and what it is asked for; what it draws of row scores is made here.

    Args:
        given: ``metric`` and the flags of pictures: ``against``, ``rope``, ``band``, ``batch``;
            None is a picture's default.

    Raises:
        UserError: there is no such kind, it does not take a flag, or scores that it needs were not
            kept.
    """
    from recbole_cold.evaluation.metrics import known_metrics
    from recbole_cold.experiment.bands import bands
    from recbole_cold.experiment.batches import batches

    chosen = report.plot_of(kind, len(found))
    metric = given.pop("metric", None)
    asked = {name: value for name, value in given.items() if value is not None}
    if extra := asked.keys() - set(chosen.takes):
        flag = min(extra)
        kinds = [name for name, each in report.PLOTS.items() if flag in each.takes]
        raise UserError(f"--{flag} belongs to --kind={' and '.join(kinds)}; leave it out")
    band, size = asked.pop("band", None), asked.pop("batch", None)
    made = report.Asked(metric, **asked)
    if not {"band", "batch"} & set(chosen.takes):
        return chosen, made
    documents, find = report.documents_of(found[0].shown), found[0].find_scores()
    if "band" in chosen.takes:
        made = made._replace(bands=bands(documents, find, band))
    if "batch" in chosen.takes:
        phases = next(iter(documents.values()))["phases"]
        rows = [
            ((backbone, run["label"]), run)
            for backbone, document in documents.items()
            for run in document["runs"]
        ]
        (name,) = known_metrics(metric or "AUC")
        of_batches = batches(rows, phases, name, find, size)
        made = made._replace(metric=name, batches=of_batches)
    return chosen, made


def _has_results(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("results.json", "comparison.md"))


def results_of(
    document: Mapping[str, Any],
    folder: Path | None,
    scores: Mapping[str, Mapping[tuple[str, int], Any]] | None = None,
    kind: type[Results] = Results,
) -> Any:
    """The results of a run or comparison, or those of the subsets that it is on.

    Args:
        scores: row scores that no folder holds, by subset; '' where there is none.
        kind: of the results.
    """
    from recbole_cold.experiment.subsets import PARTS

    kept = scores or {}
    if PARTS not in document:
        return kind(document, folder, kept.get(""))
    subsets = {
        name: kind(own, None if folder is None else folder / name, kept.get(name))
        for name, own in document[PARTS].items()
    }
    return SubsetResults(subsets, folder)


def _stacked(frames: Mapping[str, "pd.DataFrame"]) -> "pd.DataFrame":
    """Frames underneath each other, with their names in a column ``subset``."""
    import numpy as np
    import pandas as pd

    whole = pd.concat(list(frames.values()), ignore_index=True)
    first = next(iter(frames.values()))
    for column in first.columns[first.dtypes == "category"]:  # those of two frames may differ
        whole[column] = pd.api.types.union_categoricals([own[column] for own in frames.values()])
    lengths = [len(own) for own in frames.values()]
    names = pd.Categorical.from_codes(np.repeat(range(len(frames)), lengths), list(frames))
    whole.insert(0, "subset", names)
    return whole


def _frame(values: Iterable[report.Value]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(values), columns=list(report.Value._fields))


def _drawn(draw: Any, path: str | Path | None) -> "Figure":
    figure = draw() if path is None else report.save_figure(draw, path)
    # Notebooks show a figure that pyplot did not make only by this method.
    figure._repr_png_ = lambda: _png(figure)
    return figure


def _png(figure: "Figure") -> bytes:
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _place(folder: Path | None) -> str:
    return "" if folder is None else f", in {folder}"
