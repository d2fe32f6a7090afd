"""What the tests of several methods do alike with a method and its rows."""

import torch

from recbole_cold.training.trainer import Trainer


def trainer_of(method, stages=("pretrain", "learn")):
    """One that has taken ``method`` through ``stages``."""
    trainer = Trainer(method, seed=7)
    for stage in stages:
        getattr(trainer, stage)()
    return trainer


def fill(parameters, size=0.4):
    """To a size at which every term of a loss counts: fresh parameters are near zero."""
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(size * torch.randn(parameter.shape, generator=draws))


def widen(method):
    """``fill`` for all that ``learn`` moves."""
    fill(method.trainable("learn"))


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def what_moved(before, module):
    """Names in a state that changed by a single bit."""
    return {name for name, value in module.state_dict().items() if not value.equal(before[name])}


def batch_of(method, size=40):
    """Rows of training, with labels as precise as the parameters: the loss is computed in those."""
    batch = method.rows.batch(method.train_index[:size])
    batch[method.label_field] = batch[method.label_field].to(method.new_vectors.dtype)
    return batch


def learned_rows(method, entered):
    """Of the learning stage, or (``entered``) of a warm phase, which plays the new items' rows."""
    if not entered:
        return method.rows.batch(method.train_index[:40])
    method.start_new_items()
    return method.rows.batch(method.rows.index(method.dataset.split["warm_a"]))


def watch_targets(method):
    """A list that gets the new items' rows as they are at each loss to come."""
    calculate, targets = method.calculate_loss, []

    def spy(batch):
        targets.append(method.new_vectors.detach().clone())
        return calculate(batch)

    method.calculate_loss = spy
    return targets


def empty_attributes(method, items):
    """Of one or more items, in the tables of this method only; numbers stay."""
    for field, column in method.rows.item_features.items():
        if not column.is_floating_point():
            method.rows.item_features[field] = column.clone()
            method.rows.item_features[field][items] = 0
