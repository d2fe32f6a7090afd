"""TaNP: a neural process whose decoder is modulated by what the task's support looks like.

Source: Lin et al., "Task-adaptive Neural Process for User Cold-Start Recommendation", WWW 2021,
arXiv 2103.06137. There a user is a task; here it is whatever side is new.
Shape letters: t tasks, k rows of a task, x inputs of a row, z latent numbers, p numbers of a task
vector, j rows of the pool, h numbers of a decoder layer.
"""

import itertools
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.data.episodes import Episode
from recbole_cold.keys import LAYERS, SIZE, WEIGHT, Key
from recbole_cold.kinds import flag, number, one_of
from recbole_cold.model._fewshot import (
    FewShotNetwork,
    FewShotRecommender,
    State,
    TaskRows,
    row_loss,
)
from recbole_cold.model._layers import empty_layers, mlp, rows_mean


class Gaussian(NamedTuple):
    """Independent normal distributions of each task's latent numbers: [t, z] each."""

    mean_tz: Tensor
    log_variance_tz: Tensor

    def sample(self) -> Tensor:
        """A draw [t, z] that gradients pass through; noise from torch's global generator."""
        noise_tz = torch.randn_like(self.mean_tz)
        return self.mean_tz + noise_tz * torch.exp(0.5 * self.log_variance_tz)


class Context(NamedTuple):
    """What a task's support rows say: the latent distribution, the task vector, its clusters."""

    latent: Gaussian
    vector_tp: Tensor
    clusters_tj: Tensor


def gaussian_kl(target: Gaussian, context: Gaussian) -> Tensor:
    """``KL(target || context)``, summed over the latent numbers of each task: [t]."""
    spread_tz = target.log_variance_tz - context.log_variance_tz
    distance_tz = (target.mean_tz - context.mean_tz) ** 2 / context.log_variance_tz.exp()
    return 0.5 * (spread_tz.exp() + distance_tz - 1.0 - spread_tz).sum(dim=1)


def cluster_weights(vector_tp: Tensor, pool_jp: Tensor, tau: float, squared: bool) -> Tensor:
    """How near each task is to each row of the pool, by a Student's t kernel: [t, j], sums of 1.

    The paper squares the distance, the release does not.
    """
    square_tj = ((vector_tp[:, None] - pool_jp) ** 2).sum(dim=2)
    # The root has no gradient at 0, where a task lies on a row of the pool.
    distance_tj = square_tj if squared else square_tj.clamp(min=1e-12).sqrt()
    kernel_tj = (1.0 + distance_tj / tau) ** (-(tau + 1.0) / 2.0)
    return kernel_tj / kernel_tj.sum(dim=1, keepdim=True)


def sharpened(clusters_tj: Tensor) -> Tensor:
    """The target distribution of the clusters: squared, and divided by each cluster's share."""
    weight_tj = clusters_tj**2 / clusters_tj.sum(dim=0)
    return weight_tj / weight_tj.sum(dim=1, keepdim=True)


def clustering_loss(clusters_tj: Tensor, detach_target: bool) -> Tensor:
    """``KL(sharpened || clusters)``, mean over tasks: a number."""
    target_tj = sharpened(clusters_tj)
    if detach_target:
        target_tj = target_tj.detach()
    return (target_tj * (target_tj / clusters_tj).log()).sum(dim=1).mean()


