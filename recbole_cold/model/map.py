"""MAP: vectors of new items around their cold ones, and one number each, by maximum a posteriori.

The plain backbone with ``warm: map``, which any method that gives vectors can have: then the prior
is centred on what that method generates, for example ``CVAR[warm=map]``.
Sources: VELF (Xu et al., WWW 2022) for the prior of the vectors, GLMix (Zhang et al., KDD 2016) for
the number; equations in ``_map.py`` and ``_item_bias.py``.
"""

from typing import ClassVar

from recbole_cold.model._method import FINE_TUNING, ColdStartRecommender


class MAP(ColdStartRecommender):
    """The backbone; new items' vectors are fitted around the mean of old ones."""

    paper = "after Xu et al., WWW 2022"
    year = 2022
    idle_keys: ClassVar = FINE_TUNING
