"""Every benchmark at a tiny size on ml-100k: contestants compute the same; no time is checked."""

import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recbole_cold.device import Sizes
from recbole_cold.registry import find_method, methods

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    """``benchmark(name)``: a module of the folder ``benchmarks``, which is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RecBole's Trainer uses names that torch deprecates
        yield lambda name: importlib.import_module(f"benchmarks.{name}")
    torch.set_num_threads(threads)


@pytest.fixture
def small(benchmark):
    return lambda **more: benchmark("_common").Options(batches=2, repeats=1, **more)


def test_pretraining(benchmark, small):
    """Ours is the bare loop bit for bit; RecBole's loop sums in another order."""
    module = benchmark("pretraining")
    table = module.measure(small(keys={"train_batch_size": 256}))
    assert set(table.agreement) == {module.BARE, module.OURS, module.RECBOLE}
    assert table.agreement[module.OURS] == 0.0
    assert max(table.agreement.values()) < 1e-5
    assert len(table.rows) == 3


def test_pretraining_would_notice_other_rows(benchmark, small, monkeypatch):
    module = benchmark("pretraining")
    original = module.shuffled
    monkeypatch.setattr(module, "shuffled", lambda method, n: original(method, n).flip(0))
    table = module.measure(small(keys={"train_batch_size": 256}))
    assert table.agreement[module.OURS] > 1e-5


def test_histories(benchmark, small):
    """Gathering moves nothing, and DIN is the bare loop; both to the last bit."""
    module = benchmark("histories")
    table = module.measure(small(keys={"train_batch_size": 64}))
    assert set(table.agreement.values()) == {0.0}
    assert [row[0] for row in table.rows] == [
        module.PLAIN, module.GATHERED, module.BARE, module.OURS, module.LSTM, module.META
    ]  # fmt: skip


@pytest.mark.slow
def test_histories_would_notice_other_rows(benchmark, small, monkeypatch):
    module = benchmark("histories")
    original = module.shuffled
    monkeypatch.setattr(module, "shuffled", lambda method, n: original(method, n).flip(0))
    table = module.measure(small(keys={"train_batch_size": 64}))
    assert table.agreement["DIN and its bare loop"] > 1e-6


def test_evaluation(benchmark, small):
    table = benchmark("evaluation").measure(small())
    assert table.agreement["scores"] < 1e-6
    assert len(table.rows) == 9


def test_inner_loop(benchmark, small):
    table = benchmark("inner_loop").measure(small(items=(3,)))
    assert table.agreement == {"gradients at 3 items": pytest.approx(0.0, abs=1e-6)}


def test_inner_loop_in_chunks(benchmark, small, monkeypatch):
    small_chunks = Sizes(scored=4096, differentiated=40)
    monkeypatch.setattr("recbole_cold.model.metae.sizes_of", lambda device: small_chunks)
    table = benchmark("inner_loop").measure(small(items=(5,)))
    assert table.agreement == {"gradients at 5 items": pytest.approx(0.0, abs=1e-6)}


def test_few_shot_tanp(benchmark, small):
    """The loop draws the noise that the batch draws."""
    table = benchmark("few_shot_tanp").measure(small(items=(3,)))
    assert len(table.agreement) == 3
    assert max(table.agreement.values()) < 1e-6


def test_few_shot_melu(benchmark, small):
    """Batched and looped agree, in both orders."""
    table = benchmark("few_shot_melu").measure(small(items=(3,)))
    assert len(table.rows) == len(table.claims) == 4
    assert max(table.agreement.values()) < 1e-5


def test_few_shot_tanp_would_notice_other_rows(benchmark, small, monkeypatch):
    module = benchmark("few_shot_tanp")
    original = module.Episode.split
    monkeypatch.setattr(module.Episode, "split", lambda e, n: original(e, n)[:1] * 3)
    assert max(module.measure(small(items=(3,))).agreement.values()) > 1e-4


