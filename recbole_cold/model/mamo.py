"""MAMO: two memories give every task its own start, one by its profile, one by what tasks learned.

Source: Dong et al., "MAMO: Memory-Augmented Meta-Optimization for Cold-start Recommendation",
KDD 2020. Its tasks are users with ratings; here a task is an item with clicks.
Shape letters: t tasks, k rows of a task, m memory rows, p profile (own side), q other side,
d embedding size, n numbers of the own side's tower.
"""

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.data.episodes import Episode
from recbole_cold.device import in_float32
from recbole_cold.keys import INNER_RATE, SHARE, SIZE, STEPS, Key
from recbole_cold.kinds import number, one_of
from recbole_cold.model._fewshot import (
    FewShotNetwork,
    FewShotRecommender,
    State,
    TaskRows,
    row_loss,
)
from recbole_cold.model._inner import adapt, stacked_linear
from recbole_cold.model._layers import empty_layers

logger = logging.getLogger(__name__)

Weights = Mapping[str, Tensor]


# ------------------------------------------------------------------------------- the memories
@in_float32
def attention(profile_tp: Tensor, memory_mp: Tensor, temperature: float = 1.0) -> Tensor:
    """``softmax_m(cos(p, M_P) / temperature)``, which profile a task is like: [t, m]."""
    cosine_tm = F.normalize(profile_tp, dim=1) @ F.normalize(memory_mp, dim=1).T
    return torch.softmax(cosine_tm / temperature, dim=1)


@in_float32
def read(attention_tm: Tensor, memory: Tensor) -> Tensor:
    """``sum_m a_m M_m`` for a memory [m, ...]: [t, ...]."""
    return torch.tensordot(attention_tm, memory, dims=1)


@in_float32
def write(
    memory: Tensor,
    attention_tm: Tensor,
    value: Tensor,
    rate: float,
    real_t: Tensor,
    forget: str = "all",
) -> Tensor:
    """``rate * mean_t(a (x) value) + (1 - rate) * M``, the memory [m, ...] after a meta-batch.

    Args:
        memory: before, [m, ...].
        attention_tm: of each task on the memory's rows.
        value: what the tasks write, [t, ...].
        rate: share of what is new.
        real_t: 1 for a task that has rows; the others write nothing.
        forget: ``all``, the paper's: every row keeps ``1 - rate`` of itself. ``attended``: a row
            keeps ``1 - rate * a``, so that it is a mean of what was written to it.
    """
    share_tm = attention_tm * real_t[:, None] / real_t.sum().clamp(min=1.0)
    written = torch.tensordot(share_tm.T, value, dims=1)
    if forget == "attended":
        given_m = share_tm.sum(dim=0)
    else:
        given_m = torch.ones_like(share_tm[0]) * (real_t.sum() > 0)
    kept_m = 1.0 - rate * given_m
    return rate * written + kept_m.view(-1, *[1] * (memory.dim() - 1)) * memory


# ------------------------------------------------------------------------------- a tower as a row
def flatten(weights: Iterable[Tensor]) -> Tensor:
    """Stacked weights [t, ...] of several layers side by side: [t, n]."""
    return torch.cat([weight.flatten(start_dim=1) for weight in weights], dim=1)


