"""What models that read histories share: elements, padding, the seam, hidden histories."""

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cold.backbone._modes import evaluating, set_apart
from recbole_cold.backbone._sequence import SequenceModel, last_state, mean_of
from recbole_cold.errors import UserError
from recbole_cold.experiment.building import build_method
from recbole_cold.registry import backbones, find_method
from recbole_cold.training.trainer import Trainer

SMALL = {
    "GRU4RecCTR": {"mlp_hidden_size": [6]},
    "LSTM4Rec": {"mlp_hidden_size": [6]},
    "DIN": {"mlp_hidden_size": [6], "attention_hidden_size": [5]},
    "DIEN": {"mlp_hidden_size": [6], "aux_hidden_size": [5]},
    "MIMN": {"mlp_hidden_size": [6], "attention_hidden_size": [5], "mimn_slots": 3},
    "Basic": {"mlp_hidden_size": [6], "basic_history": "mean"},
}
NAMES = sorted(SMALL)
ORDER_MATTERS = {"DIEN", "GRU4RecCTR", "LSTM4Rec", "MIMN"}

each_model = pytest.mark.parametrize("name", NAMES)
each_side = pytest.mark.parametrize("side", ["user", "item"])


def small(name, **keys):
    return {**SMALL[name], "history_length": 5, **keys}


def edited(batch, edit):
    """``batch`` with every field of the histories put through ``edit``, lengths aside."""
    return Interaction(
        {
            field: edit(value) if field.startswith("history/") and value.dim() > 1 else value
            for field, value in batch.interaction.items()
        }
    )


def test_every_model_that_reads_histories_is_looked_at():
    found = {name for name, cls in backbones().items() if issubclass(cls, SequenceModel)}
    assert found == set(NAMES)


def test_summaries_of_histories():
    x_bnd = torch.arange(12.0).view(2, 3, 2)
    assert last_state(x_bnd, torch.tensor([2, 0])).tolist() == [[2.0, 3.0], [0.0, 0.0]]
    x_bnd[0, 2:] = 0.0
    assert mean_of(x_bnd * 1.0, torch.tensor([2, 3])).tolist() == [[1.0, 2.0], [8.0, 9.0]]
    assert mean_of(0 * x_bnd, torch.tensor([0, 0])).tolist() == [[0.0, 0.0]] * 2


@each_side
def test_an_element_is_its_fields_vectors_from_the_models_own_tables(plain, side):
    """Of each history row, one at a time, as the model embeds the row itself."""
    model, rows = plain("GRU4RecCTR", **small("GRU4RecCTR", history_side=side))
    names = ["item_id", "year", "title", "genre", "price"]
    assert set(model.element_fields) == set(
        names if side == "user" else ["user_id", "age", "gender", "income"]
    )
    own = [*model.token_seq_field_names, *model.token_field_names, *model.float_field_names]
    assert [own[place] for place in model._places] == model.element_fields
    batch = rows(range(30))
    with torch.no_grad():
        x_bnd, length_b = model.history(batch)
        assert x_bnd.shape == (30, int(length_b.max()), 4 * len(model.element_fields))
        assert length_b.max() == 5 and length_b.min() < 5
        for x_nd, length, n in zip(x_bnd, length_b.tolist(), range(30), strict=True):
            assert not x_nd[length:].any()
            for t in range(length):
                one = rows([n])
                for field in model.element_fields:
                    one.interaction[field] = batch[f"history/{field}"][n, t : t + 1]
                target = model.target(model.concat_embed_input_fields(one))[0]
                assert (x_nd[t] - target).abs().max() < 1e-12


@each_model
@each_side
def test_padding_is_not_read(plain, name, side):
    """Neither what is in it nor how much of it there is."""
    model, rows = plain(name, **small(name, history_side=side))
    batch = rows(range(40))
    length_b = batch["history/length"]
    assert (length_b == 0).any() and (length_b == 5).any()

    def filled(value):
        there = torch.arange(5) < length_b[:, None]
        there = there.view(*there.shape, *(1 for _ in value.shape[2:]))
        return torch.where(there, value, torch.ones_like(value))

    def longer(value):
        return torch.cat([value, torch.zeros_like(value), torch.zeros_like(value)], dim=1)

    with torch.no_grad():
        logits = model(batch)
        assert torch.equal(model(edited(batch, filled)), logits)
        assert (model(edited(batch, longer)) - logits).abs().max() < 1e-12
        assert logits.isfinite().all()


@each_model
def test_the_order_of_a_history_matters_to_recurrent_models_alone(plain, name):
    model, rows = plain(name, **small(name))
    full = [n for n in range(60) if int(rows([n])["history/length"][0]) == 5]
    batch = rows(full)
    with torch.no_grad():
        gap = (model(edited(batch, lambda value: value.flip(1))) - model(batch)).abs()
    assert len(full) > 3
    assert (gap.max() > 1e-6) if name in ORDER_MATTERS else (gap.max() < 1e-12)


