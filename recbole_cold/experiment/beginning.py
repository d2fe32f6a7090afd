"""What a run began with; a continued one must have the same libraries, code, settings and data.

It stands in ``request.json``, without which nothing is continued: files beside it (``split.json``,
``config.yaml``) may be lost and written again, but what they are held against may not.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from recbole_cold import keys
from recbole_cold.errors import UserError

KEY = "began"  # of request.json
# What computes numbers. Python itself is told in documents, but computes none of them.
_NO_PART = {"python"}


class Changed(UserError):
    """A run cannot be continued: what it began with is there no more."""


def beginning(
    rows: Mapping[str, tuple[str, Mapping[str, Any]]], data: str, split: str, libraries: Any
) -> dict[str, Any]:
    """What is kept, in the types of JSON.

    Args:
        rows: label -> the code of its results and its configuration.
        data: hash of the data set.
        split: hash of the first seed's split.
        libraries: name -> version.
    """
    told = {
        "versions": dict(libraries),
        "rows": {label: {"code": code, "config": config} for label, (code, config) in rows.items()},
        "data": data,
        "split": split,
    }
    return json.loads(json.dumps(told, default=str))


def read_beginning(folder: Path) -> dict[str, Any] | None:
    """What stands in the ``request.json`` of a run; None where it tells nothing.

    Raises:
        UserError: something else stands there.
    """
    path = folder / "request.json"
    try:
        began = json.loads(path.read_text(encoding="utf-8")).get(KEY)
    except (OSError, ValueError, AttributeError):
        return None
    if began is not None and not _is_beginning(began):
        raise UserError(f"'{path}' is damaged ('{KEY}' in it); start the run again")
    return began


def lost_configs(wanted: Mapping[Path, Mapping[str, Any]]) -> list[Path]:
    """The configuration files, path -> keys, that are missing, damaged or say something else."""
    return [path for path, config in wanted.items() if not _says(path, config)]


def _says(path: Path, config: Mapping[str, Any]) -> bool:
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    place = keys.names(only=[keys.PLACE])
    return isinstance(told, dict) and not changed_names(told, config, place)


def _is_beginning(found: Any) -> bool:
    if not isinstance(found, dict) or not {"data", "split", "versions", "rows"} <= set(found):
        return False
    rows = found["rows"]
    if not isinstance(rows, dict) or not isinstance(found["versions"], dict):
        return False
    return all(
        isinstance(row, dict) and isinstance(row.get("config"), dict) for row in rows.values()
    )


def origin_of(code: str, libraries: Mapping[str, str]) -> str:
    """What a resume point says of the code and the libraries that wrote it."""
    return _text([code, {name: v for name, v in libraries.items() if name not in _NO_PART}])


def is_untouched(folder: Path) -> bool:
    """Whether nothing was computed yet: then there is nothing that could be mixed."""
    return not (folder / "results.json").exists() and not any(folder.glob("*/state/*"))


def same_libraries(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tables of versions name the same libraries that compute."""
    return not changed_names(one, other, _NO_PART)


def refuse_changes(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    folder: Path,
    made: Mapping[str, Any],
    codes: Mapping[str, str],
) -> None:
    """A continued run must have what it began with.

    Args:
        before, now: as ``beginning`` gives it.
        made: the results that are there (``results.json``), or an empty mapping.
        codes: label -> what the code of each of these rows is now.

    Raises:
        Changed: says what changed and what to do.
    """
    since = f"changed since the run in '{folder}' began"
    for found in (before["versions"], *([made["versions"]] if made else [])):
        other = changed_names(found, now["versions"], _NO_PART)
        if other:
            told = ", ".join(f"{name} {found.get(name)} to {now['versions'].get(name)}"
                             for name in other)  # fmt: skip
            raise Changed(
                f"versions {since} ({told}): its rows would mix both; install "
                f"{', '.join(f'{name} {found.get(name)}' for name in other)} again, or start a new "
                "run"
            )
    place = keys.names(only=[keys.PLACE])
    other = {
        key
        for label, row in now["rows"].items()
        for key in changed_names(before["rows"].get(label, row)["config"], row["config"], place)
    }
    if other:
        raise Changed(
            f"{', '.join(sorted(other))} {since} (configuration files or defaults); put it back, "
            "or start a new run"
        )
    rows = (before["rows"], now["rows"])
    other = {
        label
        for label in {*rows[0], *rows[1]}
        if len({row.get(label, {}).get("code") for row in rows}) > 1
    }
    other |= {run["label"] for run in made.get("runs", ()) if run["code"] != codes[run["label"]]}
    if other:
        raise Changed(
            f"the code of {', '.join(sorted(other))} {since}: rows would mix both; put the code "
            "back, or start a new run"
        )
    data = [before["data"], *([made["data_hash"]] if made else [])]
    if set(data) != {now["data"]} or before["split"] != now["split"]:
        raise Changed(
            f"the data of the run in '{folder}' changed since it began; put the files back, or "
            "start a new run"
        )


def changed_names(
    before: Mapping[str, Any], now: Mapping[str, Any], without: Iterable[str]
) -> list[str]:
    """Names whose values differ; nan is the same as nan."""
    names = sorted({*now, *before} - set(without))
    return [name for name in names if _text(before.get(name)) != _text(now.get(name))]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
