"""Raw files as atomic files: line by line, whole or not at all, faults in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "dataset_atomic"
SUFFIXES = ("inter", "user", "item")


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "ratings.dat").write_bytes(b"1::2::5::978300760\r\n2::1::3::978302109")
    (folder / "users.dat").write_bytes(b"1::F::1::10::48067\n2::M::56::16::70072-12\n")
    (folder / "movies.dat").write_bytes(
        b"1::Toy Story (1995)::Animation|Children's|Comedy\n"
        b"2::City of Lost Children, The (Cit\xe9 :: a) (1995)::Adventure\n"
    )
    return folder


def run(*arguments, script="ml_1m.py"):
    return subprocess.run(
        [sys.executable, FOLDER / script, *map(str, arguments)], capture_output=True, text=True
    )


@pytest.fixture
def dump(tmp_path):
    """A few lines as Book-Crossing's official dump has them, its oddities included."""
    folder = tmp_path / "dump"
    folder.mkdir()
    (folder / "BX-Book-Ratings.csv").write_bytes(
        b'"User-ID";"ISBN";"Book-Rating"\r\n"8";"000a1x";"0"\r\n"8";"000B2X";"7"\r\n'
        b'"9";"000A1X";"10"\r\n"9";"000a1x";"3"\r\n'
    )
    (folder / "BX-Users.csv").write_bytes(
        b'"User-ID";"Location";"Age"\n"8";"timmins, ontario, canada";NULL\n'
        b'"9";"n/a, n/a, n/a";"37"\n"10";"m\xfcnchen, bayern, germany";"244"\n'
    )
    columns = '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher"'
    images = ';"Image-URL-S";"Image-URL-M";"Image-URL-L"\n'
    (folder / "BX-Books.csv").write_bytes(
        (columns + images).encode()
        + b'"000A1X";"A \\"Title\\"; with\ttab &amp; more";"Mark P. O. Morford";"2002";"Oxford"'
        b';"";"";""\n'
        b'"000a1x";"Again";"Nobody";"1999";"None";"";"";""\n'
        b'"000B2X";"Zwei";"B\xf6ll";"0";NULL;"a";"b";"c"\n'
    )
    return folder


def test_lines(raw, tmp_path):
    done = run("--raw", raw, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "out" / f"ml-1m.{s}") for s in
                                   ("inter", "user", "item")]  # fmt: skip
    read = {s: (tmp_path / "out" / f"ml-1m.{s}").read_text(encoding="utf-8").splitlines()
            for s in ("inter", "user", "item")}  # fmt: skip
    assert read["inter"][1:] == ["1\t2\t5\t978300760", "2\t1\t3\t978302109"]
    assert read["user"][1:] == ["1\t1\tF\t10\t48067", "2\t56\tM\t16\t70072-12"]
    assert read["item"][1:] == [
        "1\tToy Story\t1995\tAnimation Children's Comedy",
        "2\tCity of Lost Children, The (Cité :: a)\t1995\tAdventure",
    ]
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("ratings.dat", b"1::2::5::9\n1::2::6::9\n", "line 2 of "),
        ("users.dat", b"1,F,1,10,48067\n", "line 1 of "),
        ("movies.dat", None, "cannot read "),
    ],
)
def test_faults_leave_nothing(file, content, sentence, raw, tmp_path):
    if content is None:
        (raw / file).unlink()
    else:
        (raw / file).write_bytes(content)
    done = run("--raw", raw, "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.startswith(f"error: {sentence}")
    assert file in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_written(raw, tmp_path):
    (tmp_path / "out").write_text("in the way")
    done = run("--raw", raw, "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.startswith("error: cannot write to ")


def test_book_crossing(dump, tmp_path):
    """Quotes, tabs, entities, two spellings of a book, mistakes in years and ages."""
    for flag, first in (((), []), (("--zeros",), ["8\t000A1X\t0"])):
        out = tmp_path / f"out{len(flag)}"
        done = run("--raw", dump, "--out", out, *flag, script="book_crossing.py")
        assert done.returncode == 0, done.stderr
        read = {s: (out / f"book-crossing.{s}").read_text(encoding="utf-8").splitlines()
                for s in SUFFIXES}  # fmt: skip
        assert read["inter"][1:] == [*first, "8\t000B2X\t7", "9\t000A1X\t10"]
        assert read["user"][1:] == [
            "8\tcanada\tontario\t", "9\t\t\t30", "10\tgermany\tbayern\t",
        ]  # fmt: skip
        assert read["item"][1:] == [
            '000A1X\tmark p. o. morford\t2002\tOxford\tA "Title"; with tab & more',
            "000B2X\tböll\t\t\tZwei",
        ]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("BX-Book-Ratings.csv", b'"User-ID";"ISBN"\n', "line 1 of "),
        ("BX-Book-Ratings.csv", b'"User-ID";"ISBN";"Book-Rating"\n"8";"a";"11"\n', "row 2 of "),
        ("BX-Users.csv", b'"User-ID";"Location";"Age"\n"8";"canada"\n', "line 2 of "),
        ("BX-Books.csv", None, "cannot read "),
    ],
)
def test_faults_of_book_crossing_leave_nothing(file, content, sentence, dump, tmp_path):
    if content is None:
        (dump / file).unlink()
    else:
        (dump / file).write_bytes(content)
    done = run("--raw", dump, "--out", tmp_path / "out", script="book_crossing.py")
    assert done.returncode == 2 and done.stderr.startswith(f"error: {sentence}")
    assert file in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.data
def test_book_crossing_counts(ml1m_path, tmp_path):
    """The part that is at hand: as many rows as its page says."""
    raw = ml1m_path.parent / "book-crossing"
    if not (raw / "BX-Books.csv").is_file():
        pytest.skip(f"no raw files of Book-Crossing in '{raw}'")
    assert run("--raw", raw, "--out", tmp_path, script="book_crossing.py").returncode == 0
    rows = (tmp_path / "book-crossing.inter").read_text(encoding="utf-8").splitlines()
    assert len(rows) - 1 == 230_936
    assert sum(int(row.rsplit("\t", 1)[1]) >= 8 for row in rows[1:]) == 139_358


@pytest.mark.data
def test_movielens_1m(ml1m_path, tmp_path):
    if not os.path.isfile(ml1m_path / "ratings.dat"):
        pytest.skip(f"no raw files of MovieLens-1M in '{ml1m_path}'")
    assert run("--raw", ml1m_path, "--out", tmp_path).returncode == 0
    for suffix in SUFFIXES:
        ours = (tmp_path / f"ml-1m.{suffix}").read_bytes()
        assert ours == (ml1m_path / f"ml-1m.{suffix}").read_bytes()
