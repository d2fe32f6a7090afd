"""Support and query blocks of items: cut by hand, one row at a time."""

import itertools

import numpy as np
import pytest
import torch

from recbole_cold.data.episodes import (
    Episode,
    EpisodeBatches,
    FewShotBatches,
    masked_mean,
    time_blocks,
)

PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0))


@pytest.fixture
def log():
    """200 rows of 12 items with ties in time; item 3 has three rows, item 5 none in the index."""
    rng = np.random.default_rng(3)
    ids = np.r_[rng.choice([1, 2, 4, 6, 7, 8, 9, 10, 11], size=197), 3, 3, 3]
    time = rng.integers(0, 60, size=200).astype(float)
    index = rng.permutation(200)[:180]
    index = np.r_[index, np.setdiff1d([197, 198, 199], index)]
    return ids, time, index


class FakeRows:
    """Rows whose batch is the row numbers themselves."""

    device = torch.device("cpu")

    @staticmethod
    def batch(index):
        return index


def naive_blocks(ids, time, index, n_blocks, size):
    """Item -> list of blocks, each a list of row numbers."""
    out = {}
    for item in sorted(set(ids[index].tolist())):
        rows = [row for row in index.tolist() if ids[row] == item]
        if time is not None:
            rows.sort(key=lambda row: time[row])  # stable, as the order of the file
        length = len(rows) // n_blocks
        if size is not None:
            length = min(length, size)
        out[item] = [rows[j * length : (j + 1) * length] for j in range(n_blocks)]
    return out


@pytest.mark.parametrize("size", [2, 3, None])
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("n_blocks", [2, 4])
def test_blocks_by_hand(log, size, timed, n_blocks):
    ids, time, index = log
    time = time if timed else None
    expected = naive_blocks(ids, time, index, n_blocks, size)
    blocks = time_blocks(ids, time, index, n_blocks, size)
    assert blocks.ids_t.tolist() == list(expected)
    for task, item in enumerate(expected):
        for j in range(n_blocks):
            real = blocks.rows_tjk[task, j][blocks.mask_tjk[task, j]]
            assert real.tolist() == expected[item][j]


def test_blocks_of_an_item_share_no_row_and_go_forward_in_time(log):
    ids, time, index = log
    blocks = time_blocks(ids, time, index, 4, 5)
    for task, item in enumerate(blocks.ids_t):
        rows = [blocks.rows_tjk[task, j][blocks.mask_tjk[task, j]] for j in range(4)]
        flat = np.concatenate(rows)
        assert len(set(flat.tolist())) == len(flat)
        assert set(flat.tolist()) <= set(index.tolist())
        assert (ids[flat] == item).all()
        assert (np.diff(time[flat]) >= 0).all()


def test_short_items_are_masked_not_dropped(log):
    """An item with fewer rows than blocks stays, with nothing in it; shorter blocks are padded."""
    ids, time, index = log
    blocks = time_blocks(ids, time, index, 4, 20)
    assert 3 in blocks.ids_t
    task = int((blocks.ids_t == 3).nonzero()[0][0])
    assert not blocks.mask_tjk[task].any()
    assert blocks.mask_tjk.any(axis=2).sum() == 4 * (len(blocks.ids_t) - 1)
    # Padding is a row of the same item, so that whatever is gathered there exists.
    assert (ids[blocks.rows_tjk] == blocks.ids_t[:, None, None]).all()


def batches(log, size=5, tasks=4):
    ids, time, index = log
    blocks = time_blocks(ids, time, index, 4, size)
    return blocks, EpisodeBatches(FakeRows(), blocks, PAIRS, tasks)


