"""MicroVideo-1.7M's parts as RecBole atomic files, by recbole_cold/converters/microvideo_1_7m.py.

Usage: python dataset_atomic/microvideo_1_7m.py --raw MICROVIDEO_ZIP_OR_FOLDER [--warm_size=2]
                                                [--out dataset_atomic/microvideo-1.7m]

Needs nothing but Python; more than a million items are counted with numpy. Origin and terms of the
data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("microvideo-1.7m"))
