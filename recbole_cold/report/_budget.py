"""The table of a benchmark's budget: what tuning a row cost, what was chosen, what it gained."""

from collections.abc import Mapping
from typing import Any

from recbole_cold.kinds import text_of
from recbole_cold.report._tables import escape_pipes, screen_lines, wrap


def budget_lines(document: Mapping[str, Any], width: int) -> list[str]:
    """The table for a screen, and a line on how to read it; nothing of what was not tuned."""
    grid = _grid(document)
    if not grid:
        return []
    head, *rows = grid
    # The chosen setting goes underneath: it is as long as a line.
    told = [f"{row[0]}: {row[-1]}" for row in rows]
    lines = screen_lines([line[:-1] for line in [head, *rows]], width)
    return [*lines, *wrap(["chosen (what differs from the default setting)", *told], width),
            *wrap([_legend(document["benchmark"])], width)]  # fmt: skip


def budget_markdown(document: Mapping[str, Any]) -> list[str]:
    """The same in Markdown, in parts; none where nothing was tuned."""
    grid = _grid(document)
    if not grid:
        return []
    head, *rows = grid
    lines = [
        "| " + " | ".join(map(escape_pipes, head)) + " |",
        "| --- |" + " ---: |" * (len(head) - 2) + " --- |",
        *("| " + " | ".join(map(escape_pipes, row)) + " |" for row in rows),
    ]
    return ["\n".join(lines), escape_pipes(_legend(document["benchmark"]))]


def _grid(document: Mapping[str, Any]) -> list[list[str]]:
    """The head and a line per row, the chosen setting last; empty without a benchmark."""
    benchmark = document.get("benchmark")
    if not benchmark or not benchmark.get("spent"):
        return []
    metric = benchmark["metric"]
    head = ["tuning", "trials", "failed", "seconds", "steps", f"{metric} of 1", "best of all",
            "gain", "chosen"]  # fmt: skip
    several = len({place.partition("|")[0] for place in benchmark["spent"]}) > 1
    rows = []
    for place, spent in benchmark["spent"].items():
        backbone, _, row = place.partition("|")
        first, last = _ends(spent)
        gain = "-" if first is None or last is None else f"{last - first:+.4f}"
        rows.append([
            f"{row} on {backbone}" if several else row,
            str(spent["trials"]), str(spent["failed"]), f"{spent['seconds']:,.0f}",
            f"{spent['steps']:,}", _number(first), _number(last), gain, chosen_text(spent),
        ])  # fmt: skip
    return [head, *rows]


def _ends(spent: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The value of the first trial, the default one, and of the chosen one."""
    settings = spent.get("settings") or []
    return (settings[0]["mean"] if settings else None), spent.get("value")


def chosen_text(spent: Mapping[str, Any]) -> str:
    """The chosen setting, as far as it differs from the default one."""
    chosen, default = spent["chosen"], spent.get("default") or {}
    if chosen is None:
        return "nothing: no setting came through"
    differs = {k: v for k, v in chosen.items() if k not in default or default[k] != v}
    return " ".join(f"{key}={text_of(value)}" for key, value in differs.items()) or "the default"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"


def _legend(benchmark: Mapping[str, Any]) -> str:
    seeds = benchmark["tune_seeds"]
    return (
        f"tuning: {benchmark['metric']}, mean over the phases and {seeds} "
        f"seed{'s' * (seeds > 1)}, on pseudo-new items; of 1: the default setting, which is the "
        "first trial of every row; best of all: chosen for the table; seconds and steps: of all "
        "its trials, pre-training from the cache counted as steps, not as seconds"
    )
