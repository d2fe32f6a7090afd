"""ColdNAS: search where, and by which operation, a support set modulates a click model.

Source: Wu et al., "ColdNAS: Search to Modulate for User Cold-Start Recommendation", WWW 2023,
arXiv 2306.03387. There a user is a task; here it is whatever side is new.
Shape letters: t tasks, k rows of a task, e numbers of an encoded row, d numbers at a position,
p positions, o operations.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.data.episodes import Episode
from recbole_cold.errors import UserError, nearest
from recbole_cold.keys import COUNT, EPOCHS, LAYERS, SIZE, Key
from recbole_cold.kinds import anything, either, list_of, number, one_of, text
from recbole_cold.model._fewshot import FewShotNetwork, FewShotRecommender, State, TaskRows
from recbole_cold.model._fit import Fit
from recbole_cold.model._layers import empty_layers, rows_mean

logger = logging.getLogger(__name__)

# At one position they are carried out in this order, whatever the order they are listed in.
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "max": torch.maximum,
    "min": torch.minimum,
    "multiply": torch.mul,
    "add": torch.add,
}
# What an operation is listed as: its position (0 is the embedding) and its name.
Architecture = tuple[tuple[int, str], ...]
# What the release's search found for LastFM.
RELEASE: Architecture = ((0, "add"), (1, "add"), (2, "max"), (2, "add"))


def modulated(x_tkd: Tensor, phi_tod: Tensor, names: Sequence[str]) -> Tensor:
    """``x`` after the operations ``names`` with their task's vectors, in the fixed order."""
    for place, (name, operation) in enumerate(OPERATIONS.items()):
        if name in names:
            x_tkd = operation(x_tkd, phi_tod[:, place, None])
    return x_tkd


def share(x_tkd: Tensor) -> Tensor:
    """``x`` with absolute values that sum to one."""
    return F.normalize(x_tkd, p=1.0, dim=-1)


def mixture(x_tkd: Tensor, phi_tod: Tensor, alpha_o: Tensor, skip: str) -> Tensor:
    """Every operation in turn, mixed by its weight with what skips it.

    Without the normalisation operations of a large scale win.

    Args:
        skip: ``start`` (the release): past each operation goes the input of the position;
            ``before``: what the operation before it gave, so that weights of 0 and 1 are exactly
            an architecture.
    """
    start_tkd = share(x_tkd)
    mixed_tkd = start_tkd
    for place, operation in enumerate(OPERATIONS.values()):
        done_tkd = share(operation(mixed_tkd, phi_tod[:, place, None]))
        past_tkd = start_tkd if skip == "start" else mixed_tkd
        mixed_tkd = alpha_o[place] * done_tkd + (1.0 - alpha_o[place]) * past_tkd
    return mixed_tkd


