"""Results as text: a table for the screen, Markdown, and a table of costs."""

import statistics
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from recbole_cold.evaluation.metrics import COMPARISONS, best_where
from recbole_cold.report._claims import SIGN
from recbole_cold.report._comparison import Comparison, of_run
from recbole_cold.report._comparison_blocks import (
    Block,
    area_block,
    area_legend,
    count_block,
    error_block,
    error_legend,
    interval_blocks,
    interval_legend,
    old_block,
    old_legend,
)
from recbole_cold.report._document import Document
from recbole_cold.report._findings import findings, headline, rule
from recbole_cold.report._statistics import (
    Row,
    base_name,
    base_run,
    best_of,
    summary,
    total_of,
    wanted_metrics,
)
from recbole_cold.report._words import (
    cell_text,
    fact_lines,
    shorten,
    unadapted_lines,
    warning_lines,
)

WIDTH = 120

Grid = list[list[str]]
Dress = Callable[[str, bool, str], str]


class Parts(NamedTuple):
    """What a text about results is made of.

    Attributes:
        says: what the results say.
        facts: what holds for all numbers.
        blocks: the tables.
        legend: what the signs in them mean.
        doubts: warnings, and what is missing or failed.
    """

    says: list[str]
    facts: list[str]
    blocks: list[Block]
    legend: list[str]
    doubts: list[str]


def table(
    doc: Document,
    metrics: Iterable[str] | None = None,
    width: int | None = None,
    base: str | None = None,
) -> str:
    """The results for a screen: a block per metric, then what they cost, then the warnings.

    Args:
        metrics: which of the document's metrics; RelaImpr may be asked for in addition.
        width: columns of the screen, 120 by default; phases that do not fit go underneath.
        base: label of the run that RelaImpr is relative to; the configured base_model.
    """
    width = width or WIDTH
    parts = screen_parts(doc, metrics, width, base)
    blocks = [parts.says, wrap(parts.facts, width)]
    blocks += [screen_block(block, width) for block in parts.blocks]
    blocks.append(wrap([*parts.legend, *parts.doubts], width))
    return "\n\n".join("\n".join(block) for block in blocks if block)


def screen_parts(
    doc: Document,
    metrics: Iterable[str] | None = None,
    width: int = WIDTH,
    base: str | None = None,
) -> Parts:
    """What :func:`table` shows; only what the results say is of ``width`` already."""
    wanted = wanted_metrics(doc, metrics)
    whole = of_run(doc, base)
    blocks = [_metric_block(doc, whole, metric, base, _starred) for metric in wanted]
    beside = [*error_block(whole), *interval_blocks(whole)[:1]]
    blocks += _titled(whole, [*beside, *area_block(whole, *_first(wanted)), *old_block(whole)])
    return Parts(
        headline(whole, width) if "AUC" in wanted else [],
        fact_lines(doc),
        [*blocks, _steps_block(doc)],
        _legend(doc, whole, wanted),
        [f"warning: {line}" for line in warning_lines(doc)],
    )


def markdown(doc: Document, metrics: Iterable[str] | None = None, base: str | None = None) -> str:
    """What the results say, then the tables of :func:`table` and more in Markdown, best values
    bold, with the command that made it."""
    found = markdown_parts(doc, metrics, base)
    parts = [*found.says, listed(found.facts), *map(pipes, found.blocks)]
    parts += [*map(escape_pipes, found.legend), listed(found.doubts)]
    parts.append(f"```\n{doc['command']}\n```")
    return "\n\n".join(filter(None, parts)) + "\n"


def markdown_parts(
    doc: Document, metrics: Iterable[str] | None = None, base: str | None = None
) -> Parts:
    """What :func:`markdown` shows; what the results say is Markdown already."""
    wanted = wanted_metrics(doc, metrics)
    whole = of_run(doc, base)
    tables = [_metric_block(doc, whole, metric, base, _bold) for metric in wanted]
    blocks = [*error_block(whole), *interval_blocks(whole), *area_block(whole, *_first(wanted))]
    tables += _titled(whole, [*blocks, *count_block(whole), *old_block(whole)])
    return Parts(
        [escape_pipes(findings(whole))],
        fact_lines(doc),
        [*tables, _steps_block(doc)],
        _legend(doc, whole, wanted, "bold"),
        [f"warning: {line}" for line in warning_lines(doc)],
    )


def _first(metrics: Sequence[str]) -> list[str]:
    return [name for name in metrics if name not in COMPARISONS][:1]


