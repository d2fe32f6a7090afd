"""Which gains are real: the rule, where its numbers come from, and how tables and texts say it."""

import csv
import io
import itertools
import math
import re

import pytest
from made_up_results import (
    BASE,
    BIAS,
    MATCHED_STEPS,
    PHASES,
    a_comparison,
    a_document,
    a_run,
    intervals_of,
)

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.errors import UserError
from recbole_cold.report import MATCHED, Comparison
from recbole_cold.report._claims import Against, claim, smallest_within
from recbole_cold.report._comparison import EQUAL_STEPS, of_run
from recbole_cold.report._findings import findings, headline
from recbole_cold.report._forest_plot import forest_figure
from recbole_cold.report._intervals import Known, read_intervals, widest
from recbole_cold.results import Results

GOOD = tuple(value + 0.01 for value in BIAS)  # above the yardstick, and so above all, by .01
NAMES = ("Base", EQUAL_STEPS, "ItemBias")


def known(low, high, by="item"):
    return Known((low + high) / 2, low, high, by, 5, True)


def against(name="ItemBias", low=0.003, high=0.009, seeds=5, within=(-0.001, 0.002), by="item"):
    """A reference row that a method is .006 above, surely by .003, and not worse within items."""
    inside = None if within is None else known(*within)
    auc = None if low is None else known(low, high, by)
    return Against(name, 0.006 if low is None else (low + high) / 2, seeds, auc, inside)


ALL = [against(name) for name in NAMES]


class TestRule:
    def test_all_conditions_together_make_it_real(self):
        found = claim(ALL)
        assert (found.real, found.reason) == (True, "")

    @pytest.mark.parametrize("number", range(3))
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"seeds": 4}, "too few seeds"),
            ({"low": None}, "no scores kept"),
            ({"low": -0.009, "high": -0.003}, "not above {name}"),
            ({"low": -0.003, "high": 0.003}, "not above {name}"),
            ({"low": 0.0, "high": 0.003}, "less than 0.002 above {name}"),
            ({"low": 0.001}, "above {name}, but the interval over items includes 0.002"),
            ({"low": 0.002}, "above {name}, but the interval over items includes 0.002"),
            ({"low": -0.001, "by": "user"},
             "above {name}, but the interval over users includes 0.002"),
        ],
    )  # fmt: skip
    def test_each_condition_is_needed_against_each_row(self, number, changes, reason):
        rows = list(ALL)
        rows[number] = against(NAMES[number], **changes)
        found = claim(rows)
        assert (found.real, found.reason) == (False, reason.format(name=NAMES[number]))

    @pytest.mark.parametrize("number", [0, 2])
    def test_worse_within_items_is_no_gain(self, number):
        rows = list(ALL)
        rows[number] = against(NAMES[number], within=(-0.004, -0.0001))
        assert claim(rows).reason == "worse within items"
        assert claim(rows, unit="user").reason == "worse within users"
        rows[number] = against(NAMES[number], within=(-0.004, 0.0))
        assert claim(rows).real

    def test_within_must_be_known(self):
        assert claim([one._replace(within=None) for one in ALL]).reason == (
            "nothing known within items"
        )

    def test_a_missing_row_comes_first(self):
        rows = [against("Base", low=-0.1, high=0.1, seeds=1)]
        assert claim(rows, ["ItemBias"]).reason == "no row of ItemBias"

    def test_the_smallest_effect_is_a_setting(self):
        assert claim(ALL, smallest=0.0029).real
        assert claim(ALL, smallest=0.003).reason.endswith("includes 0.003")
        assert smallest_within(0.002) == 0.001

    def test_the_row_that_stands_nearest_is_named(self):
        rows = [against("Base", 0.05, 0.07), against(EQUAL_STEPS), against("ItemBias", 0.01, 0.02)]
        assert claim(rows).nearest.name == EQUAL_STEPS
        rows[2] = against("ItemBias", -0.02, -0.01)
        assert claim(rows).nearest.name == "ItemBias"

    def test_fewer_seeds_can_be_allowed_but_not_none(self):
        rows = [against(name, seeds=2) for name in NAMES]
        assert claim(rows).reason == "too few seeds"
        assert claim(rows, fewest=1).real
        none = Against("Base", math.nan, 0, None, None)
        assert claim([none], fewest=1).reason == "too few seeds"


