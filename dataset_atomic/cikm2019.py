"""The data of CIKM 2019 EComm AI as RecBole atomic files, by recbole_cold/converters/cikm2019.py.

Usage: python dataset_atomic/cikm2019.py --raw CIKM_FOLDER_OR_ZIP [--sample_users=0.1]
           [--out dataset_atomic/cikm2019]

Needs nothing but Python for a part of the users; all of them are counted with numpy. Origin and
terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("cikm2019"))
