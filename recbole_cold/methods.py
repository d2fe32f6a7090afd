"""Public names for authors of methods and of click models: import them from here.

The modules behind them may change; these names stay::

    from recbole_cold.methods import ColdStartRecommender, Fit, Step

=====================  ============================================================================
a method               ``ColdStartRecommender``; ``Fit``, ``Step``, ``RowBatches``: what is learned;
                       ``Untouched``: the state of an item before its first row; ``TokenRows``:
                       whose rows a tensor holds
its data               ``Batch``, ``Rows``; ``Split``, ``Phase``
layers                 ``mlp``, ``OwnSide``, ``rows_mean``, ``lookup``, ``evaluating``,
                       ``zero_rows``
tasks of meta-learners ``time_blocks``, ``Blocks``, ``Episode``, ``EpisodeBatches``,
                       ``FewShotBatches``, ``masked_mean``
inner steps            ``inner_step``, ``adapt``, ``stacked_linear``, ``loss_in_chunks``, ``Chunks``
few-shot networks      ``FewShotRecommender``, ``FewShotNetwork``, ``TaskRows``, ``row_loss``
keys of its own        ``Key``; kinds (``recbole_cold.kinds``): ``whole``, ``number``, ``one_of``,
                       ``flag``, ``text``, ``list_of``, ``optional``
a network of its own   ``OwnNetwork``, ``build_backbone`` in ``make_backbone``
a click model          ``ClickModel``, ``FieldTables``, ``embedded_fields``, ``head``
draws                  ``generator``, ``derive``, ``seed_layers``: random numbers by seed and name
errors                 ``UserError``: one sentence for the user; ``nearest``: the name meant
=====================  ============================================================================

The tests that a method must pass are in ``recbole_cold.testing``, which needs pytest.
"""

from recbole_cold.backbone._base import ClickModel, FieldTables, embedded_fields, head
from recbole_cold.backbone._modes import evaluating
from recbole_cold.backbone._seam import Backbone, OwnNetwork, build_backbone
from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.backbone._unseen import zero_rows
from recbole_cold.data.episodes import (
    Blocks,
    Episode,
    EpisodeBatches,
    FewShotBatches,
    masked_mean,
    time_blocks,
)
from recbole_cold.data.phases import Phase
from recbole_cold.data.rows import Batch, Rows
from recbole_cold.data.split import Split
from recbole_cold.errors import UserError, nearest
from recbole_cold.keys import Key
from recbole_cold.kinds import flag, list_of, number, one_of, optional, text, whole
from recbole_cold.model._fewshot import FewShotNetwork, FewShotRecommender, TaskRows, row_loss
from recbole_cold.model._fit import Fit, RowBatches, Step
from recbole_cold.model._inner import Chunks, adapt, inner_step, loss_in_chunks, stacked_linear
from recbole_cold.model._layers import OwnSide, mlp, rows_mean
from recbole_cold.model._method import ColdStartRecommender, Untouched
from recbole_cold.model._token_rows import TokenRows
from recbole_cold.seeding import derive, generator, seed_layers

__all__ = [
    "Backbone",
    "Batch",
    "Blocks",
    "Chunks",
    "ClickModel",
    "ColdStartRecommender",
    "Episode",
    "EpisodeBatches",
    "FewShotBatches",
    "FewShotNetwork",
    "FewShotRecommender",
    "FieldTables",
    "Fit",
    "Key",
    "OwnNetwork",
    "OwnSide",
    "Phase",
    "RowBatches",
    "Rows",
    "Split",
    "Step",
    "TaskRows",
    "TokenRows",
    "Untouched",
    "UserError",
    "adapt",
    "build_backbone",
    "derive",
    "embedded_fields",
    "evaluating",
    "flag",
    "generator",
    "head",
    "inner_step",
    "list_of",
    "lookup",
    "loss_in_chunks",
    "masked_mean",
    "mlp",
    "nearest",
    "number",
    "one_of",
    "optional",
    "row_loss",
    "rows_mean",
    "seed_layers",
    "stacked_linear",
    "text",
    "time_blocks",
    "whole",
    "zero_rows",
]
