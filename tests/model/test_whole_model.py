"""Fine-tuning of whole models, in splits without new items: one Adam goes on from part to part."""

from itertools import pairwise

import pytest
import torch

from recbole_cold.config import make_config
from recbole_cold.data.phases import FINE_TUNING, run_phases
from recbole_cold.errors import Interrupted
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import run_data
from recbole_cold.training.trainer import Trainer

RATE, DECAY = 0.03, 0.01


@pytest.fixture
def made(tiny_keys):
    """``made(key=value)``: the plain backbone on sessions of tiny, one batch a part."""

    def go(**more):
        keys = {
            **tiny_keys, "split_rule": "sessions", "session_length": 4, "session_min": 2,
            "session_user_min": 5, "embedding_size": 4, "train_batch_size": 4096,
            "mlp_hidden_size": [8], "dropout_prob": 0.0, "weight_decay": DECAY,
            "warm_learning_rate": RATE, "show_progress": False, "device": "cpu",
        }  # fmt: skip
        config = make_config("Base", "tiny", "DeepFM", overrides={**keys, **more})
        return build_method(config, run_data(config))

    return go


def states(method, trainer, split):
    """The backbone's parameters before fine-tuning and after each part."""
    found = []

    def note(name, rows):
        found.append({n: p.detach().clone() for n, p in method.backbone.named_parameters()})
        return {}

    run_phases(trainer, split, note)
    return found


@pytest.fixture
def split(tiny_keys, made):
    config = made().config
    return run_data(config).split


def test_every_part_is_a_step_of_one_adam(made, split):
    method = made()
    found = states(method, Trainer(method, 7), split)
    again = made()
    again.backbone.load_state_dict({**again.backbone.state_dict(), **found[0]})
    again.set_mode("train")
    adam = torch.optim.Adam(again.backbone.parameters(), lr=RATE, weight_decay=DECAY)
    for name, wanted in zip(FINE_TUNING, found[1:], strict=True):
        adam.zero_grad()
        batch = again.rows.batch(again.rows.index(split[name]))
        again.backbone.calculate_loss(batch).backward()
        adam.step()
        for key, value in again.backbone.named_parameters():
            torch.testing.assert_close(value.detach(), wanted[key], rtol=1e-4, atol=1e-6)


def test_all_of_the_model_moves_in_every_part(made, split):
    method = made()
    found = states(method, Trainer(method, 7), split)
    for before, after in pairwise(found):
        assert all(not torch.equal(before[name], after[name]) for name in before)


def test_dropout_is_on_as_in_pre_training(made, split):
    off, on = made(), made(dropout_prob=0.5)
    fits = [method.warm_fits(method.rows.index(split["ft_a"]))[0] for method in (off, on)]
    assert {fit.mode for fit in fits} == {"train"}
    on.set_mode(fits[1].mode)
    batch = on.rows.batch(on.rows.index(split["ft_a"]))
    loss = fits[1].steps[0].loss
    assert loss(batch) != loss(batch)


def test_passes_and_steps_are_those_of_warm_phases(made, split):
    method = made(warm_epochs=3)
    trainer = Trainer(method, 7)
    states(method, trainer, split)
    stages = {stage["name"]: stage["steps"] for stage in trainer.journal["stages"]}
    assert [stages[name] for name in FINE_TUNING] == [3, 3, 3]
    method = made(warm_steps=5)
    trainer = Trainer(method, 7)
    states(method, trainer, split)
    stages = {stage["name"]: stage["steps"] for stage in trainer.journal["stages"]}
    assert [stages[name] for name in FINE_TUNING] == [5, 5, 5]


def test_a_run_stopped_between_parts_ends_alike(made, split, tmp_path):
    method = made()
    whole = states(method, Trainer(method, 7), split)
    stopped = made()
    trainer = Trainer(stopped, 7, tmp_path / "state.pt")

    def note(name, rows):
        trainer.evaluate(name, rows)
        if name == "ft_a":
            raise Interrupted
        return {}

    with pytest.raises(Interrupted):
        run_phases(trainer, split, note)
    again = made()
    trainer = Trainer(again, 7, tmp_path / "state.pt")
    assert trainer.resume()
    found = states(again, trainer, split)
    for name, value in whole[-1].items():
        assert torch.equal(found[-1][name], value)


def test_where_items_are_new_only_their_own_rows_move(tiny_keys):
    keys = {**tiny_keys, "embedding_size": 4, "device": "cpu"}
    config = make_config("Base", "tiny", "FM", overrides=keys)
    method = build_method(config, run_data(config))
    (fit,) = method.warm_fits(method.train_index[:5])
    own = {id(method.new_vectors), id(method.new_first_order)}
    assert {id(parameter) for parameter in fit.steps[0].parameters} == own
    assert fit.mode == "frozen" and fit.keep is None
