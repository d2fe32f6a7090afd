"""A comparison: results documents of several backbones as one table, with statistical tests.

A comparison (schema 1) is a list of results documents, one per backbone, together with what was
asked for: rows, backbones, seeds, and the row that the others are tested against.
"""

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import COMPARISONS, cost
from recbole_cold.evaluation.significance import PairedTest, holm, t_test, wilcoxon_p
from recbole_cold.report._claims import (
    FEWEST_SEEDS,
    SIGN,
    SMALLEST_EFFECT,
    Against,
    Claim,
    claim,
)
from recbole_cold.report._document import SCHEMA, Document, validate, validate_intervals
from recbole_cold.report._intervals import Known, read_intervals, widest
from recbole_cold.report._statistics import (
    Row,
    base_run,
    cost_figures,
    paired_values,
    phase_values,
    summary,
    wanted_metrics,
)
from recbole_cold.report._words import backbone_names

MATCHED = "Base, matched steps"
"""The row of the plain backbone with as many steps per warm phase as the longest method."""
EQUAL_STEPS = "Base at equal steps"
"""The same in sentences."""
OWN_NETWORK = "own network"
"""Beside several backbones: the group of methods that stand on none, each shown once."""
ITEM_BIAS = "ItemBias"
"""The yardstick: the untouched cold model with one fitted number per new item."""


class Cell(NamedTuple):
    """One number of a comparison's table.

    Attributes:
        row: figures over the seeds.
        place: 1 the best of its backbone and phase, 2 the second, 0 another.
        test: against the row to compare with, seed by seed; None for that row and without it.
        p_holm: the p-value of the t-test, corrected over all tests of the table.
        wilcoxon: two-sided p of Wilcoxon's signed-rank test from six seeds on, nan below and where
            it was not asked for.
        wilcoxon_holm: the same, corrected.
        sign: that of a real gain, in the table of AUC; '' otherwise.
    """

    row: Row
    place: int
    test: PairedTest | None
    p_holm: float
    wilcoxon: float
    wilcoxon_holm: float
    sign: str = ""


Key = tuple[str, str, str]  # backbone, row, phase


