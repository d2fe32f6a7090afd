"""Comparisons: their statistics, what they reuse, and the texts that are read back here."""

import csv
import io
import itertools
import json
import math
import random
import re
import shutil
import statistics

import numpy as np
import pytest
from pool_here import run_here
from scipy import stats

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.errors import UserError
from recbole_cold.report import MATCHED, Comparison, holm, wilcoxon_p
from recbole_cold.report._comparison_tables import latex_escape
from recbole_cold.results import load_results
from recbole_cold.trials import ray_pool as pool

PHASES = ["cold", "warm_a", "warm_b", "warm_c"]
ROWS = ["Base", "MWUF[mwuf_parts=[scale]]", "CVAR", "Base (90 steps)"]
OUTER = "PNN[use_outer=true;use_inner=false]"
BACKBONES = ["FM", "DCN", OUTER]


# ------------------------------------------------------------------------- made-up documents
def a_run(rng, label, backbone, seeds, steps):
    def a_seed(seed):
        phases = {
            name: {
                "metrics": {"AUC": 0.6 + rng.gauss(0, 0.02), "LogLoss": 0.6 + rng.gauss(0, 0.02)},
                "rows": 100, "positives": 50, "warnings": [],
            }
            for name in PHASES
        }  # fmt: skip
        stages = [
            {"name": name, "steps": count, "rows": 64 * count, "seconds": count / 8,
             "cpu_seconds": count / 16, "peak_memory_mb": 10.0, "cached": False}
            for name, count in [("pretrain", 400), ("learn", 16), *((p, steps) for p in PHASES[1:])]
        ]  # fmt: skip
        return {"seed": seed, "phases": phases, "stages": stages}

    matched = steps if "steps" in label else None
    return {
        "label": label, "model": re.split(r"[\[ ]", label)[0], "backbone": backbone, "variant": {},
        "matched_steps": matched, "config": {"base_model": "Base"},
        "parameters": {"backbone": 1000, "method": 7},
        "seeds": [a_seed(2020 + s) for s in range(seeds)],
    }  # fmt: skip


def a_comparison(seeds=3, backbones=BACKBONES, rows=ROWS, **changes):
    rng = random.Random(3)
    documents = [
        {
            "schema": 1, "command": "c", "created": "2026-01-01", "dataset": "tiny",
            "data_hash": "d", "split": {"counts": {"train": 5}, "hash": "h"}, "versions": {},
            "eval_on": "test", "protocol": "strict", "phases": PHASES,
            "metrics": ["AUC", "LogLoss"], "share_pretrained": False, "backbone_label": backbone,
            "runs": [a_run(rng, row, backbone.split("[")[0], seeds, 10 + 40 * k)
                     for k, row in enumerate(rows)],
        }
        for backbone in backbones
    ]  # fmt: skip
    return {
        "schema": 1, "command": "recbole-cold compare", "created": "", "against": None, "rows": [],
        "backbones": [], "seeds": [], "failures": [], "documents": documents, **changes,
    }  # fmt: skip


def values_of(document, backbone, row, phase, metric):
    """Naively: seed -> value."""
    for doc in document["documents"]:
        for run in doc["runs"]:
            if doc["backbone_label"] == backbone and run["label"] == row:
                return {s["seed"]: s["phases"][phase]["metrics"][metric] for s in run["seeds"]}
    return {}


def set_values(document, backbone, row, phase, metric, values):
    for doc in document["documents"]:
        for run in doc["runs"]:
            if doc["backbone_label"] == backbone and run["label"] == row:
                for seed, value in zip(run["seeds"], values, strict=True):
                    seed["phases"][phase]["metrics"][metric] = value


def label_of(row):
    return ROWS[3] if row == MATCHED else row


