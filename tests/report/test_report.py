"""Results documents, the figures taken from them, and how they are shown."""

import copy
import errno
import itertools
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.text import Text

from recbole_cold import report
from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import BELOW_CHANCE, CONSTANT, EMPTY
from recbole_cold.report import _document, _pictures
from recbole_cold.report._looks import looks_of_run

LABELS = ("Base", "Base (210 steps)", "DropoutNet", "MetaE", "MWUF", "CVAR")
PHASES = ("cold", "warm_a", "warm_b", "warm_c")


def a_phase(rng, good):
    """Values with all their digits, so that a swapped column shows."""
    metrics = {
        "AUC": 0.6 + good + rng.gauss(0, 0.003),
        "LogLoss": 0.7 - good + rng.gauss(0, 0.003),
        "F1": 0.5 + good + rng.gauss(0, 0.003),
    }
    return {"metrics": metrics, "rows": 58409, "positives": 30000, "warnings": []}


def a_stage(name, steps):
    return {
        "name": name, "steps": steps, "rows": 2048 * steps, "seconds": steps / 100,
        "cpu_seconds": steps / 200, "peak_memory_mb": 800.0 + steps, "cached": False,
    }  # fmt: skip


def a_run(rng, label, number, seeds, phases):
    def a_seed(seed):
        scored = {name: a_phase(rng, 0.02 * p + 0.01 * number) for p, name in enumerate(phases)}
        steps = {"pretrain": 418, "learn": 0 if number < 2 else 210}
        steps |= dict.fromkeys(phases[1:], 210 if number == 1 else 10)
        stages = [a_stage(name, count) for name, count in steps.items()]
        return {"seed": seed, "phases": scored, "stages": stages}

    return {
        "label": label, "model": label.split(" ")[0], "backbone": "DeepFM", "variant": {},
        "config": {"base_model": "Base"},
        "parameters": {"backbone": 185001, "method": 100 + number},
        "seeds": [a_seed(2024 + s) for s in range(seeds)],
    }  # fmt: skip


def a_document(seeds=3, labels=LABELS, phases=PHASES):
    rng = random.Random(7)
    counts = {"train": 854530, "warm_a": 19440, "warm_b": 19440, "warm_c": 19440, "test": 58409}
    split = {
        "rule": "frequency", "N": 200, "K": 20, "cold_side": "item", "order": "time",
        "counts": counts, "old": 1022, "new": 972, "hash": "ab12",
    }  # fmt: skip
    return {
        "schema": 1, "command": "recbole-cold --model=Base,MWUF --seeds=3",
        "created": "2026-01-01T00:00:00", "dataset": "ml-1m", "data_hash": "cd34", "split": split,
        "versions": {"torch": "2.13.0"}, "eval_on": "test", "protocol": "strict",
        "phases": list(phases), "metrics": ["AUC", "LogLoss", "F1"], "share_pretrained": False,
        "runs": [a_run(rng, label, k, seeds, phases) for k, label in enumerate(labels)],
    }  # fmt: skip


@pytest.fixture
def doc():
    return a_document()


def phase_of(doc, label, seed=0, phase="cold"):
    return next(run for run in doc["runs"] if run["label"] == label)["seeds"][seed]["phases"][phase]


def set_auc(doc, label, values, phase="cold"):
    for seed, value in enumerate(values):
        phase_of(doc, label, seed, phase)["metrics"]["AUC"] = value


def naive(doc, label, phase, metric):
    return [
        seed["phases"][phase]["metrics"][metric]
        for run in doc["runs"]
        if run["label"] == label
        for seed in run["seeds"]
    ]


def row_of(doc, label, phase, metric, **options):
    rows = report.summary(doc, [metric], **options)
    return next(row for row in rows if (row.label, row.phase) == (label, phase))


