"""AttributeMap: a linear map from an item's side information to its ID embedding.

Source: Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations",
ICDM 2010; the linear map, here fitted to click loss and ID embeddings of old items.
Shape letters: b rows of a batch, n items, d embedding size, s side information.
"""

from torch import Tensor, nn

from recbole_cold.methods import ColdStartRecommender, Fit


class AttributeMap(ColdStartRecommender):
    """Old items say what an ID embedding looks like, given the item's side information."""

    paper = "Gantner et al., ICDM 2010"
    year = 2010

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.map = nn.Linear(self.side_width, self.embedding_size).to(self.device)

    def trainable(self, stage: str) -> list[nn.Parameter]:
        return list(self.map.parameters()) if stage == "learn" else super().trainable(stage)

    def learn_fits(self) -> list[Fit]:
        self.side_ns = self.side_vectors()  # not earlier: now the backbone is trained
        return super().learn_fits()

    def calculate_loss(self, interaction) -> tuple[Tensor, Tensor]:
        """Click loss with mapped embeddings; their distance from those that were trained."""
        ids = interaction[self.id_field]
        mapped_bd = self.map(self.side_ns[ids])
        apart_b = (mapped_bd - self.backbone.id_vectors(ids)).square().sum(dim=1)
        click = self.loss(self.cold_logits(interaction, mapped_bd), interaction)
        return click, self.config["attribute_map_pull"] * apart_b.mean()

    def cold_vectors(self) -> Tensor:
        return self.map(self.side_vectors(self.new_ids))
