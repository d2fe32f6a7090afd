"""``recbole-cold compare``: one table of methods and backbones."""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold.cli.arguments import (
    Arguments,
    from_files,
    request_of,
    resumed_folder,
    words_of,
)
from recbole_cold.cli.screen import Stop, log_to, logger
from recbole_cold.errors import UserError, WriteError
from recbole_cold.keys import check_flag

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

examples
  recbole-cold compare --models=Base,MWUF,CVAR --backbones=FM,DeepFM --seeds=5
  recbole-cold compare -m Base,MWUF --backbones DCN -d ml-100k --against matched
  recbole-cold compare saved/*
"""


def compare(arguments: Arguments) -> int:
    """One table of methods and backbones, out of folders or with what is missing run."""
    from recbole_cold import comparison as comparing
    from recbole_cold import report
    from recbole_cold.experiment.folders import read_request

    keys = dict(arguments.keys)
    saved = Path(keys.get("saved_dir", "saved")).expanduser().resolve()
    folders = arguments.flags.get("folders")
    if folders:
        extra = keys.keys() - {"against", "saved_dir"}
        if extra or "resume" in arguments.flags:
            raise UserError(
                "compare with folders runs nothing: leave out "
                f"--{min(extra or {'resume'})}, or the folders"
            )
        command = shlex.join(["recbole-cold", *words_of(arguments), *folders])
        document = comparing.from_folders(folders, keys.get("against"), command)
        shown = report.Comparison(document)
        folder = comparing.new_folder(None, document["documents"][0]["dataset"], saved)
        report.write_json(folder / "comparison.json", document)
        return _show_comparison(shown, folder)
    folder = resumed_folder(arguments)
    if folder is None:
        return _run_comparison(_compare_request(arguments), saved)
    request = read_request(folder, "compare", comparing.CompareRequest)
    return _run_comparison(request, folder.parent, folder)


def _compare_request(arguments: Arguments):
    from recbole_cold.comparison.requests import CompareRequest

    keys = dict(arguments.keys)
    for many, one in (("models", "model"), ("backbones", "backbone")):
        if many in keys and one in keys:
            raise UserError(f"--{many} and --{one} are the same here; give --{many} only")
        if many in keys:
            keys[one] = keys.pop(many)
    own = {name: keys.pop(name) for name in ("against", "ray_address") if name in keys}
    numbers: dict[str, Any] = {}
    for name in ("concurrent", "cpus_per_trial", "gpus_per_trial"):
        if name in keys:
            numbers[name.removesuffix("_per_trial")] = check_flag(name, keys.pop(name))
    asked = request_of(arguments._replace(keys=keys))
    given = [asked.backbone, *from_files(asked.config_files, "backbone")]
    return CompareRequest(
        models=asked.models,
        backbones=next((names for names in given if names), "DeepFM"),
        dataset=asked.dataset,
        config_files=asked.config_files,
        overrides=asked.overrides,
        command=shlex.join(["recbole-cold", *words_of(arguments)]),
        **own,
        **numbers,
    )


def _run_comparison(request: Any, saved: Path, folder: Path | None = None) -> int:
    """Run what is missing; an interruption leaves what is there as a table of its own."""
    from recbole_cold import comparison as comparing
    from recbole_cold import report
    from recbole_cold.errors import Interrupted
    from recbole_cold.experiment.folders import only_one
    from recbole_cold.trials import ray_pool as pool

    with Stop().listening() as stop, contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(only_one(folder))
        campaign = comparing.Campaign(request, stop)
        campaign.check()
        if (request.cpus, request.gpus, request.ray_address) != (1.0, 0.0, None):
            pool.room(request.cpus, request.gpus, request.ray_address)
        if folder is None:
            dataset = campaign.first().first().dataset
            folder = comparing.new_folder(request, dataset, saved)
            held.enter_context(only_one(folder))
        again = f"recbole-cold compare --resume={shlex.quote(str(folder))}"

        def run_all(specs: Any, **options: Any) -> None:
            held.enter_context(pool.session(request.ray_address))  # one Ray for all of them
            pool.run_all(specs, **options)

        with log_to(folder / "log.txt"):
            logger.info("%s", request.command)
            logger.info("folder %s", folder)
            try:
                document = campaign.run(folder, saved, run_all)
                return _show_comparison(report.Comparison(document), folder, again)
            except (Interrupted, KeyboardInterrupt):
                document = campaign.document()
                if any(doc["runs"] for doc in document["documents"]):
                    _show_comparison(report.Comparison(document), folder, again, finished=False)
                print(f"interrupted; to continue: {again}", file=sys.stderr)
                return 130
            except WriteError as error:
                raise UserError(f"{error}; to continue then: {again}") from error


def _show_comparison(comparison: Any, folder: Path, again: str = "", finished: bool = True) -> int:
    """Print the table and where everything is; 1 when some cells failed, 0 otherwise."""
    from recbole_cold import report
    from recbole_cold.comparison.folders import write_files

    failures = comparison.document["failures"]
    write_files(comparison, folder, finished and not failures)
    print(report.comparison_table(comparison))
    print(f"\nresults  {folder / 'comparison.json'}")
    for name in ("comparison.md", "comparison.tex", "comparison.csv", "figures/phases.png"):
        if (folder / name).exists():
            print(f"         {folder / name}")
    if not failures:
        return 0
    first = failures[0]
    print(
        f"{len(failures)} failed; the first: {first['row']} on {first['backbone']}, seed "
        f"{first['seed']}:\n{first['error'].strip()}\nto run what failed again: {again}",
        file=sys.stderr,
    )
    return 1