def _titled(whole: Comparison, blocks: Iterable[Block]) -> list[Block]:
    """Tables of a comparison of one group as those of a run, under the labels of its rows."""

    def named(text: str) -> str:
        for label, title in whole.titles.items():
            text = text.replace(label, title)
        return text

    return [
        _block(
            [named(block.title), *block.columns],
            [[named(row), *cells] for _, rows in block.groups for row, cells in rows],
        )
        for block in blocks
    ]


def _block(head: list[str], lines: Iterable[list[str]]) -> Block:
    """A table without groups."""
    return Block(head[0], head[1:], [("", [(line[0], line[1:]) for line in lines])])


def costs(doc: Document, width: int | None = None) -> str:
    """The costs of each run per seed: seconds by stage, CPU seconds, steps, rows, memory, size."""
    width = width or WIDTH
    return "\n".join([*screen_block(cost_block(doc), width), *wrap(cost_legend(doc), width)])


def cost_block(doc: Document) -> Block:
    """The table of :func:`costs`; a column of a card's memory where a run was on one."""
    used_card = any("peak_gpu_memory_mb" in seed for run in doc["runs"] for seed in run["seeds"])
    head = ["cost per seed", "pre-train s", "learn s", "warm-up s", "CPU s", "steps", "rows seen",
            "peak MiB", *(["peak GPU MiB"] if used_card else []), "parameters"]  # fmt: skip
    lines = []
    for run in doc["runs"]:
        stages = [seed["stages"] for seed in run["seeds"]]
        mark = "c" if any(stage["cached"] for part in stages for stage in part) else ""
        # A seed that was continued has the peak of its last process beside those of its stages.
        parts = [part for seed in run["seeds"] for part in (seed, *seed["stages"])]
        peaks, on_card = (
            [part[name] for part in parts if name in part]
            for name in ("peak_memory_mb", "peak_gpu_memory_mb")
        )
        size = run["parameters"]
        lines.append([
            run["label"],
            _mean(total_of(part, "seconds", {"pretrain"}) for part in stages) + mark,
            _mean(total_of(part, "seconds", {"learn"}) for part in stages),
            _mean(total_of(part, "seconds", None, {"pretrain", "learn"}) for part in stages),
            _mean(total_of(part, "cpu_seconds") for part in stages),
            _mean((total_of(part, "steps") for part in stages), ",.0f"),
            _mean((total_of(part, "rows") for part in stages), ",.0f"),
            f"{max(peaks):,.0f}" if peaks else "-",
            *([f"{max(on_card):,.0f}" if on_card else "-"] if used_card else []),
            f"{size.get('backbone', 0):,} + {size.get('method', 0):,}",
        ])  # fmt: skip
    return _block(head, lines)


def cost_legend(doc: Document) -> list[str]:
    told = "parameters: backbone + method; peak MiB: the highest of all seeds, scoring included"
    return [told, *_cached(doc)]


def _mean(values: Iterable[float], form: str = ",.1f") -> str:
    known = list(values)
    return format(statistics.fmean(known), form) if known else "-"


def _starred(text: str, best: bool, sign: str) -> str:
    return text + ("*" if best else " ") + sign


def _bold(text: str, best: bool, sign: str) -> str:
    sign = sign.strip()
    return (f"**{text}**" if best else text) + (f" <sup>{sign}</sup>" if sign else "")


def _metric_block(
    doc: Document, whole: Comparison, metric: str, base: str | None, dress: Dress
) -> Block:
    """Header and one line per run.

    Args:
        dress: makes a cell of its text, whether it is the best, and the sign of a real gain: a
            blank where another cell of the table has the sign, '' where none has.
    """
    title = metric
    if metric in COMPARISONS:
        run = base_run(doc, base)
        title += f" over {run['label'] if run else base_name(doc)}"
    rows = summary(doc, [metric], base)
    top = best_of(rows)
    claims = whole.claims() if metric == "AUC" else {}
    real = {(label, phase) for (_, label, phase), found in claims.items() if found.real}

    def sign(row: Row) -> str:
        return (SIGN if (row.label, row.phase) in real else " ") * bool(real)

    cells = {
        (row.label, row.phase): dress(cell_text(row), (row.label, row.phase) in top, sign(row))
        for row in rows
    }
    names = [dress(name, False, " " * bool(real)) for name in doc["phases"]]
    lines = [
        [run["label"]] + [cells[run["label"], p] for p in doc["phases"]] for run in doc["runs"]
    ]
    return _block([title, *names], lines)


