"""A meta step of MetaE with all items at once, against a loop over items.

Both run the same method on the same episodes behind the same seam, with frozen tables. The loop
makes a forward pass over an item's support rows, the inner step, a pass over its query rows and the
backward pass to the generator, for one item after the other.
"""

import torch
from torch import Tensor

from benchmarks import _common as common
from benchmarks._common import Options, Table
from recbole_cold.data.episodes import Episode, EpisodeBatches, time_blocks


def first_items(method, n_items: int, size: int = 20) -> EpisodeBatches:
    """Episodes of the first ``n_items`` old items, up to ``size`` rows in each of four blocks."""
    blocks = time_blocks(method._all_ids, method._time, method._train, 4, size)
    return EpisodeBatches(method.rows, blocks.some(slice(n_items)), [(0, 1)], n_items)


def tasks_of(batches: EpisodeBatches, size: int) -> list[Episode]:
    batches.meta_batch_size = size
    return list(batches.epoch(torch.Generator().manual_seed(0), 0))


def meta_gradient(method, side_ns: Tensor, episodes: list[Episode], n_items: int) -> list[Tensor]:
    """Gradient of the mean loss of the items to the generator, one backward pass per episode."""
    parameters = method.trainable("learn")
    for parameter in parameters:
        parameter.grad = None
    for episode in episodes:
        vectors = method.generator(side_ns[episode.ids_t])
        share = len(episode.ids_t) / n_items
        (method.episode_loss(vectors, episode) * share).backward()
    return [parameter.grad for parameter in parameters]


def measure(options: Options) -> Table:
    """CPU seconds of a meta step by the number of items, and the difference of the gradients."""
    method = common.method_of(options, "MetaE")
    method.set_mode("frozen")
    for parameter in method.backbone.parameters():
        parameter.requires_grad_(False)
    table = Table(
        "MetaE's inner loop: a meta step with 20 support and 20 query rows per item",
        ["items", "batched, CPU ms", "per-item loop, CPU ms", "loop to batched"],
        [],
    )
    side_ns = method.side_vectors()
    for asked in options.items:
        batches = first_items(method, asked)
        n_items, gradients = len(batches._ids), {}

        def step(size: int, n_items=n_items, batches=batches, gradients=gradients):
            def run() -> None:
                with method.backbone.frozen_tables():
                    tasks = tasks_of(batches, size)
                    gradients[size] = meta_gradient(method, side_ns, tasks, n_items)

            return lambda: run

        seconds = common.smallest(
            common.alternate({"all": step(n_items), "one": step(1)}, options.repeats)
        )
        table.rows.append(
            [
                n_items,
                round(1000 * seconds["all"], 1),
                round(1000 * seconds["one"], 1),
                round(seconds["one"] / seconds["all"], 1),
            ]
        )
        if n_items >= 1024:
            won = seconds["one"] / seconds["all"]
            table.claims.append((f"batched wins at {n_items} items by", won, 20.0, ">="))
        table.agreement[f"gradients at {n_items} items"] = common.largest_difference(
            gradients[n_items], gradients[1]
        )
    return table