class Modulation(nn.Module):
    """Scale and shift of one decoder layer from the task vector.

    Args:
        task: numbers of a task vector.
        size: of the layer.
        gated: whether a gate mixes a third vector into both (the paper's second variant).
    """

    def __init__(self, task: int, size: int, gated: bool) -> None:
        super().__init__()
        self.scale = nn.Linear(task, size, bias=False)
        self.shift = nn.Linear(task, size, bias=False)
        self.common = nn.Linear(task, size, bias=False) if gated else None
        self.gate = nn.Linear(task, size, bias=False) if gated else None

    def forward(self, vector_tp: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, [t, h] each."""
        scale_th, shift_th = torch.tanh(self.scale(vector_tp)), torch.tanh(self.shift(vector_tp))
        if self.common is None or self.gate is None:
            return scale_th, shift_th
        common_th = torch.tanh(self.common(vector_tp))
        gate_th = torch.sigmoid(self.gate(vector_tp))
        return torch.lerp(common_th, scale_th, gate_th), torch.lerp(common_th, shift_th, gate_th)


class NeuralProcess(nn.Module):
    """All networks of TaNP behind the embeddings; everything is batched over tasks.

    Args:
        own: width of the embedded features of the new side, the same for all rows of a task.
        other: width of everything else in a row.
        encoder: layers of each side's encoder.
        latent: layers of the encoder of (row, label) pairs that gives the latent numbers.
        task: layers of the encoder of (row, label) pairs that gives the task vector.
        pool: number of cluster rows.
        decoder: layers of the decoder, each modulated.
        gated: the gated variant of the modulation, or plain scale and shift.
        squared: whether clusters use the squared distance.
        tau: degrees of freedom of the cluster kernel.
    """

    def __init__(
        self,
        own: int,
        other: int,
        *,
        encoder: Sequence[int] = (32, 16),
        latent: Sequence[int] = (32, 16, 32),
        task: Sequence[int] = (32, 32, 16),
        pool: int = 10,
        decoder: Sequence[int] = (32, 32, 16),
        gated: bool = True,
        squared: bool = True,
        tau: float = 1.0,
    ) -> None:
        super().__init__()
        row, z = 2 * encoder[-1], latent[-1]
        self.squared, self.tau = squared, tau
        with empty_layers():
            self.own_encoder = nn.Sequential(mlp([own, *encoder]), nn.ReLU())
            self.other_encoder = nn.Sequential(mlp([other, *encoder]), nn.ReLU())
        self.latent_encoder = mlp([row + 1, *latent])
        self.latent_hidden = nn.Sequential(nn.Linear(z, z), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(z, z), nn.Linear(z, z)
        self.task_encoder = mlp([row + 1, *task])
        self.pool = nn.Parameter(torch.empty(pool, task[-1]))
        nn.init.xavier_uniform_(self.pool)
        sizes = [row + z, *decoder]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])
        self.modulations = nn.ModuleList([Modulation(task[-1], size, gated) for size in decoder])
        self.out = nn.Linear(decoder[-1], 1)

    def inputs(self, own_tp: Tensor, other_tkq: Tensor) -> Tensor:
        """Encoded rows [t, k, x]; the new side is encoded once per task."""
        own_tx, other_tkx = self.own_encoder(own_tp), self.other_encoder(other_tkq)
        own_tkx = own_tx[:, None].expand(-1, other_tkx.shape[1], -1)
        return torch.cat([own_tkx, other_tkx], dim=2)

    def latent(self, row_tkx: Tensor, label_tk: Tensor, mask_tk: Tensor) -> Gaussian:
        """The latent distribution that a set of rows with labels gives."""
        pair_tkx = torch.cat([row_tkx, label_tk[..., None].to(row_tkx.dtype)], dim=2)
        hidden_tz = self.latent_hidden(rows_mean(self.latent_encoder(pair_tkx), mask_tk))
        return Gaussian(self.mean(hidden_tz), self.log_variance(hidden_tz))

    def task(self, row_tkx: Tensor, label_tk: Tensor, mask_tk: Tensor) -> tuple[Tensor, Tensor]:
        """The task vector ``t + sum_j c_j A_j`` [t, p] of the support, and its clusters [t, j]."""
        pair_tkx = torch.cat([row_tkx, label_tk[..., None].to(row_tkx.dtype)], dim=2)
        vector_tp = rows_mean(self.task_encoder(pair_tkx), mask_tk)
        clusters_tj = cluster_weights(vector_tp, self.pool, self.tau, self.squared)
        return vector_tp + clusters_tj @ self.pool, clusters_tj

    def context(self, row_tkx: Tensor, label_tk: Tensor, mask_tk: Tensor) -> Context:
        """All that the decoder needs of the support."""
        vector_tp, clusters_tj = self.task(row_tkx, label_tk, mask_tk)
        return Context(self.latent(row_tkx, label_tk, mask_tk), vector_tp, clusters_tj)

    def decode(self, row_tkx: Tensor, latent_tz: Tensor, vector_tp: Tensor) -> Tensor:
        """Logits [t, k] of rows, given their tasks' latent numbers and vectors."""
        hidden_tkh = None
        for layer, modulation in zip(self.layers, self.modulations, strict=True):
            scale_th, shift_th = modulation(vector_tp)
            if hidden_tkh is None:
                hidden_tkh = self._first(layer, row_tkx, latent_tz)
            else:
                hidden_tkh = layer(hidden_tkh)
            hidden_tkh = F.relu(scale_th[:, None] * hidden_tkh + shift_th[:, None])
        return self.out(hidden_tkh)[..., 0]

    @staticmethod
    def _first(layer: nn.Module, row_tkx: Tensor, latent_tz: Tensor) -> Tensor:
        """The first layer of ``[row; latent]``; the latent half is the same for all rows."""
        row_weight, latent_weight = layer.weight.split(
            [row_tkx.shape[2], latent_tz.shape[1]], dim=1
        )
        return (
            F.linear(row_tkx, row_weight) + F.linear(latent_tz, latent_weight, layer.bias)[:, None]
        )


class TaNPNetwork(FewShotNetwork):
    """The process on RecBole's tables."""

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.process = NeuralProcess(
            self.own.width,
            self.other.width,
            encoder=config["tanp_encoder_size"],
            latent=config["tanp_latent_size"],
            task=config["tanp_task_size"],
            pool=config["tanp_pool_size"],
            decoder=config["tanp_decoder_size"],
            gated=config["tanp_film"] == "gating",
            squared=config["tanp_pool_distance"] == "sq",
            tau=config["tanp_pool_tau"],
        )

    def rows(self, tasks: TaskRows) -> Tensor:
        """Encoded rows: [t, k, x]."""
        return self.process.inputs(tasks.own_tp, tasks.other_tkq)

    def state(self, support: TaskRows) -> State:
        """The latent mean and the task vector: nothing is drawn, so scores are repeatable."""
        context = self.process.context(self.rows(support), support.label_tk, support.mask_tk)
        return {"latent": context.latent.mean_tz, "vector": context.vector_tp}

    def task_logits(self, state: State, rows: TaskRows) -> Tensor:
        return self.process.decode(self.rows(rows), state["latent"], state["vector"])


class TaNP(FewShotRecommender):
    """One forward pass over a new item's rows gives the decoder of its other rows.

    In training the latent numbers are drawn from what support and query together say, and what the
    support alone says is pulled towards that.
    """

    paper = "Lin et al., WWW 2021"
    year = 2021
    network = TaNPNetwork
    keys: ClassVar = (
        Key("tanp_encoder_size", LAYERS),
        Key("tanp_latent_size", LAYERS),
        Key("tanp_task_size", LAYERS),
        Key("tanp_pool_size", SIZE),
        Key("tanp_pool_tau", number(above=0)),
        Key("tanp_pool_distance", one_of("sq", "abs")),
        Key("tanp_decoder_size", LAYERS),
        Key("tanp_film", one_of("gating", "plain")),
        Key("tanp_kl_weight", WEIGHT),
        Key("tanp_cluster_weight", WEIGHT),
        Key("tanp_detach_target", flag()),
    )

    def episode_loss(self, episode: Episode) -> Tensor:
        """The mean over tasks of their losses, and the clusters', which looks at all tasks."""
        loss_t, clusters_tj = self.task_losses(episode)
        clusters = clustering_loss(clusters_tj, self.config["tanp_detach_target"])
        return loss_t.mean() + self.config["tanp_cluster_weight"] * clusters

    def task_losses(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """Each task's loss [t] of its target rows (support and query) and KL, and its clusters."""
        support, query = self.both_of(episode)
        whole, size = joined(support, query), support.mask_tk.shape[1]
        net: NeuralProcess = self.net.process
        row_tkx = self.net.rows(whole)
        context = net.context(row_tkx[:, :size], support.label_tk, support.mask_tk)
        target = net.latent(row_tkx, whole.label_tk, whole.mask_tk)
        logit_tk = net.decode(row_tkx, target.sample(), context.vector_tp)
        kl_t = gaussian_kl(target, context.latent)
        loss_t = row_loss(logit_tk, whole) + self.config["tanp_kl_weight"] * kl_t
        return loss_t, context.clusters_tj


def joined(support: TaskRows, query: TaskRows) -> TaskRows:
    """Support and query rows of the same tasks as one set."""
    parts = zip(support[2:], query[2:], strict=True)
    return TaskRows(support.ids_t, support.own_tp, *(torch.cat(pair, dim=1) for pair in parts))
