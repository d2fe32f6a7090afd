"""Rows of several comparisons against one another: ranks over data sets and backbones.

A block is one backbone on one data set. Its scores are means over seeds; what is compared are the
ranks of the rows in it. Backbones of one data set share its items, so that they are no independent
sample of anything: the text says how many data sets there are.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recbole_cold.errors import UserError
from recbole_cold.evaluation import ranks
from recbole_cold.evaluation.metrics import cost, known_metrics
from recbole_cold.report._comparison import OWN_NETWORK, Comparison
from recbole_cold.report._statistics import summary

SMALLEST_EFFECT = 0.002
_YARDSTICKS = ("ItemBias", "Base")  # what gains are over, the first that every block has


class Ranked(NamedTuple):
    """Rows that every block has a score of in one phase.

    Attributes:
        rows: their labels. left_out: rows that some block lacks.
        values: scores [blocks, rows]. costs: the same, lower where better.
    """

    phase: str
    rows: list[str]
    left_out: list[str]
    values: np.ndarray
    costs: np.ndarray

    @property
    def mean_ranks(self) -> list[float]:
        return [float(rank) for rank in ranks.mean_ranks(self.costs)]


class Across:
    """The scores of several comparisons, block by block.

    Args:
        comparisons: of different data, splits or backbones.
        metric: the one that rows are ranked by.

    Attributes:
        blocks: data set and backbone of each block.
        phases: a table of ranks for each phase that all blocks have.
        smallest_effect: of the results, if they say one.

    Raises:
        UserError: fewer than three blocks or three rows, a metric that is not there, or the same
            data and backbone twice.
    """

    def __init__(self, comparisons: Sequence[Comparison], metric: str | None = None) -> None:
        self.metric = known_metrics(metric or "AUC")[0]
        self.blocks: list[tuple[str, str]] = []
        tables: list[dict[tuple[str, str], float]] = []
        phases: list[list[str]] = []
        self.smallest_effect = SMALLEST_EFFECT
        seen: set[tuple[str, str, str]] = set()
        for compared in comparisons:
            for backbone, doc in compared.by_backbone.items():
                if backbone == OWN_NETWORK:
                    continue
                block = (str(doc["dataset"]), backbone)
                place = (str(doc["data_hash"]), str(doc["split"].get("hash")), backbone)
                if place in seen:
                    raise UserError(
                        f"{block[0]} on {backbone} is there twice, and counts once: leave one of "
                        "the folders out"
                    )
                seen.add(place)
                self.blocks.append(block)
                rows = [row for row in summary(doc, [self.metric]) if row.n]
                tables.append({(row.phase, row.label): row.mean for row in rows})
                phases.append(list(doc["phases"]))
                for run in doc["runs"]:
                    asked = run["config"].get("smallest_effect")
                    self.smallest_effect = self.smallest_effect if asked is None else float(asked)
        self._refuse_few(len(self.blocks))
        labels = list(dict.fromkeys(label for table in tables for _, label in table))
        shared = [phase for phase in phases[0] if all(phase in others for others in phases)]
        self.phases = [self._ranked(phase, labels, tables) for phase in shared]
        self.phases = [table for table in self.phases if len(table.rows) >= ranks.FEWEST_METHODS]
        if not self.phases:
            raise UserError(
                f"ranks need at least {ranks.FEWEST_METHODS} rows that every data set and backbone "
                f"has a value of {self.metric} of; run the same rows on all of them"
            )

    def _refuse_few(self, blocks: int) -> None:
        if blocks < ranks.FEWEST_FOR_BAYES:
            raise UserError(
                f"ranks need at least {ranks.FEWEST_FOR_BAYES} data sets (or data sets x "
                f"backbones), a picture of them {ranks.FEWEST_BLOCKS}, and there "
                f"{'is' if blocks == 1 else 'are'} {blocks}; add folders of comparisons on other "
                "data"
            )

    def _ranked(
        self, phase: str, labels: Sequence[str], tables: Sequence[Mapping[tuple[str, str], float]]
    ) -> Ranked:
        rows = [row for row in labels if all((phase, row) in table for table in tables)]
        left_out = [row for row in labels if row not in rows]
        values = np.array([[table[phase, row] for row in rows] for table in tables])
        costs = np.array([[cost(self.metric, value) for value in block] for block in values])
        return Ranked(phase, rows, left_out, values, costs)

    @property
    def told(self) -> str:
        """How many blocks, of what."""
        sets = list(dict.fromkeys(dataset for dataset, _ in self.blocks))
        backbones = list(dict.fromkeys(backbone for _, backbone in self.blocks))
        return (
            f"{len(self.blocks)} blocks: {', '.join(sets)} x {', '.join(backbones)}"
            if len(sets) * len(backbones) == len(self.blocks)
            else f"{len(self.blocks)} blocks: "
            + ", ".join(f"{dataset} on {backbone}" for dataset, backbone in self.blocks)
        )

    @property
    def caution(self) -> str:
        """What the tests do not know, where blocks share their data; else ''."""
        sets = {dataset for dataset, _ in self.blocks}
        if len(sets) == len(self.blocks):
            return ""
        if len(sets) == 1:
            return (
                "all blocks share the items of one data set, and the tests take them for "
                "independent: p says nothing of other data"
            )
        return (
            f"backbones of one data set share its items: the tests take {len(self.blocks)} blocks "
            f"for independent and there are {len(sets)} data sets, so p is too small"
        )


def across_text(
    across: Across, against: str | None = None, rope: float | None = None, level: float = 0.05
) -> str:
    """Mean ranks and tests of every phase, for the screen.

    Args:
        against: the row that gains are over; ItemBias, or else Base, or else the first row.
        rope: a gain up to it does not matter; the results' ``smallest_effect``, or else .002.

    Raises:
        UserError: no block has the row ``against``.
    """
    rope = across.smallest_effect if rope is None else rope
    lines = [f"{across.metric} over {across.told}", *([across.caution] * bool(across.caution))]
    for table in across.phases:
        lines += ["", *_phase_lines(across, table, against, rope, level)]
    lines += [
        "",
        "mean rank: 1 is best; p: Wilcoxon's signed ranks over the blocks, Holm-corrected in a "
        "phase, from six blocks on",
        "better, same, worse: chances by the Bayesian signed-rank test (Benavoli et al., 2017); "
        f"same: no further apart than {rope:g}",
    ]
    return "\n".join(lines)


def _phase_lines(
    across: Across, table: Ranked, against: str | None, rope: float, level: float
) -> list[str]:
    other = _against(table.rows, against)
    mean, blocks = table.mean_ranks, len(across.blocks)
    tested = ranks.friedman(table.costs)
    lines = [f"{table.phase}: Friedman {tested.statistic:.2f}, p {_p(tested.p_value)}"]
    order = sorted(range(len(mean)), key=lambda k: mean[k])
    if blocks >= ranks.FEWEST_BLOCKS:
        difference = ranks.critical_difference(len(mean), blocks, level)
        lines[0] += f"; critical difference of mean ranks {difference:.2f} (Nemenyi, {level:g})"
        groups = [" | ".join(table.rows[k] for k in g) for g in ranks.cliques(mean, difference)]
        lines += [f"  not distinguished: {group}" for group in groups]
    if table.left_out:
        lines.append(f"  not in every block, left out: {' | '.join(table.left_out)}")
    place = table.rows.index(other)
    pairs = [(k, place) for k in order if k != place]
    corrected = dict(zip(pairs, ranks.pairwise(table.costs, pairs), strict=True))
    wide = max(map(len, table.rows))
    head = f"  {'':<{wide}}  mean rank  gain over {other}"
    at = len(head)
    lines.append(f"{head}       p  better    same   worse")
    for k in order:
        line = f"  {table.rows[k]:<{wide}}  {mean[k]:9.2f}"
        if k != place:
            gains = table.costs[:, place] - table.costs[:, k]
            found = ranks.signed_rank_chances(gains.tolist(), rope)
            line = f"{line}  {gains.mean():+.4f}".ljust(at)
            line += f"  {_p(corrected[k, place]):>6}"
            line += "".join(f"  {chance:6.3f}" for chance in found)
        lines.append(line)
    return lines


def _against(rows: Sequence[str], asked: str | None) -> str:
    if asked is None:
        return next((row for row in _YARDSTICKS if row in rows), rows[0])
    if asked not in rows:
        raise UserError(
            f"--against names '{asked}', which not every data set and backbone has; there are "
            f"{', '.join(rows)}"
        )
    return asked


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" if value >= 0.0001 else "<.0001"
