"""A comparison as text: methods x backbones x phases for the screen, Markdown, LaTeX and CSV."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from recbole_cold.evaluation.metrics import COMPARISONS, best_where
from recbole_cold.evaluation.significance import FEWEST_FOR_WILCOXON
from recbole_cold.report._comparison import OWN_NETWORK, SIGNIFICANT, Cell, Comparison, Key
from recbole_cold.report._tables import WIDTH, cost_figures, escape_pipes, screen_lines, wrap
from recbole_cold.report._words import (
    cell_text,
    fact_lines,
    score_warnings_of,
    shorten,
    unadapted_lines,
)

MISSING = "missing"


class Block(NamedTuple):
    """One table: its title, the names of its columns, and lines under each backbone."""

    title: str
    columns: list[str]
    groups: list[tuple[str, list[tuple[str, list[str]]]]]


Style = Callable[[str, Cell], str]  # the text of a cell, dressed for a format


# ------------------------------------------------------------------------------- formats
def comparison_table(comparison: Comparison, width: int | None = None) -> str:
    """The comparison for a screen: every metric, the leaders, tests of the first metric, costs."""
    width = width or WIDTH
    first = comparison.metrics[:1]
    blocks = [_metric_block(comparison, metric, _starred) for metric in comparison.metrics]
    blocks += [_leader_block(comparison, metric) for metric in first if _many(comparison)]
    blocks += [_test_block(comparison, metric) for metric in first if comparison.against]
    blocks.append(_cost_block(comparison))
    parts = [wrap(_facts(comparison), width)]
    parts += [_screen(block, width) for block in blocks]
    parts.append(wrap([*_legend(comparison, "*", "_"), *_doubts(comparison)], width))
    return "\n\n".join("\n".join(part) for part in parts if part)


def comparison_markdown(comparison: Comparison) -> str:
    """The same in Markdown, best bold and second underlined, with the tests of every metric."""
    parts = ["\n".join(f"- {escape_pipes(fact)}" for fact in _facts(comparison))]
    parts += [_pipes(_metric_block(comparison, m, _html)) for m in comparison.metrics]
    if _many(comparison):
        parts += [_pipes(_leader_block(comparison, m)) for m in comparison.metrics[:1]]
    parts += [_pipes(_test_block(comparison, m)) for m in _tested(comparison)]
    parts.append(_pipes(_cost_block(comparison)))
    parts += [escape_pipes(line) for line in _legend(comparison, "bold", "underlined")]
    doubts = _doubts(comparison)
    if doubts:
        parts.append("\n".join(f"- {escape_pipes(line)}" for line in doubts))
    parts.append(f"```\n{comparison.document.get('command', '')}\n```")
    return "\n\n".join(parts) + "\n"


def comparison_latex(comparison: Comparison) -> str:
    """A booktabs table per metric and one of costs, to be read with ``\\input``."""
    head = "% needs \\usepackage{booktabs}\n" + "".join(
        f"% {line}\n" for line in [*_facts(comparison), *_doubts(comparison)]
    )
    legend = " ".join(
        latex_escape(line) + "." for line in _legend(comparison, "bold", "underlined")
    )
    blocks = [_metric_block(comparison, metric, _tex, _tex_name) for metric in comparison.metrics]
    blocks.append(_cost_block(comparison, _tex_name))
    facts = " ".join(latex_escape(fact) + "." for fact in _facts(comparison)[:2])
    tables = []
    for number, block in enumerate(blocks):
        caption = f"{latex_escape(block.title)}: {facts} {legend}" if number == 0 else None
        tables.append(_tabular(block, caption or latex_escape(block.title)))
    return head + "\n" + "\n".join(tables)


CSV_COLUMNS = (
    "dataset", "protocol", "backbone", "method", "phase", "metric", "mean", "std", "seeds",
    "seeds_wanted", "place", "against", "difference", "t", "p", "p_holm", "p_wilcoxon",
    "p_wilcoxon_holm", "matched_steps", "pretrain_seconds", "learn_seconds", "warm_seconds",
    "cpu_seconds", "steps_per_warm_phase", "parameters_backbone", "parameters_method",
)  # fmt: skip


def comparison_csv(comparison: Comparison) -> str:
    """One line per backbone, method, phase and metric, with all digits; what is unknown is empty.

    Cells that were asked for and are missing have a line without values.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for metric in comparison.metrics:
        cells = comparison.cells(metric)
        for backbone in comparison.backbones:
            for row in comparison.rows_of(backbone):
                costs = _csv_costs(comparison, backbone, row)
                for phase in comparison.phases:
                    cell = cells.get((backbone, row, phase))
                    place = {"backbone": backbone, "method": row, "phase": phase, "metric": metric}
                    values = {**place, **_csv_cell(comparison, cell), **costs}
                    writer.writerow({key: _blank_nan(value) for key, value in values.items()})
    return buffer.getvalue()


