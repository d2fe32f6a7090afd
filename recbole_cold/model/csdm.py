"""CSDM: side information is diffused back into an ID embedding by a supervised denoiser.

Source: Zhu et al., "Addressing Cold-Start Problem in CTR Prediction via Supervised Diffusion
Modeling", AAAI 2025, arXiv 2504.06270, with the supplement's process.
Forward, z_t drifts from the encoded ID row z_0 towards h, what the side information is encoded to.
Backward, z starts at h and steps down a sub-sequence of the times.
Shape letters: b rows or items, d embedding size, s side information, t times, c time code.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_cold.backbone._shortcuts import lookup
from recbole_cold.errors import UserError
from recbole_cold.keys import COUNT, EPOCHS, SHARE, SIZE, WEIGHT, Key
from recbole_cold.kinds import flag, number, one_of, optional, whole
from recbole_cold.model._denoising import dropped, generated, noise_in
from recbole_cold.model._fit import Step
from recbole_cold.model._side_decoder import SideDecoder, uniform_


def schedule(beta_t: Tensor) -> tuple[Tensor, Tensor]:
    """``alpha_bar_t``, what is left of the signal, and ``r_t``, how much of h has come: [t] each.

    ``N_t = sqrt(1 - beta_t) N_{t-1} + sqrt(beta_t)`` from 0, and ``r_t = N_t / N_{T-1}``.
    """
    alpha_bar_t = torch.cumprod(1.0 - beta_t, dim=0)
    n_t = alpha_bar_t.sqrt() * torch.cumsum((beta_t / alpha_bar_t).sqrt(), dim=0)
    return alpha_bar_t, n_t / n_t[-1]


def forward(
    z0_bd: Tensor, h_bd: Tensor, alpha_bar_b: Tensor, r_b: Tensor, noise_bd: Tensor
) -> Tensor:
    """``z_t = sqrt(alpha_bar) z_0 + r h + sqrt(1 - alpha_bar) xi`` (Lemma 1).

    Factors are rounded to the vectors' precision at the end: ``1 - alpha_bar`` can be 1e-5.
    """
    factors = alpha_bar_b.sqrt(), r_b, (1.0 - alpha_bar_b).sqrt()
    signal, share, spread = (factor_b[:, None].to(z0_bd.dtype) for factor_b in factors)
    return signal * z0_bd + share * h_bd + spread * noise_bd


@dataclass(frozen=True)
class StepDown:
    """One step from time t down to j: ``z <- z * a + h * b + noise * c + sigma * xi``."""

    time: int
    a: float
    b: float
    c: float
    sigma: float


def deviation(alpha_bar_t: float, alpha_bar_j: float, eta: float) -> float:
    """sigma of a step from t to j; eta 0 is without chance, 1 is the ancestral sampler's."""
    share = (1.0 - alpha_bar_t / alpha_bar_j) * (1.0 - alpha_bar_j) / (1.0 - alpha_bar_t)
    return eta * math.sqrt(share)


def steps_down(alpha_bar_t: Tensor, r_t: Tensor, times: list[int], eta: float) -> list[StepDown]:
    """The steps from the last of the ascending ``times`` to the signal itself.

    ``z_0^ = (z - r_t h - sqrt(1 - alpha_bar_t) e^) / sqrt(alpha_bar_t)`` put into
    ``z <- sqrt(alpha_bar_j) z_0^ + sqrt(1 - alpha_bar_j - sigma^2) e^ + r_j h + sigma xi``. Before
    the first time there is the signal alone: alpha_bar 1, r 0.
    """
    alpha_bar, r = [*alpha_bar_t.tolist(), 1.0], [*r_t.tolist(), 0.0]
    steps = []
    for place in reversed(range(len(times))):
        t, j = times[place], times[place - 1] if place else -1
        sigma = deviation(alpha_bar[t], alpha_bar[j], eta)
        a = math.sqrt(alpha_bar[j] / alpha_bar[t])
        left = math.sqrt(max(1.0 - alpha_bar[j] - sigma**2, 0.0))
        steps.append(
            StepDown(t, a, r[j] - a * r[t], left - a * math.sqrt(1.0 - alpha_bar[t]), sigma)
        )
    return steps