# ------------------------------------------------------------------------- statistics
class TestHolm:
    def test_by_hand(self):
        """.01 x 4, .02 x 3, .03 x 2, .04 x 1: the last must not be below the one before it."""
        assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])

    def test_a_textbook_family(self):
        """.005 x 4 = .02; .011 x 3 = .033; .02 x 2 = .04; .04 stays."""
        assert holm([0.04, 0.005, 0.02, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])

    def test_ends_at_one(self):
        assert holm([0.6, 0.7]) == [1.0, 1.0]

    def test_what_was_not_tested_is_not_counted(self):
        found = holm([math.nan, 0.01, math.nan, 0.04])
        assert found[1::2] == pytest.approx([0.02, 0.04])
        assert math.isnan(found[0]) and math.isnan(found[2])

    def test_one_and_none(self):
        assert holm([0.03]) == [0.03]
        assert holm([]) == []

    def test_rejects_as_the_step_down_procedure_does(self):
        """Holm as published: reject from the smallest on while p(k) <= a / (m - k + 1)."""
        rng = random.Random(1)
        for m in range(1, 9):
            p_values = [rng.random() ** 3 for _ in range(m)]
            rejected = set()
            for k, place in enumerate(sorted(range(m), key=p_values.__getitem__)):
                if p_values[place] > 0.05 / (m - k):
                    break
                rejected.add(place)
            assert {k for k, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


class TestTests:
    def test_t_by_hand(self):
        """Differences .01, .02, .06: t = .03 / (sqrt(.0007) / sqrt(3)), two degrees of freedom."""
        document = a_comparison(backbones=["FM"], rows=["Base", "CVAR"])
        set_values(document, "FM", "Base", "cold", "AUC", [0.70, 0.71, 0.69])
        set_values(document, "FM", "CVAR", "cold", "AUC", [0.71, 0.73, 0.75])
        cell = Comparison(document).cells("AUC")["FM", "CVAR", "cold"]
        t = 0.03 / (math.sqrt(0.0007) / math.sqrt(3))
        assert cell.test.statistic == pytest.approx(t)
        assert cell.test.p_value == pytest.approx(1 - t / math.sqrt(t * t + 2))

    def test_the_family_is_the_whole_table_of_a_metric(self):
        document = a_comparison()
        cells = Comparison(document).cells("LogLoss")
        keys, p_values = [], []
        for backbone, row, phase in itertools.product(BACKBONES, ROWS[1:], PHASES):
            a = values_of(document, backbone, row, phase, "LogLoss")
            b = values_of(document, backbone, "Base", phase, "LogLoss")
            keys.append((backbone, MATCHED if row == ROWS[3] else row, phase))
            p_values.append(stats.ttest_rel(list(a.values()), list(b.values())).pvalue)
        assert len(p_values) == 36
        order = np.argsort(p_values)
        highest = 0.0
        for k, place in enumerate(order):
            highest = max(highest, min(1.0, (36 - k) * p_values[place]))
            assert cells[keys[place]].p_holm == pytest.approx(highest)

    def test_wilcoxon_by_counting_all_signs(self):
        """Of the 64 sign patterns, those with a rank sum as far from 10.5 as the one seen."""
        ours, theirs = [0.1, 0.3, -0.2, 0.4, 0.5, 0.6], [0.0] * 6
        ranks = [1, 3, -2, 4, 5, 6]
        seen = sum(rank for rank in ranks if rank > 0)
        as_far = sum(
            abs(sum(rank for rank, sign in zip(range(1, 7), signs, strict=True) if sign) - 10.5)
            >= abs(seen - 10.5)
            for signs in itertools.product([0, 1], repeat=6)
        )
        assert wilcoxon_p(ours, theirs) == pytest.approx(as_far / 64)

    def test_wilcoxon_needs_six_and_a_difference(self):
        assert math.isnan(wilcoxon_p([1, 2, 3, 4, 5], [0] * 5))
        assert math.isnan(wilcoxon_p([1.0] * 6, [1.0] * 6))
        assert wilcoxon_p([1, 2, 3, 4, 5, 6], [0] * 6) == pytest.approx(2 / 64)
        assert wilcoxon_p([1, 2, 3, 4, 5, 5, 0], [0] * 7) < 0.1  # ties and a zero, no warning

    def test_half_the_interval_by_hand(self):
        """Differences .01, .02, .06: s / sqrt(3) times the 97.5 % point of t with two degrees."""
        document = a_comparison(backbones=["FM"], rows=["Base", "CVAR"])
        set_values(document, "FM", "Base", "cold", "AUC", [0.70, 0.71, 0.69])
        set_values(document, "FM", "CVAR", "cold", "AUC", [0.71, 0.73, 0.75])
        comparison = Comparison(document)
        cell = comparison.cells("AUC")["FM", "CVAR", "cold"]
        # Student's t with two degrees of freedom: F(t) = (1 + t / sqrt(t^2 + 2)) / 2.
        t = math.sqrt(2 * 0.95**2 / (1 - 0.95**2))
        half = t * math.sqrt(0.0007) / math.sqrt(3)
        assert cell.test.half == pytest.approx(half)
        shown = f"+.0300 ± {half:.4f}".replace("0.", ".") + f" p {cell.p_holm:.3f}".replace(
            "0.", "."
        )
        line = next(
            x for x in csv_lines(comparison) if (x["method"], x["phase"]) == ("CVAR", "cold")
        )
        assert float(line["t_low"]) == pytest.approx(0.03 - half)
        assert float(line["t_high"]) == pytest.approx(0.03 + half)
        for text in (report.comparison_table(comparison, width=200),
                     report.comparison_markdown(comparison)):  # fmt: skip
            assert shown in text
        assert shown.replace("±", "$\\pm$") in report.comparison_latex(comparison)

    def test_wilcoxon_is_off_unless_asked_for(self):
        document = a_comparison(seeds=6, backbones=["FM"], rows=["Base", "CVAR"])
        base = list(values_of(document, "FM", "Base", "cold", "AUC").values())
        better = [value + 0.05 + 0.001 * k for k, value in enumerate(base)]
        set_values(document, "FM", "CVAR", "cold", "AUC", better)
        off = Comparison(document)
        assert all(math.isnan(cell.wilcoxon) for cell in off.cells("AUC").values())
        assert "Wilcoxon" not in report.comparison_table(off)
        for doc in document["documents"]:
            doc["wilcoxon"] = True
        on = Comparison(document)
        assert on.cells("AUC")["FM", "CVAR", "cold"].wilcoxon == pytest.approx(2 / 64)
        text = report.comparison_table(on, width=200)
        assert re.search(r"CVAR +\+\.0525 ± \.\d{4} p <?\.\d{3} W \.125", text)
        assert "W: Wilcoxon's signed-rank test" in text

    def test_one_seed_has_no_test(self):
        comparison = Comparison(a_comparison(seeds=1))
        assert all(not math.isfinite(c.p_holm) for c in comparison.cells("AUC").values())
        text = report.comparison_table(comparison)
        assert re.search(r"CVAR +[+-]\.\d{4} p -", text)
        assert "needs two seeds" in text

    def test_pairs_are_of_the_same_seed(self):
        document = a_comparison(backbones=["FM"], rows=["Base", "CVAR"])
        del document["documents"][0]["runs"][0]["seeds"][0]
        document["documents"][0]["runs"][1]["seeds"].reverse()
        found = Comparison(document).cells("AUC")["FM", "CVAR", "cold"].test
        a = values_of(document, "FM", "CVAR", "cold", "AUC")
        b = values_of(document, "FM", "Base", "cold", "AUC")
        assert found.n == 2
        assert found.difference == pytest.approx(statistics.mean(a[s] - b[s] for s in (2021, 2022)))

    def test_against_another_row(self):
        document = a_comparison(against=MATCHED)
        comparison = Comparison(document)
        cell = comparison.cells("AUC")["FM", "CVAR", "cold"]
        a = values_of(document, "FM", "CVAR", "cold", "AUC")
        b = values_of(document, "FM", ROWS[3], "cold", "AUC")
        assert cell.test.difference == pytest.approx(statistics.mean(a[s] - b[s] for s in a))
        relative = comparison.cells("RelaImpr")["FM", "CVAR", "cold"].row.mean
        assert relative == pytest.approx(
            statistics.mean((a[s] - 0.5) / (b[s] - 0.5) - 1 for s in a)
        )

    def test_an_unknown_row(self):
        with pytest.raises(UserError, match="names 'EmerG', which is not a row of this table"):
            Comparison(a_comparison(against="EmerG"))

    def test_without_a_base_nothing_is_tested_and_said_so(self):
        comparison = Comparison(a_comparison(rows=["MWUF", "CVAR"]))
        assert comparison.metrics == ["AUC", "LogLoss"]
        assert "no tests: 'Base' is not in this table" in report.comparison_table(comparison)


# ------------------------------------------------------------------------- tables
class TestCells:
    @pytest.mark.parametrize(("metric", "lower"), [("AUC", False), ("LogLoss", True)])
    def test_means_deviations_and_places(self, metric, lower):
        document = a_comparison()
        comparison = Comparison(document)
        cells = comparison.cells(metric)
        assert comparison.rows == [*ROWS[:3], MATCHED]
        assert set(cells) == set(itertools.product(BACKBONES, comparison.rows, PHASES))
        for backbone, phase in itertools.product(BACKBONES, PHASES):
            means = {}
            for row in comparison.rows:
                values = values_of(document, backbone, label_of(row), phase, metric).values()
                means[row] = sum(values) / 3
                cell = cells[backbone, row, phase]
                assert cell.row.mean == pytest.approx(means[row])
                assert cell.row.std == pytest.approx(statistics.stdev(values))
            order = sorted(means, key=means.__getitem__, reverse=not lower)
            places = {row: cells[backbone, row, phase].place for row in comparison.rows}
            assert [places[row] for row in order] == [1, 2, 0, 0]

    def test_ties_share_a_place_and_equals_have_none(self):
        document = a_comparison(backbones=["FM"], rows=["Base", "MWUF", "CVAR"])
        for row, value in (("Base", 0.7), ("MWUF", 0.7), ("CVAR", 0.6)):
            set_values(document, "FM", row, "cold", "AUC", [value] * 3)
            set_values(document, "FM", row, "warm_a", "AUC", [0.7] * 3)
        cells = Comparison(document).cells("AUC")
        assert [cells["FM", row, "cold"].place for row in ("Base", "MWUF", "CVAR")] == [1, 1, 2]
        assert {cells["FM", row, "warm_a"].place for row in ("Base", "MWUF", "CVAR")} == {0}

    def test_leaders(self):
        document = a_comparison(backbones=["FM", "DCN"], rows=["Base", "CVAR"])
        del document["documents"][1]["runs"][1]["seeds"][:]
        leaders = {row: rest for row, *rest in Comparison(document).leaders("AUC")}
        means, place, _ = leaders["Base"]
        both = [values_of(document, b, "Base", "cold", "AUC").values() for b in ("FM", "DCN")]
        assert means["cold"] == pytest.approx(sum(sum(v) / 3 for v in both) / 2)
        assert 1 <= place <= 2
        means, place, _ = leaders["CVAR"]
        assert math.isnan(means["cold"]) and math.isnan(place)


def parts_of(comparison, metric):
    """backbone -> row -> texts of the cells, read from the screen's table."""
    lines = report.comparison_table(comparison, width=200).split("\n")
    first = next(k for k, line in enumerate(lines) if re.match(rf"{metric} +cold", line))
    found, backbone = {}, None
    for line in itertools.takewhile(bool, lines[first + 1 :]):
        if not line.startswith("  "):
            backbone = found.setdefault(line, {})
        else:
            row, *cells = re.split(r"  +", line.strip())
            backbone[row] = cells
    return found


class TestTexts:
    def test_screen(self):
        document = a_comparison()
        comparison = Comparison(document)
        cells = comparison.cells("AUC")
        found = parts_of(comparison, "AUC")
        assert list(found) == BACKBONES
        for (backbone, row, phase), cell in cells.items():
            text = found[backbone][row][PHASES.index(phase)]
            mark = {0: "", 1: "*", 2: "_"}[cell.place]
            values = values_of(document, backbone, label_of(row), phase, "AUC").values()
            expected = f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}{mark}"
            assert text.replace(" +", "").rstrip("+-") == expected

    def test_fits_the_screen(self):
        text = report.comparison_table(Comparison(a_comparison()))
        assert max(map(len, text.split("\n"))) <= 120

    def test_missing_cells_are_shown_as_missing(self):
        document = a_comparison(seeds=3)
        del document["documents"][1]["runs"][2]
        del document["documents"][0]["runs"][1]["seeds"][2]
        comparison = Comparison(document)
        found = parts_of(comparison, "AUC")
        assert found["DCN"]["CVAR"] == ["missing"] * 4
        assert all(text.endswith(("(n=2)", "(n=2)*", "(n=2)_")) for text in found["FM"][ROWS[1]])
        text = report.comparison_table(comparison)
        assert "missing: CVAR on DCN: 0 of 3 seeds are there" in text
        assert f"missing: {ROWS[1]} on FM: 2 of 3 seeds are there" in text
        line = next(
            x for x in csv_lines(comparison) if (x["backbone"], x["method"]) == ("DCN", "CVAR")
        )
        assert (line["mean"], line["seeds"], line["seeds_wanted"]) == ("", "0", "3")

    def test_a_result_without_a_metric_is_not_whole(self):
        document = a_comparison(rows=["Base", "CVAR"], backbones=["FM"])
        del document["documents"][0]["runs"][1]["seeds"][0]["phases"]["warm_b"]["metrics"][
            "LogLoss"
        ]
        text = report.comparison_table(Comparison(document))
        assert "missing: CVAR on FM: 2 of 3 seeds are there" in text

    def test_asked_for_and_wholly_absent(self):
        document = a_comparison(rows=["Base", "CVAR"], backbones=["FM"])
        document |= {"rows": ["Base", "CVAR", "MetaE"], "backbones": ["FM", "DCN"], "seeds": [2020]}
        found = parts_of(Comparison(document), "AUC")
        assert found["FM"]["MetaE"] == found["DCN"]["Base"] == ["missing"] * 4

    def test_failures_are_told(self):
        failure = {"backbone": "FM", "row": "CVAR", "seed": 2021, "error": "Traceback\nboom"}
        text = report.comparison_table(Comparison(a_comparison(failures=[failure])))
        assert "failed: CVAR on FM, seed 2021: boom" in text

    def test_markdown_tables_are_tables(self):
        comparison = Comparison(a_comparison())
        text = report.comparison_markdown(comparison)
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(widths) == 1
        cells = comparison.cells("AUC")
        auc = text[text.index("| backbone | AUC ") : text.index("| backbone | LogLoss ")]
        tables = {1: auc.count("**") / 2, 2: auc.count("<u>")}
        for place, count in tables.items():
            assert count == sum(cell.place == place for cell in cells.values()) == 12

    def test_latex_reads_back(self):
        """Balanced, as many cells in every line as columns, and the numbers of the table."""
        document = a_comparison()
        comparison = Comparison(document)
        text = report.comparison_latex(comparison)
        plain = re.sub(r"\\[\\{}%&_#$]", "", text)
        depth = 0
        for letter in plain:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            assert depth >= 0
        assert depth == 0
        assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
        assert text.count("\\begin{table}") == text.count("\\end{table}") == 5
        for tabular in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL):
            columns = len(re.search(r"\{tabular\}\{(l r*|lr*)\}", tabular)[1])
            for line in tabular.splitlines():
                if line.endswith("\\\\") and not line.startswith("\\multicolumn"):
                    assert len(re.findall(r"(?<!\\)&", line)) == columns - 1
                assert not line.startswith("[")
        first = text[text.index("\\begin{tabular}") : text.index("\\end{tabular}")]
        numbers = re.findall(r"(0\.\d{4}) \$\\pm\$ (0\.\d{4})", first)
        cells = comparison.cells("AUC")
        keys = itertools.product(BACKBONES, comparison.rows, PHASES)
        assert numbers == [
            (f"{cells[key].row.mean:.4f}", f"{cells[key].row.std:.4f}") for key in keys
        ]
        assert first.count("\\textbf{") == first.count("\\underline{") == 12
        assert "MWUF{[}mwuf\\_parts={[}scale{]}{]}" in first

    @pytest.mark.parametrize(
        ("text", "escaped"),
        [("a_b", "a\\_b"), ("50%", "50\\%"), ("a&b", "a\\&b"), ("x\\y", "x\\textbackslash{}y"),
         ("{x}", "\\{x\\}"), ("±", "$\\pm$"), ("p<1", "p\\textless{}1"),
         ("#$~^", "\\#\\$\\textasciitilde{}\\textasciicircum{}")],
    )  # fmt: skip
    def test_latex_escapes(self, text, escaped):
        assert latex_escape(text) == escaped

    def test_csv_reads_back_with_all_digits(self):
        document = a_comparison()
        comparison = Comparison(document)
        lines = csv_lines(comparison)
        assert len(lines) == 3 * len(BACKBONES) * 4 * len(PHASES)
        for line in lines:
            key = (line["backbone"], line["method"], line["phase"])
            cell = comparison.cells(line["metric"])[key]
            assert float(line["mean"]) == cell.row.mean
            assert float(line["std"]) == cell.row.std
            assert int(line["place"] or 0) == cell.place
            if cell.test is None:
                assert line["p"] == line["p_holm"] == ""
            else:
                assert float(line["p"]) == cell.test.p_value
                assert float(line["p_holm"]) == cell.p_holm
        cvar = next(line for line in lines if line["method"] == "CVAR")
        assert float(cvar["warm_seconds"]) == pytest.approx(3 * 90 / 8)
        assert float(cvar["steps_per_warm_phase"]) == 90
        assert (cvar["parameters_backbone"], cvar["parameters_method"]) == ("1000", "7")

    def test_costs(self):
        text = report.comparison_table(Comparison(a_comparison()), width=200)
        line = next(
            x for x in text[text.index("cost per seed") :].split("\n") if x.startswith("  CVAR")
        )
        # learn 16 / 8, warm-up 3 x 90 / 8; Base 16 / 8 + 3 x 10 / 8
        times = (2 + 33.75) / (2 + 3.75)
        assert re.split(r"  +", line.strip()) == [
            "CVAR", "50.0", "2.0", "33.8", f"{times:.1f}", "42.9", "90", "1,000 + 7",
        ]  # fmt: skip

    @pytest.mark.parametrize("backbones", [["FM"], BACKBONES, [f"B{k}" for k in range(7)]])
    def test_picture(self, backbones, tmp_path):
        document = a_comparison(backbones=backbones)
        report.plot_comparison(Comparison(document), tmp_path / "a.png")
        report.plot_comparison(Comparison(document), tmp_path / "b.png")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

    def test_picture_of_nothing(self, tmp_path):
        document = a_comparison()
        for doc in document["documents"]:
            doc["runs"] = []
        with pytest.raises(UserError, match="no cell of this comparison has a value"):
            report.plot_comparison(Comparison(document), tmp_path / "a.png")