def test_each_epoch_meets_every_item_once_with_its_pair_of_blocks(log):
    blocks, episodes = batches(log)
    place = {item: task for task, item in enumerate(blocks.ids_t.tolist())}
    assert len(episodes) == -(-len(place) // 4)
    for epoch in range(6):
        support_block, query_block = PAIRS[epoch % 4]
        met = []
        for episode in episodes.epoch(torch.Generator().manual_seed(5), epoch):
            support = episode.support.view_as(episode.support_mask_tk)
            query = episode.query.view_as(episode.query_mask_tk)
            for row, item in enumerate(episode.ids_t.tolist()):
                task = place[item]
                for rows, mask, block in (
                    (support[row], episode.support_mask_tk[row], support_block),
                    (query[row], episode.query_mask_tk[row], query_block),
                ):
                    k = len(mask)
                    assert rows.tolist() == blocks.rows_tjk[task, block, :k].tolist()
                    whole = blocks.mask_tjk[task, block].astype(float)
                    assert mask.tolist() == whole[:k].tolist() and not whole[k:].any()
                met.append(item)
        assert sorted(met) == sorted(place)


def test_every_block_is_support_once_and_query_once():
    from recbole_cold.model.metae import PAIRS as used

    assert sorted(pair[0] for pair in used) == sorted(pair[1] for pair in used) == [0, 1, 2, 3]
    assert all(support != query for support, query in used)


def test_order_is_the_seeds_and_a_late_start_is_the_same_tail(log):
    _, episodes = batches(log, tasks=3)

    def order(seed, start=0):
        generator = torch.Generator().manual_seed(seed)
        return [e.ids_t.tolist() for e in episodes.epoch(generator, 1, start)]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1, start=2) == order(1)[2:]
    assert [len(part) for part in order(1)] == [3, 3, 3, 1]


def test_length_counts_real_rows_only(log):
    blocks, episodes = batches(log, size=20)
    total = sum(len(e) for e in episodes.epoch(torch.Generator().manual_seed(1), 0))
    assert total == blocks.mask_tjk[:, 0].sum() + blocks.mask_tjk[:, 1].sum()
    assert total < blocks.mask_tjk[:, :2].size
    for episode in episodes.epoch(torch.Generator().manual_seed(1), 0):
        parts = [getattr(episode, name) for name in Episode._fields if name != "real"]
        assert len(Episode(*parts)) == len(episode)  # as of some of its tasks


def test_a_batch_is_padded_to_its_own_longest_block(log):
    """By rows of the same item; none to that of the most popular item of all."""
    ids, _, _ = log
    blocks, episodes = batches(log, size=None, tasks=2)
    draws = [episodes.epoch(torch.Generator().manual_seed(seed), 2) for seed in range(8)]
    widths = set()
    for episode in itertools.chain(*draws):
        for part, mask_tk in (
            (episode.support, episode.support_mask_tk),
            (episode.query, episode.query_mask_tk),
        ):
            width = mask_tk.shape[1]
            assert width == max(int(mask_tk.sum(dim=1).max()), 1)
            assert (ids[part.view_as(mask_tk)] == episode.ids_t[:, None].numpy()).all()
            widths.add(width)
    assert max(widths) == blocks.width > min(widths)


def test_blocks_take_no_more_memory_than_their_rows():
    """A thousand items of four rows, and one of four thousand."""
    ids = np.r_[np.repeat(np.arange(1, 1001), 4), np.full(4000, 1001)]
    blocks = time_blocks(ids, None, np.arange(len(ids)), 4, None)
    assert blocks.width == 1000
    arrays = [value for value in vars(blocks).values() if isinstance(value, np.ndarray)]
    assert sum(array.size for array in arrays) < 2 * len(ids)
    some = blocks.some([3, 1000])
    assert some.ids_t.tolist() == [4, 1001]
    assert some.rows_tjk[0, :, 0].tolist() == [12, 13, 14, 15]
    assert some.rows_tjk[1].tolist() == np.arange(4000, 8000).reshape(4, 1000).tolist()


