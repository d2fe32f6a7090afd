"""All converters: line by line, whole or not at all, faults in one sentence; doors and command."""

import gzip
import json
import os
import re
import resource
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from avazu_lines import AVAZU

from recbole_cold import converters
from recbole_cold.cli.main import main
from recbole_cold.converters import _converting, _counting, _source, _writing

ROOT = Path(__file__).resolve().parents[2]
DOORS = ROOT / "dataset_atomic"
SUFFIXES = ("inter", "user", "item")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def door(script, *words):
    """A script of ``dataset_atomic`` on a bare Python: without packages, ours among them."""
    words = [sys.executable, "-S", str(DOORS / script), *map(str, words)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(words, capture_output=True, text=True, env=kept, cwd="/")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ------------------------------------------------------------------------- MovieLens-1M
def test_lines(raw, converted, tmp_path):
    code, _, _, read = converted("ml-1m", raw)
    assert code == 0
    assert read["inter"] == ["1\t2\t5\t978300760", "2\t1\t3\t978302109"]
    assert read["user"] == ["1\t1\tF\t10\t48067", "2\t56\tM\t16\t70072-12"]
    assert read["item"] == [
        "1\tToy Story\t1995\tAnimation Children's Comedy",
        "2\tCity of Lost Children, The (Cité :: a)\t1995\tAdventure",
    ]
    names = {*(f"ml-1m.{suffix}" for suffix in SUFFIXES), "manifest.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


@pytest.mark.data
def test_movielens_1m(ml1m_path, converted, tmp_path):
    if not os.path.isfile(ml1m_path / "ratings.dat"):
        pytest.skip(f"no raw files of MovieLens-1M in '{ml1m_path}'")
    assert converted("ml-1m", ml1m_path)[0] == 0
    for suffix in SUFFIXES:
        ours = (tmp_path / "out" / f"ml-1m.{suffix}").read_bytes()
        assert ours == (ml1m_path / f"ml-1m.{suffix}").read_bytes()


# ------------------------------------------------------------------------- sources
def test_an_archive_is_read_as_its_folder(raw, zipped, converted, tmp_path):
    *_, plain = converted("ml-1m", raw)
    *_, packed = converted("ml-1m", zipped(raw, "ml-1m/"), out="packed")
    assert plain == packed and plain["inter"]
    found = json.loads((tmp_path / "packed" / "manifest.json").read_text())
    archive = tmp_path / "raw.zip"
    assert found["sources"] == [
        {
            "file": "raw.zip",
            "bytes": archive.stat().st_size,
            "sha256": sha256(archive.read_bytes()).hexdigest(),
        }
    ]


def test_a_packed_file_in_an_archive(clicks, zipped, converted):
    """As Kaggle hands it out: a .gz in a .zip."""
    path = clicks()
    *_, plain = converted("avazu", path)
    folder = path.parent / "kaggle"
    folder.mkdir()
    path.rename(folder / "train.gz")
    *_, packed = converted("avazu", zipped(folder), out="packed")
    assert plain == packed and len(plain["inter"]) == 4


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        (
            "ratings.dat",
            b"1::2::5::9\n1::2::6::9\n",
            "line 2 of '.*ratings.dat' is not as MovieLens",
        ),
        ("ratings.dat", b"1::2::5::9\n\n", "line 2 of "),
        ("ratings.dat", b"", "has no interactions that could be kept"),
        ("users.dat", b"1,F,1,10,48067\n", "line 1 of '.*users.dat' is not as"),
        ("movies.dat", None, r"cannot read '.*movies.dat' \(No such file"),
    ],
)
def test_faults_leave_nothing(file, content, sentence, raw, converted, tmp_path):
    if content is None:
        (raw / file).unlink()
    else:
        (raw / file).write_bytes(content)
    code, _, complaint, _ = converted("ml-1m", raw, out="new/out")
    assert code == 2 and re.search(f"^error: .*{sentence}", complaint)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (
            None,
            r"\(it does not exist\); give the unpacked folder of ml-1m.zip, or ml-1m.zip itself",
        ),
        (b"1::2::5::9\n", r"\(it is no folder and no .zip\); give the unpacked folder"),
        (b"PK\x05\x06" + bytes(18), r"\(the archive has no such file\)"),
    ],
)
def test_another_source_is_one_sentence(made, sentence, converted, tmp_path):
    source = tmp_path / "source"
    if made is not None:
        source.write_bytes(made)
    code, _, complaint, _ = converted("ml-1m", source)
    assert code == 2 and re.search(sentence, complaint)


