"""``recbole-cold doctor``: what this machine has, and what a run would miss."""

import importlib
import inspect
import os
import platform
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recbole_cold import __version__, compat, registry
from recbole_cold.cli.arguments import Arguments
from recbole_cold.errors import UserError

HELP = """\
recbole-cold doctor: versions, devices, folders, plug-ins, and what is broken

usage: recbole-cold doctor [--cache_dir=DIR]

  Prints versions of Python and packages, CPU cores and CUDA cards, the cache's
  folder and size, where configuration and ml-100k were found, installed
  plug-ins and whether they load, and what of RecBole is mended on the fly.
  Exit code 1 if something that a run needs is broken: the last lines say what
  to do.

examples
  recbole-cold doctor
  recbole-cold doctor --cache_dir=/scratch/cache
  recbole-cold doctor > report-for-an-issue.txt
"""
NEEDED = ("torch", "recbole", "numpy", "pandas", "scipy", "pyarrow", "matplotlib", "PyYAML", "tqdm")
WHERE_USED = {"ray": "compare and tune", "optuna": "tune --search=optuna"}
WIDTH = 80

Finding = tuple[str, str]  # what is found, and what to do about it ('' when all is well)


def doctor(arguments: Arguments) -> int:
    """Print what there is; 1 if something that a run needs is broken, 0 otherwise."""
    extra = sorted({*arguments.keys, *arguments.flags} - {"cache_dir", "debug"})
    if extra:
        raise UserError(f"doctor takes no --{extra[0]}; leave it out")
    cache_dir = arguments.keys.get("cache_dir")
    parts: dict[str, Callable[[], Iterator[Finding]]] = {
        "versions": _versions,
        "devices": _devices,
        "folders": lambda: _folders(cache_dir),
        "plug-ins": _plug_ins,
        "mended in RecBole while a command runs": _mended,
    }
    advice = []
    for heading, findings in parts.items():
        print(heading)
        for found, to_do in findings():
            print(found, flush=True)
            advice += [to_do] if to_do else []
        print()
    for to_do in advice:
        print(textwrap.fill(f"broken: {to_do}", WIDTH, subsequent_indent="  ", **_WHOLE))
    if not advice:
        print("nothing that a run needs is broken")
    return 1 if advice else 0


_WHOLE = {"break_on_hyphens": False, "break_long_words": False}


def _line(name: str, text: str) -> str:
    return textwrap.fill(
        f"  {name:<13} {text}", WIDTH, subsequent_indent=" " * 16, **_WHOLE  # type: ignore[arg-type]
    )  # fmt: skip


def _versions() -> Iterator[Finding]:
    yield _line("recbole_cold", f"{__version__}, {Path(registry.__file__).resolve().parent}"), ""
    yield _line("Python", f"{platform.python_version()}, {platform.platform()}"), ""
    for name in (*NEEDED, *WHERE_USED):
        try:
            yield _line(name, version(name)), ""
        except PackageNotFoundError:
            use = WHERE_USED.get(name, "")
            why = f" (only {use} needs it)" if use else ""
            to_do = "" if use else f"{name} is not installed; pip install {name}"
            yield _line(name, f"not installed{why}"), to_do
    for name in ("torch", "recbole.config", "recbole_cold.experiment.experiment"):
        to_do = _importing(name)
        if to_do:
            yield f"  {name} cannot be imported", to_do


def _importing(name: str) -> str:
    """Advice if a module cannot be imported; '' if it can."""
    try:
        importlib.import_module(name)
    except Exception as error:
        what = f"{name} cannot be imported ({type(error).__name__}: {error})"
        return f"{what}; install {name.partition('.')[0]} and what it needs again"
    return ""


def _devices() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield _line("CPU", f"{cores} cores for this process"), ""
    if _importing("torch"):
        return
    import torch

    if not torch.cuda.is_available():
        yield _line("CUDA", "no card that torch sees"), ""
        return
    for number in range(torch.cuda.device_count()):
        try:
            free, whole = torch.cuda.mem_get_info(number)
        except RuntimeError as error:
            to_do = f"CUDA card {number} does not answer ({error}); use --device=cpu or mend it"
            yield _line(f"cuda:{number}", "does not answer"), to_do
            continue
        name = torch.cuda.get_device_name(number)
        yield _line(f"cuda:{number}", f"{name}, {free / 1e9:.1f} of {whole / 1e9:.1f} GB free"), ""


def _folders(cache_dir: str | None) -> Iterator[Finding]:
    from recbole_cold.data._cache import cache_root

    yield _cache(cache_root(cache_dir))
    for name, find in (("properties", registry.properties_dir), ("ml-100k", _ml_100k)):
        try:
            yield _line(name, str(find())), ""
        except UserError as error:
            yield _line(name, "not found"), str(error)


def _cache(root: Path) -> Finding:
    files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    there = f"{root}, {len(files):,} files, {size / 1e6:,.1f} MB"
    try:
        _try_to_write(root)
    except OSError as error:
        return _line("cache", f"{there}, not writable"), (
            f"nothing can be cached under {root} ({error.strerror}); make it writable, or choose "
            "another folder with --cache_dir or $RECBOLE_COLD_CACHE"
        )
    return _line("cache", f"{there}, writable"), ""


def _try_to_write(root: Path) -> None:
    """Try to write a file as a run would, in the nearest existing folder, and remove it."""
    folder = root
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def _ml_100k() -> Path:
    folder = compat.recbole_folder() / "dataset_example" / "ml-100k"
    if not (folder / "ml-100k.inter").is_file():
        raise UserError(f"ml-100k is not in {folder}; install RecBole again")
    return folder


def _plug_ins() -> Iterator[Finding]:
    plug_ins = registry.plug_ins()
    if not plug_ins:
        yield "  none", ""
    for word, entry, load in plug_ins:
        try:
            load()
        except UserError as error:
            yield _line(entry.name, f"{word}, {entry.value}: does not load"), str(error)
        else:
            yield _line(entry.name, f"{word}, {entry.value}"), ""


def _mended() -> Iterator[Finding]:
    """The functions of ``compat`` whose docstrings name the RecBole version that needs them."""
    for name, shim in vars(compat).items():
        doc = inspect.getdoc(shim) if inspect.isfunction(shim) else None
        if doc and shim.__module__ == compat.__name__ and "RecBole 1." in doc:
            first = " ".join(doc.split("\n\n")[0].split()).split(". ")[0].rstrip(".")
            text = f"  {name}: {first.replace('``', '')}"
            yield textwrap.fill(text, WIDTH, subsequent_indent="    ", **_WHOLE), ""  # type: ignore[arg-type]
