"""Official downloads of data sets as RecBole's atomic files: a module per data set.

A module's ``CONVERTER`` is found by its file. All of it needs nothing but Python's standard
library, so that the scripts in ``dataset_atomic`` run without an installation. How to write one of
your own: docs/your-own-data.md.
"""

from recbole_cold.converters._converting import (
    Conversion,
    Converter,
    Label,
    Option,
    Table,
    choice,
    convert,
    number,
)
from recbole_cold.converters._drawing import NOT_DRAWN, SAMPLE, Sample, draw, is_drawn
from recbole_cold.converters._finding import find_converter, known_converters
from recbole_cold.converters._official import Official
from recbole_cold.converters._report import report
from recbole_cold.converters._source import RawFile, Source
from recbole_cold.converters._writing import ended_by_sigterm

__all__ = [
    "NOT_DRAWN",
    "SAMPLE",
    "Conversion",
    "Converter",
    "Label",
    "Official",
    "Option",
    "RawFile",
    "Sample",
    "Source",
    "Table",
    "choice",
    "convert",
    "draw",
    "ended_by_sigterm",
    "find_converter",
    "is_drawn",
    "known_converters",
    "number",
    "report",
]
