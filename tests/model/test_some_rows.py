"""Methods that mean some rows of a table take those: nothing of a step is as long as the table."""

import pytest
import torch
from number_helpers import item_codes
from task_helpers import block_episode
from torch import nn

from recbole_cold.model._inner import Chunks
from recbole_cold.model._kept_mean import KeptMean
from recbole_cold.registry import methods
from recbole_cold.training import optimizers
from recbole_cold.training.trainer import Trainer


@pytest.mark.parametrize("side", ["item", "user"])
@pytest.mark.parametrize("backbone", ["DeepFM", "FNN"])
def test_id_vectors_are_rows_of_the_table(build, backbone, side):
    """In any order and shape, with the gradient that rows of the table have; so are weights."""
    seam = build("Base", backbone, cold_side=side, cold_threshold=18).backbone
    ids = torch.tensor([[3, 1], [0, seam.n_ids - 1], [3, 3]])
    tables = [(seam.id_vectors, seam.id_table)]
    if seam.has_first_order:
        tables.append((seam.id_weights, seam.first_order_table))
    else:
        assert seam.id_weights(ids) is None
    for some, whole in tables:
        assert torch.equal(some(ids), whole()[ids])
        scale = torch.arange(1.0, 1 + some(ids).numel()).view(some(ids).shape)
        weights = [p for p in seam.parameters() if p.shape[1:] == scale.shape[2:]]
        got, expected = (
            torch.autograd.grad((rows * scale).sum(), weights, allow_unused=True)
            for rows in (some(ids), whole()[ids])
        )
        known = [(a, b) for a, b in zip(got, expected, strict=True) if b is not None]
        assert len(known) == 1 and torch.equal(*known[0])


@pytest.mark.parametrize("with_id", [False, True])
def test_side_vectors_and_frequency_of_some_items(build, with_id):
    """Those of all, at these items; and how wide they are."""
    method = build("GMEA" if not with_id else "MWUF", side_includes_id=with_id)
    method.counts += torch.arange(method.n_ids) % 7
    ids = torch.tensor([5, 2, 5, method.n_ids - 1])
    assert torch.equal(method.side_vectors(ids), method.side_vectors()[ids])
    assert method.side_width == method.side_vectors().shape[1]
    assert torch.equal(method.frequency(ids), method.frequency()[ids])


def test_a_lazy_table_has_a_gradient_of_these_rows_alone(build):
    method = build("Base")
    table = method.backbone.model.token_embedding_table.embedding
    table.sparse = True
    ids = method.old_ids[:3]
    method.backbone.id_vectors(ids).sum().backward()
    gradient = table.weight.grad.coalesce()
    assert gradient.is_sparse
    first = item_codes(method).start
    assert gradient.indices()[0].tolist() == sorted((first + ids).tolist())


@pytest.mark.parametrize("name", sorted(set(methods()) - {"RML"}))
def test_no_method_reads_a_table_past_its_module(build, name, monkeypatch):
    """In no stage has a table that is updated lazily a gradient of its own size."""

    def refuse(gradient):
        raise AssertionError(f"{name} has a dense gradient of {len(gradient)} rows")

    monkeypatch.setattr(optimizers, "with_gradient", refuse)
    method = build(name, table_update="lazy", train_batch_size=512)
    trainer = Trainer(method, 7)
    trainer.pretrain()
    trainer.learn()
    trainer.warm_up("warm_a", method.dataset.split["warm_a"])


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_loss_in_chunks_keeps_gradients_of_rows(most):
    """Value and gradients are those of the whole loss; the table's are of the rows it looked up."""
    torch.manual_seed(3)
    table, layer = nn.Embedding(50, 3).double(), nn.Linear(3, 1).double()
    code_tk = torch.randint(1, 9, (5, 4))
    label_t = torch.rand(5).double()
    parameters = [table.weight, *layer.parameters()]

    def loss(tasks):
        score_t = layer(table(code_tk[tasks])).square().sum(dim=(1, 2))
        return ((score_t - label_t[tasks]) * label_t[tasks]).sum()

    whole = loss(slice(None))
    expected = torch.autograd.grad(whole, parameters)
    table.sparse = True
    found = 0.5 * Chunks(most).summed(loss, 5, parameters)
    gradients = torch.autograd.grad(found, parameters)
    torch.testing.assert_close(found, 0.5 * whole)
    assert gradients[0].is_sparse
    gradient = gradients[0].coalesce()
    assert gradient.indices()[0].tolist() == sorted(set(code_tk.flatten().tolist()))
    for ours, theirs in zip([gradient.to_dense(), *gradients[1:]], expected, strict=True):
        torch.testing.assert_close(ours, 0.5 * theirs)


