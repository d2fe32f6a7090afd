"""RML's network: attention and an LSTM side by side over the events of a session, and its losses.

Source: Chen, Xu, Yang, Ma, Cao, Huang, "Recurrent Meta-Learning against Generalized Cold-start
Problem in CTR Prediction", MM 2022, doi 10.1145/3503161.3548118. No program was published; what the
paper leaves open is a key (docs/methods/rml.md).
Shape letters: b sessions, n positions of a history, e width of an event (an item's fields and its
row's), u width of the user's fields.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from recbole.utils import FeatureSource
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recbole_cold.backbone._base import ClickModel
from recbole_cold.backbone._layers import MLP, mlp
from recbole_cold.backbone._sequence import is_there, last_state
from recbole_cold.data.histories import LENGTH, PREFIX
from recbole_cold.device import in_float32
from recbole_cold.errors import UserError
from recbole_cold.model._content import squares
from recbole_cold.model._fewshot import FieldGroup


# ------------------------------------------------------------------------------- equations
def attended(weight_bn: Tensor, event_bne: Tensor, mask_bn: Tensor, pool: str) -> Tensor:
    """The attention branch from its weights ``w_t = ffn(E_t, E_T)``, not normalised (eq. 2).

    Args:
        pool: ``sum``: ``A = sum_t w_t E_t``, [b, e]; ``flatten``: the events side by side, as
            "Concat&Flatten" of eq. 4 can also be read, [b, n * e].
    """
    weighted_bne = weight_bn[..., None] * event_bne * mask_bn[..., None]
    return weighted_bne.sum(dim=1) if pool == "sum" else weighted_bne.flatten(1)


def read_by(layer: nn.Linear, event_bne: Tensor, target_be: Tensor) -> Tensor:
    """``layer(_sequence.compared(event, target))`` without the joined vectors: [b, n, h].

    ``W [x; q; x - q; x * q] = (W_1 + W_3) x + (W_2 - W_3) q + W_4 (x * q)``, and q's part once per
    session.
    """
    event, target, apart, product = layer.weight.chunk(4, dim=1)
    from_target = F.linear(target_be, target - apart, layer.bias)
    from_event = F.linear(event_bne, event + apart)
    return from_event + F.linear(event_bne * target_be[:, None], product) + from_target[:, None]


@in_float32
def lstm_states(event_bne: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Hidden states of an LSTM after each position (eq. 3), from zero states: [b, n, h].

    PyTorch's fused layers have no second derivative, which ``rml_meta: maml`` needs; here there is
    one loop, over positions.

    Args:
        parameters: as ``nn.LSTM`` has them: input weight [4h, e], hidden weight [4h, h], and the
            two biases [4h], gates in the order input, forget, cell, output.
    """
    weight_in, weight_hidden, bias_in, bias_hidden = parameters
    from_input = event_bne @ weight_in.T + bias_in + bias_hidden
    hidden = cell = from_input.new_zeros(len(event_bne), weight_hidden.shape[1])
    states = []
    for at_position in from_input.unbind(dim=1):  # a slice each would have gradients of the whole
        gates = at_position + hidden @ weight_hidden.T
        enter, forget, candidate, leave = gates.chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        states.append(hidden)
    return torch.stack(states, dim=1)


