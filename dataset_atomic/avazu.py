"""Avazu's click log as RecBole atomic files, by recbole_cold/converters/avazu.py.

Usage: python dataset_atomic/avazu.py --raw TRAIN_GZ [--sample_users=0.1] [--item_field=C14]
                                      [--out dataset_atomic/avazu]

Needs nothing but Python for a part of the users; all of them are counted with numpy. Origin and
terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("avazu"))
