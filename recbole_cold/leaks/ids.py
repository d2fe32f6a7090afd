"""L2: what a new item is called must not tell anything; its rows keep their scores."""

import numpy as np

from recbole_cold.evaluation.metrics import auc
from recbole_cold.leaks._edits import with_codes
from recbole_cold.leaks.finding import LEAK, NOTE, OK, Finding, not_applicable
from recbole_cold.leaks.subject import Subject, distances
from recbole_cold.leaks.uncertainty import difference_error

# What another order of the same float32 sums may change of a probability.
_ROUNDING = 1e-4


def find(subject: Subject) -> Finding:
    """Whether cold scores go with their items when the ids of new items are exchanged.

    A method that draws something for each new item draws otherwise then; of such a one the AUC is
    compared instead, and more than three standard errors over items are a leak.
    """
    if subject.config["new_item_init"] == "random":
        return not_applicable("new_item_init: random draws a vector for each id")
    new, n_ids = subject.split.new_ids, subject.data.num(subject.id_field)
    if len(new) < 2:
        return not_applicable(f"there is one new {subject.side}, which nobody can change ids with")
    code_of = np.arange(n_ids)
    code_of[new] = np.random.default_rng(subject.seed).permutation(np.roll(new, 1))
    edited, cold = with_codes(subject.data, code_of), subject.cold
    plain = subject.plain.scores[cold.name]
    how = f"ids of the new {subject.side}s exchanged"
    found = subject.train(edited, how, [cold]).scores[cold.name]
    gap = distances(found, plain)
    changed, largest = int((gap > _ROUNDING).sum()), float(gap.max(initial=0.0))
    if not changed:
        return Finding(
            OK,
            f"the {len(gap):,} scores of phase {cold.name} go with their {subject.side}s when "
            "their ids are exchanged",
            largest,
        )
    if not subject.repeats:
        return not_applicable(
            "the same training gives other scores each time on this device; try --device=cpu"
        )
    truth = subject.truth(cold)
    gain = auc(plain, truth) - auc(found, truth)
    rows = subject.split[cold.score_on]
    error = difference_error(plain, found, truth, subject.ids[rows])
    said = (
        f"{changed:,} of {len(gap):,} scores of phase {cold.name} change when the ids of new "
        f"{subject.side}s are exchanged, by up to {largest:.2g}; with the true ids AUC is "
        f"{gain:+.4f} (standard error {error:.4f})"
    )
    if _draws(subject) and not gain > 3 * error:
        return Finding(NOTE, f"{said}; the method draws something for each of them", largest)
    return Finding(LEAK, said, largest)


def _draws(subject: Subject) -> bool:
    """Whether the method gives a new item something drawn."""
    first, second = (subject.served_again(subject.data, draw=name)[1] for name in ("a", "b"))
    return any(not a.equal(b) for a, b in zip(first, second, strict=True))