@pytest.mark.slow
def test_emerg(benchmark, small, monkeypatch):
    """Batches and loops compute the same, the loop on few items."""
    module = benchmark("emerg")
    monkeypatch.setattr(module, "SAMPLE", 4)
    monkeypatch.setattr(module, "SIZES", (128,))
    table = module.measure(small(keys={"warm_epochs": 1}))
    assert len(table.agreement) == 4 and max(table.agreement.values()) < 1e-5
    assert [row[0].split(",")[0] for row in table.rows][-1] == "1 passes in meta-batches of 128"


def test_emerg_would_notice_another_graph(benchmark, small, monkeypatch):
    module = benchmark("emerg")
    method = module.prepared(small())
    item = int(method.old_ids[0])
    episode = next(iter(module.episodes_of(method, 1, 20, [0])))
    loop = module.ReleasedLoop(method)
    rows = module.unpadded(episode.support, episode.support_mask_tk)
    loop.make_graph(item, rows)
    right = loop.loss(item, rows)
    with torch.no_grad():
        loop.graphs[item] = loop.graphs[item].flip(0)
    assert abs(loop.loss(item, rows) - right) > 1e-7


def test_emerg_loops_second_order_is_ours(benchmark, small):
    """And it would notice the first order, whose gradients are others."""
    module = benchmark("emerg")
    item = 0
    same = module._same_gradients(module.prepared(small()), item)
    first = module._same_gradients(module.prepared(small(), emerg_order=1), item)
    assert same < 1e-12 and first > 1e-6


def test_loading(benchmark, small):
    table = benchmark("loading").measure(small())
    assert table.agreement == {"columns and tokens": 0.0}


def test_learning(benchmark, small):
    """Rows are counted as often as they are used."""
    table = benchmark("learning").measure(
        small(models=("Base", "CVAR"), keys={"train_batch_size": 256})
    )
    used = {row[0]: row[2] for row in table.rows}
    assert used == {"Base: pretrain": 512, "CVAR: learn": 5120}


def test_learning_measures_every_method(benchmark, small, monkeypatch):
    """Whatever the registry holds: who learns, and who pre-trains otherwise."""
    module = benchmark("learning")
    some = {name: find_method(name) for name in ("Base", "DropoutNet", "GMEA")}
    assert set(module.every_method()) == set(methods()) and module.every_method()[0] == "Base"
    monkeypatch.setattr(module, "methods", lambda: some)
    table = module.measure(small(keys={"train_batch_size": 256}))
    stages = ["Base: pretrain", "DropoutNet: pretrain", "GMEA: learn"]
    assert [row[0] for row in table.rows] == stages
    on_top = [int(row[-1].split(" + ")[1].replace(",", "")) for row in table.rows]
    assert [number > 0 for number in on_top] == [False, False, True]


@pytest.mark.slow
def test_against(benchmark, small, monkeypatch):
    """A checkout against itself: every stage that learns by steps, and the same scores."""
    module = benchmark("against")
    monkeypatch.setattr(module, "BATCHES", 3)
    monkeypatch.setattr(module, "UNTIMED", 2)
    table = module.measure(small(models=("MetaE",), against=str(ROOT)))
    [[name, *cells, apart]] = table.rows
    assert name == "MetaE" and all(cell > 0 for cell in cells) and len(cells) == 9
    assert table.agreement == {"MetaE": 0.0} and float(apart) == 0.0


def test_against_runs_the_code_of_the_other_checkout(benchmark, small, tmp_path):
    """A folder with another ``recbole_cold`` is what is measured as "before"."""
    package = tmp_path / "recbole_cold"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('of the other checkout')\n")
    with pytest.raises(RuntimeError, match="of the other checkout"):
        benchmark("against").measure(small(models=("Base",), against=str(tmp_path)))


