"""The rows of a table that others are held against, and those that are missing."""

from recbole_cold.report._document import Document
from recbole_cold.report._statistics import base_run

ITEM_BIAS = "ItemBias"


def references_in(doc: Document) -> list[str]:
    """Labels of the reference rows that a document has, in its order.

    The plain backbone (``base_model``), its row with matched steps, ``ItemBias``, and what else
    ``reference_rows`` names.
    """
    runs = [run for run in doc["runs"] if run["seeds"]]
    if not runs:
        return []
    base = base_run(doc, None)
    matched = [run for run in runs if run.get("matched_steps")]
    longest = max(matched, key=lambda run: run["matched_steps"], default=None)
    wanted = {ITEM_BIAS, *doc.get("reference_rows", ())}
    wanted |= {run["label"] for run in (base, longest) if run is not None}
    return [run["label"] for run in runs if run["label"] in wanted]


def missing_references(doc: Document) -> list[str]:
    """Labels of the reference rows that a table with another method lacks."""
    there = [run["label"] for run in doc["runs"]]
    needed = doc.get("reference_rows", ())
    methods = {run["label"] for run in doc["runs"] if not run.get("matched_steps")}
    if not methods - {*references_in(doc), *needed}:
        return []
    return [label for label in needed if label not in there]
