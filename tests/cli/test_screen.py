"""Where output goes: pipes, terminals that cannot show a letter, readers that leave, threads."""

import errno
import io
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.cli.screen import Stop, lasting_streams

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "recbole_cold"]


class Full(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, "no more")


class TestReaders:
    def test_a_reader_that_leaves_ends_quietly(self):
        """As with ``| head``: the pipe is closed before a line is written, or after one."""
        for lines in (0, 1):
            with subprocess.Popen(
                [*COMMAND, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
            ) as process:
                for _ in range(lines):
                    process.stdout.readline()
                process.stdout.close()
                assert process.stderr.read() == b""
                assert process.wait() == 0

    @pytest.mark.parametrize("words", [["list"], ["-m", "MWFU"], ["--help"]])
    def test_closed_streams(self, words):
        shell = " ".join([*COMMAND, *words, ">&-", "2>&-"])
        done = subprocess.run(shell, shell=True, cwd=ROOT, capture_output=True)
        assert done.returncode == (2 if "MWFU" in words else 0)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
    def test_a_full_disk_is_said(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, cwd=ROOT, text=True
            )
        assert done.returncode == 1
        assert done.stderr.startswith("error: the output could not be written (No space left")
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize("verb", ["run", "compare", "tune"])
    def test_no_work_is_lost(self, verb, tiny_flags, tmp_path, monkeypatch):
        """Both readers are gone from the start; everything is on disk all the same."""
        monkeypatch.setattr(report, "plot_curves", lambda *_, **__: None)
        words = {
            "run": ["--model=Base"],
            "compare": ["--models=Base,DropoutNet", "--warm_steps=2"],
            "tune": ["--model=Base", "--grid=warm_epochs=[1]"],
        }[verb]
        if verb != "run":
            run_here(monkeypatch)
        monkeypatch.setattr(sys, "stdout", Full(errno.EPIPE))
        monkeypatch.setattr(sys, "stderr", Full(errno.EPIPE))
        code = main([verb, *tiny_flags, *words])
        monkeypatch.undo()
        assert code == 0
        assert [path for path in (tmp_path / "saved").glob("*/table.txt") if path.stat().st_size]

    def test_streams_return(self):
        before = sys.stdout, sys.stderr
        with lasting_streams():
            assert sys.stdout is not before[0]
        assert (sys.stdout, sys.stderr) == before


def run_here(monkeypatch):
    """Trials run in this process: no Ray."""
    from contextlib import nullcontext

    from recbole_cold.trials import ray_pool as pool
    from recbole_cold.trials.trial import run_trial

    def run_all(specs, *, on_done, **options):
        for spec in specs:
            on_done(spec, run_trial(spec))

    monkeypatch.setattr(pool, "run_all", run_all)
    monkeypatch.setattr(pool, "session", lambda address=None: nullcontext())


class TestLetters:
    def test_a_terminal_without_a_letter(self, monkeypatch):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        with lasting_streams():
            print("0.7 ± 0.1")
        assert raw.getvalue() == b"0.7 ? 0.1\n"

    @pytest.mark.slow
    def test_a_table_in_ascii(self, tiny_flags, tmp_path):
        done = subprocess.run(
            [*COMMAND, *tiny_flags, "--model=Base", "--seeds=2", "--matched_row=False"],
            cwd=ROOT,
            capture_output=True,
            env={"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        assert b" ? " in done.stdout
        assert b"Traceback" not in done.stderr
        (table,) = (tmp_path / "saved").glob("*/table.txt")
        assert "±" in table.read_text(encoding="utf-8")  # files keep it


class TestStop:
    def test_in_the_main_thread_signals_ask(self):
        before = signal.getsignal(signal.SIGTERM)
        with Stop().listening() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert stop()
        assert signal.getsignal(signal.SIGTERM) == before

    def test_another_thread_listens_to_nothing_and_runs(self):
        seen = []
        before = signal.getsignal(signal.SIGINT)

        def work():
            with Stop().listening() as stop:
                seen.append((stop(), signal.getsignal(signal.SIGINT)))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [(False, before)]