def _csv_cell(comparison: Comparison, cell: Cell | None) -> dict[str, Any]:
    doc = comparison.document["documents"][0]
    known: dict[str, Any] = {
        "dataset": doc["dataset"],
        "protocol": doc["protocol"],
        "seeds": 0,
        "seeds_wanted": len(comparison.seeds),
    }
    if cell is None:
        return known
    known |= {"mean": cell.row.mean, "std": cell.row.std, "seeds": cell.row.n}
    known |= {"place": cell.place or None, "against": comparison.against}
    if cell.test is not None:
        known |= {
            "difference": cell.test.difference,
            "t": cell.test.statistic,
            "p": cell.test.p_value,
            "p_holm": cell.p_holm,
            "p_wilcoxon": cell.wilcoxon,
            "p_wilcoxon_holm": cell.wilcoxon_holm,
        }
    return known


def _csv_costs(comparison: Comparison, backbone: str, row: str) -> dict[str, Any]:
    run = comparison.run(backbone, row)
    if run is None:
        return {}
    costs = cost_figures(run)
    return {
        "matched_steps": run.get("matched_steps"),
        "pretrain_seconds": costs["pretrain"],
        "learn_seconds": costs["learn"],
        "warm_seconds": costs["warm"],
        "cpu_seconds": costs["cpu"],
        "steps_per_warm_phase": costs["phase_steps"],
        "parameters_backbone": run["parameters"].get("backbone"),
        "parameters_method": run["parameters"].get("method"),
    }


def _blank_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


# ------------------------------------------------------------------------------- blocks
def _metric_block(
    comparison: Comparison, metric: str, style: Style, name: Callable[[str], str] = str
) -> Block:
    cells, wanted = comparison.cells(metric), len(comparison.seeds)
    title = f"{metric} over {comparison.against}" if metric in COMPARISONS else metric

    def text(backbone: str, row: str, phase: str) -> str:
        cell = cells.get((backbone, row, phase))
        if cell is None:
            return MISSING if comparison.run(backbone, row) is None else "-"
        fewer = f" (n={cell.row.n})" if cell.row.n < wanted else ""
        return style(cell_text(cell.row) + fewer, cell)

    groups = [
        (
            name(b),
            [(name(r), [text(b, r, p) for p in comparison.phases]) for r in comparison.rows_of(b)],
        )
        for b in comparison.backbones
    ]
    return Block(title, [name(phase) for phase in comparison.phases], groups)


def _leader_block(comparison: Comparison, metric: str) -> Block:
    """Rows from the best mean place to the worst."""
    found = comparison.leaders(metric)
    found.sort(key=lambda leader: (math.isnan(leader[2]), leader[2]))
    lines = []
    for row, means, place, firsts in found:
        texts = [_number(means[phase], ".4f") for phase in comparison.phases]
        lines.append((row, [*texts, _number(place, ".2f"), str(firsts)]))
    count = sum(backbone != OWN_NETWORK for backbone in comparison.backbones)
    title = f"{metric}, mean of {count} backbones"
    return Block(title, [*comparison.phases, "mean place", "times first"], [("", lines)])


def _test_block(comparison: Comparison, metric: str) -> Block:
    cells = comparison.cells(metric)
    telling = _ranks_tell(cells)

    def text(backbone: str, row: str, phase: str) -> str:
        cell = cells.get((backbone, row, phase))
        if cell is None or cell.test is None or not cell.test.n:
            return "-"
        ranks = f" W {_p(cell.wilcoxon_holm)}" if telling else ""
        return f"{cell.test.difference:+.4f} p {_p(cell.p_holm)}{ranks}"

    groups = [
        (b, [(r, [text(b, r, p) for p in comparison.phases]) for r in rows])
        for b in comparison.backbones
        if b != OWN_NETWORK
        and (rows := [row for row in comparison.rows_of(b) if row != comparison.against])
    ]
    return Block(f"{metric} minus {comparison.against}", list(comparison.phases), groups)


