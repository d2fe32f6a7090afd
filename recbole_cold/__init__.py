"""Cold-start click-through-rate prediction on RecBole."""

import importlib
from typing import Any

__version__ = "0.1.0"
# Public names and their modules, imported when first asked for: `import recbole_cold` stays light.
_PUBLIC = {
    "Callback": "recbole_cold.training.callbacks",
    "param_space": "recbole_cold.sweep.tune_space",
    "register": "recbole_cold.recbole_door",
    "trainable": "recbole_cold.trials.trainable",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'recbole_cold' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
