"""``recbole-cold compare``: one table of methods and backbones."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_cold import paths
from recbole_cold.cli.arguments import Arguments, request_of, resumed_folder, words_of
from recbole_cold.cli.screen import Stop, columns
from recbole_cold.errors import Interrupted, UserError

HELP = """\
recbole-cold compare: one table of methods and backbones

usage: recbole-cold compare --models=A,B --backbones=FM,DCN [--seeds=5]
                            [--dataset=NAME] [--key=value ...]
       recbole-cold compare DIR DIR ... [--against=ROW] [--saved_dir=DIR]
       recbole-cold compare --resume[=DIR]

  With methods: runs what is missing on Ray, reuses equal results of saved_dir,
  tests every row against one: table, Markdown, LaTeX, CSV, picture.
  With folders of finished runs: the same table, and nothing is run.

flags (any configuration key, as --key=value or --key value)
  -m, --models=A,B[key=value]    rows of the table, as --model of a run
  --backbones=FM,DCN[key=value]  columns; DeepFM if there is none
  -d, --dataset=NAME --data_path=DIR --config_files="a.yaml b.yaml" --seeds=5
                                 as in a run
  --against=Base                 the row that tests and RelaImpr are against;
                                 matched: the plain backbone at equal steps
  --concurrent=N                 trials at a time; as many as there is room for
  --cpus_per_trial=1 --gpus_per_trial=0.25    shares of a machine
  --ray_address=auto|HOST:PORT   a running Ray cluster
  --resume[=DIR]                 run what is missing (of the newest comparison)
  --trust                        with --resume: the folder may be another user's

examples
  recbole-cold compare --models=Base,MWUF,CVAR --backbones=FM,DeepFM --seeds=5
  recbole-cold compare -m Base,MWUF --backbones DCN -d ml-100k --against matched
  recbole-cold compare saved/*
"""


def compare(arguments: Arguments) -> int:
    """One table of methods and backbones, out of folders or with what is missing run."""
    from recbole_cold.comparison import session
    from recbole_cold.comparison.requests import VERB, CompareRequest, comparison_of
    from recbole_cold.experiment.folders import read_request

    keys = dict(arguments.keys)
    saved = paths.absolute(keys.get("saved_dir", "saved"))
    folders = arguments.flags.get("folders")
    command = shlex.join(["recbole-cold", *words_of(arguments), *(folders or ())])
    if folders:
        if "resume" in arguments.flags:
            raise UserError("compare with folders runs nothing: leave out --resume, or the folders")
        return show(*session.compare_folders(folders, saved, keys, command))
    folder = resumed_folder(arguments)
    with Stop().listening() as stop:
        try:
            if folder is None:
                request = comparison_of(
                    keys, lambda rest: request_of(arguments._replace(keys=rest)), command
                )
            else:
                request = read_request(folder, VERB, CompareRequest)
                saved = folder.parent
            return show(*session.compare_request(request, saved, folder, stop, again=_again))
        except Interrupted as interrupted:
            if interrupted.folder is not None:
                print_table(interrupted.folder)
            print(interrupted, file=sys.stderr)
            return 130


def _again(folder: Path) -> str:
    return f"recbole-cold compare --resume={shlex.quote(str(folder))}"


def print_table(folder: Path) -> None:
    """The table of what is there, if anything is, and its files."""
    from recbole_cold.experiment.subsets import folders_in
    from recbole_cold.results import SubsetResults, load_results

    places = [place for place in [*folders_in(folder).values(), folder] if _has_table(place)]
    if not places:
        return
    found = load_results(folder)
    print(found.table(columns()) if isinstance(found, SubsetResults) else found.table())
    print()
    for place in places:
        for name in ("comparison.json", "comparison.md", "comparison.tex", "comparison.csv",
                     "figures/phases.png", "figures/best-of-n.png"):  # fmt: skip
            if (place / name).exists():
                print(f"{'results' if name.endswith('.json') else '':<8} {place / name}")


def _has_table(folder: Path) -> bool:
    return (folder / "comparison.md").exists()


def show(document: dict[str, Any], folder: Path, again: Callable[[Path], str] | None = None) -> int:
    """Print the table and where everything is; 1 when some cells failed, 0 otherwise."""
    print_table(folder)
    failures = document["failures"]
    if not failures:
        return 0
    first = failures[0]
    print(
        f"{len(failures)} failed; the first: {first['row']} on {first['backbone']}, seed "
        f"{first['seed']}:\n{first['error'].strip()}\nto run what failed again: "
        f"{(again or _again)(folder)}",
        file=sys.stderr,
    )
    return 1