def disk_full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestReading:
    def test_what_was_written_is_read(self, doc, tmp_path):
        report.write_json(tmp_path / "results.json", doc)
        assert report.load(tmp_path / "results.json") == doc
        assert report.load(tmp_path) == doc, "the folder of a run will do"

    def test_nan_is_null_in_the_file_and_nan_again(self, doc, tmp_path):
        """Other readers of JSON refuse a literal NaN."""
        set_auc(doc, "CVAR", [math.nan])
        path = tmp_path / "results.json"
        report.write_json(path, doc)
        json.loads(path.read_text(), parse_constant=pytest.fail)
        assert math.isnan(phase_of(report.load(path), "CVAR")["metrics"]["AUC"])

    def test_numpy_values_and_tuples_become_plain(self, tmp_path):
        path = tmp_path / "a.json"
        report.write_json(path, {"n": np.int64(3), "x": np.float32(0.5), 7: (np.bool_(True), None)})
        assert json.loads(path.read_text()) == {"n": 3, "x": 0.5, "7": [True, None]}

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(UserError, match=r"cannot read '.*nowhere.json' \(No such file"):
            report.load(tmp_path / "nowhere.json")

    def test_half_a_file_is_no_json(self, doc, tmp_path):
        path = tmp_path / "results.json"
        path.write_text(json.dumps(doc)[:5000])
        with pytest.raises(UserError, match=r"results.json' is not JSON"):
            report.load(path)

    def test_bytes_that_are_no_text(self, tmp_path):
        (tmp_path / "results.json").write_bytes(b"\x89PNG\xff\xfe")
        with pytest.raises(UserError, match="is not JSON"):
            report.load(tmp_path)

    @pytest.mark.parametrize(
        ("schema", "told"),
        [(2, "has schema 2 .* newer .* upgrade"), (0, "has schema 0"), ("1", "has schema '1'")],
    )
    def test_another_schema_is_refused(self, doc, schema, told):
        with pytest.raises(UserError, match=told):
            report.validate(doc | {"schema": schema})

    @pytest.mark.parametrize("other", [[], {}, None, 3])
    def test_other_json_is_refused(self, other):
        with pytest.raises(UserError, match="names no schema"):
            report.validate(other)

    @pytest.mark.parametrize(
        ("keys", "path"),
        [
            (_document._DOCUMENT, ()),
            (_document._RUN, ("runs", 4)),
            (_document._SEED, ("runs", 4, "seeds", 1)),
            (_document._PHASE, ("runs", 4, "seeds", 1, "phases", "warm_b")),
            (_document._STAGE, ("runs", 4, "seeds", 1, "stages", 2)),
        ],
    )
    def test_whatever_is_missing_or_of_another_kind_is_named(self, keys, path):
        for key in keys:
            for spoil in (
                lambda part, key: part.pop(key),
                lambda part, key: part.update({key: None}),
            ):
                doc = a_document()
                part = doc
                for step in path:
                    part = part[step]
                spoil(part, key)
                where = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in (*path, key))
                with pytest.raises(UserError) as caught:
                    report.validate(doc, "r.json")
                assert re.match(rf"'r.json': {re.escape(where[1:])} (is|must)", str(caught.value))

    def test_true_is_no_number(self, doc):
        phase_of(doc, "MWUF")["rows"] = True
        with pytest.raises(UserError, match=r"phases.cold.rows must be a number, not True"):
            report.validate(doc)

    @pytest.mark.parametrize("path", ["seeds[0]", "seeds[0].stages[1]"])
    def test_a_peak_that_is_text(self, doc, path):
        """Seeds and stages may have a card's peak, or none."""
        part = doc["runs"][0]["seeds"][0]
        part = part["stages"][1] if "stages" in path else part
        part["peak_gpu_memory_mb"] = 812.5
        report.validate(doc)
        part["peak_gpu_memory_mb"] = "812.5"
        where = re.escape(f"'r.json': runs[0].{path}.peak_gpu_memory_mb must be a number")
        with pytest.raises(UserError, match=where):
            report.validate(doc, "r.json")

    @pytest.mark.parametrize(
        "bins",
        [
            [], {}, {"predicted": [0.1], "clicked": [0.1]},
            {"predicted": 1, "clicked": [], "rows": []},
            {"predicted": [0.1], "clicked": [0.1, 0.2], "rows": [1, 2]},
            {"predicted": ["x"], "clicked": [0.1], "rows": [1]},
            {"predicted": [None], "clicked": [None], "rows": [None]},
        ],
    )  # fmt: skip
    def test_bins_that_are_none(self, doc, bins):
        phase_of(doc, "MWUF")["reliability"] = {"predicted": [None], "clicked": [None], "rows": [0]}
        report.validate(doc)
        phase_of(doc, "MWUF")["reliability"] = bins
        with pytest.raises(UserError, match=r"cold.reliability must be lists predicted, clicked"):
            report.validate(doc)

    def test_a_metric_that_is_text(self, doc):
        phase_of(doc, "MWUF")["metrics"]["AUC"] = "0.7"
        with pytest.raises(UserError, match=r"cold.metrics.AUC must be a number or null"):
            report.validate(doc)

    def test_a_phase_of_nowhere(self, doc):
        phases = doc["runs"][0]["seeds"][0]["phases"]
        phases["warm_z"] = phases["cold"]
        with pytest.raises(UserError, match=r"phases.warm_z is not among the document's phases"):
            report.validate(doc)

    def test_labels_and_seeds_are_unique(self, doc):
        twice = copy.deepcopy(doc)
        twice["runs"][1]["label"] = "Base"
        with pytest.raises(UserError, match=r"label of runs is given twice \('Base'\)"):
            report.validate(twice)
        doc["runs"][2]["seeds"][1]["seed"] = 2024
        with pytest.raises(UserError, match=r"runs\[2\].seeds is given twice \(2024\)"):
            report.validate(doc)


