"""MovieLens-1M's raw files as RecBole atomic files, by recbole_cold/converters/ml_1m.py.

Usage: python dataset_atomic/ml_1m.py --raw ML_1M_ZIP_OR_FOLDER [--out dataset_atomic/ml-1m]

Needs nothing but Python. Origin and terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("ml-1m"))
