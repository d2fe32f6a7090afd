"""Lets optuna choose settings, in rounds."""

import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.sweep import space
from recbole_cold.sweep.requests import Setting
from recbole_cold.sweep.space import Axis

MOST_REPEATS = 50  # suggestions in a row that were tried before


def import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError(
            "--search=optuna needs the package optuna; install it with `pip install optuna`, or "
            "use --search=random"
        ) from None
    return optuna


def ask_optuna(sweep: Any) -> Iterator[list[Setting]]:
    """Rounds of settings, as many as run at a time, each chosen from earlier rounds' values.

    No setting comes twice. Finished trials are read again in the same order, so a resumed search
    asks for the same ones.
    """
    optuna = import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize" if sweep.lower else "maximize",
        sampler=optuna.samplers.TPESampler(seed=sweep.config["seed"]),
    )
    width = max(1, sweep.at_a_time() // len(sweep.seeds))
    for start in range(0, sweep.n_settings, width):
        wanted = min(width, sweep.n_settings - start)
        asked = [_ask_for_new(study, sweep) for _ in range(wanted)]
        yield [setting for _, setting in asked]
        for trial, setting in asked:
            summary = sweep.outcomes.summary(setting)
            if summary["n"] == len(sweep.seeds):
                study.tell(trial, summary["mean"])
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _ask_for_new(study: Any, sweep: Any) -> tuple[Any, Setting]:
    """A trial of optuna's with a setting that was not tried yet.

    A sampler that knows what is good suggests it again: such a suggestion is given back, and after
    some of them optuna is handed a point that is left. ``n_settings`` says that there is one.
    """
    for _ in range(MOST_REPEATS):
        trial = study.ask()
        setting, is_new = sweep.take({axis.key: _suggest(trial, axis) for axis in sweep.axes})
        if is_new:
            return trial, setting
        study.tell(trial, state=_failed())
    study.enqueue_trial(_as_optuna_says(sweep.axes, _left(sweep)))
    trial = study.ask()
    setting, _ = sweep.take({axis.key: _suggest(trial, axis) for axis in sweep.axes})
    return trial, setting


def _failed() -> Any:
    return import_optuna().trial.TrialState.FAIL


def _left(sweep: Any) -> dict[str, Any]:
    """A point of the space that was not tried, drawn by the seed and what was tried."""
    count = space.size(sweep.axes)
    assert count is not None  # where there is no end of settings, none comes twice so often
    tried = {space.name_of(each.params) for each in sweep.settings}
    first = random.Random(f"{sweep.config['seed']} {len(tried)}").randrange(count)
    # At most as many steps as were tried, and one.
    points = (space.point(sweep.axes, (first + step) % count) for step in range(len(tried) + 1))
    return next(point for point in points if space.name_of(point) not in tried)


def _as_optuna_says(axes: Iterable[Axis], params: dict[str, Any]) -> dict[str, Any]:
    """Lists are texts there: see ``_suggest``."""
    texts = {axis.key for axis in axes if axis.kind in ("grid", "choice")}
    return {key: json.dumps(v) if key in texts else v for key, v in params.items()}


def _suggest(trial: Any, axis: Axis) -> Any:
    if axis.kind in ("grid", "choice"):
        texts = [json.dumps(value) for value in axis.values]
        return json.loads(trial.suggest_categorical(axis.key, texts))
    low, high = axis.values[:2]
    if axis.kind == "randint":
        return trial.suggest_int(axis.key, low, high - 1)
    if axis.kind == "quniform":
        step = axis.values[2]
        if all(float(number).is_integer() for number in axis.values):
            return trial.suggest_int(axis.key, int(low), int(high), step=int(step))
        return trial.suggest_float(axis.key, low, high, step=step)
    return trial.suggest_float(axis.key, low, high, log=axis.kind == "loguniform")
