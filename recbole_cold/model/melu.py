"""MeLU: meta-learn where a small decision network starts, adapt its layers to a few rows.

Source: Lee et al., "MeLU: Meta-Learned User Preference Estimator for Cold-Start Recommendation",
KDD 2019, arXiv 1908.00413.
Shape letters: t tasks (items), k rows of a task, p width of the own side, q of everything else.
"""

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_cold.keys import INNER_RATE, SIZE, STEPS, Key
from recbole_cold.kinds import list_of, one_of
from recbole_cold.model._fewshot import (
    FewShotNetwork,
    FewShotRecommender,
    State,
    TaskRows,
    row_loss,
)
from recbole_cold.model._inner import adapt, stacked_linear


class MeLUNetwork(FewShotNetwork):
    """Field tables, which all tasks share, and a decision network, of which each has its copy."""

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        sizes = [self.own.width + self.other.width, *config["melu_hidden_size"], 1]
        self.head = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(sizes))
        self.rate, self.second_order = config["melu_inner_rate"], config["melu_order"] == 2
        self.steps = config["melu_inner_steps"], config["melu_test_steps"]

    def state(self, support: TaskRows) -> State:
        """The decision network of each task, after gradient steps on its support."""
        t = len(support.ids_t)
        start = {k: v.expand(t, *v.shape) for k, v in self.head.named_parameters()}
        if support.mask_tk.shape[1] == 0:
            return start
        adapted, _ = adapt(
            lambda head: row_loss(self.task_logits(head, support), support),
            start,
            learning_rates=self.rate,
            steps=self.steps[0] if self.training else self.steps[1],
            second_order=self.second_order,
            name_of=self.names_of(support),
        )
        return adapted

    def task_logits(self, state: State, rows: TaskRows) -> Tensor:
        hidden = rows.inputs()
        for layer in range(len(self.head)):
            if layer:
                hidden = torch.relu(hidden)
            hidden = stacked_linear(hidden, state[f"{layer}.weight"], state[f"{layer}.bias"])
        return hidden[:, :, 0]


class MeLU(FewShotRecommender):
    """The decision network takes gradient steps on the support; tables and start learn through
    them (second order), so that a few steps on a few rows help most.
    """

    paper = "Lee et al., KDD 2019"
    year = 2019
    network = MeLUNetwork
    keys: ClassVar = (
        Key("melu_hidden_size", list_of(SIZE, filled=False)),
        Key("melu_inner_rate", INNER_RATE),
        Key("melu_inner_steps", STEPS),
        Key("melu_test_steps", STEPS),
        Key("melu_order", one_of(1, 2)),
    )