def test_damaged_archives_are_one_sentence(raw, zipped, clicks, converted, tmp_path):
    for name, whole in (("ml-1m", zipped(raw)), ("avazu", clicks())):
        cut = bytearray(whole.read_bytes())
        if name == "ml-1m":  # a byte of a file's packed text
            cut[cut.index(b"movies.dat") + len("movies.dat") + 3] ^= 255
        damaged = tmp_path / f"damaged-{whole.name}"
        damaged.write_bytes(cut if name == "ml-1m" else cut[:-12])
        code, _, complaint, _ = converted(name, damaged)
        assert code == 2 and f"cannot read '{damaged}" in complaint, complaint
        assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------- all or none
def test_folder_that_cannot_be_written(raw, converted, tmp_path):
    (tmp_path / "out").write_text("in the way")
    code, _, complaint, _ = converted("ml-1m", raw)
    assert code == 2 and complaint.startswith("error: cannot write to ")
    assert (tmp_path / "out").read_text() == "in the way"


def test_what_was_there_stays_when_a_file_cannot_be_moved(raw, converted, tmp_path, monkeypatch):
    """The second of four: the first is put back."""
    assert converted("ml-1m", raw)[0] == 0
    before = contents(tmp_path / "out")
    (raw / "ratings.dat").write_bytes(b"1::2::1::978300760\n")
    replace = os.replace

    def full(source, target):
        if Path(target) == tmp_path / "out" / "ml-1m.item" and Path(source).parent.name != "before":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(_writing.os, "replace", full)
    code, _, complaint, _ = converted("ml-1m", raw)
    assert code == 2 and "(No space left on device); choose another --out" in complaint
    assert contents(tmp_path / "out") == before
    (tmp_path / "out" / "ml-1m.item").unlink()  # and of those that were not there nothing stays
    (tmp_path / "out" / "ml-1m.inter").unlink()
    left = contents(tmp_path / "out")
    assert converted("ml-1m", raw)[0] == 2
    assert contents(tmp_path / "out") == left


