"""Cold-start click-through-rate prediction on RecBole.

From Python: ``run``, ``compare``, ``tune``, ``load_results`` and ``from_frames``. Names are
imported when they are first used, so that ``import recbole_cold`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_cold.api import compare, load_results, run, tune
    from recbole_cold.data.frames import from_frames
    from recbole_cold.errors import Stopped, UserError
    from recbole_cold.results import ComparisonResults, Results, SweepResults

__version__ = "0.1.0"

_PLACES = {
    "ComparisonResults": "results",
    "Results": "results",
    "Stopped": "errors",
    "SweepResults": "results",
    "UserError": "errors",
    "compare": "api",
    "from_frames": "data.frames",
    "load_results": "api",
    "run": "api",
    "tune": "api",
}

__all__ = [
    "ComparisonResults",
    "Results",
    "Stopped",
    "SweepResults",
    "UserError",
    "__version__",
    "compare",
    "from_frames",
    "load_results",
    "run",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
