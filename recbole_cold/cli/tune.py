"""``recbole-cold tune``: search the settings of one method."""

import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold.cli.arguments import Arguments, request_of, resumed_folder, words_of
from recbole_cold.cli.screen import Stop
from recbole_cold.errors import Interrupted

HELP = """\
recbole-cold tune: search the settings of one method, on Ray

usage: recbole-cold tune --model=A [--backbone=DeepFM] [--dataset=ml-100k]
                         [--key=value ...]

  Settings are chosen on old items that play new ones; the best is then fitted
  on everything and scored on test once. Without --space and --grid: draws of
  what all methods share and of the sweep_space of the method's yaml
  (recbole-cold list A shows it); a key that is given is not searched.

flags (any configuration key, as --key=value or --key value, for all trials)
  -m, --model=A  -d, --dataset=NAME  --backbone=NAME
  --space=FILE                 yaml (a list is a grid axis; loguniform, uniform,
                               quniform, choice, randint by name) or RecBole's
                               .hyper lines
  --grid="key=[a,b]"           one more axis; may be given several times
  --samples=N                  draws of distributions per point of the grid (10)
  --search=grid|random|optuna  walk lists, draw from them, or let optuna choose
  --seeds=N                    trials per setting, and seeds of the final run
  --select_on=mean|cold|warm_a the phase that --valid_metric is read in; mean
                               over all
  --concurrent=N               trials at a time; as many as there is room for
  --cpus_per_trial=1 --gpus_per_trial=0.25    shares of a machine
  --scheduler=asha|none        asha: stop weak trials while they pre-train
  --ray_address=auto|HOST:PORT a running Ray cluster (docs/sweeps.md)
  --resume[=DIR]               run what is missing (of the newest sweep)
  --trust                      with --resume: the folder may be another user's

examples
  recbole-cold tune --model=MWUF --dataset=ml-100k --seeds=2
  recbole-cold tune -m CVAR --grid "learning_rate=[1e-3,1e-2]" --seeds 2
  recbole-cold tune --model=MetaE --space=space.yaml --gpus_per_trial=0.25
"""


def tune(arguments: Arguments) -> int:
    """Search the settings of one method, then score the best."""
    from recbole_cold.experiment.folders import read_request
    from recbole_cold.sweep.requests import SweepRequest, sweep_of
    from recbole_cold.sweep.session import tune_request

    folder, grids = resumed_folder(arguments), arguments.flags.get("grid", [])
    if folder is None:
        words = [*words_of(arguments), *(f"--grid={text}" for text in grids)]
        request = sweep_of(
            arguments.keys,
            lambda rest: request_of(arguments._replace(keys=rest), default_models=""),
            shlex.join(["recbole-cold", *words]),
            grids,
        )
    else:
        request = read_request(folder, "tune", SweepRequest)
    with Stop().listening() as stop:
        try:
            return _show(*tune_request(request, folder, stop, again=_again, tell=_tell))
        except Interrupted as interrupted:
            print(interrupted, file=sys.stderr)
            return 130


def _again(folder: Path) -> str:
    return f"recbole-cold tune --resume={shlex.quote(str(folder))}"


def _tell(line: str) -> None:
    print(line, flush=True)


def _show(document: dict[str, Any], folder: Path) -> int:
    """Print the table and where everything is; 1 when trials failed, 0 otherwise."""
    from recbole_cold.sweep.tables import sweep_table

    print(f"\n{sweep_table(document, folder)}")
    print(f"best     {folder / 'best.yaml'}\nsweep    {folder / 'sweep.json'}")
    print(f"picture  {folder / 'figures' / 'sweep.png'}\nfinal    {folder / 'final'}")
    failed = [trial for trial in document["trials"] if trial["status"] == "failed"]
    if not failed:
        return 0
    print(
        f"{len(failed)} of {len(document['trials'])} trials failed; the first ends with\n"
        f"{failed[0]['error']}\nto try them again: {_again(folder)}",
        file=sys.stderr,
    )
    return 1
