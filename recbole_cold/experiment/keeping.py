"""When a run keeps its trained models, and where: ``keep_model`` and ``keep_phases``.

A model is written when its phase has learned and before it is scored. A phase that is scored has
its model on disk, so a run that is killed and continued keeps the same ones.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cold.config import ColdConfig
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError, nearest
from recbole_cold.experiment.calibrating import NONE, refuse_its_own_rows, refuse_uncalibrated
from recbole_cold.experiment.fingerprint import versions
from recbole_cold.experiment.model_folder import why_not, write_model
from recbole_cold.experiment.parent import KEY as PARENT
from recbole_cold.experiment.parent import digest_of
from recbole_cold.experiment.requests import Entry
from recbole_cold.keys import PLACE, names
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.registry import absolute

logger = logging.getLogger(__name__)

LAST = "last"
FOLDER = "model"
Evaluate = Callable[[str, Any], dict[str, Any]]


def refuse_without_folder(config: ColdConfig, what: str) -> None:
    """Refuse ``keep_model: True`` where there is no folder per method.

    Args:
        what: is run, for the message.

    Raises:
        UserError: it is asked for.
    """
    if config["keep_model"] is True:
        raise UserError(
            f"keep_model: True keeps models in the folder of a run, and {what} writes no such "
            "folder; leave it out, and keep the model with `recbole-cold run` (with saved_dir)"
        )
    refuse_uncalibrated(config, f"{what} keeps none")


def phases_to_keep(config: ColdConfig, phases: Sequence[str]) -> list[str]:
    """The phases after which models are kept, in the order of the run.

    Args:
        phases: those of the run.

    Raises:
        UserError: ``keep_phases`` names another.
    """
    asked = config["keep_phases"]
    wanted = [asked] if isinstance(asked, str) else list(asked)
    wanted = [phases[-1] if name == LAST else name for name in wanted]
    for name in wanted:
        if name not in phases:
            guess = nearest(name, [*phases, LAST])
            raise UserError(
                f"keep_phases names '{name}', which is no phase of this run; "
                + (f"did you mean '{guess}'?" if guess else f"use {', '.join(phases)} or {LAST}")
            )
    return [name for name in phases if name in wanted]


def folder_name(phase: str, last: str, seed: int | None) -> str:
    """``model``; with the phase where it is not the last one that is kept, and with the seed where
    there are several."""
    told = FOLDER if phase == last else f"{FOLDER}-{phase}"
    return told if seed is None else f"{told}-seed-{seed}"


def keeping(
    evaluate: Evaluate,
    method: ColdStartRecommender,
    dataset: ColdStartDataset,
    *,
    entry: Entry,
    config: ColdConfig,
    seed: int,
    folder: Path,
    auto: bool,
    alone: bool,
    is_scored: Callable[[str], bool],
    curves: Callable[[], Callable[[], Mapping[str, Any]]],
) -> Evaluate:
    """``evaluate``, which keeps the model first where the configuration asks for it.

    Args:
        entry: the row of the table that the method is.
        config: its configuration, of this seed.
        folder: the row's.
        auto: what ``keep_model: auto`` means here.
        alone: whether the run has one seed.
        is_scored: whether a phase was scored before; its model is then on disk.
        curves: makes what gives the curve of each phase; asked where the configuration wants it.

    Raises:
        UserError: ``keep_model: True`` for a method that cannot be kept, or there are no rows to
            calibrate it on.
    """
    asked = config["keep_model"]
    if asked is False or (asked == "auto" and not auto):
        refuse_uncalibrated(config, "this run keeps none")
        return evaluate
    split = dataset.split
    reason = why_not(method, dataset)
    if reason is not None:
        said = f"the model of {entry.label} cannot be kept, because {reason}"
        if asked is True:
            raise UserError(f"{said}; leave out keep_model, or that row")
        refuse_uncalibrated(config, reason)
        logger.info("%s", said)
        return evaluate
    refuse_its_own_rows(config)
    wanted = phases_to_keep(config, [phase.name for phase in split.phases])
    learned = {phase.name: phase.warm_up_on for phase in split.phases}
    fit_curves = curves() if config["calibrate"] != NONE else dict  # refused before any training
    known: list[Mapping[str, Any]] = []  # made when the first model is written

    def evaluate_and_keep(name: str, rows: Any) -> dict[str, Any]:
        if name in wanted and not is_scored(name):
            order = list(learned)
            parts = [learned[each] for each in order[: order.index(name) + 1]]
            seen = np.concatenate([split[part] for part in ("train", *filter(None, parts))])
            place = folder / folder_name(name, wanted[-1], None if alone else seed)
            if not known:
                known.append(fit_curves())
            told = _about(entry, config, seed, name)
            told |= {"calibration": known[0][name]} if name in known[0] else {}
            write_model(place, method, dataset, seen, told)
            logger.info(
                "%s, seed %d: the model after %s is in '%s'", entry.label, seed, name, place
            )
        return evaluate(name, rows)

    return evaluate_and_keep


def _about(entry: Entry, config: ColdConfig, seed: int, phase: str) -> dict[str, Any]:
    """What ``model.json`` says of the run."""
    place = names(only=[PLACE])
    kept = {key: value for key, value in config.as_dict().items() if key not in place}
    digest = digest_of(config)
    begun = {} if digest is None else {PARENT: {"model": config[PARENT], "sha256": digest}}
    return {
        **begun,
        "label": entry.label,
        "method": absolute(entry.spec),
        "backbone": absolute(_backbone_of(config)),
        "phase": phase,
        "seed": seed,
        "label_rule": _label_rule(config),
        "versions": dict(versions()),
        "config": kept,
    }


def _backbone_of(config: ColdConfig) -> str:
    """The backbone as a request names it: where its class is, if it is no built-in one."""
    asked = config.asked_backbone
    if isinstance(asked, type):
        return f"{asked.__module__}:{asked.__qualname__}"
    return str(asked or config.backbone_name)


def _label_rule(config: ColdConfig) -> Mapping[str, Any]:
    """The field that labels are made of, and from which value on they are 1 (None: as read)."""
    field, least = next(iter((config["threshold"] or {}).items()), (config["LABEL_FIELD"], None))
    return {"field": field, "least": least}
