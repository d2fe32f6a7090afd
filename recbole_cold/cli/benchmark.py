"""``recbole-cold benchmark``: tune every method equally, then one table of the choices."""

import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold import paths
from recbole_cold.cli import compare
from recbole_cold.cli.arguments import Arguments, request_of, resumed_folder, words_of
from recbole_cold.cli.screen import Stop
from recbole_cold.errors import Interrupted

HELP = """\
recbole-cold benchmark: tune every method equally, then one table of them

usage: recbole-cold benchmark --models=A,B --backbones=DeepFM,DCN [--trials=16]
                              [--tune_seeds=2] [--seeds=5] [--key=value ...]
       recbole-cold benchmark --resume[=DIR]

  Every row, Base and ItemBias included (they are added), gets as many trials
  on pseudo-new items over the same space and two keys of its own at most. The
  first trial is the default setting. The best of each row is fitted on
  everything and scored on test once: the table of compare, with the budget
  and the expected best of n trials beside.

flags (any configuration key, as --key=value or --key value, for all rows; what
is given is not searched)
  -m, --models=A,B[key=value]  rows; --backbones=FM,DCN columns (DeepFM)
  -d, --dataset=NAME --data_path=DIR --config_files="a.yaml b.yaml"
  --trials=16                  settings of each row on each backbone
  --tune_seeds=2               trials of a setting; the best mean is chosen
  --seeds=5                    of the final runs
  --space=FILE                 takes the place of properties/sweep_space.yaml
  --against=Base               the row that tests are against, as in compare
  --concurrent=N               trials at a time; as many as there is room for
  --cpus_per_trial=1 --gpus_per_trial=0.25    shares of a machine
  --ray_address=auto|HOST:PORT a running Ray cluster
  --resume[=DIR]               run what is missing (of the newest benchmark)
  --trust                      with --resume: the folder may be another user's

examples
  recbole-cold benchmark --models=MWUF,CVAR --backbones=DeepFM,DCN -d ml-1m
  recbole-cold benchmark -m CVAR,MAP -d ml-100k --trials 8 --tune_seeds 1
  recbole-cold benchmark -m MWUF --space=space.yaml --warm_steps=100
"""


def benchmark(arguments: Arguments) -> int:
    """Tune every row equally, then score the choices."""
    from recbole_cold.equal_tuning.requests import VERB, BenchmarkRequest, benchmark_of
    from recbole_cold.equal_tuning.session import benchmark_request
    from recbole_cold.experiment.folders import read_request

    saved = paths.absolute(arguments.keys.get("saved_dir", "saved"))
    folder = resumed_folder(arguments)
    with Stop().listening() as stop:
        try:
            if folder is None:
                request = benchmark_of(
                    arguments.keys,
                    lambda rest: request_of(arguments._replace(keys=rest), default_models=""),
                    shlex.join(["recbole-cold", *words_of(arguments)]),
                )
            else:
                request, saved = read_request(folder, VERB, BenchmarkRequest), folder.parent
            return _show(*benchmark_request(request, saved, folder, stop, again=_again))
        except Interrupted as interrupted:
            if interrupted.folder is not None:
                compare.print_table(interrupted.folder)
            print(interrupted, file=sys.stderr)
            return 130


def _again(folder: Path) -> str:
    return f"recbole-cold benchmark --resume={shlex.quote(str(folder))}"


def _show(document: dict[str, Any], folder: Path) -> int:
    """Print the table and where everything is; 1 when trials or final runs failed."""
    code = compare.show(document, folder, _again)
    print(f"chosen   {folder / 'chosen'}")
    failed = document["benchmark"]["failures"]
    if not failed:
        return code
    first = failed[0]
    print(
        f"{len(failed)} trials failed; the first: {first['row']} on {first['backbone']}, trial "
        f"{first['trial']}, seed {first['seed']}:\n{first['error'].strip()}\nto try them again: "
        f"{_again(folder)}",
        file=sys.stderr,
    )
    return 1
