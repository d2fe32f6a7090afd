"""One method as a trainable for ``ray.tune.Tuner``, for people with a Ray script of their own."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_cold import paths
from recbole_cold.config import make_config, overall_values
from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import to_select_by
from recbole_cold.experiment.requests import parse_entries
from recbole_cold.kinds import plain
from recbole_cold.registry import absolute
from recbole_cold.training.callbacks import Callback, CallbackList
from recbole_cold.trials.cache_offer import offer_here
from recbole_cold.trials.settings import (
    check_select_on,
    nested,
    placed_keys,
    with_metric,
)
from recbole_cold.trials.trial import TrialSpec, score_of
from recbole_cold.trials.worker import Worker, actor_class

# Keys of a Tuner's configuration that name the trial itself; all others are configuration keys.
_OF_THE_TRIAL = ("model", "backbone", "seed")
# Keys that must be equal in all trials, or their values could not be compared.
_FIXED = ("dataset", "config_files", "data_path", "fit_on", "seeds", "metrics", "valid_metric")


def trainable(
    model: str,
    dataset: str = "ml-100k",
    *,
    backbone: str | None = None,
    config_files: Sequence[str | Path] = (),
    cpus: float = 1.0,
    gpus: float = 0.0,
    select_on: str = "mean",
    epochs: bool = True,
    callbacks: Sequence[Callback] = (),
    **keys: Any,
) -> Any:
    """A trainable for ``ray.tune.Tuner``: each trial is one method on one seed.

    The Tuner's ``config`` holds configuration keys (dotted ones for parts of mappings), and
    ``model``, ``backbone`` and ``seed`` where these are searched. A trial reports

    * after each pre-training epoch: ``epoch`` (from 1) and the metrics of the plain backbone on the
      cold phase's rows, for schedulers such as ASHA with ``time_attr="epoch"``;
    * at its end: ``cold/AUC``, ``warm_a/AUC``, ... for every phase and metric, and under the
      metric's own name (``AUC``) what settings are chosen by. There is no ``epoch`` in it, so a
      scheduler compares epochs with epochs only.

    All of it comes from pseudo-new items of the training part (``fit_on: valid``): test is not
    scored. A trial cannot be paused, so schedulers that pause (HyperBand, PBT) cannot be used.

    Args:
        model: a method as on the command line, for instance ``MWUF`` or ``my_package.mine:Mine``.
        dataset: its name; ``data_path=`` says where it is, as everywhere.
        cpus: CPU cores of one trial.
        gpus: cards of one trial, or a share of one such as 0.25; 0: it runs on the CPU.
        select_on: ``mean`` over the phases, or one phase.
        epochs: whether to report pre-training epochs; each costs a scoring of the cold rows.
        callbacks: called while each trial runs, in the process that runs it.
        keys: configuration keys of all trials.

    Raises:
        UserError: no trial could run with these arguments.
    """
    from ray import tune

    keys = {"fit_on": "valid", **keys}
    if keys.get("seeds", 1) != 1:
        raise UserError("a trial has one seed; search seed=tune.grid_search([...]) for several")
    (entry, *others) = parse_entries(model)
    if others:
        raise UserError(f"trainable takes one model, not '{model}'")
    CallbackList(callbacks)
    files = tuple(str(paths.absolute(file)) for file in config_files)
    config = make_config(entry.spec, dataset, backbone, files, {**keys, **entry.variant})
    metric = to_select_by(config["valid_metric"])
    check_select_on(select_on, config)
    shared = {**keys, **entry.variant, **placed_keys(config), **with_metric(config)}
    shared = plain({key: value for key, value in shared.items() if key not in _OF_THE_TRIAL})
    given = {
        "model": entry.spec,
        "backbone": backbone
        or config.external_config_dict.get("backbone")
        or overall_values()["backbone"],
        "seed": config["seed"],
    }
    base = {key: value for key, value in config.final_config_dict.items() if _is_plain(value)}

    # Not the configuration itself: a class of a user's file in it can be sent to no other process.
    offer, name = offer_here(), config.dataset

    def begin(setting: dict[str, Any], share: float) -> Worker:
        spec = spec_of(setting, given, shared, base, config_files=files, dataset=name)
        read = _reader(metric, select_on)
        return Worker(spec, share, epochs, callbacks, read, offer=offer)

    return tune.with_resources(actor_class(begin), {"cpu": cpus, "gpu": gpus})


def spec_of(
    setting: Mapping[str, Any],
    given: Mapping[str, Any],
    shared: Mapping[str, Any],
    base: Mapping[str, Any],
    **place: Any,
) -> TrialSpec:
    """The trial of one point of a Tuner's space.

    Args:
        setting: what the Tuner chose.
        given: ``model``, ``backbone`` and ``seed`` where the setting has none.
        shared: keys of all trials.
        base: values that dotted keys of the setting change a part of.

    Raises:
        UserError: the setting has a key that must be equal in all trials.
    """
    for key in _FIXED:
        if key in setting:
            raise UserError(
                f"'{key}' must be equal in all trials; give it to recbole_cold.trainable instead"
            )
    own = {key: setting.get(key, value) for key, value in given.items()}
    rest = {key: value for key, value in setting.items() if key not in _OF_THE_TRIAL}
    return TrialSpec(
        model=absolute(own["model"]),
        backbone=absolute(str(own["backbone"])),
        seed=int(own["seed"]),
        overrides=plain({**shared, **nested(rest, base)}),
        **place,
    )


def _reader(metric: str, select_on: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that turns the report of a finished trial into the one for Tune."""

    def read(report: dict[str, Any]) -> dict[str, Any]:
        if "error" in report:
            raise UserError(report["error"])
        if "document" not in report:  # given up
            return {**report, metric: math.nan}
        document = json.loads(report["document"])
        phases = {key: value for key, value in report.items() if "/" in key}
        return {
            **phases,
            metric: score_of(document, metric, select_on),
            "seconds": document["trial"]["seconds"],
            "done": True,
        }

    return read


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | dict)
