"""Runs of pytest in forks of this process, each started anew or with the tests loaded already."""

import gc
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from defects._code import exchange, functions_below

LONGEST = 600  # seconds; a defect may make a loop endless
NO_ANSWER = {"ran": [], "failed": {}, "error": ["no answer"]}


class Recorder:
    """A pytest plug-in: which tests ran, and which of them failed in their own body, and why.

    ``expected`` are tests of which one red case is enough; further cases of them are skipped.
    """

    def __init__(self, expected: Sequence[str] = ()) -> None:
        self.expected = expected
        self.ran: list[str] = []
        self.failed: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item) -> None:
        of = [node for node in self.expected if among(node, [item.nodeid])]
        if of and all(among(node, self.failed) for node in of):
            pytest.skip("another case of this test was red")

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call":
            self.ran.append(report.nodeid)
            if report.failed:
                self.failed[report.nodeid] = report.longreprtext[-1000:]


def among(node: str, found: Sequence[str]) -> bool:
    """Whether ``node``, or a parametrised form of it, is among ``found``."""
    return any(name == node or name.startswith(f"{node}[") for name in found)


Spoilt = tuple[str, str, str]  # a path below the folder; its text without the defect, and with it


def run_anew(folder: Path, tests: Sequence[str], spoilt: Spoilt | None = None) -> dict:
    """Run ``tests`` from pytest's start, on the package in ``folder``, in a fork of this process.

    Args:
        spoilt: what the file has already; then those with parameters run until one case is red.
    """

    def run() -> dict:
        _enter(folder)
        recorder = Recorder(tests if spoilt else ())
        style = f"--tb={'no' if spoilt else 'short'}"
        pytest.main([*_options(folder), style, *tests], plugins=[recorder])
        return {"ran": recorder.ran, "failed": recorder.failed}

    return _forked(run)


class Prepared:
    """The tests of one file, collected in a process of their own, which forks for every run.

    A run spares pytest's start and the loading of the package and of the tests.
    """

    def __init__(self, folder: Path, tests: str) -> None:
        reads, self._asks = os.pipe()
        self._hears, writes = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._asks)
            os.close(self._hears)
            _serve(folder, tests, reads, writes)
        os.close(reads)
        os.close(writes)
        self._answers = os.fdopen(self._hears)
        self._answers.readline()  # it has loaded what it needs; nothing may be spoilt before

    def __enter__(self) -> "Prepared":
        return self

    def __exit__(self, *_) -> None:
        self._say(None)  # the end of the pipe would not do: others may have inherited it
        os.close(self._asks)
        self._answers.close()
        os.waitpid(self._process, 0)

    def run(self, tests: Sequence[str], spoilt: Spoilt | None = None) -> dict | None:
        """As ``run_anew``; None if what is loaded cannot take the defect, or nothing is loaded."""
        self._say({"tests": list(tests), "spoilt": spoilt})
        line = self._answers.readline()
        return json.loads(line) if line else None

    def _say(self, what: object) -> None:
        try:
            os.write(self._asks, f"{json.dumps(what)}\n".encode())
        except BrokenPipeError:
            return  # it could not collect its tests; a run anew tells why


def _serve(folder: Path, tests: str, reads: int, writes: int) -> None:
    """Collect ``tests`` and answer what is asked for; does not return."""
    try:
        signal.alarm(LONGEST)
        _enter(folder)
        # Byte code of the package and of the tests, whose asserts are rewritten once.
        sys.dont_write_bytecode = False
        recorder = Recorder()
        server = _Server(folder, recorder, reads, writes)
        pytest.main([*_options(folder), tests], plugins=[recorder, server])
    finally:
        os._exit(0)


class _Server:
    """A pytest plug-in: in place of running what was collected, fork for every request."""

    def __init__(self, folder: Path, recorder: Recorder, reads: int, writes: int) -> None:
        self.folder, self.recorder = folder, recorder
        self.requests, self.answers = os.fdopen(reads), os.fdopen(writes, "w")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session) -> bool | None:
        signal.alarm(0)
        if session.testsfailed:
            return None  # to pytest, which ends
        if not _alone():
            return True
        sys.dont_write_bytecode = True
        functions = functions_below(self.folder)
        gc.collect()
        gc.freeze()
        self._say("ready")
        for line in self.requests:
            request = json.loads(line)
            if request is None:
                break
            self._say(_forked(lambda request=request: self._run(session, functions, **request)))
        return True

    def _say(self, what: object) -> None:
        self.answers.write(f"{json.dumps(what)}\n")
        self.answers.flush()

    def _run(self, session, functions: dict, tests: list[str], spoilt: list[str] | None):
        if spoilt is not None:
            path = self.folder / spoilt[0]
            if not exchange(path, *spoilt[1:], functions.get(str(path), ())):
                return None
            self.recorder.expected = tests
        session.config.option.tbstyle = "no" if spoilt else "short"
        items = [
            item for item in session.items if any(among(each, [item.nodeid]) for each in tests)
        ]
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return {"ran": self.recorder.ran, "failed": self.recorder.failed}


def _enter(folder: Path) -> None:
    sys.dont_write_bytecode = True
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    # What else is installed has no say, and takes its time.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(folder)
    sys.path.insert(0, str(folder))


def _options(folder: Path) -> list[str]:
    temporary = f"--basetemp={folder / 'temporary'}"
    return ["-q", "-p", "no:cacheprovider", "-m", "", temporary]


def _alone() -> bool:
    """Whether this process has one thread: others would be missing in its forks."""
    tasks = Path("/proc/self/task")
    return (len(os.listdir(tasks)) if tasks.is_dir() else threading.active_count()) == 1


def _forked(work: Callable[[], object]):
    """What ``work()`` returns in a fork of this process, by way of JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            signal.alarm(LONGEST)
            answer = work()
        except BaseException:
            answer = {"ran": [], "failed": {}, "error": [traceback.format_exc()]}
        with os.fdopen(writer, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else NO_ANSWER