class TestWriting:
    def test_a_full_disk_leaves_the_earlier_file(self, doc, tmp_path, monkeypatch):
        path = tmp_path / "results.json"
        report.write_json(path, doc)
        before = path.read_bytes()
        monkeypatch.setattr(os, "fsync", disk_full)
        with pytest.raises(UserError, match="No space left on device"):
            report.write_json(path, doc | {"dataset": "other"})
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]

    def test_a_folder_that_is_a_file(self, doc, tmp_path):
        (tmp_path / "saved").write_text("")
        with pytest.raises(UserError, match="cannot write"):
            report.write_json(tmp_path / "saved" / "results.json", doc)


class TestSummary:
    def test_mean_and_sample_deviation_by_hand(self, doc):
        set_auc(doc, "MWUF", [0.70, 0.72, 0.77])
        row = row_of(doc, "MWUF", "cold", "AUC")
        assert row.mean == pytest.approx(0.73)
        assert row.std == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
        assert row.n == 3

    def test_has_every_label_phase_and_metric_once(self, doc):
        rows = report.summary(doc)
        assert len({row[:3] for row in rows}) == len(rows) == 6 * 4 * 3
        for row in rows:
            values = naive(doc, row.label, row.phase, row.metric)
            assert row.mean == pytest.approx(sum(values) / 3)
            assert row.std == pytest.approx(statistics.stdev(values))

    def test_one_seed_has_no_deviation(self):
        row = row_of(a_document(seeds=1), "MWUF", "cold", "AUC")
        assert row.n == 1 and math.isfinite(row.mean) and math.isnan(row.std)

    def test_undefined_values_are_left_out(self, doc):
        set_auc(doc, "MWUF", [0.70, math.nan, 0.72])
        row = row_of(doc, "MWUF", "cold", "AUC")
        assert row.mean == pytest.approx(0.71) and row.n == 2

    def test_a_phase_that_was_not_reached_is_unknown(self, doc):
        for seed in doc["runs"][5]["seeds"]:
            del seed["phases"]["warm_c"]
        row = row_of(doc, "CVAR", "warm_c", "F1")
        assert row.n == 0 and math.isnan(row.mean) and math.isnan(row.std)

    def test_rela_impr_is_taken_seed_by_seed(self, doc):
        """+100 % and 0 %: the mean is 50 %; the ratio of the mean AUCs would say 33 %."""
        for run in doc["runs"]:
            del run["seeds"][2]
        set_auc(doc, "Base", [0.6, 0.7])
        set_auc(doc, "MWUF", [0.7, 0.7])
        row = row_of(doc, "MWUF", "cold", "RelaImpr")
        assert row.mean == pytest.approx(0.5)
        assert row.std == pytest.approx(math.sqrt(0.5))

    def test_rela_impr_over_a_named_run(self, doc):
        set_auc(doc, "CVAR", [0.6] * 3)
        set_auc(doc, "MWUF", [0.7] * 3)
        assert row_of(doc, "MWUF", "cold", "RelaImpr", base="CVAR").mean == pytest.approx(1.0)

    def test_rela_impr_reads_base_model_of_the_configuration(self, doc):
        for run in doc["runs"]:
            run["config"]["base_model"] = "MWUF"
        assert row_of(doc, "MWUF", "cold", "RelaImpr").mean == 0.0

    def test_rela_impr_without_a_base_is_unknown(self):
        doc = a_document(labels=("MWUF", "CVAR"))
        assert row_of(doc, "MWUF", "cold", "RelaImpr").n == 0

    def test_a_named_base_that_is_absent(self, doc):
        with pytest.raises(UserError, match="no run 'EmerG' in these results; there are Base,"):
            report.summary(doc, ["RelaImpr"], base="EmerG")

    def test_a_metric_that_was_not_computed(self, doc):
        doc["metrics"] = ["AUC"]
        with pytest.raises(UserError, match="'F1' was not computed in this run, which has AUC"):
            report.summary(doc, ["F1"])

    def test_a_metric_that_does_not_exist(self, doc):
        with pytest.raises(UserError, match="did you mean 'LogLoss'"):
            report.summary(doc, ["loglos"])


