"""Lets a search algorithm of Ray Tune choose settings, in rounds."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.sweep.requests import Setting
from recbole_cold.sweep.tune_space import distribution, from_text

MOST_REPEATS = 50  # suggestions in a row that were tried before


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
    names = (f"setting-{number}" for number in count())
    tried = 0
    while tried < sweep.n_settings:
        wanted = min(width, sweep.n_settings - tried)
        batch, new = _suggested(sweep, search_alg, names, wanted)
        if not new:
            sweep.tell(
                f"{type(search_alg).__name__} suggests no other settings than the {tried} that "
                "were tried; the search ends here"
            )
            return
        tried += len(new)
        yield new
        for name, setting in batch.items():
            search_alg.on_trial_complete(name, **_result(sweep, setting))


def _suggested(
    sweep: Any, search_alg: Any, names: Iterator[str], wanted: int
) -> tuple[dict[str, Setting], list[Setting]]:
    """Suggestions to be answered after this round, and the settings that are new in them.

    What was tried is answered at once, and asked for anew.
    """
    batch: dict[str, Setting] = {}
    new: list[Setting] = []
    repeats = 0
    while len(new) < wanted and repeats < MOST_REPEATS:
        name = next(names)
        params = search_alg.suggest(name)
        if not isinstance(params, dict):  # no more at a time, or no more at all
            break
        values = {axis.key: from_text(axis, params[axis.key]) for axis in sweep.axes}
        setting, is_new = sweep.take(values)
        if is_new:
            new.append(setting)
        repeats = 0 if is_new else repeats + 1
        if is_new or any(setting is each for each in new):
            batch[name] = setting
        else:
            search_alg.on_trial_complete(name, **_result(sweep, setting))
    return batch, new


def _result(sweep: Any, setting: Setting) -> dict[str, Any]:
    """What came of a setting, as a searcher is told it."""
    summary = sweep.outcomes.summary(setting)
    whole = summary["n"] == len(sweep.seeds)
    return {"result": {sweep.metric: summary["mean"]} if whole else None, "error": not whole}
