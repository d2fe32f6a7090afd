"""The conformance suites: what every cold-start method promises, as tests to inherit.

A method's test file says what the method is, and inherits the rest::

    from recbole_cold.testing import MethodConformance

    class TestMyMethod(MethodConformance):
        method = MyMethod
        trains = {"generator"}      # what `learn` may move; everything else keeps still

``SessionConformance`` is for methods that run where no item is new (``needs_new_items = False``),
and is inherited by a second class. The suites bring their own data, need no checkout, and run on
the CPU in seconds. The module needs pytest (``pip install recbole-cold[test]``).
"""

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
