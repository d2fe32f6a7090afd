"""One file per method; names are found, not listed. A method starts from the classes named here."""

from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._method import ColdStartRecommender

__all__ = ["ColdStartRecommender", "Fit", "Step"]
