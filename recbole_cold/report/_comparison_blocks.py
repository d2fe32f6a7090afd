"""The tables of a comparison as values: names of rows and columns, and the texts of cells."""

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from recbole_cold.evaluation.metrics import COMPARISONS
from recbole_cold.report._comparison import ITEM_BIAS, MATCHED, OWN_NETWORK, Cell, Comparison, Key
from recbole_cold.report._intervals import widest
from recbole_cold.report._statistics import cost_figures
from recbole_cold.report._warm_up_area import warm_up
from recbole_cold.report._words import cell_text

MISSING = "missing"


class Block(NamedTuple):
    """One table: its title, the names of its columns, and lines under each backbone."""

    title: str
    columns: list[str]
    groups: list[tuple[str, list[tuple[str, list[str]]]]]


Style = Callable[[str, Cell], str]  # the text of a cell, dressed for a format


def metric_block(
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


def leader_block(comparison: Comparison, metric: str) -> Block:
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


def test_block(comparison: Comparison, metric: str) -> Block:
    """Differences to the named row over seeds: mean, half the 95 % interval, corrected p."""
    cells = comparison.cells(metric)
    telling = ranks_tell(cells)

    def text(backbone: str, row: str, phase: str) -> str:
        cell = cells.get((backbone, row, phase))
        if cell is None or cell.test is None or not cell.test.n:
            return "-"
        half = "" if math.isnan(cell.test.half) else f" ± {_short(cell.test.half)}"
        ranks = f" W {_p(cell.wilcoxon_holm)}" if telling else ""
        return f"{_short(cell.test.difference, '+')}{half} p {_p(cell.p_holm)}{ranks}"

    groups = [
        (b, [(r, [text(b, r, p) for p in comparison.phases]) for r in rows])
        for b in comparison.backbones
        if b != OWN_NETWORK
        and (rows := [row for row in comparison.rows_of(b) if row != comparison.against])
    ]
    return Block(f"{metric} minus {comparison.against}", list(comparison.phases), groups)


def ranks_tell(cells: Mapping[Key, Cell]) -> bool:
    """Whether any corrected p of Wilcoxon's test is below one: few seeds and many tests give 1."""
    return any(cell.wilcoxon_holm < 1 for cell in cells.values())


def interval_blocks(comparison: Comparison) -> list[Block]:
    """Differences with intervals over items or users: AUC to each reference row, then WithinAUC.

    The hardest yardstick comes first; without any interval there is no block.
    """
    if not comparison.has_intervals:
        return []
    names = (ITEM_BIAS, MATCHED, "Base")
    blocks = [_interval_block(comparison, "AUC", name) for name in names]
    blocks += [_interval_block(comparison, "WithinAUC", name) for name in (ITEM_BIAS, "Base")]
    return [block for block in blocks if block.groups]


def _interval_block(comparison: Comparison, metric: str, name: str) -> Block:
    def text(backbone: str, row: str, phase: str, against: str) -> str:
        known = widest(comparison.intervals((backbone, row, phase), against, metric))
        if known is None:
            return "-"
        low, high = _short(known.low, "+"), _short(known.high, "+")
        return f"{_short(known.difference, '+')} [{low} {high}]"

    groups = []
    for backbone in comparison.backbones:
        against = comparison.references(backbone).get(name)
        lines = [
            (row, [text(backbone, row, phase, against or "") for phase in comparison.phases])
            for row in comparison.rows_of(backbone)
            if row != against
        ]
        if any(cell != "-" for _, cells in lines for cell in cells):
            groups.append((backbone, lines))
    return Block(f"{metric} minus {name}, 95 %", list(comparison.phases), groups)


def interval_legend(comparison: Comparison) -> list[str]:
    if not comparison.has_intervals:
        return []
    return [
        "[ ]: 95 % interval of the mean difference, had other items or other users been drawn; the "
        "wider of the two"
    ]


REACH = "rows to reach ItemBias"


def area_block(comparison: Comparison, metric: str = "") -> list[Block]:
    """The figures over all phases; nothing where the rows seen in a phase are not known."""
    found = warm_up(comparison, metric)
    if not found:
        return []
    reaching = any(not math.isnan(known.reach) for known in found.values())

    def texts(backbone: str, row: str) -> list[str]:
        if (backbone, row) not in found:
            return ["-"] * (2 + reaching)
        known = found[backbone, row]
        spread = "" if math.isnan(known.area_std) else f" ± {known.area_std:.4f}"
        reach = "never" if math.isinf(known.reach) else _number(known.reach, ",.1f")
        return [f"{known.area:.4f}{spread}", f"{known.log_area:.4f}", *[reach] * reaching]

    groups = [
        (b, [(row, texts(b, row)) for row in comparison.rows_of(b)]) for b in comparison.backbones
    ]
    return [Block(f"{metric}, warm-up", ["mean", "log2", *[REACH] * reaching], groups)]


def area_legend(blocks: list[Block]) -> list[str]:
    if not blocks:
        return []
    told = (
        "warm-up: mean of the metric over the rows seen of a new item, none to all; log2: the same "
        "over log2(1 + rows), first rows weigh more"
    )
    reach = f"; {REACH}: until a row is as good as ItemBias in the last phase"
    return [told + reach * (REACH in blocks[0].columns)]


def count_block(comparison: Comparison) -> list[Block]:
    """PCOC of rare and of frequent items, where PCOC was asked for; means over the seeds."""
    first: Mapping[str, Any] = {}
    groups = []
    for backbone in comparison.backbones:
        lines = []
        for row in comparison.rows_of(backbone):
            run = comparison.run(backbone, row) or {"seeds": []}
            cells = []
            for phase in comparison.phases:
                known = [
                    seed["phases"][phase]["groups"]["PCOC"]
                    for seed in run["seeds"]
                    if "PCOC" in seed["phases"].get(phase, {}).get("groups", {})
                ]
                first = first or next(iter(known), {})
                cells.append(_by_count(known))
            lines.append((row, cells))
        groups.append((backbone, lines))
    if not first:
        return []
    ranges = [f"{a}-{b}" for a, b in zip(first["least"], first["most"], strict=True)]
    title = f"PCOC, {comparison.unit}s with {', '.join(ranges)} scored rows"
    return [Block(title, list(comparison.phases), groups)]


def _by_count(known: list[Mapping[str, Any]]) -> str:
    """ "1.31 1.10 1.02 0.98": a mean per part, rare items first."""
    size = max((len(each["value"]) for each in known), default=0)
    texts = []
    for part in range(size):
        values = [each["value"][part] for each in known if len(each["value"]) == size]
        texts.append(_mean_text([value for value in values if value is not None]))
    return " ".join(texts) or "-"


def _mean_text(values: list[float], form: str = ".2f") -> str:
    finite = [value for value in values if math.isfinite(value)]
    return format(statistics.fmean(finite), form) if finite else "-"


def error_block(comparison: Comparison) -> list[Block]:
    """The standard error of one seed's AUC, means over the seeds; of sessions alone, whose scored
    rows are few and of different users."""
    if "AUC" not in comparison.metrics or comparison.split.get("rule") != "sessions":
        return []

    def text(backbone: str, row: str, phase: str) -> str:
        return _mean_text([comparison.auc_error((backbone, row, phase))], ".4f")

    groups = [
        (b, [(r, [text(b, r, p) for p in comparison.phases]) for r in comparison.rows_of(b)])
        for b in comparison.backbones
    ]
    return [Block("standard error of an AUC", list(comparison.phases), groups)]


AUC_ERROR = (
    "standard error of an AUC: DeLong's, of one seed, whose sessions in test are of different "
    "users; the ± above is how far seeds differ"
)


def error_legend(comparison: Comparison) -> list[str]:
    return [AUC_ERROR] * bool(error_block(comparison))


def old_block(comparison: Comparison) -> list[Block]:
    """AUC of held-out rows of old items, before a method learns and in each phase; means over the
    seeds. Nothing where no rows were held out."""
    if not _held_out_rows(comparison):
        return []

    def texts(backbone: str, row: str) -> list[str]:
        known = [_old_of(comparison, backbone, row, phase) for phase in comparison.phases]
        values = [[each["before"] for each in known[0]]]
        values += [[each["AUC"] for each in found] for found in known]
        return [_mean_text(each, ".4f") for each in values]

    groups = [
        (b, [(row, texts(b, row)) for row in comparison.rows_of(b)]) for b in comparison.backbones
    ]
    return [Block(f"AUC, old {comparison.unit}s", ["before", *comparison.phases], groups)]


def _old_of(comparison: Comparison, backbone: str, row: str, phase: str) -> list[dict[str, Any]]:
    """What the seeds of a row tell of old items in a phase."""
    run = comparison.run(backbone, row) or {"seeds": []}
    phases = [seed["phases"].get(phase, {}) for seed in run["seeds"]]
    return [found["old"] for found in phases if "old" in found]


def _held_out_rows(comparison: Comparison) -> list[int]:
    """The different numbers of held-out rows of old items, over all seeds and rows."""
    return sorted(
        {
            known["rows"]
            for backbone in comparison.backbones
            for row in comparison.rows_of(backbone)
            for known in _old_of(comparison, backbone, row, comparison.phases[0])
        }
    )


def old_legend(comparison: Comparison) -> list[str]:
    rows = _held_out_rows(comparison)
    if not rows:
        return []
    number = " to ".join(f"{count:,}" for count in dict.fromkeys([rows[0], rows[-1]]))
    unit = comparison.unit
    return [
        f"old {unit}s: {number} of their rows, from which nobody learned; before: the backbone as "
        f"pre-trained; a method that leaves old {unit}s alone keeps that number"
    ]


def cost_block(comparison: Comparison, name: Callable[[str], str] = str) -> Block:
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
    return "<.001" if value < 0.001 else _short(value, digits=3)


def _short(value: float, sign: str = "", digits: int = 4) -> str:
    """A number without the zero before its point: a line of differences holds many."""
    value = value if round(value, digits) else 0.0  # no -.0000
    text = format(value, f"{sign}.{digits}f")
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
