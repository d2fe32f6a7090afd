"""Several subsets of sessions in one command: a run each, the numbers of runs alone, one table."""

import copy
import json

import pytest
from pool_here import run_here

import recbole_cold
from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.data.session_split import subsets_of
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.keys import ROWS
from recbole_cold.report._comparison import MATCHED
from recbole_cold.report._tables import markdown_parts
from recbole_cold.store import write_bytes
from recbole_cold.trials import ray_pool

SUBSETS = ["wc", "cw"]
MODELS = "Base,ItemBias"
SESSIONS = {
    "threshold": {"rating": 4}, "split_rule": "sessions", "session_length": 4, "session_min": 2,
    "session_user_min": 5, "embedding_size": 4, "train_batch_size": 64, "pretrain_epochs": 1,
    "show_progress": False, "bootstrap_resamples": 20, "seeds": 2, "seed": 3,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Curves take longer to draw than these runs take; test_report.py draws them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "plot_curves", lambda _, path, bands: write_bytes(path, b"curves"))
        yield


@pytest.fixture
def flags(tiny_path, tmp_path):
    """``flags(folder)``: what every command here begins with."""

    def make(saved=tmp_path / "saved", **more):
        keys = {**SESSIONS, "dataset": "tiny", "data_path": tiny_path.parent, "saved_dir": saved}
        keys |= {"cache_dir": tmp_path / "cache", **more}
        return [f"--{key}={str(value).replace(chr(39), '')}" for key, value in keys.items()]

    return make


@pytest.fixture(scope="module")
def keys(tiny_path):
    return {**SESSIONS, "dataset": "tiny", "data_path": str(tiny_path.parent)}


@pytest.fixture(scope="module")
def alone(keys, tmp_path_factory):
    """The results of single runs, by subset."""
    root = tmp_path_factory.mktemp("alone")
    places = {"saved_dir": str(root / "saved"), "cache_dir": str(root / "cache")}
    return {
        name: recbole_cold.run(MODELS, session_subset=name, **keys, **places) for name in SUBSETS
    }


@pytest.fixture(scope="module")
def both(keys, tmp_path_factory):
    """The results of one run on both subsets."""
    root = tmp_path_factory.mktemp("both")
    places = {"saved_dir": str(root / "saved"), "cache_dir": str(root / "cache")}
    return recbole_cold.run(MODELS, session_subset="both", **keys, **places)


@pytest.fixture
def trained(monkeypatch):
    """What is trained: subset, label and seed; ``trained.stop_at`` gets a signal there."""

    class Trained(list):
        stop_at = None

    told, run_one = Trained(), Experiment._run_one

    def noted(self, entry, seed):
        told.append((self.first()["session_subset"], entry.label, seed))
        if told[-1] == told.stop_at:
            raise Interrupted
        run_one(self, entry, seed)

    monkeypatch.setattr(Experiment, "_run_one", noted)
    return told


def only_folder(saved):
    (folder,) = saved.iterdir()
    return folder


# ------------------------------------------------------------------------------- what is asked
@pytest.mark.parametrize(
    "asked, names",
    [
        ("wc", ["wc"]), ("cw", ["cw"]), ("both", SUBSETS), (["wc", "cw"], SUBSETS),
        (["cw", "wc", "cw"], SUBSETS), (["cw"], ["cw"]),
    ],
)  # fmt: skip
def test_values_of_the_key(asked, names):
    assert ROWS["session_subset"].kind.accepts(asked)
    assert subsets_of(asked) == names


@pytest.mark.parametrize("asked", ["all", "wc,cw", ["both"], [], None, True])
def test_no_values_of_the_key(asked):
    assert not ROWS["session_subset"].kind.accepts(asked)


