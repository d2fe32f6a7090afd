"""Seeds for every random draw, derived from the run's seed and from what is drawn."""

import hashlib

import torch


def derive(seed: int, *names: object) -> int:
    """A 63-bit seed for one purpose, derived from the run's seed and names of the purpose."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator for one purpose; on the CPU, so that draws do not depend on the device."""
    return torch.Generator().manual_seed(derive(seed, *names))


def seed_layers(seed: int, *names: object) -> None:
    """Seed torch's global generators, which initialisers and dropout draw from."""
    number = derive(seed, *names)
    if torch.cuda.is_available():
        torch.manual_seed(number)
    else:  # the same for the CPU; torch's own keeps a formatted stack per call, for a GPU to come
        torch.default_generator.manual_seed(number)


def layer_state() -> dict[str, torch.Tensor]:
    """The state of the global generators, to continue a stage bit for bit."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_layers(state: dict[str, torch.Tensor]) -> None:
    """Put the global generators back to a state of ``layer_state``."""
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
