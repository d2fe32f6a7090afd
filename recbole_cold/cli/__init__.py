"""The command line: one file per verb, each with its own help."""

from recbole_cold.cli.main import main

__all__ = ["main"]
