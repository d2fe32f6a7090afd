"""``recbole-cold cache``: what the cache holds, and the removal of what is long unused."""

import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from recbole_cold.cli.arguments import Arguments
from recbole_cold.errors import UserError, nearest

HELP = """\
recbole-cold cache: what the cache holds; the removal of what is long unused

usage: recbole-cold cache [--cache_dir=DIR]
       recbole-cold cache --prune [--older=AGE] [--keep=SIZE] [--dry_run] ...

  Prints a line per kind and data set: how many entries and files, their size,
  when one of them was last used, and what they were made of. Kinds are parsed
  data, pre-trained backbones, data sets from pandas frames, hashes of files,
  and what killed processes left.
  Everything is made again when it is needed, but for frames: a run on them is
  continued only after the call from Python has written them again. Folders of
  runs (saved_dir) are no cache and are never touched; what a stopped run needs
  of pre-trained backbones lies in its own, and its room is free when it ends.
  --prune leaves what a running process uses, and names that are not ours; what
  killed processes left goes a day later, whatever the rule.

flags
  --prune                remove, by one rule or by both
  --older=AGE            what was not used for so long: 12h, 30d, 8w
  --keep=SIZE            the longest unused, until the rest fits: 500MB, 20GB
  --dry_run              say what would be removed, and leave it
  --cache_dir=DIR        $RECBOLE_COLD_CACHE, else ~/.cache/recbole_cold

exit code: 0 done, 1 something could not be removed, 2 bad input

examples
  recbole-cold cache
  recbole-cold cache --prune --older=30d --dry_run
  recbole-cold cache --prune --keep=20GB --cache_dir=/scratch/cache
"""
KEYS = ("cache_dir", "older", "keep")
SWITCHES = ("prune", "dry_run", "debug")
_SECONDS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_BYTES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
          "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}  # fmt: skip
_AGES = (("week", 7 * 24 * 3600), ("day", 24 * 3600), ("hour", 3600), ("minute", 60))
_COLUMNS = "{:<12} {:<16} {:>7} {:>7} {:>11}  {:<14} {}"


def cache(arguments: Arguments) -> int:
    """Show what the cache holds, or prune it; 1 if something could not be removed."""
    keys, flags = arguments.keys, arguments.flags
    for name in sorted({*keys, *flags} - {*KEYS, *SWITCHES}):
        guess = nearest(name, (*KEYS, *SWITCHES))
        raise UserError(
            f"cache takes no --{name}; " + (f"did you mean --{guess}?" if guess else "leave it out")
        )
    rules = [name for name in ("older", "keep") if name in keys]
    if "prune" not in flags:
        for name in (*rules, *(["dry_run"] if "dry_run" in flags else [])):
            raise UserError(f"--{name} goes with --prune; add that, or leave it out")
    elif not rules:
        raise UserError(
            "--prune removes by a rule, and none is given: add --older=30d, --keep=20GB, or both"
        )
    older = _measured("older", keys["older"], _SECONDS, "30d") if "older" in keys else None
    keep = _measured("keep", keys["keep"], _BYTES, "20GB") if "keep" in keys else None
    from recbole_cold.data._cache import cache_root

    root = cache_root(keys.get("cache_dir"))
    if "prune" in flags:
        return _prune(root, older, keep, "dry_run" in flags)
    _show(root)
    return 0


def _measured(name: str, text: str, units: dict[str, int], example: str) -> int:
    """A number with its unit, in bytes or seconds: 12.345kB are 12,345, not one less by rounding.

    Raises:
        UserError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    if found is None or found[2] not in units:
        known = ", ".join(list(units)[:4]) if name == "older" else "kB, MB, GB, TB"
        raise UserError(
            f"--{name}={text} is no number with a unit ({known}); write it as --{name}={example}"
        )
    return round(float(found[1]) * units[found[2]])


def contents(root: Path) -> dict:
    """Entry -> its size in bytes, of all that a cache folder holds."""
    from recbole_cold.data import _cache, _frames_folder
    from recbole_cold.training import backbone_cache

    found = [
        entry for kind in (_cache, _frames_folder, backbone_cache) for entry in kind.entries(root)
    ]
    return {entry: sum(state.st_size for state in entry.files()) for entry in found}


def _show(root: Path) -> None:
    from recbole_cold.cache_entries import in_use
    from recbole_cold.data._cache import size_of

    held = contents(root)
    print(f"cache {root}\n")
    if held:
        print("\n".join(_table(held)))
        busy = [size for entry, size in held.items() if entry.lock and in_use(entry)]
        print(f"\nused by running processes: {len(busy):,} entries, {size_of(sum(busy))}")
    else:
        print("nothing is cached there")
    if root.is_dir():
        print(f"free on that disk: {size_of(shutil.disk_usage(root).free)}")


def _table(held: dict) -> list[str]:
    """A line per kind and data set, the heading first, the sum last."""
    from recbole_cold.data._cache import size_of

    groups: dict[tuple[str, str], list] = {}
    for entry in held:
        groups.setdefault((entry.kind, entry.dataset), []).append(entry)
    lines = [("kind", "data set", "entries", "files", "size", "last used", "made of")]
    for (kind, dataset), entries in groups.items():
        files = sum(len(entry.files()) for entry in entries)
        lines.append(
            (kind, dataset, f"{len(entries):,}", f"{files:,}",
             size_of(sum(held[entry] for entry in entries)),
             _ago(time.time() - max(entry.used for entry in entries)),
             ", ".join(sorted({entry.origin for entry in entries if entry.origin})))
        )  # fmt: skip
    files = sum(len(entry.files()) for entry in held)
    lines.append(("total", "", f"{len(held):,}", f"{files:,}", size_of(sum(held.values())), "", ""))
    return [_COLUMNS.format(*line).rstrip() for line in lines]


def _ago(seconds: float) -> str:
    for word, length in _AGES:
        count = int(seconds // length)
        if count:
            return f"{count:,} {word}{'s' if count > 1 else ''} ago"
    return "just now"


def _prune(root: Path, older: float | None, keep: float | None, dry_run: bool) -> int:
    """Remove what the rules name, and say so; 1 if something could not be removed."""
    from recbole_cold.cache_entries import in_use, remove, unwanted
    from recbole_cold.data._cache import size_of

    held = contents(root)
    busy = [entry for entry in held if entry.lock and in_use(entry)]
    chosen = unwanted(held, busy, older, keep, time.time())
    gone, kept, failures = {}, [], []
    for entry in chosen:
        try:
            done = dry_run or remove(entry)
        except OSError as error:
            failures.append(f"cannot remove '{entry.path}' ({error.strerror or error})")
            continue
        if done:
            gone[entry] = held[entry]
        else:  # a process has just begun to use it
            kept.append(entry)
    print(f"cache {root}\n")
    if gone:
        print("\n".join(_table(gone)))
        print()
    _tell("would remove" if dry_run else "removed", gone, size_of(sum(gone.values())))
    left = {entry: size for entry, size in held.items() if entry not in gone}
    _tell("would keep" if dry_run else "kept", left, size_of(sum(left.values())))
    used = [*kept, *busy]
    if used:
        _tell("of these used by running processes, or perhaps so:", used,
              size_of(sum(held[entry] for entry in used)))  # fmt: skip
    if keep is not None and sum(left.values()) > keep:
        print("more than --keep is left: the rest is in use, being written, or cannot be removed")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def _tell(what: str, entries: Iterable, size: str) -> None:
    count = len(list(entries))
    print(f"{what} {count:,} {'entry' if count == 1 else 'entries'}, {size}")
