"""A meta step of TaNP with all tasks at once, against a loop over tasks.

Both run the same method on the same episodes: the loss of a batch of tasks, and its gradient to
every parameter. The loop makes the forward pass of one task after the other and one backward pass
through all of them, as the released program does.
"""

import torch
from torch import Tensor

from benchmarks import _common as common
from benchmarks._common import Options, Table
from recbole_cold.data.episodes import Episode, FewShotBatches
from recbole_cold.model.tanp import clustering_loss


def episode_of(method, n_tasks: int, size: int) -> Episode:
    """One batch of ``n_tasks`` old items with ``size`` support rows each."""
    query = method.config["episode_query"]
    batches = FewShotBatches(
        method.rows, method._all_ids, method._time, method._train, [size], query, n_tasks
    )
    return next(iter(batches.epoch(torch.Generator().manual_seed(0), 0)))


def meta_gradient(method, episodes: list[Episode]) -> list[Tensor]:
    """Gradient of the mean loss over all tasks and of the clusters' to every parameter."""
    method.zero_grad(set_to_none=True)
    torch.manual_seed(0)  # equal noise: the latents of one task after the other
    losses, clusters = zip(*map(method.task_losses, episodes), strict=True)
    together = clustering_loss(torch.cat(clusters), method.config["tanp_detach_target"])
    (torch.cat(losses).mean() + method.config["tanp_cluster_weight"] * together).backward()
    return [p.grad for p in method.backbone.parameters() if p.grad is not None]


def measure(options: Options) -> Table:
    """CPU milliseconds of a meta step by the size of supports, and the difference of gradients."""
    method = common.method_of(options, "TaNP")
    method.set_mode("train")
    n_tasks = min(options.items[0], len(method.old_ids))
    query = method.config["episode_query"]
    table = Table(
        f"TaNP: a meta step of {n_tasks} tasks with {query} query rows each",
        ["support rows", "batched, CPU ms", "per-task loop, CPU ms", "loop to batched"],
        [],
    )
    for size in method.support_sizes():
        whole = episode_of(method, n_tasks, size)
        parts, gradients = whole.split(1), {}

        def step(name: str, episodes: list[Episode], gradients=gradients):
            def run() -> None:
                gradients[name] = meta_gradient(method, episodes)

            return lambda: run

        contestants = {"all": step("all", [whole]), "one": step("one", parts)}
        seconds = common.smallest(common.alternate(contestants, options.repeats))
        won = seconds["one"] / seconds["all"]
        times = [round(1000 * seconds[name], 1) for name in ("all", "one")]
        table.rows.append([size, *times, round(won, 1)])
        table.claims.append((f"batched wins at {size} support rows by", won, 4.0, ">="))
        table.agreement[f"gradients at {size} support rows"] = common.largest_difference(
            gradients["all"], gradients["one"]
        )
    return table
