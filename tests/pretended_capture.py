"""Pre-training and learning on a pretended card, twice: step by step, and recorded. A process of
its own, which prints what differs, which fits were recorded, and how often each was replayed.

    python pretended_capture.py METHOD FOLDER '{"keys": "of the configuration"}'
"""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from pretended_card import pretended_card
from pretended_graph import OfPretendedCard

from recbole_cold.registry import find_method
from recbole_cold.testing import Bench
from recbole_cold.testing._bench import SEED
from recbole_cold.training import captured
from recbole_cold.training.trainer import Trainer


def trained(cls, keys, folder, patch, watching):
    """The state on the CPU afterwards, and recorders by the fit's name."""
    recorders = []

    def make():
        recorders.append(OfPretendedCard(watching.notes))
        return recorders[-1]

    patch.setattr(captured, "recorder_of", lambda device: make)
    names, init = [], captured.Captured.__init__

    def noted(self, fit, *args):
        names.append(fit.name)
        init(self, fit, *args)

    patch.setattr(captured.Captured, "__init__", noted)
    method, _ = Bench(cls, keys, folder).build("DeepFM")
    trainer = Trainer(method, SEED)
    trainer.pretrain()
    trainer.learn()
    patch.setattr(captured.Captured, "__init__", init)
    state = {name: value.cpu() for name, value in method.state_dict().items()}
    return {**state, "generator": torch.get_rng_state()}, names, recorders


def main(name: str, folder: Path, keys: dict) -> None:
    warnings.simplefilter("ignore")
    cls = find_method(name)
    with pytest.MonkeyPatch.context() as patch, pretended_card(patch) as watching:
        expected, _, _ = trained(cls, keys, folder / "plain", patch, watching)
        keys = {**keys, "cuda_graph": True}
        found, names, recorders = trained(cls, keys, folder / "graph", patch, watching)
    differs = [key for key in expected if not torch.equal(expected[key], found[key])]
    replays = [each.tape.replays for each in recorders]
    print(json.dumps({"differs": differs, "fits": sorted(names), "replays": replays}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
