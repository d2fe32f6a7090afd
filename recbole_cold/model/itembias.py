"""ItemBias: the cold model untouched, and one fitted number per new item (of sessions: per item).

The yardstick of every warm-up method: pooled AUC of new items is almost wholly a comparison between
items, and a number per item is the least that orders them. A method that does not pass this row has
moved a scalar. Inside an item the order of rows is the cold model's, whatever is seen.
Source: the random intercept of Zhang et al., "GLMix", KDD 2016, equation 2, here for new items on
the logits of a click model; the equations are in ``_item_bias.py``.
"""

from typing import ClassVar

from torch import Tensor

from recbole_cold.model._fit import Fit
from recbole_cold.model._method import FINE_TUNING, ColdStartRecommender


class ItemBias(ColdStartRecommender):
    """The backbone with cold rows for new items, and one number per new item after each phase."""

    paper = "Zhang et al., KDD 2016"
    year = 2016
    idle_keys: ClassVar = FINE_TUNING
    needs_new_items: ClassVar = False

    def has_item_bias(self) -> bool:
        return True

    def warm_fits(self, index: Tensor) -> list[Fit]:
        """None: no vector moves."""
        return []
