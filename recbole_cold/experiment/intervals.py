"""Intervals of the differences between rows, made once from the scores that were kept.

One record per row, row it is held against, phase, metric and way of drawing:
``{"backbone", "row", "against", "phase", "metric", "by", "difference", "low", "high", "error",
"seeds", "resamples", "nested"}``. There is one record of a kind, the one that tables read: with two
seeds or more each resample draws seeds as well as items or users, so that it holds for training
again and for other items (``nested`` is true); with one seed it holds for this training only.
``difference`` is row minus against over the seeds that both have, ``low`` and ``high`` bound it
with 95 % confidence, ``error`` is its standard error. Shape letters: n rows, r resamples.
"""

import hashlib
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from recbole_cold import seeding
from recbole_cold.errors import Interrupted
from recbole_cold.evaluation.bootstrap import (
    RankedScores,
    cluster_weights,
    delong,
    paired_interval,
    seed_interval,
    sums_by_cluster,
    within_auc_by_cluster,
)
from recbole_cold.evaluation.metrics import row_log_loss
from recbole_cold.experiment.scores import DamagedScores, Find, RowScores
from recbole_cold.report import references_in

Array = np.ndarray
SIDES = ("item", "user")
DELONG = "delong"  # in the place of a side: no resamples
UNTIL_A_BAR = 1.0  # seconds
_MOST_WEIGHTS = 20_000_000  # of ids in resamples at one time: 160 MB


class Settings(NamedTuple):
    """What intervals depend on beside the scores; seed: of the draws."""

    resamples: int
    seed: int
    delong: bool = False
    show_progress: bool = False


def settings_from(config: Any) -> Settings:
    """The settings of a configuration of the first seed, or of one that a document holds."""
    return Settings(
        int(config["bootstrap_resamples"]),
        int(config["seed"]),
        bool(config["delong"]),
        bool(config["show_progress"]),
    )


def settings_of(documents: Iterable[Mapping[str, Any]]) -> Settings:
    """The settings with which the runs of some results documents were made; those of the first."""
    runs = [run for document in documents for run in document["runs"] if run["seeds"]]
    usual = {"bootstrap_resamples": 1000, "delong": False}
    made = {**usual, **(runs[0]["config"] if runs else {})}
    first = min((seed["seed"] for run in runs for seed in run["seeds"]), default=0)
    return settings_from({**made, "seed": first, "show_progress": True})


class Evidence(NamedTuple):
    """Records of intervals, and a sentence per reason why there are none for some rows."""

    records: list[dict[str, Any]]
    missing: list[str]


class _Place(NamedTuple):
    backbone: str
    row: str
    seed: int


class _What(NamedTuple):
    """A metric in a phase, and whose resamples it is computed in."""

    phase: str
    metric: str
    by: str


@dataclass
class _Found:
    """What is known of a row and seed: phase -> digest of its rows; metric [1 + r], on the rows as
    they are, then in each resample; the scores, where DeLong's formula is asked for."""

    digests: Mapping[str, str]
    values: dict[_What, Array] = field(default_factory=dict)
    scores: RowScores | None = None


def intervals(
    documents: Mapping[str, Mapping[str, Any]],
    find: Find,
    settings: Settings,
    stop: Callable[[], bool] = lambda: False,
) -> Evidence:
    """The records of the rows of some documents, one per backbone.

    All rows, seeds, phases and backbones are computed in the same resamples.

    Args:
        documents: label of the backbone -> results document.
        find: the scores of a row and seed.
        stop: asked between rows.

    Raises:
        Interrupted: ``stop`` was asked for.
    """
    pairs = {backbone: list(_pairs(document)) for backbone, document in documents.items()}
    wanted = {
        (backbone, row) for backbone, found in pairs.items() for pair in found for row in pair
    }
    if not settings.resamples or not wanted:
        return Evidence([], [])
    found, missing = _resampled(documents, wanted, find, settings, stop)
    records = []
    for backbone, of_backbone in pairs.items():
        for row, against in of_backbone:
            records += _records(backbone, row, against, documents[backbone], found, settings)
    return Evidence(records, missing)


class Levels(NamedTuple):
    """Where the means of rows lie with 95 % confidence.

    Attributes:
        ends: by backbone, row, phase and metric (AUC, LogLoss, and WithinAUC over the cold side).
        nested: whether seeds were drawn as well.
        missing: a sentence per reason why there are none of some rows.
    """

    ends: dict[tuple[str, str, str, str], tuple[float, float]]
    nested: bool
    missing: list[str]


