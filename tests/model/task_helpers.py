"""What the tests of methods that learn from tasks do alike with episodes and their tasks."""

import torch

from recbole_cold.data.episodes import EpisodeBatches, time_blocks

# Columns of the tiny data set that leave items with nothing but their supports.
NO_ITEM_FEATURES = {
    "inter": ["user_id", "item_id", "rating", "timestamp"],
    "user": ["user_id", "age"],
    "item": ["item_id"],
}


def block_episode(method, tasks=4, size=5, epoch=0, pairs=((0, 1), (1, 2), (2, 3), (3, 0))):
    """The first batch of tasks of one epoch, over blocks of rows in the order of time."""
    blocks = time_blocks(method._all_ids, method._time, method._train, 4, size)
    batches = EpisodeBatches(method.rows, blocks, pairs, tasks)
    return next(iter(batches.epoch(torch.Generator().manual_seed(4), epoch)))


def first_episode(method, short=0):
    """A learner's own; of its last task ``short`` support rows and query rows are padding."""
    batches = method.meta_fit().batches
    episode = next(iter(batches.epoch(torch.Generator().manual_seed(1), 0)))
    masks = episode.support_mask_tk.double(), episode.query_mask_tk.double()
    for mask_tk in masks if short else ():
        mask_tk[-1, -short:] = 0
    return exchanged(episode, support_mask_tk=masks[0], query_mask_tk=masks[1])


def exchanged(episode, **parts):
    """``_replace``, which a tuple with a length of its own does not have."""
    return type(episode)(**{**episode._asdict(), "real": None, **parts})


def tasks_of(episode, places):
    """Some of an episode's tasks, in the order ``places``."""
    t = len(episode.ids_t)
    parts = [
        batch.rows.batch(batch.index.view(t, -1)[places].reshape(-1))
        for batch in (episode.support, episode.query)
    ]
    masks = episode.support_mask_tk[places], episode.query_mask_tk[places]
    return type(episode)(episode.ids_t[places], parts[0], masks[0], parts[1], masks[1])


class RaggedTasks:
    """Three tasks of up to four rows; the last one has none, and what is masked is not zero."""

    def __init__(self, rng64):
        self.own, self.other = rng64(3, 3), rng64(3, 4, 2)
        self.label = (rng64(3, 4) > 0).double()
        self.mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).double()

    def rows(self, net):
        return net.inputs(self.own, self.other)
