"""What the converters beside this file share: their command line, and writing whole files."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path


class BadInput(Exception):
    """What is wrong with the raw files or the folders, in one sentence."""


def content(path: Path, what: str) -> bytes:
    """The bytes of a raw file, lines ended by newlines alone.

    Args:
        what: which folder ``--raw`` must be, for the message.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        return path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise BadInput(f"cannot read '{path}' ({error.strerror}); --raw must be {what}") from error


def write(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write the files to the folder ``out``; either all of them or none.

    Raises:
        BadInput: ``out`` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".converting.", dir=out) as folder:
            for name, text in files.items():
                (Path(folder) / name).write_bytes(text)
            for name in files:
                os.replace(Path(folder) / name, out / name)
    except OSError as error:
        raise BadInput(
            f"cannot write to '{out}' ({error.strerror or error}); choose another --out"
        ) from error
    return [out / name for name in files]


def parser(what: str, name: str, raw: str) -> argparse.ArgumentParser:
    """The flags that all converters have.

    Args:
        raw: what is in the folder of ``--raw``.
    """
    found = argparse.ArgumentParser(description=f"Convert {what} to RecBole atomic files.")
    found.add_argument("--raw", type=Path, required=True, help=f"folder with {raw}")
    found.add_argument(
        "--out", type=Path, default=Path(__file__).parent / name, help="default: %(default)s"
    )
    return found


def run(convert: Callable[[], list[Path]]) -> int:
    """Convert, and print the files or what is wrong; the exit code."""
    try:
        written = convert()
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(map(str, written)))
    return 0
