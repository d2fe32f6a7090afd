"""``recbole-cold run``: train and score methods."""

import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold.cli.arguments import Arguments, request_of, resumed_folder
from recbole_cold.cli.screen import Stop, columns
from recbole_cold.errors import Interrupted

HELP = """\
recbole-cold run: train and score methods, one row of a table each

usage: recbole-cold [run] --model=A,B,C [--backbone=DeepFM] [--dataset=ml-100k]
                    [--key=value ...]
       recbole-cold --resume[=DIR]

  Pre-trains the backbone on old items, lets each method learn, and scores the
  phases cold, warm_a, warm_b, warm_c on the same test rows. Prints a table;
  results.json, markdown and a picture lie in a folder of saved_dir.

flags (any configuration key, as --key=value or --key value; a negative number
is a value, another word with - in front needs the =)
  -m, --model=A,B[key=value;key=value]    methods, by name,
                       package.module:Class or path/file.py; brackets hold what
                       only that row of the table changes
  -d, --dataset=NAME --data_path=DIR      atomic files in DIR/NAME
  --backbone=NAME      any RecBole context model: FM, DeepFM, DCN, PNN, ...
  --config_files="a.yaml b.yaml"          later files win; the command line wins
  --seeds=5 --seed=2020                   everything with seeds 2020 ... 2024
  --protocol=strict|released              as papers say, or as their code does
  --warm_steps=N       optimizer steps per warm phase, the same for every method
  --matched_row=False  without the row of the plain backbone at equal steps
  --show_progress=False    no bars; there are none where stderr is no terminal
  --resume[=DIR]       continue the run in DIR, or the newest one in saved_dir
                       that is not finished; no other key than --saved_dir
  --trust              with --resume: the folder may be another user's
  --debug              show the traceback of an error

examples
  recbole-cold --model=Base,ItemBias,MetaE,MWUF,CVAR --dataset=ml-100k
  recbole-cold --model="MWUF,MWUF[mwuf_parts=[scale]]" --backbone=DCN --seeds=5
  recbole-cold -m Base,MetaE -d ml-1m --data_path data --protocol released
"""


def run(arguments: Arguments) -> int:
    """Train and score; print the table and say where everything is."""
    from recbole_cold.experiment.session import continue_run, run_request

    folder = resumed_folder(arguments)
    with Stop().listening() as stop:
        try:
            if folder is None:
                return _show(*run_request(request_of(arguments), stop=stop, again=_again))
            return _show(*continue_run(folder, stop, again=_again))
        except Interrupted as interrupted:
            print(interrupted, file=sys.stderr)
            return 130


def _again(folder: Path) -> str:
    return f"recbole-cold --resume={shlex.quote(str(folder))}"


def _show(document: dict[str, Any], folder: Path) -> int:
    """Print the table and where everything is; 1 when a method failed, 0 otherwise."""
    from recbole_cold.experiment.session import screen_text
    from recbole_cold.experiment.subsets import PARTS

    places = [folder / name for name in document.get(PARTS, [""])]
    print(screen_text(document, columns()))
    for place in places:
        print(f"results  {place / 'results.json'}")
    print(f"markdown {folder / 'results.md'}")
    for curves in (place / "figures" / "curves.png" for place in places):
        if curves.exists():  # one phase has none
            print(f"curves   {curves}")
    for failure in document.get("failures", []):
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if document.get("failures") else 0
