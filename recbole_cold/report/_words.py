"""Notes about a results document: what was scored, over which seeds, and warnings."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recbole_cold.evaluation.metrics import BELOW_CHANCE, COMPARISONS, EMPTY
from recbole_cold.report._document import Document
from recbole_cold.report._references import missing_references
from recbole_cold.report._statistics import Row


def _number(value: float, metric: str, signed: bool = True) -> str:
    if metric in COMPARISONS:
        return f"{100 * value:+.1f}%" if signed else f"{100 * value:.1f}%"
    return f"{value:.4f}"


def cell_text(row: Row) -> str:
    """``0.7421 ± 0.0013``, without the deviation of a single seed; ``-`` where nothing is known.

    A ``u`` marks what a method scores unadapted.
    """
    if not row.n:
        return "-"
    spread = f" ± {_number(row.std, row.metric, signed=False)}" if row.n > 1 else ""
    return _number(row.mean, row.metric) + spread + ("u" if row.unadapted else "")


def unadapted_lines(doc: Document) -> list[str]:
    """The footnote of the mark ``u``, where a cell has it."""
    marked = any(phase.get("unadapted") for *_, phase in _scored(doc))
    return ["u: unadapted: few-shot learners have nothing to learn from yet"] * marked


def all_seeds(doc: Document) -> list[int]:
    """Seeds of any run, ascending."""
    return sorted({seed["seed"] for run in doc["runs"] for seed in run["seeds"]})


def seed_names(seeds: Sequence[int]) -> str:
    """``2024``, ``2024-2028`` or ``1, 5, 9``."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds)) or "none"


def scored_on(doc: Document) -> str:
    """The rows that the metrics were computed on, as text."""
    if doc["eval_on"] == "next":
        return "each phase scored on the rows that the next one learns on, the last on test"
    rows = {phase["rows"] for *_, phase in _scored(doc)}
    size = f"{rows.pop():,} " if len(rows) == 1 else ""
    return f"every phase scored on the same {size}{doc['eval_on']} rows"


def _scored(doc: Document) -> Iterator[tuple[str, int, str, Mapping[str, Any]]]:
    for run in doc["runs"]:
        for seed in run["seeds"]:
            for name, phase in seed["phases"].items():
                yield run["label"], seed["seed"], name, phase


def backbone_names(doc: Document) -> str:
    """Backbones in the order of the runs, each once."""
    return ", ".join(dict.fromkeys(run["backbone"] for run in doc["runs"]))


def fact_lines(doc: Document, missing: Sequence[str] | None = None) -> list[str]:
    """Notes that hold for all numbers of a table: data, phases, seeds, split.

    Args:
        missing: reference rows that the table lacks; None: those that the document lacks.
    """
    seeds = all_seeds(doc)
    on = f"{doc['dataset']}, {backbone_names(doc)}"
    facts = [f"{on}, protocol {doc['protocol']}; {scored_on(doc)}"]
    if len(seeds) > 1:
        repeated = "everything is repeated per seed, pre-training included"
        if doc["share_pretrained"]:
            repeated = "pre-training is shared: only what follows it is repeated per seed"
        facts.append(f"mean ± sample std over {len(seeds)} seeds ({seed_names(seeds)}); {repeated}")
    else:
        facts.append(f"one seed ({seed_names(seeds)}): no deviation is known")
    missing = missing_references(doc) if missing is None else missing
    if missing:
        facts.append(f"reference rows missing: {', '.join(missing)}")
    return [*facts, _split_line(doc["split"])]


def _split_line(split: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name} {rows:,}" for name, rows in split.get("counts", {}).items())
    side = split.get("cold_side", "item")
    told = [f"split: {counts or 'counts unknown'}"]
    if "words" in split:
        told.append(split["words"])
    elif "old" in split and "new" in split:
        told.append(f"{split['old']:,} old, {split['new']:,} new {side}s")
    rule = [f"{key}={split[key]}" for key in ("N", "K") if split.get(key) is not None]
    if rule:
        told.append(", ".join(rule))
    if split.get("order") not in (None, "time"):
        told.append(f"order: {split['order']}")
    return "; ".join(told)


def warning_lines(doc: Document) -> list[str]:
    """Warnings of the scores, then the runs that are not complete."""
    return score_warnings_of(doc) + list(_incomplete(doc))


def score_warnings_of(doc: Document) -> list[str]:
    """Each warning once per run, with its phases and, when not all, the number of seeds."""
    places: dict[tuple[str, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for label, seed, name, phase in _scored(doc):
        derived = [EMPTY] if not phase["rows"] else []
        if phase["metrics"].get("AUC", math.nan) < 0.5:
            derived.append(BELOW_CHANCE)
        for text in {*phase["warnings"], *derived}:
            places[label, text][name].add(seed)
    total, found = len(all_seeds(doc)), []
    for (label, text), phases in places.items():
        of = [
            name + (f" ({len(phases[name])} of {total} seeds)" if len(phases[name]) < total else "")
            for name in doc["phases"]
            if name in phases
        ]
        found.append(f"{label}, {', '.join(of)}: {text}")
    return sorted(found)


def _incomplete(doc: Document) -> Iterator[str]:
    total = len(all_seeds(doc))
    for run in doc["runs"]:
        whole = sum(set(doc["phases"]) <= set(seed["phases"]) for seed in run["seeds"])
        if whole < total or not total:
            yield f"{run['label']}: only {whole} of {max(total, 1)} seeds are complete"


def shorten(text: str, longest: int) -> str:
    """A long label without its middle, since labels tend to differ at the ends."""
    if len(text) <= longest:
        return text
    head = (longest - 3) // 2
    return text[:head] + "..." + text[len(text) - (longest - 3 - head) :]
