"""Files that are whole or absent (written, then renamed), state files with a checksum."""

import contextlib
import hashlib
import io
import os
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import torch

from recbole_cold.errors import WriteError
from recbole_cold.locks import try_lock as try_lock

_MAGIC = b"recbole_cold state 1\n"


class DamagedFile(Exception):
    """A state or cache file is truncated or altered; the reader decides what to do about it."""


def write_bytes(path: Path, payload: bytes) -> None:
    """Write ``payload`` to ``path`` so that no reader ever sees half of it.

    Raises:
        WriteError: the folder is missing, read-only or full; nothing is left behind.
    """
    # Named by process: two runs may write one cache file at once, and the last one stays.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise WriteError(
            f"cannot write '{path}' ({error.strerror or error}); free some space there or choose "
            "another folder with --saved_dir or --cache_dir"
        ) from error


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values with a checksum; ``load_state`` reads them back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    digest = hashlib.sha256(payload).hexdigest().encode()
    write_bytes(path, _MAGIC + digest + b"\n" + payload)


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state saved at ``path``, unpickled with ``weights_only=True``.

    Raises:
        DamagedFile: the file is not one of ours, is cut short, or its checksum differs.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DamagedFile(f"'{path}' cannot be read ({error.strerror or error})") from error
    header = len(_MAGIC) + 65
    if not raw.startswith(_MAGIC) or len(raw) < header:
        raise DamagedFile(f"'{path}' is cut short or is not a state file of recbole_cold")
    payload = raw[header:]
    if hashlib.sha256(payload).hexdigest().encode() != raw[len(_MAGIC) : header - 1]:
        raise DamagedFile(f"'{path}' is damaged: its checksum differs")
    try:
        state = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except Exception as error:  # whatever a foreign pickle makes of it
        raise DamagedFile(f"'{path}' is whole, but no state ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise DamagedFile(f"'{path}' is whole, but no state (it holds a {type(state).__name__})")
    return state


def is_state(path: Path) -> bool:
    """Whether a file begins as ``save_state`` writes it."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def text_in(path: Path, name: str) -> str:
    """A text of a saved state, by its name, without the tensors: nothing is unpickled.

    Raises:
        ValueError: the file is damaged, or has no such text.
    """
    try:
        # torch writes an archive; what stands before it does no harm.
        with zipfile.ZipFile(path) as archive:
            (inner,) = (each for each in archive.namelist() if each.endswith("/data.pkl"))
            texts = [said for _, said, _ in pickletools.genops(archive.read(inner))
                     if isinstance(said, str)]  # fmt: skip
        return texts[texts.index(name) + 1]
    except (OSError, ValueError, LookupError, zipfile.BadZipFile) as error:
        raise ValueError(f"'{path}' has no text '{name}'") from error