def discretise(alpha_po: Tensor, n_ops: int) -> Architecture:
    """The ``n_ops`` operations of the largest weights; of equal ones those that come first."""
    names = list(OPERATIONS)
    order = alpha_po.detach().flatten().argsort(descending=True, stable=True)
    chosen = sorted(order[:n_ops].tolist())
    return tuple((place // len(names), names[place % len(names)]) for place in chosen)


def as_tensor(architecture: Architecture, n_positions: int) -> Tensor:
    """Which operations are carried out: bool [p, o]."""
    chosen_po = torch.zeros(n_positions, len(OPERATIONS), dtype=torch.bool)
    for position, name in architecture:
        chosen_po[position, list(OPERATIONS).index(name)] = True
    return chosen_po


def as_architecture(chosen_po: Tensor) -> Architecture:
    """The architecture of which ``as_tensor`` gives ``chosen_po``."""
    return discretise(chosen_po.to(torch.float32), int(chosen_po.sum()))


def read_architecture(value: Any, n_positions: int) -> Architecture:
    """The architecture that a configuration lists, as ``[[position, operation], ...]``, or names.

    Raises:
        UserError: names the entry that is none, or occurs twice.
    """
    if value == "release":
        value = RELEASE
    found: list[tuple[int, str]] = []
    listed = value if isinstance(value, list | tuple) else [value]
    for entry in listed:
        pair = tuple(entry) if isinstance(entry, list | tuple) else (entry,)
        known = len(pair) == 2 and type(pair[0]) is int and pair[1] in list(OPERATIONS)
        if not known or not 0 <= pair[0] < n_positions:
            guess = nearest(str(pair[-1]), OPERATIONS)
            raise UserError(
                f"coldnas_architecture has {entry!r}, which is no pair of a position (0 to "
                f"{n_positions - 1}) and one of {', '.join(OPERATIONS)}"
                + (f"; did you mean '{guess}'?" if guess and guess != pair[-1] else "")
                + "; list pairs like [[0, add], [2, max]], or say release or search"
            )
        if pair in found:
            raise UserError(f"coldnas_architecture has {list(pair)} twice; name it once")
        found.append((pair[0], pair[1]))
    return tuple(found)


class ModulatedNetwork(nn.Module):
    """A click model of which a task's support modulates the embedding and the layers.

    Args:
        own: width of the embedded features of the new side, the same for all rows of a task.
        other: width of everything else in a row.
        encoder: numbers that each side is encoded in.
        hidden: layers of the click model.
        adapter: numbers that the support is summed up in.
        factor_start: added to the factors of products where learning starts: at 0 a product leaves
            next to nothing of its position, at 1 nearly everything.
    """

    def __init__(
        self,
        own: int,
        other: int,
        *,
        encoder: int = 32,
        hidden: Sequence[int] = (128, 64, 32),
        adapter: int = 256,
        factor_start: float = 0.0,
    ) -> None:
        super().__init__()
        with empty_layers():
            self.own_encoder = nn.Linear(own, encoder)
            self.other_encoder = nn.Linear(other, encoder)
        sizes = [2 * encoder, *hidden, 1]
        self.widths, self.skip = sizes[:-1], "start"
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])
        self.summary = nn.Linear(2 * encoder + 1, adapter)
        self.adapter = nn.Linear(adapter, len(OPERATIONS) * sum(self.widths))
        with torch.no_grad():
            place = list(OPERATIONS).index("multiply")
            self.adapter.bias.view(len(OPERATIONS), -1)[place] += factor_start
        self.weights: nn.Parameter | None = None
        self.architecture: Architecture = ()

    def begin_search(self, skip: str) -> None:
        """Give every operation at every position a weight that is learned; see ``mixture``."""
        shape = (len(self.widths), len(OPERATIONS))
        self.weights = nn.Parameter(self.adapter.weight.new_zeros(shape))
        self.skip = skip

    @property
    def alpha_po(self) -> Tensor:
        """Weights of the operations, between 0 and 1: [p, o]."""
        assert self.weights is not None
        return torch.sigmoid(self.weights)

    def inputs(self, own_tp: Tensor, other_tkq: Tensor) -> Tensor:
        """Encoded rows [t, k, e]; the new side is encoded once per task."""
        own_te, other_tke = self.own_encoder(own_tp), self.other_encoder(other_tkq)
        own_tke = own_te[:, None].expand(-1, other_tke.shape[1], -1)
        return torch.cat([own_tke, other_tke], dim=2)

    def modulators(self, row_tke: Tensor, label_tk: Tensor, mask_tk: Tensor) -> Tensor:
        """What the support gives every operation at every position: [t, o, all positions' d].

        Factors of a product are not negative.
        """
        pair_tke = torch.cat([row_tke, label_tk[..., None].to(row_tke.dtype)], dim=2)
        summary_ta = rows_mean(F.leaky_relu(self.summary(pair_tke)), mask_tk)
        phi_tod = self.adapter(summary_ta).view(len(summary_ta), len(OPERATIONS), -1)
        factor = list(OPERATIONS).index("multiply")
        before, factors, after = phi_tod.split([factor, 1, len(OPERATIONS) - factor - 1], dim=1)
        return torch.cat([before, F.relu(factors), after], dim=1)

    def logits(self, row_tke: Tensor, phi_tod: Tensor) -> Tensor:
        """Logits [t, k] of rows, modulated by what their tasks' supports gave."""
        x = row_tke
        parts = phi_tod.split(self.widths, dim=2)
        for position, (layer, phi) in enumerate(zip(self.layers, parts, strict=True)):
            x = layer(F.leaky_relu(self._modulate(position, x, phi)))
        return x[..., 0]

    def _modulate(self, position: int, x_tkd: Tensor, phi_tod: Tensor) -> Tensor:
        if self.weights is not None:
            return mixture(x_tkd, phi_tod, self.alpha_po[position], self.skip)
        return modulated(x_tkd, phi_tod, [o for p, o in self.architecture if p == position])


