"""``recbole-cold tune``: search the settings of one method."""

import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold.cli.arguments import Arguments, request_of, words_of
from recbole_cold.cli.screen import Stop
from recbole_cold.errors import Interrupted


def tune(arguments: Arguments) -> int:
    """Search the settings of one method, then score the best."""
    from recbole_cold.sweep.requests import read_sweep_request, sweep_of
    from recbole_cold.sweep.session import sweep_to_resume, tune_request

    resume, folder = arguments.flags.get("resume"), None
    grids = arguments.flags.get("grid", [])
    if resume is None:
        words = [*words_of(arguments), *(f"--grid={text}" for text in grids)]
        request = sweep_of(
            arguments.keys,
            lambda rest: request_of(arguments._replace(keys=rest), default_models=""),
            shlex.join(["recbole-cold", *words]),
            grids,
        )
    else:
        given = {**arguments.keys, **({"grid": grids} if grids else {})}
        folder = sweep_to_resume(resume, given)
        request = read_sweep_request(folder)
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