class Comparison:
    """A comparison as read from its file, with the tables that follow from it.

    Args:
        document: what :func:`load_comparison` gives, or an equal value in memory.

    Raises:
        UserError: the named row is not there.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.by_backbone = {
            str(doc["backbone_label"]): _named(doc) for doc in document["documents"]
        }
        # Intervals name rows as the file does; '' stands for the backbone where there is but one.
        self._aliases = {
            (backbone * (len(self.by_backbone) > 1), before["label"]): after["label"]
            for (backbone, named), doc in zip(
                self.by_backbone.items(), document["documents"], strict=True
            )
            for before, after in zip(doc["runs"], named["runs"], strict=True)
        }
        self.backbones = _union(document.get("backbones", []), self.by_backbone)
        found = [run["label"] for doc in self.by_backbone.values() for run in doc["runs"]]
        rows = _union(document.get("rows", []), found)
        # The matched row comes last, as in the table of one run.
        self.rows = [row for row in rows if row != MATCHED] + [MATCHED] * (MATCHED in rows)
        self.seeds = sorted(
            {
                *document.get("seeds", []),
                *(seed["seed"] for run in self.runs() for seed in run["seeds"]),
            }
        )
        self.alone = set(document.get("alone", []))
        self.smallest = float(self._setting("smallest_effect", SMALLEST_EFFECT))
        self.wilcoxon = bool(self._setting("wilcoxon", False))
        self.against = self._against(document.get("against"))
        self.titles: dict[str, str] = {}
        """Labels that readers know rows by, where it is not the one here: those of a single run."""
        self._cells: dict[str, dict[Key, Cell]] = {}
        self._claims: dict[int, dict[Key, Claim]] = {}
        self._references: dict[str, dict[str, str | None]] = {}

    def runs(self) -> Iterator[Mapping[str, Any]]:
        for doc in self.by_backbone.values():
            yield from doc["runs"]

    def rows_of(self, backbone: str) -> list[str]:
        """The rows in a backbone's group, missing ones included."""
        return [row for row in self.rows if (row in self.alone) == (backbone == OWN_NETWORK)]

    def run(self, backbone: str, row: str) -> Mapping[str, Any] | None:
        """The run in one place of the table; None where it is missing."""
        runs = self.by_backbone.get(backbone, {}).get("runs", [])
        return next((run for run in runs if run["label"] == row), None)

    def auc_error(self, key: Key) -> float:
        """The standard error of one seed's AUC, a mean over the seeds; nan where it is not known.

        It is known of sessions alone, whose scored rows are few and of different users.
        """
        backbone, row, phase = key
        run = self.run(backbone, row)
        if run is None or self.split.get("rule") != "sessions":
            return math.nan
        phases = [seed["phases"].get(phase, {}) for seed in run["seeds"]]
        errors = [found.get("auc_error", math.nan) for found in phases]
        finite = [error for error in errors if math.isfinite(error)]
        return statistics.fmean(finite) if finite else math.nan

    def _setting(self, key: str, default: Any) -> Any:
        """What was asked for once for the whole table; older files do not say it."""
        return self.document.get(key, self.document["documents"][0].get(key, default))

    def _against(self, name: str | None) -> str | None:
        if name is None:
            return "Base" if "Base" in self.rows else None
        if name not in self.rows:
            raise UserError(
                f"--against names '{name}', which is not a row of this table; there are "
                f"{', '.join(self.rows)}."
            )
        return name

    @cached_property
    def phases(self) -> list[str]:
        return list(next(iter(self.by_backbone.values()))["phases"])

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics that every document has, and RelaImpr where there is a row to compare with."""
        docs = list(self.by_backbone.values())
        names = [m for m in docs[0]["metrics"] if all(m in doc["metrics"] for doc in docs)]
        names = [name for name in names if name not in COMPARISONS]
        return names + (["RelaImpr"] if "AUC" in names and self.against else [])

    def cells(self, metric: str) -> dict[Key, Cell]:
        """Every cell of one metric's table by backbone, row and phase; missing ones are absent.

        Holm's correction is over all tests of this table: rows, backbones and phases.
        """
        if metric not in self._cells:
            self._cells[metric] = self._tested(metric)
        return self._cells[metric]

    def _tested(self, metric: str) -> dict[Key, Cell]:
        rows = {(b, row.label, row.phase): row for b, row in self._figures(metric) if row.n}
        places = _places(rows)
        tests: dict[Key, PairedTest] = {}
        ranks: dict[Key, float] = {}
        claims = self.claims() if metric == "AUC" else {}
        if metric not in COMPARISONS and self.against is not None:
            for key in rows:
                backbone, label, phase = key
                if label != self.against and (backbone, self.against, phase) in rows:
                    doc = self.by_backbone[backbone]
                    pairs = paired_values(doc, label, self.against, phase, metric)
                    tests[key] = t_test(*pairs)
                    ranks[key] = wilcoxon_p(*pairs) if self.wilcoxon else math.nan
        corrected = dict(zip(tests, holm([t.p_value for t in tests.values()]), strict=True))
        ranked = dict(zip(ranks, holm(list(ranks.values())), strict=True))
        nothing = math.nan
        return {
            key: Cell(
                row,
                places.get(key, 0),
                tests.get(key),
                corrected.get(key, nothing),
                ranks.get(key, nothing),
                ranked.get(key, nothing),
                SIGN if key in claims and claims[key].real else "",
            )
            for key, row in rows.items()
        }

    # ---------------------------------------------------------------- which gains are real
    def references(self, backbone: str) -> dict[str, str | None]:
        """The rows that claims are measured by, by name; None where the table has no such row.

        Base is the plain backbone (``base_model``); the matched row is asked for only where a
        method takes more optimizer steps in a warm phase than it.
        """
        if backbone not in self._references:
            self._references[backbone] = self._reference_rows(backbone)
        return self._references[backbone]

    def _reference_rows(self, backbone: str) -> dict[str, str | None]:
        doc = self.by_backbone.get(backbone, {"runs": []})
        runs = {run["label"]: run for run in doc["runs"]}
        named = doc.get("base_model")
        base = base_run(doc, named if named in runs else None)
        if base is not None and base["label"] == MATCHED:
            base = None  # the plain backbone itself is missing
        bias = [label for label, run in runs.items() if run["model"] == ITEM_BIAS]
        found = {
            "Base": None if base is None else base["label"],
            MATCHED: MATCHED if MATCHED in runs else None,
            ITEM_BIAS: ITEM_BIAS if ITEM_BIAS in runs else next(iter(bias), None),
        }
        least = math.inf if base is None else cost_figures(base)["phase_steps"]
        if MATCHED not in runs and not any(
            cost_figures(run)["phase_steps"] > least for run in runs.values()
        ):
            del found[MATCHED]
        return found

    def intervals(self, key: Key, against: str, metric: str = "AUC") -> list[Known]:
        """All intervals of the difference between a cell and a reference row of its group."""
        backbone, row, phase = key
        group = "" if len(self.by_backbone) == 1 else backbone
        return self._intervals.get((group, row, against, phase, metric), [])

    @cached_property
    def has_intervals(self) -> bool:
        return bool(self._intervals)

    @cached_property
    def _intervals(self) -> dict[Any, list[Known]]:
        return read_intervals(self.document, self._aliases, len(self.by_backbone) == 1)

    def claims(self, fewest: int = FEWEST_SEEDS) -> dict[Key, Claim]:
        """The claim of every scored cell but those of the reference rows.

        Args:
            fewest: seeds that a claim needs; 1 tells what fails beside the number of seeds.
        """
        if "AUC" not in self.metrics:
            return {}
        if fewest not in self._claims:
            self._claims[fewest] = {
                key: self._claim(key, fewest)
                for backbone, doc in self.by_backbone.items()
                for run in doc["runs"]
                for phase in self.phases
                if run["label"] not in self.references(backbone).values()
                and phase_values(doc, run, phase, "AUC")
                for key in [(backbone, run["label"], phase)]
            }
        return self._claims[fewest]

    def _claim(self, key: Key, fewest: int) -> Claim:
        rows = self.references(key[0])
        missing = [in_words(name) for name, row in rows.items() if row is None]
        against = [self.against_row(key, name, row) for name, row in rows.items() if row]
        return claim(against, missing, self.smallest, fewest, self.unit)

    def against_row(self, key: Key, name: str, row: str) -> Against:
        """What is known of a cell's distance to a reference row, in AUC and within items."""
        backbone, label, phase = key
        ours, theirs = paired_values(self.by_backbone[backbone], label, row, phase, "AUC")
        difference = t_test(ours, theirs).difference
        # More steps may cost the plain backbone something within items: no yardstick for others.
        within = [] if name == MATCHED else self.intervals(key, row, "WithinAUC")
        pooled = widest(self.intervals(key, row))
        seeds = len(ours) if pooled is None else min(len(ours), pooled.seeds)
        return Against(in_words(name), difference, seeds, pooled, widest(within))

    @property
    def unit(self) -> str:
        """What is new: ``item`` or ``user``."""
        return str(self.split.get("cold_side", "item"))

    @property
    def split(self) -> Mapping[str, Any]:
        """The manifest of the first document's split."""
        return self.document["documents"][0]["split"]

    def _figures(self, metric: str) -> Iterator[tuple[str, Row]]:
        for backbone, doc in self.by_backbone.items():
            wanted_metrics(doc, [metric])
            labels = [run["label"] for run in doc["runs"]]
            base = self.against
            if metric in COMPARISONS and base not in labels:
                continue
            for row in summary(doc, [metric], base if base in labels else None):
                yield backbone, row

    def leaders(self, metric: str) -> list[tuple[str, dict[str, float], float, int]]:
        """Per row: mean over all backbones in each phase, mean place, number of first places.

        A row without a score on some backbone has no mean: it would be over fewer backbones.
        """
        cells = self.cells(metric)
        found = []
        backbones = [backbone for backbone in self.backbones if backbone != OWN_NETWORK]
        for row in (row for row in self.rows if row not in self.alone):
            means, places, firsts = {}, [], 0
            for phase in self.phases:
                keys = [(backbone, row, phase) for backbone in backbones]
                known = [cells[key].row.mean for key in keys if key in cells]
                means[phase] = statistics.fmean(known) if len(known) == len(keys) else math.nan
                for key in keys:
                    if key in cells:
                        places.append(_place(cells, key))
                        firsts += cells[key].place == 1
            whole = len(places) == len(backbones) * len(self.phases)
            found.append((row, means, statistics.fmean(places) if whole else math.nan, firsts))
        return found

    def missing(self) -> list[str]:
        """The missing results, one line per backbone and row."""
        total, lines = len(self.seeds), []
        for backbone in self.backbones:
            for row in self.rows_of(backbone):
                whole = self.whole_seeds(backbone, row)
                if whole < total or not total:
                    lines.append(f"{row} on {backbone}: {whole} of {total} seeds are there")
        return lines

    def whole_seeds(self, backbone: str, row: str) -> int:
        """Seeds with every phase, and every metric of the table in it."""
        run = self.run(backbone, row)
        return 0 if run is None else sum(self._whole(seed) for seed in run["seeds"])

    def _whole(self, seed: Mapping[str, Any]) -> bool:
        wanted = {metric for metric in self.metrics if metric not in COMPARISONS}
        return set(self.phases) <= set(seed["phases"]) and all(
            wanted <= set(phase["metrics"]) for phase in seed["phases"].values()
        )


