"""Words of a command line as a verb, flags and keys."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold.errors import UserError

HELP = """\
recbole-cold: cold-start click-through-rate prediction on RecBole

usage: recbole-cold [run] --model=A,B,C [--backbone=DeepFM] [--dataset=ml-100k] [--key=value ...]
       recbole-cold compare --models=A,B --backbones=FM,DCN [--seeds=5] [--key=value ...]
       recbole-cold compare saved/*
       recbole-cold tune --model=A [--space=FILE] [--grid="key=[a,b]" ...]   (tune --help)
       recbole-cold plot --model=A,B [--phase=cold] | DIR --item=ID          (plot --help)
       recbole-cold check --dataset=NAME [--key=value ...]
       recbole-cold list

  run     train and score methods in the phases cold, warm_a, warm_b, warm_c (the default verb)
  compare methods on backbones: run what is missing, reuse what is there, test against a row
  tune    search the settings of one method on pseudo-new items, then score the best on test
  plot    ID vectors of new items among those of old ones, or a new item's feature graphs (EmerG)
  check   split counts, fields and problems of a data set, without training
  list    methods and backbones by name

flags (any configuration key works as --key=value; RecBole's names and precedence)
  --model=A,B[key=value;key=value]   methods, by name, package.module:Class or path/file.py;
                                     brackets hold what only that row of the table changes
  --backbone=NAME                    any RecBole context model: FM, DeepFM, DCN, PNN, ...
  --dataset=NAME --data_path=DIR     atomic files in DIR/NAME; ml-100k comes with RecBole
  --config_files="a.yaml b.yaml"     later files win; the command line wins over files
  --seeds=5 --seed=2020              repeat everything with seeds 2020 ... 2024
  --protocol=strict|released         as the papers say, or as their released code does
  --warm_steps=N                     the same optimizer steps per warm phase for every method
  --resume[=DIR]                     continue an interrupted run (the newest one without DIR)
  --debug                            show the traceback of an error; --version; --help

compare only
  --against=Base                     the row that tests and RelaImpr are against; or: matched
  --concurrent=N                     trials at a time; --cpus_per_trial, --gpus_per_trial,
                                     --ray_address=auto|HOST:PORT for a running cluster

examples
  recbole-cold --model=Base,DropoutNet,MetaE,MWUF,CVAR --dataset=ml-100k
  recbole-cold --model="MWUF,MWUF[mwuf_parts=[scale]]" --backbone=DCN --seeds=5
  recbole-cold check --dataset=my-data --data_path=. --threshold="{rating: 4}"
"""
TUNE_HELP = """\
recbole-cold tune: search the settings of one method, on Ray

usage: recbole-cold tune --model=A [--backbone=DeepFM] [--dataset=ml-100k] [--key=value ...]

  Settings are chosen on old items that play new ones; the best is then fitted on everything and
  scored on test once. Without --space and --grid: the sweep_space of the method's yaml.

flags (any configuration key works as --key=value and holds for all trials)
  --space=FILE                   yaml (a list is a grid axis; loguniform, uniform, quniform, choice,
                                 randint by name) or RecBole's .hyper lines
  --grid="key=[a,b]"             one more axis; may be given several times
  --samples=N                    draws of the distributions per point of the grid (10)
  --search=grid|random|optuna    walk lists, draw from them, or let optuna choose
  --seeds=N                      trials per setting, and seeds of the final run
  --select_on=mean|cold|warm_a   the phase that --valid_metric is read in; mean over all
  --concurrent=N                 trials at a time; as many as there is room for
  --cpus_per_trial=1 --gpus_per_trial=0.25    shares of a machine
  --scheduler=asha|none          asha stops weak trials between pre-training epochs
  --ray_address=auto|HOST:PORT   a running Ray cluster (docs/sweeps.md)
  --resume[=DIR]                 run what is missing (of the newest sweep without DIR)

examples
  recbole-cold tune --model=MWUF --dataset=ml-100k --seeds=2
  recbole-cold tune --model=CVAR --grid="cvar_iters=[1,5,10]" --grid="learning_rate=[1e-3,1e-2]"
  recbole-cold tune --model=MetaE --space=space.yaml --samples=20 --gpus_per_trial=0.25
"""
PLOT_HELP = """\
recbole-cold plot: pictures of what methods give to new items

usage: recbole-cold plot --model=A,B [--phase=cold] [--key=value ...]
       recbole-cold plot DIR --item=ID [--entry=LABEL] [--seed=N] [--to=FILE]

  With methods: trains them up to a phase and draws the ID vectors of new items among those of old
  ones, in the plane of the old ones' two principal components.
  With the folder of a finished run of EmerG: heat maps of one item's adjacency matrices, a row per
  phase and a column per order.

flags of the first form: those of a run, and
  --phase=cold       cold, warm_a, ...

flags of the second form
  --item=ID          the item, by its name in the data
  --entry=LABEL      which row of the table; the first one that has graphs
  --seed=N           which seed; the first one
  --to=FILE          a .png, .pdf or .svg; without it DIR/figures/graphs-<item>.png

examples
  recbole-cold plot --model=Base,CVAR,AVAEW,CSDM --dataset=ml-100k
  recbole-cold plot saved/ml-100k-EmerG-20260101-120000 --item=51
"""
VERBS = ("run", "compare", "tune", "plot", "check", "list")
DEFAULT_MODELS = "Base,DropoutNet,MetaE,MWUF,CVAR"


class Arguments(NamedTuple):
    """A parsed command line: the verb, our own flags, and configuration keys."""

    verb: str
    flags: dict[str, Any]
    keys: dict[str, str]


def parse(argv: Sequence[str]) -> Arguments:
    """Verb and ``--key=value`` pairs; values stay texts.

    Raises:
        UserError: an unknown verb, a word that is not ``--key=value``, a key given twice.
    """
    words = list(argv)
    verb = words.pop(0) if words and not words[0].startswith("-") else "run"
    if verb not in VERBS:
        from recbole_cold.errors import nearest

        guess = nearest(verb, VERBS)
        raise UserError(
            f"'{verb}' is not a verb; "
            + (f"did you mean '{guess}'? " if guess else "")
            + f"use one of {', '.join(VERBS)}"
        )
    flags: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for word in words:
        if word in ("--help", "-h", "--version", "--debug", "--resume"):
            flags[word.lstrip("-")] = True
            continue
        name, equals, value = word.partition("=")
        if verb in ("compare", "plot") and not word.startswith("-"):
            flags.setdefault("folders", []).append(word)
            continue
        if not name.startswith("--") or not equals or not name[2:]:
            raise UserError(f"'{word}' is not understood; write flags as --key=value")
        name = name[2:]
        if verb == "tune" and name == "grid":
            flags.setdefault("grid", []).append(value)
            continue
        if name in keys or name in flags:
            raise UserError(f"--{name} is given twice; give it once")
        if name in ("resume",):
            flags[name] = value
        else:
            keys[name] = value
    return Arguments(verb, flags, keys)


def request_of(arguments: Arguments, default_models: str = DEFAULT_MODELS):
    from recbole_cold.experiment.requests import Request

    keys = dict(arguments.keys)
    try:
        files = shlex.split(keys.pop("config_files", ""))
    except ValueError as error:
        raise UserError(f"--config_files is not a list of paths ({error}); mend it") from error
    models = keys.pop("model", None)
    if models is None:
        models = next((value for value in from_files(files, "model") if value), default_models)
    dataset = keys.pop("dataset", None)
    if dataset is None and not any(from_files(files, "dataset")):
        dataset = "ml-100k"
    command = shlex.join(["recbole-cold", *words_of(arguments)])
    return Request(
        models=models,
        dataset=dataset,
        backbone=keys.pop("backbone", None),
        config_files=[str(Path(file).expanduser().resolve()) for file in files],
        overrides=keys,
        command=command,
    )


def words_of(arguments: Arguments) -> list[str]:
    verb = [] if arguments.verb == "run" else [arguments.verb]
    return [*verb, *(f"--{key}={value}" for key, value in arguments.keys.items())]


def from_files(files: Sequence[str], key: str) -> list[Any]:
    """What the files say of a key, the last file first."""
    from recbole_cold.config import read_yaml

    return [read_yaml(file).get(key) for file in reversed(files)]
