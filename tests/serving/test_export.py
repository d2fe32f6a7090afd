"""``recbole-cold export``: other programs answer with its files what the model answers."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import recbole_cold
from recbole_cold.cli.main import main
from recbole_cold.errors import UserError
from recbole_cold.serving import export as exporting
from recbole_cold.serving import graph_files
from recbole_cold.serving.export_check import EACH, rows_to_check
from recbole_cold.serving.graph_files import FORMATS

ROOT = Path(__file__).resolve().parents[2]
BACKBONES = [
    "FM", "DeepFM", "WideDeep", "DCN", "DCNV2", "PNN", "AutoInt", "xDeepFM", "FiGNN", "AFM", "NFM",
    "FwFM", "FNN", "DSSM", "EulerNet", "AFN", "LorentzFM", "FinalMLP", "FINAL", "Basic",
]  # fmt: skip
METHODS = "Base,ItemBias,MWUF,CVAR,CSDM"
# As in test_scorer.py; without numbers DSSM does not run.
KEYS = {"numerical_features": ["income", "price"]}
EXTRA = {"DCNV2": {"cross_layer_num": 1},
         "AFN": {"log_neurons": 20, "mlp_hidden_size": [16], "log_form": "log1p"}}  # fmt: skip


def need_onnx():
    for name in graph_files.ONNX_PACKAGES:
        pytest.importorskip(name, reason="ONNX is an extra: pip install 'recbole-cold[onnx]'")


@pytest.fixture(scope="module")
def run(kept):
    return f"{kept.folder}/MWUF@2020"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """``exported("on")``: folder and description of an export with the vectors inside."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def export(bake="off"):
        if bake not in made:
            told = recbole_cold.export(run, folder / bake, bake=bake == "on", check=50)
            made[bake] = (folder / bake, told)
        return made[bake]

    return export


# What a program without RecBole does: look ids and tokens up, gather, score. It prints the scores.
ALONE = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Refused())
import json
from pathlib import Path
import numpy as np
import pyarrow.csv as csv
import pyarrow.parquet as pq
folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
from score_{kind} import Scorer
told = json.loads((folder / "export.json").read_text())
strings = csv.ConvertOptions(column_types={{name: "string" for name in {columns!r}}})
rows = csv.read_csv(sys.argv[2], convert_options=strings)
feed, sides = {{}}, {{}}
for side in ("item", "user"):
    table = pq.read_table(folder / (side + "s.parquet"))
    known = {{token: code for code, token in enumerate(table.column(0).to_pylist())}}
    name = table.column_names[0]
    sides[side] = np.array([known.get(token, known[None]) for token in rows[name].to_pylist()])
    feed[name] = sides[side]
    for column in table.column_names[3:]:
        name = "item_vector" if column == "vector" and side == told["cold_side"] else column
        if name in {{each["name"] for each in told["inputs"]}}:
            if column == "first_order" and side != told["cold_side"]:
                continue
            feed[name] = np.array(table[column].to_pylist())[sides[side]]
feed["first_order"] = feed.get("first_order", np.zeros(0)).reshape(-1, 1)
for field in told["fields"]:
    if field["side"] == "inter" and field["name"] not in feed and "tokens" in field:
        table = pq.read_table(folder / field["tokens"])
        codes = dict(zip(table["token"].to_pylist(), table["code"].to_pylist()))
        tokens = rows[field["name"]].to_pylist()
        feed[field["name"]] = np.array([codes.get(token, field["unknown"]) for token in tokens])
for probability in Scorer(folder).score(feed):
    print(repr(float(probability)))