class TestIntervals:
    RECORD = {
        "backbone": "FM", "row": "New", "against": "Base (9 steps)", "phase": "cold",
        "metric": "AUC", "by": "item", "difference": 0.1, "low": 0.0, "high": 0.2, "error": 0.1,
        "seeds": 5, "resamples": 9, "nested": True,
    }  # fmt: skip

    def read(self, *records, one_group=True):
        aliases = {("" if one_group else "FM", "Base (9 steps)"): MATCHED}
        return read_intervals({"intervals": list(records)}, aliases, one_group)

    def test_rows_are_known_by_the_tables_labels(self):
        assert list(self.read(self.RECORD)) == [("", "New", MATCHED, "cold", "AUC")]
        assert list(self.read(self.RECORD, one_group=False)) == [
            ("FM", "New", MATCHED, "cold", "AUC")
        ]

    def test_the_wider_one_counts(self):
        narrow = {**self.RECORD, "by": "user", "low": 0.05, "high": 0.15}
        ((_, found),) = self.read(narrow, self.RECORD).items()
        assert len(found) == 2
        assert widest(found).by == "item"
        assert widest([]) is None

    def test_intervals_of_rows_and_without_limits_are_none(self):
        assert self.read({**self.RECORD, "by": "delong"}) == {}
        assert self.read({**self.RECORD, "low": None}) == {}
        assert self.read({**self.RECORD, "high": math.nan}) == {}

    def test_none_at_all(self):
        assert read_intervals({}, {}, True) == read_intervals({"intervals": None}, {}, True) == {}

    @pytest.mark.parametrize(
        ("change", "told"),
        [({"row": 3}, r"intervals\[0\].row of these results is 3"),
         ({"low": "x"}, r"intervals\[0\].low of these results is 'x'")],
    )  # fmt: skip
    def test_what_is_no_record_is_named(self, change, told):
        with pytest.raises(UserError, match=told):
            self.read({**self.RECORD, **change})
        short = {key: value for key, value in self.RECORD.items() if key != "seeds"}
        with pytest.raises(UserError, match="seeds"):
            self.read(short)
        with pytest.raises(UserError, match="no mapping"):
            self.read(3)


def made(methods=None, **options):
    document = a_document({"New": GOOD} if methods is None else methods, **options)
    document["intervals"] = intervals_of(document)
    return document


def claims_of(document):
    return {key[1:]: found for key, found in of_run(document).claims().items()}