def generate(
    denoise: Callable[[Tensor, Tensor], Tensor],
    start_bd: Tensor,
    h_bd: Tensor,
    steps: list[StepDown],
) -> Tensor:
    """z_0 [b, d] of all items at once: one call of ``denoise(z_bd, time_1)`` per step."""
    z_bd = start_bd
    for step in steps:
        noise_bd = denoise(z_bd, torch.tensor([step.time], device=z_bd.device))
        z_bd = step.a * z_bd + step.b * h_bd + step.c * noise_bd
        if step.sigma > 0.0:
            z_bd = z_bd + step.sigma * torch.randn_like(z_bd)
    return z_bd


def time_codes(steps: int, size: int) -> Tensor:
    """Cosines and sines of the times 0, 1, ... at ``size / 2`` frequencies: [t, c]."""
    half = size // 2
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(steps, dtype=torch.float64)[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class Denoiser(nn.Module):
    """What noise is in z at time t; the paper's "U-Net" is this MLP, and h is no input of it."""

    def __init__(self, size: int, steps: int, code_size: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("codes", time_codes(steps, code_size).float(), persistent=False)
        self.time = nn.Linear(code_size, code_size)
        self.dropout = nn.Dropout(dropout)
        sizes = [size + code_size, size, size, size]
        layers: list[nn.Module] = []
        for size_in in sizes[:-1]:
            layers += [nn.Linear(size_in, size), nn.Tanh()]
        self.layers = nn.Sequential(*layers, nn.Linear(size, size))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.normal_(layer.bias, std=1e-3)

    def forward(self, z_bd: Tensor, time: Tensor) -> Tensor:
        """Noise [b, d]; ``time`` is one for each row, or one for all."""
        code = self.time(lookup(self.codes, time)).expand(len(z_bd), -1)
        return self.layers(torch.cat([self.dropout(z_bd), code], dim=1))


class CSDM(SideDecoder):
    """The ID row is decoded from z_0, which the denoiser makes of the encoded side information.

    The click loss goes back through all denoising steps (that is the supervision); beside it, the
    denoiser learns to find the noise in diffused ID rows of old items. In a warm phase rows are
    fine-tuned, then the module learns on with them and decodes anew.
    """

    paper = "Zhu et al., AAAI 2025"
    year = 2025
    prefix = "csdm"
    keys: ClassVar = (
        Key("csdm_steps", whole(1, 100_000)),
        Key("csdm_stride", COUNT),
        Key("csdm_noise_min", number(above=0)),
        Key("csdm_noise_max", number(above=0)),
        Key("csdm_noise_scale", number(above=0)),
        Key("csdm_eta", SHARE),
        Key("csdm_start", one_of("h", "h_plus_noise", "r_tau_h")),
        Key("csdm_time_size", optional(SIZE)),
        Key("csdm_drop_z", SHARE),
        Key("csdm_drop_h", SHARE),
        Key("csdm_rho", WEIGHT),
        Key("csdm_train_denoiser", flag()),
        Key("csdm_dropout_at_writeback", flag()),
        Key("csdm_iters", COUNT),
        Key("csdm_epochs", EPOCHS),
        Key("csdm_warm_epochs", EPOCHS),
        Key("csdm_warm", one_of("overwrite", "init_only")),
        Key("csdm_own_id", flag()),
        Key("csdm_id_dropout", SHARE),
    )

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        size, times = self.embedding_size, config["csdm_steps"]
        code_size = config["csdm_time_size"] or 2 * size
        self._check(times, code_size)
        beta_t = config["csdm_noise_scale"] * torch.linspace(
            config["csdm_noise_min"], config["csdm_noise_max"], times, dtype=torch.float64
        )
        self._check_noise(beta_t)
        alpha_bar_t, r_t = schedule(beta_t)
        # Kept in float64: 1 - alpha_bar is of the order 1e-5.
        self.register_buffer("alpha_bar_t", alpha_bar_t, persistent=False)
        self.register_buffer("r_t", r_t, persistent=False)
        visited = list(range(0, times, config["csdm_stride"]))
        self.steps_down = steps_down(alpha_bar_t, r_t, visited, config["csdm_eta"])
        times_t = torch.tensor([step.time for step in self.steps_down])
        self.register_buffer("visited_t", times_t, persistent=False)
        self.encoder = nn.Linear(size, size)
        self.prior = nn.Linear(self.own_side.width, size)
        self.decoder = nn.Linear(size + 1, size)
        uniform_(self.encoder, self.prior, self.decoder)
        self.denoiser = Denoiser(size, times, code_size, config["csdm_drop_z"])
        self.to(self.device)

    def _check(self, times: int, code_size: int) -> None:
        if self.config["csdm_stride"] > times:
            raise UserError(
                f"csdm_stride {self.config['csdm_stride']} is more than csdm_steps {times}; give "
                "at most as much"
            )
        if code_size % 2:
            raise UserError(f"csdm_time_size {code_size} is odd; cosines and sines are pairs")

    def _check_noise(self, beta_t: Tensor) -> None:
        if not bool(((beta_t > 0.0) & (beta_t < 1.0)).all()):
            raise UserError(
                "csdm_noise_scale times csdm_noise_min and csdm_noise_max must lie between 0 and "
                f"1, and is {beta_t[0].item():g} and {beta_t[-1].item():g}; change one of them"
            )

    def module(self) -> list[nn.Module]:
        return [self.own_side, self.encoder, self.prior, self.decoder, self.denoiser]

    def module_parameters(self) -> list[nn.Parameter]:
        """All of the module, or (released) all but the denoiser, which then stays at its start."""
        parameters = super().module_parameters()
        if self.config["csdm_train_denoiser"]:
            return parameters
        frozen = {id(parameter) for parameter in self.denoiser.parameters()}
        return [parameter for parameter in parameters if id(parameter) not in frozen]

    def module_steps(self) -> list[Step]:
        names = ("prediction", "diffusion")
        return [self.module_step(self.calculate_loss, self.module_parameters(), names)]

    # ---------------------------------------------------------------- the module
    def start(self, h_bd: Tensor) -> Tensor:
        """Where sampling begins, at the last of the visited times."""
        last = self.steps_down[0].time
        if self.config["csdm_start"] == "r_tau_h":
            return self.r_t[last].to(h_bd.dtype) * h_bd
        if self.config["csdm_start"] == "h_plus_noise":
            spread = (1.0 - self.alpha_bar_t[last]).sqrt().to(h_bd.dtype)
            return h_bd + spread * torch.randn_like(h_bd)
        return h_bd

    def decode(self, h_bd: Tensor, ids: Tensor) -> Tensor:
        """ID rows [b, d]: from h down to z_0, which the decoder reads with the item's frequency."""
        # Learning takes the quick form of the same; what is served is as ``generate`` has it.
        given = self.denoiser, self.start(h_bd), h_bd, self.steps_down
        quick = torch.is_grad_enabled()
        z_bd = generated(*given, self.visited_t) if quick else generate(*given)
        return self.decoder(torch.cat([z_bd, self.frequency(ids)[:, None]], dim=-1))

    def decoded(self, ids: Tensor) -> Tensor:
        return self.decode(self.prior(self.side(ids)), ids)

    def diffusion_loss(self, z0_bd: Tensor, h_bd: Tensor) -> Tensor:
        """``mean (U(z_t, t) - xi)^2`` with a time and a noise for each row."""
        time = torch.randint(len(self.r_t), (len(z0_bd),), device=z0_bd.device)
        noise_bd = torch.randn_like(z0_bd)
        h_bd = dropped(h_bd, self.config["csdm_drop_h"], self.denoiser.training)
        z_bd = forward(z0_bd, h_bd, self.alpha_bar_t[time], self.r_t[time], noise_bd)
        return F.mse_loss(noise_in(self.denoiser, z_bd, time), noise_bd)

    def calculate_loss(self, interaction) -> tuple[Tensor, Tensor]:
        """Prediction with generated rows, and rho times the denoiser's own loss."""
        # Once per item of the batch; every row then reads its item's result.
        ids, place = interaction.unique(self.id_field)
        h = self.prior(self.side(ids, interaction))
        logits = self.decoded_logits(interaction, lookup(self.decode(h, ids), place))
        z0 = self.encoder(self.target_rows(ids))
        diffusion = self.diffusion_loss(lookup(z0, place), lookup(h, place))
        return self.loss(logits, interaction), self.config["csdm_rho"] * diffusion

    def _decoded_now(self) -> Tensor:
        """In evaluation mode; released code writes rows back with dropout on."""
        if not self.config["csdm_dropout_at_writeback"]:
            return super()._decoded_now()
        return self.decoded(self.new_ids)