# ------------------------------------------------------------------------------- numbers
@pytest.mark.parametrize("name", SUBSETS)
def test_a_column_has_the_numbers_of_a_run_alone(both, alone, numbers, name):
    """All of them, bit for bit: metrics, errors of AUCs, steps, intervals."""
    assert list(both.subsets) == SUBSETS
    ours, theirs = both[name].document, alone[name].document
    assert ours["split"]["settings"]["session_subset"] == name
    assert numbers(ours) == numbers(theirs)
    assert ours["intervals"] and str(ours["intervals"]) == str(theirs["intervals"])
    assert str(report.load(both.folder / name)["runs"]) == str(ours["runs"])
    assert {run["config"]["session_subset"] for run in ours["runs"]} == {name}


@pytest.mark.slow
def test_without_a_folder_the_same_numbers(both, keys, numbers, tmp_path):
    found = recbole_cold.run(MODELS, session_subset=SUBSETS, saved_dir=None, **keys)
    assert found.folder is None
    assert [numbers(found[name].document) for name in SUBSETS] == [
        numbers(both[name].document) for name in SUBSETS
    ]
    assert found.scores().equals(both.scores())


def test_another_rule_has_no_subsets(keys):
    config = {**keys, "cold_threshold": 30, "warm_size": 3, "split_rule": "frequency", "seeds": 1}
    found = recbole_cold.run("Base", session_subset="both", saved_dir=None, **config)
    assert found.document["phases"][0] == "cold"


# ------------------------------------------------------------------------------- the table
def cells_of(text, named=False):
    """(title, row) -> the cells of a Markdown text's tables; ``named``: behind backbones."""
    found, title = {}, None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")][named:]
        if not line.startswith("|"):
            title = None
        elif title is None:
            title = cells[0]
            found[title, ""] = cells[1:]
        elif not cells[0].startswith("---"):
            found[title, cells[0]] = cells[1:]
    return found


def test_one_table_has_the_columns_of_both(both, alone):
    joined = cells_of((both.folder / "results.md").read_text())
    single = {name: cells_of(report.markdown(found.document)) for name, found in alone.items()}
    titles = {title for title, _ in joined}
    assert {"AUC", "LogLoss", "standard error of an AUC"} <= titles
    phases = ["none", "ft_a", "ft_b", "ft_c"]
    assert joined["AUC", ""] == [f"{name} {phase}" for name in SUBSETS for phase in phases]
    timed = ("optimizer steps", "cost per seed")  # seconds differ
    for (title, row), cells in joined.items():
        if title not in timed and row:
            own = [single[n][title, row] for n in SUBSETS if (title, row) in single[n]]
            assert cells == [cell for part in own for cell in part], (title, row)
    assert joined["cost per seed", "Base"][5] and len(joined["cost per seed", "Base"]) == 16


def test_sentences_that_hold_for_both_stand_once(both):
    text = (both.folder / "table.txt").read_text()
    parts = [report.table(both[name].document) for name in SUBSETS]
    assert text.count("mean ± sample std over 2 seeds") == 1
    assert "wc: split: train" in " ".join(text.split())
    assert "cw: split: train" in text and "sessions cw, rows of cold users" in text
    assert "split: train" in parts[0]
    assert "**wc**: On tiny" in (both.folder / "results.md").read_text()


def test_a_narrow_screen_has_one_subset_under_the_other(both):
    wide, narrow = both.table(), both.table(width=100)
    assert wide == (both.folder / "table.txt").read_text()
    head = next(line for line in wide.splitlines() if line.startswith("LogLoss"))
    assert "wc none" in head and head.endswith("cw ft_c")
    heads = [line for line in narrow.splitlines() if line.startswith("LogLoss")]
    assert ["wc" in head for head in heads] == [True, False]
    assert max(map(len, narrow.splitlines())) <= 100
    numbers = [" ".join(text.split()).count(" ± ") for text in (wide, narrow)]
    assert numbers[0] == numbers[1]