@each_model
@each_side
def test_the_seam(build, name, side):
    """The table's own rows change no bit, another vector does, and with one given the id itself
    does not matter; a frozen backbone gives the same."""
    method = build(name, **small(name, history_side=side))
    backbone, train = method.backbone, method.train_index[:60]
    assert bool(method.rows.batch(train)["history/length"].any())
    with torch.no_grad(), evaluating(method):
        batch = method.rows.batch(train)
        ids = batch[method.id_field]
        own = backbone.id_table()[ids]
        plain = backbone.logits(batch)
        assert torch.equal(backbone.logits(batch, own), plain)
        assert not torch.isclose(backbone.logits(batch, own + 1.0), plain).any()
        other = {**batch, method.id_field: (ids + 1) % method.n_ids}
        assert torch.equal(backbone.logits(other, own + 1.0), backbone.logits(batch, own + 1.0))
        with backbone.frozen_tables():
            assert backbone._frozen is not None
            frozen = method.rows.batch(train)
            for shift in (0.0, 1.0, 2.0):
                found, wanted = (backbone.logits(each, own + shift) for each in (frozen, batch))
                assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_frozen_backbone_reads_a_history_once_per_batch(build, monkeypatch):
    for name, function in (
        ("GRU4RecCTR", "state"),
        ("LSTM4Rec", "state"),
        ("DIN", "history"),
        ("DIEN", "interests"),
    ):
        method = build(name, **small(name))
        calls, cls = [], type(method.backbone.model)
        whole = getattr(cls, function)
        monkeypatch.setattr(cls, function, lambda *a, f=whole, c=calls: c.append(1) or f(*a))
        batch = method.rows.batch(method.train_index[:20])
        with torch.no_grad(), evaluating(method), method.backbone.frozen_tables():
            calls.clear()
            for _ in range(3):
                method.backbone.logits(batch, method.backbone.id_table()[batch["item_id"]])
        assert len(calls) == 1


@each_model
def test_a_hidden_history_is_an_empty_one(plain, name):
    """In training mode alone, as often as the key says, each row by itself."""
    model, rows = plain(name, **small(name, history_dropout=0.3))
    batch = rows(range(300))
    empty = Interaction({**batch.interaction, "history/length": torch.zeros(300).long()})
    with torch.no_grad():
        logits, bare = model(batch), model(empty)
        set_apart(model, statistics=False, dropout=True)
        torch.manual_seed(1)
        mixed = model(batch)
        torch.manual_seed(1)
        assert torch.equal(model(batch), mixed)
    telling = (logits - bare).abs() > 1e-9
    hidden = ((mixed - bare).abs() < 1e-12)[telling]
    assert telling.sum() > 150
    assert 0.2 < hidden.double().mean() < 0.4
    assert (mixed - logits)[telling][~hidden].abs().max() < 1e-12


METHODS = ["MetaE", "MWUF", "CVAR", "AVAEW", "CSDM", "GAR", "DropoutNet", "GMEA", "ALDI"]


@pytest.mark.slow
@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("name", ["GRU4RecCTR", "DIN"])
@pytest.mark.parametrize("method", METHODS)
def test_methods_run_on_it(prepared, method, name, side):
    config, dataset = prepared(name, method=method, **small(name, history_side=side))
    if (method, side) == ("GAR", "item"):
        with pytest.raises(UserError, match="GAR scores rows with another item"):
            build_method(config, dataset)
        return
    built = build_method(config, dataset)
    trainer = Trainer(built, 7)
    trainer.pretrain()
    trainer.learn()
    trainer.warm_up("warm_a", dataset.split["warm_a"])
    scores = trainer.score(built.rows.index(dataset.split["test"]))
    assert scores.isfinite().all() and scores.std() > 0


def test_a_game_in_which_items_change_places_has_no_histories_of_items(prepared):
    config, dataset = prepared("DIN", method="GAR", **small("DIN", history_side="item"))
    with pytest.raises(UserError, match="choose the other history_side"):
        find_method("GAR")(config, dataset)


def test_recboles_own_runner_is_told_that_it_makes_no_histories(prepared):
    _, dataset = prepared("DIN")
    keys = {"LABEL_FIELD": "label", "embedding_size": 4, "device": "cpu", "numerical_features": []}
    config = type("Config", (dict,), {"__missing__": lambda self, key: None})(keys)
    with pytest.raises(UserError, match="use recbole-cold --backbone=DIN"):
        backbones()["DIN"](config, dataset)
