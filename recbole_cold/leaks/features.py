"""L4: which features of new items carry the cold AUC, and whether one of them is their popularity.

Permutation importance (Breiman, 2001): the values of one feature are dealt out anew among the new
items, the model stays the one that was trained.
Shape letters: m new items, w width of a content vector or length of a sequence.
"""

import math
from collections.abc import Sequence

import numpy as np
from recbole.utils import FeatureType
from scipy import stats

from recbole_cold.data.inputs import DEFAULT_COUNT_FIELD
from recbole_cold.evaluation.metrics import auc
from recbole_cold.leaks._edits import cold_table, with_features_moved
from recbole_cold.leaks.finding import LEAK, OK, Finding, not_applicable
from recbole_cold.leaks.subject import Array, Subject
from recbole_cold.model._method import ColdStartRecommender

# Permutations of each feature; their spread is shown.
DRAWS = 5
# A feature is the popularity of the whole log from this rank correlation on.
_LIKE_COUNT = 0.9
# ... if chance gives less in all but this share of data sets.
_CHANCE = 0.001


def find(subject: Subject) -> Finding:
    """The AUC that each feature carries, and features that follow the count of the whole log.

    A method that keeps what it read of features while it learned (GAR) goes on with it.
    """
    kind, table = cold_table(subject.data, subject.side)
    fields = list(table)
    if not fields:
        return not_applicable(f"no feature of {kind}s")
    truth = subject.truth(subject.cold)
    method, _ = subject.served_again(subject.data)
    scores = subject.cold_scores(method)
    value = auc(scores, truth)
    if np.isnan(value):
        return not_applicable(f"phase {subject.cold.name} scores rows of one class only")
    lost = {}
    moving = set()
    for field in fields:
        changed = [_moved(subject, [field], number) for number in range(DRAWS)]
        lost[field] = np.array([value - auc(other, truth) for other in changed])
        if any(not np.array_equal(other, scores) for other in changed):
            moving.add(field)
    likeness = {field: _likeness(subject, field, method) for field in fields}
    order = sorted(fields, key=lambda field: -lost[field].mean())
    carried = ", ".join(f"{f} {lost[f].mean():.4f} +- {lost[f].std(ddof=1):.4f}" for f in order)
    said = f"of the cold AUC {value:.4f} new {kind}s' features carry: {carried}"
    if len(fields) > 1:
        together = [value - auc(_moved(subject, fields, n), truth) for n in range(DRAWS)]
        said += f"; all together {np.mean(together):.4f}"
    most = float(lost[order[0]].mean())
    like = [field for field in fields if likeness[field]]
    if not like:
        return Finding(OK, f"{said}; none follows the count of the whole log", most)
    told = ", ".join(
        f"{field} (rank correlation {likeness[field]:+.2f}"
        + ("" if field in moving else "; no score here depends on it")
        + ")"
        for field in like
    )
    return Finding(LEAK, f"the count of the whole log is in {told}; {said}", most)


def _moved(subject: Subject, fields: Sequence[str], number: int) -> Array:
    """Cold scores after the ``number``-th permutation of ``fields`` among new items."""
    draws = np.random.default_rng([subject.seed, number])
    new = subject.split.new_ids
    source = np.arange(subject.data.num(subject.id_field))
    source[new] = draws.permutation(new)

    def move_counts(method: ColdStartRecommender) -> None:
        # Popularity is the method's own column, made of its counts.
        if _count_field(subject) in fields:
            method.counts.copy_(method.counts[method.rows.index(source)])

    edited = with_features_moved(subject.data, fields, source)
    return subject.cold_scores(subject.served_again(edited, move_counts)[0])


def _count_field(subject: Subject) -> str | None:
    config = subject.config
    return (config["COUNT_FIELD"] or DEFAULT_COUNT_FIELD) if config["use_count"] else None


def _likeness(subject: Subject, field: str, method: ColdStartRecommender) -> float:
    """The rank correlation with the count of the whole log if it is that of a count; else 0."""
    loaded, new = subject.loaded, subject.split.new_ids
    count = np.bincount(subject.ids, minlength=int(new.max()) + 1)[new].astype(float)
    kind, table = cold_table(loaded, subject.side)
    if field == _count_field(subject):
        values = method.frequency(method.new_ids).cpu().numpy()
    elif field in loaded.raw[kind]:
        values = np.asarray(loaded.raw[kind][field])[new]
    elif loaded.field2type[field] in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ):
        # A token is no number: it stands for how often the other items with it are.
        codes = np.asarray(table[field])[new].reshape(len(new), -1)
        return max(0.0, count_likeness(others_mean(codes, count), count))
    else:
        values = np.asarray(table[field])[new].astype(float)
    return count_likeness(values, count)


def count_likeness(values: Array, count: Array) -> float:
    """Spearman's correlation of the column of ``values`` [m] or [m, w] most like ``count`` [m].

    0 where it is below what counts as a count, or where so few items, or so many columns, give as
    much by chance. Items with a missing value, NaN, are left out.
    """
    values = values.reshape(len(count), -1)
    there = ~np.isnan(values).any(axis=1)
    n = int(there.sum())
    if n < 3:
        return 0.0
    ranks = stats.rankdata(np.c_[count[there], values[there]], axis=0)
    ranks -= ranks.mean(axis=0)
    lengths = np.sqrt((ranks**2).sum(axis=0))
    products = ranks[:, 1:].T @ ranks[:, 0]
    scale = lengths[1:] * lengths[0]
    found = np.divide(products, scale, out=np.zeros(len(scale)), where=scale > 0)
    best = float(found[np.abs(found).argmax()])
    sure = _by_chance(best, n) * values.shape[1] < _CHANCE
    return best if sure and abs(best) > _LIKE_COUNT else 0.0


def _by_chance(correlation: float, n: int) -> float:
    """The chance of a rank correlation at least as far from 0, of ``n`` items in random order."""
    # No correlation is rarer than one order among all, whatever the approximation by t says.
    least = 2 * math.exp(-math.lgamma(n + 1))
    rest = max(1 - correlation**2, 1e-12)
    return max(least, float(2 * stats.t.sf(abs(correlation) * math.sqrt((n - 2) / rest), n - 2)))


def others_mean(codes: Array, count: Array) -> Array:
    """The mean ``count`` [m] of the other items with an item's tokens [m, w], 0 being padding.

    Leaving the item out keeps a token of one item alone from telling that item's count. NaN where
    no other item has any of the tokens.
    """
    size = int(codes.max(initial=0)) + 1
    total, number = np.zeros(size), np.zeros(size)
    item, token = np.nonzero(codes)[0], codes[codes != 0]
    item, token = np.unique(np.stack([item, token]), axis=1)
    np.add.at(total, token, count[item])
    np.add.at(number, token, 1)
    shared = number[token] > 1
    item, token = item[shared], token[shared]
    mean = (total[token] - count[item]) / (number[token] - 1)
    sums = np.bincount(item, mean, len(count))
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(item, minlength=len(count))
