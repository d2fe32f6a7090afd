"""The request of a run: entries of its table and configuration keys, as plain values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole_cold import keys, paths
from recbole_cold.config import ColdConfig, parse_value, read_yaml
from recbole_cold.data._file_names import interactions
from recbole_cold.data.phases import has_new_items
from recbole_cold.errors import UserError, nearest
from recbole_cold.kinds import cut, text_of
from recbole_cold.registry import absolute, entry_texts, find_method, split_outside


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
        inside = ";".join(f"{key}={text_of(value)}" for key, value in self.variant.items())
        return f"{name}[{inside}]"

    @property
    def places(self) -> dict[str, str]:
        """Where the entry's own keys were given, for messages."""
        return dict.fromkeys(self.variant, f"the brackets of {self.label}")


def parse_entries(text: str | Sequence[str], flag: str = "--model") -> list[Entry]:
    """``A,B[key=value;key=value]`` as entries; brackets hold what only that row changes.

    Args:
        flag: the name of the text in messages.

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
        for pair in filter(None, split_outside(match[2] or "", ";")):
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


def reference_texts(value: str | Sequence[str]) -> list[str]:
    """What ``reference_rows`` names, entry by entry, as it was written."""
    if isinstance(value, str):  # brackets inside brackets are no list in yaml
        value = value.strip()
        value = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    return entry_texts(value) if value and value != [""] else []


def reference_entries(value: str | Sequence[str]) -> list[Entry]:
    """The rows that ``reference_rows`` names.

    Raises:
        UserError: one is no method, or is named twice.
    """
    texts = reference_texts(value)
    entries = parse_entries(texts, "reference_rows") if texts else []
    for entry in entries:
        try:
            find_method(entry.spec)
        except UserError as error:
            raise UserError(f"reference_rows: {error}") from error
    return entries


def reference_rows(config: Any) -> list[tuple[str, Entry]]:
    """The rows that a configuration's ``reference_rows`` names and its split can have, each as it
    was written and read: without new items those about new items are left out.

    Raises:
        UserError: one is no method, or is named twice.
    """
    wanted, new = config["reference_rows"], has_new_items(config)
    rows = zip(reference_texts(wanted), reference_entries(wanted), strict=True)
    return [row for row in rows if new or not find_method(row[1].spec).needs_new_items]


def refuse_run_wide(entry: Entry) -> None:
    for key in entry.variant:
        if key in keys.names(run_wide=True):
            raise UserError(
                f"'{key}' in the brackets of '{entry.label}' holds for the whole table; give it as "
                f"--{key}=..."
            )


def refuse_unknown_base(base: str, entries: Sequence[Entry]) -> None:
    """Refuse a ``base_model`` that is no row of the table; the plain backbone always may be one.

    Raises:
        UserError: names the rows.
    """
    rows = [entry.label for entry in entries]
    methods = [label.partition("[")[0] for label in rows]
    if base not in rows + methods and not re.fullmatch(r"Base( \(\d+ steps\))?", base):
        known = dict.fromkeys(["Base", *rows])
        guess = nearest(base, known)
        raise UserError(
            f"base_model names '{cut(base)}', which is no row of this table; "
            + (f"did you mean '{guess}'?" if guess else f"there are {', '.join(known)}")
        )


@dataclass(frozen=True)
class Request:
    """The request of one run: plain values, which a later ``--resume`` reads back."""

    models: str | Sequence[str]
    dataset: str | None = None
    backbone: str | None = None
    config_files: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    place: str = keys.COMMAND_LINE  # where the overrides were given, for messages

    def entries(self) -> list[Entry]:
        return parse_entries(self.models)


def request_from(
    given: Mapping[str, Any],
    config_files: Sequence[str | Path] = (),
    command: str = "",
    *,
    default_models: str = "",
    place: str = keys.COMMAND_LINE,
) -> Request:
    """The request of configuration keys and files, as the command line reads them.

    ``model``, ``dataset`` and ``backbone`` are keys like others: a file may name them. Without a
    data set it is ml-100k.
    """
    rest, files = dict(given), [str(paths.absolute(file)) for file in config_files]
    for file in files:
        if "config_files" in read_yaml(file):
            raise UserError(
                f"{file} has config_files, but only a command names files; leave it out"
            )
    models, dataset = rest.pop("model", None), rest.pop("dataset", None)
    if models is None:
        models = next((said for said in from_files(files, "model") if said), default_models)
    if dataset is None and not any(from_files(files, "dataset")):
        dataset = "ml-100k"
    return Request(models, dataset, rest.pop("backbone", None), files, rest, command, place)


def placed(request: Any, config: ColdConfig) -> Any:
    """A request whose paths are named from the root, so that it can be continued from any folder.

    Args:
        request: of a run, a comparison or a sweep.
        config: of one of its rows.
    """
    overrides = {**request.overrides, "data_path": data_folder(config)}
    if config["cache_dir"]:
        overrides["cache_dir"] = str(paths.expanded(config["cache_dir"]).absolute())
    # What stands in brackets is a part of its row's name, and stays as it is.
    given = [parse_value("init_from", value) for value in [overrides.get("init_from")] if value]
    files = getattr(request, "config_files", ())  # a reproduction reads none
    begun = (given or from_files(files, "init_from") or [None])[0]
    if begun is not None:
        overrides["init_from"] = str(paths.expanded(begun).absolute())
    named = {
        name: ",".join(map(absolute, entry_texts(value)))
        for name in ("models", "model", "backbones", "backbone")
        if (value := getattr(request, name, None)) and isinstance(value, str | list | tuple)
    }
    return replace(request, overrides=overrides, **named)


def data_folder(config: ColdConfig) -> str:
    """``data_path`` as another process finds it, whatever its working folder."""
    given = str(config.external_config_dict.get("data_path", "dataset_atomic"))
    base = paths.expanded(given).absolute()
    if interactions(base / config.dataset) or base.name == config.dataset:
        return str(base)
    return str(config["data_path"])


def from_files(files: Sequence[str | Path], key: str) -> list[Any]:
    """The values of a key in the configuration files, the last file's first.

    Raises:
        UserError: one is neither a name nor a list of names.
    """
    row = replace(keys.ROWS["model"], name=key)
    found = [(read_yaml(file).get(key), file) for file in reversed(files)]
    return [said and row.check(said, keys.at(str(file))) for said, file in found]


def take_numbers(given: dict[str, Any], *also: str, place: str = keys.COMMAND_LINE) -> dict:
    """Trials at a time and resources per trial, removed from ``given`` and made numbers.

    Args:
        also: more flags that are numbers.

    Raises:
        UserError: a value is no number that can be.
    """
    return {
        name.removesuffix("_per_trial"): keys.check_flag(name, given.pop(name), place)
        for name in (*also, "concurrent", "cpus_per_trial", "gpus_per_trial")
        if name in given
    }