def test_against_needs_a_checkout(benchmark, capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmark("run").arguments(["against"])
    assert stopped.value.code == 2 and "needs --against" in capsys.readouterr().err


def test_many_items(benchmark, small, monkeypatch):
    """Catalogues are what they are said to be, and each stage that learns by steps is measured."""
    data, module = benchmark("_catalogue"), benchmark("many_items")
    monkeypatch.setattr(data, "LEAST_OLD", 30)
    monkeypatch.setattr(data, "NEW", 20)
    options = small(models=("Base", "MWUF"), protocols=("strict",), small_catalogue=(400,))
    split = data.load(module.configuration(options, "Base", "strict"), data.columns_of(400)).split
    assert (len(split.old_ids), len(split.new_ids)) == (40, 20)
    assert len(split["train"]) == 40 * data.OLD_ROWS
    for name, value in (("SMALL", 100), ("BATCHES", 5), ("UNTIMED", 2)):
        monkeypatch.setattr(module, name, value)
    table = module.measure(options)
    learning = {row[0]: [cell != "" for cell in row[1:-1:3]] for row in table.rows}
    assert learning == {"Base, strict": [True, False, True], "MWUF, strict": [True, True, True]}
    assert all(row[-1] > 1 for row in table.rows)  # MiB
    assert len(table.claims) == 2 and len(table.notes) == 1


@pytest.mark.slow
def test_graph(benchmark, small):
    """The fast graph is the plain product's, in processes of their own."""
    table = benchmark("graph").measure(small(small_catalogue=(300, 400, 500)))
    assert table.agreement == {"neighbours of the plain product": 0.0}
    assert len(table.rows) == 5 and len(table.claims) == 2


@pytest.mark.slow
def test_predict(benchmark, small, monkeypatch):
    """The bare pass and predict score alike; memory is that of processes of their own."""
    module = benchmark("predict")
    monkeypatch.setattr(module, "ROWS", 5000)
    table = module.measure(small(keys={"train_batch_size": 4096}))
    assert [row[0] for row in table.rows] == [module.BARE, module.SCORE, module.FILES]
    assert table.agreement["scores"] < 1e-6
    assert len(table.claims) == 1 and "5,000 rows" in table.notes[0]


@pytest.mark.slow
def test_exported(benchmark, small, monkeypatch):
    module = benchmark("exported")
    monkeypatch.setattr(module, "CALLS", dict.fromkeys(module.SIZES, 2))
    table = module.measure(small(keys={"train_batch_size": 4096}))
    assert [row[0] for row in table.rows] == ["1", "100", "1,000"]
    assert len(table.agreement) == 6 and max(table.agreement.values()) < 1e-5


@pytest.mark.slow
def test_grow(benchmark, small, monkeypatch):
    """Old items keep their vectors; the new ones are there."""
    module = benchmark("grow")
    monkeypatch.setattr(module, "ITEMS", 20)
    table = module.measure(small(models=("ItemBias", "MetaE"), keys={"train_batch_size": 4096}))
    assert set(table.agreement.values()) == {0.0}
    assert [row[0] for row in table.rows] == ["ItemBias", "MetaE"]


@pytest.mark.slow
def test_whole_runs(benchmark, small):
    """The bare epoch is the unit; ml-100k has no released program to compare."""
    module = benchmark("whole_runs")
    table = module.measure(small(models=("Base",), protocols=("strict",)))
    assert list(table.agreement.values()) == [0.0]
    bare, run = table.rows
    assert bare[0] == module.BARE and bare[6] == 1.0 and run[0] == "Base, strict"
    assert run[1] > run[2] > 0 and run[6] == pytest.approx(run[1] / bare[1], rel=0.1)
    assert run[-1] == "" and not table.claims


def test_whole_runs_compare_ratios(benchmark):
    """On a machine half as fast everything doubles, and what is claimed stays."""
    module = benchmark("whole_runs")
    assert "mlp_hidden_size" in module.keys_for("MWUF").keys() - module.keys_for("EmerG").keys()
    ours, theirs = module.in_epochs("MWUF", 13.0, 6.5)
    assert (ours, theirs) == (2.0, pytest.approx(116 / 5.2))
    assert module.in_epochs("MWUF", 26.0, 13.0) == (ours, theirs)
    assert set(module.MODELS) < set(module.RELEASED) and set(module.TIMES_BELOW) < set(
        module.RELEASED
    )


@pytest.mark.slow
def test_startup(benchmark, small):
    """Each process reaches its end, the trained one its first step."""
    module = benchmark("startup")
    table = module.measure(small())
    assert [row[0] for row in table.rows] == list(module.PROGRAMS)
    least = {row[0]: row[1] for row in table.rows}
    assert min(least.values()) > 0 and table.rows[0][-1] == 1.0
    assert len(table.claims) == 2


@pytest.mark.slow
def test_startup_says_who_did_not_end(benchmark, tmp_path):
    """A run that is refused before its first step gives no figure."""
    module = benchmark("startup")
    with pytest.raises(RuntimeError, match="did not reach its end"):
        module.cpu_of(module.STEP, ["--model=MWFU"], str(tmp_path))


def test_command_line_writes_results_and_readme(benchmark, tmp_path, monkeypatch, capsys):
    module = benchmark("run")
    monkeypatch.setattr(module, "HERE", tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- figures -->\nearlier\n<!-- end of figures -->\nafter\n")
    results = tmp_path / "results.json"
    words = ["loading", "--repeats=1", f"--results={results}", "--write-readme"]
    assert module.main(words) == 0
    assert "ml-100k, for which nothing is claimed" in capsys.readouterr().out
    assert json.loads(results.read_text())["loading"]["agreement"] == {"columns and tokens": 0.0}
    text = readme.read_text()
    assert text.startswith("before\n<!-- figures -->\n### Loading ml-100k: 100,000 rows")
    assert text.endswith("<!-- end of figures -->\nafter\n") and "earlier" not in text


@pytest.mark.slow
def test_gpu_runs_here_part_by_part_and_within_its_time(benchmark, small):
    """The session that is prepared for a card, on the CPU: the two sides of it are one."""
    module, seen = benchmark("gpu"), []
    options = small(models=("MWUF",), keys={"train_batch_size": 4096}, full=True)
    parts = ("agreement", "resumed", "pretraining", "learning", "precision", "trials")
    found = module.measure(
        options, torch.device("cpu"), 8, parts, "the command",
        lambda found: seen.append([*found["parts"]]),
    )  # fmt: skip
    assert seen == [list(parts[:n]) for n in range(1, 7)]
    assert (found["failed"], found["not_run"]) == ([], [])
    agreement, resumed, pretraining, learning, coarser, trials = (
        found["parts"][name]["rows"] for name in parts
    )
    assert [row[0] for row in agreement + resumed + learning] == ["MWUF"] * 3
    assert agreement[0][3] == resumed[0][2] == "0.0e+00"
    sizes = [256, 1024]
    assert [row[1] for row in pretraining] == [sizes[0]] + 2 * sizes[:1] + 4 * sizes[1:]
    assert [row[0] for row in coarser] == ["MWUF"]
    assert [row[:2] for row in trials] == [["MWUF, learn", 1], ["MWUF, learn", 2]]
    assert min(row[2] for row in trials) > 0
    assert learning[0][1] > 0
    text = module.markdown(found)
    assert "no card: the CPU" in text and "MISSED" in text
    late = module.measure(options, torch.device("cpu"), 0, parts[:2], "the command")
    assert late["not_run"] == ["agreement: MWUF", "resumed: MWUF"]
    assert late["parts"]["agreement"]["rows"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "keys", "warm"),
    [
        ("Base", {"warm_epochs": 10}, 3),
        ("MWUF", {}, 0),
        ("EmerG", {"emerg_epochs": 1, "emerg_meta_batch_size": 24, "emerg_support_cap": 5,
                   "emerg_query_cap": 5}, 3),
    ],
)  # fmt: skip
def test_gpu_stops_every_stage_once_and_goes_on(benchmark, small, name, keys, warm):
    """MWUF takes two steps at a time, so that it never has done seven."""
    module = benchmark("gpu")
    options = small(models=(name,), keys={"train_batch_size": 4096, **keys}, full=True)
    budget = module.Budget(8)
    [row] = module.resumed(budget, options, torch.device("cpu"))["rows"]
    assert budget.failed == []
    stages = ["pretrain", *(["learn"] if name != "Base" else []), "warm_a", "warm_b", "warm_c"]
    assert row[1].split(", ") == stages[: len(stages) - 3 + warm]
    assert row[2] == "0.0e+00"


@pytest.mark.slow
def test_gpu_compares_replayed_steps_with_steps_one_by_one(benchmark, small):
    """On the CPU nothing is replayed; what is told of it has its rows."""
    module = benchmark("gpu")
    options = small(models=("MetaE",), keys={"train_batch_size": 4096}, full=True)
    budget = module.Budget(8)
    found = module.captured(budget, options, torch.device("cpu"))
    budget.apart.close()
    assert budget.failed == []
    assert found["rows"] == [["MetaE", "pretrain, learn", 0, "0.0e+00"]]
    assert found["claims"] == [("methods with another score", 0, 0, "<=")]


@pytest.fixture
def here(benchmark, monkeypatch):
    """What is for a process of its own runs in this one."""
    run = lambda self, work, *given, seconds: work(*given)  # noqa: E731
    monkeypatch.setattr(benchmark("gpu").Apart, "__call__", run)


def test_gpu_claims_that_something_was_replayed_on_a_card(benchmark, small, monkeypatch):
    """Equal scores say nothing if no step was."""
    module, card = benchmark("gpu"), torch.device("cuda", 0)
    replays = iter([5, 0, 2])
    row = lambda self, work, options, name, *_, seconds: [name, "", next(replays), "0.0e+00"]  # noqa: E731
    monkeypatch.setattr(module.Apart, "__call__", row)
    found = module.captured(module.Budget(8), small(), card)
    assert found["claims"][1:] == [("fewest replays of a method", 0, 1, ">=")]


def test_gpu_counts_replays(benchmark, monkeypatch):
    module = benchmark("gpu")
    monkeypatch.setattr(module.CudaRecorder, "replay", lambda self: "replayed")
    before = module.CudaRecorder.replay
    with module.replays_counted() as replays:
        module.CudaRecorder.replay(None)
        module.CudaRecorder.replay(None)
    assert len(replays) == 2 and module.CudaRecorder.replay is before


def test_gpu_has_what_the_device_multiplies_in(benchmark):
    """A CPU refuses TF32."""
    module = benchmark("gpu")
    assert module.coarser(torch.device("cuda", 0)) == ("tf32", "bf16")
    assert list(module.forms(torch.device("cpu"))) == [
        "float32", "float32, replayed", "bf16", "bf16, replayed"
    ]  # fmt: skip


def test_gpu_begins_nothing_that_does_not_fit(benchmark):
    module = benchmark("gpu")

    def work(item):
        if item == "late":
            raise module.Late
        return [item]

    budget = module.Budget(1)
    assert list(budget.each("part", ["a", "late", "b"], 1.0, work, needed=30.0)) == [["a"], ["b"]]
    assert list(budget.each("part", ["c"], 1.0, work, needed=61.0)) == []
    assert budget.not_run == ["part: late: ended unfinished", "part: c"] and budget.failed == []


@pytest.mark.slow
def test_gpu_goes_on_in_a_new_process_where_one_is_spoilt(benchmark):
    """One that refused to record may refuse everything; one may have ended, or not come back."""
    module = benchmark("gpu")
    apart = module.Apart()
    first = apart(os.getpid, seconds=60)
    assert first != os.getpid() and apart(os.getpid, seconds=60) == first
    with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
        apart(int, "x", seconds=60)
    second = apart(os.getpid, seconds=60)
    assert second != first
    with pytest.raises(RuntimeError, match="ended with code 3"):
        apart(os._exit, 3, seconds=60)
    with pytest.raises(module.Late):
        apart(time.sleep, 60, seconds=0.1)
    assert apart._process is None


def test_gpu_claims_count_the_quicker_form_of_float32(benchmark, small, monkeypatch, here):
    module = benchmark("gpu")
    took = iter([8.0, 4.0, 2.0, 4.0, 2.0])  # one CPU thread; two forms, the largest batch first
    busy = iter([0.3, 0.8, 0.4, 0.7])
    monkeypatch.setattr(module, "coarser", lambda device: ())
    monkeypatch.setattr(module.common, "method_of", lambda options, **keys: None)
    monkeypatch.setattr(module, "step_time", lambda *_: next(took))
    monkeypatch.setattr(module, "busy", lambda *_: next(busy))
    found = module.pretraining(module.Budget(8), small(), torch.device("cpu"))
    assert [claim[1] for claim in found["claims"]] == [16.0, 0.8]
    assert [row[0] for row in found["rows"]] == [
        "one CPU thread", *["card, float32", "card, float32, replayed"] * 2
    ]  # fmt: skip


@pytest.mark.slow
def test_gpu_says_why_a_trial_ended(benchmark, small):
    module = benchmark("gpu")
    with pytest.raises(RuntimeError, match=r"a trial ended: .*no_such_key"):
        module.together("Base", "pretrain", 2, small(), 0.1, {"no_such_key": 1}, 60.0)


def test_gpu_ends_a_trial_that_is_late_and_says_why_one_ended_later(
    benchmark, small, monkeypatch, tmp_path
):
    module = benchmark("gpu")

    def together(lines, **options):
        monkeypatch.setattr(module, "TRIAL", [sys.executable, "-S", "-c", "\n".join(lines)])
        return module.together("Base", "pretrain", 2, small(**options), 0.1, {}, limit)

    limit, ready = 20.0, "import sys; print('ready', flush=True)"
    with pytest.raises(RuntimeError, match="a trial ended: the card fell off"):
        together([ready, "sys.exit('the card fell off')"])
    folder = "import json, os; path = json.loads(sys.argv[1])['options']['data_path']"
    monkeypatch.chdir(tmp_path)
    told = [ready, folder, "input()", f"print(2.5 if path == {str(tmp_path / 'x')!r} else path)"]
    assert together(told, data_path="x") == 5.0
    limit = 0.2
    with pytest.raises(module.Late):
        together([ready, "input()", "input()"])


def test_gpu_has_no_ratio_where_the_single_trial_failed(benchmark, small, monkeypatch):
    module = benchmark("gpu")

    def together(name, stage, number, *_):
        if (name, number) == ("Base", 1):
            raise MemoryError
        return 3.0 * number

    monkeypatch.setattr(module, "together", together)
    budget = module.Budget(8)
    rows = module.trials(budget, small(), torch.device("cpu"))["rows"]
    assert len(budget.failed) == 1
    assert [str(row[3]) for row in rows] == ["nan", "1.0", "2.0"]


def test_gpu_goes_on_where_the_processor_has_no_figure(benchmark, small, monkeypatch, here):
    module = benchmark("gpu")

    def method_of(options, device, **keys):
        if len(failed) == 0:
            failed.append(device)
            raise MemoryError
        return SimpleNamespace(config=keys)

    failed: list[str] = []
    monkeypatch.setattr(module.common, "method_of", method_of)
    monkeypatch.setattr(module, "step_time", lambda *_: 2.0)
    monkeypatch.setattr(module, "busy", lambda *_: 0.7)
    budget = module.Budget(8)
    found = module.pretraining(budget, small(), torch.device("cpu"))
    assert [line.split(": Mem")[0] for line in budget.failed] == [
        "pretraining, one CPU thread: 256"
    ]
    forms = [f"card, {form}" for form in module.forms(torch.device("cpu"))]
    assert [row[:2] for row in found["rows"]] == [
        *([form, 256] for form in forms[:2]), *([form, 1024] for form in forms)
    ]  # fmt: skip
    assert "nan, wanted >= 20: MISSED" in module.markdown(
        {"parts": {"pretraining": found}, "not_run": [], "failed": [], "device": "", "created": "",
         "seconds": 1, "command": "", "machine": module.common.machine()}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ([], True),
        (["--parts=taobao,trials,precision,learning,pretraining,captured,resumed,agreement"], True),
        (["--parts=agreement"], False),
        (["--models=Base"], False),
        (["--quick"], False),
        (["--results=other.json"], False),
    ],
)
def test_gpu_writes_of_a_whole_session_only(
    benchmark, tmp_path, monkeypatch, capsys, words, written
):
    """Part of one is printed, and kept where --results says; of a whole one there is a reminder."""
    module = benchmark("gpu")
    earlier = "\nearlier\n".join(module.MARKERS)
    (tmp_path / "README.md").write_text(earlier)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def measure(options, device, minutes, parts, command, told):
        found = {"parts": {}, "not_run": [], "failed": [], "device": str(device), "created": "",
                 "seconds": 1, "command": command, "machine": module.common.machine()}  # fmt: skip
        told(found)
        return found

    monkeypatch.setattr(module, "measure", measure)
    assert module.main(words) == 0
    printed = capsys.readouterr().out
    assert ((tmp_path / "README.md").read_text() != earlier) == written
    assert (tmp_path / "gpu.json").exists() == written
    assert (tmp_path / "other.json").exists() == (words == ["--results=other.json"])
    for path, sentences in module.UNTRUE.items():
        assert all((f"{path}: {each!r}" in printed) == written for each in sentences)


