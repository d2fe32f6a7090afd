"""Stopped anywhere, a run continues and ends with the numbers of an unbroken one, bit for bit."""

import dataclasses
import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from recbole_cold import report, store
from recbole_cold.cli.main import main
from recbole_cold.comparison.requests import CompareRequest
from recbole_cold.errors import UserError
from recbole_cold.experiment import experiment
from recbole_cold.experiment.fingerprint import versions
from recbole_cold.experiment.folders import only_one, read_request
from recbole_cold.experiment.requests import Request
from recbole_cold.store import write_bytes
from recbole_cold.sweep.requests import SweepRequest
from recbole_cold.training import trainer

ROOT = Path(__file__).resolve().parents[2]
MODELS = "--model=Base,DropoutNet,CVAR[cvar_iters=2]"


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch, tmp_path):
    """No backbone is there already: a run can be stopped while it pre-trains."""
    monkeypatch.setenv("RECBOLE_COLD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Curves take longer to draw than these runs take; test_report.py draws them."""
    monkeypatch.setattr(report, "plot_curves", lambda _, path, bands: write_bytes(path, b"curves"))


@pytest.fixture
def newest(tmp_path):
    def find():
        return max((tmp_path / "saved").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)

    return find


@pytest.fixture
def unbroken(tiny_flags, numbers, tmp_path, capsys):
    """The numbers of a run that nobody stops."""

    def go(*words):
        flags = [flag for flag in tiny_flags if not flag.startswith("--saved_dir")]
        apart = [f"--saved_dir={tmp_path / 'unbroken'}", f"--cache_dir={tmp_path / 'apart'}"]
        assert main([*flags, *words, *apart]) == 0
        capsys.readouterr()
        (folder,) = (tmp_path / "unbroken").iterdir()
        return numbers(report.load(folder))

    return go


@pytest.fixture
def stopped(tiny_flags, newest, monkeypatch, capsys):
    """``stopped(n, ...)``: the folder of a run that was asked to stop at its n-th batch."""

    def go(n, *words, by=signal.SIGINT):
        with monkeypatch.context() as patch:
            ask_at(patch, n, by)
            assert main([*tiny_flags, *words]) == 130
        return newest()

    return go


def ask_at(monkeypatch, n, number=signal.SIGINT):
    """The process gets a signal when the trainer has done ``n`` batches."""
    calls, checkpoint = iter(range(1_000_000)), trainer.Trainer._checkpoint

    def counted(self, *args):
        if next(calls) == n:
            os.kill(os.getpid(), number)
        checkpoint(self, *args)

    monkeypatch.setattr(trainer.Trainer, "_checkpoint", counted)


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 8
    path.write_bytes(raw)


# ------------------------------------------------------------------------- asked to stop
class TestAsked:
    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_says_what_to_type_and_that_continues(self, stopped, unbroken, numbers, capsys, number):
        wanted = unbroken(MODELS, "--seeds=2")
        folder = stopped(40, MODELS, "--seeds=2", by=number)
        err = capsys.readouterr().err
        last = err.splitlines()[-1]
        assert last == f"interrupted; to continue: recbole-cold --resume={folder}"
        assert "Traceback" not in err
        assert list(folder.glob("*/state/seed-*.pt"))
        assert not (folder / "table.txt").exists()
        assert main([f"--resume={folder}"]) == 0
        out, err = capsys.readouterr()
        assert "continued from its resume point" in err
        assert "CVAR" in out
        assert numbers(report.load(folder)) == wanted
        assert not list(folder.glob("*/state"))

    @pytest.mark.slow
    def test_stopped_again_and_again(self, tiny_flags, unbroken, numbers, newest, monkeypatch):
        """Every 23 batches, wherever that is: pre-training, learning, warming, either seed."""
        wanted = unbroken("--model=DropoutNet,MWUF", "--seeds=2")
        words, stops = [*tiny_flags, "--model=DropoutNet,MWUF", "--seeds=2"], 0
        while True:
            with monkeypatch.context() as patch:
                ask_at(patch, 23)
                code = main(words)
            if code == 0:
                break
            assert code == 130
            stops += 1
            words = [f"--resume={newest()}"]
        assert stops >= 3
        assert numbers(report.load(newest())) == wanted

    def test_a_second_ctrl_c_stops_at_once(self, tiny_flags, monkeypatch, capsys, newest):
        def twice(self, *args):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("still running")

        monkeypatch.setattr(trainer.Trainer, "_checkpoint", twice)
        assert main([*tiny_flags, "--model=Base"]) == 130
        assert f"--resume={newest()}" in capsys.readouterr().err.splitlines()[-1]

    def test_a_path_with_spaces_can_be_pasted(self, tiny_flags, monkeypatch, capsys, tmp_path):
        ask_at(monkeypatch, 3)
        flags = [flag for flag in tiny_flags if not flag.startswith("--saved_dir")]
        assert main([*flags, "--model=Base", f"--saved_dir={tmp_path / 'my runs'}"]) == 130
        last = capsys.readouterr().err.splitlines()[-1]
        assert re.search(r"--resume='.*/my runs/[^']+'$", last)


# ------------------------------------------------------------------------- killed
def command(*words):
    return [sys.executable, str(ROOT / "run_recbole_cold.py"), *words]


class TestKilled:
    @pytest.mark.slow
    def test_in_a_child(self, tiny_flags, unbroken, numbers, newest):
        """SIGKILL between two resume points: what was done since is done again."""
        wanted = unbroken(MODELS, "--seeds=2")
        child = os.fork()
        if child == 0:
            calls = iter(range(1_000_000))
            save = trainer.save_state

            def counted(path, state):
                save(path, state)
                if next(calls) == 30:
                    os.kill(os.getpid(), signal.SIGKILL)

            trainer.save_state = counted
            with open(os.devnull, "w") as nothing:
                sys.stdout = sys.stderr = nothing
                main([*tiny_flags, MODELS, "--seeds=2", "--checkpoint_seconds=0"])
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        folder = newest()
        assert not (folder / "table.txt").exists()
        assert main([f"--resume={folder}"]) == 0
        assert numbers(report.load(folder)) == wanted

    def test_while_a_state_file_is_being_written(self, tiny_flags, unbroken, numbers, newest):
        wanted = unbroken("--model=CVAR")
        child = os.fork()
        if child == 0:
            calls, replace = iter(range(1_000_000)), os.replace

            def killed(source, target):
                if str(target).endswith(".pt") and next(calls) == 20:
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(source, target)

            store.os.replace = killed
            with open(os.devnull, "w") as nothing:
                sys.stdout = sys.stderr = nothing
                main([*tiny_flags, "--model=CVAR", "--checkpoint_seconds=0"])
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        folder = newest()
        assert main([f"--resume={folder}"]) == 0
        assert numbers(report.load(folder)) == wanted
        assert not [p for p in folder.rglob(".*") if p.is_file()]  # nothing half-written is left

    @pytest.mark.slow
    def test_at_ten_random_moments(self, tiny_flags, tmp_path, numbers):
        """kill -9, resume, kill -9, ... over several methods and two seeds: five times with an
        empty cache, five times with one that has all."""
        models = "--model=Base,DropoutNet,MetaE,MWUF,CVAR"
        long = ["--seeds=2", "--pretrain_epochs=20", "--warm_epochs=20", "--checkpoint_seconds=0.2"]
        flags = [f for f in tiny_flags if not f.startswith(("--saved_dir", "--train_batch"))]
        flags += [models, *long, "--train_batch_size=32"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}

        def start(*words):
            """A process that has begun to train; importing and loading is not what is tested."""
            logs = {path: path.stat().st_size for path in tmp_path.glob("*/*/log.txt")}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(command(*words), env=env, **quiet)
            while process.poll() is None:
                now = {path: path.stat().st_size for path in tmp_path.glob("*/*/log.txt")}
                if any(size > logs.get(path, 0) for path, size in now.items()):
                    break
                time.sleep(0.02)
            return process

        kept = [f"--cache_dir={tmp_path / 'kept'}", f"--saved_dir={tmp_path / 'unbroken'}"]
        whole = start(*flags, *kept)
        began = time.monotonic()
        assert whole.wait() == 0
        span = time.monotonic() - began
        wanted = numbers(report.load(next((tmp_path / "unbroken").iterdir())))
        for number, caches in enumerate((tmp_path / "fresh", tmp_path / "kept")):
            saved, draw = tmp_path / f"saved-{number}", random.Random(2020 + number)
            anew = [*flags, f"--cache_dir={caches}", f"--saved_dir={saved}"]
            words, kills, ends = anew, 0, 0
            while kills < 5 or words is not anew:
                process = start(*words)
                if kills < 5:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(draw.uniform(0.0, span / 4))
                    process.kill()
                code = process.wait()
                folder = max(saved.iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
                if code == -signal.SIGKILL:
                    kills += 1
                    words = [f"--resume={folder}"]
                    continue
                assert code == 0
                assert numbers(report.load(folder)) == wanted
                assert not list(folder.glob("*/state"))
                words, ends = anew, ends + 1
            assert ends


# ------------------------------------------------------------------------- damaged files
class TestDamaged:
    @pytest.mark.parametrize("damage", ["bit", "short", "empty"])
    def test_state(self, stopped, unbroken, numbers, capsys, damage):
        wanted = unbroken("--model=Base,CVAR")
        folder = stopped(60, "--model=Base,CVAR")
        (path,) = folder.glob("*/state/*.pt")
        if damage == "bit":
            flip(path)
        else:
            path.write_bytes(path.read_bytes()[: 300 if damage == "short" else 0])
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 0
        err = capsys.readouterr().err
        assert str(path) in err
        assert "this seed starts again from the beginning" in err
        assert numbers(report.load(folder)) == wanted

    @pytest.mark.parametrize("content", ["", "{", '{"schema": 1}', "[]", '{"schema": 9}'])
    def test_results(self, stopped, capsys, content):
        folder = stopped(60, "--model=Base,CVAR")
        (folder / "results.json").write_text(content)
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: '")
        assert "results.json" in line

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"no": 1}', '{"models": 5}', "\xff"])
    def test_request(self, stopped, capsys, content):
        folder = stopped(5, "--model=Base")
        (folder / "request.json").write_text(content, encoding="latin-1")
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.fullmatch(
            r"error: '.*request\.json' is damaged \(.*\); start the run again", line
        )

    @pytest.mark.parametrize("verb", ["run", "compare", "tune"])
    def test_every_field_of_a_request_is_of_its_kind(self, tmp_path, verb):
        """Right JSON of wrong kinds: whatever stands in a field, it is a request or a sentence."""
        kind = {"run": Request, "compare": CompareRequest, "tune": SweepRequest}[verb]
        name = "model" if verb == "tune" else "models"
        good = {name: "Base", "overrides": {}, "verb": verb}
        good |= {"backbones": "FM"} if verb == "compare" else {}
        names = [field.name for field in dataclasses.fields(kind) if field.name != "place"]
        if verb == "run":
            good.pop("verb")
        for name in names:
            refused = 0
            for value in (5, "x", True, None, [1], [None], {"a": 1}, 1.5):
                text = json.dumps({**good, name: value})
                (tmp_path / "request.json").write_text(text)
                try:
                    read_request(tmp_path, verb, kind)
                except UserError as error:
                    refused += "is damaged" in str(error)
            assert refused >= 3, name

    def test_split_and_configuration_are_written_again(self, stopped, unbroken, numbers, capsys):
        wanted = unbroken("--model=Base,CVAR")
        folder = stopped(30, "--model=Base,CVAR")
        (folder / "split.json").write_text("{")
        (folder / "Base" / "config.yaml").unlink()
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 0
        told = f"in '{folder}', and written again: split.json, Base/config.yaml"
        assert told in capsys.readouterr().err
        assert numbers(report.load(folder)) == wanted
        assert json.loads((folder / "split.json").read_text())["rule"] == "frequency"
        assert (folder / "Base" / "config.yaml").exists()


# ------------------------------------------------------------------------- what it began with
class TestBegan:
    """No row mixes two codes, versions, settings or data, whatever else is lost."""

    def test_code_of_a_plug_in(self, stopped, unbroken, numbers, tmp_path, capsys):
        path = tmp_path / "plug" / "mine.py"
        path.parent.mkdir()
        text = "from recbole_cold.model.base import Base\nclass Mine(Base):\n    steps = 1\n"
        path.write_text(text)
        words = [f"--model=Base,{path}", "--seeds=2", "--matched_row=False"]
        wanted = unbroken(*words)
        folder = stopped(34, *words)
        assert report.load(folder)["runs"][1]["seeds"], "stopped before it had a seed"

        def edited(text):
            path.write_text(text)
            for name in [name for name in sys.modules if name.startswith("recbole_cold_file_mine")]:
                del sys.modules[name]  # a new process reads the file anew

        edited(text.replace("1", "2"))
        results = (folder / "results.json").read_bytes()
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"error: the code of mine changed since the run in '{folder}' began: rows would mix "
            "both; put the code back, or start a new run"
        )
        assert (folder / "results.json").read_bytes() == results
        edited(text + "# a comment is no code\n")
        assert main([f"--resume={folder}"]) == 0
        assert numbers(report.load(folder)) == wanted

    def test_versions_settings_and_data_with_their_files_lost(
        self, stopped, tmp_path, monkeypatch, capsys
    ):
        path = tmp_path / "a.yaml"
        path.write_text("warm_epochs: 2\n")
        folder = stopped(5, "--model=Base", f"--config_files={path}")
        (folder / "split.json").unlink()
        (folder / "Base" / "config.yaml").unlink()

        def refusal():
            capsys.readouterr()
            assert main([f"--resume={folder}"]) == 2
            assert not (folder / "split.json").exists()
            return capsys.readouterr().err.splitlines()[-1]

        path.write_text("warm_epochs: 3\n")
        assert refusal().startswith("error: warm_epochs changed since the run in")
        path.write_text("warm_epochs: 2\n")
        with monkeypatch.context() as patch:
            newer = {**versions(), "torch": "99.0", "python": "4.0"}
            patch.setattr(experiment, "versions", lambda: newer)
            told = refusal()
            assert f"(torch {versions()['torch']} to 99.0)" in told
            assert "install torch " in told
        began = json.loads((folder / "request.json").read_text())
        began["began"]["data"] = "other"
        whole = (folder / "request.json").read_text()
        (folder / "request.json").write_text(json.dumps(began))
        assert refusal().startswith(f"error: the data of the run in '{folder}' changed")
        del began["began"]
        (folder / "request.json").write_text(json.dumps(began))
        assert "nothing tells which code and data the run in" in refusal()
        (folder / "request.json").write_text(whole)
        assert main([f"--resume={folder}"]) == 0

    @pytest.mark.slow
    def test_results_and_states_of_other_code(self, stopped, unbroken, numbers, capsys):
        """Files of another run among those of this one."""
        wanted = unbroken("--model=Base,CVAR")
        folder = stopped(20, "--model=Base,CVAR")
        (path,) = folder.glob("CVAR/state/*.pt")
        state = store.load_state(path)
        store.save_state(path, {**state, "origin": "other code"})
        document = json.loads((folder / "results.json").read_text())
        whole = json.dumps(document)
        document["runs"][0]["code"] = "other"
        (folder / "results.json").write_text(json.dumps(document))
        assert main([f"--resume={folder}"]) == 2
        assert "the code of Base changed since" in capsys.readouterr().err
        (folder / "results.json").write_text(whole)
        assert main([f"--resume={folder}"]) == 0
        err = capsys.readouterr().err
        assert f"'{path}' was written by other code or other versions of libraries" in err
        assert numbers(report.load(folder)) == wanted