def _cost_block(comparison: Comparison, name: Callable[[str], str] = str) -> Block:
    """Costs of each method beside pre-training, also as a multiple of the row compared with."""
    columns = ["pre-train s", "learn s", "warm-up s", "CPU s", "steps a phase", "parameters"]
    if comparison.against is not None:
        columns.insert(3, f"times {comparison.against}")
    groups = []
    for backbone in comparison.backbones:
        lines = [
            (name(row), _cost_texts(comparison, backbone, row, len(columns)))
            for row in comparison.rows_of(backbone)
        ]
        groups.append((name(backbone), lines))
    return Block("cost per seed", [name(column) for column in columns], groups)


def _cost_texts(comparison: Comparison, backbone: str, row: str, columns: int) -> list[str]:
    run = comparison.run(backbone, row)
    if run is None:
        return [MISSING] + ["-"] * (columns - 1)
    costs = cost_figures(run)
    cached = "c" if any(s["cached"] for seed in run["seeds"] for s in seed["stages"]) else ""
    texts = [
        _number(costs["pretrain"], ",.1f") + cached,
        _number(costs["learn"], ",.1f"),
        _number(costs["warm"], ",.1f"),
        _number(costs["cpu"], ",.1f"),
        _number(costs["phase_steps"], ",.0f"),
        f"{run['parameters'].get('backbone', 0):,} + {run['parameters'].get('method', 0):,}",
    ]
    if comparison.against is not None:
        base = comparison.run(backbone, comparison.against)
        least = math.nan
        if base is not None:
            spent = cost_figures(base)
            least = spent["learn"] + spent["warm"]
        ours = costs["learn"] + costs["warm"]
        texts.insert(3, _number(ours / least if least > 0 else math.nan, ",.1f"))
    return texts


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


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
    return fact_lines(_merged(comparison))


def _doubts(comparison: Comparison) -> list[str]:
    """Notes on missing and failed results, and warnings about scores."""
    lines = [f"missing: {line}" for line in comparison.missing()]
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
    told += _legend_of_tests(comparison)
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
        f"+ and -: better and worse than {against} with p < {SIGNIFICANT}; p: paired t-test over "
        f"seeds, corrected by Holm over the {max(counts)} tests of a metric's table"
    ]
    tables = [comparison.cells(metric) for metric in _tested(comparison)]
    if any(_ranks_tell(cells) for cells in tables):
        told[0] += "; W: Wilcoxon's signed-rank test, corrected likewise"
    elif any(not math.isnan(c.wilcoxon) for cells in tables for c in cells.values()):
        told[0] += "; Wilcoxon's signed-rank test, corrected likewise, finds nothing (p 1.000)"
    else:
        told[0] += f"; Wilcoxon's test needs {FEWEST_FOR_WILCOXON} seeds"
    return told


def _ranks_tell(cells: Mapping[Key, Cell]) -> bool:
    """Whether any corrected p of Wilcoxon's test is below one: few seeds and many tests give 1."""
    return any(cell.wilcoxon_holm < 1 for cell in cells.values())


# ------------------------------------------------------------------------------- dress
def _starred(text: str, cell: Cell) -> str:
    """A cell with its marks in fixed columns, so that numbers stay aligned."""
    return text + " *_"[(0, 1, 2)[cell.place]] + (cell.verdict or " ")


def _html(text: str, cell: Cell) -> str:
    dressed = {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(cell.place, text)
    return dressed + (f" <sup>{cell.verdict}</sup>" if cell.verdict else "")


def _tex(text: str, cell: Cell) -> str:
    plain = latex_escape(text)
    dressed = {1: f"\\textbf{{{plain}}}", 2: f"\\underline{{{plain}}}"}.get(cell.place, plain)
    return dressed + (f"$^{{{cell.verdict}}}$" if cell.verdict else "")


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


def _screen(block: Block, width: int) -> list[str]:
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


def _pipes(block: Block) -> str:
    """Backbone and method in columns of their own."""
    named = any(backbone for backbone, _ in block.groups)
    first = ["backbone", block.title] if named else [block.title]
    lines = ["| " + " | ".join(map(escape_pipes, [*first, *block.columns])) + " |"]
    lines.append("|" + " --- |" * len(first) + " ---: |" * len(block.columns))
    for backbone, rows in block.groups:
        for row, cells in rows:
            place = [backbone, row] if named else [row]
            lines.append("| " + " | ".join(map(escape_pipes, [*place, *cells])) + " |")
    return "\n".join(lines)
