"""``recbole-cold check``: what a run would find in a data set; its split, written as files."""

from pathlib import Path
from typing import Any

import yaml

from recbole_cold import paths
from recbole_cold.cli.arguments import Arguments, request_of
from recbole_cold.errors import UserError

HELP = """\
recbole-cold check: what a run would find in a data set, without training

usage: recbole-cold check --dataset=NAME [--data_path=DIR] [--key=value ...]
                          [--write=DIR]

  Prints rows, users, items, fields, the counts of every part of the split, and
  what to know of the data. A split that comes out empty names values of
  cold_threshold and warm_size that work.

flags (any configuration key, as --key=value or --key value)
  -d, --dataset=NAME --data_path=DIR     atomic files in DIR/NAME
  --threshold="{rating: 4}"              makes a label of a rating
  --cold_threshold=N --warm_size=K       old: more than N rows; K rows of a new
                                         item in each warm-up set
  --cold_side=item|user                  which side is new
  --write=DIR        also write the split as RecBole's ready files (one .inter
                     per part, and the .user and .item files) in DIR/NAME, and
                     say what a yaml needs to run on them

examples
  recbole-cold check -d ml-100k
  recbole-cold check --dataset=my-data --data_path=. --threshold="{rating: 4}"
  recbole-cold check --dataset=ml-100k --warm_size=5 --write=ready
"""


def check(arguments: Arguments) -> int:
    """Say what a run would find in a data set, and write its split if that is asked for."""
    from recbole_cold.experiment.experiment import Experiment

    keys = dict(arguments.keys)
    folder = keys.pop("write", None)
    if folder == "":
        raise UserError("--write= names no folder; write --write=DIR")
    experiment = Experiment(request_of(arguments._replace(keys=keys), default_models="Base"))
    if folder is None:
        print(experiment.describe())
        experiment.prepare()  # what only a method can know: columns that it lacks, odd sizes
        return 0
    target = _target(Path(folder), experiment.first())
    text = experiment.describe()
    values = _write(experiment, target)
    print(text)
    print(f"\nsplit of seed {experiment.first()['seed']} in {target}; a yaml for it:")
    print(yaml.safe_dump(values, sort_keys=False, default_flow_style=None), end="")
    return 0


def _target(folder: Path, config: Any) -> Path:
    target = paths.absolute(folder) / config.dataset
    if config["common_phases"]:
        raise UserError(
            "--write writes parts that every run reads alike, without common_phases; leave it out "
            "here and give it to the runs"
        )
    if target.exists():
        raise UserError(f"--write would change files in '{target}'; name a folder without it")
    return target


def _write(experiment: Any, target: Path) -> dict[str, Any]:
    """Write the parts of the split; the keys that a run on the written files needs."""
    from recbole_cold.data.ready_parts import ready_vectors, write_atomic_parts

    config = experiment.first()
    dataset = experiment.data(config)
    vectors = ready_vectors(dataset)
    names = write_atomic_parts(dataset.split, dataset, target)
    values: dict[str, Any] = {
        "dataset": config.dataset, "data_path": str(target.parent), "benchmark_filename": names,
    }  # fmt: skip
    if vectors:
        values["vector_fields"] = vectors
    if config["threshold"]:
        values["threshold"] = dict(config["threshold"])
    if config["cold_side"] != "item":
        values["cold_side"] = config["cold_side"]
    return values