def csv_lines(comparison):
    return list(csv.DictReader(io.StringIO(report.comparison_csv(comparison))))


class TestReading:
    def test_what_was_written_is_read(self, tmp_path):
        document = a_comparison()
        report.write_json(tmp_path / "comparison.json", document)
        assert report.load_comparison(tmp_path) == document

    def test_each_document_is_checked(self, tmp_path):
        document = a_comparison()
        del document["documents"][1]["runs"][0]["seeds"][0]["phases"]
        report.write_json(tmp_path / "comparison.json", document)
        with pytest.raises(UserError, match=r"document 2': runs\[0\].seeds\[0\].phases is missing"):
            report.load_comparison(tmp_path)

    @pytest.mark.parametrize("other", [{}, [], {"schema": 1, "documents": []}, {"documents": [1]}])
    def test_other_json(self, other, tmp_path):
        (tmp_path / "comparison.json").write_text(json.dumps(other))
        with pytest.raises(UserError, match="is not a comparison of schema 1"):
            report.load_comparison(tmp_path)

    def test_absent_and_damaged(self, tmp_path):
        with pytest.raises(UserError, match="cannot read"):
            report.load_comparison(tmp_path)
        (tmp_path / "comparison.json").write_text("{")
        with pytest.raises(UserError, match="is not JSON"):
            report.load_comparison(tmp_path)


