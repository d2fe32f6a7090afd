"""FINAL: stacked layers that multiply two linear maps of their input, in one or two streams.

Source: Zhu et al., "FINAL: Factorized Interaction Layer for CTR Prediction", SIGIR 2023.
Shape letters: b rows of a batch, f fields, d embedding size, k width of a layer.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._base import ClickModel
from recbole_cold.errors import UserError
from recbole_cold.keys import DROPOUT, LAYERS, Key
from recbole_cold.kinds import flag, one_of


class FactorizedInteraction(nn.Module):
    """``h2 + h1 * h2`` or ``[h2; h1 * h2]`` of the halves of a linear map: [b, k].

    Args:
        size_in: width of the input.
        size_out: k.
        residual: ``sum`` (halves of width k) or ``concat`` (halves of width k / 2).
    """

    def __init__(self, size_in: int, size_out: int, residual: str) -> None:
        super().__init__()
        self.residual = residual
        self.linear = nn.Linear(size_in, 2 * size_out if residual == "sum" else size_out)

    def forward(self, input_bi: Tensor) -> Tensor:
        second, first = self.linear(input_bi).chunk(2, dim=-1)
        if self.residual == "sum":
            return second + first * second
        return torch.cat([second, first * second], dim=-1)


class FieldGate(nn.Module):
    """``[E; E * g]`` with a linear map over the fields for g, one number per field and dimension.

    At the start g is 1: weights 0, bias 1.
    """

    def __init__(self, n_fields: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_fields, n_fields)

    def reset(self) -> None:
        nn.init.zeros_(self.linear.weight)
        nn.init.ones_(self.linear.bias)

    def forward(self, field_bfd: Tensor) -> Tensor:
        gate_bfd = self.linear(field_bfd.transpose(1, 2)).transpose(1, 2)
        return torch.cat([field_bfd, field_bfd * gate_bfd], dim=1)


def interaction_block(
    size_in: int, sizes: Sequence[int], residual: str, batch_norm: bool, dropout: float
) -> nn.Sequential:
    """Interaction layer, BatchNorm, dropout, once per size, and a linear output: [b, 1].

    There is no activation: d layers give a polynomial of degree ``2 ** d`` in evaluation mode.
    """
    layers: list[nn.Module] = []
    for size in sizes:
        layers.append(FactorizedInteraction(size_in, size, residual))
        layers += [nn.BatchNorm1d(size)] if batch_norm else []
        layers += [nn.Dropout(dropout)] if dropout else []
        size_in = size
    return nn.Sequential(*layers, nn.Linear(size_in, 1))


def distilled(first_b: Tensor, second_b: Tensor, label_b: Tensor) -> Tensor:
    """Click loss of the mean logit, and of either logit with the mean's probability as label.

    The probability is a constant in the second and third term.
    """
    mean_b = 0.5 * (first_b + second_b)
    loss = F.binary_cross_entropy_with_logits
    teacher_b = torch.sigmoid(mean_b).detach()
    return loss(mean_b, label_b) + loss(first_b, teacher_b) + loss(second_b, teacher_b)


class FINAL(ClickModel):
    """Two blocks of factorised interaction layers; the logit is the mean of theirs.

    The blocks teach each other in this model's own loss, that of pre-training; a warm phase has the
    click loss of the mean logit alone. ``block_type: 1B`` is the first block by itself.
    """

    paper = "Zhu et al., SIGIR 2023"
    year = 2023
    keys: ClassVar = (
        Key("block_type", one_of("1B", "2B")),
        Key("block1_hidden_size", LAYERS),
        Key("block2_hidden_size", LAYERS),
        Key("fi_residual", one_of("concat", "sum")),
        Key("field_gate", flag()),
        Key("block_bn", flag()),
        DROPOUT,
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        residual = config["fi_residual"]
        two = config["block_type"] == "2B"
        self._check_sizes(config, residual)
        fields = self.num_feature_field
        width = fields * self.embedding_size
        rest = (residual, config["block_bn"], config["dropout_prob"])
        self.gate = FieldGate(fields) if config["field_gate"] else None
        gated = 2 * width if self.gate is not None else width
        self.block1 = interaction_block(gated, config["block1_hidden_size"], *rest)
        self.block2 = interaction_block(width, config["block2_hidden_size"], *rest) if two else None
        self.apply(self._init_weights)
        if self.gate is not None:
            self.gate.reset()

    @staticmethod
    def _check_sizes(config, residual: str) -> None:
        for key in ("block1_hidden_size", "block2_hidden_size"):
            odd = [size for size in config[key] if size % 2]
            if residual == "concat" and odd:
                raise UserError(
                    f"{key} has {odd[0]}, which has no half; use even sizes or fi_residual: sum"
                )

    def streams(self, interaction) -> tuple[Tensor, Tensor | None]:
        """Logits [b] of the first block and, if there is one, of the second."""
        field_bfd = self.concat_embed_input_fields(interaction)
        gated = field_bfd if self.gate is None else self.gate(field_bfd)
        first = self.block1(gated.flatten(1)).squeeze(-1)
        if self.block2 is None:
            return first, None
        return first, self.block2(field_bfd.flatten(1)).squeeze(-1)

    def forward(self, interaction) -> Tensor:
        first, second = self.streams(interaction)
        return first if second is None else 0.5 * (first + second)

    def calculate_loss(self, interaction) -> Tensor:
        """Click loss, and with two blocks what either learns from their mean."""
        first, second = self.streams(interaction)
        label = interaction[self.LABEL]
        return self.loss(first, label) if second is None else distilled(first, second, label)
