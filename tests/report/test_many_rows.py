"""Pictures of many rows: which are in colour, and what small multiples and reliability show."""

import statistics

import pytest
from picture_helpers import FEW, MANY, METHODS, PHASES, a_comparison, a_document

from recbole_cold import report
from recbole_cold.errors import UserError
from recbole_cold.report import MATCHED, Comparison
from recbole_cold.report._drawing import BLACK, COLOURS, GREY, PALE_GREY
from recbole_cold.report._looks import looks_of_comparison, looks_of_run
from recbole_cold.report._multiples import comparison_panels, run_panels
from recbole_cold.report._reliability import bins_of, comparison_reliability, run_reliability


def lines_by_name(axes):
    return {line.get_label(): line for line in axes.get_lines()}


class TestLooks:
    def test_the_best_are_in_colour_and_the_rest_grey(self):
        looks = looks_of_run(a_document(), "AUC")
        coloured = [row for row in METHODS if looks[row].named]
        assert coloured == METHODS[-len(COLOURS) :]
        assert {looks[row].style["color"] for row in coloured} == set(COLOURS)
        assert {looks[row].style["color"] for row in METHODS[:-6]} == {PALE_GREY}

    def test_the_best_of_a_loss_are_the_lowest(self):
        doc = a_document()
        for run in doc["runs"]:
            for seed in run["seeds"]:
                for phase in seed["phases"].values():
                    phase["metrics"]["LogLoss"] = phase["metrics"]["AUC"]
        looks = looks_of_run(doc, "LogLoss")
        assert [row for row in METHODS if looks[row].named] == METHODS[: len(COLOURS)]

    def test_the_cold_phase_does_not_choose(self):
        doc = a_document()
        for run in doc["runs"]:
            for seed in run["seeds"]:
                seed["phases"]["cold"]["metrics"]["AUC"] = (
                    0.9 - seed["phases"]["warm_a"]["metrics"]["AUC"]
                )
        looks = looks_of_run(doc, "AUC")
        assert [row for row in METHODS if looks[row].named] == METHODS[-len(COLOURS) :]

    def test_reference_rows_have_one_look_wherever_they_stand(self):
        for labels in (MANY, MANY[::-1], FEW):
            looks = looks_of_run(a_document(labels), "AUC")
            assert looks["Base"].style["color"] == GREY and looks["Base"].style["linestyle"] == "-"
            matched = looks["Base (90 steps)"].style
            assert matched["color"] == GREY and matched["linestyle"] == "--"
            assert looks["ItemBias"].style["color"] == BLACK
            assert all(looks[row].named for row in ("Base", "ItemBias", "Base (90 steps)"))
            dashed = [row for row, look in looks.items() if look.style["linestyle"] == "--"]
            assert dashed == ["Base (90 steps)"]

    def test_rows_asked_for_as_references_are_named(self):
        doc = a_document()
        for run in doc["runs"]:
            run["config"]["reference_rows"] = ["Base", "ItemBias", "M0"]
        looks = looks_of_run(doc, "AUC")
        assert looks["M0"].named and looks["M0"].style["color"] in COLOURS
        assert [row for row in METHODS if looks[row].named] == ["M0", *METHODS[-5:]]

    @pytest.mark.parametrize("plain", [1, 6])
    @pytest.mark.parametrize("methods", range(1, 13))
    def test_no_colour_comes_twice_with_one_marker(self, methods, plain):
        variants = [f"Base[new_item_init={k}]" for k in range(plain)]
        labels = [*variants, "ItemBias", *METHODS[:methods], "Base (90 steps)"]
        looks = looks_of_run(a_document(labels), "AUC")
        named = [look.style for look in looks.values() if look.named]
        pairs = [(style["color"], style["marker"]) for style in named]
        if plain == 1:
            assert len(set(pairs)) == len(pairs)
        whole = [(*pair, style["linestyle"]) for pair, style in zip(pairs, named, strict=True)]
        assert len(set(whole)) == len(whole)
        assert (len(named) == len(labels)) == (methods <= 8)

    def test_a_missing_score_is_no_advantage(self):
        comparison = a_comparison()
        doc = comparison.by_backbone["FM"]
        doc["runs"] = [run for run in doc["runs"] if run["label"] != "M11"]
        looks = looks_of_comparison(comparison, "AUC")
        assert not looks["M11"].named and looks["M5"].named

    def test_the_looks_are_the_same_on_every_backbone(self):
        figure = report.comparison_figure(a_comparison())
        first, second = (lines_by_name(axes) for axes in figure.axes)
        assert list(first) == list(second)
        assert all(first[row].get_color() == second[row].get_color() for row in first)
        assert first[MATCHED].get_linestyle() == "--"


