"""Ranks over data sets and backbones: the text, the diagram, and the verb that draws it."""

import math
import re
from itertools import pairwise as neighbours

import numpy as np
import pytest
from picture_helpers import FEW, PHASES, a_document
from scipy import stats

from recbole_cold import report
from recbole_cold.cli.main import HELPS, main
from recbole_cold.errors import UserError
from recbole_cold.evaluation import ranks
from recbole_cold.report import MATCHED, OF_BATCHES, PLOTS, Asked, Comparison, plot_of
from recbole_cold.report._across import Across, across_text
from recbole_cold.report._cd_plot import _levels, cd_figure
from recbole_cold.report._plots import as_comparison
from recbole_cold.results import ComparisonResults, Results, load_results

ROWS = ["Base", "ItemBias", "MWUF", "CVAR", MATCHED]


def comparison(dataset="one", backbones=("FM", "DCN", "PNN"), labels=FEW, seed=0):
    draws = np.random.default_rng(seed)
    documents = [a_document(labels, b) | {"dataset": dataset, "data_hash": dataset}
                 for b in backbones]  # fmt: skip
    for doc in documents:
        for run in doc["runs"]:
            for seed_ in run["seeds"]:
                for phase in seed_["phases"].values():
                    phase["metrics"]["AUC"] += draws.normal(0, 0.01)
                    phase["metrics"]["LogLoss"] += draws.normal(0, 0.01)
    return Comparison({"schema": 1, "documents": documents})


@pytest.fixture
def two():
    return [comparison("one", seed=1), comparison("two", seed=2)]


def means(comparisons, phase, metric):
    """[blocks, rows], one number at a time."""
    return np.array([
        [np.mean([seed["phases"][phase]["metrics"][metric] for seed in run["seeds"]])
         for run in doc["runs"]]
        for each in comparisons for doc in each.by_backbone.values()
    ])  # fmt: skip


class TestAcross:
    @pytest.mark.parametrize(("metric", "sign"), [("AUC", -1), ("LogLoss", 1)])
    def test_ranks_are_those_of_the_means(self, two, metric, sign):
        across = Across(two, metric)
        assert [table.phase for table in across.phases] == PHASES
        for table in across.phases:
            assert table.rows == ROWS and table.values.shape == (6, 5)
            values = means(two, table.phase, metric)
            by_hand = np.mean([stats.rankdata(sign * block) for block in values], axis=0)
            assert table.mean_ranks == pytest.approx(list(by_hand))

    def test_rows_that_a_block_lacks_are_left_out(self, two):
        doc = two[1].by_backbone["DCN"]
        doc["runs"] = [run for run in doc["runs"] if run["label"] != "MWUF"]
        table = Across(two).phases[0]
        assert "MWUF" not in table.rows and table.left_out == ["MWUF"]
        assert "left out: MWUF" in across_text(Across(two))

    def test_rows_with_their_own_network_are_no_block(self):
        documents = [*comparison().document["documents"], a_document(["MeLU"], "own network")]
        across = Across([Comparison({"schema": 1, "documents": documents, "alone": ["MeLU"]})])
        assert across.blocks == [("one", "FM"), ("one", "DCN"), ("one", "PNN")]

    def test_the_same_block_counts_once(self, two):
        with pytest.raises(UserError, match=r"two on (DCN|FM) is there twice"):
            Across([*two, comparison("two", ["DCN", "FM"])])

    def test_too_few_blocks_or_rows(self):
        with pytest.raises(UserError, match=r"at least 3 data sets .* there are 2; add folders"):
            Across([comparison(backbones=["FM", "DCN"])])
        with pytest.raises(UserError, match="at least 3 rows that every data set"):
            Across([comparison(labels=["Base", "CVAR"])])

    def test_blocks_that_share_data_are_told(self, two):
        assert "6 blocks: one, two x FM, DCN, PNN" in across_text(Across(two))
        assert "there are 2 data sets, so p is too small" in Across(two).caution
        assert "share the items of one data set" in Across(two[:1]).caution
        assert not Across([comparison(name, ["FM"]) for name in "abc"]).caution

    def test_the_smallest_effect_is_that_of_the_results(self, two):
        assert Across(two).smallest_effect == 0.002
        for doc in two[0].by_backbone.values():
            for run in doc["runs"]:
                run["config"]["smallest_effect"] = 0.005
        assert Across(two).smallest_effect == 0.005
        assert "no further apart than 0.005" in across_text(Across(two))


