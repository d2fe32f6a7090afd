"""RML: sessions as tasks; a step on the LSTM and the attention, then one on everything.

Source: Chen, Xu, Yang, Ma, Cao, Huang, "Recurrent Meta-Learning against Generalized Cold-start
Problem in CTR Prediction", MM 2022, doi 10.1145/3503161.3548118.
Shape letters: b sessions, d embedding size.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from recbole_cold import seeding
from recbole_cold.backbone._layers import fixed_statistics, settle_statistics
from recbole_cold.backbone._seam import Backbone, OwnNetwork, build_backbone
from recbole_cold.data.rows import Batch, Rows
from recbole_cold.errors import UserError
from recbole_cold.keys import EPOCHS, INNER_RATE, LAYERS, WEIGHT, Key
from recbole_cold.kinds import flag, number, one_of
from recbole_cold.model._fit import Fit, RowBatches, Step
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.model._rml_net import RMLNet

# Two of support and one of query.
_SMALLEST = 3
# Sessions that Dice's statistics are taken from, and how many at a time: a mean is then known
# to about a hundredth of a deviation.
_SETTLED, _AT_ONCE = 8192, 2048
# The parts of L_sum, for the message if one is no number.
_PARTS = ("L", "L_reg", "L_aux")


class SessionBatch(NamedTuple):
    """One batch of sessions, whole and in its two parts, in the given epoch of its fit."""

    whole: Batch
    support: Batch
    query: Batch
    epoch: int

    def __len__(self) -> int:
        return len(self.whole)


def support_size(n: int) -> int:
    """How many of a batch's n sessions are the support: all but a third, rounded down."""
    return n - n // 3


class SessionBatches(RowBatches):
    """Random batches of sessions, the first two thirds of each its support.

    Args:
        halved: whether support and query are used. The last batch of an epoch is then left out if
            it has less than three sessions.
    """

    def __init__(self, index: Tensor, batch_size: int, rows: Rows, halved: bool) -> None:
        left = len(index) % batch_size
        most = len(index) - left if halved and left < _SMALLEST else None
        super().__init__(index, batch_size, rows, most=most)

    def epoch(self, generator: Generator, epoch: int, start: int = 0) -> Iterable[SessionBatch]:
        for batch in super().epoch(generator, epoch, start):
            support, query = batch.index.tensor_split([support_size(len(batch))])
            yield SessionBatch(batch, self.rows.batch(support), self.rows.batch(query), epoch)


