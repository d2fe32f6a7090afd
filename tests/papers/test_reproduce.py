"""Published tables and figures: their files, what is run of them, and ours beside theirs."""

import csv
import io
import json
import math
import re
from shutil import copytree

import pytest
import yaml
from pool_here import run_here

from recbole_cold import load_results, report
from recbole_cold.cli.main import main
from recbole_cold.config import keys_of, make_config
from recbole_cold.data.phases import phase_names
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.evaluation.metrics import auc
from recbole_cold.experiment.requests import parse_entries
from recbole_cold.papers.document import difference, marks
from recbole_cold.papers.files import UNBOUNDED, find_item, known_items, parse_item, read_item
from recbole_cold.papers.requests import (
    FAST,
    ReproduceRequest,
    parts_of,
    request_of_item,
    settings,
)
from recbole_cold.papers.states import state_of
from recbole_cold.trials import ray_pool as pool

NAMES = [
    "avaew-figure2", "avaew-table1", "avaew-table2", "csdm-figure2", "csdm-table2",
    "emerg-figure2", "emerg-figure3", "emerg-figure4", "emerg-figure5", "emerg-table1",
    "emerg-table2", "emerg-table4", "emerg-table5", "mwuf-figure2", "mwuf-figure3",
    "mwuf-figure4", "mwuf-table1", "rml-figure4-cw", "rml-figure4-wc", "rml-table2-cw",
    "rml-table2-wc", "rml-table3-cw", "rml-table3-wc", "rml-table4-cw", "rml-table4-wc",
    "rml-table5-cw", "rml-table5-wc",
]  # fmt: skip
SMALL = {
    "paper": {"short": "P", "title": "T", "venue": "V", "year": 2000, "arxiv": "1"},
    "item": "Table 9",
    "shows": "two rows",
    "protocol": "strict",
    "keys": {"learning_rate": 0.01},
    "fast": {"warm_epochs": 1},
    "seeds": 3,
    "data": {
        "tiny": {
            "called": "Tiny data",
            "keys": {"cold_threshold": 30, "warm_size": 3},
            "counts": {"train": 1, "test": 2},
        },
        "big": {"called": "Big data"},
    },
    "metrics": ["AUC"],
    "phases": ["cold", "warm_a", "warm_b", "warm_c"],
    "form": "table",
    "blocks": [
        {
            "name": "FM",
            "backbone": "FM",
            "rows": [
                {"name": "plain", "model": "Base",
                 "published": {"tiny": {"AUC": [0.5, None, 0.6, 0.7]}},
                 "std": {"tiny": {"AUC": [0.01, None, None, 0.02]}}},
                {"name": "dropping", "model": "DropoutNet", "doubt": "of what"},
                {"name": "gone", "absent": "nobody has it",
                 "published": {"tiny": {"AUC": [0.55, 0.56, 0.57, 0.58]}}},
            ],
        }
    ],
}  # fmt: skip


def a_text(**changes):
    return yaml.safe_dump({**SMALL, **changes}, sort_keys=False)


def an_item(**changes):
    return parse_item(a_text(**changes), "small", "small.yaml")


def rows_of(*rows, **block):
    return [{"name": "b", **block, "rows": list(rows)}]