class TestText:
    def test_every_number(self, two):
        across = Across(two)
        text = across_text(across, rope=0.003).split("\n\n")[2]  # warm_a
        table = across.phases[1]
        tested = stats.friedmanchisquare(*table.costs.T)
        first = text.split("\n")[0]
        assert first.startswith(f"warm_a: Friedman {tested.statistic:.2f}, p ")
        assert f"ranks {ranks.critical_difference(5, 6):.2f} (Nemenyi, 0.05)" in first
        lines = {re.split(r"  +", line.strip())[0]: line for line in text.split("\n")}
        at = {row: k for k, row in enumerate(table.rows)}
        others = [row for row in table.rows if row != "ItemBias"]
        raw = {}
        for row in others:
            gains = table.values[:, at[row]] - table.values[:, at["ItemBias"]]
            raw[row] = stats.wilcoxon(gains).pvalue
        for row in others:
            cells = re.split(r"  +", lines[row].strip())
            gains = table.values[:, at[row]] - table.values[:, at["ItemBias"]]
            chances = ranks.signed_rank_chances(gains.tolist(), 0.003)
            p = report.holm(list(raw.values()))[others.index(row)]
            assert cells == [
                row, f"{table.mean_ranks[at[row]]:.2f}", f"{gains.mean():+.4f}", f"{p:.4f}",
                *(f"{chance:.3f}" for chance in chances),
            ]  # fmt: skip
        places = [
            text.index(f"\n  {row} ") for row in sorted(at, key=lambda r: table.mean_ranks[at[r]])
        ]
        assert places == sorted(places), "the best row comes first"

    def test_groups(self, two):
        table = Across(two).phases[1]
        groups = ranks.cliques(table.mean_ranks, ranks.critical_difference(5, 6))
        assert groups
        for group in groups:
            told = " | ".join(table.rows[k] for k in group)
            assert f"not distinguished: {told}\n" in across_text(Across(two))

    def test_three_blocks_have_chances_and_no_critical_difference(self, two):
        text = across_text(Across(two[:1]), "Base")
        assert (
            "gain over Base" in text and "Nemenyi" not in text and "not distinguished" not in text
        )
        line = next(line for line in text.split("\n") if line.startswith("  CVAR"))
        assert re.split(r"  +", line.strip())[3] == "-"

    def test_a_row_that_is_not_there(self, two):
        with pytest.raises(UserError, match=r"--against names 'Nope'.*Base, ItemBias, MWUF"):
            across_text(Across(two), "Nope")


def diagram(axes):
    """Row -> its line; and bars and critical difference, as (x from, x to)."""
    lines = {line.get_label(): line for line in axes.get_lines() if line.get_label() in ROWS}
    ends = [tuple(sorted(line.get_xdata())) for line in axes.get_lines()
            if line.get_label() == "group"]  # fmt: skip
    (difference,) = [line for line in axes.get_lines()
                     if line.get_label() == "critical difference"]  # fmt: skip
    return lines, ends, difference


