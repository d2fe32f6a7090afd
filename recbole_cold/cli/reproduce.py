"""``recbole-cold reproduce``: a published table or figure, ours beside theirs."""

import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold import paths
from recbole_cold.cli.arguments import Arguments, resumed_folder, words_of
from recbole_cold.cli.screen import Stop
from recbole_cold.errors import Interrupted, UserError

HELP = """\
recbole-cold reproduce: a published table or figure, ours beside theirs

usage: recbole-cold reproduce NAME [--dataset=ml-1m] [--data_path=DIR]
                              [--seeds=5] [--fast] [--key=value ...]
       recbole-cold reproduce FILE.yaml ...
       recbole-cold reproduce --list [--data_path=DIR]
       recbole-cold reproduce --resume[=DIR]

  Runs the rows of a table or figure that have a method here, reuses equal
  results of saved_dir, and writes table, Markdown, CSV, JSON and the pictures
  in the paper's forms. Differences stand where the published number is at hand.
  Without --dataset: all data sets of the paper that are in DATA_PATH.

flags (any configuration key, as --key=value or --key value; they win over the
file and are told)
  --list                         every table and figure, and what it needs
  --fast                         fewer seeds and steps: NOT comparable
  -d, --dataset=NAME             one data set; another than the paper's has no
                                 published numbers
  --item=ID                      whose feature graphs are drawn (emerg-figure5)
  --concurrent=N --cpus_per_trial=1 --gpus_per_trial=0.25 --ray_address=auto
                                 as in compare
  --resume[=DIR]                 run what is missing (of the newest one)

examples
  recbole-cold reproduce --list --data_path=data
  recbole-cold reproduce avaew-table1 --dataset=ml-1m --data_path=data
  recbole-cold reproduce emerg-table2 --dataset=ml-100k --fast
"""


def reproduce(arguments: Arguments) -> int:
    """Reproduce one table or figure on one data set or several, or list them all."""
    keys, names = dict(arguments.keys), arguments.flags.get("names", [])
    if "list" in arguments.flags:
        return _list(keys, names)
    if "resume" in arguments.flags:
        return _resume(arguments, names)
    if len(names) != 1:
        raise UserError(
            "reproduce takes one table or figure, by its name; `recbole-cold reproduce --list` "
            "shows all"
        )
    saved = paths.absolute(keys.get("saved_dir", "saved"))
    worst = 0
    for request in _requests(arguments, names[0], keys):
        code = _run(request, saved, None)
        if code == 130:  # who stops one data set does not want the next
            return code
        worst = max(worst, code)
    return worst


def _resume(arguments: Arguments, names: list[str]) -> int:
    """Continue a reproduction as it was asked for."""
    if names or "fast" in arguments.flags:
        raise UserError("--resume continues a reproduction as it was asked for; add nothing")
    from recbole_cold.experiment.folders import read_request
    from recbole_cold.papers.requests import VERB, ReproduceRequest

    folder = resumed_folder(arguments)
    assert folder is not None
    return _run(read_request(folder, VERB, ReproduceRequest), folder.parent, folder)


def _requests(arguments: Arguments, name: str, keys: dict[str, Any]) -> list[Any]:
    """A request per data set, all of them checked before the first one is run."""
    from recbole_cold.papers.files import find_item

    item = find_item(name)  # before torch is imported
    from recbole_cold.experiment.requests import take_numbers
    from recbole_cold.papers.requests import request_of_item
    from recbole_cold.papers.states import DATA_PAGE, data_at_hand, needed

    own = {key: keys.pop(key) for key in ("item", "ray_address") if key in keys}
    own |= take_numbers(keys)
    asked = keys.pop("dataset", None)
    if item.unknown is not None:
        datasets = [""]  # refused below, whatever the data
    elif asked is not None:
        datasets = [asked]
    else:
        datasets = data_at_hand(item, keys.get("data_path"))
    if not datasets:
        raise UserError(
            f"{item.name} needs {needed(item)}, which is not there (see {DATA_PAGE}); give the "
            "folder above it as --data_path, or another data set as --dataset"
        )
    verb, *rest = words_of(arguments)
    words = ["recbole-cold", verb, name, *rest, *(["--fast"] * ("fast" in arguments.flags))]
    options = {**own, "fast": "fast" in arguments.flags, "command": shlex.join(words)}
    return [request_of_item(item, dataset, keys, **options) for dataset in datasets]


def _run(request: Any, saved: Path, folder: Path | None) -> int:
    from recbole_cold.papers.session import reproduce_request

    with Stop().listening() as stop:
        try:
            found, made = reproduce_request(request, saved, folder, stop, again=_again)
        except Interrupted as interrupted:
            if interrupted.folder is not None:
                _print_table(interrupted.folder)
            print(interrupted, file=sys.stderr)
            return 130
    assert made is not None
    _print_table(made)
    if not found["failures"]:
        return 0
    first = found["failures"][0]
    print(
        f"{len(found['failures'])} failed; the first: {first['row']} on {first['backbone']}, seed "
        f"{first['seed']}:\n{first['error'].strip()}\nto run what failed again: {_again(made)}",
        file=sys.stderr,
    )
    return 1


def _again(folder: Path) -> str:
    return f"recbole-cold reproduce --resume={shlex.quote(str(folder))}"


def _print_table(folder: Path) -> None:
    """The table of what is there, if anything is, and its files."""
    from recbole_cold import report

    if not (folder / "reproduce.json").exists():
        return
    found = report.load_reproduction(folder)
    print(report.reproduction_table(found))
    print(f"\nresults  {folder / 'reproduce.json'}")
    for name in ("reproduce.md", "reproduce.csv", "comparison.json", *found.get("pictures", [])):
        print(f"         {folder / name}")


def _list(keys: dict[str, Any], names: list[str]) -> int:
    """Every packaged table and figure with its state."""
    from recbole_cold.papers.files import known_items, read_item
    from recbole_cold.papers.states import state_of

    data_path = keys.pop("data_path", None)
    if keys or names:
        extra = f"--{min(keys)}" if keys else f"'{names[0]}'"
        raise UserError(f"reproduce --list takes --data_path only; leave out {extra}")
    for name, path in known_items().items():
        item = read_item(path)
        print(f"{name:<14} {item.title}\n{'':<14} {item.shows}")
        print(f"{'':<14} {state_of(item, data_path).words}")
    print(
        "\nOn another data set (ml-100k comes with RecBole) all that have methods run with "
        "--dataset=NAME;\nthe papers have no numbers for it."
    )
    return 0
