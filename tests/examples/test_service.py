"""The example of an HTTP service: what it answers is what the kept model answers."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recbole_cold
from recbole_cold.data.numbers import AsRead, Scale, fit
from recbole_cold.serving.frames import as_table

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "serving"
for package in ("fastapi", "uvicorn", "httpx", "onnxruntime"):
    pytest.importorskip(package, reason=f"the example needs {package}: see its requirements.txt")


@pytest.fixture(scope="module", autouse=True)
def importable():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        yield
        for name in [n for n in sys.modules if n.partition(".")[0] == "cold_service"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def model(kept):
    return kept.folder / "MWUF" / "model"


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service") / "exported"
    recbole_cold.export(model, folder, formats=["vectors", "onnx"], check=20)
    return folder


def rows_of(user, items, device):
    return pd.DataFrame({"user_id": user, "item_id": items, "device": device})


@pytest.fixture(scope="module")
def items(exported):
    """An item of each kind, by its status in the export, and one that nobody knows."""
    table = pq.read_table(exported / "items.parquet").to_pandas()[1:]
    return [*table.groupby("status")["item_id"].first()[["old", "new", "listed"]], "nobody"]


@pytest.mark.parametrize("rule", ["standard", "log", "minmax", "recbole"])
def test_numbers_are_scaled_as_in_the_run(rule):
    from cold_service.scoring import scaled

    values = np.random.default_rng(3).lognormal(size=50)
    scale = AsRead(1.5, 0.1, 3.0) if rule == "recbole" else fit(values, rule)
    for value in (*values[:5], -4.0, 0.0, 1e6, None):
        expected = scale.apply(np.nan if value is None else value)
        assert scaled(value, vars(scale)) == pytest.approx(float(expected), abs=1e-6)
    assert scaled(3.0, vars(Scale("constant", 2.0, 2.0))) == 0
    assert scaled(3.0, {**vars(AsRead(1.0)), "low": None, "high": None}) == 3


def kept_in(path):
    from cold_service.store import Log

    log = Log(path)
    log.close()
    return log.values


class TestLog:
    def test_half_a_line_is_forgotten(self, tmp_path):
        """Nobody was told that it is kept."""
        from cold_service.store import Log

        log = Log(tmp_path / "l.jsonl")
        log.append([{"n": 1}, {"n": 2}])
        log.close()
        with (tmp_path / "l.jsonl").open("a") as file:
            file.write('{"n": 3')
        log = Log(tmp_path / "l.jsonl")
        log.append([{"n": 4}])
        log.close()
        assert kept_in(tmp_path / "l.jsonl") == [{"n": 1}, {"n": 2}, {"n": 4}]

    def test_a_full_disk_leaves_no_part_of_a_row(self, tmp_path, monkeypatch):
        from cold_service.store import Log

        log = Log(tmp_path / "l.jsonl")
        log.append([{"n": 1}])
        monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError):
            log.append([{"n": 2}])
        monkeypatch.undo()
        log.append([{"n": 3}])
        log.close()
        assert log.values == kept_in(tmp_path / "l.jsonl") == [{"n": 1}, {"n": 3}]


def test_a_store_has_one_process(tmp_path):
    from cold_service.store import Failed, Store

    stores = [Store(tmp_path)]
    try:
        with pytest.raises(Failed, match="another process"):
            stores.append(Store(tmp_path))
    finally:
        for store in stores:
            store.close()
    Store(tmp_path).close()


def test_items_that_are_more_than_a_vector_are_refused(tmp_path, monkeypatch):
    """EmerG's have a graph: a service with it could answer nothing, so no store begins with it."""
    from cold_service import store as module

    inputs = [{"name": name, "kind": "given"} for name in ("item_vector", "item_graph")]
    about = {"files": {"onnx": {}}, "bake": "off", "cold_side": "item", "inputs": inputs}

    def export(verb, model, out, formats):
        folder = Path(out.partition("=")[2])
        folder.mkdir()
        (folder / "export.json").write_text(json.dumps(about))

    monkeypatch.setattr(module, "called", export)
    store = module.Store(tmp_path / "store")
    with pytest.raises(ValueError, match="has items with 'item_graph' beside their vectors"):
        store.begin(tmp_path / "model")
    assert store.current is None and not list((tmp_path / "store" / "models").iterdir())
    store.close()


