"""The door: arguments in, exit codes out; the only place that catches our errors.

Exit codes: 0 done; 1 some runs failed; 2 bad input, one sentence on stderr; 130 interrupted.
"""

import sys
import traceback
from collections.abc import Callable, Sequence

from recbole_cold import __version__
from recbole_cold.cli.arguments import HELP, PLOT_HELP, TUNE_HELP, Arguments, parse
from recbole_cold.cli.check import check
from recbole_cold.cli.compare import compare
from recbole_cold.cli.list import list_all
from recbole_cold.cli.plot import plot
from recbole_cold.cli.run import run
from recbole_cold.cli.screen import log_to_screen
from recbole_cold.cli.tune import tune
from recbole_cold.errors import UserError

ACTIONS: dict[str, Callable[[Arguments], int]] = {
    "run": run,
    "compare": compare,
    "tune": tune,
    "plot": plot,
    "check": check,
    "list": list_all,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    try:
        arguments = parse(words)
        if arguments.flags.get("help") or arguments.flags.get("h"):
            print({"tune": TUNE_HELP, "plot": PLOT_HELP}.get(arguments.verb, HELP), end="")
            return 0
        if arguments.flags.get("version"):
            print(f"recbole_cold {__version__}")
            return 0
        with log_to_screen():
            return ACTIONS[arguments.verb](arguments)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
