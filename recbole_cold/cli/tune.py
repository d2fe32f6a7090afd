"""``recbole-cold tune``: search the settings of one method."""

import contextlib
import shlex
import sys
from typing import Any

from recbole_cold.cli.arguments import Arguments, request_of, resumed_folder, words_of
from recbole_cold.cli.screen import Stop, log_to
from recbole_cold.errors import UserError
from recbole_cold.keys import check_flag

HELP = """\
recbole-cold tune: search the settings of one method, on Ray

usage: recbole-cold tune --model=A [--backbone=DeepFM] [--dataset=ml-100k]
                         [--key=value ...]

  Settings are chosen on old items that play new ones; the best is then fitted
  on everything and scored on test once. Without --space and --grid: the
  sweep_space of the method's yaml (recbole-cold list A shows it).

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

examples
  recbole-cold tune --model=MWUF --dataset=ml-100k --seeds=2
  recbole-cold tune -m CVAR --grid "learning_rate=[1e-3,1e-2]" --seeds 2
  recbole-cold tune --model=MetaE --space=space.yaml --gpus_per_trial=0.25
"""


def tune(arguments: Arguments) -> int:
    """Search the settings of one method, then score the best."""
    from recbole_cold.errors import Interrupted
    from recbole_cold.experiment.folders import is_finished, only_one, read_request
    from recbole_cold.sweep.requests import SweepRequest
    from recbole_cold.sweep.sweep import Sweep

    folder = resumed_folder(arguments)
    if folder is None:
        request = _sweep_request(arguments)
    else:
        request = read_request(folder, "tune", SweepRequest)
    with Stop().listening() as stop, contextlib.ExitStack() as held:
        sweep = Sweep(request, stop)
        if folder is not None:
            held.enter_context(only_one(folder))
            sweep.folder = folder
            done = sweep.read_done()
            if is_finished(folder) and done == sweep.n_settings * len(sweep.seeds):
                return _show_sweep(sweep, sweep.saved_document())
            print(f"{done} of {sweep.n_settings * len(sweep.seeds)} trials are done", flush=True)
        else:
            print(sweep.plan(), flush=True)
            folder = sweep.open_folder()
            held.enter_context(only_one(folder))
        print(f"folder {folder}\n", flush=True)
        with log_to(folder / "log.txt"):
            try:
                return _show_sweep(sweep, sweep.run())
            except (Interrupted, KeyboardInterrupt):
                print(
                    "interrupted; to continue: recbole-cold tune "
                    f"--resume={shlex.quote(str(folder))}",
                    file=sys.stderr,
                )
                return 130


def _sweep_request(arguments: Arguments):
    from recbole_cold.sweep.requests import SweepRequest, axes_of

    keys = dict(arguments.keys)
    own: dict[str, Any] = {
        name: keys.pop(name)
        for name in ("search", "scheduler", "select_on", "ray_address")
        if name in keys
    }
    for name in ("samples", "concurrent", "cpus_per_trial", "gpus_per_trial"):
        if name in keys:
            own[name.removesuffix("_per_trial")] = check_flag(name, keys.pop(name))
    file, grids = keys.pop("space", None), arguments.flags.get("grid", [])
    asked = request_of(arguments._replace(keys=keys), default_models="")
    if not asked.models:
        raise UserError("tune needs --model=<name>; `recbole-cold list` shows all")
    words = [*words_of(arguments), *(f"--grid={text}" for text in grids)]
    return SweepRequest(
        model=asked.models,
        dataset=asked.dataset,
        backbone=asked.backbone,
        config_files=asked.config_files,
        overrides=asked.overrides,
        command=shlex.join(["recbole-cold", *words]),
        axes=[list(axis) for axis in axes_of(asked.models, file, grids)],
        **own,
    )


def _show_sweep(sweep: Any, document: dict[str, Any]) -> int:
    """Print the table and where everything is; 1 when trials failed, 0 otherwise."""
    folder = sweep.folder
    print(f"\n{sweep.table(document)}")
    print(f"best     {folder / 'best.yaml'}\nsweep    {folder / 'sweep.json'}")
    print(f"picture  {folder / 'figures' / 'sweep.png'}\nfinal    {folder / 'final'}")
    failed = [trial for trial in document["trials"] if trial["status"] == "failed"]
    if not failed:
        return 0
    print(
        f"{len(failed)} of {len(document['trials'])} trials failed; the first ends with\n"
        f"{failed[0]['error']}\nto try them again: recbole-cold tune "
        f"--resume={shlex.quote(str(folder))}",
        file=sys.stderr,
    )
    return 1
