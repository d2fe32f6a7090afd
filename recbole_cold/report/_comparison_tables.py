"""A comparison as text: methods x backbones x phases for the screen, Markdown and LaTeX."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from recbole_cold.evaluation.metrics import COMPARISONS, best_where
from recbole_cold.evaluation.significance import FEWEST_FOR_WILCOXON
from recbole_cold.report._budget import budget_lines, budget_markdown
from recbole_cold.report._comparison import OWN_NETWORK, Cell, Comparison
from recbole_cold.report._comparison_blocks import (
    Block,
    area_block,
    area_legend,
    cost_block,
    count_block,
    error_block,
    error_legend,
    interval_blocks,
    interval_legend,
    leader_block,
    metric_block,
    old_block,
    old_legend,
    ranks_tell,
    test_block,
)
from recbole_cold.report._findings import findings, headline, rule
from recbole_cold.report._references import missing_references
from recbole_cold.report._tables import (
    WIDTH,
    Parts,
    escape_pipes,
    listed,
    pipes,
    screen_block,
    wrap,
)
from recbole_cold.report._words import (
    fact_lines,
    score_warnings_of,
    unadapted_lines,
)


# ------------------------------------------------------------------------------- formats
def comparison_table(comparison: Comparison, width: int | None = None) -> str:
    """The comparison for a screen: what it says, every metric, tests of the first, costs."""
    width = width or WIDTH
    found = comparison_parts(comparison, width)
    parts = [found.says, wrap(found.facts, width)]
    parts += [screen_block(block, width) for block in found.blocks]
    parts.append(budget_lines(comparison.document, width))
    parts.append(wrap([*found.legend, *found.doubts], width))
    return "\n\n".join("\n".join(part) for part in parts if part)


def comparison_parts(comparison: Comparison, width: int = WIDTH) -> Parts:
    """What :func:`comparison_table` shows beside a budget."""
    first = comparison.metrics[:1]
    blocks = [metric_block(comparison, metric, _starred) for metric in comparison.metrics]
    blocks += [leader_block(comparison, metric) for metric in first if _many(comparison)]
    blocks += [test_block(comparison, metric) for metric in first if comparison.against]
    blocks += interval_blocks(comparison)[:1]
    blocks += [*error_block(comparison), *area_block(comparison, *first), *old_block(comparison)]
    return Parts(
        headline(comparison, width),
        _facts(comparison),
        [*blocks, cost_block(comparison)],
        _legend(comparison, "*", "_"),
        _doubts(comparison),
    )


def comparison_markdown(comparison: Comparison) -> str:
    """The same in Markdown, best bold and second underlined, with the tests of every metric."""
    found = comparison_markdown_parts(comparison)
    parts = [*found.says, listed(found.facts), *map(pipes, found.blocks)]
    parts += budget_markdown(comparison.document)
    parts += [*map(escape_pipes, found.legend), listed(found.doubts)]
    parts.append(f"```\n{comparison.document.get('command', '')}\n```")
    return "\n\n".join(filter(None, parts)) + "\n"


def comparison_markdown_parts(comparison: Comparison) -> Parts:
    """What :func:`comparison_markdown` shows beside a budget."""
    first = comparison.metrics[:1]
    blocks = [metric_block(comparison, metric, _html) for metric in comparison.metrics]
    blocks += [leader_block(comparison, metric) for metric in first if _many(comparison)]
    blocks += interval_blocks(comparison)
    blocks += [test_block(comparison, metric) for metric in _tested(comparison)]
    blocks += [*error_block(comparison), *area_block(comparison, *first)]
    blocks += [*count_block(comparison), *old_block(comparison), cost_block(comparison)]
    return Parts(
        [escape_pipes(findings(comparison))],
        _facts(comparison),
        blocks,
        _legend(comparison, "bold", "underlined"),
        _doubts(comparison),
    )


def comparison_latex(comparison: Comparison) -> str:
    """Booktabs tables, for ``\\input``: metrics, differences of the first one, costs."""
    head = "% needs \\usepackage{booktabs}\n" + "".join(
        f"% {line}\n" for line in [*_facts(comparison), *_doubts(comparison)]
    )
    legend = " ".join(
        latex_escape(line) + "." for line in _legend(comparison, "bold", "underlined")
    )
    blocks = [metric_block(comparison, metric, _tex, _tex_name) for metric in comparison.metrics]
    tested = [test_block(comparison, m) for m in comparison.metrics[:1] if comparison.against]
    blocks += [_tex_block(block) for block in [*tested, *interval_blocks(comparison)[:1]]]
    blocks.append(cost_block(comparison, _tex_name))
    facts = " ".join(latex_escape(fact) + "." for fact in _facts(comparison)[:2])
    tables = []
    for number, block in enumerate(blocks):
        caption = f"{latex_escape(block.title)}: {facts} {legend}" if number == 0 else None
        tables.append(_tabular(block, caption or latex_escape(block.title)))
    return head + "\n" + "\n".join(tables)


def _tex_block(block: Block) -> Block:
    """A table of plain texts, escaped."""
    groups = [
        (latex_escape(b), [(latex_escape(r), [*map(latex_escape, cells)]) for r, cells in rows])
        for b, rows in block.groups
    ]
    return Block(block.title, [*map(latex_escape, block.columns)], groups)


# ------------------------------------------------------------------------------- words
def _many(comparison: Comparison) -> bool:
    return len(comparison.backbones) > 1 and len(comparison.rows) > 1


def _tested(comparison: Comparison) -> list[str]:
    if comparison.against is None:
        return []
    return [metric for metric in comparison.metrics if metric not in COMPARISONS]


def _merged(comparison: Comparison) -> dict[str, Any]:
    """All backbones as one document, for notes that concern all of them."""
    runs = [
        {**run, "backbone": backbone, "label": f"{backbone}, {run['label']}"}
        for backbone, doc in comparison.by_backbone.items()
        for run in doc["runs"]
    ]
    return {**next(iter(comparison.by_backbone.values())), "runs": runs}


def _facts(comparison: Comparison) -> list[str]:
    """Facts of the whole table; methods on no backbone are held against the rows beside them."""
    groups = [doc for name, doc in comparison.by_backbone.items() if name != OWN_NETWORK]
    groups = groups or list(comparison.by_backbone.values())
    missing = dict.fromkeys(label for doc in groups for label in missing_references(doc))
    return fact_lines(_merged(comparison), list(missing))


def _doubts(comparison: Comparison) -> list[str]:
    """Notes on missing and failed results, and warnings about scores."""
    left_out = comparison.document.get("metrics_left_out", [])
    lines = [f"left out, for not every result has it: {', '.join(left_out)}"] * bool(left_out)
    lines += [f"missing: {line}" for line in comparison.missing()]
    for failure in comparison.document.get("failures", []):
        what = f"{failure['row']} on {failure['backbone']}, seed {failure['seed']}"
        last = failure["error"].strip().splitlines() or ["unknown"]
        lines.append(f"failed: {what}: {last[-1]}")
    return lines + [f"warning: {text}" for text in score_warnings_of(_merged(comparison))]


def _legend(comparison: Comparison, best: str, second: str) -> list[str]:
    told = []
    if len(comparison.rows) > 1:
        told.append(
            f"{best}: best of its backbone and phase, {second}: second"
            + best_where(comparison.metrics)
        )
    told += [rule(comparison)] if any(c.real for c in comparison.claims().values()) else []
    told += _legend_of_tests(comparison)
    told += interval_legend(comparison)
    told += area_legend(area_block(comparison, *comparison.metrics[:1]))
    told += [*error_legend(comparison), *old_legend(comparison)]
    told += unadapted_lines(_merged(comparison))
    if "RelaImpr" in comparison.metrics:
        told.append(
            f"RelaImpr: (AUC - 0.5) / (AUC of {comparison.against} - 0.5) - 1, seed by seed"
        )
    stages = [s for run in comparison.runs() for seed in run["seeds"] for s in seed["stages"]]
    read = "; c: pre-trained backbone read from the cache"
    told.append(
        "costs: seconds of one seed; times: learn and warm-up seconds relative to the named row; "
        "parameters: backbone + method" + (read if any(s["cached"] for s in stages) else "")
    )
    return told


def _legend_of_tests(comparison: Comparison) -> list[str]:
    against = comparison.against
    if against is None:
        return ["no tests: 'Base' is not in this table; name a row with --against"]
    counts = []
    for metric in _tested(comparison):
        cells = comparison.cells(metric).values()
        counts.append(sum(c.test is not None and not math.isnan(c.test.p_value) for c in cells))
    if not any(counts):
        return [f"p -: a test against {against} needs two seeds or more that both rows have"]
    told = [
        f"minus {against}: mean difference ± half its 95 % interval over seeds (Student's t); p: "
        f"paired t-test, corrected by Holm over the {max(counts)} tests of a metric's table"
    ]
    tables = [comparison.cells(metric) for metric in _tested(comparison)]
    if not comparison.wilcoxon:
        return told
    if any(ranks_tell(cells) for cells in tables):
        told[0] += "; W: Wilcoxon's signed-rank test, corrected likewise"
    elif any(not math.isnan(c.wilcoxon) for cells in tables for c in cells.values()):
        told[0] += "; Wilcoxon's signed-rank test, corrected likewise, finds nothing (p 1.000)"
    else:
        told[0] += f"; Wilcoxon's test needs {FEWEST_FOR_WILCOXON} seeds"
    return told


# ------------------------------------------------------------------------------- dress
def _starred(text: str, cell: Cell) -> str:
    """A cell with its marks in fixed columns, so that numbers stay aligned."""
    return text + " *_"[(0, 1, 2)[cell.place]] + (cell.sign or " ")


def _html(text: str, cell: Cell) -> str:
    dressed = {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(cell.place, text)
    return dressed + (f" <sup>{cell.sign}</sup>" if cell.sign else "")


def _tex(text: str, cell: Cell) -> str:
    plain = latex_escape(text)
    dressed = {1: f"\\textbf{{{plain}}}", 2: f"\\underline{{{plain}}}"}.get(cell.place, plain)
    return dressed + (f"$^{{{cell.sign}}}$" if cell.sign else "")


def _tex_name(text: str) -> str:
    return latex_escape(text)


_TEX = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "_": "\\_", "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}", "#": "\\#", "$": "\\$", "%": "\\%", "&": "\\&", "±": "$\\pm$",
    "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", '"': "\\textquotedbl{}",
    # A bracket after a line's end would be read as that line's extra space.
    "[": "{[}", "]": "{]}",
}  # fmt: skip


def latex_escape(text: str) -> str:
    """``text`` so that LaTeX prints it as it is."""
    return "".join(_TEX.get(letter, letter) for letter in text)


def _tabular(block: Block, caption: str) -> str:
    names = " & ".join([latex_escape(block.title), *block.columns])
    lines = [
        "\\begin{table}[t]",
        "\\centering\\small",
        f"\\caption{{{caption}}}",
        f"\\begin{{tabular}}{{l{'r' * len(block.columns)}}}",
        "\\toprule",
        f"{names} \\\\",
    ]
    for backbone, rows in block.groups:
        lines.append("\\midrule")
        lines.append(
            f"\\multicolumn{{{len(block.columns) + 1}}}{{l}}{{\\textit{{{backbone}}}}} \\\\"
        )
        # Cells need no escapes: only those that were formatted here hold LaTeX commands.
        lines += [" & ".join([row, *_dashes(cells)]) + " \\\\" for row, cells in rows]
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}", ""]
    return "\n".join(lines)


def _dashes(cells: Iterable[str]) -> Iterator[str]:
    for cell in cells:
        yield "--" if cell == "-" else cell
