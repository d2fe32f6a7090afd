"""KuaiRand-Pure's logs as RecBole atomic files, by recbole_cold/converters/kuairand_pure.py.

Usage: python dataset_atomic/kuairand_pure.py --raw KUAIRAND_FOLDER [--logs=standard]
                                              [--out dataset_atomic/kuairand-pure]

Needs nothing but Python. Origin and terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("kuairand-pure"))