def _steps_block(doc: Document) -> Block:
    """Optimizer steps per stage and seconds in all, which show whether budgets were equal."""
    stages = [seed["stages"] for run in doc["runs"] for seed in run["seeds"]]
    names = list(dict.fromkeys(stage["name"] for part in stages for stage in part))
    lines = []
    for run in doc["runs"]:
        parts = [seed["stages"] for seed in run["seeds"]]
        lines.append([run["label"], *(_steps(parts, name) for name in names)])
        lines[-1] += [
            _mean(total_of(part, key) for part in parts) for key in ("seconds", "cpu_seconds")
        ]
    return _block(["optimizer steps", *names, "seconds", "CPU s"], lines)


def _steps(parts: Sequence[Sequence[Mapping[str, Any]]], name: str) -> str:
    """Steps of one stage: ``418``, ``418c`` from the cache, ``~418`` where seeds differ."""
    stages = [stage for part in parts for stage in part if stage["name"] == name]
    if not stages:
        return "-"
    differ = "~" if len({stage["steps"] for stage in stages}) > 1 else ""
    cached = "c" if any(stage["cached"] for stage in stages) else ""
    return differ + _mean((stage["steps"] for stage in stages), ",.0f") + cached


def _legend(doc: Document, whole: Comparison, metrics: Sequence[str], mark: str = "*") -> list[str]:
    told = []
    if len(doc["runs"]) > 1:
        told.append(f"{mark}: best of its column{best_where(metrics)}")
    if any(name in COMPARISONS for name in metrics):
        told.append("RelaImpr: (AUC - 0.5) / (AUC of the base - 0.5) - 1, seed by seed")
    if "AUC" in metrics and any(found.real for found in whole.claims().values()):
        told.append(rule(whole))
    told += interval_legend(whole)
    told += area_legend(area_block(whole, *_first(metrics)))
    told += [*error_legend(whole), *old_legend(whole)]
    return told + unadapted_lines(doc) + _cached(doc)


def _cached(doc: Document) -> list[str]:
    stages = [stage for run in doc["runs"] for seed in run["seeds"] for stage in seed["stages"]]
    if not any(stage["cached"] for stage in stages):
        return []
    return ["c: read from the cache; its steps were made earlier, its seconds are those of reading"]


def wrap(lines: Iterable[str], width: int) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)
    ]


def screen_lines(grid: Grid, width: int) -> list[str]:
    """Lines of aligned columns, the first to the left; columns beyond ``width`` go underneath."""
    longest = max(12, width // 3)
    grid = [[shorten(line[0], longest), *line[1:]] for line in grid]
    sizes = [max(len(line[c]) for line in grid) for c in range(len(grid[0]))]
    lines: list[str] = []
    first = 1
    while first < len(sizes):
        last, used = first, sizes[0]
        while last < len(sizes) and (last == first or used + 2 + sizes[last] <= width):
            used += 2 + sizes[last]
            last += 1
        for line in grid:
            cells = [line[c].rjust(sizes[c]) for c in range(first, last)]
            lines.append("  ".join([line[0].ljust(sizes[0]), *cells]).rstrip())
        first = last
    return lines


def screen_block(block: Block, width: int) -> list[str]:
    """Aligned lines with the backbones as headings, which no column makes room for."""
    grid, headings = [[block.title, *block.columns]], {}
    for backbone, rows in block.groups:
        if backbone:
            headings[len(grid)] = backbone
        grid += [["  " * bool(backbone) + row, *cells] for row, cells in rows]
    lines = []
    for number, line in enumerate(screen_lines(grid, width)):
        place = number % len(grid)  # columns that do not fit repeat all lines underneath
        if place in headings:
            lines.append(shorten(headings[place], width))
        lines.append(line)
    return lines


def pipes(block: Block) -> str:
    """A table in Markdown; backbone and method in columns of their own."""
    named = any(backbone for backbone, _ in block.groups)
    first = ["backbone", block.title] if named else [block.title]
    lines = ["| " + " | ".join(map(escape_pipes, [*first, *block.columns])) + " |"]
    lines.append("|" + " --- |" * len(first) + " ---: |" * len(block.columns))
    for backbone, rows in block.groups:
        for row, cells in rows:
            place = [backbone, row] if named else [row]
            lines.append("| " + " | ".join(map(escape_pipes, [*place, *cells])) + " |")
    return "\n".join(lines)


def listed(lines: Iterable[str]) -> str:
    """Points in Markdown; '' without any."""
    return "\n".join(f"- {escape_pipes(line)}" for line in lines)


def escape_pipes(text: str) -> str:
    return text.replace("|", "\\|")