# ------------------------------------------------------------------------- running and reusing
@pytest.fixture
def pool_here(monkeypatch):
    """The specs of the trials that were run, in this process."""
    return run_here(monkeypatch)


@pytest.fixture
def compare(tiny_flags, tmp_path, pool_here):
    """``compare("--key=value")``: exit code, the comparison and how many trials were run.

    No reference row is added unless a test says so: the cells are those that it names.
    """

    def go(*words):
        before = len(pool_here)
        alone = not any("reference_rows" in word for word in words)
        code = main(["compare", *tiny_flags, *["--reference_rows=[]"] * alone, *words])
        folders = sorted(
            (tmp_path / "saved").glob("*-compare-*"), key=lambda f: f.stat().st_mtime_ns
        )
        document = report.load_comparison(folders[-1]) if folders else None
        return code, document, len(pool_here) - before

    return go


BOTH = ["--models=Base,MWUF", "--backbones=FM"]


@pytest.fixture(scope="class")
def compared(tmp_path_factory):
    """Where the class keeps what its first comparison of ``BOTH`` has saved."""
    return tmp_path_factory.mktemp("compared") / "saved"


@pytest.fixture
def compare_again(compare, compared, tmp_path):
    """``compare``, in a folder where ``BOTH`` have been compared: once a class, then copied."""
    if compared.exists():
        shutil.copytree(compared, tmp_path / "saved")
    else:
        assert compare(*BOTH)[2] == 3
        shutil.copytree(tmp_path / "saved", compared)
    return compare


