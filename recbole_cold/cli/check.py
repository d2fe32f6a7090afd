"""``recbole-cold check``: what a run would find in a data set; its split, written; its leaks."""

import sys
from pathlib import Path
from typing import Any

import yaml

from recbole_cold import paths
from recbole_cold.cli.arguments import Arguments, request_of
from recbole_cold.cli.screen import Stop
from recbole_cold.errors import Interrupted, UserError

HELP = """\
recbole-cold check: what a run would find in a data set

usage: recbole-cold check --dataset=NAME [--data_path=DIR] [--key=value ...]
                          [--write=DIR]
       recbole-cold check --leaks[=L1,L6] --dataset=NAME [--model=A,B] ...

  Prints rows, users, items, fields, the counts of every part of the split, and
  what to know of the data, without training. A split that comes out empty names
  values of cold_threshold and warm_size that work.

  With --leaks: nine checks of what a score must not depend on, a line each with
  ok, leak, note, not applicable (and why) or failed. What reads the data alone
  comes first; the others train, and say before for about how long.
    L1  no score changes with other labels of the test rows
    L2  exchange the ids of new items: scores go with their items
    L3  delete the rows of new items: the backbone is the same bit for bit
    L4  the cold AUC that each feature of new items carries; none of them is
        their count in the whole log
    L5  test rows older than a training row of their user; AUC without them
    L6  rows that stand in two parts
    L7  learned from shuffled labels, AUC is 0.5 within three standard errors
    L8  a feature that tells the label ten times as well as any other
    L9  histories with rows that are later, or not of train

flags (any configuration key, as --key=value or --key value)
  -d, --dataset=NAME --data_path=DIR     atomic files in DIR/NAME
  --threshold="{rating: 4}"              makes a label of a rating
  --cold_threshold=N --warm_size=K       old: more than N rows; K rows of a new
                                         item in each warm-up set
  --cold_side=item|user                  which side is new
  --split_rule=sessions                  each user's last session is held out;
                                         --session_subset=wc|cw|both says of
                                         whom; both: one after the other
  --write=DIR        also write the split as RecBole's ready files (one .inter
                     per part, and the .user and .item files) in DIR/NAME, and
                     say what a yaml needs to run on them
  --leaks[=L1,L6]    all leak checks, or some
  -m, --model=A,B    with --leaks: the methods that are trained, each on the
                     first seed; Base

exit code: 0 done, 1 a leak was found or a leak check failed, 2 bad input,
130 interrupted

examples
  recbole-cold check --dataset=my-data --data_path=. --threshold="{rating: 4}"
  recbole-cold check --dataset=ml-100k --warm_size=5 --write=ready
  recbole-cold check --leaks -d ml-100k -m Base,MetaE
"""


def check(arguments: Arguments) -> int:
    """Say what a run would find in a data set; write its split, or look for leaks, if asked."""
    from recbole_cold.experiment.experiment import Experiment

    keys = dict(arguments.keys)
    folder = keys.pop("write", None)
    if folder == "":
        raise UserError("--write= names no folder; write --write=DIR")
    if "leaks" in arguments.flags:
        if folder is not None:
            raise UserError("--leaks and --write are two things; give one of them")
        return _leaks(arguments)
    request = request_of(arguments._replace(keys=keys), default_models="Base")
    experiment = Experiment(request)
    if folder is None:
        _describe(experiment)
        return 0
    target = _target(Path(folder), experiment.first())
    text = experiment.describe()
    values = _write(experiment, target)
    print(text)
    print(f"\nsplit of seed {experiment.first()['seed']} in {target}; a yaml for it:")
    print(yaml.safe_dump(values, sort_keys=False, default_flow_style=None), end="")
    return 0


def _describe(experiment: Any) -> None:
    """Print the data set and its split, or those of every subset of sessions that is asked for."""
    from recbole_cold.experiment.experiment import Experiment
    from recbole_cold.experiment.subsets import requests_of

    parts = requests_of(experiment.request, experiment.first())
    each = [Experiment(part, store=experiment.store) for part in parts.values()] or [experiment]
    print(each[0].describe())
    for other in each[1:]:
        print(f"\n{other.describe_split()}")
    for one in each:
        one.prepare()  # what only a method can know: columns that it lacks, odd sizes


def _leaks(arguments: Arguments) -> int:
    """Print a line per leak check; 1 where one found a leak or failed."""
    from recbole_cold.experiment.experiment import Experiment
    from recbole_cold.leaks.checks import chosen, find_leaks, is_clean, summary

    asked = arguments.flags["leaks"]
    checks = chosen(None if asked is True else asked)
    with Stop().listening() as stop:
        try:
            experiment = Experiment(request_of(arguments, default_models="Base"), stop=stop)
            config = experiment.first()
            print(f"leaks of {config.dataset}, seed {config['seed']}\n", flush=True)
            lines = find_leaks(experiment, checks, lambda line: print(line, flush=True))
        except Interrupted:
            print("interrupted; the lines above stand", file=sys.stderr)
            return 130
    print(f"\n{summary(lines)}")
    return 0 if is_clean(lines) else 1


def _target(folder: Path, config: Any) -> Path:
    target = paths.absolute(folder) / config.dataset
    if config["common_phases"]:
        raise UserError(
            "--write writes parts that every run reads alike, without common_phases; leave it out "
            "here and give it to the runs"
        )
    if config["old_test_fraction"]:
        raise UserError(
            "--write writes the parts of RecBole's ready files, and old_test_fraction's is none of "
            "them; leave it out here and give it to the runs"
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
    if not config["warm_sets"]:
        values["warm_sets"] = 0
    if config["threshold"]:
        values["threshold"] = dict(config["threshold"])
    loaded = (config["load_col"] or {}).values()
    if any(":" in str(field) for fields in loaded for field in fields or ()):
        values["load_col"] = dict(config["load_col"])  # kinds that no file says
    if config["cold_side"] != "item":
        values["cold_side"] = config["cold_side"]
    return values
