"""What a command asks for: rows of a table and their keys, as plain values."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_cold.config import (
    parse_value,
    read_yaml,
)
from recbole_cold.errors import UserError

# Keys that hold for a whole table: no row can have its own.
RUN_WIDE = {
    "model", "dataset", "backbone", "config_files", "seed", "seeds", "share_pretrained", "eval_on",
    "metrics", "base_model", "warm_sets", "common_phases", "matched_row", "saved_dir",
    "cache_dir", "device", "gpu_id", "num_threads",
}  # fmt: skip
# Keys that may differ when a run is continued: they change no number of a result.
MAY_CHANGE = {
    "data_path", "saved_dir", "cache_dir", "checkpoint_seconds", "checkpoint_dir", "show_progress",
    "state", "device", "gpu_id", "use_gpu", "num_threads", "eval_batch_size", "nproc",
    "world_size", "ip", "port", "offset",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One row of a table: a method, and the keys in which it differs from the others."""

    spec: str
    variant: Mapping[str, Any] = field(default_factory=dict)
    matched_steps: int | None = None

    @property
    def label(self) -> str:
        name = self.spec.rsplit(":", 1)[-1].rsplit("/", 1)[-1].removesuffix(".py")
        if self.matched_steps is not None:
            return f"{name} ({self.matched_steps} steps)"
        if not self.variant:
            return name
        inside = ";".join(f"{key}={_short(value)}" for key, value in self.variant.items())
        return f"{name}[{inside}]"


def _short(value: Any) -> str:
    return json.dumps(value, default=str).replace('"', "").replace(" ", "")


def parse_entries(text: str | Sequence[str], flag: str = "--model") -> list[Entry]:
    """``A,B[key=value;key=value]`` as entries; brackets hold what only that row changes.

    Args:
        flag: what sentences call the text.

    Raises:
        UserError: an empty name, a bracket that is not closed, a part without ``=``, a row twice.
    """
    entries = []
    for part in entry_texts(text):
        match = re.fullmatch(r"([^\[\]]+?)(?:\[(.*)\])?", part, re.DOTALL)
        if match is None:
            raise UserError(
                f"{flag} has '{part}', which is not a name or name[key=value;key=value]"
            )
        variant = {}
        for pair in filter(None, _split_outside(match[2] or "", ";")):
            key, equals, value = pair.partition("=")
            if not equals:
                raise UserError(f"'{pair}' in {flag} entry '{part}' is not key=value")
            variant[key.strip()] = parse_value(key.strip(), value.strip())
        entries.append(Entry(match[1].strip(), variant))
    labels = [entry.label for entry in entries]
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise UserError(f"{flag} names {', '.join(sorted(twice))} more than once; name each once")
    return entries


def entry_texts(text: str | Sequence[str]) -> list[str]:
    """The entries of a list as they were written, brackets included."""
    whole = text if isinstance(text, str) else ",".join(text)
    return [part.strip() for part in _split_outside(whole, ",")]


def refuse_run_wide(entry: Entry) -> None:
    for key in entry.variant:
        if key in RUN_WIDE:
            raise UserError(
                f"'{key}' in the brackets of '{entry.label}' holds for the whole table; give it as "
                f"--{key}=..."
            )


def _split_outside(text: str, separator: str) -> list[str]:
    """``text`` at separators that stand in no bracket."""
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


@dataclass(frozen=True)
class Request:
    """What one command asks for; plain values, so that a later ``--resume`` reads it back."""

    models: str
    dataset: str | None = None
    backbone: str | None = None
    config_files: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    def entries(self) -> list[Entry]:
        return parse_entries(self.models)


def request_from(
    keys: Mapping[str, Any], config_files: Sequence[str | Path] = (), command: str = ""
) -> Request:
    """The request of configuration keys and files, as the command line reads them.

    ``model``, ``dataset`` and ``backbone`` are keys like others: a file may name them. Without a
    data set it is ml-100k.
    """
    keys, files = dict(keys), [str(Path(file).expanduser().resolve()) for file in config_files]

    def named(key: str) -> Any:
        given = keys.pop(key, None)
        return given or next((said for said in from_files(files, key) if said), None)

    models, dataset, backbone = named("model"), named("dataset"), keys.pop("backbone", None)
    return Request(models or "", dataset or "ml-100k", backbone, files, keys, command)


def from_files(files: Sequence[str | Path], key: str) -> list[Any]:
    """What configuration files say of a key, the last file first."""
    return [read_yaml(file).get(key) for file in reversed(files)]


def take_numbers(keys: dict[str, Any], *also: str) -> dict[str, Any]:
    """What ``keys`` say of trials at a time and shares of a machine, taken out of them.

    Args:
        also: more keys that are whole numbers.

    Raises:
        UserError: a value is no number that can be.
    """
    kinds: dict[str, Callable[[Any], Any]] = dict.fromkeys((*also, "concurrent"), int)
    kinds |= {"cpus_per_trial": float, "gpus_per_trial": float}
    return {
        name.removesuffix("_per_trial"): _number(name, keys.pop(name), kind)
        for name, kind in kinds.items()
        if name in keys
    }


def _number(name: str, given: Any, kind: Callable[[Any], Any]) -> Any:
    try:
        value = kind(given)
    except (TypeError, ValueError):
        value = -1
    if not value >= (1 if name == "concurrent" else 0):
        raise UserError(f"--{name}={given} is not a number that can be; give for instance 1")
    return value