def levels(
    documents: Mapping[str, Mapping[str, Any]], find: Find, settings: Settings, side: str
) -> Levels:
    """The intervals of the rows' own means, in the resamples that differences are computed in.

    Args:
        documents: label of the backbone -> results document.
        side: whose ids are drawn, ``item`` or ``user``.
    """
    wanted = {(b, run["label"]) for b, document in documents.items() for run in document["runs"]}
    settings = settings._replace(delong=False)
    found, missing = _resampled(documents, wanted, find, settings, lambda: False, (side,))
    of_rows: dict[tuple[str, str, str, str], list[Array]] = defaultdict(list)
    for place, each in found.items():
        for what, values in each.values.items():
            of_rows[place.backbone, place.row, what.phase, what.metric].append(values)
    drawn = seeding.derive(settings.seed, "bootstrap", "seeds")
    ends = {}
    for key, values in of_rows.items():
        interval = seed_interval(values, nested_seed=drawn if len(values) > 1 else None)
        if math.isfinite(interval.low):
            ends[key] = (interval.low, interval.high)
    return Levels(ends, any(len(values) > 1 for values in of_rows.values()), missing)


def _resampled(
    documents: Mapping[str, Mapping[str, Any]],
    wanted: set[tuple[str, str]],
    find: Find,
    settings: Settings,
    stop: Callable[[], bool],
    sides: Sequence[str] = SIDES,
) -> tuple[dict[_Place, _Found], list[str]]:
    """Every metric of the wanted rows in all resamples, and why there is none of some rows."""
    places = {
        _Place(backbone, run["label"], seed["seed"]): seed
        for backbone, document in documents.items()
        for run in document["runs"]
        if (backbone, run["label"]) in wanted
        for seed in run["seeds"]
    }
    found, draws, missing = _look(places, find, settings, sides)
    widest = max(len(drawn.tokens) for drawn in draws.values())
    sizes = _blocks(settings.resamples, widest)
    with tqdm(
        total=len(sizes) * sum(len(each.digests) for each in found.values()), desc="intervals",
        unit="phase", leave=False, delay=UNTIL_A_BAR,
        disable=None if settings.show_progress else True,
    ) as bar:  # fmt: skip
        for size in sizes:
            for drawn in draws.values():
                drawn.draw(size)
            known: dict[tuple[str, str, str], dict[_What, Array]] = {}
            for place, each in found.items():
                scores = find(place.row, places[place])
                each.scores = scores if settings.delong else None
                for phase in each.digests:
                    if stop():
                        raise Interrupted
                    # Methods that leave the cold model alone score cold rows alike: once for all.
                    content = hashlib.sha256(scores.scores[phase].tobytes()).hexdigest()
                    key = (phase, each.digests[phase], content)
                    if key not in known:
                        known[key] = dict(_values(scores, phase, draws))
                    for what, values in known[key].items():
                        before = each.values.get(what, values[:0])
                        each.values[what] = np.concatenate([before, values])
                    bar.update()
    return found, missing


