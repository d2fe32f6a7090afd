"""Give loaded functions the code of another text of their file, where only their code differs.

Nearly every defect lies inside a function. The function objects of a loaded package can take the
spoilt code in place: whoever holds them, by import, as a method or under a decorator, runs it, and
nothing has to be loaded anew. All else that a text says (defaults, constants, class bodies,
decorators) has been run when the module was loaded, so a difference there is refused.
"""

import gc
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FunctionType


def functions_below(folder: Path) -> dict[str, list[FunctionType]]:
    """All functions that there are of files below ``folder``, by file; none that are frozen."""
    found: dict[str, list[FunctionType]] = {}
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename.startswith(f"{folder}/"):
            found.setdefault(each.__code__.co_filename, []).append(each)
    return found


def exchange(path: Path, sound: str, spoilt: str, functions: Sequence[FunctionType]) -> bool:
    """Give ``functions``, all that there are of ``path`` as ``sound``, their code in ``spoilt``.

    False, and nothing is changed, where that would not make the loaded module what ``spoilt`` says.
    A file that is not loaded needs no exchange.
    """
    if not functions and str(path) not in _loaded_files():
        return True
    try:
        texts = [compile(text, str(path), "exec", dont_inherit=True) for text in (sound, spoilt)]
    except SyntaxError:
        return False
    bodies: dict[CodeType, CodeType | None] = {}
    if not _pair(*texts, bodies):
        return False
    new = [bodies.get(each.__code__) for each in functions]
    if None in new:
        return False
    for each, code in zip(functions, new, strict=True):
        each.__code__ = code
    return True


def _loaded_files() -> set[str | None]:
    return {getattr(module, "__file__", None) for module in list(sys.modules.values())}


def _pair(sound: CodeType, spoilt: CodeType, bodies: dict[CodeType, CodeType | None]) -> bool:
    """Whether two codes do the same as long as no function is called; ``bodies`` pairs functions.

    The partner is None where two functions of the same code would have different ones.
    """
    inner = [_inside(code) for code in (sound, spoilt)]
    if sound.co_flags & inspect.CO_OPTIMIZED:  # a function
        kinds = [(code.co_name, code.co_flags, code.co_freevars) for code in (sound, spoilt)]
        if kinds[0] == kinds[1]:
            bodies[sound] = spoilt if bodies.get(sound, spoilt) == spoilt else None
        # Functions inside matter only as closures that are there already, of decorators.
        if len(inner[0]) == len(inner[1]):
            for pair in zip(*inner, strict=True):
                _pair(*pair, bodies)
        return True
    return _outline(sound) == _outline(spoilt) and all(
        [_pair(*pair, bodies) for pair in zip(*inner, strict=True)]
    )


def _inside(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _outline(code: CodeType) -> tuple:
    """What a module or class does when it is run, apart from what its functions do; no lines."""
    constants = ["a code" if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return (
        code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars,
        code.co_cellvars, getattr(code, "co_exceptiontable", b""), constants,
        [each.co_name for each in _inside(code)],
    )  # fmt: skip