class TestPairedTest:
    def test_by_hand(self, doc):
        """Differences .01, .02, .06: mean .03, s = sqrt(.0007), t = .03 / (s / sqrt 3)."""
        set_auc(doc, "Base", [0.70, 0.71, 0.69])
        set_auc(doc, "MWUF", [0.71, 0.73, 0.75])
        found = report.paired_test(doc, "MWUF", "Base", "cold", "AUC")
        t = 0.03 / (math.sqrt(0.0007) / math.sqrt(3))
        assert found.difference == pytest.approx(0.03)
        assert found.statistic == pytest.approx(t)
        # Student's t with two degrees of freedom has this closed form.
        assert found.p_value == pytest.approx(1 - t / math.sqrt(t * t + 2))
        assert found.n == 3

    def test_swapping_the_runs_swaps_the_sign(self, doc):
        one = report.paired_test(doc, "MWUF", "CVAR", "warm_a", "LogLoss")
        other = report.paired_test(doc, "CVAR", "MWUF", "warm_a", "LogLoss")
        assert one.difference == pytest.approx(-other.difference)
        assert one.p_value == pytest.approx(other.p_value)

    def test_pairs_are_of_the_same_seed(self, doc):
        """The seeds stand in another order and one is missing: pairs go by seed, not by place."""
        set_auc(doc, "Base", [0.60, 0.70, 0.80])
        set_auc(doc, "MWUF", [0.61, 0.72, 0.81])
        doc["runs"][0]["seeds"] = doc["runs"][0]["seeds"][:0:-1]
        found = report.paired_test(doc, "MWUF", "Base", "cold", "AUC")
        assert found.difference == pytest.approx(0.015)
        assert found.n == 2

    def test_one_seed_tells_the_difference_only(self):
        found = report.paired_test(a_document(seeds=1), "MWUF", "Base", "cold", "AUC")
        assert math.isfinite(found.difference) and math.isnan(found.p_value) and found.n == 1

    def test_equal_differences_have_no_test(self, doc):
        """.1 more in every seed, up to rounding: a statistic of 1e16 would be noise."""
        values = naive(doc, "Base", "cold", "AUC")
        set_auc(doc, "MWUF", [value + 0.1 for value in values])
        found = report.paired_test(doc, "MWUF", "Base", "cold", "AUC")
        assert found.difference == pytest.approx(0.1)
        assert math.isnan(found.statistic) and math.isnan(found.p_value)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("EmerG", "Base", "cold", "AUC"), "no run 'EmerG'"),
            (
                ("MWUF", "Base", "warm_z", "AUC"),
                "phase 'warm_z' is unknown; known are cold, warm_a",
            ),
            (("MWUF", "Base", "cold", "AUCC"), "metric 'AUCC' is none of"),
        ],
    )
    def test_unknown_names(self, doc, arguments, told):
        with pytest.raises(UserError, match=told):
            report.paired_test(doc, *arguments)