def random64(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def test_masked_mean_by_hand():
    value = random64(4, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    out = masked_mean(value, mask.double())
    for task in range(4):
        real = [value[task, k].item() for k in range(5) if mask[task, k]]
        assert out[task].item() == pytest.approx(sum(real) / len(real) if real else 0.0, abs=1e-15)


def test_padding_has_no_influence_and_no_gradient():
    value, mask = random64(3, 4), torch.tensor([1.0, 1.0, 0.0, 0.0]).double().expand(3, 4)
    changed = value.clone()
    changed[:, 2:] = 1e6
    assert torch.equal(masked_mean(value, mask), masked_mean(changed, mask))
    leaf = value.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(masked_mean(leaf, mask).sum(), leaf)
    for task, k in itertools.product(range(3), range(4)):
        assert gradient[task, k] == (0.5 if k < 2 else 0.0)


# ---------------------------------------------------------------------------- caps
def capped(log, support, query):
    ids, time, index = log
    blocks = time_blocks(ids, time, index, 4, None)
    return blocks, EpisodeBatches(FakeRows(), blocks, PAIRS, 4, support, query)


def test_a_cap_takes_a_part_of_each_block_anew_in_time_order(log):
    blocks, episodes = capped(log, 2, 3)
    place = {item: task for task, item in enumerate(blocks.ids_t.tolist())}
    met = []
    for seed in range(30):
        for episode in episodes.epoch(torch.Generator().manual_seed(seed), 0):
            for part, mask_tk, block, cap in (
                (episode.support, episode.support_mask_tk, 0, 2),
                (episode.query, episode.query_mask_tk, 1, 3),
            ):
                rows_tk = part.view_as(mask_tk)
                assert mask_tk.shape[1] == cap
                for item, rows, mask in zip(episode.ids_t.tolist(), rows_tk, mask_tk, strict=True):
                    task = place[item]
                    whole = blocks.rows_tjk[task, block][blocks.mask_tjk[task, block]].tolist()
                    real = rows[mask.bool()].tolist()
                    assert len(real) == min(cap, len(whole)) and set(real) <= set(whole)
                    assert real == sorted(real, key=whole.index)
                    met.append((item, block, *real))
    pairs = {(m[0], m[2:]) for m in met if m[1] == 0 and m[0] == 1}
    n = int(blocks.mask_tjk[place[1], 0].sum())
    assert len(pairs) == n * (n - 1) // 2  # every subset comes up


def test_caps_larger_than_the_blocks_change_nothing(log):
    _, plain = capped(log, None, None)
    _, roomy = capped(log, 50, 50)
    for one, other in zip(
        plain.epoch(torch.Generator().manual_seed(3), 1),
        roomy.epoch(torch.Generator().manual_seed(3), 1),
        strict=True,
    ):
        assert all(torch.equal(a, b) for a, b in zip(one[:5], other[:5], strict=True))
        assert one.real == other.real == sum(int(mask.sum()) for mask in one[2:5:2])


@pytest.mark.parametrize("caps", [(None, None), (2, None), (2, 3)])
def test_rows_seen_are_those_of_the_episodes(log, caps):
    """Also where nothing is capped."""
    _, episodes = capped(log, *caps)
    counted = 0
    for epoch in range(3):
        generator = torch.Generator().manual_seed(epoch)
        counted += sum(len(episode) for episode in episodes.epoch(generator, epoch))
    assert episodes.rows_seen(3) == counted > 0


# ---------------------------------------------------------------------------- few-shot episodes
def few_shot(log, sizes=(2, 4, 6), n_query=3, tasks=4, timed=True):
    ids, time, index = log
    time = time if timed else None
    return FewShotBatches(FakeRows(), ids, time, index, sizes, n_query, tasks)


def parts_of(episode):
    """Item -> (support rows, query rows), padding left out."""
    support = episode.support.view_as(episode.support_mask_tk)
    query = episode.query.view_as(episode.query_mask_tk)
    return {
        item: (
            support[t][episode.support_mask_tk[t].bool()].tolist(),
            query[t][episode.query_mask_tk[t].bool()].tolist(),
        )
        for t, item in enumerate(episode.ids_t.tolist())
    }


@pytest.mark.parametrize("timed", [True, False])
def test_few_shot_rows_are_the_items_own_and_go_forward_in_time(log, timed):
    ids, time, index = log
    episodes = few_shot(log, timed=timed)
    order = {item: naive_blocks(ids, time if timed else None, index, 1, None)[item][0]
             for item in set(ids[index].tolist())}  # fmt: skip
    for epoch in range(20):
        for episode in episodes.epoch(torch.Generator().manual_seed(epoch), epoch):
            for item, (support, query) in parts_of(episode).items():
                place = [order[item].index(row) for row in support + query]
                assert place == sorted(set(place))


def test_few_shot_sizes_hold_for_a_whole_batch_and_all_come_up(log):
    ids, _, index = log
    count = {item: int((ids[index] == item).sum()) for item in set(ids[index].tolist())}
    episodes, met = few_shot(log), set()
    for seed in range(20):
        for episode in episodes.epoch(torch.Generator().manual_seed(seed), 0):
            size = episode.support_mask_tk.shape[1]
            met.add(size)
            assert episode.query_mask_tk.shape[1] == 3
            for item, (support, query) in parts_of(episode).items():
                if count[item] >= size + 3:
                    assert (len(support), len(query)) == (size, 3)
    assert met == {2, 4, 6}


def test_few_shot_items_with_few_rows_give_what_they_have(log):
    """Item 3 has three rows: with 6 + 3 asked for, two are support and one is query."""
    episodes = few_shot(log, sizes=(6,))
    for episode in episodes.epoch(torch.Generator().manual_seed(0), 0):
        for item, (support, query) in parts_of(episode).items():
            assert support and query
            if item == 3:
                assert (len(support), len(query)) == (2, 1)
    ids, _, index = log
    counts = np.bincount(ids[index])
    assert episodes.short == int(((counts > 1) & (counts < 9)).sum()) > 0
    # An item of one row is no task; a batch larger than the number of tasks has them all.
    alone = few_shot((ids, log[1], np.r_[index[ids[index] != 3], 197]), tasks=100)
    (episode,) = alone.epoch(torch.Generator().manual_seed(0), 0)
    assert 3 not in episode.ids_t.tolist() and len(alone) == 1
    assert len(episode.ids_t) == len(set(ids[index].tolist())) - 1


def test_few_shot_subsets_are_drawn_evenly(log):
    """All rows of an item are used, each about equally often."""
    ids, _, index = log
    counts = dict.fromkeys(index[ids[index] == 1].tolist(), 0)
    episodes = few_shot(log, sizes=(2,))
    n_seeds = 600
    for seed in range(n_seeds):
        for episode in episodes.epoch(torch.Generator().manual_seed(seed), 0):
            support, query = parts_of(episode).get(1, ([], []))
            for row in support + query:
                counts[row] += 1
    expected = n_seeds * 5 / len(counts)
    assert max(abs(n - expected) for n in counts.values()) < 5 * expected**0.5


def test_few_shot_late_start_gives_the_same_tail(log):
    episodes = few_shot(log, tasks=3)

    def drawn(seed, epoch, start=0):
        generator = torch.Generator().manual_seed(seed)
        return [parts_of(e) for e in episodes.epoch(generator, epoch, start)]

    assert drawn(1, 0) == drawn(1, 0)
    assert drawn(1, 0) != drawn(2, 0)
    assert drawn(1, 0, start=2) == drawn(1, 0)[2:]
    _, quarters = capped(log, 2, 2)
    tails = [
        [e.support.tolist() for e in quarters.epoch(torch.Generator().manual_seed(5), 0, start)]
        for start in (0, 1)
    ]
    assert tails[0][1:] == tails[1]
