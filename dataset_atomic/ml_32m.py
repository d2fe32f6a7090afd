"""MovieLens-32M's raw files as RecBole atomic files, by recbole_cold/converters/ml_32m.py.

Usage: python dataset_atomic/ml_32m.py --raw ML_32M_ZIP_OR_FOLDER [--sample_users=0.1]
                                       [--out dataset_atomic/ml-32m]

Needs nothing but Python. Origin and terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("ml-32m"))