def block(text, title):
    """The lines of the block that begins with ``title``, split into cells."""
    lines = text.split("\n")
    first = next(k for k, line in enumerate(lines) if line.startswith(title))
    last = next((k for k in range(first, len(lines)) if not lines[k]), len(lines))
    return [re.split(r"  +", line.strip()) for line in lines[first:last]]


class TestTable:
    @pytest.mark.parametrize("metric", ["AUC", "LogLoss", "F1"])
    def test_every_cell_is_its_mean_and_deviation(self, doc, metric):
        header, *lines = block(report.table(doc), metric)
        assert header == [metric, *PHASES]
        assert [line[0] for line in lines] == list(LABELS)
        for label, *cells in lines:
            for phase, cell in zip(PHASES, cells, strict=True):
                values = naive(doc, label, phase, metric)
                expected = f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"
                assert cell.rstrip("*") == expected

    @pytest.mark.parametrize(("metric", "choose"), [("AUC", max), ("LogLoss", min), ("F1", max)])
    def test_the_best_of_each_phase_is_marked(self, doc, metric, choose):
        _, *lines = block(report.table(doc), metric)
        for column, phase in enumerate(PHASES, start=1):
            means = {label: statistics.mean(naive(doc, label, phase, metric)) for label in LABELS}
            marked = [line[0] for line in lines if line[column].endswith("*")]
            assert marked == [choose(means, key=means.__getitem__)]

    def test_nothing_is_best_where_all_are_equal(self, doc):
        for label in LABELS:
            set_auc(doc, label, [0.7] * 3)
        _, *lines = block(report.table(doc), "AUC")
        assert not any(line[1].endswith("*") for line in lines)
        assert sum(line[2].endswith("*") for line in lines) == 1

    def test_one_seed_shows_no_deviation_and_says_so(self):
        text = report.table(a_document(seeds=1))
        assert "±" not in text
        assert "one seed (2024)" in text

    def test_budgets_are_shown(self, doc):
        header, *lines = block(report.table(doc), "optimizer steps")
        assert header == ["optimizer steps", "pretrain", "learn", *PHASES[1:], "seconds", "CPU s"]
        assert lines[0] == ["Base", "418", "0", "10", "10", "10", "4.5", "2.2"]
        assert lines[1] == ["Base (210 steps)", "418", "0", "210", "210", "210", "10.5", "5.2"]
        assert lines[4] == ["MWUF", "418", "210", "10", "10", "10", "6.6", "3.3"]

    def test_cached_pretraining_is_marked_and_explained(self, doc):
        assert "read from the cache" not in report.table(doc)
        for seed in doc["runs"][4]["seeds"]:
            seed["stages"][0]["cached"] = True
        text = report.table(doc)
        _, *lines = block(text, "optimizer steps")
        assert [line[1] for line in lines] == ["418", "418", "418", "418", "418c", "418"]
        assert "c: read from the cache" in text

    def test_steps_that_differ_between_seeds_are_a_mean(self, doc):
        doc["runs"][0]["seeds"][0]["stages"][0]["steps"] = 415
        assert block(report.table(doc), "optimizer steps")[1][1] == "~417"

    @pytest.mark.parametrize(
        ("shared", "told"),
        [(False, "everything is repeated per seed, pre-training included"),
         (True, "pre-training is shared: only what follows it is repeated")],
    )  # fmt: skip
    def test_says_whether_pretraining_was_shared(self, doc, shared, told):
        text = report.table(doc | {"share_pretrained": shared})
        assert f"over 3 seeds (2024-2026); {told}" in text

    def test_says_what_the_split_is(self, doc):
        line = next(line for line in report.table(doc).split("\n") if line.startswith("split:"))
        assert line == (
            "split: train 854,530, warm_a 19,440, warm_b 19,440, warm_c 19,440, test 58,409; "
            "1,022 old, 972 new items; N=200, K=20"
        )

    def test_says_when_the_order_is_drawn(self, doc):
        doc["split"]["order"] = "seeded permutation"
        assert "order: seeded permutation" in report.table(doc)

    @pytest.mark.parametrize(
        ("eval_on", "told"),
        [
            ("test", "on the same 58,409 test rows"),
            ("next", "on the rows that the next one learns"),
        ],
    )
    def test_says_what_is_scored(self, doc, eval_on, told):
        assert told in report.table(doc | {"eval_on": eval_on})

    @pytest.mark.parametrize("width", [None, 100, 72])
    def test_fits_the_screen_and_loses_nothing(self, width):
        phases = (*PHASES, *(f"common_{n}" for n in range(1, 9)))
        labels = (*LABELS, "MWUF[warm_up_on=all,meta_hidden_size=[16,16],init=random,shift=false]")
        text = report.table(a_document(labels=labels, phases=phases), width=width)
        assert max(map(len, text.split("\n"))) <= (width or 120)
        whole = report.table(a_document(labels=labels, phases=phases), width=10_000)
        number = re.compile(r"0\.\d{4}")
        assert sorted(number.findall(text)) == sorted(number.findall(whole))

    def test_a_phase_that_was_not_reached_is_a_dash_and_a_warning(self, doc):
        for seed in doc["runs"][5]["seeds"]:
            del seed["phases"]["warm_c"]
        text = report.table(doc)
        assert block(text, "AUC")[6][-1] == "-"
        assert "warning: CVAR: only 0 of 3 seeds are complete" in text

    def test_a_document_without_results_yet(self, doc):
        for run in doc["runs"]:
            run["seeds"] = []
        assert "warning: MWUF: only 0 of 1 seeds are complete" in report.table(doc)
        assert report.costs(doc) and report.markdown(doc)

    def test_rela_impr_is_shown_when_asked(self, doc):
        assert "RelaImpr" not in report.table(doc)
        set_auc(doc, "Base", [0.7, 0.7, 0.7])
        set_auc(doc, "MWUF", [0.75, 0.75, 0.78])
        header, base, *others = block(report.table(doc, ["AUC", "RelaImpr"]), "RelaImpr over Base")
        assert header[0] == "RelaImpr over Base"
        assert base[1] == "+0.0% ± 0.0%"
        assert others[3][1].rstrip("*") == "+30.0% ± 8.7%"

    def test_metrics_are_chosen(self, doc):
        text = report.table(doc, ["F1"])
        assert "F1 " in text and "AUC" not in text and "LogLoss" not in text