def test_rows_of_one_subset_alone_and_the_matched_row(both):
    """Steps of the matched row differ by subset; it is one row all the same."""
    documents = copy.deepcopy({name: both[name].document for name in SUBSETS})
    for steps, doc in enumerate(documents.values(), 7):
        named = {"label": f"Base ({steps} steps)", "matched_steps": steps}
        doc["runs"].append({**copy.deepcopy(doc["runs"][0]), **named})
    documents["cw"]["runs"] = [r for r in documents["cw"]["runs"] if r["label"] != "ItemBias"]
    text = report.subsets_markdown(documents, "it")
    found = cells_of(text)
    assert "steps)" not in text
    assert [row for title, row in found if title == "LogLoss"] == [
        "", "Base", "ItemBias", MATCHED,
    ]  # fmt: skip
    assert found["LogLoss", "ItemBias"][4:] == ["-"] * 4
    assert "-" not in found["LogLoss", "ItemBias"][:4] + found["LogLoss", MATCHED]
    blocks = {block.title for block in markdown_parts(documents["wc"]).blocks}
    assert "AUC minus ItemBias, 95 %" in blocks  # which cw has not: its columns are absent
    assert len(found["AUC minus ItemBias, 95 %", "Base"]) == 4


# ------------------------------------------------------------------------------- commands
def test_a_command_shows_one_table(flags, tmp_path, capsys):
    assert main(["--model=Base", *flags(seeds=1), "--session_subset=[cw,wc]"]) == 0
    out = capsys.readouterr().out
    folder = only_folder(tmp_path / "saved")
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(SUBSETS)
    for name in SUBSETS:
        assert f"results  {folder / name / 'results.json'}" in out
        assert (folder / name / "table.txt").is_file()
    assert f"markdown {folder / 'results.md'}" in out and "cw ft_c" in out
    assert main([f"--resume={folder}"]) == 0  # only read
    assert capsys.readouterr().out.count("cw ft_c") == out.count("cw ft_c")


@pytest.mark.parametrize(
    "place", [pytest.param(("wc", "Base", 4), marks=pytest.mark.slow), ("cw", "ItemBias", 3)]
)
def test_interrupted_and_continued(flags, trained, both, numbers, place, tmp_path, capsys):
    trained.stop_at = place
    words = [f"--model={MODELS}", *flags(), "--session_subset=both"]
    assert main(words) == 130
    folder = only_folder(tmp_path / "saved")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"interrupted; to continue: recbole-cold --resume={folder}"
    assert not (folder / "table.txt").exists()
    assert (folder / "wc" / "table.txt").exists() == (place[0] == "cw")
    before = (folder / "wc" / "results.json").stat().st_mtime_ns
    trained.stop_at = None
    trained.clear()
    assert main(["--resume", f"--saved_dir={tmp_path / 'saved'}"]) == 0
    assert {name for name, *_ in trained} == set(SUBSETS[SUBSETS.index(place[0]) :])
    if place[0] == "cw":  # nothing is done anew, or written
        assert (folder / "wc" / "results.json").stat().st_mtime_ns == before
    assert only_folder(tmp_path / "saved") == folder
    for name in SUBSETS:
        assert numbers(report.load(folder / name)) == numbers(both[name].document)
    assert "cw ft_c" in (folder / "table.txt").read_text()


@pytest.mark.slow
def test_a_subset_may_be_continued_alone(flags, trained, tmp_path):
    trained.stop_at = ("cw", "Base", 4)
    assert main(["--model=Base", *flags(), "--session_subset=both"]) == 130
    trained.stop_at = None
    folder = only_folder(tmp_path / "saved")
    assert main([f"--resume={folder / 'cw'}"]) == 0
    trained.clear()
    assert main([f"--resume={folder}"]) == 0
    assert trained == [] and (folder / "table.txt").exists()


def test_another_version_is_not_mixed_in(flags, trained, tmp_path, capsys, monkeypatch):
    """A subset that is finished was made by the code that the other one must be made by."""
    trained.stop_at = ("cw", "Base", 3)
    assert main(["--model=Base", *flags(), "--session_subset=both"]) == 130
    trained.stop_at = None
    folder = only_folder(tmp_path / "saved")
    request = json.loads((folder / "wc" / "request.json").read_text())
    request["began"]["versions"]["torch"] = "0.1"
    (folder / "wc" / "request.json").write_text(json.dumps(request))
    assert main([f"--resume={folder}"]) == 2
    assert "torch 0.1 to" in capsys.readouterr().err


