"""Run recbole_cold from a checkout; installed, the same command is called ``recbole-cold``."""

import sys

from recbole_cold.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
