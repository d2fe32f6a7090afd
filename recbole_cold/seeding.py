"""Seeds for every random draw, derived from the run's seed and from what is drawn."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch


def derive(seed: int, *names: object) -> int:
    """A 63-bit seed for one purpose, derived from the run's seed and names of the purpose."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator for one purpose; on the CPU, so that draws do not depend on the device."""
    return torch.Generator().manual_seed(derive(seed, *names))


def seed_layers(seed: int, *names: object, device: torch.device | None = None) -> None:
    """Seed torch's global generators, which initialisers and dropout draw from.

    Args:
        device: where the layers are. The generator of a card is seeded beside the CPU's; no other
            card is asked for anything. None: those of all cards that this process works with.
    """
    number = derive(seed, *names)
    # torch.manual_seed does this, too, and keeps a formatted stack per call for cards to come.
    torch.default_generator.manual_seed(number)
    if device is None:
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(number)
    elif device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(number)


def layer_state(device: torch.device | None = None) -> dict[str, Any]:
    """The state of the global generators, to continue a stage bit for bit.

    Args:
        device: as in ``seed_layers``. A run on the CPU never opens a context on a card.
    """
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if device is None:
        if torch.cuda.is_initialized():
            state["cards"] = torch.cuda.get_rng_state_all()
    elif device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_layers(state: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Put the global generators back to a state of ``layer_state``, for the same device.

    A state that another kind of device left has nothing for a card, whose generator stays as it is.
    """
    torch.set_rng_state(state["cpu"].cpu())
    if device is None:
        if "cards" in state:
            torch.cuda.set_rng_state_all(state["cards"])
    elif device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
