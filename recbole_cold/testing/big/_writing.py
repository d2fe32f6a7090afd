"""The folder of a generated data set: official files, true chances, and what they are."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_cold import __version__
from recbole_cold.converters._writing import all_or_none
from recbole_cold.errors import UserError
from recbole_cold.testing.big._arrow import lines
from recbole_cold.testing.big._log import Log

MANIFEST = "MANIFEST.json"
TRUTH = "SYNTHETIC.true_p.npy"
VERSION = 1  # of the generator: another number where the same seed gives other bytes
CHUNK = 1 << 18  # rows in memory at once
_BINS = 1 << 16
_WIDEST = 20.0  # logits beyond count as this


class _Hashed:
    """Context: a file being written, with the hash and the length of what was."""

    def __init__(self, path: Path) -> None:
        self._file, self._digest, self._length = path.open("wb"), hashlib.sha256(), 0

    def write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._digest.update(content)
        self._length += len(content)

    def described(self, rows: int) -> dict[str, Any]:
        return {"rows": rows, "bytes": self._length, "sha256": self._digest.hexdigest()}

    def __enter__(self) -> "_Hashed":
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        with self._file:
            if failed is None:
                self._file.flush()
                os.fsync(self._file.fileno())


class Tally:
    """What the true chances would score on the clicks that were drawn from them.

    Chances are counted in 65,536 bins of their logits, .0006 wide; the area counts a pair in one
    bin as half.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, _BINS), dtype=np.int64)
        self._loss = self._chance = 0.0

    def add(self, chance: np.ndarray, click: np.ndarray) -> None:
        p = chance.astype(np.float64)
        logit = np.log(p) - np.log1p(-p)
        place = (np.clip(logit, -_WIDEST, _WIDEST) / (2 * _WIDEST) + 0.5) * (_BINS - 1)
        code = place.astype(np.int64)
        for label in (0, 1):
            self._counts[label] += np.bincount(code[click == label], minlength=_BINS)
        self._loss -= float(np.log(np.where(click, p, 1 - p)).sum())
        self._chance += float(p.sum())

    def found(self) -> dict[str, Any]:
        """Rows, clicks and what the chances score; None for an area without both kinds of rows."""
        others, clicks = self._counts
        rows, positives = int(self._counts.sum()), int(clicks.sum())
        below = np.cumsum(others) - others / 2
        pairs = positives * (rows - positives)
        return {
            "rows": rows,
            "clicks": positives,
            "ctr": round(positives / rows, 6),
            "mean_true_p": round(self._chance / rows, 6),
            "bayes_auc": round(float(clicks @ below) / pairs, 5) if pairs else None,
            "bayes_logloss": round(self._loss / rows, 5),
        }


def write(log: Log, folder: Path, chunk: int = CHUNK) -> dict[str, Any]:
    """Write a data set to ``folder``, all files or none; the manifest.

    The bytes depend on the shape and the seed, not on ``chunk``, the rows in memory at once.

    Raises:
        UserError: the disk has too little room, or ``folder`` cannot be written.
    """
    _need_room(folder, log.shape.rows * (log.shape.row_bytes + 4) + 40 * log.shape.items)
    files: dict[str, Any] = {}
    with all_or_none(folder, MANIFEST, "OUT") as inside:
        for text in log.side_files():
            n = len(text.columns[0])
            with _Hashed(inside / text.name) as file:
                file.write(text.header.encode())
                for start in range(0, n, chunk):
                    file.write(lines([column[start : start + chunk] for column in text.columns]))
            files[text.name] = file.described(n)
        tally = _write_rows(log, inside, chunk, files)
        manifest = _manifest(log, tally, files)
        (inside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _write_rows(log: Log, folder: Path, chunk: int, files: dict[str, Any]) -> Tally:
    """Write the log and the file of true chances."""
    rows, tally = log.shape.rows, Tally()
    with (
        _Hashed(folder / log.file) as file,
        _Hashed(folder / TRUTH) as truth,
        tqdm(total=rows, unit="row", unit_scale=True, desc=log.file, leave=False,
             disable=None) as bar,
    ):  # fmt: skip
        file.write(log.header.encode())
        truth.write(_npy_header(rows))
        for start in range(0, rows, chunk):
            numbers = np.arange(start, min(rows, start + chunk))
            drawn = log.draw(numbers)
            chance = log.chances(drawn)
            click = log.clicks(numbers, chance)
            file.write(lines(log.cells(numbers, drawn, click)))
            truth.write(chance.astype("<f4").tobytes())
            tally.add(chance, click)
            bar.update(len(numbers))
    files[log.file], files[TRUTH] = file.described(rows), truth.described(rows)
    return tally


def _npy_header(rows: int) -> bytes:
    """The beginning of a .npy file of ``rows`` little-endian numbers of 32 bits."""
    head = repr({"descr": "<f4", "fortran_order": False, "shape": (rows,)})
    padded = head + " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()


def _manifest(log: Log, tally: Tally, files: dict[str, Any]) -> dict[str, Any]:
    counts = log.item_counts
    found: dict[str, Any] = {
        "SYNTHETIC": "Generated, not logged: no row, user or item of it is real. Say so beside "
        "every number that comes of it.",
        "data_set": f"{log.name}-SYNTHETIC",
        "generator": f"recbole_cold {__version__}, recbole_cold.testing.big {VERSION}, "
        f"numpy {np.__version__}",
        "seed": log.seed,
        "shape": {key: value for key, value in vars(log.shape).items() if key != "row_bytes"},
        "log": log.file,
        **tally.found(),
        log.user_name: log.shape.users,
        log.item_name: log.shape.items,
        "true_p": f"{TRUTH}: numpy.load gives the chance of a click of each row of {log.file}, in "
        "its order",
        "assumed": list(log.assumed),
    }
    if log.paper_split is not None:
        n, k = log.paper_split
        new = (counts >= 3 * k) & (counts <= n)
        found["split_of_the_papers"] = {
            "N": n, "K": k, "old": int((counts > n).sum()), "new": int(new.sum()),
            "rows_of_old": int(counts[counts > n].sum()),
        }  # fmt: skip
    return {**found, "files": files}


def _need_room(folder: Path, size: int) -> None:
    """
    Raises:
        UserError: the disk of ``folder`` has less than ``size`` bytes.
    """
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if free < size:
        raise UserError(
            f"the files need about {size / 2**30:.1f} GiB and '{place}' has {free / 2**30:.1f}; "
            "choose another OUT or a smaller --scale"
        )