def results(document):
    """All that two equal comparisons have in common."""
    return {
        (doc["backbone_label"], run["label"], seed["seed"]): seed["phases"]
        for doc in document["documents"]
        for run in doc["runs"]
        for seed in run["seeds"]
    }


TWO = ["--models=Base,MWUF", f"--backbones=FM,{OUTER.replace('true', 'True')}", "--seeds=2"]


class TestCompare:
    def test_a_method_with_a_network_of_its_own_is_run_and_shown_once(
        self, compare, tmp_path, capsys
    ):
        """Beside two backbones in a group of its own, beside one in that one's; never run again."""
        asked = ["--models=Base,MeLU", "--meta_epochs=1", "--matched_row=False"]
        code, document, ran = compare(*asked, "--backbones=DeepFM,FNN", "--mlp_hidden_size=[6,5]")
        assert (code, ran) == (0, 3)
        shown = Comparison(document)
        assert shown.backbones == ["DeepFM", "FNN", report.OWN_NETWORK]
        assert [shown.rows_of(b) for b in shown.backbones] == [["Base"], ["Base"], ["MeLU"]]
        assert not shown.missing()
        text = (next((tmp_path / "saved").iterdir()) / "comparison.md").read_text()
        assert [b for b in shown.backbones if shown.run(b, "MeLU")] == [report.OWN_NETWORK]
        assert "MeLU" in text and "u: unadapted" in text
        code, document, ran = compare(*asked, "--backbones=DeepFM", "--mlp_hidden_size=[6,5]")
        assert (code, ran) == (0, 0)
        assert Comparison(document).rows_of("DeepFM") == ["Base", "MeLU"]
        capsys.readouterr()
        folders = sorted(map(str, (tmp_path / "saved").glob("*-compare-*")))
        assert main(["compare", *folders, f"--saved_dir={tmp_path / 'again'}"]) == 0
        again = report.load_comparison(next((tmp_path / "again").glob("*-compare-*")))
        assert again["alone"] == ["MeLU"] and not Comparison(again).missing()

    def test_writes_everything_and_says_where(self, compare, tmp_path, capsys):
        code, document, ran = compare(*TWO)
        out, err = capsys.readouterr()
        assert code == 0
        assert ran == document["ran"] == 2 * 3 * 2  # the matched row is the third
        (folder,) = (tmp_path / "saved").iterdir()
        assert document["backbones"] == ["FM", OUTER]
        comparison = Comparison(document)
        assert comparison.rows == ["Base", "MWUF", MATCHED]
        assert not comparison.missing()
        for doc in document["documents"]:
            report.validate(doc)
        assert (folder / "table.txt").read_text() in out
        for name in ("comparison.md", "comparison.tex", "comparison.csv", "figures/phases.png"):
            assert (folder / name).stat().st_size > 0
            assert str(folder / name) in out
        assert "0 of 8 results are there already, 8 to run" in err
        configs = [run["config"] for run in document["documents"][1]["runs"]]
        assert all(c["use_outer"] is True and c["use_inner"] is False for c in configs)

    @pytest.mark.slow
    def test_equals_runs_one_by_one(self, compare, tiny_flags, tmp_path):
        """Cell by cell what `run` prints for that backbone, the matched row included."""
        _, document, _ = compare(*TWO)
        saved = f"--saved_dir={tmp_path / 'other'}"
        flags = [flag for flag in tiny_flags if not flag.startswith("--saved_dir")]
        assert main([*flags, saved, "--model=Base,MWUF", "--backbone=FM", "--seeds=2"]) == 0
        (folder,) = (tmp_path / "other").iterdir()
        alone = {
            ("FM", run["label"], seed["seed"]): seed["phases"]
            for run in report.load(folder)["runs"]
            for seed in run["seeds"]
        }
        assert alone == {key: v for key, v in results(document).items() if key[0] == "FM"}

    def test_reuses_what_is_there(self, compare):
        _, first, ran = compare("--models=Base,MWUF", "--backbones=FM")
        assert ran == 3
        _, second, ran = compare("--models=Base,MWUF", "--backbones=FM", "--against=matched")
        assert ran == 0
        assert results(first) == results(second)
        assert (second["ran"], second["reused"], second["against"]) == (0, 3, MATCHED)
        _, third, ran = compare("--models=Base,MWUF", "--backbones=FM,DCN", "--seeds=2")
        assert ran == 3 * 4 - 3
        assert results(first).items() <= results(third).items()

    def test_reuses_results_of_runs(self, compare, tiny_flags):
        assert main([*tiny_flags, "--model=Base,MWUF", "--backbone=FM", "--seeds=2"]) == 0
        _, document, ran = compare("--models=Base,MWUF", "--backbones=FM,DCN", "--seeds=2")
        assert ran == 6
        assert len(results(document)) == 12

    @pytest.mark.parametrize(
        ("flag", "again"),
        [
            ("--learning_rate=0.01", 3),
            ("--mwuf_users=positive", 1),
            ("--seed=7", 3),
            ("--metrics=[AUC]", 0),
            ("--metrics=[AUC,ECE]", 3),  # a result without ECE is none of this table
            ("--smallest_effect=0.01", 0),
            ("--num_threads=1", 0),
            ("--eval_batch_size=64", 3),
        ],
    )
    def test_reuses_only_what_is_equal(self, compare_again, flag, again):
        assert compare_again(*BOTH, flag)[2] == again

    def test_other_code_is_not_reused(self, compare_again, tmp_path):
        for path in (tmp_path / "saved").rglob("*.json"):
            text = path.read_text()
            path.write_text(re.sub(r'"code": "\w+"', '"code": "older"', text))
        assert compare_again(*BOTH)[2] == 3

    def test_changed_data_is_not_reused(self, compare, tiny_flags, tmp_path, tiny_path):
        folder = tmp_path / "data" / "tiny"
        folder.mkdir(parents=True)
        for path in tiny_path.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        tiny_flags[1] = f"--data_path={folder.parent}"
        assert compare("--models=Base,MWUF", "--backbones=FM")[2] == 3
        inter = folder / "tiny.inter"
        lines = inter.read_text().splitlines()
        inter.write_text("\n".join(lines[:-1]) + "\n")
        assert compare("--models=Base,MWUF", "--backbones=FM")[2] == 3

    def test_damaged_results_are_passed_over(self, compare, tmp_path):
        (tmp_path / "saved" / "bad").mkdir(parents=True)
        (tmp_path / "saved" / "bad" / "results.json").write_text("{")
        (tmp_path / "saved" / "bad" / "request.json").write_text("[")
        assert compare("--models=Base,MWUF", "--backbones=FM")[2] == 3

    def test_paths_are_the_same_from_anywhere(self, compare, pool_here, tmp_path, monkeypatch):
        (tmp_path / "own.py").write_text(
            "from recbole_cold.model.base import Base\nclass Own(Base):\n    pass\n"
        )
        (tmp_path / "own.yaml").write_text("warm_epochs: 2\n")
        monkeypatch.chdir(tmp_path)
        code, document, _ = compare(
            "--models=Base,own.py:Own[new_item_init=zero]", "--backbones=FM",
            "--config_files=own.yaml", "--matched_row=False",
        )  # fmt: skip
        assert code == 0
        assert Comparison(document).rows == ["Base", "Own[new_item_init=zero]"]
        spec = pool_here[-1]
        assert spec.model == f"{tmp_path / 'own.py'}:Own[new_item_init=zero]"
        assert spec.config_files == ()
        assert spec.overrides["warm_epochs"] == 2
        assert json.loads(json.dumps(spec.as_dict())) == spec.as_dict()

    def test_shared_pretraining_is_of_the_first_seed(self, compare, pool_here):
        _, document, _ = compare("--models=Base,MWUF", "--backbones=FM", "--seeds=2",
                                 "--share_pretrained=True")  # fmt: skip
        assert {spec.overrides["pretrain_seed"] for spec in pool_here} == {2020}
        cold = [phases["cold"] for key, phases in results(document).items() if key[1] == "Base"]
        assert cold[0] == cold[1]


