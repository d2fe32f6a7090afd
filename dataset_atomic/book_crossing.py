"""Book-Crossing's dump as RecBole atomic files, by recbole_cold/converters/book_crossing.py.

Usage: python dataset_atomic/book_crossing.py --raw BX_ZIP_OR_FOLDER [--rows=all] [--positive=8]
                                              [--out dataset_atomic/book-crossing]

Needs nothing but Python. Origin and terms of the data: README.md beside this file.
"""

import sys

from converting import door

if __name__ == "__main__":
    sys.exit(door("book-crossing", zeros={"rows": "all"}))