class _States(torch.autograd.Function):
    """``lstm_states`` with a gradient by hand, positions first: [n, b, h] from [n, b, e].

    The gradient of each weight is one product over all positions, where autograd adds up one of
    each. With ``tanh z = 2 sigmoid(2 z) - 1`` four gates are one sigmoid: the candidate's rows of
    the weights are doubled for it, which is exact.
    """

    @staticmethod
    def forward(
        ctx: Any,
        event_nbe: Tensor,
        weight_in: Tensor,
        weight_hidden: Tensor,
        bias_in: Tensor,
        bias_hidden: Tensor,
    ) -> Tensor:
        n, b, e = event_nbe.shape
        h = weight_hidden.shape[1]
        twice = weight_in.new_ones(4 * h, 1)
        twice[2 * h : 3 * h] = 2.0
        into, onward = ((weight * twice).T for weight in (weight_in, weight_hidden))
        bias = (bias_in + bias_hidden) * twice[:, 0]
        gates = torch.addmm(bias, event_nbe.view(n * b, e), into).view(n, b, 4 * h)
        bent = gates.new_empty(n, b, h)  # tanh of the cell
        # State 0 is the one before the first position.
        cell, hidden = (gates.new_zeros(n + 1, b, h) for _ in range(2))
        for t, gate in enumerate(gates):
            if t:
                gate.addmm_(hidden[t], onward)
            enter, forget, candidate, leave = gate.sigmoid_().chunk(4, dim=1)
            candidate.mul_(2.0).sub_(1.0)
            torch.mul(forget, cell[t], out=cell[t + 1]).addcmul_(enter, candidate)
            torch.mul(cell[t + 1], 2.0, out=bent[t]).sigmoid_().mul_(2.0).sub_(1.0)
            torch.mul(bent[t], leave, out=hidden[t + 1])
        ctx.save_for_backward(event_nbe, weight_in, weight_hidden, gates, cell, bent, hidden)
        return hidden[1:].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_nbh: Tensor) -> tuple[Tensor | None, ...]:
        event_nbe, weight_in, weight_hidden, gates, cell, bent, hidden = ctx.saved_tensors
        (n, b, h), e = by_nbh.shape, event_nbe.shape[2]
        through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
        through_tanh = torch.ops.aten.tanh_backward
        to_gates = torch.empty_like(gates)
        to_cell = by_nbh.new_zeros(b, h)
        for t in reversed(range(n)):
            to_hidden = by_nbh[t]
            if t + 1 < n:
                to_hidden = torch.addmm(to_hidden, to_gates[t + 1], weight_hidden)
            enter, forget, candidate, leave = gates[t].chunk(4, dim=1)
            by_enter, by_forget, by_candidate, by_leave = to_gates[t].chunk(4, dim=1)
            to_cell += through_tanh(to_hidden * leave, bent[t])
            through_sigmoid(to_hidden * bent[t], leave, grad_input=by_leave)
            through_sigmoid(to_cell * candidate, enter, grad_input=by_enter)
            through_sigmoid(to_cell * cell[t], forget, grad_input=by_forget)
            through_tanh.grad_input(to_cell * enter, candidate, grad_input=by_candidate)
            to_cell *= forget
        flat = to_gates.view(n * b, 4 * h)
        to_event = (flat @ weight_in).view_as(event_nbe) if ctx.needs_input_grad[0] else None
        to_bias = flat.sum(dim=0)
        return (
            to_event,
            flat.T @ event_nbe.view(n * b, e),
            flat.T @ hidden[:-1].view(n * b, h),
            to_bias,
            to_bias.clone(),
        )


@in_float32
def learned_states(event_bne: Tensor, *parameters: Tensor) -> Tensor:
    """``lstm_states`` where a first derivative is all that is asked of it, at less cost."""
    return _States.apply(event_bne.transpose(0, 1).contiguous(), *parameters).transpose(0, 1)


def click_losses(logit: Tensor, label: Tensor) -> Tensor:
    """Binary cross entropy of each logit, of the same shape."""
    return F.binary_cross_entropy_with_logits(logit, label.to(logit.dtype), reduction="none")


def aux_loss(logit_bm: Tensor, label_bm: Tensor, mask_bm: Tensor, mean: bool = False) -> Tensor:
    """``sum_t l(sigma(h_{t-1}, E_t), y_t)`` over the events after a session's first (eq. 7): [b].

    Args:
        logit_bm: ``sigma``'s argument of the m events, and whether an event is there (mask).
        mean: divide by the number of a session's terms; the paper has a sum.
    """
    mask_bm = mask_bm.to(logit_bm.dtype)
    total_b = (click_losses(logit_bm, label_bm) * mask_bm).sum(dim=1)
    return total_b / mask_bm.sum(dim=1).clamp(min=1.0) if mean else total_b


# ------------------------------------------------------------------------------- the network
class Session(NamedTuple):
    """Embedded sessions: E_U [b, u], E_T [b, e], E_t [b, n, e], which events are real, how many."""

    user_bu: Tensor
    target_be: Tensor
    event_bne: Tensor
    mask_bn: Tensor
    length_b: Tensor


