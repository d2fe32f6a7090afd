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
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
_LONGEST = 120  # seconds for what takes about one
_CPU_INFO = Path("/proc/cpuinfo")


class NotCompiled(Exception):
    """There is no library; the text says why."""


def library(name: str, source: str, defined: Mapping[str, int], folder: Path) -> ctypes.CDLL:
    """The library of a C source, compiled if it is not kept yet.

    It is known by all that it was made of: source, constants, compiler, processor. What another
    user could have written is never loaded: where others may write ``folder``, or this user may
    not, libraries are kept in the user's own folder for temporary files; where that is no better,
    each process compiles its own.

    Args:
        name: begins the file's name.
        source: C, without other files than the standard library's.
        defined: constants for the preprocessor.
        folder: where libraries are kept.

    Raises:
        NotCompiled: no compiler, or one that fails; or its library cannot be loaded.
    """
    try:
        compiler = _compiler()
        command = [*compiler, *_FLAGS, *(f"-D{key}={value}" for key, value in defined.items())]
        made_of = [source, *command, _version(compiler), _processor()]
        digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:32]
        file = f"{name}-{digest}.so"
        for place in _places(folder):
            with suppress(OSError):
                return ctypes.CDLL(str(_kept(place, file, command, source)))
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / file
            _compile(command, source, made)
            return ctypes.CDLL(str(made))  # it stays loaded without its file
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise NotCompiled(f"its library cannot be made or loaded ({error})") from error


def _places(folder: Path) -> Iterator[Path]:
    yield folder
    if os.name == "posix":
        yield Path(tempfile.gettempdir()) / f"recbole_cold-{os.geteuid()}"


def _kept(folder: Path, file: str, command: Sequence[str], source: str) -> Path:
    """The library in ``folder``, made if it is not there whole.

    Raises:
        OSError: the folder cannot be written by this user, or can be by others.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = folder.resolve()
    if not _only_ours(folder):
        raise PermissionError(f"others may write '{folder}'")
    path, digest = folder / file, folder / f"{file}.sha256"
    if not _is_whole(path, digest):
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as place:
            made, told = Path(place) / file, Path(place) / digest.name
            _compile(command, source, made)
            made.chmod(0o755)
            told.write_text(_digest_of(made), encoding="ascii")
            os.replace(made, path)
            os.replace(told, digest)  # last: until then the other one does not count
    return path


def _only_ours(path: Path) -> bool:
    """Whether nobody but this user and root may write it, or put another in its place."""
    if os.name != "posix":
        return True
    for each in (path, *path.parents):
        found = each.lstat()
        # In a folder such as /tmp nobody moves what is another's.
        sticky = each != path and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or (found.st_mode & 0o022 and not sticky):
            return False
    return True


def _is_whole(path: Path, digest: Path) -> bool:
    """A library that was cut off is no error when it is loaded, but the end of the process."""
    with suppress(OSError):
        return _only_ours(path) and _digest_of(path).encode() == digest.read_bytes()
    return False


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compiler() -> list[str]:
    """$CC, else cc; and none where $CC is empty."""
    words = shlex.split(os.environ.get("CC", "cc"))
    if not words or shutil.which(words[0]) is None:
        raise NotCompiled(f"there is no C compiler '{' '.join(words)}' (CC names another)")
    return words


def _version(compiler: Sequence[str]) -> str:
    return _run([*compiler, "--version"]).stdout  # of all words: the first may be a cache's name


def _processor() -> str:
    kind = platform.machine() + platform.processor()
    try:
        told = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        with suppress(OSError, subprocess.SubprocessError):  # macOS has it
            kind += _run(["sysctl", "-n", "machdep.cpu.brand_string"]).stdout
        return kind
    kinds = re.findall(r"^(?:model name|flags|Features|CPU part)\s*:.*$", told, re.MULTILINE)
    return "\n".join([platform.machine(), *dict.fromkeys(kinds)])


def _compile(command: Sequence[str], source: str, made: Path) -> None:
    done = _run([*command, "-x", "c", "-", "-o", str(made)], source)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise NotCompiled(f"'{command[0]}' fails: {said.strip()}")


def _run(command: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=given,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_LONGEST,
    )
