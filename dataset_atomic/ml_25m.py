"""MovieLens-25M's raw files as RecBole atomic files, by recbole_cold/converters/ml_25m.py.

Usage: python dataset_atomic/ml_25m.py --raw ML_25M_ZIP_OR_FOLDER [--sample_users=0.1]
                                       [--out dataset_atomic/ml-25m]

Needs nothing but Python. Origin and terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("ml-25m"))
