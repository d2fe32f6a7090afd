"""Cold-start methods, one file each, found by name."""

from recbole_cold.model._fit import Fit, Step
from recbole_cold.model._method import ColdStartRecommender

__all__ = ["ColdStartRecommender", "Fit", "Step"]
