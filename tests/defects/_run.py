"""Carry defects out in a copy of the repository; by hand, from the copy's ``tests``:
``echo mamo | python -m defects._run ..``. Reads names of modules, and answers each with a line of
JSON: all that is wrong with its defects. How far it is goes to standard error.

Every run of tests is a fork. Where a defect lies inside functions, it is one of a process that has
the package loaded and the tests collected, and the functions get the spoilt code. Otherwise, and
again for what stays green so, it is one of this process, which has the big libraries loaded, and
nothing of the package under test. Either way the file has the spoilt text, for what loads it later.

Of a test with parameters one red case is enough: a run leaves the others out once it has seen it.
What was red is then run without a defect, in the same way, and must be green.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType

from defects import modules, names_in, whole_names
from defects._forks import NO_ANSWER, Prepared, among, run_anew

# When spoilt files were last changed: byte code is known by the second and by the length of a text.
_times = count(int(time.time()) + 1)


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
    known, wrong = names_in(module.TESTS), []
    with Prepared(folder, module.TESTS) as prepared:
        ways = (prepared.run, partial(run_anew, folder))
        red: list[set[str]] = [set() for _ in ways]
        for path, each in [
            (path, each) for path, found in module.DEFECTS.items() for each in found
        ]:
            text = (folder / path).read_text(encoding="utf-8")
            if text.count(each.old) != 1:
                wrong.append(f"{each.words}: {text.count(each.old)} times in {path}: {each.old!r}")
                continue
            texts = (path, text, text.replace(each.old, each.new))
            green = [f"{module.TESTS}::{name}" for name in whole_names(each.tests, known)]
            with spoilt(folder / path, texts[-1]):
                for run, seen in zip(ways, red, strict=True):
                    answer = run(green, texts)
                    if answer is None:
                        continue
                    seen.update(answer["failed"])
                    green = [node for node in green if not among(node, answer["failed"])]
                    if not green or "error" in answer:
                        break  # else what is loaded may keep what was made without the defect
            wrong += answer.get("error", [])
            wrong += [f"{each.words} ({path}): left green {node}" for node in green]
            result = "LEFT GREEN" if green else "red" if run is ways[0] else "red, anew"
            print(f"{result:10} {path}: {each.words}", file=sys.stderr)
        for run, seen in zip(ways, red, strict=True):
            wrong += _red_without_defect(sorted(seen), run) if seen else []
    return wrong


def _red_without_defect(tests: list[str], run: Callable[[list[str]], dict | None]) -> list[str]:
    answer = run(tests) or NO_ANSWER
    failed = [f"red without a defect: {node}\n{why}" for node, why in answer["failed"].items()]
    missing = [f"not run without a defect: {node}" for node in tests if node not in answer["ran"]]
    return [*answer.get("error", []), *failed, *missing]


def main(folder: Path) -> None:
    import pdb  # noqa: F401
    import venv  # noqa: F401
    import xml.etree.ElementTree  # noqa: F401

    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import PIL.PngImagePlugin  # noqa: F401
    import pyarrow.csv
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401
    import pydantic
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

    pydantic.TypeAdapter(pydantic.conint(ge=1))  # loads what it needs with the first
    torch.set_num_threads(1)
    # pytest collects garbage at its end; what is here already need not be looked through.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(survivors(folder, modules()[line.strip()])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