def test_what_is_wrong_with_one_is_said_before_the_other_is_trained(
    flags, trained, tmp_path, capsys
):
    """Of 12 cold users a part gets none with this seed; wc alone would run."""
    few = {"seed": 2, "seeds": 1, "session_min": 3, "session_user_min": 14}
    assert main(["check", *flags(**few), "--session_subset=wc"]) == 0
    assert main(["--model=Base", *flags(**few), "--session_subset=both"]) == 2
    assert "the part ft_c has no session: 12 users of subset cw" in capsys.readouterr().err
    assert trained == [] and not (tmp_path / "saved").exists()


def test_a_failure_names_its_subset(flags, monkeypatch, tmp_path, capsys):
    run_one = Experiment._run_one

    def failing(self, entry, seed):
        if (self.first()["session_subset"], entry.label) == ("cw", "ItemBias"):
            raise UserError("no such thing")
        run_one(self, entry, seed)

    monkeypatch.setattr(Experiment, "_run_one", failing)
    code = main(["--model=Base,ItemBias", *flags(seeds=1), "--session_subset=both"])
    err = capsys.readouterr().err
    assert code == 1 and "failed: cw: ItemBias, seed 3: no such thing" in err
    folder = only_folder(tmp_path / "saved")
    cells = cells_of((folder / "results.md").read_text())["LogLoss", "ItemBias"]
    assert cells[4:] == ["-"] * 4 and "-" not in cells[:4]


def test_check_tells_both(flags, capsys):
    assert main(["check", *flags(), "--session_subset=both"]) == 0
    told = capsys.readouterr().out
    assert told.count("\nfields\n") == 1
    first, second = told.index("sessions wc, rows of"), told.index("sessions cw, rows of")
    assert 0 < first < second


@pytest.mark.parametrize(
    "words",
    [
        ["tune", "--model=Base", "--grid=embedding_size=[2,4]"],
        ["benchmark", "--models=Base,ItemBias", "--trials=2"],
        ["plot", "--model=Base"],
    ],
    ids=lambda words: words[0],
)
def test_elsewhere_one_is_to_be_given(flags, words, tmp_path, capsys):
    assert main([words[0], *words[1:], *flags(), "--session_subset=both"]) == 2
    told = capsys.readouterr().err
    assert "session_subset: both names several data sets" in told
    assert "give one, session_subset: wc or cw" in told and not (tmp_path / "saved").exists()


# ------------------------------------------------------------------------------- from Python
def test_results_from_python(both, tmp_path):
    frame = both.frame()
    assert list(frame.columns)[:2] == ["subset", "method"] and set(frame["subset"]) == set(SUBSETS)
    for name in SUBSETS:
        own = frame[frame["subset"] == name].drop(columns="subset").reset_index(drop=True)
        assert own.equals(both[name].frame())
    rows = both.scores()
    assert str(rows["item"].dtype) == str(rows["subset"].dtype) == "category"
    lengths = [len(both[name].scores()) for name in SUBSETS]
    assert rows["subset"].tolist() == ["wc"] * lengths[0] + ["cw"] * lengths[1]
    assert rows["item"].tolist()[lengths[0] :] == both["cw"].scores()["item"].tolist()
    assert both.failures == [] and "wc: <results of Base" in repr(both)
    assert both._repr_html_().count("<table>") == 2
    with pytest.raises(UserError, match="'cold' is none of the subsets wc, cw"):
        both["cold"]
    with pytest.raises(UserError, match=f"a picture shows one subset.*'{both.folder / 'wc'}'"):
        both.plot()


def test_results_of_a_folder(both):
    again = recbole_cold.load_results(both.folder)
    assert isinstance(again, recbole_cold.SubsetResults)
    assert again.frame().equals(both.frame()) and again.table() == both.table()
    assert type(recbole_cold.load_results(both.folder / "cw")) is recbole_cold.Results


