"""One file per method; names are found, not listed. A method starts from the classes named here."""

from recbole_cold.model._base import ColdStartRecommender, Fit, Step

__all__ = ["ColdStartRecommender", "Fit", "Step"]