# ------------------------------------------------------------------------- other obstacles
class TestObstacles:
    @pytest.mark.slow
    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_full_disk_then_room(
        self, tiny_flags, unbroken, numbers, newest, monkeypatch, capsys, call
    ):
        wanted = unbroken(MODELS)
        real, writes = getattr(os, call), iter(range(1_000_000))

        def full(*args):
            if next(writes) > 40:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(store.os, call, full)
            assert main([*tiny_flags, MODELS, "--checkpoint_seconds=0"]) == 2
        folder = newest()
        err = capsys.readouterr().err
        assert "Traceback" not in err
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert "cannot write" in line
        assert "No space left on device" in line
        assert line.endswith(f"to continue then: recbole-cold --resume={folder}")
        assert main([f"--resume={folder}"]) == 0
        assert numbers(report.load(folder)) == wanted

    def test_a_pruned_cache_takes_nothing_from_a_run(
        self, stopped, unbroken, numbers, tmp_path, capsys
    ):
        """What its resume points leave out lies in its own folder, until it is finished."""
        words = ["--model=CVAR", "--matched_row=False"]
        wanted = unbroken(*words)
        folder = stopped(20, *words)
        (backbone,) = folder.glob("CVAR/state/*.backbone")
        (point,) = folder.glob("CVAR/state/*.pt")
        state, least = store.load_state(point), point.stat().st_size / 2
        assert not [name for name in state["method"] if name.startswith("backbone.")]
        assert main(["cache", f"--cache_dir={tmp_path / 'cache'}", "--prune", "--keep=0kB"]) == 0
        assert not list((tmp_path / "cache" / "backbones").iterdir()) and backbone.exists()
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 0
        assert "continued from its resume point" in capsys.readouterr().err
        document = report.load(folder)
        assert numbers(document) == wanted
        assert not list(folder.glob("*/state"))
        assert not list((tmp_path / "cache" / "backbones").iterdir())  # it was not trained again
        told = document["runs"][0]["seeds"][0]["resume_points"]
        assert told["count"] >= 9 and told["bytes"] > 9 * least
        size = f"{told['bytes'] / 1e3:,.1f} kB"
        assert f"; {told['count']} resume points, {size}\n" in (folder / "log.txt").read_text()

    def test_a_full_disk_at_the_very_end(self, tiny_flags, newest, monkeypatch, capsys):
        real = os.replace

        def full(source, target):
            if str(target).endswith((".png", ".md", "table.txt")):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(store.os, "replace", full)
            assert main([*tiny_flags, "--model=Base"]) == 2
        assert "to continue then: " in capsys.readouterr().err
        assert main([f"--resume={newest()}"]) == 0
        assert (newest() / "table.txt").exists()

    def test_plug_in_that_is_gone(self, stopped, tmp_path, capsys):
        path = tmp_path / "mine.py"
        path.write_text("from recbole_cold.model.base import Base\nclass Mine(Base):\n    pass\n")
        folder = stopped(5, f"--model={path}")
        path.unlink()
        for name in [name for name in sys.modules if name.startswith("recbole_cold_file_mine")]:
            del sys.modules[name]  # a new process does not know it
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 2
        named, line = capsys.readouterr().err.splitlines()
        assert named.endswith(f"names code, which is run: {path}")
        assert line.startswith(f"error: model file {path} does not exist")

    def test_data_that_changed(self, tiny_path, tiny_flags, tmp_path, monkeypatch, capsys, newest):
        shutil.copytree(tiny_path, tmp_path / "data" / "tiny")
        flags = [flag for flag in tiny_flags if not flag.startswith("--data_path")]
        flags += [f"--data_path={tmp_path / 'data'}", "--model=Base"]
        with monkeypatch.context() as patch:
            ask_at(patch, 5)
            assert main(flags) == 130
        file = tmp_path / "data" / "tiny" / "tiny.inter"
        before = file.read_text()
        lines = before.splitlines()
        file.write_text("\n".join([*lines[:-1], lines[1]]) + "\n")
        capsys.readouterr()
        assert main([f"--resume={newest()}"]) == 2
        assert "the data of the run in" in capsys.readouterr().err
        file.write_text(before)
        assert main([f"--resume={newest()}"]) == 0

    def test_settings_that_changed(self, stopped, tmp_path, capsys):
        path = tmp_path / "a.yaml"
        path.write_text("warm_epochs: 2\nlearning_rate: 0.01\n")
        folder = stopped(5, "--model=Base", f"--config_files={path}")
        path.write_text("warm_epochs: 3\nlearning_rate: 0.01\nshow_progress: False\n")
        capsys.readouterr()
        assert main([f"--resume={folder}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: warm_epochs changed since the run in '{folder}' began")

    def test_another_process_is_at_work(self, stopped, capsys):
        folder = stopped(5, "--model=Base")
        capsys.readouterr()
        with only_one(folder):
            assert main([f"--resume={folder}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: another process is at work on the run")
        assert main([f"--resume={folder}"]) == 0


# ------------------------------------------------------------------------- which run
class TestWhich:
    def test_without_a_folder_the_newest_unfinished(self, tiny_flags, stopped, capsys, tmp_path):
        first = stopped(5, "--model=Base")
        second = stopped(5, "--model=Base")
        os.utime(first / "request.json", (1_000_000, 1_000_000))
        assert main([*tiny_flags, "--model=Base"]) == 0  # newer than both, but finished
        saved = f"--saved_dir={tmp_path / 'saved'}"
        assert main(["--resume", saved]) == 0
        assert (second / "table.txt").exists()
        assert not (first / "table.txt").exists()
        assert main(["--resume", saved]) == 0
        assert (first / "table.txt").exists()
        capsys.readouterr()
        assert main(["--resume", saved]) == 2
        assert "there is no unfinished run in" in capsys.readouterr().err

    def test_a_finished_run_prints_its_table_again(self, tiny_flags, newest, capsys, monkeypatch):
        assert main([*tiny_flags, "--model=Base,MWUF"]) == 0
        table = capsys.readouterr().out
        results = (newest() / "results.json").read_bytes()
        monkeypatch.setattr(trainer.Trainer, "_use", None)  # nothing is trained
        monkeypatch.setattr(store.os, "replace", None)  # and nothing written
        assert main([f"--resume={newest()}"]) == 0
        assert capsys.readouterr().out == table
        assert (newest() / "results.json").read_bytes() == results

    def test_a_run_goes_on_as_it_was_asked_for(self, stopped, capsys, tmp_path):
        folder = stopped(5, "--model=Base", "--seeds=2")
        for words in ([f"--resume={folder}"], ["--resume", f"--saved_dir={tmp_path / 'saved'}"]):
            capsys.readouterr()
            assert main([*words, "--seeds=3"]) == 2
            assert "leave out --seeds" in capsys.readouterr().err
        assert read_request(folder).overrides["seeds"] == "2"

    def test_from_another_folder(self, tiny_flags, newest, monkeypatch, tmp_path, tiny_path):
        """Paths are resolved when the run starts: data, cache and a plug-in."""
        home = tmp_path / "home"
        (home / "data").mkdir(parents=True)
        (home / "data" / "tiny").symlink_to(tiny_path)
        (home / "mine.py").write_text(
            "from recbole_cold.model.base import Base\n\n\nclass Mine(Base):\n    pass\n"
        )
        monkeypatch.chdir(home)
        words = [word for word in tiny_flags if not word.startswith("--data_path")]
        with monkeypatch.context() as patch:
            ask_at(patch, 5)
            asked = ["--model=mine.py", "--data_path=data", "--cache_dir=cache"]
            assert main([*words, *asked]) == 130
        folder = newest()
        request = read_request(folder)
        assert request.models == f"{home / 'mine.py'}"
        assert request.overrides["data_path"] == str(home / "data")
        assert request.overrides["cache_dir"] == str(home / "cache")
        monkeypatch.chdir("/")
        assert main([f"--resume={folder}"]) == 0

    def test_what_is_no_run(self, tmp_path, capsys):
        for folder in (tmp_path, tmp_path / "missing"):
            assert main([f"--resume={folder}"]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"error: '{folder}' is not the folder of a run")

    def test_stopped_before_its_first_file(self, stopped, unbroken, numbers):
        """The folder has its request and nothing else: all of it is done."""
        wanted = unbroken("--model=Base")
        folder = stopped(5, "--model=Base")
        for path in folder.iterdir():
            if path.name != "request.json":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert main([f"--resume={folder}"]) == 0
        assert numbers(report.load(folder)) == wanted