class TestWarnings:
    def lines(self, doc):
        text = report.table(doc, width=500)
        return [line for line in text.split("\n") if line.startswith("warning")]

    def test_good_results_have_none(self, doc):
        assert self.lines(doc) == []

    def test_worse_than_chance_is_found_in_the_numbers(self, doc):
        set_auc(doc, "CVAR", [0.49])
        set_auc(doc, "CVAR", [0.45, 0.45, 0.45], phase="warm_b")
        assert self.lines(doc) == [f"warning: CVAR, cold (1 of 3 seeds), warm_b: {BELOW_CHANCE}"]

    def test_stored_and_found_warnings_are_said_once(self, doc):
        set_auc(doc, "CVAR", [0.49])
        phase_of(doc, "CVAR")["warnings"] = [BELOW_CHANCE, CONSTANT]
        assert self.lines(doc) == [
            f"warning: CVAR, cold (1 of 3 seeds): {BELOW_CHANCE}",
            f"warning: CVAR, cold (1 of 3 seeds): {CONSTANT}",
        ]

    def test_empty_phases(self, doc):
        for seed in range(3):
            phase_of(doc, "Base", seed, "warm_a")["rows"] = 0
        assert self.lines(doc) == [f"warning: Base, warm_a: {EMPTY}"]

    def test_half_is_not_below_half(self, doc):
        set_auc(doc, "CVAR", [0.5])
        assert self.lines(doc) == []


