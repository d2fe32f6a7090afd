"""``recbole-cold run``: train and score methods."""

import shlex
import sys
from pathlib import Path
from typing import Any

from recbole_cold.cli.arguments import Arguments, request_of
from recbole_cold.cli.screen import Stop
from recbole_cold.errors import Interrupted


def run(arguments: Arguments) -> int:
    """Train and score; print the table and say where everything is."""
    from recbole_cold.experiment.session import continue_run, run_request, run_to_resume

    resume = arguments.flags.get("resume")
    with Stop().listening() as stop:
        try:
            if resume is None:
                return _show(*run_request(request_of(arguments), stop=stop, again=_again))
            folder = run_to_resume(resume, arguments.keys)
            return _show(*continue_run(folder, stop, again=_again))
        except Interrupted as interrupted:
            print(interrupted, file=sys.stderr)
            return 130


def _again(folder: Path) -> str:
    return f"recbole-cold --resume={shlex.quote(str(folder))}"


def _show(document: dict[str, Any], folder: Path) -> int:
    """Print the table and where everything is; 1 when a method failed, 0 otherwise."""
    from recbole_cold.experiment.session import screen_text

    print(screen_text(document))
    print(f"results  {folder / 'results.json'}\nmarkdown {folder / 'results.md'}")
    print(f"curves   {folder / 'figures' / 'curves.png'}")
    for failure in document.get("failures", []):
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if document.get("failures") else 0