class HistoryRows(dict):
    """The rows of an interaction's histories as an interaction of their own: [b * n, ...].

    Args:
        interaction: has the fields ``history/<field>``, [b, n, ...]; each is read when asked for.
    """

    def __init__(self, interaction: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._interaction = interaction

    def __missing__(self, field: str) -> Tensor:
        value = self[field] = self._interaction[PREFIX + field].flatten(0, 1)
        return value


class LSTM(nn.Module):
    """An LSTM of as many hidden numbers as input ones, initialised as PyTorch's.

    Args:
        twice: whether it is differentiated twice.
    """

    def __init__(self, width: int, twice: bool = False) -> None:
        super().__init__()
        self.twice = twice
        bound = width**-0.5
        for name, shape in (
            ("weight_in", (4 * width, width)),
            ("weight_hidden", (4 * width, width)),
            ("bias_in", (4 * width,)),
            ("bias_hidden", (4 * width,)),
        ):
            setattr(self, name, nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))

    def forward(self, event_bne: Tensor) -> Tensor:
        """Hidden states after each position: [b, n, e]."""
        parameters = (self.weight_in, self.weight_hidden, self.bias_in, self.bias_hidden)
        plain = self.twice or not torch.is_grad_enabled()
        if plain:
            return lstm_states(event_bne, parameters)
        return learned_states(event_bne, *parameters)


def _positions(config, dataset) -> int:
    """n, the positions of every history of a run."""
    table = getattr(dataset.split, "histories", None)
    most = config["history_length"]
    return most if table is None else min(most, int(table.rows.shape[1]))


