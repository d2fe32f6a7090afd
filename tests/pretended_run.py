"""One method, start to end, on the CPU and on a pretended card: a process of its own, which prints
what differs and, stage by stage, which lines of the package waited for the card, or sent to it.

    python pretended_run.py METHOD FOLDER '{"keys": "of the configuration"}'
"""

import json
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch
from pretended_card import CARD, pretended_card

from recbole_cold.model import _content, _triple_scores
from recbole_cold.registry import find_method
from recbole_cold.testing import Bench
from recbole_cold.testing._bench import SEED
from recbole_cold.training.trainer import Trainer


class PlainScores:
    @staticmethod
    def apply(*words):
        return _triple_scores.plain_scores(*words[:5])


def scores_of(method, dataset, *noted) -> tuple[dict, list, list]:
    """Scores of every phase, on the CPU; of each list, what every stage added to it, by line; the
    stages."""
    trainer, found, told = Trainer(method, SEED), {}, [{} for _ in noted]

    def stage(name, work, *args):
        for each in noted:
            each.clear()
        work(*args)
        for each, lines in zip(noted, told, strict=True):
            lines[name] = Counter(line for _, line in each)

    stage("pretrain", trainer.pretrain)
    stage("learn", trainer.learn)
    for phase in dataset.split.phases:
        if phase.warm_up_on is not None:
            stage(phase.name, trainer.warm_up, phase.name, dataset.split[phase.warm_up_on])
        found[phase.name] = trainer.score(method.rows.index(dataset.split["test"])).cpu()
        assert trainer.evaluate(phase.name, dataset.split["test"])["metrics"]
    return found, told, trainer.journal["stages"]


def main(name: str, folder: Path, keys: dict) -> None:
    warnings.simplefilter("ignore")
    cls = find_method(name)
    backbone = name if cls.network is not None else "DeepFM"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_content, "tanh", torch.tanh)  # the forms that a card has
        patch.setattr(_triple_scores, "_Scores", PlainScores)
        plain, _, _ = scores_of(*Bench(cls, keys, folder / "cpu").build(backbone))
    with pytest.MonkeyPatch.context() as patch, pretended_card(patch) as watching:
        method, dataset = Bench(cls, keys, folder / "card").build(backbone)
        assert {each.device for each in method.parameters()} == {CARD}
        notes = watching.notes
        found, (waits, sent), stages = scores_of(method, dataset, notes.waits, notes.sent)
    differs = {phase: float((found[phase] - plain[phase]).abs().max()) for phase in plain}
    finite = all(bool(torch.isfinite(scores).all()) for scores in found.values())
    steps = {stage["name"]: stage["steps"] for stage in stages}
    told = {"differs": differs, "finite": finite, "waits": waits, "sent": sent, "steps": steps}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