def unflatten(row_tn: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The inverse of ``flatten``: [t, n] to weights of the given shapes, by name."""
    parts = row_tn.split([shape.numel() for shape in shapes.values()], dim=1)
    return {
        name: part.view(len(row_tn), *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


# ------------------------------------------------------------------------------- the network
def dense(weights: Weights, name: str, x_tki: Tensor) -> Tensor:
    """The linear layer ``name`` of every task on its rows [t, k, in]: [t, k, out]."""
    return stacked_linear(x_tki, weights[f"{name}.weight"], weights[f"{name}.bias"])


def tower(weights: Weights, name: str, x_tki: Tensor) -> Tensor:
    """Two layers with LeakyReLU after each: [t, k, d]."""
    return F.leaky_relu(
        dense(weights, f"{name}.1", F.leaky_relu(dense(weights, f"{name}.0", x_tki)))
    )


def score(weights: Weights, own_tp: Tensor, other_tkq: Tensor) -> Tensor:
    """Logits [t, k] with every task's own weights: ``rec(M_t [e_own; e_other] + b)``."""
    own = tower(weights, "own", own_tp[:, None]).expand(-1, other_tkq.shape[1], -1)
    x = torch.cat([own, tower(weights, "other", other_tkq)], dim=2)
    mixed = stacked_linear(x, weights["memory"], weights["mix.bias"])
    return dense(weights, "rec.1", F.leaky_relu(dense(weights, "rec.0", mixed))).squeeze(2)


def start(
    shared: Weights,
    attention_tm: Tensor,
    gradients_mn: Tensor,
    tasks_mxx: Tensor,
    tau: float,
) -> dict[str, Tensor]:
    """Where each task's own weights begin: ``own - tau * b_t``, ``M_t``, the rest as it is.

    Args:
        shared: the network's weights by name.
        attention_tm: on the memories' rows.
        gradients_mn: memory M_G of the own side's tower.
        tasks_mxx: memory M_T of mixing matrices.
        tau: how much of the gradient memory goes into the start.
    """
    weights = {name: w.expand(len(attention_tm), *w.shape) for name, w in shared.items()}
    own = {name: w.shape for name, w in shared.items() if name.startswith("own.")}
    shift = unflatten(read(attention_tm, gradients_mn), own)
    weights |= {name: weights[name] - tau * shift[name] for name in own}
    return {**weights, "memory": read(attention_tm, tasks_mxx)}


def _layers(*sizes: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(sizes))


class MAMONetwork(FewShotNetwork):
    """Tables, which all tasks share; two towers and a head, of which each task has its copy.

    The memories are buffers: no optimizer moves them, state files keep them, and only
    ``remember`` writes to them.
    """

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        p, q, d = self.own.width, self.other.width, self.embedding_size
        if p == 0:
            logger.warning(
                "MAMO reads its memories by the features of an %s, and this data set has none: "
                "all read the same; list feature fields under load_col",
                self.id_word,
            )
        for table in self.modules():
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=config["mamo_init_std"])
        with empty_layers():
            own, other = _layers(p, max(p // 2, 1), d), _layers(q, max(q // 2, 1), d)
        mix, rec = nn.ParameterDict({"bias": torch.zeros(2 * d)}), _layers(2 * d, d, 1)
        self.layers = nn.ModuleDict({"own": own, "other": other, "mix": mix, "rec": rec})
        n, m = sum(w.numel() for w in self.layers["own"].parameters()), config["mamo_memories"]
        self.register_buffer("profiles", torch.randn(m, p))
        self.register_buffer("gradients", 0.05 * torch.randn(m, n))
        # The release draws N(0, 1), by which the towers' outputs grow by sqrt(2d) at once.
        self.register_buffer("matrices", torch.randn(m, 2 * d, 2 * d) / (2 * d) ** 0.5)
        self.rates = config["mamo_alpha"], config["mamo_beta"], config["mamo_gamma"]
        self.temperature, self.tau = config["mamo_temperature"], config["mamo_tau"]
        self.forget = config["mamo_forget"]
        self.rate, self.second_order = config["mamo_inner_rate"], config["mamo_order"] == 2
        self.steps = config["mamo_inner_steps"], config["mamo_test_steps"]

    def attention(self, own_tp: Tensor) -> Tensor:
        """Of tasks with these profiles on the memories' rows: [t, m]."""
        # A copy, here and below: what is read is still needed when the memory was written to.
        return attention(own_tp, self.profiles.clone(), self.temperature)

    def begin(self, attention_tm: Tensor) -> State:
        """Every task's weights before its first step."""
        shared = dict(self.layers.named_parameters())
        memories = self.gradients.clone(), self.matrices.clone()
        return start(shared, attention_tm, *memories, self.tau)

    def adapted(self, begun: State, support: TaskRows) -> tuple[State, Tensor]:
        """The weights after the inner steps, and the losses [t] before them."""
        return adapt(
            lambda weights: row_loss(self.task_logits(weights, support), support),
            begun,
            learning_rates=self.rate,
            steps=self.steps[0] if self.training else self.steps[1],
            second_order=self.second_order,
            name_of=self.names_of(support),
        )

    def state(self, support: TaskRows) -> State:
        """Each task's own start, after gradient steps on its support; memories are only read."""
        begun = self.begin(self.attention(support.own_tp))
        return begun if support.mask_tk.shape[1] == 0 else self.adapted(begun, support)[0]

    def task_logits(self, state: State, rows: TaskRows) -> Tensor:
        return score(state, rows.own_tp, rows.other_tkq)

    @torch.no_grad()
    def remember(
        self, support: TaskRows, attention_tm: Tensor, gradient: Iterable[Tensor], matrix: Tensor
    ) -> None:
        """Write the tasks' profiles, gradients of the own side's tower, and adapted M_t."""
        real_t = support.mask_tk.any(dim=1).to(attention_tm.dtype)
        values = support.own_tp, flatten(gradient), matrix
        memories = self.profiles, self.gradients, self.matrices
        for memory, value, rate in zip(memories, values, self.rates, strict=True):
            memory.copy_(write(memory, attention_tm, value, rate, real_t, self.forget))


def own_tower(weights: Weights) -> Sequence[Tensor]:
    """The weights of the own side's tower, in the order of their names."""
    return [weight for name, weight in weights.items() if name.startswith("own.")]


class MAMO(FewShotRecommender):
    """A task's profile picks from memories where its weights start; what it learned goes back.

    Meta-training reads the memories for a whole batch of tasks and then writes once, the mean over
    the tasks. The phases only read.
    """

    paper = "Dong et al., KDD 2020"
    year = 2020
    network = MAMONetwork
    keys: ClassVar = (
        Key("mamo_init_std", number(least=0)),
        Key("mamo_memories", SIZE),
        Key("mamo_alpha", SHARE),
        Key("mamo_beta", SHARE),
        Key("mamo_gamma", SHARE),
        Key("mamo_tau", number(least=0)),
        Key("mamo_temperature", number(above=0)),
        Key("mamo_forget", one_of("all", "attended")),
        Key("mamo_write", one_of("support", "query")),
        Key("mamo_order", one_of(1, 2)),
        Key("mamo_inner_rate", INNER_RATE),
        Key("mamo_inner_steps", STEPS),
        Key("mamo_test_steps", STEPS),
    )

    def episode_loss(self, episode: Episode) -> Tensor:
        """The mean of the tasks' query losses; in training, the memories are written after it."""
        net: MAMONetwork = self.net
        support, query = self.both_of(episode)
        attention_tm = net.attention(support.own_tp)
        begun = net.begin(attention_tm)
        adapted, before_t = net.adapted(begun, support)
        after_t = row_loss(net.task_logits(adapted, query), query)
        if net.training:
            of_support = self.config["mamo_write"] == "support"
            loss_t, weights = (before_t, begun) if of_support else (after_t, adapted)
            gradient = torch.autograd.grad(loss_t.sum(), own_tower(weights), retain_graph=True)
            net.remember(support, attention_tm, gradient, adapted["memory"])
        return after_t.mean()
