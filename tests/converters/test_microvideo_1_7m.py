"""MicroVideo-1.7M: parts of a split that comes with the data, K rows per set, no second look."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

HEAD = "user_id,item_id,cate_id,is_click,timestamp,clicked_items,clicked_categories"
TRAIN = ["1,10,7,1,5,,", "1,11,8,0,6,10,7", "2,10,7,0,3,,"]
# Item 20 has five rows (two of one time), 21 four, 22 three, 23 one.
TEST = [
    "1,20,7,1,50,10^10,7^7", "2,20,7,0,40,,", "1,21,8,0,41,10^20,7^7", "3,20,7,1,50,,",
    "1,22,8,1,10,10,7", "2,20,7,0,60,,", "2,21,8,1,39,,", "3,20,7,0,30,,", "1,23,9,1,1,10,7",
    "3,22,8,0,12,20,7", "3,21,8,0,43,20,7", "2,22,8,0,11,,", "2,21,8,1,42,,",
]  # fmt: skip


@pytest.fixture
def videos(tmp_path):
    """A folder as ``MicroVideo1.7M_x1.zip`` unpacks to; ``videos(train, test)`` writes it."""

    def write(train=TRAIN, test=TEST, head=HEAD):
        folder = tmp_path / "MicroVideo1.7M_x1"
        folder.mkdir(exist_ok=True)
        (folder / "train.csv").write_text("\n".join([head, *train, ""]))
        (folder / "test.csv").write_text("\n".join([head, *test, ""]))
        return folder

    return write


def parts_in(folder):
    """The lines of each part without their header, which all parts have alike."""
    heads, found = set(), {}
    for path in folder.glob("*.inter"):
        head, *lines = path.read_text().splitlines()
        heads.add(head)
        found[path.name.removeprefix("microvideo-1.7m.").removesuffix(".inter")] = lines
    assert heads == {"user_id:token\titem_id:token\ttimestamp:float\tlabel:float"}
    return found


def test_the_oldest_rows_of_new_items_are_their_warm_up_sets(videos, converted, tmp_path):
    code, told, _, read = converted("microvideo-1.7m", videos(), "--warm_size=1")
    assert code == 0
    assert parts_in(tmp_path / "out") == {
        "train": ["1\t10\t5\t1", "1\t11\t6\t0", "2\t10\t3\t0"],
        "warm_a": ["3\t20\t30\t0", "2\t21\t39\t1", "1\t22\t10\t1"],
        "warm_b": ["2\t20\t40\t0", "1\t21\t41\t0", "2\t22\t11\t0"],
        # Of two rows of one time the first in the file is the older one.
        "warm_c": ["1\t20\t50\t1", "2\t21\t42\t1", "3\t22\t12\t0"],
        "test": ["3\t20\t50\t1", "2\t20\t60\t0", "3\t21\t43\t0"],
    }
    assert read["item"] == ["10\t7", "11\t8", "20\t7", "21\t8", "22\t8"]
    assert "interactions: 16 read, 15 kept" in told
    assert "times: 3 to 60 seconds since a moment that is not told" in told
    rare = "left out: 1 of new items with fewer rows than the warm-up sets take"
    assert told.count(rare) == 2  # a row, and an item
    assert "in parts, for benchmark_filename: train 3, warm_a 3, warm_b 3, warm_c 3, test 3" in told
    assert "3 users, 5 items, 40.00% clicks" in told
    assert "16 rows; 12,737,617 in MicroVideo1.7M_x1" in told
    found = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert found["parts"]["test"]["left_out"] and found["parts"]["train"]["kept"] == 3
    assert found["rows"]["inter"]["read"] == 16


def test_the_split_of_the_data(videos, converted, tmp_path):
    """All rows of all new items are scored, and every item has its features."""
    code, told, _, read = converted("microvideo-1.7m", videos())
    assert code == 0
    lines = [line.split(",") for line in TEST]
    assert parts_in(tmp_path / "out") == {
        "train": ["1\t10\t5\t1", "1\t11\t6\t0", "2\t10\t3\t0"],
        "test": ["\t".join((user, item, time, click)) for user, item, _, click, time, *_ in lines],
    }
    assert read["item"] == ["10\t7", "11\t8", "20\t7", "21\t8", "22\t8", "23\t9"]
    assert "in parts, for benchmark_filename: train 3, test 13" in told
    assert "interactions: 16 read, 16 kept" in told


def test_columns_in_another_order_and_without_histories(videos, converted, tmp_path):
    assert converted("microvideo-1.7m", videos(), "--warm_size=1")[0] == 0

    def moved(lines):
        cells = [line.split(",") for line in lines]
        return [",".join((time, user, item, click, kind))
                for user, item, kind, click, time, *_ in cells]  # fmt: skip

    head = "timestamp,user_id,item_id,is_click,cate_id"
    other = videos(moved(TRAIN), moved(TEST), head)
    assert converted("microvideo-1.7m", other, "--warm_size=1", out="other")[0] == 0
    assert parts_in(tmp_path / "out") == parts_in(tmp_path / "other")


def test_histories_of_any_length(videos, converted):
    """Longer than what ``csv`` takes for a cell."""
    clicks = "^".join(["10"] * 70_000)
    assert len(clicks) > 131_072
    train = [*TRAIN, f"1,11,8,1,9,{clicks},7"]
    assert converted("microvideo-1.7m", videos(train), "--warm_size=1")[0] == 0


def test_an_item_with_as_many_rows_as_the_sets_take_has_no_test_row(videos, converted, tmp_path):
    test = [line for line in TEST if line.split(",")[1] in ("20", "22")]
    assert converted("microvideo-1.7m", videos(test=test), "--warm_size=1")[0] == 0
    parts = parts_in(tmp_path / "out")
    assert len(parts["warm_a"]) == 2 and {row.split("\t")[1] for row in parts["test"]} == {"20"}


def test_no_row_left_for_the_test(videos, converted, tmp_path):
    code, _, complaint, _ = converted("microvideo-1.7m", videos(), "--warm_size=2")
    assert code == 2 and "has more than 6 rows, so none is left for the test; give" in complaint
    assert not (tmp_path / "out").exists()


def test_a_sample_has_whole_users(videos, converted, tmp_path):
    """What is oldest, and which items have enough rows, follows from the drawn rows."""
    train = [f"{n % 200},{n % 5},7,{n % 2},{n},," for n in range(800)]
    test = [f"{n % 200},{100 + n % 3},8,{n % 2},{1200 - n},," for n in range(1200)]
    words = ("--warm_size=2", "--sample_users=0.25")
    assert converted("microvideo-1.7m", videos(train, test), *words)[0] == 0
    parts = parts_in(tmp_path / "out")
    of_train = [row.split("\t")[0] for row in parts.pop("train")]
    rest = [row.split("\t") for rows in parts.values() for row in rows]
    drawn = set(of_train)
    assert 25 < len(drawn) < 75 and len(of_train) == 4 * len(drawn)
    assert len(rest) == 6 * len(drawn) and {user for user, *_ in rest} == drawn
    oldest = sorted((float(time), item) for _, item, time, _ in rest if item == "100")[:6]
    warm = [row.split("\t") for name in ("warm_a", "warm_b", "warm_c") for row in parts[name]]
    assert [(float(time), item) for _, item, time, _ in warm if item == "100"] == oldest


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        ("train", ("is_click", "click"), r"train.csv' is not .* \(its header has no is_click\)"),
        ("train", ("clicked_items", "is_like"), r"\(its header has is_like, which is unknown\)"),
        ("train", ("1,11,8,0,", "1,11,8,2,"), "line 3 of .*train.csv' has the is_click '2'"),
        ("test", (",50,10^10", ",nan,10^10"), "line 2 of .*test.csv' has the timestamp 'nan'"),
        ("test", ("2,20,7,0,40,,", "2,20,7,0,40"), "line 3 of .* has 5 cells, not 7"),
        ("test", ("2,20,7,", "2,20,8,"), "line 3 of .* has item '20' with cate_id '8', and '7'"),
        ("test", ("2,20,7,0,40", "2,10,7,0,40"), "line 3 of .* has item '10', which is in train"),
        ("test", None, "cannot read .*test.csv"),
    ],
)  # fmt: skip
def test_faults_leave_nothing(part, change, sentence, videos, converted, tmp_path):
    path = videos() / f"{part}.csv"
    if change is None:
        path.unlink()
    else:
        text = path.read_text()
        assert change[0] in text
        path.write_text(text.replace(*change, 1))
    code, _, complaint, _ = converted("microvideo-1.7m", path.parent, "--warm_size=1")
    assert code == 2 and re.search(sentence, complaint), complaint
    assert not (tmp_path / "out").exists()


def test_another_conversion_leaves_no_part_of_the_one_before(videos, converted, tmp_path):
    """All parts, or what was there before."""
    out = tmp_path / "out"
    assert converted("microvideo-1.7m", videos(), "--warm_size=1")[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(before) == 7
    assert converted("microvideo-1.7m", videos(), "--warm_size=2")[0] == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_check_reads_the_parts(videos, tmp_path, capsys):
    """With properties/dataset/microvideo-1.7m.yaml."""
    from recbole_cold.cli.main import main

    paths = [f"--data_path={tmp_path}"]
    assert main(["convert", "microvideo-1.7m", str(videos()), *paths]) == 0
    told = capsys.readouterr().out
    assert told.endswith(f"recbole-cold check --dataset=microvideo-1.7m --data_path={tmp_path}\n")
    words = [*paths, f"--cache_dir={tmp_path / 'cache'}"]
    assert main(["check", "--dataset=microvideo-1.7m", *words]) == 0
    told = capsys.readouterr().out
    assert "16 rows" in told and "2 old and 4 new items" in told, told


def test_check_reads_warm_up_sets_with_the_command_that_convert_prints(videos, tmp_path, capsys):
    from recbole_cold.cli.main import main

    words = [str(videos()), "--warm_size=1", f"--data_path={tmp_path}"]
    assert main(["convert", "microvideo-1.7m", *words]) == 0
    program, *words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert program == "recbole-cold" and "--warm_sets=3" in words
    assert main([*words, f"--cache_dir={tmp_path / 'cache'}"]) == 0
    told = capsys.readouterr().out
    assert "15 rows" in told and "2 old and 3 new items" in told and "warm_c" in told, told


def test_vectors_of_covers_as_the_page_makes_them(videos, tmp_path, monkeypatch, capsys):
    h5py = pytest.importorskip("h5py", reason="vectors of covers come in its form")
    from recbole_cold.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataset_atomic").mkdir()
    assert main(["convert", "microvideo-1.7m", str(videos())]) == 0
    with h5py.File("item_image_emb_dim64.h5", "w") as file:
        file["key"], file["value"] = np.array([20, 10, 11]), np.eye(3, 64, dtype=np.float32)
    page = (ROOT / "dataset_atomic" / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(code, {})
    words = ["--vector_fields={item: {cover: cover.npz}}", f"--cache_dir={tmp_path / 'cache'}"]
    capsys.readouterr()
    assert main(["check", "--dataset=microvideo-1.7m", *words]) == 0
    told = capsys.readouterr().out
    assert "vector of 64 numbers, float32, 3 missing" in told