# ------------------------------------------------------------------------- the packaged files
def test_every_item_that_is_promised_has_a_file():
    assert list(known_items()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_read_and_has_a_form(name):
    item = find_item(name)
    assert item.forms and set(item.forms) <= set(report.FORMS)
    assert item.paper["year"] > 2000 and (item.paper.get("arxiv") or item.paper["doi"])
    assert (item.unknown is None) == bool(item.rows)
    assert item.title.startswith(item.paper["short"])


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers_are_shares_or_unknown(name):
    for row in find_item(name).rows:
        for numbers in (row.published, row.std):
            for by_metric in (numbers or {}).values():
                for metric, values in by_metric.items():
                    most = math.inf if metric in UNBOUNDED else 1
                    assert all(value is None or 0 < value < most for value in values)


@pytest.mark.parametrize("name", NAMES)
def test_each_row_and_key_is_one_of_this_project(name):
    """The configuration of every cell can be made, on every data set of the paper."""
    item = find_item(name)
    if item.unknown is not None:
        return
    for dataset in item.data:
        request = request_of_item(item, dataset, {}, fast=True)
        assert sum(len(part.rows) for part in parts_of(request)) == len(item.runnable())
        for part in parts_of(request):
            (backbone,) = parse_entries(part.request.backbones)
            given = {k: v for k, v in part.request.overrides.items() if k != "seeds"}
            entries = parse_entries(part.request.models)
            for entry in entries:
                config = make_config(
                    entry.spec, dataset, backbone.spec, check_data=False,
                    overrides={**given, **backbone.variant, **entry.variant},
                    also_known={key for each in entries for key in keys_of(each.spec)},
                )  # fmt: skip
                assert config["protocol"] == item.protocol
                said = {**item.keys, **item.data[dataset].keys}
                rule = said.get("split_rule", "frequency")
                assert config["split_rule"] == rule and item.phases[-1] in phase_names(config)
                needed = {"frequency": "cold_threshold", "sessions": "session_subset"}[rule]
                assert config[needed] == said[needed]


def test_numbers_stand_where_the_paper_has_them():
    """Spot checks against docs/results.md, which names them too."""
    rows = {(row.block, row.name): row for row in find_item("avaew-table1").rows}
    assert rows["IPNN", "CVAR"].published["ml-1m"]["AUC"] == (None, 0.7825, 0.7970, 0.8022)
    rows = {row.name: row for row in find_item("emerg-table1").rows}
    assert rows["EmerG"].published["ml-1m"]["AUC"] == (0.7544, 0.7992, 0.8128, 0.8182)
    assert rows["MeLU"].published["ml-1m"]["AUC"][0] is None
    rows = {row.name: row for row in find_item("mwuf-table1").rows}
    assert rows["MWUF(AFN)"].published["ml-1m"]["AUC"][0] == 0.6370
    rows = {row.name: row for row in find_item("rml-table5-cw").rows}
    assert rows["w/o Meta & Att"].published["ml-1m"]["AUC"] == (0.8289, 0.9010, 0.8673)
    assert rows["RML"].published["avazu"]["LogLoss"][2] == 0.1075
    rows = {row.name: row for row in find_item("mwuf-table1").rows}
    assert rows["MWUF(AFN)"].published["cikm2019"]["AUC"][3] == 0.7556


def test_the_numbers_are_those_of_the_results_page():
    """Every published AUC that both name is the same in both."""
    page = (known_items()["csdm-table2"].parents[2] / "docs" / "results.md").read_text()
    found = {float(f"0{text}") for text in re.findall(r"(?<![\d.])\.[5-8]\d{3}(?!\d)", page)}
    for name in ("avaew-table1", "avaew-table2", "csdm-table2", "emerg-table2"):
        for row in find_item(name).rows:
            for value in (row.published or {}).get("ml-1m", {}).get("AUC", ()):
                assert value is None or value in found, (name, row.name, value)


# ------------------------------------------------------------------------- reading a file
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"paper": {"short": "P"}}, "paper has no title"),
        ({"paper": {**SMALL["paper"], "arxiv": None, "doy": 1}}, "unknown key 'doy'"),
        ({"item": 3}, "item must be a text"),
        ({"form": "pie"}, "form is 'pie', and there are table, curves"),
        ({"form": ["boxes", "pie"]}, "form is 'pie', and there are table, curves"),
        ({"form": ["boxes", "boxes"]}, "form names a form twice"),
        ({"form": []}, "form must be a text or a list of texts"),
        ({"seeds": 0}, "seeds must be a number of runs"),
        ({"data": {}}, "data names no data set"),
        ({"metrics": "AUC"}, "metrics must be a list of texts"),
        ({"blocks": None}, "blocks has no rows, and unknown not why"),
        ({"blocks": [3]}, "block 1 must be a mapping"),
        ({"blocks": rows_of({"name": "a"})}, "row 'a' needs a model or absent"),
        ({"blocks": rows_of({"model": "Base"})}, "has no name"),
        ({"blocks": rows_of({"name": "a", "model": "Base", "at": "x"})}, "at must be a number"),
        (
            {"blocks": rows_of({"name": "a", "model": "A"}, {"name": "a", "model": "B"})},
            "the row 'a' of 'b' is given twice",
        ),
        ({"modle": 1}, "unknown key 'modle'"),
    ],
)
def test_what_a_file_misses_is_told(changes, told):
    with pytest.raises(UserError, match=re.escape(told)) as error:
        an_item(**changes)
    assert "'small.yaml'" in str(error.value)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5, 1.5], [0.5, 0.5, 0.5, "x"], 0.5])
