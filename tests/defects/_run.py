"""Carry defects out in a copy of the repository; by hand, from the copy's ``tests``:
``echo mamo | python -m defects._run ..``. Reads names of modules, and answers each with a line of
JSON: all that is wrong with its defects. How far it is goes to standard error.

Every run of tests is a fork of this process, which has the big libraries loaded, and nothing of the
package under test. Byte code is made before any defect, if the copy came without: most of what the
runs import is the same.

Of a test with parameters one red case is enough: a run leaves the others out once it has seen it.
What was red is then run without a defect, and must be green.
"""

import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from defects import modules, names_in, whole_names

LONGEST = 600  # seconds; a defect may make a loop endless
# When spoilt files were last changed: byte code is known by the second and by the length of a text.
_times = count(int(time.time()) + 1)


class Recorder:
    """A pytest plug-in: which tests ran, and which of them failed in their own body.

    ``expected`` are tests of which one red case is enough; further cases of them are skipped.
    """

    def __init__(self, expected: Sequence[str] = ()) -> None:
        self.expected = expected
        self.ran: list[str] = []
        self.failed: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item) -> None:
        of = [node for node in self.expected if _among(node, [item.nodeid])]
        if of and all(_among(node, self.failed) for node in of):
            pytest.skip("another case of this test was red")

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call":
            self.ran.append(report.nodeid)
            if report.failed:
                self.failed.append(report.nodeid)


def run_here(
    folder: Path, *words: str, expected: Sequence[str] = (), keep_bytecode: bool = False
) -> dict[str, list[str]]:
    """Run pytest with ``words`` in a fork of this process, on the package in ``folder``."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            signal.alarm(LONGEST)
            sys.dont_write_bytecode = not keep_bytecode
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            os.chdir(folder)
            sys.path.insert(0, str(folder))
            recorder = Recorder(expected)
            temporary = f"--basetemp={folder / 'temporary'}"
            pytest.main(
                ["-q", "-p", "no:cacheprovider", "-m", "", temporary, *words], plugins=[recorder]
            )
            answer = {"ran": recorder.ran, "failed": recorder.failed}
        except BaseException:
            answer = {"ran": [], "failed": [], "error": [traceback.format_exc()]}
        with os.fdopen(writer, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"ran": [], "failed": [], "error": ["no answer"]}


@contextmanager
def spoilt(path: Path, text: str) -> Iterator[None]:
    """While open, the file says ``text``, and nobody has byte code of it."""
    sound, state = path.read_bytes(), path.stat()
    path.write_text(text, encoding="utf-8")
    os.utime(path, (state.st_atime, next(_times)))
    try:
        yield
    finally:
        path.write_bytes(sound)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def survivors(folder: Path, module: ModuleType) -> list[str]:
    """What is wrong: tests that stay green with their defect, or that are red without it."""
    known = names_in(module.TESTS)
    wrong, red = [], set()
    # The tests' own byte code: their asserts are rewritten once.
    run_here(folder, "--collect-only", module.TESTS, keep_bytecode=True)
    for path, each in [(path, each) for path, found in module.DEFECTS.items() for each in found]:
        text = (folder / path).read_text(encoding="utf-8")
        if text.count(each.old) != 1:
            wrong.append(f"{each.words}: {text.count(each.old)} times in {path}: {each.old!r}")
            continue
        expected = [f"{module.TESTS}::{name}" for name in whole_names(each.tests, known)]
        with spoilt(folder / path, text.replace(each.old, each.new)):
            failed = run_here(folder, *expected, expected=expected)["failed"]
        red.update(failed)
        green = [node for node in expected if not _among(node, failed)]
        wrong += [f"{each.words} ({path}): left green {node}" for node in green]
        print(f"{'LEFT GREEN' if green else 'red':10} {path}: {each.words}", file=sys.stderr)
    if red:
        sound = run_here(folder, *sorted(red))
        wrong += sound.get("error", [])
        wrong += [f"red without a defect: {node}" for node in sound["failed"]]
        wrong += [f"not run without a defect: {node}" for node in sorted(red - {*sound["ran"]})]
    return wrong


def _among(node: str, found: Sequence[str]) -> bool:
    """Whether ``node``, or a parametrised form of it, is among ``found``."""
    return any(name == node or name.startswith(f"{node}[") for name in found)


def main(folder: Path) -> None:
    import pdb  # noqa: F401
    import venv  # noqa: F401
    import xml.etree.ElementTree  # noqa: F401

    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.csv  # noqa: F401
    import pydantic  # noqa: F401
    import recbole.config
    import recbole.data.dataset
    import recbole.model.context_aware_recommender
    import recbole.trainer  # noqa: F401
    import scipy.sparse  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import torch._dynamo
    import tqdm.auto  # noqa: F401
    import yaml  # noqa: F401

    torch.set_num_threads(1)
    # pytest collects garbage at its end; what is here already need not be looked through.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(survivors(folder, modules()[line.strip()])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