@pytest.mark.parametrize("draw", ["task", "table"])
def test_emergs_episode_has_the_gradient_of_dense_tables(build, draw):
    """Of each table the rows that the episode reads, and the same numbers."""
    gradients = []
    for lazy in (False, True):
        method = build("EmerG", emerg_id_draw=draw)
        for module in method.net.modules():
            if isinstance(module, nn.Embedding):
                module.sparse = lazy
        parameters = method.trainable("learn")
        torch.manual_seed(5)
        loss = method.episode_loss(block_episode(method))
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        tables = {id(m.weight) for m in method.net.modules() if isinstance(m, nn.Embedding)}
        pairs = zip(parameters, found, strict=True)
        assert all(g.is_sparse == lazy for p, g in pairs if id(p) in tables and g is not None)
        gradients.append([g for g in found if g is not None])
    for dense, sparse in zip(*gradients, strict=True):
        torch.testing.assert_close(sparse.to_dense() if sparse.is_sparse else sparse, dense)


def test_a_kept_mean_is_the_mean_taken_anew():
    """To the last bit, whatever moved; and it is that of the table."""
    torch.manual_seed(3)
    table, ids = torch.randn(40, 3), torch.arange(3, 40, 2)
    kept = KeptMean(lambda some: table[some], ids, 40)
    for step in range(30):
        anew = KeptMean(lambda some: table[some], ids, 40).mean()
        assert torch.equal(kept.mean(), anew)
        torch.testing.assert_close(anew, table[ids].mean(dim=0), rtol=0, atol=1e-6)
        moving = torch.randint(40, (step % 5,))  # one twice, others, and none
        kept.will_move(torch.cat([moving, moving[:1]]))
        table[moving] += torch.randn(len(moving), 3) * 10.0 ** (step % 4 - 2)


@pytest.mark.parametrize("keys", [{}, {"dropoutnet_mean": "table"}, {"id_first_order": "zero"}])
def test_dropoutnet_reads_the_mean_of_the_table_as_it_is(build, keys, monkeypatch):
    """In each step of a lazy fit: the kept means are those of all rows."""
    method = build("DropoutNet", table_update="lazy", dropoutnet_rate=0.5, **keys)
    found, substitutes = [], method._substitutes

    def spy(ids, kept):
        means = substitutes(ids, kept)
        found.append((kept is not None, means, (method.substitute(), method.cold_first_order())))
        return means

    monkeypatch.setattr(method, "_substitutes", spy)
    Trainer(method, 7).pretrain()
    assert len(found) > 5 and all(is_kept for is_kept, _, _ in found)
    for _, means, expected in found:
        for mean, value in zip(means, expected, strict=True):
            torch.testing.assert_close(mean, value, rtol=0, atol=1e-7)
    assert not torch.equal(found[0][1][0], found[-1][1][0])


def test_the_mean_weight_is_taken_once_while_tables_are_frozen(build):
    method = build("MetaE")
    first = method.cold_first_order()
    with method.backbone.frozen_tables():
        method.cold_first_order()
        with torch.no_grad():
            method.backbone.first_order_table()[method.old_ids] += 1.0
        assert torch.equal(method.cold_first_order(), first)
    torch.testing.assert_close(method.cold_first_order(), first + 1.0)