class TestOfResults:
    def test_real_in_every_phase_but_where_the_yardsticks_are_near(self):
        """Cold: .68 against .67, .01 above with a half width of .004."""
        found = claims_of(made({"New": GOOD, "Old": BASE}))
        assert set(found) == set(itertools.product(("New", "Old"), PHASES))
        assert {key for key, each in found.items() if each.real} == {("New", p) for p in PHASES}
        # Surely .006 above ItemBias in a warm phase; Base is further below.
        assert found["New", "warm_a"].nearest.name == "ItemBias"
        assert found["New", "warm_a"].nearest.auc.low == pytest.approx(0.006, abs=1e-5)

    def test_reference_rows_claim_nothing(self):
        comparison = of_run(made())
        assert comparison.references("DeepFM") == {
            "Base": "Base", MATCHED: MATCHED, "ItemBias": "ItemBias",
        }  # fmt: skip
        assert {row for _, row, _ in comparison.claims()} == {"New"}

    def test_intervals_against_the_matched_row_are_found_under_its_label(self):
        near = tuple(value + 0.003 for value in MATCHED_STEPS[:1]) + GOOD[1:]
        found = claims_of(made({"New": near}))
        assert found["New", "cold"].reason.startswith("above ")
        between = (GOOD[0], *(value + 0.003 for value in MATCHED_STEPS[1:]))
        document = made({"New": between})
        for run in document["runs"]:  # so that only the matched row is in the way
            if run["label"] == "ItemBias":
                run["seeds"] = a_run("ItemBias", BASE, 0)["seeds"]
        document["intervals"] = intervals_of(document)
        assert claims_of(document)["New", "warm_b"].reason == (
            f"above {EQUAL_STEPS}, but the interval over items includes 0.002"
        )

    def test_the_matched_row_is_needed_only_by_longer_methods(self):
        short = made(steps=10)
        assert MATCHED not in of_run(short).references("DeepFM")
        assert claims_of(short)["New", "warm_a"].real
        longer = made(leave_out=["Base (90 steps)"])
        assert claims_of(longer)["New", "warm_a"].reason == f"no row of {EQUAL_STEPS}"

    @pytest.mark.parametrize(
        ("left", "reason"), [("ItemBias", "no row of ItemBias"), ("Base", "no row of Base")]
    )
    def test_without_a_yardstick(self, left, reason):
        assert claims_of(made(leave_out=[left]))["New", "warm_c"].reason == reason

    def test_without_intervals_the_means_still_speak(self):
        found = claims_of(a_document({"New": GOOD, "Old": BASE}))
        assert found["New", "warm_a"].reason == "no scores kept"
        assert found["Old", "warm_a"].reason == "not above ItemBias"

    def test_four_seeds_are_too_few(self):
        assert {each.reason for each in claims_of(made(seeds=4)).values()} == {"too few seeds"}

    def test_within_items_counts_against_base_and_item_bias(self):
        document = made()
        for record in document["intervals"]:
            if record["metric"] == "WithinAUC" and record["against"] == "Base (90 steps)":
                record |= {"low": -0.2, "high": -0.1}
        assert claims_of(document)["New", "warm_a"].real, "more steps may have cost the plain model"
        for record in document["intervals"]:
            if record["metric"] == "WithinAUC" and record["phase"] == "warm_a":
                record |= {"low": -0.2, "high": -0.1}
        found = claims_of(document)
        assert found["New", "warm_a"].reason == "worse within items"
        assert found["New", "warm_b"].real

    def test_the_setting_of_the_table_holds(self):
        found = claims_of(made(smallest_effect=0.0061))
        assert found["New", "warm_a"].reason.endswith("includes 0.0061")

    def test_without_auc_there_is_nothing_to_claim(self):
        assert of_run(made(metrics=["LogLoss"])).claims() == {}

    def test_backbones_are_told_apart(self):
        """Real on one of them; its intervals are no evidence for the other."""
        documents = {"FM": a_document({"New": GOOD}), "DCN": a_document({"New": BASE})}
        comparison = Comparison(a_comparison(documents))
        real = {key for key, found in comparison.claims().items() if found.real}
        assert real == {("FM", "New", phase) for phase in PHASES}
        without = a_comparison(documents)
        without["intervals"] = [r for r in without["intervals"] if r["backbone"] == "DCN"]
        assert Comparison(without).claims()["FM", "New", "warm_a"].reason == "no scores kept"

    def test_a_network_of_its_own_is_filed_under_its_name_or_its_neighbours(self):
        document = made()
        document["runs"][2]["backbone"] = "New"
        for record in document["intervals"]:
            record["backbone"] = "New" if record["row"] == "New" else "DeepFM"
        assert claims_of(document)["New", "warm_a"].real