def _pairs(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every row with each reference row but itself."""
    for run in document["runs"]:
        for against in references_in(document):
            if run["label"] != against:
                yield run["label"], against


def _look(
    places: Mapping[_Place, Mapping[str, Any]],
    find: Find,
    settings: Settings,
    sides: Sequence[str],
) -> tuple[dict[_Place, _Found], dict[str, "_Draws"], list[str]]:
    """What there is, the ids in all of it, and a sentence per reason for what there is not.

    Scores are not kept here: they are read again, one file at a time.
    """
    found: dict[_Place, _Found] = {}
    tokens = {side: np.zeros(0, dtype=object) for side in sides}
    reasons: dict[str, list[_Place]] = defaultdict(list)
    for place, seed in places.items():
        try:
            scores = find(place.row, seed)
        except DamagedScores as error:
            reasons[str(error)].append(place)
            continue
        found[place] = _Found(scores.digests)
        tokens = {side: np.union1d(known, scores.tokens(side)) for side, known in tokens.items()}
    missing = []
    for reason, without in reasons.items():
        rows = list(dict.fromkeys(f"{place.row} on {place.backbone}" for place in without))
        seeds = sorted({place.seed for place in without})
        told = ", ".join(rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
        missing.append(f"no intervals for {told} (seeds {', '.join(map(str, seeds))}): {reason}")
    draws = {side: _Draws(side, known, settings.seed) for side, known in tokens.items()}
    return found, draws, missing


def _blocks(resamples: int, ids: int) -> list[int]:
    """How many resamples are drawn at a time, so that their weights have room in memory."""
    most = max(1, _MOST_WEIGHTS // max(1, ids))
    return [min(most, resamples - start) for start in range(0, resamples, most)]


class _Draws:
    """The resamples of one side's ids, common to all that is compared.

    Attributes:
        tokens: of all ids, ascending [k].
        weights: how often each id is drawn in each of the present resamples, [r, k]; the first line
            of all has each id once. They are whole numbers in double precision, in which sums over
            ids are products of matrices.
    """

    def __init__(self, side: str, tokens: Array, seed: int) -> None:
        self.side, self.tokens = side, tokens
        self._draws = np.random.default_rng(seeding.derive(seed, "bootstrap", side))
        self.weights = np.ones((0, len(tokens)))
        self._once = True

    def draw(self, resamples: int) -> None:
        """Exchange the resamples for the next ones, whatever number comes at once."""
        k = len(self.tokens)
        drawn = cluster_weights(k, resamples, self._draws) if k else np.ones((resamples, 0))
        self.weights = np.concatenate([np.ones((int(self._once), k)), drawn])
        self._once = False

    def clusters(self, scores: RowScores, phase: str) -> Array:
        """The place of each row's id among all ids [n]."""
        rows = scores.rows_of(phase)
        code = rows.item if self.side == "item" else rows.user
        return np.searchsorted(self.tokens, scores.tokens(self.side))[code]


def _values(
    scores: RowScores, phase: str, draws: Mapping[str, _Draws]
) -> Iterator[tuple[_What, Array]]:
    """Every metric of one phase in all resamples.

    WithinAUC is AUC inside the ids of the cold side. Resamples of the other side cut through these,
    so that no sums per id give it: it has intervals by the cold side alone.
    """
    score, label = scores.scores[phase], scores.rows_of(phase).label
    if not len(score):
        return
    chances = score.min() >= 0 and score.max() <= 1  # a plug-in may score with logits
    losses = row_log_loss(score, label).numpy() if chances else None
    for side, drawn in draws.items():
        cluster, (_, k) = drawn.clusters(scores, phase), drawn.weights.shape
        yield _What(phase, "AUC", side), RankedScores(score, label, cluster).auc(drawn.weights)
        if side == scores.cold_side:
            within = within_auc_by_cluster(score, label, cluster, k)
            yield _What(phase, "WithinAUC", side), within.mean(drawn.weights)
        if losses is not None:
            loss = sums_by_cluster(losses, cluster, k)
            yield _What(phase, "LogLoss", side), loss.mean(drawn.weights)


def _records(
    backbone: str,
    row: str,
    against: str,
    document: Mapping[str, Any],
    found: Mapping[_Place, _Found],
    settings: Settings,
) -> Iterator[dict[str, Any]]:
    seeds = sorted({place.seed for place in found if place[:2] == (backbone, row)})
    both = [
        (found[_Place(backbone, row, seed)], found[_Place(backbone, against, seed)])
        for seed in seeds
        if _Place(backbone, against, seed) in found
    ]
    for phase in document["phases"]:
        # Two rows may have scored other rows, by a key in the brackets of one of them.
        same = [
            (a, b)
            for a, b in both
            if a.digests.get(phase, "none") == b.digests.get(phase, "no other")
        ]
        if not same:
            continue
        for what in same[0][0].values:
            pairs = [(a.values[what], b.values[what]) for a, b in same
                     if what.phase == phase and what in a.values and what in b.values]  # fmt: skip
            if pairs:
                nested = len(pairs) > 1
                drawn = seeding.derive(settings.seed, "bootstrap", "seeds") if nested else None
                ours, theirs = zip(*pairs, strict=True)
                yield {
                    "backbone": backbone, "row": row, "against": against, **what._asdict(),
                    **paired_interval(ours, theirs, nested_seed=drawn)._asdict(),
                    "seeds": len(pairs), "resamples": settings.resamples, "nested": nested,
                }  # fmt: skip
        if settings.delong:
            yield {
                "backbone": backbone, "row": row, "against": against,
                **_What(phase, "AUC", DELONG)._asdict(), **_delong(phase, same),
                "seeds": len(same), "resamples": 0, "nested": False,
            }  # fmt: skip


def _delong(phase: str, same: Sequence[tuple[_Found, _Found]]) -> dict[str, float]:
    """DeLong's interval of the mean over seeds.

    All seeds score the same rows, or nearly so: their errors are taken as one, and not divided by
    the number of seeds.
    """
    each = []
    for ours, theirs in same:
        assert ours.scores is not None and theirs.scores is not None
        label = ours.scores.rows_of(phase).label
        each.append(delong(ours.scores.scores[phase], theirs.scores.scores[phase], label))
    columns = zip(*each, strict=True)
    names = ("difference", "low", "high", "error")
    return {name: statistics.fmean(c) for name, c in zip(names, columns, strict=True)}
