"""Finds converters by name, each in its own file, and one of the user's by its path."""

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

from recbole_cold import converters, paths
from recbole_cold.converters._converting import Converter
from recbole_cold.errors import UserError, nearest, told


def known_converters() -> dict[str, Converter]:
    """Every converter of this package, by the name of its data set."""
    names = sorted(found.name for found in pkgutil.iter_modules(converters.__path__))
    modules = [
        importlib.import_module(f"{converters.__name__}.{name}") for name in names if name[0] != "_"
    ]
    return {module.CONVERTER.name: module.CONVERTER for module in modules}


def find_converter(spec: str) -> Converter:
    """The converter of a name, or the ``CONVERTER`` of ``path/file.py``.

    Raises:
        UserError: there is none; says what was meant, if that is clear.
    """
    if spec.endswith(".py"):
        return _of_file(paths.absolute(spec))
    known = known_converters()
    if spec in known:
        return known[spec]
    guess = nearest(spec, known)
    raise UserError(
        f"there is no converter of '{spec}'; "
        + (f"did you mean '{guess}'?" if guess else "`recbole-cold convert --list` shows all")
    )


def _of_file(file: Path) -> Converter:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None  # the name ends with .py
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError as error:
        if error.filename != str(file):
            raise
        raise UserError(f"the file {file} does not exist; give the path of a converter") from None
    except Exception as error:
        raise UserError(f"{file} cannot be imported ({told(error)}); mend it") from error
    found = getattr(module, "CONVERTER", None)
    if not isinstance(found, Converter):
        raise UserError(
            f"{file} has no CONVERTER, a value of recbole_cold.converters.Converter; add one"
        )
    if not re.fullmatch(r"\w[\w.-]*", found.name):
        raise UserError(f"{file} converts to '{found.name}'; a name has letters, digits, - and _")
    return found