class TestTables:
    @pytest.mark.parametrize("left_out", [[], ["ItemBias"]])
    def test_reference_rows_are_missing_where_they_are(self, left_out):
        """In a run's table and a comparison's, of one backbone and of two."""
        whole = made({"New": GOOD}, reference_rows=["Base", "ItemBias"])
        lacking = made({"New": GOOD}, reference_rows=["Base", "ItemBias"], leave_out=left_out)
        both = {"FM": whole, "DeepFM": lacking}
        shown = [report.table(lacking)]
        shown += [
            report.comparison_table(Comparison(a_comparison(documents)))
            for documents in ({"DeepFM": lacking}, both)
        ]
        for text in shown:
            assert ("reference rows missing: ItemBias\n" in text) == bool(left_out)
            assert ("reference rows missing" in text) == bool(left_out)

    def test_one_sign_where_a_claim_is_allowed_and_nowhere_else(self):
        document = made({"New": GOOD, "Old": BASE})
        text = report.table(document, width=200)
        (new,) = re.findall(r"^New +(.*)", text[: text.index("\n\nWithinAUC")], re.MULTILINE)
        assert new.count("+") == 4 and new.endswith("*+")
        assert text.count("*+") == 4
        assert "+: a real gain: from five seeds on" in text
        comparison = Comparison(a_comparison({"DeepFM": document}))
        signs = {key: cell.sign for key, cell in comparison.cells("AUC").items() if cell.sign}
        assert signs == {("DeepFM", "New", phase): "+" for phase in PHASES}
        assert not any(cell.sign for cell in comparison.cells("LogLoss").values())
        assert report.comparison_markdown(comparison).count("<sup>+</sup>") == 4
        assert report.markdown(document).count("<sup>+</sup>") == 4
        assert report.comparison_latex(comparison).count("$^{+}$") == 4

    def test_no_claim_no_sign_and_no_legend_of_it(self):
        document = made({"Old": BASE})
        for text in (report.table(document), report.markdown(document)):
            assert "a real gain:" not in text
        assert "<sup>" not in report.markdown(document)

    def test_differences_with_the_wider_interval(self):
        document = made()
        line = "+.0100 [+.0060 +.0140]"
        for text in (report.table(document), report.markdown(document)):
            assert "AUC minus ItemBias, 95 %" in text and line in text
        comparison = Comparison(a_comparison({"DeepFM": document}))
        assert line in report.comparison_table(comparison)
        assert line.replace("[", "{[}").replace("]", "{]}") in report.comparison_latex(comparison)
        assert "WithinAUC minus Base, 95 %" in report.comparison_markdown(comparison)

    def test_csv_has_all_of_it(self):
        document = made()
        comparison = Comparison(a_comparison({"DeepFM": document}))
        lines = list(csv.DictReader(io.StringIO(report.comparison_csv(comparison))))
        (line,) = (
            x for x in lines if (x["method"], x["phase"], x["metric"]) == ("New", "warm_a", "AUC")
        )
        expected = {
            "base_difference": 0.07, "base_item_low": 0.066, "base_user_high": 0.073,
            "matched_difference": 0.02, "matched_item_high": 0.024,
            "item_bias_difference": 0.01, "item_bias_item_low": 0.006, "item_bias_user_low": 0.007,
            "warm_up_area": (0.715 + 0.755 + 0.765) / 3, "rows_to_reach_item_bias": 20.0,
        }  # fmt: skip
        for name, value in expected.items():
            # .76 is where New is in warm_b, and ItemBias in the last phase.
            tolerance = 0.01 if name.startswith("rows") else 1e-5
            assert float(line[name]) == pytest.approx(value, abs=tolerance), name
        assert (line["claim"], line["rows"], line["items"], line["positives"]) == (
            "real", "1000", "50", "400",
        )  # fmt: skip
        base = next(x for x in lines if x["method"] == "Base")
        assert base["base_difference"] == base["claim"] == ""
        assert base["rows_to_reach_item_bias"] == "never"
        loss = next(x for x in lines if (x["method"], x["metric"]) == ("New", "LogLoss"))
        assert float(loss["item_bias_item_low"]) == pytest.approx(-0.014, abs=1e-5)
        assert loss["claim"] == ""

    def test_pcoc_by_count_stands_in_markdown_where_it_was_asked_for(self):
        document = made()
        assert "PCOC" not in report.markdown(document)
        for seed in (seed for run in document["runs"] for seed in run["seeds"]):
            for name, phase in seed["phases"].items():
                value = [1.5, 1.0 + 0.1 * (seed["seed"] - 2022), None]
                phase["groups"]["PCOC"] = {
                    "least": [3, 10, 30], "most": [9, 29, 80], "groups": [5, 5, 5],
                    "rows": [30, 90, 200], "value": value if name == "cold" else [0.9] * 3,
                }  # fmt: skip
        shown = report.comparison_markdown(Comparison(a_comparison({"DeepFM": document})))
        for text in (report.markdown(document), shown):
            assert "PCOC, items with 3-9, 10-29, 30-80 scored rows" in text
            assert "| New | 1.50 1.00 - | 0.90 0.90 0.90 |" in text

    def test_fits_the_screen(self):
        documents = {"FM": made(), "DCN": made()}
        text = report.comparison_table(Comparison(a_comparison(documents)))
        assert max(map(len, text.split("\n"))) <= 120
        assert max(map(len, report.table(made()).split("\n"))) <= 120


def words(text):
    return re.sub(r"\s+", " ", text)


