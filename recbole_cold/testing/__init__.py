"""The conformance suites: what every cold-start method promises, as tests to inherit.

A method's test file says what the method is, and inherits the rest::

    from recbole_cold.testing import MethodConformance

    class TestMyMethod(MethodConformance):
        method = MyMethod
        trains = {"generator"}      # what `learn` may move; everything else keeps still

``SessionConformance`` is for methods that run where no item is new (``needs_new_items = False``),
and is inherited by a second class. The suites bring their own data, need no checkout, and run on
the CPU in seconds. They need pytest (``pip install recbole-cold[test]``), and are imported when
they are first used: ``recbole_cold.testing.big``, which generates data sets, needs none of that.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_cold.testing._bench import Bench, Run, changed, snapshot, write_data_set
    from recbole_cold.testing._methods import MethodConformance
    from recbole_cold.testing._sessions import SessionConformance

__all__ = [
    "Bench",
    "MethodConformance",
    "Run",
    "SessionConformance",
    "changed",
    "snapshot",
    "write_data_set",
]
_PLACES = {"MethodConformance": "_methods", "SessionConformance": "_sessions"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PLACES.get(name, '_bench')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
