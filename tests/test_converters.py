"""Raw files as atomic files: line by line, whole or not at all, faults in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "dataset_atomic" / "ml_1m.py"


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


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True
    )


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


@pytest.mark.data
def test_movielens_1m(ml1m_path, tmp_path):
    if not os.path.isfile(ml1m_path / "ratings.dat"):
        pytest.skip(f"no raw files of MovieLens-1M in '{ml1m_path}'")
    assert run("--raw", ml1m_path, "--out", tmp_path).returncode == 0
    for suffix in ("inter", "user", "item"):
        ours = (tmp_path / f"ml-1m.{suffix}").read_bytes()
        assert ours == (ml1m_path / f"ml-1m.{suffix}").read_bytes()