class TestFindings:
    def test_real_gains_with_size_and_interval(self):
        text = words(findings(of_run(made({"New": GOOD, "Old": BASE}))))
        assert text.startswith(
            "On tiny, New and Old on DeepFM were scored with five seeds on the same 1,000 rows of "
            "50 new items: before any row of an item was seen (cold), and after 10, 20 and 30 of "
            "its rows (warm_a to warm_c). Real gains: New in every phase (clearest in "
        )
        assert "+0.0100 over ItemBias, 95 % interval over items +0.0060 to +0.0140)." in text
        assert re.search(r"\*Not real\*: in .*Old \(not above ItemBias\)\.", text)
        assert "the seeds (2020-2024). Not equal: optimizer steps, from 0 (ItemBias) to 90" in text
        assert "the row 'Base (90 steps)' gives the plain model as many" in text
        assert "Missing" not in text

    def test_too_few_seeds_and_what_stands_against_a_gain_beside_them(self):
        text = words(findings(of_run(made({"New": GOOD, "Old": BASE}, seeds=3))))
        assert "No gain is called real yet: that takes five seeds, and there are three." in text
        assert "All other conditions hold for New in every phase." in text
        assert re.search(r"\*Not real\*: in .*Old \(not above ItemBias\)\.", text)
        assert "*Missing*: two more seeds (--seeds=5)." in text

    def test_nothing_known(self):
        text = words(findings(of_run(a_document({"New": GOOD}))))
        assert "No gain can be called real: no scores of rows were kept" in text
        assert "*Missing*: intervals over items, which need the scores of the rows." in text

    def test_a_table_without_yardsticks(self):
        text = words(findings(of_run(made(leave_out=["ItemBias", "Base (90 steps)"]))))
        assert "No gain can be called real without the row Base at equal steps and the row" in text
        assert "*Missing*: the row Base at equal steps and the row ItemBias." in text

    def test_no_gain(self):
        assert " No gain is real." in words(findings(of_run(made({"Old": BASE}))))

    def test_one_row_has_nothing_beside_it(self):
        document = made({}, leave_out=["ItemBias"], steps=10)
        assert findings(of_run(document)).endswith("There is one row: nothing to compare it with.")
        assert headline(of_run(document), 120) == []
        assert "There is no method to judge." in findings(of_run(made({})))

    def test_many_are_counted(self):
        methods = {f"M{k}": GOOD if k < 6 else BASE for k in range(15)}
        documents = {name: a_document(methods) for name in ("FM", "DCN", "PNN")}
        text = words(findings(Comparison(a_comparison(documents))))
        assert "15 methods on FM, DCN and PNN were scored" in text
        assert "in every phase on all three" in text
        assert "two more rows, marked + below" in text
        assert "of 45 pairs of method and click model" in text
        assert "in every warm phase 27 (not above ItemBias)" in text
        assert len(text) < 2500

    def test_equal_search_is_told(self):
        spent = {f"FM|{row}": {"trials": 16, "failed": 0} for row in ("Base", "New")}
        bench = {"trials": 16, "tune_seeds": 2, "seeds": 5, "metric": "AUC", "spent": spent}
        document = a_comparison({"FM": a_document({"New": GOOD})}, benchmark=bench)
        text = words(findings(Comparison(document)))
        assert "searched alike: 16 trials with 2 seeds each, chosen by AUC on pseudo-new" in text
        spent["FM|New"] = {"trials": 20, "failed": 3}
        text = words(findings(Comparison(document)))
        assert "not of one length: 16 to 20 trials with 2 seeds each" in text
        assert "; 3 failed." in text
        del document["benchmark"]
        assert "not the result of an equal search" in words(findings(Comparison(document)))

    def test_three_lines_on_the_screen(self):
        methods = {f"M{k}": GOOD if k < 6 else BASE for k in range(15)}
        shown = Comparison(a_comparison({name: a_document(methods) for name in ("FM", "DCN")}))
        for comparison in (shown, of_run(made(seeds=2)), of_run(a_document({"New": GOOD}))):
            for width in (120, 60):
                lines = headline(comparison, width)
                assert 1 <= len(lines) <= 3
                assert max(map(len, lines)) <= width
        assert report.table(made()).startswith("real gains in AUC (marked +): New in every phase\n")
        assert report.comparison_table(shown).startswith(
            "real gains in AUC (marked +): M0 in every"
        )

    def test_opens_the_files(self):
        document = made()
        assert report.markdown(document).startswith("On tiny, New on DeepFM was scored with five")
        shown = Comparison(a_comparison({"DeepFM": document}))
        assert report.comparison_markdown(shown).startswith("On tiny, New on DeepFM was scored")