def test_an_interruption_leaves_nothing(raw, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_converting, "_described", interrupted)
    assert main(["convert", "ml-1m", str(raw), f"--out={tmp_path / 'a' / 'out'}"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not (tmp_path / "a").exists()


def test_sigterm_is_an_interruption(raw, tmp_path, monkeypatch):
    """Sent while files are written; the handler of before returns."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(_converting, "_described", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["convert", "ml-1m", str(raw), f"--out={tmp_path / 'out'}"]) == 130
    assert not (tmp_path / "out").exists() and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["ml-1m", "taobao-ad", "cikm2019"])
def test_a_kill_leaves_nothing_half_written(name, raw, taobao, cikm, converted, tmp_path):
    """kill -9 while files are written: what was there is untouched, and the next run clears up."""
    source = {"ml-1m": raw, "taobao-ad": taobao(), "cikm2019": cikm()}[name]
    assert converted(name, source)[0] == 0
    out = tmp_path / "out"
    before = contents(out)
    (out / f"{name}.user").unlink()  # a part that somebody lost
    del before[f"{name}.user"]
    child = os.fork()
    if child == 0:
        _converting._described = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        converters.convert(converters.find_converter(name), source, out, {})
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    (left,) = out.glob(".*")
    assert {path.name: path.read_bytes() for path in out.iterdir() if path != left} == before
    assert converted(name, source)[0] == 0
    assert not left.exists() and (out / f"{name}.user").is_file()


def test_a_folder_that_another_conversion_is_writing_stays(tmp_path):
    """What it has begun is no left-over of a killed one."""
    with _writing.all_or_none(tmp_path, "a") as ours:
        (ours / "a").write_text("ours")
        child = os.fork()
        if child == 0:
            with _writing.all_or_none(tmp_path, "b") as theirs:
                (theirs / "b").write_text("theirs")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0 and (tmp_path / "b").read_text() == "theirs" and (ours / "a").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_other_files_stay_and_those_of_another_conversion_go(clicks, converted, tmp_path):
    out = tmp_path / "out"
    assert converted("avazu", clicks(), "--item_columns=C17")[0] == 0
    assert (out / "avazu.item").is_file()
    (out / "mine.npy").write_text("mine")
    assert converted("avazu", clicks())[0] == 0
    assert {path.name for path in out.iterdir()} == {"avazu.inter", "manifest.json", "mine.npy"}


# ------------------------------------------------------------------------- what is told
def test_the_manifest_has_what_the_report_says(raw, converted, tmp_path):
    code, told, _, _ = converted("ml-1m", raw)
    assert code == 0
    out = tmp_path / "out"
    found = json.loads((out / "manifest.json").read_text())
    assert found["rows"]["inter"] == {"read": 2, "kept": 2, "left_out": {}, "missing": {}}
    assert (found["users"], found["items"], found["positive_share"]) == (2, 2, 0.5)
    assert found["time"] | {"unit": ""} == {
        "field": "timestamp", "unit": "", "first": "978300760", "last": "978302109"
    }  # fmt: skip
    for name, each in found["files"].items():
        raw_bytes = (out / name).read_bytes()
        assert each == {"bytes": len(raw_bytes), "sha256": sha256(raw_bytes).hexdigest()}
    assert set(found["files"]) == {f"ml-1m.{suffix}" for suffix in SUFFIXES}
    assert [each["file"] for each in found["sources"]] == ["ratings.dat", "users.dat", "movies.dat"]
    assert str(tmp_path) not in json.dumps(found)
    assert "2 users, 2 items, 50.00% clicks: a rating of 4 or 5" in told
    assert "times: 2000-12-31 22:12:40 to 2000-12-31 22:35:09 (UTC)" in told


def test_the_default_folder_and_what_to_run_next(raw, here, capsys):
    """dataset_atomic/NAME where that folder is here; DATA_PATH/NAME with a path."""
    (here / "dataset_atomic").mkdir()
    assert main(["convert", "ml-1m", str(raw)]) == 0
    told = capsys.readouterr().out
    assert (here / "dataset_atomic" / "ml-1m" / "ml-1m.inter").is_file()
    assert told.endswith("next:\n  recbole-cold check --dataset=ml-1m\n")
    assert main(["convert", "ml-1m", str(raw), "--data_path=my data"]) == 0
    told = capsys.readouterr().out
    assert (here / "my data" / "ml-1m" / "ml-1m.inter").is_file()
    following = told.rpartition("next:\n  ")[2].strip()
    assert following == f"recbole-cold check --dataset=ml-1m '--data_path={here / 'my data'}'"
    assert main(["convert", "ml-1m", str(raw), "--out=other"]) == 0
    told = capsys.readouterr().out
    assert f"mv {here / 'other'} {here / 'ml-1m'}" in told


def test_ids_are_counted_alike_however_many_there_are(monkeypatch):
    """Above a number of ids they are hashes in a sorted array, and rows per id are given up."""
    texts = [f"u{n % 37}" for n in range(500)]
    few, many = _counting.Ids(), _counting.Ids()
    for text in texts:
        few.add(text)
    monkeypatch.setattr(_counting, "MOST", 7)
    for text in texts:
        many.add(text)
    assert len(few) == len(many) == 37
    assert many.rows is None and many.shares() is None
    counts = sorted(few.rows.values())
    assert few.shares()["80"] == counts[29] and few.shares()["10"] == counts[3]


def test_a_bar_for_long_files_on_a_terminal(raw, converted, monkeypatch, capsys):
    shown = []

    class Bar:
        def __init__(self, total, desc, **_):
            self.n, self.told = 0, shown.append((desc, total))

        __enter__, __exit__ = lambda self: self, lambda *_: None

        def update(self, more):
            self.n += more
            shown.append(self.n)

    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setattr(_source, "_EVERY", 1)
    assert converted("ml-1m", raw)[0] == 0 and not shown  # short, and no terminal
    monkeypatch.setattr(_source, "LONG", 1)
    assert converted("ml-1m", raw)[0] == 0 and not shown
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert converted("ml-1m", raw)[0] == 0
    size = (raw / "ratings.dat").stat().st_size
    assert shown[0] == ("ratings.dat", size) and size in shown


def test_cells_are_read_as_they_were_written(dump, converted, tmp_path):
    """A cell that begins with a quotation mark would swallow what follows it."""
    from recbole_cold.data._atomic import Format, read_atomic

    assert converted("book-crossing", dump)[0] == 0
    path = tmp_path / "out" / "book-crossing.item"
    found = read_atomic(path, Format(), lambda field: True, {})
    title = found["book_title"]
    words = [title.vocab[int(code)].as_py() for code in title.values[title.offsets[1] :]]
    assert words == ['"Zwei"', "und", "eins"]


# ------------------------------------------------------------------------- the command
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "convert takes the name of a data set and its download"),
        (["ml-1m"], "convert takes the name of a data set and its download"),
        (["ml-1m", "a", "b"], "convert takes the name of a data set and its download"),
        (["ml-1n", "a"], "there is no converter of 'ml-1n'; did you mean 'ml-1m'?"),
        (["criteo", "a"], "`recbole-cold convert --list` shows all"),
        (["ml-1m", "no/such"], "cannot read 'no/such' (it does not exist)"),
        (["ml-1m", "~nosuchuser/x"], "home folder in the path"),
        (["ml-1m", "a\0b"], "null byte"),
        (["ml-1m", "a", "--out="], "--out= names no folder"),
        (["ml-1m", "a", "--data_path="], "--data_path= names no folder"),
        (
            ["ml-1m", "a", "--rows=all"],
            "the converter of ml-1m takes no --rows; it takes no options",
        ),
        (["book-crossing", "a", "--row=all"], "takes no --row; did you mean --rows?"),
        (["book-crossing", "a", "--rows=some"], "--rows 'some' is none of rated, all"),
        (["book-crossing", "a", "--positive=11"], "'11' is no whole number from 1 to 10"),
        (["book-crossing", "a", "--positive=x"], "'x' is no whole number from 1 to 10"),
        (["taobao-ad", "a", "--no_profile=maybe"], "'maybe' is none of keep, drop"),
        (["cikm2019", "a", "--positive=cart"], "takes no --positive; it takes --sample_users, --s"),
        (["avazu", "a", "--sample_users=nan"], "'nan' is no number from 1e-06 to 1"),
        (["avazu", "a", "--item_field=click"], "'click' is none of id, C1, "),
        (["avazu", "a", "--item_columns=C17,hour"], "'C17,hour' is no list of columns out of C1,"),
        (["--list", "ml-1m"], "convert --list takes nothing else; leave out 'ml-1m'"),
        (["--list", "--out=x"], "convert --list takes nothing else; leave out --out"),
        (["ml-1m", "a", "--resume"], "convert takes no --resume"),
        (["none.py", "a"], "none.py does not exist"),
    ],
)
def test_refused(words, sentence, here, capsys):
    assert main(["convert", *words]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and err.count("\n") == 1 and sentence in err
    assert not list(here.iterdir())


def test_the_list_has_what_one_must_know(capsys):
    assert main(["convert", "--list"]) == 0
    told = capsys.readouterr().out
    for name, each in converters.known_converters().items():
        assert f"\n{name}: {each.title}, {each.size}\n" in f"\n{told}"
        for text in (each.source, each.origin, each.terms, *(o.meaning for o in each.options)):
            assert " ".join(text.split()) in " ".join(told.split())
        for option in each.options:
            assert f"  --{option.name}={option.default}" in told


def test_a_converter_is_found_by_its_file():
    folder = Path(converters.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if path.name[0] != "_"}
    assert {"ml_1m", "book_crossing", "avazu", "taobao_ad", "cikm2019"} <= files
    assert {re.sub(r"\W", "_", name) for name in converters.known_converters()} == files
    assert {path.stem for path in DOORS.glob("*.py")} == {*files, "converting"}


OWN = """
from collections import Counter
from recbole_cold.converters import Converter, Label, Table, choice

def tables(source, options):
    left_out = Counter()
    def rows():
        for line in source.file("log.txt", alone=True).lines():
            user, item, stars = line.split("|")
            if stars == "?":
                left_out["without stars"] += 1
            else:
                yield user, item, stars
    yield Table("inter", "user_id:token item_id:token stars:float", rows(), left_out)

CONVERTER = Converter("mine", "My log", "log.txt", "me", "mine", "3 rows", tables,
                      lambda options: Label("stars", 3, "3 stars"))
"""


def test_a_converter_of_the_user(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "log.txt").write_text("a|x|1\nb|x|3\nb|y|?\n|y|4\n")
    words = ["convert", str(tmp_path / "mine.py"), str(tmp_path / "log.txt")]
    assert main([*words, f"--data_path={tmp_path}"]) == 0
    told = capsys.readouterr().out
    text = (tmp_path / "mine" / "mine.inter").read_text()
    assert text == "user_id:token\titem_id:token\tstars:float\na\tx\t1\nb\tx\t3\n"
    assert "4 read, 2 kept" in told and "left out: 1 without stars" in told
    assert "left out: 1 without a user or an item" in told
    assert "'--threshold={stars: 3}'" in told


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("CONVERTER = ", "OTHER = "), "has no CONVERTER, a value of"),
        (("import Counter", "import Countre"), "cannot be imported (ImportError: "),
        (('"inter", ', '"log", '), "the table 'log' is none of inter, user, item"),
        (('("mine", ', '("../mine", '), "converts to '../mine'; a name has letters"),
        (("yield user, item, stars", "yield user, item"), "is ['a', 'x'], not 3 cells"),
        (
            ('split("|")', 'split("|") + [1/0]'),
            "mine.py: ZeroDivisionError: division by zero; mend it",
        ),
    ],
)
def test_mistakes_in_a_converter_of_the_user(change, sentence, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(OWN.replace(*change))
    (tmp_path / "log.txt").write_text("a|x|1\n")
    words = ["convert", str(tmp_path / "mine.py"), str(tmp_path / "log.txt")]
    assert main([*words, f"--out={tmp_path / 'out'}"]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1 and not (tmp_path / "out").exists()


def ran_own(code, log, tmp_path, capsys, *words):
    """Exit code, what was told, what was complained of, and the manifest, of a user's converter."""
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "log.txt").write_text(log)
    paths = [str(tmp_path / "mine.py"), str(tmp_path / "log.txt"), f"--out={tmp_path / 'out'}"]
    code = main(["convert", *paths, *words])
    manifest = tmp_path / "out" / "manifest.json"
    found = json.loads(manifest.read_text()) if code == 0 else None
    return code, *capsys.readouterr(), found


def test_columns_that_tell_the_outcome_are_said_and_never_written(tmp_path, capsys):
    refusing = OWN.replace('"3 stars"))', '"3 stars"), refused=("liked", "bought"))')
    code, told, _, found = ran_own(refusing, "a|x|3\n", tmp_path, capsys)
    assert code == 0 and "  refused, for they tell a row's outcome: liked, bought\n" in told
    assert found["refused"] == ["liked", "bought"]
    code, told, _, found = ran_own(OWN, "a|x|3\n", tmp_path, capsys)
    assert code == 0 and "refused" not in told and found["refused"] == []
    before = contents(tmp_path / "out")
    writing = refusing.replace("stars:float", "liked:float").replace('("stars"', '("liked"')
    code, _, complaint, _ = ran_own(writing, "a|x|3\n", tmp_path, capsys)
    assert code == 2 and "has the column 'liked', which tells a row's outcome; mend" in complaint
    assert contents(tmp_path / "out") == before


OFFICIAL = """, official=(
    Official("round 1", {"rows": 3, "users": 2, "items": 9, "clicks": 1, "rows of users": 4}),
    Official("round 2", {"rows": 5, "users": 3}),
))
"""


def test_counts_are_compared_with_those_of_the_complete_data(tmp_path, capsys):
    """Rows of any choice; what is kept, only where nothing was left out."""
    comparing = OWN.replace("choice", "Official, choice").rstrip()[:-1] + OFFICIAL
    code, told, _, found = ran_own(comparing, "a|x|3\nb|x|1\nb|y|2\n", tmp_path, capsys)
    lines = [line.strip() for line in told.splitlines()]
    assert code == 0 and "3 rows, as in round 1" in lines and "2 users, as in round 1" in lines
    assert "2 items; 9 in round 1" in lines and "1 clicks, as in round 1" in lines
    assert not any("rows of users;" in line for line in lines)  # there is no such file
    assert found["official"] == [
        {"what": "rows", "here": 3, "official": {"round 1": 3, "round 2": 5}},
        {"what": "users", "here": 2, "official": {"round 1": 2, "round 2": 3}},
        {"what": "items", "here": 2, "official": {"round 1": 9}},
        {"what": "clicks", "here": 1, "official": {"round 1": 1}},
        {"what": "rows of users", "here": None, "official": {"round 1": 4}},
    ]
    code, told, _, found = ran_own(comparing, "a|x|3\nb|x|?\n|y|2\na|y|1\n", tmp_path, capsys)
    assert code == 0 and "  4 rows; 3 in round 1, 5 in round 2\n" in told
    assert "users; " not in told and "users, as in" not in told and "clicks, as in" not in told
    assert [each["here"] for each in found["official"]] == [4, None, None, None, None]
    wrong = comparing.replace('"clicks"', '"taps"')  # byte code is known by a file's length, too
    code, _, complaint, _ = ran_own(wrong, "a|x|3\n", tmp_path, capsys)
    assert code == 2 and "'taps' is none of rows, rows of users, rows of items, us" in complaint


HEADED = """
from collections import Counter
from recbole_cold.converters import SAMPLE, Converter, Label, Table, draw

def tables(source, options):
    log, drawn = source.file("log.txt", alone=True), draw(options)
    rows = (row for row in log.rows(("user", "item", "click"), "export", {"klick": "click"})
            if drawn(row[0]))
    yield Table("inter", "user_id:token item_id:token label:float", rows, Counter())

CONVERTER = Converter("mine", "My log", "log.txt", "me", "mine", "3 rows", tables,
                      lambda options: Label("label", 1, "clicked"), options=SAMPLE)
"""


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("user,item,click", ""),
        ("\ufeffuser, item ,click \r", ""),
        ("user,item,klick", ""),
        ("user,click", r"line 1 of .* \(its header has no item\); export"),
        ("user,item,click,count", r"\(its header has count, which the official file has not\)"),
        ("item,user,click", r"\(its header differs\); export"),
    ],
)
def test_headers(head, sentence, tmp_path, capsys):
    """Marks of an encoding, blanks and other names that are known are none of the data."""
    code, _, complaint, _ = ran_own(HEADED, f"{head}\na,x,1\n", tmp_path, capsys)
    if sentence:
        assert code == 2 and re.search(sentence, complaint), complaint
    else:
        assert code == 0, complaint
        text = (tmp_path / "out" / "mine.inter").read_text().splitlines()
        assert text[1:] == ["a\tx\t1"]