class ColdNASNetwork(FewShotNetwork):
    """The modulated network on RecBole's tables."""

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.modulated = ModulatedNetwork(
            self.own.width,
            self.other.width,
            encoder=config["coldnas_encoder_size"],
            hidden=config["coldnas_hidden_size"],
            adapter=config["coldnas_adapter_size"],
            factor_start=config["coldnas_factor_start"],
        )

    def rows(self, tasks: TaskRows) -> Tensor:
        """Encoded rows: [t, k, e]."""
        return self.modulated.inputs(tasks.own_tp, tasks.other_tkq)

    def state(self, support: TaskRows) -> State:
        """The vectors that modulate the layers, from the support."""
        rows = self.rows(support), support.label_tk, support.mask_tk
        return {"phi": self.modulated.modulators(*rows)}

    def task_logits(self, state: State, rows: TaskRows) -> Tensor:
        return self.modulated.logits(self.rows(rows), state["phi"])


class ColdNAS(FewShotRecommender):
    """A support set, summed up by an adapter, modulates the embedding and the layers.

    Which operations do that is given, or searched first: a second network of its own tables learns
    the weights of all operations together with everything else; the largest are kept, and the
    network that serves is trained from scratch with them.
    """

    paper = "Wu et al., WWW 2023"
    year = 2023
    network = ColdNASNetwork
    keys: ClassVar = (
        Key("coldnas_architecture", either(text(), list_of(anything(), filled=False))),
        Key("coldnas_n_ops", COUNT),
        Key("coldnas_search_epochs", EPOCHS),
        Key("coldnas_skip", one_of("start", "before")),
        Key("coldnas_encoder_size", SIZE),
        Key("coldnas_hidden_size", LAYERS),
        Key("coldnas_adapter_size", SIZE),
        Key("coldnas_factor_start", number()),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        n_positions = len(self.net.modulated.widths)
        asked = config["coldnas_architecture"]
        self.searches = asked == "search"
        given = () if self.searches else read_architecture(asked, n_positions)
        # What a search finds goes with the resume point.
        self.register_buffer("chosen", as_tensor(given, n_positions).to(self.device))
        self._build()
        self.supernet: ColdNASNetwork | None = None
        if self.searches:
            self._check_search(n_positions)
            self.supernet = self.make_backbone(config, dataset).model
            self.supernet.modulated.begin_search(config["coldnas_skip"])
        self._searching = False

    def _check_search(self, n_positions: int) -> None:
        n_ops, most = self.config["coldnas_n_ops"], n_positions * len(OPERATIONS)
        if n_ops > most:
            raise UserError(
                f"coldnas_n_ops is {n_ops}, but a search keeps 1 to {most} operations "
                f"({len(OPERATIONS)} at each of {n_positions} positions); choose such a number"
            )

    @property
    def net(self) -> FewShotNetwork:
        """The network that serves, or the one of the search while that goes on."""
        if getattr(self, "_searching", False):
            return self.supernet
        return self.backbone.model

    # ---------------------------------------------------------------- search
    def learn_fits(self) -> list[Fit]:
        fits = [self.meta_fit()]
        if self.supernet is None:
            return fits
        search = self.meta_fit(
            "search",
            self.search_loss,
            list(self.supernet.parameters()),
            self.config["coldnas_search_epochs"],
        )
        return [replace(search, after=self.retain), *fits]

    def search_loss(self, episode: Episode) -> Tensor:
        """The episode's loss with all operations, each by its weight."""
        self._searching = True
        try:
            return self.episode_loss(episode)
        finally:
            self._searching = False

    def retain(self) -> None:
        """Keep the operations of the largest weights for the network that serves."""
        assert self.supernet is not None
        alpha_po = self.supernet.modulated.alpha_po.detach()
        kept = discretise(alpha_po, self.config["coldnas_n_ops"])
        self.chosen.copy_(as_tensor(kept, len(alpha_po)))
        self._build()
        logger.info("ColdNAS keeps %s", ", ".join(f"{name} at {p}" for p, name in kept))

    def _build(self) -> None:
        self.net.modulated.architecture = as_architecture(self.chosen)

    def restored(self) -> None:
        super().restored()
        self._build()

    def decided_keys(self) -> dict[str, Any]:
        """The operations that a search kept, as a key for later runs, which then need no search."""
        if not self.searches:
            return {}
        architecture = as_architecture(self.chosen)
        return {"coldnas_architecture": [[position, name] for position, name in architecture]}