class TestDiagram:
    def test_rows_stand_at_their_mean_ranks(self, two):
        across = Across(two)
        for axes, table in zip(cd_figure(across).axes, across.phases, strict=True):
            lines, groups, difference = diagram(axes)
            places = [lines[row].get_xdata()[0] for row in table.rows]
            slope, start, r, *_ = stats.linregress(table.mean_ranks, places)
            assert r == pytest.approx(-1), "on one axis, the best on the right"
            wide = np.ptp(difference.get_xdata())
            assert wide == pytest.approx(-slope * ranks.critical_difference(5, 6))
            wanted = ranks.cliques(table.mean_ranks, ranks.critical_difference(5, 6))
            assert len(groups) == len(wanted)
            for (low, high), group in zip(groups, wanted, strict=True):
                ends = sorted(start + slope * table.mean_ranks[k] for k in group)
                assert low == pytest.approx(ends[0], abs=0.05)
                assert high == pytest.approx(ends[-1], abs=0.05)
            for row, rank in zip(table.rows, table.mean_ranks, strict=True):
                told = {text.get_text() for text in axes.texts}
                assert {f"{rank:.2f}  {row}", f"{row}  {rank:.2f}"} & told

    def test_names_stand_on_both_sides_apart(self, two):
        figure = cd_figure(Across(two))
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        for axes in figure.axes:
            named = [text for text in axes.texts if any(row in text.get_text() for row in ROWS)]
            assert {text.get_ha() for text in named} == {"left", "right"}
            boxes = [text.get_window_extent(renderer) for text in named]
            for side in ("left", "right"):
                heights = sorted(
                    (box.y0, box.y1)
                    for box, text in zip(boxes, named, strict=True)
                    if text.get_ha() == side
                )
                assert all(a[1] < b[0] for a, b in neighbours(heights))
            for box in [*boxes, *(text.get_window_extent(renderer) for text in figure.texts)]:
                assert box.x0 >= 0 and box.x1 <= figure.bbox.width
                assert box.y0 >= 0 and box.y1 <= figure.bbox.height

    def test_bars_on_one_line_do_not_touch(self):
        groups = [(1.0, 2.0), (1.5, 3.0), (2.1, 3.5), (3.4, 4.0)]
        assert _levels(groups, 0.2) == [0, 1, 2, 0]
        assert _levels([(1, 2), (2.3, 3)], 0.2) == [0, 0]

    def test_too_few_blocks(self, two):
        with pytest.raises(UserError, match=r"at least 5 data sets .* there are 3 and 5"):
            cd_figure(Across(two[:1]))


class TestKinds:
    def test_every_kind_is_in_the_help(self):
        told = " ".join(HELPS["plot"].split())
        assert all(f"{name} {plot.told}" in told for name, plot in PLOTS.items())

    def test_a_run_is_a_comparison_on_one_backbone(self):
        doc = a_document(FEW)
        doc["runs"].insert(
            0, {**doc["runs"][0], "label": "MeLU", "model": "MeLU", "backbone": "MeLU"}
        )
        found = as_comparison(doc)
        assert found.backbones == ["DeepFM"] and found.rows[:2] == ["MeLU", "Base"]

    def test_unknown_and_several(self):
        with pytest.raises(UserError, match=r"'panel' is no kind .* did you mean 'panels'\?"):
            plot_of("panel")
        with pytest.raises(UserError, match="curves shows one folder and 2 are given"):
            plot_of("curves", 2)
        assert plot_of("cd", 2) is PLOTS["cd"]

    @pytest.mark.parametrize("kind", sorted(PLOTS.keys() - {"forest", *OF_BATCHES}))
    def test_from_python(self, kind, tmp_path):
        found = [ComparisonResults(comparison(name).document, None) for name in ("one", "two")]
        beside = found[1:] if PLOTS[kind].several else ()
        figure = found[0].plot(tmp_path / "a.svg", "LogLoss", kind, beside)
        assert figure.axes and "<svg" in (tmp_path / "a.svg").read_text()
        if not PLOTS[kind].several:
            assert Results(a_document(FEW), None).plot(kind=kind).axes


