"""Bands of curves: deviations over seeds, or 95 % intervals over users or items."""

from collections.abc import Mapping
from typing import Any

from recbole_cold.errors import UserError, nearest
from recbole_cold.experiment.intervals import levels, settings_of
from recbole_cold.experiment.scores import Find
from recbole_cold.report import Bands

STD = "std"
SIDES = {"users": "user", "items": "item"}


def bands(
    documents: Mapping[str, Mapping[str, Any]], find: Find, asked: str | None = None
) -> Bands | None:
    """The bands of the rows of some results; None: one sample deviation over the seeds.

    Args:
        documents: label of the backbone ('' for a run) -> results document.
        find: the scores of a row and seed.
        asked: ``std``, ``users`` or ``items``. None: ``users`` in splits into sessions, where
            each scored row is another user's, if row scores and resamples are there; else ``std``.

    Raises:
        UserError: another word, or what was asked for needs scores that were not kept.
    """
    if asked not in (None, STD, *SIDES):
        known = [STD, *SIDES]
        guess = nearest(str(asked), known)
        told = f"did you mean {guess}? " if guess else ""
        raise UserError(f"--band={asked} is no band; {told}use one of {', '.join(known)}")
    if asked == STD or (asked is None and not _are_sessions(documents)):
        return None
    name, settings = asked or "users", settings_of(documents.values())
    if not settings.resamples:
        if asked is None:
            return None
        settings = settings._replace(resamples=1000)  # a run that wanted none kept its scores
    found = levels(documents, find, settings, SIDES[name])
    if not found.ends:
        if asked is None:
            return None
        told = found.missing[0] if found.missing else "no phase was scored"
        raise UserError(f"--band={name} needs the scores of single rows: {told}")
    known = {key[:2] for key in found.ends}
    without = dict.fromkeys(
        run["label"]
        for backbone, document in documents.items()
        for run in document["runs"]
        if (backbone, run["label"]) not in known
    )
    words = f"band: 95 % over {name}" + (" and seeds" if found.nested else "")
    words += f" (no scores of {', '.join(without)})" if without else ""
    return Bands(words, found.ends)


def _are_sessions(documents: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(document["split"].get("rule") == "sessions" for document in documents.values())
