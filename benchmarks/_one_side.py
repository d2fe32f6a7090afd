"""A method's steps with the code of one checkout: ``python _one_side.py '<request as JSON>'``.

``recbole_cold`` is that of the checkout; what measures it is this folder's, the same for both.
"""

import json
import logging
import sys
import warnings
from pathlib import Path


def main(asked: dict) -> dict:
    """CPU ms of an optimizer step by stage; the scores of ``test`` go to the file ``scores``."""
    import torch

    from benchmarks import _common as common
    from benchmarks._steps import STAGES, Clock, shorten
    from recbole_cold.training.trainer import Trainer

    torch.set_num_threads(1)
    options = common.Options(**asked["options"])
    config = common.configuration(options, asked["model"])
    dataset = common.data_of(options, config)
    method = config.method_class(config, dataset)
    shorten(method, asked["batches"])
    clock = Clock(asked["batches"], asked["untimed"])
    trainer = Trainer(method, config["seed"], callbacks=[clock])
    trainer.pretrain()
    trainer.learn()
    trainer.warm_up("warm_a", dataset.split["warm_a"])
    torch.save(trainer.score(method.rows.index(dataset.split["test"])), asked["scores"])
    return {stage: clock.milliseconds(stage) for stage in STAGES}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    # The package comes from the checkout, and then this folder's own modules from here.
    sys.path[0] = asked["checkout"]
    import recbole_cold

    if Path(recbole_cold.__file__).resolve().parents[1] != Path(asked["checkout"]).resolve():
        sys.exit(f"'{asked['checkout']}' has no recbole_cold")
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    print(json.dumps(main(asked)))
