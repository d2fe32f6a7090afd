"""A kept model to measure, and rows that it can score."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import _common as common
from benchmarks._common import Options
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.folders import new_folder
from recbole_cold.experiment.requests import Request


def kept_run(options: Options, models: str, folder: Path) -> Path:
    """The folder of a run of ``models`` on DeepFM that kept them; one epoch of pre-training."""
    overrides = {**common.KEYS, **common.QUIET, **options.keys, "bootstrap_resamples": 0}
    overrides |= {"matched_row": False, "keep_model": True, "saved_dir": str(folder / "saved")}
    if options.data_path is not None:
        overrides["data_path"] = str(Path(options.data_path).resolve())
    request = Request(models, options.dataset, "DeepFM", (), overrides)
    experiment = Experiment(request)
    experiment.prepare()
    experiment.open_folder(new_folder)
    experiment.run()
    (run,) = (folder / "saved").iterdir()
    return run


def rows_of(fitted, n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Rows of users and items that the model knows, drawn alike, ids as texts."""
    draw = np.random.default_rng(seed)
    users = [
        token
        for token, old in zip(
            fitted.dataset.field2id_token[fitted.dataset.uid_field].tolist(),
            fitted.dataset.trained[fitted.dataset.uid_field],
            strict=True,
        )
        if old
    ]
    drawn = {fitted.dataset.uid_field: users, fitted.dataset.iid_field: fitted.ids()}
    return pd.DataFrame({name: np.array(ids)[draw.integers(len(ids), size=n_rows)]
                         for name, ids in drawn.items()})  # fmt: skip