class TestMarkdown:
    def test_tables_are_tables(self, doc):
        """Every line of a table has as many cells as its header, pipes in labels included."""
        doc["runs"][4]["label"] = "MWUF|init"
        text = report.markdown(doc)
        for table in text.split("\n\n"):
            rows = [line for line in table.split("\n") if line.startswith("|")]
            counts = {len(re.split(r"(?<!\\)\|", row)) for row in rows}
            assert len(counts) <= 1
        assert "| MWUF\\|init |" in text

    def test_numbers_are_those_of_the_screen(self, doc):
        """Those of the tables; the sentences before them have numbers of their own."""
        number = re.compile(r"\d\.\d{4}")
        tables = "\n".join(x for x in report.markdown(doc).split("\n") if x.startswith("|"))
        assert number.findall(tables) == number.findall(report.table(doc))

    def test_best_is_bold_and_the_command_is_there(self, doc):
        text = report.markdown(doc)
        best = max(naive_means(doc, "cold"), key=naive_means(doc, "cold").__getitem__)
        line = next(line for line in text.split("\n") if line.startswith(f"| {best} |"))
        assert line.split(" | ")[1].startswith("**0.")
        assert "```\nrecbole-cold --model=Base,MWUF --seeds=3\n```" in text


def naive_means(doc, phase):
    return {label: statistics.mean(naive(doc, label, phase, "AUC")) for label in LABELS}


class TestCosts:
    def test_by_hand(self, doc):
        header, *lines = block(report.costs(doc), "cost per seed")
        assert header[1:] == [
            "pre-train s", "learn s", "warm-up s", "CPU s", "steps", "rows seen", "peak MiB",
            "parameters",
        ]  # fmt: skip
        assert lines[4] == [
            "MWUF", "4.2", "2.1", "0.3", "3.3", "658", "1,347,584", "1,218", "185,001 + 104",
        ]  # fmt: skip

    def test_the_cache_is_marked(self, doc):
        doc["runs"][4]["seeds"][0]["stages"][0]["cached"] = True
        text = report.costs(doc)
        assert block(text, "cost per seed")[5][1] == "4.2c"
        assert text.count("c: read from the cache") == 1

    def test_fits_the_screen(self, doc):
        assert max(map(len, report.costs(doc).split("\n"))) <= 120
        assert max(map(len, report.costs(doc, width=60).split("\n"))) <= 60


def crowded():
    """Twelve labels of which eleven end at the same place."""
    labels = ("Base", *(f"MWUF[scale={k},shift=false]" for k in range(11)))
    doc = a_document(labels=labels, phases=(*PHASES, "common_1", "common_2", "common_3"))
    for number, label in enumerate(labels[1:]):
        set_auc(doc, label, [0.7 + number * 1e-5] * 3, phase="common_3")
    return doc


def boxes(figure, texts):
    """Where the letters are, without the arrow of an annotation."""
    renderer = figure.canvas.get_renderer()
    return [Text.get_window_extent(text, renderer) for text in texts]


def apart(these):
    return not any(a.overlaps(b) for k, a in enumerate(these) for b in these[k + 1 :])


def shown(axes, side):
    """Tick labels within the limits; matplotlib keeps some beyond them, which it does not draw."""
    low, high = axes.get_ylim() if side == "y" else axes.get_xlim()
    axis = axes.yaxis if side == "y" else axes.xaxis
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def draw(doc):
    names = ("AUC", "LogLoss")
    looks = looks_of_run(doc, "AUC")
    figure = _pictures._figure(
        doc, {name: _pictures.lines_of_run(doc, name, looks) for name in names}
    )
    figure.canvas.draw()
    return figure