@pytest.mark.parametrize("asked", ["0", "-5", "1.5", "many", ""])
def test_a_growth_needs_a_row(tmp_path, monkeypatch, capsys, asked):
    from cold_service.__main__ import main

    words = ["cold_service", f"--store={tmp_path / 'store'}", f"--grow_after={asked}"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and not (tmp_path / "store").exists()
    assert f"--grow_after: '{asked}' is no number of rows from 1 on" in capsys.readouterr().err


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A service over a table of one item, ``a``, whose model is never loaded."""
    from cold_service import service as module
    from cold_service.scoring import Exported, Table
    from cold_service.store import Store

    vectors = pa.array([[0.0, 0.0], [1.0, 2.0], [0.5, 1.0]], pa.list_(pa.float32(), 2))
    status = ["padding", "old", "unknown"]
    columns = {"item_id": ["", "a", ""], "vector": vectors, "status": status}
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    exported = object.__new__(Exported)
    exported.about, exported._fields = {"fields": []}, {}
    exported.users = SimpleNamespace(id_field="user_id")
    exported.items, exported.context = Table(tmp_path / "items.parquet"), []
    model = SimpleNamespace(exported=exported, told={"lines": 0}, folder=tmp_path,
                            kept={"label_rule": {"least": None}})  # fmt: skip
    monkeypatch.setattr(module, "Model", lambda folder, items: model)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "current").symlink_to(tmp_path)
    service = module.Service(Store(tmp_path / "store"), grow_after=1)
    yield service
    service.close()


def soon(true):
    """Wait until ``true()``; what it takes is the machine's affair."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestService:
    ROW = {"user": "u", "item": "new", "label": 1, "context": {}}

    @pytest.mark.parametrize("error", [KeyError("price"), AssertionError("no model")])
    def test_growing_goes_on_after_any_error(self, bare, monkeypatch, error):
        """Its reason is kept, and the next rows try again."""
        bare.model.exported.add("new", {"vector": [3.0, 4.0]}, "generated")
        tried = []

        def grow():
            tried.append(len(bare.store.feedback.values))
            if len(tried) == 1:
                raise error
            bare.model.told["lines"] = len(bare.store.feedback.values)

        monkeypatch.setattr(bare, "_grow", grow)
        bare.feedback([self.ROW])
        soon(lambda: bare.last_error)
        assert bare.last_error == f"{type(error).__name__}: {error}"
        assert len(bare._waiting()[0]) == 1
        bare.feedback([self.ROW])
        soon(lambda: not bare.last_error)
        assert tried == [1, 2] and bare._waiting()[0] == []

    @pytest.mark.parametrize(
        ("served", "why"),
        [
            ({"vector": [1.0, 2.0, 3.0]}, "'vector' has the shape (3,), in the export (2,)"),
            ({"vector": [[1.0, 2.0]]}, "'vector' has the shape (1, 2), in the export (2,)"),
            ({"vector": [1.0, "much"]}, "could not convert string to float"),
            ({"vector": [1.0, 2.0], "first_order": 0.5}, "'first_order' is no column"),
        ],
    )
    def test_an_item_that_cannot_be_served_is_not_kept(self, bare, monkeypatch, served, why):
        from cold_service.service import Unavailable

        made = [{**served, "policy": "generated"}, {"vector": [3.0, 4.0], "policy": "generated"}]
        monkeypatch.setattr(bare._generator, "make", lambda table: made.pop(0))
        with pytest.raises(Unavailable) as said:
            bare.vector("new", {})
        assert why in str(said.value)
        assert not bare.model.exported.knows("new") and bare.store.items.values == []
        assert kept_in(bare.store.folder / "items.jsonl") == []
        bare.vector("new", {})
        assert bare.model.exported.knows("new") and len(bare.store.items.values) == 1


@pytest.mark.slow
def test_a_made_item_has_the_columns_of_an_exported_one(tmp_path, write_atomic, monkeypatch):
    """Of a click model without scalar weights, and of a method with one number per item."""
    from cold_service import generating
    from cold_service.scoring import Table
    from kept_here import kept_run

    kept = kept_run("ItemBias", tmp_path, write_atomic, "DCN", pretrain_epochs=1)
    recbole_cold.export(kept.folder, tmp_path / "out", formats=["vectors"])
    monkeypatch.setattr(generating, "_fitted", recbole_cold.load(kept.folder))
    table = Table(tmp_path / "out" / "items.parquet")
    assert "first_order" not in table.columns
    found = generating._make(as_table(kept.items.head(1).assign(item_id="x")))
    policy = found.pop("policy")
    assert {*found} == {*table.columns} - {"status", "visible_rows"}
    table.add("x", {**found, "status": policy})
    assert np.allclose(table.columns["vector"][table.at(["x"])[0]], found["vector"])


@pytest.mark.slow
class TestScoring:
    @pytest.mark.parametrize("device", ["phone", "a watch", None])
    @pytest.mark.parametrize("user", ["u7", "nobody"])
    def test_answers_as_predict(self, exported, fitted, items, user, device):
        from cold_service.scoring import Exported

        found, policies = Exported(exported).score(user, items, {"device": device}, {})
        table = rows_of(user, items, pd.Series([device] * 4, dtype=object))
        expected, words = fitted.score_table(as_table(table))
        assert np.abs(found - expected).max() < 1e-6 and len({*found}) == 4
        assert policies == words.to_pylist()

    def test_features_of_an_unknown_user(self, exported, fitted):
        from cold_service.scoring import Exported

        for income in (0.3, 5000, None):
            features = {"age": "30", "gender": "F", "income": income}
            found, _ = Exported(exported).score("me", ["i3"], {"device": "tv"}, features)
            fitted.add("user", pd.DataFrame([{"user_id": f"me-{income}", **features}]))
            expected = fitted.score(rows_of(f"me-{income}", ["i3"], "tv"))
            assert abs(found - expected).max() < 1e-6


@pytest.fixture(scope="class")
def server():
    """``start(store)``: a client of the service in a process of its own, on a port that was free.

    Waits are long: they end when the process does, and a busy machine may take its time.
    """
    import httpx

    path = os.pathsep.join([str(EXAMPLE), str(ROOT)])
    running = []

    def start(store, *flags):
        words = [sys.executable, "-m", "cold_service", f"--store={store}", "--port=0", *flags]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        running.append(process)
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        client = httpx.Client(base_url=line.split()[-1], timeout=600)
        client.process = process
        return client

    yield start
    for process in running:
        process.terminate()
        process.wait(600)  # a growth that has begun ends first
        process.stdout.close()


FEATURES = {"title": ["the", "red", "unheard"], "year": 1993, "genre": "war crime", "price": 0.5}


@pytest.fixture(scope="class")
def client(server, model, tmp_path_factory):
    """Of a service whose store no test changes."""
    store = tmp_path_factory.mktemp("server") / "store"
    with server(store, f"--model={model}") as client:
        yield client


@pytest.mark.slow
class TestServer:
    """Each test passes alone: what changes a store has one of its own."""

    def test_scores(self, client, fitted, items):
        asked = {"user": "u7", "candidates": items, "context": {"device": "tv"}}
        answer = client.post("/score", json=asked)
        assert answer.status_code == 200 and answer.json()["model"] == "000000"
        expected = fitted.score(rows_of("u7", items, "tv"))
        assert np.abs(answer.json()["scores"] - expected).max() < 1e-6
        assert answer.json()["policies"] == ["own", "own", "generated", "mean"]

    @pytest.mark.parametrize(
        "path, body, status, words",
        [
            ("score", {"user": "u7"}, 422, "candidates: Field required"),
            ("score", {"user": "u7", "candidates": [], "context": {}}, 422, "candidates: "),
            ("score", {"user": "u7", "candidates": [1.5], "context": {}}, 422, "candidates.0: "),
            ("score", {"user": "u7", "candidates": ["i1"], "contxt": {}}, 422, "contxt: Extra"),
            ("score", {"user": "u7", "candidates": ["i1"]}, 400, "context lacks 'device'"),
            (
                "score",
                {"user": "u7", "candidates": ["i1"], "context": {"device": "tv", "hour": 3}},
                400,
                "context has no field 'hour'; there are: device",
            ),
            (
                "score",
                {"user": "u7", "candidates": ["i1"], "context": {"device": ["tv"]}},
                400,
                "'device' is a single token",
            ),
            ("vector", {"item": "x", "features": {"yeer": 1}}, 400, "features has no field 'yeer'"),
            ("vector", {"item": "x", "features": {"price": "much"}}, 400, "'price' is a number"),
            ("feedback", {"rows": []}, 422, "rows: "),
            (
                "feedback",
                {"rows": [{"user": "u7", "item": "i1", "label": 5}]},
                400,
                "row 1: context lacks 'device'",
            ),
            (
                "feedback",
                {"rows": [{"user": "u7", "item": "who", "label": 5, "context": {"device": "tv"}}]},
                400,
                "row 1: the item 'who' is unknown; give its features to /vector first",
            ),
        ],
    )
    def test_what_is_wrong_is_told_in_a_sentence(self, client, path, body, status, words):
        answer = client.post(f"/{path}", json=body)
        assert answer.status_code == status and list(answer.json()) == ["error"]
        assert answer.json()["error"].startswith(words), answer.json()
        assert "\n" not in answer.json()["error"]

    def test_no_json(self, client):
        answer = client.post("/score", content=b'{"user": ')
        assert answer.status_code == 422 and list(answer.json()) == ["error"]

    def test_a_new_item_its_clicks_a_kill_and_a_growth(
        self, server, model, fitted, items, tmp_path
    ):
        """A day of one store."""
        asked = {"user": "u7", "candidates": ["film", items[0]], "context": {"device": "tv"}}
        with server(tmp_path / "store", f"--model={model}") as client:
            self.make_an_item(client, fitted)
            before = self.kill_after_feedback(client, items[0], asked)
        with server(tmp_path / "store", "--grow_after=3") as client:
            assert client.get("/health").json() == before[0]
            assert client.post("/score", json=asked).json() == before[1]
            self.grow_in_the_background(client, asked, before[1], tmp_path / "store")

    def make_an_item(self, client, fitted):
        """Its vector is the method's own, and it is served at once."""
        frame = pd.DataFrame([{"item_id": "film", **FEATURES, "title": "the red unheard"}])
        fitted.add("item", frame)
        answer = client.post("/vector", json={"item": "film", "features": FEATURES}).json()
        assert answer["policy"] == "generated"
        assert np.abs(answer["vector"] - fitted.vectors(["film"])[0]).max() < 1e-6
        asked = {"user": "u7", "candidates": ["film"], "context": {"device": "tv"}}
        found = client.post("/score", json=asked).json()
        assert found["policies"] == ["generated"]
        expected = fitted.score(rows_of("u7", ["film"], "tv"))
        assert abs(found["scores"] - expected).max() < 1e-6
        again = client.post("/vector", json={"item": "film", "features": {}})
        assert again.status_code == 409 and "known already" in again.json()["error"]

    def kill_after_feedback(self, client, old, asked):
        """What was answered is to be there in the next process, the item's vector as well."""
        rows = [
            {"user": "u7", "item": item, "label": 5, "context": {"device": "tv"}}
            for item in ("film", old)
        ]
        answer = client.post("/feedback", json={"rows": rows})
        assert answer.status_code == 202
        assert answer.json() == {"kept": 2, "of_new_items": 1}
        health = client.get("/health").json()
        assert (health["feedback"], health["waiting"], health["label"]) == (2, 1, "MWUF")
        score = client.post("/score", json=asked).json()
        client.process.kill()
        client.process.wait()
        # The process that makes vectors has the same standard output, and ends as well.
        assert select.select([client.process.stdout], [], [], 600)[0]
        return health, score

    def grow_in_the_background(self, client, asked, first, store):
        """The clicks of a new item move its score, no old item's, and requests go on meanwhile."""
        row = {"user": "u8", "item": "film", "label": 5, "context": {"device": "tv"}}
        client.post("/feedback", json={"rows": [row, {**row, "user": "u9"}]})
        deadline = time.monotonic() + 600
        while (health := client.get("/health").json())["model"] == "000000":
            assert health["last_error"] == "" and time.monotonic() < deadline
            during = client.post("/score", json=asked).json()
            assert during["model"] != "000000" or during == first
            time.sleep(0.2)
        second = client.post("/score", json=asked).json()
        assert second["model"] == "000001" and second["policies"] == ["own", "own"]
        assert second["scores"][0] != first["scores"][0]
        assert second["scores"][1] == first["scores"][1]
        assert health["waiting"] == 0 and len({*health["lineage"]}) == 2
        grown = recbole_cold.load(store / "current" / "model")
        expected = grown.score(rows_of("u7", asked["candidates"], "tv"))
        assert np.abs(second["scores"] - expected).max() < 1e-6
        answer = client.post("/vector", json={"item": "film", "features": {}})
        assert answer.status_code == 409


@pytest.mark.slow
def test_scoring_imports_neither_recbole_nor_torch(exported):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from cold_service import app, service\n"
        "found = service.Exported(Path(sys.argv[1]))\n"
        "print(found.score('u7', ['i3'], {'device': 'tv'}, {})[0][0])\n"
        "assert not {'recbole', 'recbole_cold', 'torch'} & {*sys.modules}\n"
    )
    words = [sys.executable, "-c", code, str(exported)]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(EXAMPLE)},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
