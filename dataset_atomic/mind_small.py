"""MIND-small's two folders as RecBole atomic files, by recbole_cold/converters/mind_small.py.

Usage: python dataset_atomic/mind_small.py --raw FOLDER_OF_BOTH [--sample_users=0.1]
                                           [--out dataset_atomic/mind-small]

Needs nothing but Python. Origin and terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("mind-small"))
