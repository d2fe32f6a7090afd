"""Lets a search algorithm of Ray Tune choose settings, in rounds."""

from collections.abc import Iterator
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.sweep.requests import Setting
from recbole_cold.sweep.tune_space import distribution, from_text


def check_searcher(search_alg: Any) -> None:
    """Raise a ``UserError`` for a searcher that cannot be asked for one setting at a time."""
    from ray.tune.search import Searcher

    if not isinstance(search_alg, Searcher):
        raise UserError(
            f"search_alg must be a Searcher of Ray Tune, such as OptunaSearch(seed=1), but it is "
            f"{type(search_alg).__name__}; grids and random draws are search= and samples="
        )


def ask_searcher(sweep: Any, search_alg: Any) -> Iterator[list[Setting]]:
    """Rounds of settings, as many as run at a time, each chosen from earlier rounds' means.

    A seeded searcher asks for the same settings when a sweep is resumed; those that are done are
    read again.

    Raises:
        UserError: the searcher has a metric or a space of its own.
    """
    space = {axis.key: distribution(axis, grid=False) for axis in sweep.axes}
    mode = "min" if sweep.lower else "max"
    if search_alg.set_search_properties(sweep.metric, mode, space) is False:
        raise UserError(
            f"{type(search_alg).__name__} was made with a metric or a space of its own; leave "
            "them out, the sweep gives both"
        )
    width = max(1, sweep.at_a_time() // len(sweep.seeds))
    asked = 0
    while asked < sweep.n_settings:
        batch: dict[str, Setting] = {}
        for number in range(asked, min(asked + width, sweep.n_settings)):
            params = search_alg.suggest(f"setting-{number}")
            if not isinstance(params, dict):  # no more at a time, or no more at all
                break
            batch[f"setting-{number}"] = _setting(sweep, params)
        if not batch:
            return
        asked += len(batch)
        yield list({id(each): each for each in batch.values()}.values())
        for name, setting in batch.items():
            summary = sweep.outcomes.summary(setting)
            whole = summary["n"] == len(sweep.seeds)
            result = {sweep.metric: summary["mean"]} if whole else None
            search_alg.on_trial_complete(name, result, error=not whole)


def _setting(sweep: Any, params: dict[str, Any]) -> Setting:
    """The sweep's setting for what was suggested: the same one if it was suggested before."""
    values = {axis.key: from_text(axis, params[axis.key]) for axis in sweep.axes}
    for each in sweep.settings:
        if each.params == values:
            return each
    setting = sweep.setting(values)
    sweep.settings.append(setting)
    return setting
