"""Results as a small table for notebooks."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_cold.report._statistics import Row, summary

_MOST_ROWS = 20


def html_of(title: str, documents: Sequence[Mapping[str, Any]]) -> str:
    """The first metric's means in every phase, a row per backbone and method."""
    phases = documents[0]["phases"]
    metric = next(iter(documents[0]["metrics"]), "")
    rows = []
    for document in documents:
        cells = {(r.label, r.phase): r for r in summary(document, [metric])}
        for run in document["runs"]:
            texts = [_cell(cells[run["label"], phase]) for phase in phases]
            backbone = str(document.get("backbone_label", run["backbone"]))
            rows.append([run["label"], backbone, *texts])
    return html_table(title, ["method", f"{metric} on", *phases], rows)


def _cell(row: Row) -> str:
    if not math.isfinite(row.mean):
        return "-"
    return f"{row.mean:.4f}" + (f" ± {row.std:.4f}" if math.isfinite(row.std) else "")


def html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A small table without scripts, styles from elsewhere or anything else from the network."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"

    shown = [line("td", row) for row in rows[:_MOST_ROWS]]
    left = len(rows) - len(shown)
    note = f"<p>and {left} more; see .frame() or .table()</p>" if left else ""
    return (
        f"<div><p>{html.escape(title)}</p><table><thead>{line('th', header)}</thead>"
        f"<tbody>{''.join(shown)}</tbody></table>{note}</div>"
    )