# ------------------------------------------------------------------------------- comparisons
def test_a_comparison_of_both(flags, both, monkeypatch, tmp_path, capsys):
    """It takes what a run on both left, runs what is missing, and shows one table."""
    ran = run_here(monkeypatch)
    saved = tmp_path / "saved"
    assert main([f"--model={MODELS}", *flags(seeds=1), "--session_subset=both"]) == 0
    capsys.readouterr()
    words = [f"--models={MODELS},Base[warm_epochs=2]", *flags(seeds=1), "--matched_row=False"]
    assert main(["compare", *words, "--session_subset=both"]) == 0
    out = capsys.readouterr().out
    added = [(spec.overrides["session_subset"], spec.model) for spec in ran]
    assert added == [(name, "Base[warm_epochs=2]") for name in SUBSETS]
    (folder,) = saved.glob("*-compare-*")
    cells = cells_of((folder / "comparison.md").read_text(), named=True)
    for number, name in enumerate(SUBSETS):
        document = report.load_comparison(folder / name)["documents"][0]
        first = {run["label"]: run["seeds"][0] for run in both[name].document["runs"]}
        for run in document["runs"]:
            if run["label"] in first:
                assert str(run["seeds"][0]["phases"]) == str(first[run["label"]]["phases"])
        means = [row.mean for row in report.summary(document, ["LogLoss"])]
        shown = [cells["LogLoss", run["label"]][4 * number :][:4] for run in document["runs"]]
        texts = [cell for own in shown for cell in own]
        assert all(f"{mean:.4f}" in text for mean, text in zip(means, texts, strict=True))
    assert "wc none" in out and "cw none" in out and (folder / "table.txt").exists()
    before = len(ran)
    assert main(["compare", f"--resume={folder}"]) == 0
    assert main(["compare", f"--resume={folder / 'cw'}"]) == 0
    assert len(ran) == before
    again = recbole_cold.load_results(folder)
    assert isinstance(again["cw"], recbole_cold.ComparisonResults)
    assert set(again.frame()["subset"]) == set(SUBSETS)


@pytest.mark.slow
def test_a_comparison_is_continued_in_the_second_subset(flags, monkeypatch, tmp_path, capsys):
    ran = run_here(monkeypatch)
    words = ["compare", "--models=Base,ItemBias", *flags(seeds=1), "--session_subset=both"]
    done = ray_pool.run_all

    def first_only(specs, *, stop, **options):
        second = specs[0].overrides["session_subset"] == "cw"
        done(specs, stop=lambda: second or stop(), **options)

    monkeypatch.setattr(ray_pool, "run_all", first_only)
    assert main(words) == 130
    out, err = capsys.readouterr()
    (folder,) = (tmp_path / "saved").iterdir()
    assert f"interrupted; to continue: recbole-cold compare --resume={folder}" in err
    assert "wc none" in out and "cw none" not in out and not (folder / "table.txt").exists()
    monkeypatch.setattr(ray_pool, "run_all", done)
    before = len(ran)
    assert main(["compare", "--resume", f"--saved_dir={tmp_path / 'saved'}"]) == 0
    assert {spec.overrides["session_subset"] for spec in ran[before:]} == {"cw"}
    assert (folder / "table.txt").exists()


def test_folders_of_both_are_no_one_table(both, alone, tmp_path, capsys):
    """Subsets are different data; the message says what to give."""
    words = [str(both.folder), str(alone["wc"].folder), f"--saved_dir={tmp_path}"]
    assert main(["compare", *words]) == 0
    told = capsys.readouterr().err
    assert f"'{both.folder}' is left out" in told and f"give '{both.folder / 'wc'}' or" in told
    pair = [str(both.folder / name) for name in SUBSETS]
    assert main(["compare", *pair, f"--saved_dir={tmp_path}"]) == 2
    assert "cannot stand in one table" in capsys.readouterr().err