class RMLNet(ClickModel):
    """Logits of sessions: ``MLP([A; R; E_U; E_T])`` of attention A and last LSTM state R (eq. 4).

    An interaction's row is a session's target; the rows before it come as its history. An event is
    an item with all fields of its row that are not the user's.

    Args:
        config: of a method that has the keys ``rml_...``.
        dataset: with its split.

    Raises:
        UserError: nothing is known of an item, since its only field is its ID, which is left out.
    """

    reads_histories: ClassVar[bool] = True

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.branch, self.pool = config["rml_branch"], config["rml_att_pool"]
        self.out = config["rml_lstm_out"]
        self.history_dropout = config["history_dropout"]
        self.aux_target, self.aux_mean = config["rml_aux_includes_target"], config["rml_aux_mean"]
        self.weights = {
            "click": config["rml_alpha"],
            "reg": config["rml_beta"] * config["rml_lambda"],
            "aux": config["rml_gamma"],
        }
        self._group_fields(dataset, config["rml_session_ids"])
        width = self.event.width
        n = _positions(config, dataset)
        sizes = {"sum": width, "last": width, "flatten": n * width}
        self.attention: MLP | None = None
        self.lstm: LSTM | None = None
        self.aux_head: MLP | None = None
        aux_sizes = [2 * width, *config["rml_aux_hidden"], 1]
        joined = self.user.width + width
        if self.branch != "lstm":
            self.attention = mlp([4 * width, *config["rml_att_hidden"], 1], "dice")
            joined += sizes[self.pool]
        if self.branch != "att":
            joined += sizes[self.out]
            if config["rml_aux_head"] == "mlp":
                self.aux_head = mlp(aux_sizes, "sigmoid")
        self.head = mlp([joined, *config["rml_hidden"], 1], "dice")
        self.apply(self._init_weights)
        if self.branch != "att":
            self.lstm = LSTM(width, twice=config["rml_meta"] == "maml")

    def _group_fields(self, dataset, with_ids: bool) -> None:
        users = set(dataset.fields(source=[FeatureSource.USER, FeatureSource.USER_ID]))
        ids = set() if with_ids else {dataset.uid_field, dataset.iid_field}
        # Plain attributes: a registered view would double every key of the state dict.
        self.__dict__["user"] = FieldGroup(self, users - ids)
        self.__dict__["event"] = FieldGroup(self, set(self.field_names) - users - ids)
        self._item_field = dataset.iid_field
        if not self.event.width:
            raise UserError(
                "rml_session_ids: False leaves nothing that is known of an item; load features of "
                "items (load_col), or set rml_session_ids: True"
            )

    # ---------------------------------------------------------------- what meta-learning moves
    def meta_parameters(self) -> list[nn.Parameter]:
        """theta_meta: of the LSTM and of the attention's network."""
        parts = [part for part in (self.lstm, self.attention) if part is not None]
        return [parameter for part in parts for parameter in part.parameters()]

    # ---------------------------------------------------------------- the forward pass
    def session(self, interaction: Mapping[str, Tensor]) -> Session:
        """The embedded session of every row of ``interaction``."""
        length_b = interaction[LENGTH]
        if self.training and self.history_dropout:
            length_b = length_b * (torch.rand(len(length_b)) >= self.history_dropout).to(length_b)
        b, n = interaction[PREFIX + self._item_field].shape[:2]
        mask_bn = is_there(length_b, n)
        event_bne = self.event(HistoryRows(interaction), b * n).view(b, n, self.event.width)
        user_bu, target_be = self.user(interaction, b), self.event(interaction, b)
        return Session(user_bu, target_be, event_bne, mask_bn, length_b)

    def states(self, session: Session) -> Tensor | None:
        """The LSTM's states [b, n, e], or None without that branch."""
        return None if self.lstm is None else self.lstm(session.event_bne)

    def attend(self, session: Session) -> Tensor:
        """The attention branch A: [b, e], or [b, n * e]."""
        assert self.attention is not None
        # Difference and product are DIN's; the paper names E_t and E_T alone.
        read = read_by(self.attention.linear[0], session.event_bne, session.target_be)
        weight_bn = self.attention.behind(read, session.mask_bn)[..., 0]
        return attended(weight_bn, session.event_bne, session.mask_bn, self.pool)

    def session_logits(self, session: Session, state_bne: Tensor | None) -> Tensor:
        """Logits [b] of the targets (eq. 4)."""
        parts = [] if self.attention is None else [self.attend(session)]
        if state_bne is not None:
            if self.out == "last":
                parts.append(last_state(state_bne, session.length_b))
            else:
                parts.append((state_bne * session.mask_bn[..., None]).flatten(1))
        joined = torch.cat([*parts, session.user_bu, session.target_be], dim=1)
        return self.head(joined)[:, 0]

    def forward(self, interaction: Mapping[str, Tensor]) -> Tensor:
        session = self.session(interaction)
        return self.session_logits(session, self.states(session))

    # ---------------------------------------------------------------- losses
    def aux_logits(self, state: Tensor, event: Tensor) -> Tensor:
        """What a state [..., e] says of the event that follows it: [...]."""
        if self.aux_head is None:
            return (state * event).sum(dim=-1)
        return self.aux_head(torch.cat([state, event], dim=-1))[..., 0]

    def aux(
        self, session: Session, state_bne: Tensor, history_bn: Tensor, label_b: Tensor
    ) -> Tensor:
        """``L_aux`` of each session [b]; labels of history rows are used here and nowhere else."""
        logit_bm = self.aux_logits(state_bne[:, :-1], session.event_bne[:, 1:])
        label_bm, mask_bm = history_bn[:, 1:], session.mask_bn[:, 1:]
        if self.aux_target:
            last_be = last_state(state_bne, session.length_b)
            target_b = self.aux_logits(last_be, session.target_be)
            logit_bm = torch.cat([logit_bm, target_b[:, None]], dim=1)
            label_bm = torch.cat([label_bm, label_b[:, None].to(label_bm.dtype)], dim=1)
            mask_bm = torch.cat([mask_bm, session.length_b[:, None] > 0], dim=1)
        return aux_loss(logit_bm, label_bm, mask_bm, self.aux_mean)

    def regularised(self) -> list[Tensor]:
        """The weight matrices of attention and MLP, whose squares are ``L_reg``."""
        nets = [net for net in (self.attention, self.head) if net is not None]
        return [layer.weight for net in nets for layer in net.linear]

    def losses(self, interaction: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """``L``, ``L_reg`` and ``L_aux``: the first and the last as means over sessions."""
        session, label_b = self.session(interaction), interaction[self.LABEL]
        state_bne = self.states(session)
        logit_b = self.session_logits(session, state_bne)
        click = click_losses(logit_b, label_b).mean()
        aux = click.new_zeros(())
        if state_bne is not None:
            history_bn = interaction[PREFIX + self.LABEL]
            aux = self.aux(session, state_bne, history_bn, label_b).mean()
        return click, squares(self.regularised()), aux

    def weighted_losses(self, interaction: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The parts of ``L_sum = alpha L + beta lambda_r L_reg + gamma L_aux`` (eq. 8)."""
        click, reg, aux = self.losses(interaction)
        weights = self.weights
        return weights["click"] * click, weights["reg"] * reg, weights["aux"] * aux