def test_a_share_of_the_users_is_an_option_for_every_converter(tmp_path, capsys):
    log = "user,item,click\n" + "".join(f"u{n % 300},x,1\n" for n in range(900))
    code, _, _, found = ran_own(HEADED, log, tmp_path, capsys, "--sample_users=0.3")
    assert code == 0 and 60 < found["users"] < 120
    assert found["rows"]["inter"]["kept"] == 3 * found["users"]
    assert found["options"] == {"sample_users": 0.3, "seed": 2020}


def block_of_the_page(word):
    """The Python in docs/your-own-data.md that has this word."""
    page = (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.S) if word in block]
    return code


def test_frames_as_the_page_writes_them(here, capsys):
    rows = [(user, item, 1 + (user * item) % 5, 9.5e8 + user) for user in range(40)
            for item in range(1, 9) if item % 2 or user < 14]  # fmt: skip
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "stars", "when"])
    titles = ['"Big" one', "two", "", "NA", "Ü", "a b", "x", "y"]
    items = pd.DataFrame({"item_id": range(1, 9), "title": titles, "year": 1999})
    exec(block_of_the_page("to_csv"), {"interactions": interactions, "items": items})
    words = ["--TIME_FIELD=when", "--threshold={stars: 4}", "--cold_threshold=20", "--warm_size=4"]
    assert main(["check", "--dataset=mine", *words]) == 0
    told = capsys.readouterr().out
    assert "4 old and 4 new items" in told and "order: time" in told