class TestEvidence:
    """What intervals rest on, wherever a result comes from."""

    def test_reused_results_give_the_intervals_of_fresh_ones(self, compare, tmp_path, capsys):
        asked = ["--models=Base,MWUF", "--backbones=FM", "--bootstrap_resamples=50"]
        _, fresh, ran = compare(*asked)
        assert ran == 3 and len(list((tmp_path / "saved").glob("*/trials/*.npz"))) == 3
        matched = fresh["documents"][0]["runs"][-1]["label"]
        pairs = {(r["row"], r["against"]) for r in fresh["intervals"]}
        assert {("MWUF", "Base"), ("MWUF", matched), ("Base", matched)} <= pairs
        _, again, ran = compare(*asked, "--against=matched")
        assert ran == 0 and again["intervals"] == fresh["intervals"]
        folders = sorted(map(str, (tmp_path / "saved").glob("*-compare-*")))
        assert main(["compare", *folders, f"--saved_dir={tmp_path / 'shown'}"]) == 0
        (shown,) = (tmp_path / "shown").iterdir()
        assert report.load_comparison(shown)["intervals"] == fresh["intervals"]
        one, other = (load_results(folder).scores() for folder in (folders[0], shown))
        assert set(one["method"]) == {"Base", "MWUF", MATCHED}
        assert (one["score"].to_numpy() == other["score"].to_numpy()).all()

    def test_runs_and_comparisons_of_one_kind_agree(self, compare, tiny_flags, tmp_path):
        """The same resamples, whether rows come from a run or from trials."""
        asked = ["--bootstrap_resamples=50"]
        assert main([*tiny_flags, *asked, "--model=Base,MWUF", "--backbone=FM"]) == 0
        (folder,) = (tmp_path / "saved").iterdir()
        _, document, ran = compare(*asked, "--models=Base,MWUF", "--backbones=FM")
        assert ran == 0
        assert document["intervals"] == report.load(folder)["intervals"] != []

    def test_results_without_scores_are_named(self, compare, tmp_path, capsys):
        asked = ["--models=Base,MWUF", "--backbones=FM", "--matched_row=False"]
        compare(*asked)
        for path in (tmp_path / "saved").rglob("*.npz"):
            path.unlink()
        capsys.readouterr()
        _, document, ran = compare(*asked)
        told = [x for x in capsys.readouterr().err.splitlines() if x.startswith("no intervals")]
        assert (ran, document["intervals"]) == (0, [])
        assert len(told) == 2 and "MWUF on FM (seeds 2020)" in told[1] and "not there" in told[1]

    def test_reference_rows_are_added(self, compare, tmp_path, capsys):
        wanted = "--reference_rows=[Base,ItemBias]"
        asked = ["--models=MWUF,MeLU", "--meta_epochs=1", "--matched_row=False"]
        code, document, ran = compare(*asked, "--backbones=FM", wanted, "--bootstrap_resamples=9")
        assert (code, ran) == (0, 4)
        assert Comparison(document).rows == ["MWUF", "MeLU", "Base", "ItemBias"]
        err = capsys.readouterr().err
        assert "reference rows added: Base, ItemBias; --reference_rows=[] leaves them out" in err
        against = {(r["row"], r["against"]) for r in document["intervals"]}
        assert {("MeLU", "ItemBias"), ("MWUF", "Base"), ("Base", "ItemBias")} <= against
        assert compare("--models=Base", "--backbones=FM,DCN", "--matched_row=False", wanted)[2] == 1

    def test_reference_rows_may_have_settings(self, compare, capsys):
        row = "Base[warm_learning_rate=0.01]"
        asked = ["--models=Base,MWUF", "--backbones=FM", "--matched_row=False"]
        _, document, _ = compare(*asked, f"--reference_rows=[{row}]")
        assert Comparison(document).rows == ["Base", "MWUF", row]
        assert row in {r["against"] for r in document["intervals"]}


