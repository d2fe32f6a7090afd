"""Carry defects out in a copy of the repository; by hand, from the copy's ``tests``:
``echo mamo | python -m defects._run ..``. Reads names of modules, and answers each with a line of
JSON: all that is wrong with its defects. How far it is goes to standard error.

Every run of tests is a fork of this process, which has the big libraries loaded, and nothing of the
package under test. The run without a defect leaves byte code for those with one: most of what they
import is the same.
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
from itertools import chain, count
from pathlib import Path
from types import ModuleType

from defects import modules, names_in, whole_names

LONGEST = 600  # seconds; a defect may make a loop endless
# When spoilt files were last changed: byte code is known by the second and by the length of a text.
_times = count(int(time.time()) + 1)


class Recorder:
    """A pytest plug-in: which tests ran, and which of them failed in their own body."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call":
            self.ran.append(report.nodeid)
            if report.failed:
                self.failed.append(report.nodeid)


def run_here(
    folder: Path, nodes: Sequence[str], keep_bytecode: bool = False
) -> dict[str, list[str]]:
    """Run ``nodes`` in a fork of this process, on the package in ``folder``."""
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
            import pytest

            recorder = Recorder()
            temporary = f"--basetemp={folder / 'temporary'}"
            pytest.main(
                ["-q", "-p", "no:cacheprovider", "-m", "", temporary, *nodes], plugins=[recorder]
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
    """What is wrong: tests that are red without a defect, stay green with theirs, or never ran."""
    known = names_in(module.TESTS)
    all_defects = [(path, each) for path, found in module.DEFECTS.items() for each in found]
    nodes = [
        [f"{module.TESTS}::{name}" for name in whole_names(each.tests, known)]
        for _, each in all_defects
    ]
    sound = run_here(folder, sorted({*chain(*nodes)}), keep_bytecode=True)
    wrong = sound.get("error", []) + [f"red without a defect: {node}" for node in sound["failed"]]
    wrong += [
        f"not run: {node}" for node in sorted({*chain(*nodes)}) if not _among(node, sound["ran"])
    ]
    if not sound["ran"]:  # nothing could be seen to fail
        return wrong
    for (path, each), expected in zip(all_defects, nodes, strict=True):
        text = (folder / path).read_text(encoding="utf-8")
        if text.count(each.old) != 1:
            wrong.append(f"{each.words}: {text.count(each.old)} times in {path}: {each.old!r}")
            continue
        with spoilt(folder / path, text.replace(each.old, each.new)):
            failed = run_here(folder, expected)["failed"]
        green = [node for node in expected if not _among(node, failed)]
        wrong += [f"{each.words} ({path}): left green {node}" for node in green]
        print(f"{'LEFT GREEN' if green else 'red':10} {path}: {each.words}", file=sys.stderr)
    return wrong


def _among(node: str, found: Sequence[str]) -> bool:
    """Whether ``node``, or a parametrised form of it, is among ``found``."""
    return any(name == node or name.startswith(f"{node}[") for name in found)


def main(folder: Path) -> None:
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.csv  # noqa: F401
    import pydantic  # noqa: F401
    import pytest  # noqa: F401
    import recbole.config
    import recbole.data
    import recbole.model.context_aware_recommender
    import recbole.trainer  # noqa: F401
    import scipy.sparse  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import torch._dynamo
    import yaml  # noqa: F401

    torch.set_num_threads(1)
    # pytest collects garbage at its end; what is here already need not be looked through.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(survivors(folder, modules()[line.strip()])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