def test_the_converter_of_the_page(tmp_path, capsys):
    code = block_of_the_page("Table(")
    (tmp_path / "shop.py").write_text(code)
    log = tmp_path / "log.csv.gz"
    log.write_bytes(
        gzip.compress(b"customer,article,shown_at,bought\r\na,x,5,1\nb,x,4,0\nb,y,9,0\n")
    )
    words = ["convert", str(tmp_path / "shop.py"), str(log), f"--data_path={tmp_path}", "--since=5"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "3 read, 2 kept" in told and "left out: 1 before --since" in told
    assert told.endswith(f"recbole-cold check --dataset=shop --data_path={tmp_path}\n")
    rows = (tmp_path / "shop" / "shop.inter").read_text().splitlines()[1:]
    assert rows == ["a\tx\t5\t1", "b\ty\t9\t0"]


# ------------------------------------------------------------------------- the scripts
@pytest.mark.parametrize(
    ("script", "name", "words", "as_command"),
    [
        ("ml_1m.py", "ml-1m", [], []),
        ("book_crossing.py", "book-crossing", ["--zeros"], ["--rows=all"]),
        ("avazu.py", "avazu", ["--sample_users", "0.9"], ["--sample_users=0.9"]),
        ("taobao_ad.py", "taobao-ad", ["--no_profile", "drop"], ["--no_profile=drop"]),
        ("cikm2019.py", "cikm2019", [], []),
    ],
)
def test_a_script_writes_what_the_command_writes(
    script, name, words, as_command, raw, dump, clicks, taobao, cikm, tmp_path, converted
):
    source = {
        "ml-1m": raw, "book-crossing": dump, "avazu": clicks(), "taobao-ad": taobao(),
        "cikm2019": cikm(),
    }[name]  # fmt: skip
    code, told, _, read = converted(name, source, *as_command, out="command")
    assert code == 0 and read["inter"]
    done = door(script, "--raw", source, "--out", tmp_path / "script", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "script") == contents(tmp_path / "command")
    assert (
        done.stdout.strip()
        == told.partition("next:")[0]
        .replace(f"{tmp_path / 'command'}/", f"{tmp_path / 'script'}/")
        .strip()
    )


def test_faults_of_a_script_are_one_sentence(clicks, tmp_path):
    path = clicks(header=AVAZU.replace("click,", ""))
    done = door("avazu.py", "--raw", path, "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: line 1 of '{path}' is not as it must be (its header has")
    assert not (tmp_path / "out").exists()


def test_help_of_a_script():
    done = door("book_crossing.py", "--help")
    assert done.returncode == 0
    assert all(
        word in done.stdout for word in ("--raw", "--zeros", "--rows", "--positive", "--out")
    )


# ------------------------------------------------------------------------- while it is read
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("more", [b"\n1::1::4::978300999\n", b"\n1::1"])
def test_a_file_that_grows_is_refused(more, again, raw, converted, tmp_path, monkeypatch):
    """By a whole line or by a part of one, which alone would be called a fault of the line."""
    if again:
        assert converted("ml-1m", raw)[0] == 0
    before = contents(tmp_path / "out") if again else None
    size = (raw / "ratings.dat").stat().st_size
    write = _converting._write

    def meanwhile(path, *others):
        with (raw / "ratings.dat").open("ab") as file:
            file.write(more)
        return write(path, *others)

    monkeypatch.setattr(_converting, "_write", meanwhile)
    code, _, complaint, _ = converted("ml-1m", raw)
    assert code == 2
    told = f"ratings.dat' changed while it was read (from {size:,} to "
    assert told in complaint and "wait until it is whole, and start again" in complaint
    if again:
        assert contents(tmp_path / "out") == before
    else:
        assert not (tmp_path / "out").exists()


def test_a_file_that_is_removed_is_refused(raw, converted, tmp_path, monkeypatch):
    described = _converting._described

    def meanwhile(path):
        (raw / "movies.dat").unlink(missing_ok=True)
        return described(path)

    monkeypatch.setattr(_converting, "_described", meanwhile)
    code, _, complaint, _ = converted("ml-1m", raw)
    assert code == 2 and "movies.dat' was removed while it was read; put it back" in complaint
    assert not (tmp_path / "out").exists()


def test_an_archive_that_grows_is_refused(raw, zipped, converted, tmp_path, monkeypatch):
    archive = zipped(raw, "ml-1m/")
    write = _converting._write

    def meanwhile(path, *others):
        found = write(path, *others)
        with archive.open("ab") as file:
            file.write(b" ")
        return found

    monkeypatch.setattr(_converting, "_write", meanwhile)
    code, _, complaint, _ = converted("ml-1m", archive)
    assert code == 2 and "raw.zip' changed while it was read (from " in complaint


def test_a_disk_that_fills_in_the_midst_leaves_nothing(raw, converted, tmp_path):
    """The system refuses a write of the second file; a limit of file sizes stands for a full disk,
    for both are errors of a write."""
    films = b"".join(b"%d::A long title (1995)::Drama\n" % n for n in range(1, 4000))
    (raw / "movies.dat").write_bytes(films)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        code, _, complaint, _ = converted("ml-1m", raw)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (
        code == 2 and "error: cannot write to " in complaint and "choose another --out" in complaint
    )
    assert not (tmp_path / "out").exists()