"""


def scored_alone(folder, kind, frame, blocked, tmp_path):
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    code = ALONE.format(kind=kind, blocked=blocked, columns=list(frame))
    words = [sys.executable, "-W", "ignore", "-c", code, str(folder), str(path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return np.array([float(line) for line in done.stdout.split()])


class TestFiles:
    def test_names(self, exported):
        folder, told = exported()
        assert {path.name for path in folder.iterdir()} == {
            "export.json", "items.parquet", "users.parquet", "tokens", "fields",
            "read_vectors.py", "scorer.pt2", "score_pt2.py",
        }  # fmt: skip
        written = json.loads((folder / "export.json").read_text())
        assert written == json.loads(json.dumps(told))
        assert told["sha256"].keys() >= {"scorer.pt2", "items.parquet", "tokens/000.parquet"}
        assert [path for path in folder.parent.iterdir() if path.name[0] == "."] == []

    def test_what_is_checked(self, exported, fitted):
        """Every kind of unseen value of every field; what is baked has no vector to generate."""
        kinds = {"item_id: without rows", "item_id: unknown", "user_id: unknown",
                 "user_id: mean, with features", "device: unknown token", "age: unknown token",
                 "gender: unknown token", "title: unknown token", "year: unknown token",
                 "genre: unknown token"}  # fmt: skip
        _, told = exported()
        counts = dict.fromkeys({*kinds, "item_id: generate, with features"}, EACH)
        assert told["checked"] == {"drawn": 50, **counts}
        file = told["files"]["pt2"]
        assert file["rows_checked"] == 50 + EACH * len(counts)
        assert 0 < file["largest_difference"] <= 1e-6
        rows = rows_to_check(fitted, 7, bake=True)
        counts = dict.fromkeys({*kinds, "item_id: mean, with features"}, EACH)
        assert rows.counts == {"drawn": 7, **counts}
        assert all(len(column) == 7 + EACH * len(counts) for column in rows.columns.values())

    def test_items_are_those_of_the_model(self, exported, kept, fitted):
        """Vectors to the last bit; items without rows have the generated one, as in predict."""
        folder, _ = exported()
        items = pq.read_table(folder / "items.parquet").to_pandas()
        own = pq.read_table(kept.folder / "MWUF" / "model" / "items.parquet").to_pandas()
        assert items["item_id"].tolist() == [*own["item_id"], None]
        assert items["visible_rows"].tolist() == [*own["visible_rows"], 0]
        assert items["status"].iloc[-1] == "unknown"
        has_rows = (own["status"] != "listed").to_numpy()
        vectors = np.stack(items["vector"])
        assert np.array_equal(vectors[:-1][has_rows], np.stack(own["vector"])[has_rows])
        assert np.array_equal(items["first_order"][:-1][has_rows], own["first_order"][has_rows])
        rare = own["item_id"][~has_rows][1:]
        assert len(rare) and np.array_equal(vectors[rare.index], fitted.vectors(rare))
        assert np.array_equal(vectors[-1], fitted.vectors(["nobody"])[0])

    def test_fields_and_their_mean(self, exported, fitted):
        folder, told = exported()
        fields = {field["name"]: field for field in told["fields"]}
        assert "vectors" in fields["year"] and "tokens" not in fields["price"]
        for name in ("year", "user_id", "device"):
            table = pq.read_table(folder / fields[name]["vectors"])
            tokens = pq.read_table(folder / fields[name]["tokens"]).to_pandas()
            assert table["token"].to_pylist() == [*tokens["token"], None]
            assert len(tokens) == fields[name]["unknown"]
            rows = np.stack(table["vector"].to_pandas())
            own = fitted.method.backbone.table_of(name).detach().numpy()
            assert np.array_equal(rows[:-1], own)
            assert np.allclose(rows[-1], own[tokens["trained"]].mean(axis=0), atol=1e-7)

    def test_users_and_a_reader_of_vectors(self, exported, tmp_path):
        folder, _ = exported()
        words = [sys.executable, "read_vectors.py", "users.parquet", "u1", "no"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr
        found = np.array([line.split() for line in done.stdout.splitlines()], dtype=float)
        users = pq.read_table(folder / "users.parquet").to_pandas()
        right = [users.loc[users["user_id"] == "u1", "vector"].iloc[0], users["vector"].iloc[-1]]
        assert np.allclose(found, np.stack(right), rtol=1e-6)


class TestScorer:
    @pytest.mark.slow
    @pytest.mark.parametrize("bake", ["off", "on"])
    def test_a_program_without_recbole_answers_as_predict(self, exported, kept, bake, tmp_path):
        """V9: outside ids through the files alone; what is unseen, too."""
        folder, _ = exported(bake)
        _, rows = kept.scored("MWUF", "warm_c")
        rows = rows[["user_id", "item_id", "device"]][:12]
        rows.loc[9, "user_id"], rows.loc[10, "item_id"] = "nobody", "nothing"
        rows.loc[11, "device"] = "radio"
        found = scored_alone(folder, "pt2", rows, ["recbole", "recbole_cold"], tmp_path)
        model = recbole_cold.load(kept.folder, "MWUF", unseen={"device": "mean"})
        assert np.abs(found - model.score(rows)).max() <= 1e-6
        assert found.std() > 0.01

    @pytest.mark.slow
    def test_onnx_where_torch_is_not(self, run, kept, tmp_path):
        need_onnx()
        recbole_cold.export(run, tmp_path / "out", formats=["onnx"])
        _, rows = kept.scored("MWUF", "warm_c")
        rows = rows[["user_id", "item_id", "device"]]
        blocked = ["recbole", "recbole_cold", "torch"]
        found = scored_alone(tmp_path / "out", "onnx", rows, blocked, tmp_path)
        model = recbole_cold.load(kept.folder, "MWUF")
        assert np.abs(found - model.score(rows)).max() <= 1e-5


class TestEvery:
    """V8 through the verb: five methods; from one to the next the vectors change.

    The files of every backbone in both formats, with all kinds of fields, are test_scorer.py's. The
    verb writes ONNX, which takes the longest, for one method of a backbone, each in its turn.
    """

    @pytest.mark.slow
    @pytest.mark.parametrize("backbone", BACKBONES)
    def test_backbone(self, backbone, tmp_path, write_atomic):
        from kept_here import kept_run

        need_onnx()
        keys = {**KEYS, **EXTRA.get(backbone, {}), "keep_phases": "last"}
        kept = kept_run(METHODS, tmp_path, write_atomic, backbone, **keys)
        for number, method in enumerate(METHODS.split(",")):
            out = tmp_path / method
            place = BACKBONES.index(backbone)
            words = ["export", f"{kept.folder}/{method}", f"--out={out}", "--check=100",
                     f"--format={('pt2', 'onnx')[(number + place) % 5 == 0]}",
                     f"--bake={('off', 'on')[(number + place // 5) % 2]}"]  # fmt: skip
            assert main(words) == 0
            told = json.loads((out / "export.json").read_text())
            for name, file in told["files"].items():
                assert file["largest_difference"] <= FORMATS[name].limit
            assert ("item_bias" in pq.read_schema(out / "items.parquet").names) == (
                method == "ItemBias"
            )

    @pytest.mark.slow
    def test_new_users_and_counts(self, tmp_path, write_atomic):
        from kept_here import kept_run

        keys = {"cold_side": "user", "cold_threshold": 16, "warm_size": 2,
                "numerical_features": ["income", "timestamp"]}  # fmt: skip
        kept = kept_run("Base[use_count=True],CVAR", tmp_path, write_atomic, **keys)
        for number, bake in enumerate(("off", "on")):
            for place in kept.folder.glob("*/model"):
                out = tmp_path / f"{place.parent.name}-{bake}"
                told = recbole_cold.export(place, out, formats=["pt2"], bake=bool(number))
                names = {each["name"] for each in told["inputs"]}
                assert {"item_id", "timestamp"} <= names and ("user_id" in names) == bool(number)
                users = pq.read_table(out / "users.parquet")
                assert {"old", "new", "unknown"} <= {*users["status"].to_pylist()}


class TestWhole:
    def test_one_that_does_not_agree_leaves_nothing(self, run, tmp_path, monkeypatch):
        made_up = FORMATS["pt2"]._replace(
            write=lambda scorer, program, path: path.write_bytes(b"x") and {},
            load=lambda path, inputs: lambda feed: torch.full((len(feed["user_id"]),), 0.5),
        )
        monkeypatch.setitem(FORMATS, "pt2", made_up)
        monkeypatch.setattr(graph_files, "traced", lambda scorer: None)
        with pytest.raises(UserError, match=r"scorer.pt2 gives probabilities that differ by"):
            recbole_cold.export(run, tmp_path / "out", formats=["pt2"], check=5)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_killed(self, run, tmp_path):
        """V7: no folder is there, and the next export takes away what is left."""
        code = (
            "import os, signal, sys, recbole_cold; from recbole_cold.serving import export\n"
            "export._write_fields = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "recbole_cold.export(*sys.argv[1:], formats=['vectors'])"
        )
        words = [sys.executable, "-c", code, run, str(tmp_path / "out")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        assert subprocess.run(words, env=environment).returncode == -signal.SIGKILL
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(".out.")
        (tmp_path / ".out.ours").mkdir()
        recbole_cold.export(run, tmp_path / "out", formats=["vectors"])
        assert {path.name for path in tmp_path.iterdir()} == {"out", ".out.ours"}

    def test_a_full_disk(self, run, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(exporting.pq, "write_table", full)
        with pytest.raises(UserError, match=r"cannot write .*No space left.*another --out"):
            recbole_cold.export(run, tmp_path / "out", formats=["vectors"])
        assert list(tmp_path.iterdir()) == []


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "takes the folder of one run"),
            (["RUN", "RUN"], "takes the folder of one run"),
            (["RUN"], "writes a new folder; name it, --out=DIR"),
            (["RUN", "--out="], "--out= says nothing"),
            (["RUN", "--out=OUT", "--formats=pt2"], "no --formats; did you mean --format?"),
            (["RUN", "--out=OUT", "--format=pt3"], "it is one of vectors, pt2, onnx"),
            (["RUN", "--out=OUT", "--format=pt2,pt2"], "names one twice"),
            (["RUN", "--out=OUT", "--bake=yes"], "--bake=yes is neither on nor off"),
            (["RUN", "--out=OUT", "--bake=on", "--format=vectors"], "goes with --format=pt2"),
            (["RUN", "--out=OUT", "--check=0"], "--check=0 is no number of rows"),
            (["RUN", "--out=OUT", "--check=-1"], "--check=-1 is no number of rows"),
            (["RUN", "--out=OUT", "--phase=warm_z"], "has no such model"),
            (["RUN", "--out=THERE"], "is there already; name a new folder"),
            (["SEVERAL", "--out=OUT"], "has several models"),
            (["NONE", "--out=OUT"], "kept no model; run it again with --keep_model=True"),
        ],
    )  # fmt: skip
    def test_in_one_sentence(self, run, kept, tmp_path, capsys, words, message):
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "request.json").write_text("{}")
        places = {"RUN": run, "OUT": str(tmp_path / "new"), "THERE": str(tmp_path),
                  "SEVERAL": str(kept.folder), "NONE": str(tmp_path / "none")}  # fmt: skip
        for name, place in places.items():
            words = [word.replace(name, place) for word in words]
        assert main(["export", *words]) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.splitlines()) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["none"]

    def test_without_the_extra(self, run, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(graph_files.importlib.util, "find_spec", lambda name: None)
        assert main(["export", run, f"--out={tmp_path / 'out'}", "--format=onnx"]) == 2
        assert "pip install 'recbole-cold[onnx]'" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_a_feature_with_the_name_of_a_column(self, fitted, tmp_path):
        features = fitted.method.rows.item_features
        features["visible_rows"] = features["year"]
        served = exporting._served(fitted, torch.arange(len(features["year"])))
        with pytest.raises(UserError, match="the feature 'visible_rows' has the name of a column"):
            exporting._table(fitted, "item", served)

    def test_an_empty_folder_is_taken(self, run, tmp_path, capsys):
        (tmp_path / "out").mkdir()
        words = ["export", run, f"--out={tmp_path / 'out'}", "--format=vectors"]
        assert main(words) == 0
        out = capsys.readouterr().out
        assert "MWUF@2020 after warm_c, DeepFM" in out and f"exported {tmp_path / 'out'}" in out
        assert isinstance(pd.read_parquet(tmp_path / "out" / "items.parquet"), pd.DataFrame)
