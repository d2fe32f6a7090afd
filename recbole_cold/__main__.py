"""``python -m recbole_cold`` is the command ``recbole-cold``."""

import sys

from recbole_cold.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
