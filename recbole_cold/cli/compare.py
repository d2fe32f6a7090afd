"""``recbole-cold compare``: one table of methods and backbones."""

import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold.cli.arguments import Arguments, request_of, words_of
from recbole_cold.cli.screen import Stop
from recbole_cold.errors import Interrupted, UserError


def compare(arguments: Arguments) -> int:
    """One table of methods and backbones, out of folders or with what is missing run."""
    from recbole_cold.comparison import session
    from recbole_cold.comparison.requests import comparison_of

    keys, resume = dict(arguments.keys), arguments.flags.get("resume")
    saved = Path(keys.get("saved_dir", "saved")).expanduser().resolve()
    folders = arguments.flags.get("folders")
    command = shlex.join(["recbole-cold", *words_of(arguments), *(folders or ())])
    if folders:
        if resume is not None:
            raise UserError("compare with folders runs nothing: leave out --resume, or the folders")
        return _show(*session.compare_folders(folders, saved, keys, command))
    folder = None
    with Stop().listening() as stop:
        try:
            if resume is None:
                request = comparison_of(
                    keys, lambda rest: request_of(arguments._replace(keys=rest)), command
                )
            else:
                request, folder = session.comparison_to_resume(resume, keys, saved)
                saved = folder.parent
            return _show(*session.compare_request(request, saved, folder, stop, again=_again))
        except Interrupted as interrupted:
            if interrupted.folder is not None:
                _print_table(interrupted.folder)
            print(interrupted, file=sys.stderr)
            return 130


def _again(folder: Path) -> str:
    return f"recbole-cold compare --resume={shlex.quote(str(folder))}"


def _print_table(folder: Path) -> None:
    """The table of what is there, if anything is, and its files."""
    from recbole_cold import report

    if not (folder / "comparison.md").exists():
        return
    print(report.comparison_table(report.Comparison(report.load_comparison(folder))))
    print(f"\nresults  {folder / 'comparison.json'}")
    for name in ("comparison.md", "comparison.tex", "comparison.csv", "figures/phases.png"):
        if (folder / name).exists():
            print(f"         {folder / name}")


def _show(document: dict[str, Any], folder: Path) -> int:
    """Print the table and where everything is; 1 when some cells failed, 0 otherwise."""
    _print_table(folder)
    failures = document["failures"]
    if not failures:
        return 0
    first = failures[0]
    print(
        f"{len(failures)} failed; the first: {first['row']} on {first['backbone']}, seed "
        f"{first['seed']}:\n{first['error'].strip()}\nto run what failed again: {_again(folder)}",
        file=sys.stderr,
    )
    return 1