@pytest.mark.slow
class TestSurvival:
    def test_interrupted_and_continued(self, compare, pool_here, monkeypatch, capsys, tmp_path):
        done = pool.run_all

        def two_only(specs, *, stop, **options):
            done(specs, stop=lambda: len(pool_here) >= 3, **options)

        monkeypatch.setattr(pool, "run_all", two_only)
        code, document, ran = compare(*TWO)
        out, err = capsys.readouterr()
        assert (code, ran) == (130, 3)  # the third was given up
        (folder,) = (tmp_path / "saved").iterdir()
        assert f"interrupted; to continue: recbole-cold compare --resume={folder}" in err
        assert "missing" in out
        assert len(results(document)) == 2
        assert not (folder / "table.txt").exists()
        monkeypatch.setattr(pool, "run_all", done)
        before = len(pool_here)
        assert main(["compare", "--resume", f"--saved_dir={tmp_path / 'saved'}"]) == 0
        assert len(pool_here) - before == 10
        assert (folder / "table.txt").exists()
        whole = report.load_comparison(folder)
        assert results(document).items() <= results(whole).items()
        assert not Comparison(whole).missing()
        assert main(["compare", f"--resume={folder}"]) == 0  # shows again, runs nothing
        assert len(pool_here) - before == 10
        assert list((tmp_path / "saved").iterdir()) == [folder]

    def test_killed_before_any_table(self, compare, pool_here, monkeypatch, tmp_path):
        """Of a process that died only the trials are left."""
        compare("--models=Base,MWUF", "--backbones=FM")
        (folder,) = (tmp_path / "saved").iterdir()
        whole = results(report.load_comparison(folder))
        for name in ("comparison.json", "table.txt"):
            (folder / name).unlink()
        trials = sorted((folder / "trials").glob("*.json"))
        trials[0].unlink()
        before = len(pool_here)
        assert main(["compare", f"--resume={folder}"]) == 0
        assert len(pool_here) - before == 1
        assert results(report.load_comparison(folder)) == whole

    def test_a_run_does_not_continue_a_comparison(self, compare, pool_here, tmp_path, capsys):
        compare("--models=Base,MWUF", "--backbones=FM")
        (folder,) = (tmp_path / "saved").iterdir()
        (folder / "table.txt").unlink()
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 2
        assert f"recbole-cold compare --resume={folder}" in capsys.readouterr().err
        assert main(["--resume", f"--saved_dir={tmp_path / 'saved'}"]) == 2
        assert "no unfinished run" in capsys.readouterr().err

    def test_failures(self, compare, pool_here, tmp_path, capsys):
        (tmp_path / "bad.py").write_text(
            "from recbole_cold.model.base import Base\n"
            "class Bad(Base):\n"
            "    def cold_vectors(self):\n"
            "        return super().cold_vectors() * float('nan')\n"
        )
        code, document, ran = compare(
            f"--models=Base,MWUF,{tmp_path / 'bad.py'}", "--backbones=FM", "--seeds=2"
        )
        out, err = capsys.readouterr()
        assert (code, ran) == (1, 8)
        assert "2 failed; the first: bad on FM, seed 2020:" in err
        assert "are not a number" in err
        assert len(document["failures"]) == 2
        assert "missing: bad on FM: 0 of 2 seeds are there" in out
        (folder,) = (tmp_path / "saved").iterdir()
        assert f"to run what failed again: recbole-cold compare --resume={folder}" in err
        before = len(pool_here)
        assert main(["compare", f"--resume={folder}"]) == 1
        assert len(pool_here) - before == 2


# ------------------------------------------------------------------------- folders
@pytest.fixture(scope="class")
def runs():
    """Words of a run -> the folder that an earlier test has made with them."""
    return {}


