"""A reproduced table or figure as text: ours, the published numbers, and their differences.

A reproduction (schema 1) is a plain mapping: what was reproduced on which data, the sentences that
its marks stand for, and rows with a cell per metric and phase. ``reproduce.json`` holds it.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.report._comparison_blocks import AUC_ERROR
from recbole_cold.report._document import SCHEMA
from recbole_cold.report._paper_figures import Batches, Drawn, Panel, Series
from recbole_cold.report._tables import WIDTH, escape_pipes, screen_lines, wrap

Reproduction = Mapping[str, Any]

NOT_AT_HAND = "published number not at hand"


def load_reproduction(path: str | Path) -> dict[str, Any]:
    """The reproduction at ``path``, a file or its folder.

    Raises:
        UserError: the file is missing or is no reproduction.
    """
    path = Path(path)
    path = path / "reproduce.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' cannot be read ({error}); reproduce again.") from error
    if not isinstance(document, dict) or not {"rows", "marks", "phases"} <= document.keys():
        raise UserError(f"'{path}' is no reproduction of this program.")
    if document.get("schema") != SCHEMA:
        raise UserError(f"'{path}' is of another version of this program; reproduce again.")
    return document


# ------------------------------------------------------------------------------- formats
def reproduction_table(doc: Reproduction, width: int | None = None) -> str:
    """The reproduction for a screen: ours, the published numbers and differences, line by line."""
    width = width or WIDTH
    parts = [wrap(_facts(doc), width)]
    for metric in doc["metrics"]:
        for block, rows in _blocks(doc, metric):
            grid = [[f"{metric}  {block}".strip(), *doc["phases"]]]
            for row in rows:
                for words, texts in _lines(doc, row, metric):
                    blank = [""] * len(doc["phases"])
                    grid.append([words, *(texts or blank)])
            parts.append(screen_lines(grid, width))
    parts.append(wrap([*_legend(doc), *_left_out(doc)], width))
    return "\n\n".join("\n".join(part) for part in parts if part)


def reproduction_markdown(doc: Reproduction) -> str:
    """The same in Markdown."""
    parts = ["# " + escape_pipes(doc["title"])]
    parts.append("\n".join(f"- {escape_pipes(fact)}" for fact in _facts(doc)[1:]))
    for metric in doc["metrics"]:
        for block, rows in _blocks(doc, metric):
            head = [f"{metric}, {block}" if block else metric, *doc["phases"]]
            lines = ["| " + " | ".join(map(escape_pipes, head)) + " |"]
            lines.append("| --- |" + " ---: |" * len(doc["phases"]))
            for row in rows:
                for words, texts in _lines(doc, row, metric):
                    cells = [words.strip(), *(texts or [""] * len(doc["phases"]))]
                    lines.append("| " + " | ".join(map(escape_pipes, cells)) + " |")
            parts.append("\n".join(lines))
    told = [*_legend(doc), *_left_out(doc)]
    parts.append("\n".join(f"- {escape_pipes(line.strip())}" for line in told))
    parts.append(f"```\n{doc.get('command', '')}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


REPRODUCTION_COLUMNS = (
    "paper", "item", "dataset", "block", "row", "model", "backbone", "phase", "metric", "ours",
    "std", "error", "seeds", "published", "published_std", "published_seeds", "difference", "marks",
    "not_run",
)  # fmt: skip


def reproduction_csv(doc: Reproduction) -> str:
    """A line per row, phase and metric, with all digits; what is unknown is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, REPRODUCTION_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in doc["rows"]:
        for metric in doc["metrics"]:
            for phase in doc["phases"]:
                cell = cell_of(row, metric, phase)
                writer.writerow({
                    "paper": doc["paper"]["short"], "item": doc["item"],
                    "dataset": doc["dataset"], "block": row["block"], "row": row["name"],
                    "model": row["model"], "backbone": row["backbone"], "phase": phase,
                    "metric": metric, "ours": cell.get("ours"), "std": cell.get("std"),
                    "error": cell.get("error"), "seeds": cell.get("seeds"),
                    "published": cell.get("published"),
                    "published_std": cell.get("published_std"),
                    "published_seeds": doc["published_seeds"],
                    "difference": cell.get("difference"), "marks": marks_of(doc, row),
                    "not_run": row.get("absent"),
                })  # fmt: skip
    return buffer.getvalue()


# ------------------------------------------------------------------------------- cells
def cell_of(row: Mapping[str, Any], metric: str, phase: str) -> Mapping[str, Any]:
    """The figures of a row in one place; empty where there are none."""
    return row["cells"].get(metric, {}).get(phase, {})


def marks_of(doc: Reproduction, row: Mapping[str, Any]) -> str:
    """The letters of what stands between a row and the published one: those of all rows, and
    ``v`` where the paper leaves something open about it."""
    return "".join(sorted({*doc["marks"]} - {"v"})) + ("v" if row.get("doubt") else "")


