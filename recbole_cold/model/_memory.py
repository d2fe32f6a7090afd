"""Memory that is freed and asked for again in every step."""

import torch


def keep_freed_memory() -> None:
    """Let the C library keep up to 64 MiB that were freed, and hand them out again.

    A step of a large network frees all that it has allocated. Given back to the system, it comes
    back page by page, each cleared: up to a fifth of a step. glibc keeps twice as much as the
    largest piece that it saw freed, of at most 32 MiB; here it sees one. Nothing is written to it,
    so it takes no memory. Other C libraries do as they did.
    """
    torch.empty(2**25 - 2**14, dtype=torch.uint8)
