"""AFN: products of powers of the fields' embeddings, with learned exponents, into an MLP.

Source: Cheng, Shen and Huang, "Adaptive Factorization Network: Learning Adaptive-Order Feature
Interactions", AAAI 2020. ``log_form: log1p`` is the variant in the released code of CVAR.
Shape letters: b rows of a batch, f fields, d embedding size, j logarithmic neurons.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_cold.backbone._base import ClickModel, FieldTables, embedded_fields, head
from recbole_cold.device import in_float32
from recbole_cold.keys import DROPOUT, HIDDEN, LAYERS, SIZE, Key
from recbole_cold.kinds import flag, number, one_of

# exp(20) is 5e8: beyond it the MLP's squares of activations leave float32.
LARGEST_EXPONENT = 20.0


def logarithms(field_bfd: Tensor, least: float) -> Tensor:
    """``ln max(|e|, least)``: finite, and without gradient where an entry is below ``least``."""
    return field_bfd.abs().clamp(min=least).log()


@in_float32  # exponents, of which a rounded one is another power
def powers(log_bfd: Tensor, weight_jf: Tensor) -> Tensor:
    """``exp(sum_f W_jf ln e_f)``, the product of the fields to the powers W_j: [b, j, d]."""
    return torch.matmul(weight_jf, log_bfd).clamp(max=LARGEST_EXPONENT).exp()


@in_float32
def powers_of_one_plus(field_bfd: Tensor, weight_jf: Tensor) -> Tensor:
    """``relu(prod_f (1 + |e_f|) ** W_jf - 1)``, the released variant: [b, j, d]."""
    exponent = torch.matmul(weight_jf, torch.log1p(field_bfd.abs() + 1e-7))
    return torch.relu(torch.expm1(exponent.clamp(max=LARGEST_EXPONENT)))


class AFN(ClickModel):
    """Logarithmic neurons and an MLP; ``ensemble_dnn`` adds a second MLP with tables of its own.

    A vector of exact zeros has no gradient here, so new items must start elsewhere. Behind the seam
    the second table must not hold the ID that may be cold: ``ensemble_shares_ids`` lets the second
    MLP read the IDs' vectors of the first table.
    """

    paper = "Cheng et al., AAAI 2020"
    year = 2020
    keys: ClassVar = (
        Key("log_neurons", SIZE),
        Key("log_form", one_of("log", "log1p")),
        Key("log_min", number(above=0)),
        Key("log_bn", flag()),
        Key("mlp_bn", flag()),
        Key("ensemble_dnn", flag()),
        Key("ensemble_hidden_size", LAYERS),
        Key("ensemble_shares_ids", flag()),
        HIDDEN,
        DROPOUT,
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.log_form = config["log_form"]
        self.log_min = config["log_min"]
        fields, neurons = len(self._fields()), config["log_neurons"]
        bound = 1.0 / math.sqrt(fields)
        self.weight_jf = nn.Parameter(torch.empty(neurons, fields).uniform_(-bound, bound))
        self.log_bn = nn.BatchNorm1d(fields) if config["log_bn"] else None
        self.exp_bn = nn.BatchNorm1d(neurons) if config["log_bn"] else None
        width = neurons * self.embedding_size
        sizes = [width, *config["mlp_hidden_size"]]
        self.mlp = head(sizes, config["dropout_prob"], config["mlp_bn"])
        if self.log_form == "log1p" and self.float_field_names:
            self.float_weight = nn.Parameter(torch.zeros(len(self.float_field_names)))
        self.ensemble = None
        if config["ensemble_dnn"]:
            self.ensemble = _Ensemble(self, config, dataset)
        self.apply(self._init_weights)

    def _fields(self) -> list[str]:
        """The fields that are embedded: all, but numbers are a linear term in ``log1p``."""
        linear = self.float_field_names if self.log_form == "log1p" else []
        return [field for field in embedded_fields(self) if field not in linear]

    def embed_float_fields(self, float_fields: Tensor | None) -> Tensor | None:
        return None if self.log_form == "log1p" else super().embed_float_fields(float_fields)

    def neurons(self, field_bfd: Tensor) -> Tensor:
        """The logarithmic layer's output: [b, j, d]."""
        if self.log_form == "log1p":
            neuron_bjd = powers_of_one_plus(field_bfd, self.weight_jf)
        else:
            log_bfd = logarithms(field_bfd, self.log_min)
            log_bfd = log_bfd if self.log_bn is None else self.log_bn(log_bfd)
            neuron_bjd = powers(log_bfd, self.weight_jf)
        return neuron_bjd if self.exp_bn is None else self.exp_bn(neuron_bjd)

    def forward(self, interaction) -> Tensor:
        field_bfd = self.concat_embed_input_fields(interaction)
        logits = self.mlp(self.neurons(field_bfd).flatten(1)).squeeze(-1)
        if self.log_form == "log1p" and self.float_field_names:
            logits = logits + self._linear_numbers(interaction)
        return logits if self.ensemble is None else self.ensemble(logits, field_bfd, interaction)

    def _linear_numbers(self, interaction) -> Tensor:
        # A number comes as the pair (value, 1), as RecBole's tables of numbers want it.
        values = [interaction[field][..., 0].reshape(-1) for field in self.float_field_names]
        return (torch.stack(values, dim=-1) * self.float_weight).sum(dim=-1)


class _Ensemble(nn.Module):
    """``Linear([afn; dnn])`` with an MLP on embeddings of its own; the paper's AFN+."""

    def __init__(self, afn: AFN, config, dataset) -> None:
        super().__init__()
        fields = afn._fields()
        shared = []
        if config["ensemble_shares_ids"]:
            ids = (config["USER_ID_FIELD"], config["ITEM_ID_FIELD"])
            shared = [fields.index(name) for name in ids if name in fields]
        own = [field for place, field in enumerate(fields) if place not in shared]
        pool = type(afn).embed_token_seq_fields
        self.shared = shared
        self.tables = FieldTables(config, dataset, own, pool) if own else None
        sizes = [len(fields) * afn.embedding_size, *config["ensemble_hidden_size"]]
        self.mlp = head(sizes, config["dropout_prob"], config["mlp_bn"])
        self.output = nn.Linear(2, 1)

    def forward(self, logits_b: Tensor, field_bfd: Tensor, interaction) -> Tensor:
        parts = [] if self.tables is None else [self.tables(interaction)]
        parts.append(field_bfd[:, self.shared])
        deep_b1 = self.mlp(torch.cat(parts, dim=1).flatten(1))
        return self.output(torch.cat([logits_b[:, None], deep_b1], dim=1)).squeeze(-1)