def in_words(name: str) -> str:
    """A reference row as sentences call it."""
    return EQUAL_STEPS if name == MATCHED else name


def _places(rows: Mapping[Key, Row]) -> dict[Key, int]:
    """1 and 2 for the best and second mean of a backbone and phase; ties share a place."""
    places: dict[Key, int] = {}
    groups: dict[tuple[str, str], list[Key]] = {}
    for key in rows:
        groups.setdefault((key[0], key[2]), []).append(key)
    for keys in groups.values():
        costs = {key: cost(rows[key].metric, rows[key].mean) for key in keys}
        different = sorted(set(costs.values()))
        if len(different) > 1:  # no row is best where all are equal
            for key in keys:
                place = different.index(costs[key]) + 1
                places[key] = place if place <= 2 else 0
    return places


def _place(cells: Mapping[Key, Cell], key: Key) -> int:
    """The place among all rows of its backbone and phase, from 1; ties share the better one."""
    costs = {k: cost(c.row.metric, c.row.mean) for k, c in cells.items()}
    others = [costs[k] for k in cells if (k[0], k[2]) == (key[0], key[2])]
    return 1 + sum(other < costs[key] for other in others)


def of_run(doc: Document, base: str | None = None) -> Comparison:
    """One run's results as a comparison of one group, methods with a network of their own in it.

    Args:
        base: label or method of the row that the others are compared with; ``base_model``.
    """
    run = base_run(doc, base)
    document = {
        "schema": SCHEMA,
        "command": doc["command"],
        "against": None if run is None else MATCHED if run.get("matched_steps") else run["label"],
        "documents": [{**doc, "backbone_label": backbone_names(doc)}],
        "intervals": doc.get("intervals", []),
    }
    if "benchmark" in doc:
        document["benchmark"] = doc["benchmark"]
    comparison = Comparison(document)
    named = next(iter(comparison.by_backbone.values()))
    pairs = zip(named["runs"], doc["runs"], strict=True)
    comparison.titles = {one["label"]: run["label"] for one, run in pairs if one is not run}
    return comparison