class TestCurves:
    def test_grey_rows_have_no_marker_and_no_band(self):
        axes = report.curves_figure(a_document()).axes[0]
        lines = lines_by_name(axes)
        assert lines["M0"].get_marker() == "" and lines["M11"].get_marker() != ""
        assert len(axes.collections) == len(COLOURS) + 3
        assert lines["M0"].get_zorder() < lines["M11"].get_zorder()

    def test_every_row_is_named_at_its_end(self):
        axes = report.curves_figure(a_document()).axes[0]
        assert {text.get_text() for text in axes.texts} == set(MANY)

    def test_few_rows_are_all_in_colour(self):
        lines = lines_by_name(report.curves_figure(a_document(FEW)).axes[0])
        assert [lines[row].get_color() for row in FEW] == [GREY, BLACK, *COLOURS[:2], GREY]

    def test_grey_rows_of_a_comparison_are_told(self):
        figure = report.comparison_figure(a_comparison())
        told = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
        assert "pale grey: M0, M1, M2, M3, M4, M5" in told and "M6" not in told
        (legend,) = figure.legends
        assert {text.get_text() for text in legend.get_texts()} == {
            "Base", "ItemBias", *METHODS[6:], MATCHED,
        }  # fmt: skip

    def test_a_loss_says_that_lower_is_better(self):
        figure = report.comparison_figure(a_comparison(), "LogLoss")
        assert figure.axes[0].get_ylabel() == "LogLoss (lower is better)"
        right = report.curves_figure(a_document()).axes[1]
        assert right.get_title(loc="left") == "LogLoss (lower is better)"

    def test_one_metric_alone_and_one_that_is_not_there(self):
        assert len(report.curves_figure(a_document(FEW), "LogLoss").axes) == 1
        with pytest.raises(UserError, match="'GAUC' was not computed"):
            report.curves_figure(a_document(FEW), "GAUC")
        with pytest.raises(UserError, match="has no GAUC on every backbone; it has AUC, LogLoss"):
            report.comparison_figure(a_comparison(FEW), "GAUC")

    def test_rows_of_their_own_network_are_not_missing_on_a_backbone(self):
        alone = a_document(["MeLU"], "own network")
        documents = [a_document(FEW, "FM"), a_document(FEW, "DCN"), alone]
        comparison = Comparison({"schema": 1, "documents": documents, "alone": ["MeLU"]})
        figure = report.comparison_figure(comparison)
        assert [text.get_text() for axes in figure.axes for text in axes.texts] == []


class TestPanels:
    def test_a_panel_per_row_with_the_others_behind(self):
        figure = run_panels(a_document())
        assert [axes.get_title(loc="left") for axes in figure.axes] == MANY
        for label, axes in zip(MANY, figure.axes, strict=True):
            lines = axes.get_lines()
            assert len(lines) == len(MANY)
            (front,) = [line for line in lines if line.get_label() == label]
            assert front.get_zorder() > max(x.get_zorder() for x in lines if x is not front)
            (own,) = [run for run in a_document()["runs"] if run["label"] == label]
            for phase, height in zip(PHASES, front.get_ydata(), strict=True):
                values = [seed["phases"][phase]["metrics"]["AUC"] for seed in own["seeds"]]
                assert height == pytest.approx(statistics.fmean(values))
            behind = {line.get_color() for line in lines if line is not front}
            assert behind <= {PALE_GREY, GREY, BLACK}

    def test_the_axis_is_one_for_all(self):
        for figure in (run_panels(a_document()), comparison_panels(a_comparison())):
            assert len({axes.get_ylim() for axes in figure.axes}) == 1

    def test_a_comparison_is_a_matrix(self):
        figure = comparison_panels(a_comparison(backbones=("FM", "DCN", "PNN")), "LogLoss")
        assert len(figure.axes) == 3 * len(MANY)
        told = [text.get_text() for text in figure.texts]
        assert {"FM", "DCN", "PNN"} <= set(told)
        names = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes]
        assert names[: len(MANY)] == [*MANY[:-1], MATCHED]
        assert not any(names[len(MANY) :])
        assert any("lower is better" in text for text in told)

    def test_columns_keep_axes_of_their_own_where_one_would_flatten_them(self):
        documents = [a_document(FEW, "FM"), a_document(FEW, "DCN", up=0.2)]
        figure = comparison_panels(Comparison({"schema": 1, "documents": documents}))
        assert len({axes.get_ylim() for axes in figure.axes}) == 2
        assert any("axes differ" in text.get_text() for text in figure.texts)

    def test_one_backbone_is_a_grid(self):
        figure = comparison_panels(a_comparison(FEW, ("FM",)))
        names = [axes.get_title(loc="left") for axes in figure.axes]
        assert names == [*FEW[:-1], MATCHED]

    def test_a_missing_cell_is_told(self):
        comparison = a_comparison(FEW)
        doc = comparison.by_backbone["DCN"]
        doc["runs"] = [run for run in doc["runs"] if run["label"] != "CVAR"]
        figure = comparison_panels(comparison)
        told = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert told == ["missing"]

    @pytest.mark.parametrize("labels", [FEW, MANY, [*FEW, "MWUF[mwuf_parts=[scale];a=1]"]])
    def test_names_and_numbers_do_not_overlap(self, labels):
        for figure in (run_panels(a_document(labels)), comparison_panels(a_comparison(labels))):
            figure.canvas.draw()
            renderer = figure.canvas.get_renderer()
            for axes in figure.axes:
                left, right = axes._left_title, axes._right_title
                assert right.get_text()
                if left.get_text():
                    ends = [text.get_window_extent(renderer) for text in (left, right)]
                    assert ends[0].x1 < ends[1].x0