class TestVerb:
    @pytest.fixture
    def folders(self, two, tmp_path):
        for number, each in enumerate(two):
            report.write_json(tmp_path / f"c{number}" / "comparison.json", each.document)
        report.write_json(tmp_path / "run" / "results.json", a_document(FEW))
        return [str(tmp_path / name) for name in ("c0", "c1", "run")]

    def test_several_folders(self, folders, tmp_path, capsys):
        words = ["plot", *folders[:2], "--kind=cd", f"--saved_dir={tmp_path / 'saved'}"]
        assert main(words) == 0
        told, _, path = capsys.readouterr().out.strip().rpartition("\n\n")
        shown = [load_results(folder).shown for folder in folders[:2]]
        assert told == PLOTS["cd"].text(shown, Asked())
        assert re.fullmatch(rf"{tmp_path / 'saved'}/plot-cd-[\d-]+/cd.png", path)
        assert (tmp_path / path).read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("kind", ["curves", "panels", "reliability"])
    def test_one_folder(self, folders, kind, capsys):
        for folder in folders[1:]:
            assert main(["plot", folder, f"--kind={kind}", "--metric=LogLoss"]) == 0
            path = capsys.readouterr().out.strip()
            assert path == f"{folder}/figures/{kind}.png"

    def test_without_a_kind_it_draws_curves(self, folders, tmp_path, capsys):
        assert main(["plot", folders[2], f"--to={tmp_path / 'x.pdf'}"]) == 0
        assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")

    def test_too_few_blocks_leave_the_text_and_no_picture(self, folders, tmp_path, capsys):
        assert main(["plot", folders[0], "--kind=cd"]) == 2
        out, err = capsys.readouterr()
        assert "gain over ItemBias" in out
        assert err.count("\n") == 1 and "needs at least 5 data sets" in err
        assert not (tmp_path / "c0" / "figures").exists()

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--kind=cd"], "write: recbole-cold plot DIR"),
            (["c0", "--kind=nope"], "'nope' is no kind of picture"),
            (["c0", "c1"], "curves shows one folder and 2 are given"),
            (["c0", "--kind=panels", "--color=red"], "--color is no flag of plot with folders"),
            (["c0", "--metric=GAUC"], "has no GAUC on every backbone"),
            (["c0", "--metric=Nope"], "metric 'Nope' is none of"),
            (["run", "--metric=GAUC"], "'GAUC' was not computed"),
            (["run", "--kind=cd"], "there is 1; add folders"),
            (["c0", "c1", "--kind=cd", "--rope=x"], "--rope=x is no difference"),
            (["c0", "c1", "--kind=cd", "--rope=-1"], "--rope=-1 is no difference"),
            (["c0", "c1", "--kind=cd", "--against=Nope"], "--against names 'Nope'"),
            (["c0", "--rope=0.1"], "--rope belongs to --kind=cd"),
            (["run", "--kind=boxes", "--batch=9"], "Base, seed 2020: no row scores were kept"),
            (["c0", "--kind=curves", "--item=1"], "--kind is no flag of plot"),
            (["nope", "--kind=cd"], "has no results.json, comparison.json"),
            (["c0", "--to=a.bmp"], "name a file that ends in .png, .pdf or .svg"),
        ],
    )
    def test_mistakes_are_one_sentence(
        self, folders, words, sentence, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["plot", *words]) == 2
        err = capsys.readouterr().err
        assert sentence in err and err.count("\n") == 1
        assert not (tmp_path / "saved").exists()


def test_a_gain_of_a_loss_is_its_fall(two):
    table = Across(two, "LogLoss").phases[0]
    line = next(
        x for x in across_text(Across(two, "LogLoss")).split("\n") if x.startswith("  CVAR")
    )
    gain = float(re.split(r"  +", line.strip())[2])
    fall = (table.values[:, 1] - table.values[:, 3]).mean()
    assert math.isclose(gain, fall, abs_tol=6e-5)