def test_a_number_that_is_no_share_is_refused(values):
    row = {"name": "a", "model": "Base", "published": {"tiny": {"AUC": values}}}
    with pytest.raises(UserError, match=r"published\.tiny\.AUC"):
        an_item(blocks=rows_of(row))


def test_numbers_of_another_data_set_or_metric_are_refused():
    for published in ({"tinny": {"AUC": [0.5] * 4}}, {"tiny": {"AUT": [0.5] * 4}}):
        row = {"name": "a", "model": "Base", "published": published}
        with pytest.raises(UserError, match="has an unknown key"):
            an_item(blocks=rows_of(row))


def test_no_yaml_and_no_file(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(UserError, match="is not valid yaml"):
        read_item(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        find_item(str(tmp_path / "b.yaml"))


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(UserError, match=r"did you mean emerg-table1\?"):
        find_item("emrg-table1")
    with pytest.raises(UserError, match="avaew-table1"):
        find_item("avaew-table7")


def test_the_file_on_the_page_is_one():
    page = (known_items()["csdm-table2"].parents[2] / "docs" / "reproduce.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    item = parse_item(text, "page", "page")
    assert [row.name for row in item.rows] == ["plain", "theirs", "two layers"]
    assert item.rows[0].published["ml-1m"]["AUC"] == (0.7148, 0.7521, 0.7770, None)
    assert item.fast == {"cvar_iters": 2} and item.rows[2].at == 2


# ------------------------------------------------------------------------- what is run
def test_the_users_keys_win_over_the_file_and_a_fast_run():
    request = request_of_item(an_item(), "tiny", {"seeds": "4", "learning_rate": "0.5"}, fast=True)
    found = settings(request)
    assert (found["seeds"], found["learning_rate"], found["warm_size"]) == ("4", "0.5", 3)
    assert found["pretrain_epochs"] == FAST["pretrain_epochs"] and found["warm_epochs"] == 1
    assert settings(request_of_item(an_item(), "tiny", {}))["seeds"] == 3
    assert settings(request_of_item(an_item(), "tiny", {}, fast=True))["seeds"] == FAST["seeds"]
    assert settings(request_of_item(an_item(seeds=None), "tiny", {}))["seeds"] == 5
    one = an_item(keys={"seeds": 1})  # a fast run has no more of anything
    assert settings(request_of_item(one, "tiny", {}, fast=True))["seeds"] == 1


def test_rows_on_one_backbone_are_one_comparison_and_own_networks_another():
    rows = [
        {"name": "a", "model": "Base"},
        {"name": "b", "model": "CVAR", "backbone": "DCN"},
        {"name": "c", "model": "CVAR"},
        {"name": "d", "model": "CVAR"},
    ]
    blocks = [*rows_of(*rows, backbone="FM"), {"rows": [{"name": "e", "model": "MeLU"}]}]
    item = an_item(blocks=blocks, fast={"cvar_iters": 1, "meta_epochs": 1})
    parts = parts_of(request_of_item(item, "tiny", {"cvar_noise": "1"}, fast=True))
    told = [(part.backbone, part.request.models, part.own) for part in parts]
    assert told == [
        ("FM", "Base,CVAR", False),
        ("DCN", "CVAR", False),
        (report.OWN_NETWORK, "MeLU", True),
    ]
    # A key of one method is not given to comparisons without it, which would refuse it.
    given = [part.request.overrides for part in parts]
    assert ["cvar_noise" in each for each in given] == [True, True, False]
    assert ["meta_epochs" in each for each in given] == [False, False, True]
    assert all(each["learning_rate"] == 0.01 for each in given)


def test_what_the_file_decides_cannot_be_given():
    with pytest.raises(UserError, match="says which model there is"):
        request_of_item(an_item(), "tiny", {"model": "Base"})


def test_an_item_without_contents_or_methods_says_why():
    with pytest.raises(UserError, match="cannot be reproduced: what EmerG's table 5 shows"):
        request_of_item(find_item("emerg-table5"), "ml-1m", {})
    item = an_item(blocks=rows_of({"name": "a", "absent": "nobody has it"}))
    with pytest.raises(UserError, match="no row that can be run here: nobody has it"):
        request_of_item(item, "tiny", {})


def test_states(tiny_path, tmp_path):
    folder = str(tiny_path.parent)
    assert state_of(an_item(), folder)[:2] == (
        True,
        "runs here (tiny); not run: gone (nobody has it)",
    )
    words = state_of(an_item(), str(tmp_path)).words
    assert words.startswith("needs data Tiny data (tiny) or Big data (big): see")
    assert words.endswith("; not run: gone (nobody has it)")
    rows = [{"name": name, "absent": why} for name, why in zip("abc", ("x", "y", "x"), strict=True)]
    gone = an_item(blocks=rows_of(*rows))
    assert state_of(gone, folder)[:2] == (False, "not run: a, c (x); b (y)")
    assert not state_of(find_item("csdm-figure2"), folder).runs


# ------------------------------------------------------------------------- marks
def told_marks(counts, seeds=(1, 2, 3), dataset="tiny", overrides=None, fast=False, text=""):
    request = ReproduceRequest("", "small", text or a_text(), dataset, overrides or {}, fast)
    return marks(request, request.paper_item(), {"split": {"counts": counts}}, list(seeds))


def test_marks_say_what_cannot_be_told():
    same = {"train": 1, "test": 2, "warm_a": 9}
    assert "cannot be told" in told_marks(same)["s"] and "n" not in told_marks(same)
    assert told_marks({"train": 1, "test": 5})["s"].endswith("test 5 rows here, 2 there")
    assert told_marks(same, seeds=(1, 2))["n"] == "2 seeds here, 3 runs in the paper"
    assert set(told_marks(same, dataset="other")) == {"d", "v"}
    assert "f" in told_marks(same, fast=True)
    shown = told_marks(same, overrides={"learning_rate": "0.5", "data_path": "x", "seeds": "3"})
    assert shown["k"] == "other settings than the file's: learning_rate=0.5"
    assert "does not say how many" in told_marks(same, text=a_text(seeds=None))["n"]


def test_a_difference_is_ours_minus_theirs():
    assert difference(0.75, 0.7) == pytest.approx(0.05)
    assert difference(None, 0.7) is None and difference(0.7, None) is None


# ------------------------------------------------------------------------- end to end
@pytest.fixture
def pool_here(monkeypatch):
    """The specs of the trials that were run, in this process."""
    return run_here(monkeypatch)


@pytest.fixture
def reproduce(tiny_flags, tmp_path, pool_here):
    """``reproduce(text, *words)``: exit code, the newest folder, how many trials were run."""
    left_out = ("--cold_threshold", "--warm_size", "--threshold")

    def go(text, *words, name="small"):
        before = len(pool_here)
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        flags = [flag for flag in tiny_flags if not flag.startswith(left_out)]
        code = main(["reproduce", str(path), *flags, "--threshold={rating: 4}", *words])
        folders = sorted((tmp_path / "saved").glob(f"tiny-{name}-*"))
        return code, folders[-1] if folders else None, len(pool_here) - before

    return go


class TestEndToEnd:
    def test_ours_stand_beside_theirs(self, reproduce, capsys):
        code, folder, ran = reproduce(a_text(), "--seeds=2")
        assert (code, ran) == (0, 4)
        found = report.load_reproduction(folder)
        whole = report.load_comparison(folder)
        ours = {
            run["label"]: [seed["phases"]["cold"]["metrics"]["AUC"] for seed in run["seeds"]]
            for run in whole["documents"][0]["runs"]
        }
        plain, dropping, gone = found["rows"]
        cell = plain["cells"]["AUC"]["cold"]
        mean = sum(ours["Base"]) / 2
        assert cell["ours"] == pytest.approx(mean) and cell["published"] == 0.5
        assert cell["difference"] == pytest.approx(mean - 0.5) and cell["published_std"] == 0.01
        assert plain["cells"]["AUC"]["warm_a"]["published"] is None
        assert gone["absent"] == "nobody has it" and gone["cells"]["AUC"]["cold"]["ours"] is None
        shown = capsys.readouterr().out
        assert f"{mean - 0.5:+.4f}" in shown and "0.5000 ± 0.0100" in shown
        assert "published number not at hand" in shown  # of the row "dropping"
        assert "not run: gone: nobody has it" in shown
        assert "dropping: of what" in shown and "(n) 2 seeds here, 3 runs" in shown
        assert found["pictures"] == ["figures/small.png"]
        assert (folder / "figures" / "small.png").is_file() and (folder / "table.txt").is_file()
        assert dropping["missing"] is None

    def test_csv_and_markdown_hold_the_same(self, reproduce):
        _, folder, _ = reproduce(a_text(), "--seeds=1")
        found = report.load_reproduction(folder)
        lines = list(csv.DictReader(io.StringIO((folder / "reproduce.csv").read_text())))
        assert len(lines) == 3 * 4
        cell = found["rows"][0]["cells"]["AUC"]["warm_c"]
        (line,) = [x for x in lines if (x["row"], x["phase"]) == ("plain", "warm_c")]
        assert (
            float(line["ours"]) == cell["ours"]
            and float(line["difference"]) == (cell["difference"])
        )
        assert line["published_std"] == "0.02" and line["std"] == "" and line["marks"] == "kns"
        text = (folder / "reproduce.md").read_text()
        assert f"| {cell['ours']:.4f} |" in text and f"{cell['difference']:+.4f} |" in text

    def test_sessions_have_standard_errors_beside_their_auc(self, reproduce, capsys):
        keys = {
            "split_rule": "sessions", "session_length": 4, "session_min": 2,
            "session_user_min": 5,
        }  # fmt: skip
        data = {"tiny": {"called": "Tiny data"}}
        text = a_text(
            keys=keys, data=data, phases=["ft_a", "ft_c"], metrics=["AUC", "LogLoss"],
            blocks=rows_of({"name": "plain", "model": "Base"}, backbone="FM"),
        )  # fmt: skip
        code, folder, _ = reproduce(text, "--seeds=2")
        assert code == 0
        found = report.load_reproduction(folder)
        (run,) = report.load_comparison(folder)["documents"][0]["runs"]
        (row,) = found["rows"]
        for phase in ("ft_a", "ft_c"):
            errors = [seed["phases"][phase]["auc_error"] for seed in run["seeds"]]
            cell = row["cells"]["AUC"][phase]
            known = [error for error in errors if not math.isnan(error)]  # one has one click
            assert cell["error"] == pytest.approx(sum(known) / len(known)) and cell["error"] > 0
            assert row["cells"]["LogLoss"][phase]["error"] is None
        shown, markdown = capsys.readouterr().out, (folder / "reproduce.md").read_text()
        for told in (shown, markdown):
            assert f"{row['cells']['AUC']['ft_c']['error']:.4f}" in told
            assert "standard error of an AUC: DeLong's" in " ".join(told.split())
        lines = csv.DictReader((folder / "reproduce.csv").read_text().splitlines())
        errors = {(line["metric"], line["phase"]): line["error"] for line in lines}
        assert float(errors["AUC", "ft_a"]) == row["cells"]["AUC"]["ft_a"]["error"]
        assert errors["LogLoss", "ft_a"] == ""

    def test_results_are_reused_and_a_stop_keeps_what_is_there(
        self, reproduce, monkeypatch, tmp_path, capsys
    ):
        done = pool.run_all

        def one_only(specs, **options):
            done(specs[:1], **options)
            raise Interrupted

        monkeypatch.setattr(pool, "run_all", one_only)
        code, folder, ran = reproduce(a_text(), "--seeds=1")
        assert (code, ran) == (130, 1)
        found = report.load_reproduction(folder)
        assert [row["missing"] for row in found["rows"]] == [None, "not run yet or failed", None]
        assert "missing: dropping" in capsys.readouterr().out
        assert not (folder / "table.txt").exists()
        monkeypatch.setattr(pool, "run_all", done)
        assert main(["reproduce", "--resume", f"--saved_dir={tmp_path / 'saved'}"]) == 0
        assert (folder / "table.txt").exists()
        whole = report.load_comparison(folder)
        assert (whole["ran"], whole["reused"]) == (1, 1)
        code, other, ran = reproduce(a_text(), "--seeds=1")
        assert (code, ran) == (0, 0) and other != folder

    def test_a_failed_cell_leaves_the_others(self, reproduce, monkeypatch, capsys):
        def failing(specs, *, on_failed, **_):
            for spec in specs:
                on_failed(spec, "Traceback\nboom")

        monkeypatch.setattr(pool, "run_all", failing)
        code, folder, _ = reproduce(a_text(), "--seeds=1")
        assert code == 1 and "boom" in capsys.readouterr().err
        assert report.load_reproduction(folder)["pictures"] == []
        assert not (folder / "table.txt").exists()

    def test_all_data_sets_of_the_paper_are_run_until_one_is_stopped(
        self, pool_here, monkeypatch, tiny_path, tmp_path
    ):
        for name in ("tiny", "twin"):
            copytree(tiny_path, tmp_path / "data" / name)
        for path in (tmp_path / "data" / "twin").iterdir():
            path.rename(path.with_name(path.name.replace("tiny", "twin")))
        data = {"tiny": SMALL["data"]["tiny"], "twin": {"called": "T"}}
        path = tmp_path / "both.yaml"
        path.write_text(a_text(data=data, seeds=1))
        words = [f"--data_path={tmp_path / 'data'}", "--threshold={rating: 4}",
                 "--cold_threshold=30", "--warm_size=3", "--train_batch_size=64",
                 f"--saved_dir={tmp_path / 'saved'}", "--show_progress=False"]  # fmt: skip
        assert main(["reproduce", str(path), *words]) == 0
        made = sorted(folder.name[:9] for folder in (tmp_path / "saved").iterdir())
        assert made == ["tiny-both", "twin-both"]

        def stopped(*_, **__):
            raise Interrupted

        monkeypatch.setattr(pool, "run_all", stopped)
        assert main(["reproduce", str(path), *words, "--learning_rate=0.02"]) == 130
        assert len(list((tmp_path / "saved").iterdir())) == 3  # the twin was not begun

    def test_another_data_set_has_no_published_numbers(self, reproduce, capsys):
        big = {"big": SMALL["data"]["big"]}
        rows = rows_of({"name": "a", "model": "Base"}, backbone="FM")
        code, _, _ = reproduce(
            a_text(data=big, blocks=rows), "--seeds=1", "--cold_threshold=30", "--warm_size=3"
        )
        shown = capsys.readouterr().out
        assert code == 0 and "the paper has no numbers for tiny, only for Big data" in shown
        assert "not at hand" not in shown

    def test_a_fast_run_says_so_everywhere(self, reproduce, capsys):
        code, folder, ran = reproduce(a_text(), "--fast", "--seeds=1")
        told = "FAST RUN, NOT COMPARABLE with the paper: pretrain_epochs: 1, warm_epochs: 1"
        assert (code, ran) == (0, 2) and told in capsys.readouterr().out
        assert "NOT COMPARABLE" in (folder / "reproduce.md").read_text()
        found = report.load_reproduction(folder)
        assert "f" in found["marks"] and "NOT COMPARABLE" in report.drawn_of(found).told

    def test_rows_that_the_paper_lacks_are_shown_apart(self, reproduce, capsys):
        rows = rows_of({"name": "a", "model": "CVAR"}, {"name": "b", "model": "Base"},
                       backbone="FM")  # fmt: skip
        code, folder, _ = reproduce(
            a_text(blocks=rows), "--seeds=1", "--matched_row=True", "--cvar_iters=2"
        )
        assert code == 0
        (extra,) = [row for row in report.load_reproduction(folder)["rows"] if row.get("extra")]
        assert extra["name"] == f"{report.MATCHED} on FM"
        assert "not in the paper" in capsys.readouterr().out

    def test_sequence_models_of_mwuf_read_the_items_history(self, reproduce):
        """A block of MWUF's figure 2 as it is packaged, on other data."""
        text = yaml.safe_load(known_items()["mwuf-figure2"].read_text())
        text["data"] = {"tiny": SMALL["data"]["tiny"]}
        text["blocks"] = [each for each in text["blocks"] if each["name"] == "DIN"]
        code, folder, ran = reproduce(yaml.safe_dump(text), "--fast", "--seeds=1")
        assert (code, ran) == (0, 3)
        found = report.load_reproduction(folder)
        assert [row["name"] for row in found["rows"]] == ["base", "MetaEmb", "MWUF"]
        for row in found["rows"]:
            assert all(0 < cell["ours"] < 1 for cell in row["cells"]["AUC"].values())
        (document,) = report.load_comparison(folder)["documents"]
        configs = [run["config"] for run in document["runs"]]
        assert {(c["history_side"], c["eval_on"]) for c in configs} == {("item", "next")}

    def test_graphs_are_drawn_of_one_run_whose_scores_are_used(self, reproduce):
        rows = [{"name": "b", "rows": [{"name": "EmerG", "model": "EmerG"}]}]
        keys_of_run = {"emerg_epochs": 1, "pretrain_epochs": 1, "warm_epochs": 1, "seeds": 1}
        text = a_text(blocks=rows, form="graphs", keys=keys_of_run, fast={})
        code, folder, ran = reproduce(text)
        assert (code, ran) == (0, 0)  # the run that drew them has the scores
        found = report.load_reproduction(folder)
        assert found["rows"][0]["cells"]["AUC"]["cold"]["ours"] is not None
        assert (folder / "figures" / "small.png").is_file()
        assert list(folder.glob("tiny-EmerG-*/EmerG/graphs-seed-2020.npz"))

    def test_boxes_are_of_the_kept_scores_batch_by_batch(self, reproduce, monkeypatch):
        drawn = []
        monkeypatch.setattr(
            report, "plot_form", lambda form, whole, path: drawn.append((form, whole))
        )
        code, folder, _ = reproduce(a_text(form=["boxes", "ridgelines"]), "--seeds=2")
        (form, whole), (other, same) = drawn
        assert (code, form, other) == (0, "boxes", "ridgelines") and same is whole
        names = ["figures/small.png", "figures/small-ridgelines.png"]
        assert report.load_reproduction(folder)["pictures"] == names
        assert whole.batches == (64,)
        frame = load_results(folder).scores()
        plain = whole.panels[0].series[0]
        for phase, values in zip(whole.phases, plain.batches, strict=True):
            expected = []
            for seed in (2020, 2021):
                rows = frame[(frame.method == "Base") & (frame.phase == phase)]
                rows = rows[rows.seed == seed]
                for start in range(0, len(rows) - 63, 64):
                    part = rows[start : start + 64]
                    expected.append(auc(part.score.to_numpy(), part.label.to_numpy()))
            assert len(expected) > 2 and list(values) == expected

    def test_boxes_need_scores(self, reproduce, capsys):
        code, _, _ = reproduce(a_text(form="boxes"), "--seeds=1", "--keep_scores=False")
        assert code == 2 and "seed 2020: no row scores were kept" in capsys.readouterr().err

    def test_vectors_are_drawn_of_each_row(self, reproduce):
        text = a_text(form="vectors", seeds=1)
        code, folder, _ = reproduce(text)
        found = report.load_reproduction(folder)
        assert code == 0 and set(found["distances"]) == {"plain", "dropping"}
        assert all(math.isfinite(value) for value in found["distances"].values())


# ------------------------------------------------------------------------- the command
def test_the_list_names_every_item_and_what_it_needs(tiny_path, capsys):
    """With the embedded data set alone: nothing of the papers' is there."""
    assert main(["reproduce", "--list", f"--data_path={tiny_path.parent}"]) == 0
    shown = capsys.readouterr().out
    for name in NAMES:
        assert f"\n{name} " in f"\n{shown}"
    assert "needs data MovieLens-1M (ml-1m)" in shown and "--dataset=NAME" in shown
    assert "contents not at hand: what EmerG's table 5" in shown
    # Sequence models are backbones here, and sessions have tasks of users: no row is left out.
    for name in ("mwuf-table1", "rml-table2-wc"):
        (of_table,) = re.findall(rf"{name} .*\n.*\n(.*)", shown)
        assert "needs data" in of_table and "not run" not in of_table


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["emrg-table1"], "did you mean emerg-table1"),
        (["emerg-table1"], "emerg-table1 needs MovieLens-1M (ml-1m) or Taobao"),
        (["emerg-table5"], "what EmerG's table 5 shows is not among the sources"),
        ([], "reproduce takes one table or figure"),
        (["a", "b"], "reproduce takes one table or figure"),
        (["a", "--list"], "takes --data_path only; leave out 'a'"),
        (["--list", "--seeds=2"], "takes --data_path only; leave out --seeds"),
        (["emerg-table2", "--dataset=tiny", "--model=Base"], "leave out --model"),
        (["emerg-table2", "--dataset=tiny", "--emerg_epochz=2"], "did you mean 'emerg_epochs'?"),
        (["--resume=/nowhere", "--fast"], "as it was asked for"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(words, told, tiny_path, capsys, tmp_path):
    place = [] if "--resume=/nowhere" in words else [f"--data_path={tiny_path.parent}"]
    assert main(["reproduce", *words, *place]) == 2
    assert told in capsys.readouterr().err


def test_switches_of_one_verb(capsys):
    assert main(["run", "--fast"]) == 2
    assert "run takes no --fast: it goes with reproduce" in capsys.readouterr().err
    assert main(["reproduce", "--fast=1", "x"]) == 2
    assert "--fast takes no value" in capsys.readouterr().err


def test_a_damaged_reproduction_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        report.load_reproduction(tmp_path)
    (tmp_path / "reproduce.json").write_text("{}")
    with pytest.raises(UserError, match="is no reproduction"):
        report.load_reproduction(tmp_path)
    content = {"schema": 99, "rows": [], "marks": {}, "phases": []}
    (tmp_path / "reproduce.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="another version"):
        report.load_reproduction(tmp_path)


@pytest.mark.slow
def test_the_smallest_table_runs_on_the_embedded_data_set(pool_here, tmp_path, capsys):
    words = ["--dataset=ml-100k", "--fast", "--seeds=1", f"--saved_dir={tmp_path}"]
    assert main(["reproduce", "csdm-table2", *words, "--show_progress=False"]) == 0
    (folder,) = tmp_path.glob("ml-100k-csdm-table2-*")
    found = report.load_reproduction(folder)
    assert all(0.6 < row["cells"]["AUC"]["warm_c"]["ours"] < 0.8 for row in found["rows"])
    assert "NOT COMPARABLE" in capsys.readouterr().out and len(pool_here) == 2
