"""Cold-start click-through-rate prediction on RecBole.

From Python: ``run``, ``compare``, ``tune``, ``benchmark``, ``load_results`` and ``from_frames``;
``load``, ``export`` and ``grow`` for the model that a run kept;
``trainable`` and ``param_space`` for a Ray Tune script of your own; ``Callback`` for hooks into
training; ``register`` for RecBole's own runner. Names are imported when they are first used, so
that ``import recbole_cold`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_cold.api import benchmark, compare, load_results, run, tune
    from recbole_cold.data.frames import from_frames
    from recbole_cold.errors import Stopped, UserError
    from recbole_cold.recbole_door import register
    from recbole_cold.results import ComparisonResults, Results, SubsetResults, SweepResults
    from recbole_cold.serving.export import export
    from recbole_cold.serving.fitted import Fitted, load
    from recbole_cold.serving.grow import grow
    from recbole_cold.sweep.tune_space import param_space
    from recbole_cold.training.callbacks import Callback
    from recbole_cold.trials.trainable import trainable

__version__ = "0.1.0"

_PLACES = {
    "Callback": "training.callbacks",
    "ComparisonResults": "results",
    "Fitted": "serving.fitted",
    "Results": "results",
    "Stopped": "errors",
    "SubsetResults": "results",
    "SweepResults": "results",
    "UserError": "errors",
    "benchmark": "api",
    "compare": "api",
    "export": "serving.export",
    "from_frames": "data.frames",
    "grow": "serving.grow",
    "load": "serving.fitted",
    "load_results": "api",
    "param_space": "sweep.tune_space",
    "register": "recbole_door",
    "run": "api",
    "trainable": "trials.trainable",
    "tune": "api",
}

__all__ = [
    "Callback",
    "ComparisonResults",
    "Fitted",
    "Results",
    "Stopped",
    "SubsetResults",
    "SweepResults",
    "UserError",
    "__version__",
    "benchmark",
    "compare",
    "export",
    "from_frames",
    "grow",
    "load",
    "load_results",
    "param_space",
    "register",
    "run",
    "trainable",
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
