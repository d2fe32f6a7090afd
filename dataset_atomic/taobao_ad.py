"""Taobao's display advertisements as RecBole atomic files, by recbole_cold/converters/taobao_ad.py.

Usage: python dataset_atomic/taobao_ad.py --raw TAOBAO_FOLDER_OR_ZIP [--no_profile=drop]
           [--sample_users=0.1] [--out dataset_atomic/taobao-ad]

Needs nothing but Python for a part of the users; all of them are counted with numpy. Origin and
terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("taobao-ad"))