def load_comparison(path: str | Path) -> dict[str, Any]:
    """The comparison at ``path``, a file or its folder, every results document in it checked.

    Raises:
        UserError: the file is missing, is no comparison, or a document in it is not whole.
    """
    path = Path(path)
    path = path / "comparison.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"cannot read '{path}' ({error.strerror or error}); give the folder of a comparison."
        ) from error
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON ({error}): compare again.") from error
    return validate_comparison(document, str(path))


def validate_comparison(document: Any, source: str = "the comparison") -> dict[str, Any]:
    """``document``, checked like the results documents in it."""
    found = isinstance(document, dict) and isinstance(document.get("documents"), list)
    if not found or document.get("schema") != SCHEMA or not document["documents"]:
        raise UserError(
            f"'{source}' is not a comparison of schema {SCHEMA} with results documents in it; "
            "give the comparison.json of this program."
        )
    for number, doc in enumerate(document["documents"]):
        where = f"{source}, document {number + 1}"
        validate(doc, where)
        if not isinstance(doc.get("backbone_label"), str):
            raise UserError(f"'{where}' does not name its backbone: backbone_label is missing.")
    validate_intervals(document, source)
    return dict(document)


def _named(doc: Document) -> dict[str, Any]:
    """The document with its matched row under one name, which holds on every backbone."""
    steps = [run.get("matched_steps") or 0 for run in doc["runs"]]
    most = max(steps, default=0)
    runs = [
        {**run, "label": MATCHED} if most and run.get("matched_steps") == most else run
        for run in doc["runs"]
    ]
    return {**doc, "runs": runs}


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))
