"""What dies while a sweep runs on a real Ray: a trial, its process, the driver; two machines."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from recbole_cold import report
from recbole_cold.sweep.folders import read_sweep
from recbole_cold.sweep.tables import settings_table

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

FRAGILE = """
import os, pathlib, signal
from recbole_cold.model._method import ColdStartRecommender


class Fragile(ColdStartRecommender):
    def begin_learn(self):
        what, mark = self.config["fragile"], pathlib.Path(os.environ["FRAGILE_MARK"])
        if what == "raise":
            raise RuntimeError("as was asked for")
        if what == "die" or (what == "die_once" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""
# Every trial pre-trains for itself, so that there is time to kill it.
GRID = ["--grid=learning_rate=[1e-3,2e-3,3e-3,4e-3,5e-3,6e-3]", "--pretrain_epochs=60"]

# Ray 2.60 wants a token where the user's home has one.
NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def flags(tiny_path):
    return [
        "--dataset=tiny", f"--data_path={tiny_path.parent}", "--threshold={rating: 4}",
        "--cold_threshold=30", "--warm_size=3", "--train_batch_size=64", "--embedding_size=4",
        "--show_progress=False", "--concurrent=2", "--cpus_per_trial=0.5",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def start(flags, own_caches):
    """``start(saved, word, ...)``: a running ``tune`` with an empty cache of backbones."""

    def go(saved: Path, *words: str, model="Base", resume=False, **environment: str):
        command = [sys.executable, str(ROOT / "run_recbole_cold.py"), "tune"]
        if resume:
            command += ["--resume", f"--saved_dir={saved}"]
        else:
            given = {word.partition("=")[0] for word in words}
            shared = [flag for flag in flags if flag.partition("=")[0] not in given]
            command += [f"--model={model}", *shared, f"--saved_dir={saved}", *words]
        kept = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        kept["RECBOLE_COLD_CACHE"] = f"{saved}-cache"
        return subprocess.Popen(
            command, env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return go


def ended(process, seconds=240):
    """Exit code, stdout and stderr of a process; its end is not waited for for ever."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"did not end:\n{out}\n{err}")
    return process.returncode, out, err


def the_sweep(saved: Path) -> Path:
    (folder,) = saved.iterdir()
    return folder


def first_trial(saved: Path, process, count=1) -> dict:
    """The document of a finished trial, as soon as there are ``count``."""
    for _ in range(2400):
        done = sorted(saved.glob("*/trials/*.json"), key=lambda path: path.stat().st_mtime)
        if len(done) >= count:
            return json.loads(done[-1].read_text())
        if process.poll() is not None:
            pytest.fail("".join(process.communicate()))
        time.sleep(0.1)
    pytest.fail("no trial ended")


def outcome(folder: Path) -> list:
    """All that two equal sweeps must have in common: trials, choice, table, final numbers."""
    document = read_sweep(folder)
    timed = {"seconds", "first_step_seconds"}
    trials = [{k: v for k, v in t.items() if k not in timed} for t in document["trials"]]
    final = [run["seeds"][0]["phases"] for run in report.load(folder / "final")["runs"]]
    return json.loads(
        json.dumps(
            [trials, document["settings"], document["best"], settings_table(document), final]
        )
    )


def of_session(word: str) -> list[int]:
    """Processes whose command line or environment names ``word``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if word.encode() in text and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


@pytest.fixture(scope="module")
def unbroken(start, tmp_path_factory):
    saved = tmp_path_factory.mktemp("unbroken") / "saved"
    code, out, err = ended(start(saved, *GRID))
    assert code == 0, out + err
    assert "ray" not in err.lower(), err
    return outcome(the_sweep(saved))


def test_trials_that_raise_and_processes_that_die(start, tmp_path):
    (tmp_path / "fragile.py").write_text(FRAGILE)
    (tmp_path / "Fragile.yaml").write_text("fragile: none\n")
    saved = tmp_path / "saved"
    process = start(
        saved, "--grid=fragile=[none,raise,die_once,die,calm]",
        model=str(tmp_path / "fragile.py"), FRAGILE_MARK=str(tmp_path / "mark"),
    )  # fmt: skip
    code, out, err = ended(process)
    assert code == 1, out + err
    assert "2 of 5 trials failed; the first ends with" in err
    assert "RuntimeError: as was asked for" in err
    document = read_sweep(the_sweep(saved))
    status = {trial["params"]["fragile"]: trial["status"] for trial in document["trials"]}
    assert status == {
        "none": "done", "raise": "failed", "die_once": "done", "die": "failed", "calm": "done"
    }  # fmt: skip
    errors = {trial["params"]["fragile"]: trial["error"] for trial in document["trials"]}
    assert "as was asked for" in errors["raise"]
    assert errors["die"]
    assert "2 of 5 trials failed" in (the_sweep(saved) / "table.txt").read_text()


def test_a_killed_worker_costs_nothing_but_time(start, unbroken, tmp_path):
    saved = tmp_path / "saved"
    process = start(saved, *GRID)
    os.kill(first_trial(saved, process)["trial"]["pid"], signal.SIGKILL)
    code, out, err = ended(process)
    assert code == 0, out + err
    assert "raylet" not in out + err  # our own lines, and nothing of Ray's
    assert outcome(the_sweep(saved)) == unbroken


def test_a_killed_driver_continues_and_ends_with_the_same_table(start, unbroken, tmp_path):
    saved = tmp_path / "saved"
    process = start(saved, *GRID)
    first_trial(saved, process, count=2)
    process.kill()
    process.communicate()
    for _ in range(900):  # Ray notices by itself, on a busy machine after a minute and more
        left = of_session(f"RECBOLE_COLD_CACHE={saved}-cache")
        if not left:
            break
        time.sleep(0.2)
    assert not left
    before = {path: path.read_bytes() for path in saved.glob("*/trials/*.json")}
    assert 2 <= len(before) < 6
    code, out, err = ended(start(saved, resume=True))
    assert code == 0, out + err
    assert f"{len(before)} of 6 trials are done" in out
    assert all(path.read_bytes() == raw for path, raw in before.items())
    assert outcome(the_sweep(saved)) == unbroken


def test_an_interrupt_says_how_to_continue(start, unbroken, tmp_path):
    saved = tmp_path / "saved"
    process = start(saved, *GRID)
    first_trial(saved, process)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert code == 130, out + err
    assert time.monotonic() - asked < 120
    assert len([*saved.glob("*/trials/*.json")]) < 6  # the others were not waited for
    assert f"recbole-cold tune --resume={the_sweep(saved)}" in err
    code, out, err = ended(start(saved, resume=True))
    assert code == 0, out + err
    assert outcome(the_sweep(saved)) == unbroken


def wait_for_nodes(address, count, environment):
    """Until the cluster at ``address`` has that many machines."""
    code = (
        "import sys, time; from recbole_cold.trials import ray_pool as pool\n"
        "pool._set_environment(sys.argv[1]); import ray\n"
        "with pool.session(sys.argv[1]):\n"
        "    while sum(node['Alive'] for node in ray.nodes()) < int(sys.argv[2]): time.sleep(0.2)"
    )
    for _ in range(20):
        done = subprocess.run(
            [sys.executable, "-c", code, address, str(count)],
            env=environment, capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        if done.returncode == 0:
            return
        time.sleep(1)
    pytest.fail(done.stderr)


@pytest.fixture
def cluster():
    """Two Ray nodes on this machine, one CPU each; their address. Both end with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Sockets lie in there, and their paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="rc-two-", dir="/tmp"))
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1",
           "--disable-usage-stats", "--object-store-memory=100000000"]  # fmt: skip
    kept = {**os.environ, "PYTHONPATH": str(ROOT), **NO_TOKEN}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": kept}
    address = f"127.0.0.1:{port}"
    head = ["--head", f"--port={port}", "--node-ip-address=127.0.0.1",
            "--include-dashboard=false", f"--temp-dir={folder}"]  # fmt: skip
    nodes = []
    try:
        for words in (head, [f"--address={address}", "--node-ip-address=127.0.0.1"]):
            nodes.append(subprocess.Popen([*ray, *words], start_new_session=True, **quiet))
            wait_for_nodes(address, len(nodes), kept)
        yield address
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
        for pid in of_session(str(folder)):  # children that outlived it
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_sweep_on_two_machines(start, unbroken, cluster, tmp_path):
    """As docs/sweeps.md does it. One CPU each and one per trial: both machines must serve."""
    saved = tmp_path / "saved"
    words = [*GRID, f"--ray_address={cluster}", "--cpus_per_trial=1"]
    process = start(saved, *words, **NO_TOKEN)
    code, out, err = ended(process)
    assert code == 0, out + err
    assert "2 at a time, each with 1 CPU" in out
    trials = [json.loads(path.read_text()) for path in saved.glob("*/trials/*.json")]
    assert len({trial["trial"]["node"] for trial in trials}) == 2
    found = outcome(the_sweep(saved))
    assert found == unbroken