def test_gpu_reminds_of_what_is_said(benchmark):
    """Before the first session these sentences are there; with its figures they are not."""
    module = benchmark("gpu")
    measured = (ROOT / "benchmarks" / "gpu.json").exists()
    for path, sentences in module.UNTRUE.items():
        told = " ".join((ROOT / path).read_text(encoding="utf-8").replace("# ", "").split())
        for sentence in sentences:
            assert (sentence in told) != measured, (path, sentence)


def test_gpu_says_in_the_readme_what_was_run(benchmark, tmp_path):
    """Nothing, until its figures are there."""
    module = benchmark("gpu")
    begin, end = module.MARKERS
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    told = text.split(begin)[1].split(end)[0].strip()
    assert (told == module.NOT_RUN) != (ROOT / "benchmarks" / "gpu.json").exists()
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{begin}\nearlier\n{end}\nafter\n")
    module.write_readme(readme, "new")
    assert readme.read_text() == f"before\n{begin}\nnew\n{end}\nafter\n"


@pytest.mark.slow
def test_gpu_from_its_command_line(benchmark, capsys):
    module = benchmark("gpu")
    words = ["--device=cpu", "--quick", "--models=Base", "--parts=resumed,taobao"]
    assert module.main(words) == 0
    assert "| scale 0.0005 |" in capsys.readouterr().out


def test_unknown_names_are_refused(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("run").main(["loding"])
    assert "loding" in capsys.readouterr().err
    assert str(ROOT) in sys.path


@pytest.mark.slow
def test_sweep(benchmark, small):
    """Trials on Ray give the numbers of trials in this process."""
    table = benchmark("sweep").measure(small(keys={"train_batch_size": 256}))
    assert table.agreement == {"AUC of trials in a process and on Ray": 0.0}
    assert len(table.rows) == 7


def test_products_of_bfloat16_are_those_of_float32_rounded(benchmark):
    """As on a card: a sum over many factors loses nothing on its way."""
    module = benchmark("precision")
    x, y = torch.rand(8, 4096).bfloat16(), torch.rand(4096, 8).bfloat16()
    with module.Rounded() as products:
        found, other = x @ y, x.float() @ y.float()
    assert products.count == 1 and other.dtype == torch.float32
    assert torch.equal(found, other.bfloat16())
    assert module.row("Base", {"cold": [0.5, 0.6]}, {"cold": [0.51, 0.6]}) == (
        "| Base | +0.00500 ± 0.00707 (0.5500) |"
    )