class TestPictures:
    @pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
    def test_the_file_is_of_its_kind(self, doc, tmp_path, kind):
        report.plot_curves(doc, tmp_path / f"curves.{kind}")
        begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
        assert (tmp_path / f"curves.{kind}").read_bytes().startswith(begins[kind])
        assert len(list(tmp_path.iterdir())) == 1

    def test_equal_results_give_equal_bytes(self, doc, tmp_path):
        for name in ("a.png", "b.png"):
            report.plot_curves(doc, tmp_path / name)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    @pytest.mark.parametrize("make", [a_document, crowded, lambda: a_document(1, ("MWUF",))])
    def test_names_and_ticks_do_not_overlap_and_stay_inside(self, make):
        figure = draw(make())
        left, right = figure.axes
        names = boxes(figure, left.texts)
        assert apart(names)
        for axes in (left, right):
            assert (
                apart(boxes(figure, axes.get_xticklabels()))
                or axes.get_xticklabels()[0].get_rotation()
            )
        ticks = [*shown(left, "y"), *shown(right, "y"), *shown(right, "x")]
        for box in boxes(figure, [*left.texts, *figure.texts, *ticks]):
            assert box.x0 >= 0 and box.x1 <= figure.bbox.width
            assert box.y0 >= 0 and box.y1 <= figure.bbox.height
        beside = boxes(figure, [right.title, *shown(right, "y")])
        assert not any(name.overlaps(other) for name in names for other in beside)

    def test_lines_are_the_means_and_the_range_holds_the_bands(self, doc):
        left, right = draw(doc).axes
        for axes, metric in ((left, "AUC"), (right, "LogLoss")):
            low, high = axes.get_ylim()
            for label, line in zip(LABELS, axes.get_lines(), strict=True):
                values = [naive(doc, label, phase, metric) for phase in PHASES]
                assert list(line.get_ydata()) == pytest.approx([statistics.mean(v) for v in values])
                for v in values:
                    assert low < statistics.mean(v) - statistics.stdev(v)
                    assert statistics.mean(v) + statistics.stdev(v) < high
            assert high - low < 0.3, "the range is that of the data, not 0 to 1"

    def test_title_says_what_is_shown(self, doc):
        title, below = (text.get_text() for text in draw(doc | {"share_pretrained": True}).texts)
        assert title == "ml-1m, DeepFM, 3 seeds (2024-2026)"
        assert "same 58,409 test rows" in below and "sample std" in below
        assert "pre-training shared" in below.replace("\n", " ")

    def test_unknown_values_are_left_out(self, doc, tmp_path):
        set_auc(doc, "MWUF", [math.nan] * 3, phase="warm_b")
        lines = _pictures.lines_of_run(doc, "AUC", looks_of_run(doc, "AUC"))
        line = next(line for line in lines if line.label == "MWUF")
        assert line.x == [0, 1, 3]
        report.plot_curves(doc, tmp_path / "a.png")

    def test_without_auc_another_metric_is_drawn(self, doc, tmp_path):
        doc["metrics"] = ["F1"]
        report.plot_curves(doc, tmp_path / "a.png")
        assert (tmp_path / "a.png").stat().st_size > 10_000

    def test_nothing_to_draw(self, doc, tmp_path):
        for run in doc["runs"]:
            run["seeds"] = []
        with pytest.raises(UserError, match="no phase of these results has a metric"):
            report.plot_curves(doc, tmp_path / "a.png")

    def test_another_suffix(self, doc, tmp_path):
        with pytest.raises(UserError, match=r"ends in .png, .pdf or .svg"):
            report.plot_curves(doc, tmp_path / "curves.doc")

    def test_a_full_disk_leaves_nothing(self, doc, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "fsync", disk_full)
        with pytest.raises(UserError, match="No space left on device"):
            report.plot_curves(doc, tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []

    def test_matplotlib_and_scipy_wait_until_they_are_needed(self):
        code = (
            "import sys, recbole_cold.report as r; "
            "print([m for m in ('matplotlib', 'scipy.stats') if m in sys.modules])"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
        )
        assert found.stdout.strip() == "[]"


class TestApart:
    @pytest.mark.parametrize("seed", range(20))
    def test_order_distance_and_bounds(self, seed):
        rng = random.Random(seed)
        heights = sorted(
            rng.choice([rng.random(), 0.0, 0.5, 1.0]) for _ in range(rng.randint(1, 10))
        )
        placed = _pictures._apart(heights, 0.1, 0.0, 1.0)
        assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(placed))
        assert placed[0] >= -1e-9 and placed[-1] <= 1 + 1e-9

    def test_far_apart_nothing_moves(self):
        assert _pictures._apart([0.1, 0.5, 0.9], 0.1, 0, 1) == [0.1, 0.5, 0.9]

    def test_a_pair_moves_about_its_centre(self):
        assert _pictures._apart([0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.45, 0.55])

    def test_a_third_moves_the_pair_by_its_share(self):
        """.45 and .55 touch a third at .56: the centre of all three is (.5 + .5 + .56) / 3."""
        placed = _pictures._apart([0.5, 0.5, 0.56], 0.1, 0, 1)
        assert placed == pytest.approx([0.42, 0.52, 0.62])