class TestReliability:
    def test_bins_of_all_seeds_by_their_rows(self):
        first = {"predicted": [0.1, None], "clicked": [0.0, None], "rows": [3, 0]}
        second = {"predicted": [0.3, 0.6], "clicked": [0.5, 0.7], "rows": [1, 4]}
        seeds = [{"seed": k, "phases": {"cold": {"reliability": each}}}
                 for k, each in enumerate((first, second))]  # fmt: skip
        found = bins_of({"seeds": [*seeds, {"seed": 9, "phases": {"cold": {}}}]}, "cold")
        assert found.predicted == pytest.approx([(0.1 * 3 + 0.3) / 4, 0.6])
        assert found.clicked == pytest.approx([0.5 / 4, 0.7])
        assert bins_of({"seeds": seeds}, "warm_a").predicted == []

    def test_a_panel_per_phase_and_a_line_per_row(self):
        doc = a_document(FEW)
        figure = run_reliability(doc)
        assert [axes.get_title(loc="left") for axes in figure.axes] == PHASES
        for axes, phase in zip(figure.axes, PHASES, strict=True):
            diagonal, *lines = axes.get_lines()
            assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
            assert [line.get_label() for line in lines] == FEW
            for line, run in zip(lines, doc["runs"], strict=True):
                found = bins_of(run, phase)
                assert list(line.get_xdata()) == found.predicted
                assert list(line.get_ydata()) == found.clicked
            assert axes.get_xlim() == axes.get_ylim()

    def test_rows_look_as_in_the_curves(self):
        looks = looks_of_run(a_document(), "AUC")
        lines = lines_by_name(run_reliability(a_document()).axes[0])
        assert all(lines[row].get_color() == looks[row].style["color"] for row in MANY)

    def test_a_comparison_has_a_row_of_panels_per_backbone(self):
        figure = comparison_reliability(a_comparison(FEW))
        names = [axes.get_title(loc="left") for axes in figure.axes]
        assert names == [f"{b}, {phase}" for b in ("FM", "DCN") for phase in PHASES]

    def test_results_without_bins(self):
        doc = a_document(FEW)
        for run in doc["runs"]:
            for seed in run["seeds"]:
                for phase in seed["phases"].values():
                    del phase["reliability"]
        with pytest.raises(UserError, match="hold no bins"):
            run_reliability(doc)


@pytest.mark.slow
def test_pictures_of_many_rows_fit(tmp_path):
    """Everything that is written is inside of the picture."""
    comparison = a_comparison(backbones=("FM", "DCN", "PNN", "AutoInt", "xDeepFM", "DeepFM"))
    for figure in (
        report.curves_figure(a_document()), report.comparison_figure(comparison),
        run_panels(a_document()), comparison_panels(comparison), run_reliability(a_document()),
    ):  # fmt: skip
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        written = [*figure.texts, *(text for each in figure.legends for text in each.get_texts())]
        written += [text for axes in figure.axes for text in (axes._left_title, axes._right_title)]
        for text in written:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.x1 <= figure.bbox.width, text.get_text()
            assert box.y0 >= 0 and box.y1 <= figure.bbox.height, text.get_text()
