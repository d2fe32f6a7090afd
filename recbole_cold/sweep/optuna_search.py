"""Lets optuna choose settings, in rounds."""

import json
from collections.abc import Iterator
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.sweep.requests import Setting
from recbole_cold.sweep.space import Axis


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

    Finished trials are read again in the same order, so a resumed search asks for the same ones.
    """
    optuna = import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize" if sweep.lower else "maximize",
        sampler=optuna.samplers.TPESampler(seed=sweep.config["seed"]),
    )
    width = max(1, sweep.at_a_time() // len(sweep.seeds))
    for start in range(0, sweep.n_settings, width):
        asked, batch = [], []
        for _ in range(min(width, sweep.n_settings - start)):
            trial = study.ask()
            params = {axis.key: _suggest(trial, axis) for axis in sweep.axes}
            known = [each for each in sweep.settings if each.params == params]
            setting = known[0] if known else sweep.setting(params)
            if not known:
                sweep.settings.append(setting)
            asked.append((trial, setting))
            batch.append(setting)
        yield batch
        for trial, setting in asked:
            summary = sweep.outcomes.summary(setting)
            if summary["n"] == len(sweep.seeds):
                study.tell(trial, summary["mean"])
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)


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
