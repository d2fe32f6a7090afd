"""MovieLens-32M: the files and the form of MovieLens-25M (``ml_25m``), with ratings until 2023.

Source: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS
5(4), 2015, and the README of the archive.
"""

from recbole_cold.converters import ml_25m
from recbole_cold.converters._official import Official

CONVERTER = ml_25m.CONVERTER._replace(
    name="ml-32m",
    title="MovieLens-32M",
    source="the unpacked folder of ml-32m.zip, or ml-32m.zip itself",
    origin="https://grouplens.org/datasets/movielens/32m/",
    size="32,000,204 ratings by 200,948 users; 87,585 movies",
    # https://files.grouplens.org/datasets/movielens/ml-32m-README.html; how many of the movies are
    # rated it does not say.
    official=(
        Official("MovieLens-32M", {"rows": 32_000_204, "users": 200_948, "rows of items": 87_585}),
    ),
)