class _WeightedLosses(nn.Module):
    """The losses of a network as a module's forward pass, as ``functional_call`` wants them."""

    def __init__(self, net: RMLNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, interaction: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return self.net.weighted_losses(interaction)


def local_step(
    net: RMLNet, support: Mapping[str, Tensor], rate: float, second_order: bool
) -> dict[str, Tensor]:
    """``theta_meta - eta_1 grad L_sum(support)`` (eq. 9) by name, in the graph of theta_meta.

    Args:
        second_order: whether a loss after the step sees through the gradient as well.
    """
    moving = {id(parameter) for parameter in net.meta_parameters()}
    start = {name: p for name, p in net.named_parameters() if id(p) in moving}
    with fixed_statistics(net):
        loss = sum_of(net.weighted_losses(support))
    gradients = torch.autograd.grad(loss, list(start.values()), create_graph=second_order)
    return {
        name: value - rate * (gradient if second_order else gradient.detach())
        for (name, value), gradient in zip(start.items(), gradients, strict=True)
    }


def losses_after(
    net: RMLNet, moved: Mapping[str, Tensor], query: Mapping[str, Tensor]
) -> tuple[Tensor, ...]:
    """The weighted losses of the query with the parameters ``moved`` in place of the net's own."""
    given = {f"net.{name}": value for name, value in moved.items()}
    return functional_call(_WeightedLosses(net), given, (query,))


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum()


class RML(ColdStartRecommender):
    """A network of attention and LSTM over a user's session, meta-trained on batches of sessions.

    A row is a session: the row itself is the target, the user's rows before it are the history. In
    each batch the LSTM and the attention take a step on the support (local), then everything takes
    one on the query (global). In the phases everything is fine-tuned on the rows that are new.
    """

    paper = "Chen et al., MM 2022"
    year = 2022
    network: ClassVar[type[RMLNet]] = RMLNet
    # A split into sessions has none, and is what the paper is about.
    needs_new_items: ClassVar[bool] = False
    idle_keys: ClassVar = ("pretrain_epochs",)  # rml_epochs is all that it learns by
    keys: ClassVar = (
        Key("rml_branch", one_of("both", "lstm", "att")),
        Key("rml_att_pool", one_of("sum", "flatten")),
        Key("rml_lstm_out", one_of("last", "flatten")),
        Key("rml_att_hidden", LAYERS),
        Key("rml_hidden", LAYERS),
        Key("rml_session_ids", flag()),
        Key("rml_alpha", WEIGHT),
        Key("rml_beta", WEIGHT),
        Key("rml_gamma", WEIGHT),
        Key("rml_lambda", WEIGHT),
        Key("rml_aux_head", one_of("dot", "mlp")),
        Key("rml_aux_hidden", LAYERS),
        Key("rml_aux_includes_target", flag()),
        Key("rml_aux_mean", flag()),
        Key("rml_meta", one_of("sequential", "fomaml", "maml", "adam_both", "none")),
        Key("rml_local_rate", INNER_RATE),
        Key("rml_decay", one_of("epoch", "beta_1")),
        Key("rml_decay_rate", number(above=0, most=1)),
        Key("rml_statistics", one_of("settled", "moving")),
        Key("rml_epochs", EPOCHS),
        Key("rml_ft_scope", one_of("all", "meta")),
        Key("rml_ft_step", one_of("global", "local+global")),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.decay, self.betas = 1.0, (0.9, 0.999)
        if config["rml_decay"] == "epoch":
            self.decay = config["rml_decay_rate"]
        elif config["rml_decay_rate"] < 1:
            self.betas = (config["rml_decay_rate"], self.betas[1])
        else:
            raise UserError(
                "rml_decay: beta_1 with rml_decay_rate: 1 would never forget a gradient; give a "
                "rate below 1"
            )
        self.to(self.device)

    def make_backbone(self, config, dataset) -> Backbone:
        if config["history_side"] != "user":
            raise UserError(
                "history_side: item gives a row the users of its item, and RML reads what its user "
                "did; set history_side: user"
            )
        return build_backbone(config, dataset, self.rows, self.id_field, OwnNetwork)

    @property
    def net(self) -> RMLNet:
        return self.backbone.model

    # ---------------------------------------------------------------- what moves
    def pretrain_fits(self) -> list[Fit]:
        return []

    def trainable(self, stage: str) -> list[nn.Parameter]:
        """theta in learning; in the phases theta, or theta_meta with ``rml_ft_scope: meta``."""
        if stage != "learn" and self.config["rml_ft_scope"] == "meta":
            return self.net.meta_parameters()
        unread = {id(parameter) for parameter in self.net.first_order_linear.parameters()}
        return [parameter for parameter in self.net.parameters() if id(parameter) not in unread]

    # ---------------------------------------------------------------- local and global steps
    def local_losses(self, batch: SessionBatch) -> tuple[Tensor, ...]:
        """Those of the support; what this step sees leaves no trace in Dice's statistics."""
        with fixed_statistics(self.net):
            return self.net.weighted_losses(batch.support)

    def losses_through(self, batch: SessionBatch, rate: float, decay: float) -> tuple[Tensor, ...]:
        """Those of the query after a local step that is not kept (``fomaml``, ``maml``)."""
        second_order = self.config["rml_meta"] == "maml"
        rate *= decay**batch.epoch
        moved = local_step(self.net, batch.support, rate, second_order)
        return losses_after(self.net, moved, batch.query)

    def steps(self, kind: str, rate: float, stage: str, decay: float = 1.0) -> list[Step]:
        """The steps of one batch.

        Args:
            kind: a value of ``rml_meta``.
            rate: eta_2, of the global step.
            stage: whose parameters the global step moves.
            decay: of both learning rates, per epoch.
        """
        net, local_rate = self.net, self.config["rml_local_rate"]
        global_step = partial(
            Step,
            parameters=self.trainable(stage),
            learning_rate=rate,
            weight_decay=self.config["weight_decay"],
            names=_PARTS,
            betas=self.betas,
            decay=decay,
        )
        if kind == "none":
            return [global_step(lambda batch: net.weighted_losses(batch.whole))]
        if kind in ("fomaml", "maml"):
            loss = partial(self.losses_through, rate=local_rate, decay=decay)
            return [global_step(loss)]
        local = Step(
            self.local_losses,
            net.meta_parameters(),
            local_rate,
            names=_PARTS,
            optimizer="adam" if kind == "adam_both" else "sgd",
            decay=decay,
            with_next=kind == "adam_both",
        )
        return [local, global_step(lambda batch: net.weighted_losses(batch.query))]

    def batches(self, index: Tensor, kind: str) -> SessionBatches:
        size = self.config["train_batch_size"]
        if kind != "none" and size < _SMALLEST:
            raise UserError(
                f"train_batch_size is {size}, and RML cuts a batch into support and query; give at "
                f"least {_SMALLEST}, or rml_meta: none"
            )
        return SessionBatches(index, size, self.rows, halved=kind != "none")

    # ---------------------------------------------------------------- stages
    def learn_fits(self) -> list[Fit]:
        kind = self.config["rml_meta"]
        batches = self.batches(self.train_index, kind)
        if not len(batches):
            raise UserError(
                f"RML has {len(self.train_index)} rows to learn from and needs at least "
                f"{_SMALLEST}; use more data"
            )
        steps = self.steps(kind, self.config["learning_rate"], "learn", self.decay)
        return [
            Fit(
                "meta-train",
                steps,
                batches,
                epochs=self.config["rml_epochs"],
                mode="train",
                after=self.settle,
                keep=self._kept(),
            )
        ]

    def settle(self) -> None:
        """Dice's statistics with the weights as they are, from sessions of ``train``; no label is
        read. ``rml_statistics: moving`` leaves them as they came about."""
        if self.config["rml_statistics"] == "moving":
            return
        index = self.train_index
        if len(index) > _SETTLED:
            draws = seeding.generator(self.config["seed"], "sessions for statistics")
            index = index[torch.randperm(len(index), generator=draws)[:_SETTLED].to(index.device)]
        settle_statistics(self.net, map(self.rows.batch, index.split(_AT_ONCE)))

    def _kept(self) -> str | None:
        """Adam goes on from phase to phase, unless it moves other parameters than in learning."""
        return "RML" if self.config["rml_ft_scope"] == "all" else None

    def warm_fits(self, index: Tensor) -> list[Fit]:
        """Fine-tuning of theta, or of theta_meta, by the global step."""
        both = self.config["rml_ft_step"] == "local+global"
        kind = self.config["rml_meta"] if both else "none"
        batches = self.batches(index, kind)
        if not len(batches):  # less than three rows: nothing to be cut in two
            kind, batches = "none", self.batches(index, "none")
        steps = self.steps(kind, self.config["warm_learning_rate"], "warm_up")
        return [
            Fit(
                "fine-tune",
                steps,
                batches,
                epochs=self.config["warm_epochs"],
                mode="train",
                after=self.settle,
                keep=self._kept(),
            )
        ]

    @torch.no_grad()
    def start_new_items(self) -> None:
        """New items start in the network's own table: histories and phases read it there."""
        super().start_new_items()
        self.backbone.id_table()[self.new_ids] = self.new_vectors

    # ---------------------------------------------------------------- serving
    def item_vectors(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """The rows [b, d] of the network's table, those of new items included."""
        return self.backbone.id_vectors(ids), None

    def logits(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """Logits [b] of the rows as targets, from their histories."""
        return self.backbone.logits(interaction)
