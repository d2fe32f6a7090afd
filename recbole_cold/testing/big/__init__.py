"""The papers' big data sets in their official file forms, generated: nothing in them is real.

``python -m recbole_cold.testing.big taobao-ad OUT --scale=0.01 --seed=1`` writes the folder
``OUT/taobao-ad-SYNTHETIC``: the official files, ``SYNTHETIC.true_p.npy`` with the true chance of
every click, and ``MANIFEST.json``. They are for converters, and for what goes wrong at millions of
rows; a number that a method gets on them says nothing about the real data. What is measured of
these and what is assumed: benchmarks/README.md.
"""

from pathlib import Path
from typing import Any

from recbole_cold.errors import UserError, nearest
from recbole_cold.testing.big._log import Log
from recbole_cold.testing.big._writing import CHUNK, write
from recbole_cold.testing.big.avazu import Avazu
from recbole_cold.testing.big.cikm2019 import Cikm2019
from recbole_cold.testing.big.taobao_ad import TaobaoAd

__all__ = ["LOGS", "generate", "make"]

LOGS: dict[str, type[Log]] = {log.name: log for log in (TaobaoAd, Cikm2019, Avazu)}


def make(name: str, scale: float = 1.0, seed: int = 1, **changes: Any) -> Log:
    """A data set that can be drawn, row by row or written.

    Args:
        name: of ``LOGS``.
        scale: times as many rows, users and items as the real one has.
        changes: of its ``Shape``, after scaling.

    Raises:
        UserError: there is no such data set, or not with these numbers.
    """
    if name not in LOGS:
        guess = nearest(name, LOGS)
        known = f"did you mean '{guess}'?" if guess else f"there are {', '.join(LOGS)}"
        raise UserError(f"no data set '{name}' can be generated; {known}")
    log = LOGS[name]
    return log(log.full.scaled(scale, **changes), seed)


def generate(
    name: str, out: Path, scale: float = 1.0, seed: int = 1, chunk: int = CHUNK, **changes: Any
) -> tuple[Path, dict[str, Any]]:
    """Write a data set to a folder below ``out``; the folder and its manifest.

    Raises:
        UserError: as ``make``; or the folder cannot be written.
    """
    folder = Path(out) / f"{name}-SYNTHETIC"
    return folder, write(make(name, scale, seed, **changes), folder, chunk)
