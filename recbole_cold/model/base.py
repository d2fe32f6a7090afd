"""Base: the plain backbone; a new item starts from a fixed rule and is fine-tuned.

``new_item_init: mean`` is MWUF(init) of Zhu et al., SIGIR 2021, section 3.2: the mean of old items'
embeddings. ``zero`` is what the released baselines amount to; ``random`` keeps the backbone's draw.
"""

from typing import ClassVar

from recbole_cold.model._method import ColdStartRecommender


class Base(ColdStartRecommender):
    """The backbone as it is; the row every method is compared with."""

    paper = "no method: the backbone alone"
    needs_new_items: ClassVar = False