class TestFolders:
    @pytest.fixture
    def show(self, tmp_path, capsys):
        """``show(folder, ...)``: exit code, stdout, the comparison that was shown."""

        def go(*words):
            capsys.readouterr()
            code = main(["compare", *map(str, words), f"--saved_dir={tmp_path / 'shown'}"])
            out, err = capsys.readouterr()
            folders = sorted((tmp_path / "shown").glob("*"))
            return code, out, err, report.load_comparison(folders[-1]) if folders else None

        return go

    @pytest.fixture
    def made(self, tiny_flags, tmp_path, tmp_path_factory, runs):
        """``made("name", "--key=value")``: the folder of a run; a copy of an earlier test's, if
        that had these words."""
        earlier = dict(runs)

        def go(name, *words):
            if words in earlier:
                run = earlier.pop(words)  # two in one test are two runs
                return shutil.copytree(run, tmp_path / name / run.name)
            flags = [flag for flag in tiny_flags if not flag.startswith("--saved_dir")]
            names = {word.partition("=")[0] for word in words}
            flags = [flag for flag in flags if flag.partition("=")[0] not in names]
            assert main([*flags, f"--saved_dir={tmp_path / name}", *words]) == 0
            (folder,) = (tmp_path / name).iterdir()
            runs[words] = shutil.copytree(folder, tmp_path_factory.mktemp("run") / folder.name)
            return folder

        return go

    def test_rows_backbones_and_seeds_of_several_runs(self, show, made, pool_here):
        one = made("one", "--model=Base,MWUF", "--backbone=FM")
        two = made("two", "--model=Base,MWUF", "--backbone=FM", "--seed=2021")
        three = made("three", "--model=Base", "--backbone=PNN", "--use_outer=True",
                     "--use_inner=False")  # fmt: skip
        code, out, _, document = show(one, two, three, one)
        assert code == 0
        assert not pool_here
        comparison = Comparison(document)
        assert set(comparison.backbones) == {"FM", "PNN[use_inner=false;use_outer=true]"}
        assert comparison.rows == ["Base", "MWUF", MATCHED]
        assert comparison.seeds == [2020, 2021]
        for folder, seed in ((one, 2020), (two, 2021)):
            for run in report.load(folder)["runs"]:
                assert results(document)["FM", run["label"], seed] == run["seeds"][0]["phases"]
        assert "missing: MWUF on PNN" in out
        assert show(one.parent / "..", one)[0] == 0  # a folder without results is left out

    def test_settings_that_differ_tell_rows_apart(self, show, made):
        one = made(
            "one", "--model=Base,MWUF[mwuf_parts=[scale]]", "--backbone=FM", "--matched_row=False"
        )
        two = made(
            "two",
            "--model=MWUF",
            "--backbone=FM",
            "--warm_learning_rate=0.01",
            "--matched_row=False",
        )
        code, _, _, document = show(one, two)
        assert code == 0
        rows = Comparison(document).rows
        assert rows == ["Base", "MWUF[mwuf_parts=[scale]]", "MWUF[warm_learning_rate=0.01]"]

    @pytest.mark.parametrize(
        ("flags", "told"),
        [
            (["--protocol=released", "--use_timestamp=False"], "protocol is strict and released"),
            (["--eval_on=next"], "eval_on is test and next"),
            (["--warm_size=2"], "the split's K is 3 and 2; the split's counts"),
            (["--share_pretrained=True"], "share_pretrained is False and True"),
            (["--f1_threshold=0.5", "--metrics=[F1]"], "f1_threshold is mean and 0.5"),
            (["--threshold={rating: 3}"], "differ"),
        ],
    )
    def test_mixed_results_are_refused(self, show, made, flags, told):
        shared = [flag for flag in flags if flag.startswith("--metrics")]
        one = made("one", "--model=Base", "--backbone=FM", *shared)
        two = made("two", "--model=MWUF", "--backbone=FM", *flags)
        code, out, err, _ = show(one, two)
        assert (code, out) == (2, "")
        assert told in err
        assert f"'{one}' and '{two}' cannot stand in one table" in err

    def test_a_metric_that_some_folder_lacks_is_left_out_and_told(self, show, made):
        """A threshold that F1 has in one folder alone is no reason to refuse the others."""
        plain = ["--backbone=FM", "--matched_row=False"]
        one = made("one", "--model=Base", "--metrics=[AUC,LogLoss]", *plain)
        two = made("two", "--model=MWUF", "--metrics=[AUC,F1]", "--f1_threshold=0.5", *plain)
        code, out, _, document = show(one, two)
        assert code == 0
        assert Comparison(document).metrics == ["AUC", "RelaImpr"]
        assert "left out, for not every result has it: LogLoss, F1" in out
        code, out, _, document = show(one, one)
        assert "left out" not in out

    def test_nothing_to_compare(self, show, made, tmp_path):
        (tmp_path / "empty").mkdir()
        code, out, err, _ = show(tmp_path / "empty")
        assert (code, out) == (2, "")
        assert "none of these folders has a results.json" in err
        alone = made("one", "--model=Base", "--backbone=FM", "--matched_row=False")
        assert "the results are of Base alone" in show(alone)[2]
        assert "does not exist" in show(tmp_path / "nowhere")[2]

    @pytest.mark.parametrize("key", ["model", "backbone"])
    def test_documents_of_others_import_nothing(self, show, made, tmp_path, key):
        """A results file may name a file or module; the comparison shows it as a label."""
        trap, sprung = tmp_path / "trap.py", tmp_path / "sprung"
        trap.write_text(f"open({str(sprung)!r}, 'w').close()\n")
        folder = made("one", "--model=Base,MWUF", "--backbone=FM", "--matched_row=False")
        path = folder / "results.json"
        for named in (str(trap), f"{trap}:Trap", "trap:Trap", "trap"):
            document = json.loads(path.read_text())
            document["runs"][0][key] = named
            path.write_text(json.dumps(document))
            code, out, _, _ = show(folder)
            assert code == 0
            assert not sprung.exists()
        assert "trap" in out or key == "model"  # a run keeps its label, a backbone is one

    def test_a_document_writes_nowhere_else(self, show, made, tmp_path):
        folder = made("one", "--model=Base,MWUF", "--backbone=FM", "--matched_row=False")
        path = folder / "results.json"
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, "dataset": "../../elsewhere"}))
        assert show(folder)[0] == 0
        assert not list(tmp_path.rglob("elsewhere*")) + list(tmp_path.parent.glob("elsewhere*"))
        assert len(list((tmp_path / "shown").iterdir())) == 1

    def test_a_comparison_is_a_folder_of_results(self, show, compare, tmp_path):
        _, made, _ = compare("--models=Base,MWUF", "--backbones=FM,DCN")
        (folder,) = (tmp_path / "saved").iterdir()
        _, out, _, document = show(folder, "--against=MWUF")
        assert results(document) == results(made)
        assert "AUC minus MWUF" in out


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--models=Base"], "there is nothing to compare: Base on DeepFM is one cell"),
            (["--models=Base,MWUF", "--against=EmerG"], "--against names 'EmerG', which is not"),
            (["--models=Base,MWUF", "--backbones=FM,FMM"], "backbone 'FMM' is unknown"),
            (["--models=Base,MWUF", "--backbones=FM,FM"], "--backbones names FM more than once"),
            (["--models=Base,MWUF", "--backbones=PNN[x"], "--backbones has 'PNN[x'"),
            (["--models=Base,MWUF", "--backbones=FM[seed=3]"], "holds for the whole table"),
            (["--models=Base,MWUF", "--backbones=FM[use_outer=True]"], "unknown key: 'use_outer'"),
            (["--models=Base,MWUF", "--concurrent=none"], "concurrent must be a whole number of"),
            (["--models=Base,MWUF", "--model=Base"], "--models and --model are the same"),
            (["--models=Base,MWUF", "--resume=x"], "--resume continues a comparison"),
            (["saved/x", "--seeds=3"], "compare with folders runs nothing: leave out --"),
        ],
    )  # fmt: skip
    def test_one_sentence(self, tiny_flags, pool_here, tmp_path, capsys, words, told):
        assert main(["compare", *tiny_flags, *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert told in err
        assert len(err.splitlines()) == 1
        assert not (tmp_path / "saved").exists()
        assert not pool_here

    def test_nothing_unfinished(self, tmp_path, capsys):
        assert main(["compare", "--resume", f"--saved_dir={tmp_path}"]) == 2
        assert "there is no unfinished comparison" in capsys.readouterr().err
        assert main(["compare", f"--resume={tmp_path}"]) == 2
        assert "is not the folder of a comparison" in capsys.readouterr().err


@pytest.mark.slow
def test_through_ray(tiny_flags, tmp_path):
    """The real pool, two trials at a time, against one after another in this process."""
    words = ["--models=Base,MWUF", "--backbones=FM,DCN", "--concurrent=2", "--reference_rows=[]"]
    assert main(["compare", *tiny_flags, *words]) == 0
    (folder,) = (tmp_path / "saved").iterdir()
    document = report.load_comparison(folder)
    assert document["ran"] == 6
    assert len(list((folder / "trials").glob("*.npz"))) == 6
    assert {record["backbone"] for record in document["intervals"]} == {"FM", "DCN"}
    for path in (folder / "trials").glob("*.json"):
        (run,) = report.load(path)["runs"]
        assert run["seeds"][0]["phases"] in results(document).values()


def test_recorded_code_is_of_the_class_and_its_station(tiny_keys):
    """Methods and backbones differ in code; a configuration's values do not change it."""
    from recbole_cold.config import make_config
    from recbole_cold.experiment.fingerprint import code_of

    def code(method, backbone, **keys):
        return code_of(make_config(method, "tiny", backbone, overrides={**tiny_keys, **keys}))

    assert code("MWUF", "FM") == code("MWUF", "FM", learning_rate=0.5)
    assert code("MWUF", "FM") != code("Base", "FM")
