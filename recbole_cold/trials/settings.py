"""Turns a setting (a point of a search space) into configuration keys for any process."""

import json
from collections.abc import Mapping
from typing import Any

from recbole_cold import paths
from recbole_cold.config import ColdConfig
from recbole_cold.data.phases import phase_names
from recbole_cold.errors import UserError
from recbole_cold.kinds import cut


def nested(setting: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """A setting as configuration keys: dotted ones go into a copy of the mapping in ``base``.

    Raises:
        UserError: a dotted key leads into a value that is no mapping.
    """
    values: dict[str, Any] = {}
    for key, value in setting.items():
        first, *path = key.split(".")
        if not path:
            values[first] = value
            continue
        if first not in values:
            values[first] = json.loads(json.dumps(base.get(first) or {}))
        inner = values[first]
        for name in path[:-1]:
            inner = inner.setdefault(name, {}) if isinstance(inner, dict) else inner
        if not isinstance(inner, dict):
            raise UserError(
                f"'{cut(key)}' leads into '{first}', which has no keys of its own; write a list of "
                f'values, --grid="{first}=[...]"'
            )
        inner[path[-1]] = value
    return values


def placed_keys(config: ColdConfig) -> dict[str, Any]:
    """The keys of ``config`` that are paths, made absolute."""
    keys = {"data_path": str(config["data_path"])}
    if config["cache_dir"]:
        keys["cache_dir"] = str(paths.absolute(config["cache_dir"]))
    if config["init_from"]:
        keys["init_from"] = str(paths.expanded(config["init_from"]).absolute())
    return keys


def with_metric(config: ColdConfig) -> dict[str, Any]:
    """``metrics`` with the metric that settings are chosen by, where it is not among them."""
    if config["valid_metric"] in config["metrics"]:
        return {}
    return {"metrics": [*config["metrics"], config["valid_metric"]]}


def check_select_on(select_on: str, config: ColdConfig) -> None:
    """Raise a ``UserError`` if settings cannot be chosen by that phase."""
    phases = phase_names(config)
    if select_on not in ("mean", *phases):
        raise UserError(
            f"--select_on={select_on} is no phase; use mean or one of {', '.join(phases)}"
        )
