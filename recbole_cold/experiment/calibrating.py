"""The curve that makes a kept model's scores probabilities (``calibrate``): fitted on old items.

Scores of the items that a model has learned from say nothing of new ones, and the rows that a run
scores are not for fitting. So the method is trained once more, with some old items playing the new
ones (``fit_on: valid``, as ``tune`` chooses settings), and each phase's curve is fitted on the
rows of these that it has not learned from.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from recbole_cold.config import ColdConfig
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.data.phases import run_phases
from recbole_cold.data.split import Split
from recbole_cold.errors import UserError
from recbole_cold.evaluation.calibrators import fitted
from recbole_cold.experiment.parent import built
from recbole_cold.training.backbone_cache import BackboneCache
from recbole_cold.training.trainer import Trainer

logger = logging.getLogger(__name__)
NONE = "none"


def refuse_uncalibrated(config: ColdConfig, why: str) -> None:
    """Refuse ``calibrate`` where no model is kept.

    Args:
        why: none is, for the message.

    Raises:
        UserError: it is asked for.
    """
    if config["calibrate"] != NONE:
        raise UserError(
            f"calibrate: {config['calibrate']} fits what a kept model's scores mean, and {why}; "
            "leave it out, or keep the model with `recbole-cold run --keep_model=True`"
        )


def refuse_its_own_rows(config: ColdConfig) -> None:
    """Refuse ``calibrate`` in a run that is about old items that play new ones itself.

    Raises:
        UserError: its curve would be fitted on the rows that it scores.
    """
    if config["calibrate"] != NONE and config["fit_on"] == "valid":
        raise UserError(
            f"calibrate: {config['calibrate']} fits on the rows that fit_on: valid scores; leave "
            "one of them out"
        )


def curves(
    config: ColdConfig,
    data: Callable[[ColdConfig], ColdStartDataset],
    cache: Callable[[Split], BackboneCache],
    stop: Callable[[], bool],
) -> Callable[[], Mapping[str, dict[str, Any]]]:
    """What gives the curve of each phase that has one, by training once more.

    Whether there are rows for it is looked at here and now, before anything is trained.

    Args:
        config: that of the kept model, but for ``fit_on: valid``.
        data: gives the data set of a configuration.
        cache: of pre-trained backbones, for a split.
        stop: asked between batches; true raises ``Interrupted``.

    Raises:
        UserError: there are too few old items, or all their rows have one label.
    """
    dataset = data(config)
    split, rule = dataset.split, config["calibrate"]
    label = np.asarray(dataset.inter[dataset.label_field])
    for phase in split.phases:
        if len(np.unique(label[split[phase.score_on]])) < 2:
            raise UserError(
                f"calibrate: {rule} needs rows of both labels, and the {len(split.new_ids)} old "
                f"{split.cold_side}s that play new ones have one label; raise valid_fraction"
            )
    return partial(_fitted, config, dataset, cache, stop)


def _fitted(
    config: ColdConfig,
    dataset: ColdStartDataset,
    cache: Callable[[Split], BackboneCache],
    stop: Callable[[], bool],
) -> dict[str, dict[str, Any]]:
    """Train, and fit a curve to the scores of each phase."""
    split, rule, seed = dataset.split, config["calibrate"], config["seed"]
    label = np.asarray(dataset.inter[dataset.label_field])
    logger.info(
        "%s, seed %d: trained once more without %d of the old %ss, to calibrate its scores",
        config["model"], seed, len(split.new_ids), split.cold_side,
    )  # fmt: skip
    method, _ = built(config, dataset)
    trainer = Trainer(method, seed, cache=cache(split), stop=stop)
    found: dict[str, dict[str, Any]] = {}

    def score(name: str, rows: Any) -> dict[str, Any]:
        chance = trainer.score(method.rows.index(rows)).cpu().numpy()
        curve = fitted(rule, chance, label[rows] > 0)
        if curve is None:
            logger.warning(
                "%s, seed %d, after %s: not calibrated, because its scores order the %d rows of "
                "old items that play new ones no better than chance",
                config["model"], seed, name, len(chance),
            )  # fmt: skip
        else:
            found[name] = {**curve, "phase": name}
        return {}

    run_phases(trainer, split, score)
    return found
