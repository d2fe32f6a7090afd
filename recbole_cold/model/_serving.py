"""What a model's folder, ``predict`` and ``export`` ask a method.

The defaults are those of one vector per item in a backbone; a method that needs more answers in its
own file. In ``predict`` items and users that the run has never seen have codes beyond the tables:
their features are there, and nothing else.
Shape letters: b rows of a batch, k unseen items, r rows, d embedding size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_cold.backbone._beyond import read_beyond
from recbole_cold.data.rows import Batch

_SCORING = ("logits", "predict", "item_vectors")


class Serving:
    """The questions; base of ``ColdStartRecommender``, whose attributes they read."""

    n_ids: int
    id_field: str
    new_index: Tensor
    rows_seen: Any
    backbone: Any

    def unlike(self, plain: type) -> str | None:
        """Which of the functions that score rows is not that of ``plain``, as a reason; or None."""
        own = [name for name in _SCORING if getattr(type(self), name) is not getattr(plain, name)]
        if not own:
            return None
        return f"it scores rows in its own way ({own[0]}), not with one vector per new item"

    # ---------------------------------------------------------------- what a folder holds
    def kept_rows(self) -> Tensor | None:
        """Numbers [r] of the rows that a folder holds, because scores are made of them or they are
        fitted anew in each phase; ``None``: there are none."""
        index: Tensor = self.rows_seen.index
        return index if len(index) else None

    def kept_rows_are(self, index: Tensor) -> None:
        """What ``kept_rows`` named has the numbers ``index`` [r] in the rows of a loaded model."""

    def kept_vectors(self, ids: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Vectors [b, any] and scalar weights [b, 1] of items as they are served; ``None`` where
        there are none."""
        found: tuple[Tensor | None, Tensor | None] = self.item_vectors(ids)  # type: ignore[attr-defined]
        return found

    # ---------------------------------------------------------------- what was never seen
    @property
    def has_vectors(self) -> bool:
        """Whether items are scored with vectors of their own."""
        return bool(self.backbone.reads_vector)

    def mean_vector(self) -> Tensor:
        """The vector [any] of an item of which nothing is known."""
        found: Tensor = self.old_mean()  # type: ignore[attr-defined]
        return found

    def read_beyond(self, trained: Mapping[str, np.ndarray], means: set[str]) -> None:
        """Let codes beyond the tables be read, for good; see ``read_beyond`` of the backbones.

        Args:
            trained: field -> which of its codes training had.
            means: the fields whose codes beyond the end are the mean row; padding for others.
        """
        read_beyond(self.backbone.model, trained, means)

    def new_place(self, ids: Tensor) -> Tensor:
        """Places [b] among the new items, -1 for others, those beyond the tables among them."""
        place = self.new_index[ids.clamp(max=self.n_ids - 1)]
        return torch.where(ids < self.n_ids, place, -1)

    def unseen_vectors(self, names: Sequence[str]) -> Tensor:
        """ID embeddings [k, d] of items that the run has never seen: the cold answer.

        The features of as many new items have been exchanged for theirs, and what these new items
        have seen is put aside.

        Args:
            names: their ids in the outside world.
        """
        found: Tensor = self.cold_vectors()[: len(names)]  # type: ignore[attr-defined]
        return found

    # ---------------------------------------------------------------- scores
    def more_served(self, ids: Tensor, vector_bd: Tensor) -> dict[str, Tensor]:
        """What else than its vector (and scalar weight) each item is scored with, by the names that
        an export gives it: [b, ..]."""
        return {}

    def served_logits(
        self,
        interaction: Batch,
        vector_bd: Tensor | None,
        weight_b1: Tensor | None,
        more: Mapping[str, Tensor],
    ) -> Tensor:
        """Logits [b] of rows whose items are served with all this; ids may be beyond the tables.

        Args:
            vector_bd: ``None`` where items have none (``has_vectors``).
        """
        logits: Tensor = self.backbone.served_logits(interaction, vector_bd, weight_b1, more)
        return logits
