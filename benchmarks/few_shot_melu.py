"""A meta step of MeLU with all tasks at once, against a loop over tasks, first and second order.

Both run the same method on the same episodes: inner step on the support, loss on the query, and
the gradient of the mean loss to every parameter. The loop does it for one task after the other.
"""

from torch import Tensor

from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks.few_shot_tanp import episode_of
from recbole_cold.data.episodes import Episode


def meta_gradient(method, episodes: list[Episode], n_tasks: int) -> list[Tensor]:
    """Gradient of the mean loss over all tasks, one backward pass per episode."""
    method.zero_grad(set_to_none=True)
    for episode in episodes:
        (method.episode_loss(episode) * (len(episode.ids_t) / n_tasks)).backward()
    return [p.grad for p in method.backbone.parameters() if p.grad is not None]


def measure(options: Options) -> Table:
    """CPU milliseconds of a meta step by order and inner steps, and the gradients' difference."""
    method = common.method_of(options, "MeLU")
    method.set_mode("train")
    n_tasks = min(options.items[0], len(method.old_ids))
    size = method.support_sizes()[0]
    whole = episode_of(method, n_tasks, size)
    parts = whole.split(1)
    query = method.config["episode_query"]
    table = Table(
        f"MeLU: a meta step of {n_tasks} tasks with {size} support and {query} query rows each",
        ["order", "inner steps", "batched, CPU ms", "per-task loop, CPU ms", "loop to batched"],
        [],
    )
    for order, steps in ((2, 1), (1, 1), (2, 5), (1, 5)):
        method.net.second_order, method.net.steps = order == 2, (steps, steps)
        gradients: dict[str, list[Tensor]] = {}

        def step(name: str, episodes: list[Episode], gradients=gradients):
            def run() -> None:
                gradients[name] = meta_gradient(method, episodes, n_tasks)

            return lambda: run

        contestants = {"all": step("all", [whole]), "one": step("one", parts)}
        seconds = common.smallest(common.alternate(contestants, options.repeats))
        won = seconds["one"] / seconds["all"]
        times = [round(1000 * seconds[name], 1) for name in ("all", "one")]
        table.rows.append([order, steps, *times, round(won, 1)])
        named = f"order {order}, {steps} inner steps"
        table.claims.append((f"batched wins, {named}, by", won, 4.0, ">="))
        table.agreement[named] = common.largest_difference(gradients["all"], gradients["one"])
    return table
