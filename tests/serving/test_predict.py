"""``recbole-cold predict``: files of every form in, ids and order kept, whole files out."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recbole_cold
from recbole_cold.cli.main import main
from recbole_cold.serving.files import Source
from recbole_cold.serving.predict import Task, predict

FIELDS = ["user_id", "item_id", "device"]


@pytest.fixture
def rows(kept):
    """Some of the scored rows, and the scores."""
    scores, frame = kept.scored("MWUF", "warm_c")
    return frame[FIELDS], scores


@pytest.fixture
def run(kept):
    return f"{kept.folder}/MWUF@2020"


def write(frame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".inter":
        frame.rename(columns=lambda name: f"{name}:token").to_csv(path, sep="\t", index=False)
    else:
        separator = "\t" if ".tsv" in path.suffixes else ","
        frame.to_csv(path, sep=separator, index=False)
    return path


class TestFiles:
    @pytest.mark.parametrize(
        "name", ["r.csv", "r.tsv", "r.parquet", "r.inter", "r.csv.gz", "R.CSV"]
    )
    def test_in_every_form(self, run, rows, tmp_path, name, capsys):
        frame, scores = rows
        path = write(frame, tmp_path / name)
        assert main(["predict", run, f"--rows={path}", f"--out={tmp_path / 'out.parquet'}"]) == 0
        found = pd.read_parquet(tmp_path / "out.parquet")
        assert list(found.columns) == ["user_id", "item_id", "score", "policy"]
        assert found["user_id"].tolist() == frame["user_id"].tolist()
        assert found["item_id"].tolist() == frame["item_id"].tolist()
        assert np.array_equal(found["score"].astype(np.float32), scores)
        assert set(found["policy"]) == {"own"}
        out = capsys.readouterr().out
        assert f"{len(frame)} rows" in out and "answered by own (100.0%)" in out

    @pytest.mark.parametrize("name", ["out.csv", "out.tsv"])
    def test_out_as_text(self, run, rows, tmp_path, name):
        frame, scores = rows
        path = write(frame.assign(request=range(len(frame))), tmp_path / "r.csv")
        assert main(["predict", run, f"--rows={path}", f"--out={tmp_path / name}"]) == 0
        found = pd.read_csv(tmp_path / name, sep="," if name == "out.csv" else "\t")
        assert np.array_equal(found["score"].astype(np.float32), scores)
        told = json.loads((tmp_path / f"{name}.report.json").read_text())
        assert told["answers"] == {"own": len(frame)} and told["rows"] == len(frame)
        assert told["notes"] == ["columns that are not read: request"]
        assert told["model"]["label"] == "MWUF" and told["model"]["phase"] == "warm_c"

    def test_on_the_screen(self, run, rows, tmp_path, capfd):
        frame, _ = rows
        path = write(frame[:3], tmp_path / "r.csv")
        assert main(["predict", run, f"--rows={path}"]) == 0
        out, err = capfd.readouterr()
        assert (
            out.splitlines()[0] == '"user_id","item_id","score","policy"'
            and len(out.splitlines()) == 4
        )
        assert "3 rows" in err

    def test_ids_with_zeros_in_front_stay_texts(self, tmp_path):
        frame = pd.DataFrame({"user_id": ["007", "7"], "item_id": ["1.0", "1"]})
        found = Source(write(frame, tmp_path / "r.csv")).whole().to_pydict()
        assert found == {"user_id": ["007", "7"], "item_id": ["1.0", "1"]}

    @pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
    def test_parts(self, tmp_path, name):
        frame = pd.DataFrame({"a": np.arange(10).astype(str), "b": "x"})
        source = Source(write(frame, tmp_path / name))
        parts = [part["a"].to_pylist() for part in source.parts(["a"], 4)]
        assert parts == [list("0123"), list("4567"), list("89")]
        assert [len(part) for part in source.parts(["a"], 5)] == [5, 5]
        empty = Source(write(frame[:0], tmp_path / f"e{name}"))
        assert [len(part) for part in empty.parts(["b"], 4)] == [0]

    def test_the_chunk_changes_nothing(self, kept, run, rows, tmp_path, monkeypatch):
        """V11: to the last bit, whatever is in memory at a time."""
        frame, _ = rows
        other = frame.assign(user_id="nobody", item_id="x" + frame["item_id"])
        path = write(pd.concat([frame, other]), tmp_path / "r.parquet")
        items = write(kept.items.assign(item_id="x" + kept.items["item_id"]), tmp_path / "i.csv")
        from recbole_cold.serving import fitted

        load = fitted.load

        def small_batches(*args, **keys):
            found = load(*args, **keys)
            found.method.config["eval_batch_size"] = 16
            return found

        monkeypatch.setattr("recbole_cold.serving.predict.load", small_batches)
        found = []
        for chunk in (50, 10**6):
            out = str(tmp_path / f"{chunk}.parquet")
            report, _ = predict(Task(run, str(path), items=str(items), out=out), chunk)
            assert report.rows == 2 * len(frame)
            assert report.answers["generated+user_id:mean"] == len(frame)
            found.append(pq.read_table(out))
        assert found[0].equals(found[1])


class TestUnseen:
    def test_items_and_users_by_files(self, kept, run, rows, tmp_path, capsys):
        frame, _ = rows
        items = write(kept.items.assign(item_id="x" + kept.items["item_id"]), tmp_path / "i.csv")
        users = write(kept.users.assign(user_id="y" + kept.users["user_id"]), tmp_path / "u.tsv")
        path = write(
            frame.assign(item_id="x" + frame["item_id"], user_id="y" + frame["user_id"]),
            tmp_path / "r.csv",
        )
        words = ["predict", run, f"--rows={path}", f"--items={items}", f"--users={users}",
                 f"--out={tmp_path / 'o.parquet'}"]  # fmt: skip
        assert main(words) == 0
        found = pd.read_parquet(tmp_path / "o.parquet")
        assert set(found["policy"]) == {"generated+user_id:mean"}
        fitted = recbole_cold.load(run, items=pd.read_csv(items, dtype=str),
                                   users=pd.read_csv(users, dtype=str, sep="\t"))  # fmt: skip
        assert np.array_equal(found["score"], fitted.score(pd.read_csv(path)))
        out = capsys.readouterr().out
        assert "18 values of 'item_id' that training has not seen" in out
        assert main([*words, "--unseen={user_id: pad, item_id: mean}"]) == 0
        found = pd.read_parquet(tmp_path / "o.parquet")
        assert set(found["policy"]) == {"mean+user_id:pad"}

    def test_strict(self, run, rows, tmp_path, capsys):
        frame, _ = rows
        path, out = write(frame.assign(device="radio"), tmp_path / "r.csv"), tmp_path / "o.csv"
        assert main(["predict", run, f"--rows={path}", "--strict_ids", f"--out={out}"]) == 2
        assert "'radio' in 'device' is a value that the run has never" in capsys.readouterr().err
        assert [each.name for each in tmp_path.iterdir()] == ["r.csv"]


class TestTopk:
    def test_from_rows_with_files(self, kept, run, rows, tmp_path, capsys):
        frame, _ = rows
        path = write(frame, tmp_path / "r.csv")
        seen = write(kept.inter[["user_id", "item_id"]], tmp_path / "s.parquet")
        some = write(pd.DataFrame({"item_id": ["i3", "i20", "zzz"]}), tmp_path / "c.csv")
        words = ["predict", run, f"--rows={path}", "--topk=2", f"--out={tmp_path / 'o.csv'}"]
        first = frame.drop_duplicates("user_id")
        fitted = recbole_cold.load(run)
        for more, options in (
            ([], {}),
            (["--candidates=new"], {"candidates": "new"}),
            ([f"--candidates={some}"], {"candidates": ["i3", "i20", "zzz"]}),
            ([f"--seen={seen}"], {"seen": kept.inter}),
        ):
            assert main([*words, *more]) == 0
            found = pd.read_csv(tmp_path / "o.csv")
            want = fitted.topk(first, 2, **options)
            assert found[["user_id", "item_id"]].equals(want[["user_id", "item_id"]].astype("str"))
            assert np.allclose(found["score"], want["score"], atol=1e-9)

    def test_users_alone(self, kept, run, tmp_path, capsys):
        users = write(kept.users, tmp_path / "u.csv")
        assert main(["predict", run, f"--users={users}", "--topk=2"]) == 2
        assert "the model reads 'device' of each row" in capsys.readouterr().err
        users = write(kept.users.assign(device="tv"), tmp_path / "u.csv")
        out = tmp_path / "o.parquet"
        assert main(["predict", run, f"--users={users}", "--topk=2", f"--out={out}"]) == 0
        assert len(pd.read_parquet(out)) == 2 * len(kept.users)


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["predict"], "takes the folder of one run"),
            (["predict", "a", "b"], "takes the folder of one run"),
            (["predict", "RUN"], "give it, --rows=FILE"),
            (["predict", "RUN", "--rows=ROWS", "--row=x"], "no --row; did you mean --rows?"),
            (["predict", "RUN", "--rows="], "--rows= says nothing"),
            (["predict", "RUN", "--rows=none.csv"], "cannot read 'none.csv' (No such file"),
            (["predict", "RUN", "--rows=r.xlsx"], "has no suffix that tells its form"),
            (["predict", "RUN", "--rows=ROWS", "--out=o.xlsx"], "--out=o.xlsx has no suffix"),
            (["predict", "RUN", "--rows=ROWS", "--out=no/where/\0.csv"], "null byte"),
            (["predict", "RUN", "--rows=ROWS", "--topk=0"], "--topk=0 is no number of items"),
            (["predict", "RUN", "--rows=ROWS", "--seen=ROWS"], "--seen goes with --topk"),
            (["predict", "RUN", "--rows=ROWS", "--candidates=new"], "--candidates goes with"),
            (["predict", "RUN", "--rows=ROWS", "--unseen=pad"], "--unseen=pad is no mapping"),
            (["predict", "RUN", "--rows=ROWS", "--phase=warm_z"], "has no such model"),
            (["predict", "RUN", "--rows=BAD"], "'BAD' is damaged or of another kind"),
            (["predict", "RUN", "--rows=LACK"], "the rows of 'LACK' have no field 'item_id'"),
            (["predict", "RUN", "--rows=TWICE"], "has the column 'a' twice"),
            (["predict", "RUN", "--rows=ROWS", "--items=LACK"], "the items have no field"),
            (["run", "--strict_ids"], "run takes no --strict_ids: it goes with predict"),
        ],
    )  # fmt: skip
    def test_in_one_sentence(self, run, rows, tmp_path, capsys, words, message):
        frame, _ = rows
        places = {"RUN": run}
        for name, content in (
            ("ROWS", frame.to_csv(index=False)), ("BAD", "user_id,item_id,device\na\n"),
            ("LACK", "user_id,devices\na,b\n"), ("TWICE", "a,a\n1,2\n"),
        ):  # fmt: skip
            places[name] = str(tmp_path / f"{name.lower()}.csv")
            (tmp_path / f"{name.lower()}.csv").write_text(content)
        for name, place in places.items():
            words = [word.replace(name, place) for word in words]
            message = message.replace(name, place)
        before = sorted(tmp_path.iterdir())
        assert main(words) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.splitlines()) == 1
        assert sorted(tmp_path.iterdir()) == before

    def test_a_run_without_a_model(self, tmp_path, capsys):
        (tmp_path / "request.json").write_text("{}")
        (tmp_path / "r.csv").write_text("user_id\n")
        assert main(["predict", str(tmp_path), f"--rows={tmp_path / 'r.csv'}"]) == 2
        assert "run it again with --keep_model=True" in capsys.readouterr().err


MEASURE = """
import resource, sys
from recbole_cold.serving.predict import Task, predict
predict(Task(sys.argv[1], sys.argv[2], out=sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="getrusage counts in kB on Linux")
def test_ten_million_rows_take_as_much_memory_as_two(run, rows, tmp_path):
    """V13: below 1.5 GB, and no more for five times the rows."""
    frame, _ = rows
    table = pa.Table.from_pandas(frame, preserve_index=False)
    million = pa.concat_tables([table] * (10**6 // len(table) + 1)).slice(0, 10**6)
    megabytes = []
    for number in (2, 10):
        with pq.ParquetWriter(tmp_path / "r.parquet", million.schema) as writer:
            for _ in range(number):
                writer.write_table(million, row_group_size=10**6)
        words = [sys.executable, "-c", MEASURE, run, str(tmp_path / "r.parquet"),
                 str(tmp_path / "o.parquet")]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        megabytes.append(int(done.stdout.split()[-1]))
    assert pq.ParquetFile(tmp_path / "o.parquet").metadata.num_rows == 10**7
    assert megabytes[1] < 1536 and megabytes[1] < 1.2 * megabytes[0]