def drawn_of(
    doc: Reproduction,
    metric: str | None = None,
    batches: Batches | None = None,
) -> Drawn:
    """What a form draws of a reproduction: a panel per block.

    Args:
        batches: the metric on batches of rows, by block and name of a row.
    """
    metric = metric or doc["metrics"][0]

    def series(row: Mapping[str, Any]) -> Series:
        figures = [cell_of(row, metric, phase) for phase in doc["phases"]]
        ours, std, theirs = (
            [_nan(cell.get(key)) for cell in figures] for key in ("ours", "std", "published")
        )
        own = batches.values.get((row["block"], row["name"])) if batches is not None else None
        return Series(row["name"], ours, std, theirs, row.get("at"), own)

    panels = [
        Panel(block, [series(row) for row in rows if not row.get("absent")])
        for block, rows in _blocks(doc, metric)
    ]
    told = f"{doc['called']}; protocol {doc['protocol']}"
    told += "; NOT COMPARABLE: a fast run" if doc["fast"] else ""
    sizes = batches.sizes if batches is not None else ()
    return Drawn(doc["title"], told, _seeds(doc), metric, doc["phases"], panels, sizes)


def _nan(value: Any) -> float:
    return math.nan if value is None else float(value)


def _blocks(doc: Reproduction, metric: str) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Headings with the rows under them that are run; several rows may share a heading."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in doc["rows"]:
        if not row.get("absent") or _has(row, metric, "published"):
            found.setdefault(row["block"], []).append(row)
    return list(found.items())


def _has(row: Mapping[str, Any], metric: str, key: str) -> bool:
    return any(cell.get(key) is not None for cell in row["cells"].get(metric, {}).values())


def _lines(
    doc: Reproduction, row: Mapping[str, Any], metric: str
) -> Iterator[tuple[str, list[str]]]:
    """The lines of a row: ours with marks, theirs, the difference; no texts where all are blank."""
    cells = [cell_of(row, metric, phase) for phase in doc["phases"]]
    marks = marks_of(doc, row)
    name = row["name"] + (f" ({marks})" if marks and not row.get("extra") else "")
    if row.get("absent"):
        yield f"{row['name']}: not run", []
    else:
        yield name, [_number(cell, "ours", "std") for cell in cells]
        if any(cell.get("error") is not None for cell in cells):
            yield "  standard error", [_number(cell, "error", None) for cell in cells]
    if row.get("extra") or "d" in doc["marks"]:
        return
    if not _has(row, metric, "published"):
        yield f"  {NOT_AT_HAND}", []
        return
    yield "  published", [_number(cell, "published", "published_std") for cell in cells]
    if _has(row, metric, "difference"):
        yield "  difference", [_number(cell, "difference", None, "+.4f") for cell in cells]


def _number(cell: Mapping[str, Any], key: str, spread: str | None, form: str = ".4f") -> str:
    value, std = cell.get(key), cell.get(spread) if spread else None
    if value is None:
        return "-"
    return (
        f"{value:{form}}"
        + (f" ± {std:.4f}" if std is not None else "")
        + ("u" if key == "ours" and cell.get("unadapted") else "")
    )


# ------------------------------------------------------------------------------- words
def _facts(doc: Reproduction) -> list[str]:
    paper = doc["paper"]
    links = [f"doi {paper['doi']}"] if paper.get("doi") else []
    links += [f"arXiv {paper['arxiv']}"] if paper.get("arxiv") else []
    ours = f"ours on {doc['called']}, protocol {doc['protocol']}, {_seeds(doc)}"
    facts = [doc["title"], f"{paper['title']} ({', '.join(links)})", doc["shows"], ours]
    if doc["fast"]:
        told = ", ".join(f"{key}: {value}" for key, value in doc["fast"].items())
        facts.append(f"FAST RUN, NOT COMPARABLE with the paper: {told}")
    if doc["counts"]:
        counts = ", ".join(f"{name} {rows:,}" for name, rows in doc["counts"].items())
        facts.append(f"split: {counts}")
    return facts


def _seeds(doc: Reproduction) -> str:
    count = len(doc["seeds"])
    return "1 seed" if count == 1 else f"mean ± sample std over {count} seeds"


def _legend(doc: Reproduction) -> list[str]:
    """What the marks say, what the paper leaves open, and notes of the file."""
    lines = [f"({mark}) {told}" for mark, told in sorted(doc["marks"].items())]
    doubts = [f"{row['name']}: {row['doubt']}" for row in doc["rows"] if row.get("doubt")]
    lines += [f"    {each}" for each in dict.fromkeys(doubts)]
    unadapted = any(
        cell.get("unadapted")
        for row in doc["rows"]
        for by_phase in row["cells"].values()
        for cell in by_phase.values()
    )
    lines += ["u: unadapted: few-shot learners have nothing to learn from yet"] * unadapted
    lines += [AUC_ERROR] * any(_has(row, "AUC", "error") for row in doc["rows"])
    return [*lines, *(f"note: {note}" for note in doc["notes"])]


def _left_out(doc: Reproduction) -> list[str]:
    """Rows of the paper without a method here, and what failed or is not done."""
    absent: dict[str, list[str]] = {}
    for row in doc["rows"]:
        if row.get("absent"):
            absent.setdefault(row["absent"], []).append(row["name"])
    lines = [f"not run: {', '.join(dict.fromkeys(names))}: {why}" for why, names in absent.items()]
    return [*lines, *_unfinished(doc["rows"])]


def _unfinished(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"missing: {row['name']} ({row['missing']})" for row in rows if row.get("missing")]
