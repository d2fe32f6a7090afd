"""C code that this machine's own compiler makes into a library, once, for its own processor.

It is for what a processor could do several times faster than a sequence of PyTorch's operations
does. Whoever uses it has the plain form beside it, for machines without a compiler.
"""

import ctypes
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from recbole_cold.errors import WriteError
from recbole_cold.store import write_bytes

_FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
_LONGEST = 120  # seconds for what takes about one


class NotCompiled(Exception):
    """There is no library; the text says why."""


def library(name: str, source: str, defined: Mapping[str, int], folder: Path) -> ctypes.CDLL:
    """The library of a C source, compiled if ``folder`` does not have it yet.

    It is known by all that it was made of: source, constants, compiler, processor. Where the folder
    cannot be written, each process compiles its own.

    Args:
        name: begins the file's name.
        source: C, without other files than the standard library's.
        defined: constants for the preprocessor.
        folder: where libraries are kept.

    Raises:
        NotCompiled: no compiler, or one that fails; or its library cannot be loaded.
    """
    command = [*_compiler(), *_FLAGS, *(f"-D{key}={value}" for key, value in defined.items())]
    made_of = [source, *command, _version(command[0]), _processor()]
    digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:32]
    path = folder / f"{name}-{digest}.so"
    with suppress(OSError):  # not there, or damaged: made anew
        return ctypes.CDLL(str(path))
    try:
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / path.name
            _compile([*command, "-x", "c", "-", "-o", str(made)], source)
            with suppress(WriteError):
                write_bytes(path, made.read_bytes())
            return ctypes.CDLL(str(made))  # it stays loaded without its file
    except OSError as error:
        raise NotCompiled(f"its library cannot be made or loaded ({error})") from error


def _compiler() -> list[str]:
    """$CC, else cc; and none where $CC is empty."""
    words = shlex.split(os.environ.get("CC", "cc"))
    if not words or shutil.which(words[0]) is None:
        raise NotCompiled(f"there is no C compiler '{' '.join(words)}' (CC names another)")
    return words


def _version(compiler: str) -> str:
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=_LONGEST)
    return done.stdout


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine() + platform.processor()
    kinds = re.findall(r"^(?:model name|flags|Features|CPU part)\s*:.*$", told, re.MULTILINE)
    return "\n".join([platform.machine(), *dict.fromkeys(kinds)])


def _compile(command: list[str], source: str) -> None:
    try:
        done = subprocess.run(
            command, input=source, capture_output=True, text=True, timeout=_LONGEST
        )
    except subprocess.TimeoutExpired as error:
        raise NotCompiled(f"'{command[0]}' took more than {_LONGEST} s") from error
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise NotCompiled(f"'{command[0]}' fails: {said.strip()}")