class TestForest:
    def figure(self, document, **options):
        figure = forest_figure(document, **options)
        figure.canvas.draw()
        return figure

    def test_a_panel_per_phase_with_every_row_but_the_reference(self):
        figure = self.figure(made({"New": GOOD, "Old": BASE}))
        assert [axes.get_title("left") for axes in figure.axes] == PHASES
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert names == ["Base", "New", "Old", "Base (90 steps)"]
        title = figure.texts[0].get_text()
        assert title == "tiny: AUC minus ItemBias, 5 seeds (2020-2024)"

    def test_lines_are_the_intervals_and_a_real_gain_is_filled(self):
        axes = self.figure(made({"New": GOOD})).axes[1]
        spans = [tuple(line.get_xdata()) for line in axes.get_lines() if len(line.get_xdata()) == 2]
        assert any(span == pytest.approx((0.006, 0.014), abs=1e-5) for span in spans)
        assert any(span == pytest.approx((0.007, 0.013), abs=1e-5) for span in spans)
        dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
        filled = [line.get_markerfacecolor() != "white" for line in dots]
        assert filled == [False, True, False]
        within = self.figure(made({"New": GOOD}), metric="WithinAUC", against="Base").axes[1]
        dots = [line for line in within.get_lines() if line.get_marker() == "o"]
        assert all(line.get_markerfacecolor() == "white" for line in dots)

    @pytest.mark.parametrize(("metric", "half"), [("AUC", 0.002), ("WithinAUC", 0.001)])
    def test_the_band_is_the_smallest_effect(self, metric, half):
        axes = self.figure(made(), metric=metric).axes[0]
        (band,) = axes.patches
        x = band.get_extents().transformed(axes.transData.inverted())
        assert (x.x0, x.x1) == pytest.approx((-half, half), abs=1e-6)
        low, high = axes.get_xlim()
        assert low < -half and half < high
        assert not self.figure(made(), metric="LogLoss").axes[0].patches

    def test_a_row_far_out_leaves_the_others_room(self):
        far = tuple(value - 0.3 for value in BIAS)
        with_far = self.figure(made({"New": GOOD, "Old": BASE, "Far": far}))
        limits = self.figure(made({"New": GOOD, "Old": BASE})).axes[0].get_xlim()
        for axes in with_far.axes:
            assert axes.get_xlim() == pytest.approx(limits, rel=0.3)
            arrows = [line for line in axes.get_lines() if line.get_marker() in ("<", ">")]
            assert len(arrows) == 2 and {line.get_marker() for line in arrows} == {"<"}
            (told,) = [text.get_text() for text in axes.texts]
            assert float(told) < -0.1

    def test_backbones_under_each_other(self):
        documents = {"FM": a_document({"New": GOOD}), "DCN": a_document({"New": BASE})}
        figure = self.figure(Comparison(a_comparison(documents)), against="matched")
        told = [text.get_text() for text in figure.axes[0].texts]
        assert told == ["FM", "DCN"]
        assert len(figure.axes[0].get_yticks()) == 6

    def test_texts_stay_inside(self):
        long = "New[some_key=a_rather_long_value;other=another]"
        figure = self.figure(made({long: GOOD}))
        renderer = figure.canvas.get_renderer()
        labels = figure.axes[0].get_yticklabels()
        for text in [*figure.texts, *labels, *figure.legends[0].get_texts()]:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.x1 <= figure.bbox.width, text.get_text()

    def test_command(self, tmp_path, capsys):
        folder = tmp_path / "run"
        report.write_json(folder / "results.json", made())
        assert main(["plot", str(folder), "--kind=forest"]) == 0
        target = folder / "figures" / "forest.png"
        assert capsys.readouterr().out == f"{target}\n"
        assert target.read_bytes().startswith(b"\x89PNG")
        report.write_json(tmp_path / "two" / "comparison.json", a_comparison({"FM": made()}))
        to = tmp_path / "a.svg"
        words = ["--kind=forest", "--against=Base", "--metric=WithinAUC", f"--to={to}"]
        assert main(["plot", str(tmp_path / "two"), *words]) == 0
        assert to.exists()

    def test_from_python(self, tmp_path):
        figure = Results(made(), None).plot(tmp_path / "a.svg", "WithinAUC", "forest")
        assert len(figure.axes) == 4 and (tmp_path / "a.svg").exists()

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--kind=forest", "--rope=0.1"], "--rope belongs to --kind=cd; leave it out"),
            (["--kind=panels", "--against=Base"], "belongs to --kind=cd and forest; leave it out"),
            (["--kind=forest", "--against=New"], "'New' is no reference row of these results"),
            (["--kind=forest", "--metric=NE"], "have no interval of NE against ItemBias"),
        ],
    )
    def test_refused_in_a_sentence(self, tmp_path, capsys, words, told):
        report.write_json(tmp_path / "results.json", made())
        assert main(["plot", str(tmp_path), *words]) == 2
        _, err = capsys.readouterr()
        assert told in err and len(err.splitlines()) == 1
