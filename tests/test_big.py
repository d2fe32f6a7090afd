"""Generated data sets: official forms, the shapes that were counted on the real files, and a truth
that can be found again."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import rankdata

from recbole_cold.cli.main import main as command
from recbole_cold.converters import known_converters
from recbole_cold.errors import UserError
from recbole_cold.testing.big import LOGS, _draws, avazu, cikm2019, generate, make, taobao_ad
from recbole_cold.testing.big.__main__ import main
from recbole_cold.testing.big._log import WIDTH, Side, factors
from recbole_cold.testing.big._time import Clock, Hours, births

SMALL = {
    "taobao-ad": {"scale": 0.002},
    "cikm2019": {"scale": 0.001},
    "avazu": {"rows": 40_000, "users": 9_000, "items": 150},
}
PROFILE = (
    "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,"
    "occupation,new_user_class_level "
)
each_set = pytest.mark.parametrize("name", LOGS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """``made(name)``: the folder of a small data set, its manifest, its frames as text, and the
    true chances."""
    known, out = {}, tmp_path_factory.mktemp("out")

    def get(name):
        if name not in known:
            folder, manifest = generate(name, out, seed=3, **SMALL[name])
            form = {"header": 0 if LOGS[name].header else None}
            frames = {
                path.stem: pd.read_csv(path, dtype=str, keep_default_na=False, **form)
                for path in folder.glob("*.csv")
            }
            truth = np.load(folder / "SYNTHETIC.true_p.npy")
            known[name] = SimpleNamespace(
                folder=folder, manifest=manifest, truth=truth, **frames, click=clicks(name, frames)
            )
        return known[name]

    return get


def clicks(name, frames):
    """Whether each row is a click, by the rule of the data set."""
    if name == "cikm2019":
        return (frames["user_behavior"][2] == "buy").to_numpy()
    frame = frames["raw_sample" if name == "taobao-ad" else "train"]
    return (frame["clk" if name == "taobao-ad" else "click"] == "1").to_numpy()


def area(score, click):
    """The area under the ROC curve, by ranks."""
    ranks = rankdata(score)[click]
    n = len(ranks)
    return (ranks.sum() - n * (n + 1) / 2) / (n * (len(click) - n))


# ------------------------------------------------------------------------------- draws
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000, 1025])
def test_permuted_is_a_permutation(size):
    found = _draws.permuted(7, np.arange(size), size)
    assert sorted(found) == list(range(size))
    other = _draws.permuted(8, np.arange(size), size)
    assert size < 64 or (np.mean(found == np.arange(size)) < 0.05 and np.mean(found == other) < 0.1)


def test_permutations_side_by_side():
    """One of each size: the numbers of a size only change places with each other."""
    sizes = np.repeat([1, 3, 40, 700], [1, 3, 40, 700])
    index = np.concatenate([np.arange(size) for size in (1, 3, 40, 700)])
    found = _draws.permuted(5, index, sizes)
    for size in (1, 3, 40, 700):
        assert sorted(found[sizes == size]) == list(range(size))


def test_uniform_draws_are_even_and_of_their_key():
    draws = _draws.uniform(1, np.arange(100_000))
    assert np.abs(np.histogram(draws, 20, (0, 1))[0] / 5000 - 1).max() < 0.06
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.015
    assert abs(np.corrcoef(draws, _draws.uniform(2, np.arange(100_000)))[0, 1]) < 0.015


def test_lognormal_counts_keep_sum_and_spread():
    counts = _draws.lognormal_counts(3000, 300_000, 1.2, np.random.default_rng(1))
    assert counts.sum() == 300_000 and counts.min() >= 1
    assert np.log(counts).std() == pytest.approx(1.2, rel=0.03)
    assert (np.diff(counts) < 0).any() and (np.diff(counts) > 0).any()  # in no order


@pytest.mark.parametrize(
    ("n", "total", "sigma"), [(5, 5, 2.0), (5, 6, 2.0), (1, 9, 2.0), (7, 1000, 2.0), (5, 7, 0.0)]
)
def test_counts_at_the_edges(n, total, sigma):
    """Without a spread all counts would be rounded up at once, or none."""
    counts = _draws.lognormal_counts(n, total, sigma, np.random.default_rng(1))
    assert counts.sum() == total and counts.min() >= 1 and len(counts) == n


def test_too_small_a_total_is_said():
    with pytest.raises(UserError, match=r"^4 cannot be divided among 5 ads with at least 1 each"):
        _draws.lognormal_counts(5, 4, 2.0, np.random.default_rng(1), "ads")


def test_ads_have_the_rows_that_were_counted_on_the_real_file():
    """The real file: 3.59 million rows in ads with more than 2,000, and 541 ads with 1,500 to
    2,000; within 15 %. The largest has about 70,000."""
    full = taobao_ad.TaobaoAd.full
    counts = _draws.lognormal_counts(
        full.items, full.rows, full.sigma_items, np.random.default_rng(1)
    )
    assert counts.sum() == 26_557_961
    assert counts[counts > 2000].sum() == pytest.approx(3_592_047, rel=0.15)
    assert ((counts >= 1500) & (counts <= 2000)).sum() == pytest.approx(541, rel=0.15)
    assert counts.max() == pytest.approx(70_000, rel=0.15)


def test_portions_are_shares_and_leave_nobody_out():
    assert list(_draws.portions(10, [0.5, 0.3, 0.2])) == [5, 3, 2]
    assert list(_draws.portions(10, [0.96, 0.02, 0.02])) == [8, 1, 1]
    assert _draws.portions(2, [0.5, 0.3, 0.2]).sum() == 2


def test_cumulative_shares_go_through_the_heads():
    shares = _draws.cumulative(500, {1: 0.3, 10: 0.7, 50: 0.9})
    assert shares[[0, 9, 49, 499]] == pytest.approx([0.3, 0.7, 0.9, 1.0])
    own = np.diff(shares, prepend=0.0)
    assert (own > 0).all() and (np.diff(own[1:9]) < 0).all()
    assert _draws.cumulative(20, {1: 0.3, 10: 0.7, 50: 0.9})[-1] == 1


def test_values_by_weight_have_their_share_and_all_occur():
    weights = np.random.default_rng(2).lognormal(sigma=1, size=4000)
    shares = _draws.cumulative(300, {1: 0.2, 10: 0.6})
    value = _draws.by_weight(weights, shares, np.random.default_rng(3))
    assert set(value) == set(range(300))
    found = np.bincount(value, weights) / weights.sum()
    assert found[0] == pytest.approx(0.2, abs=0.01)
    assert found[:10].sum() == pytest.approx(0.6, abs=0.02)


# ------------------------------------------------------------------------------- time
def test_the_clock_follows_the_hours_and_nothing_comes_before_its_birth():
    rng = np.random.default_rng(4)
    counts = _draws.lognormal_counts(800, 200_000, 1.5, rng)
    birth = births(800, rng)
    hours = Hours(np.array([0.0, 50, 100, 150, 200]), np.array([1.0, 3, 2, 4]))
    clock = Clock(birth, counts, hours)
    items = np.repeat(np.arange(800), counts)
    seconds = clock.seconds(items, rng.random(200_000))
    assert np.bincount(seconds // 50) / 200_000 == pytest.approx([0.1, 0.3, 0.2, 0.4], abs=0.004)
    assert (seconds >= np.floor(clock.born()[items])).all()
    # By its definition: of the items that are born by then, the share of the time since birth.
    expected = clock.shares()[:, 0]
    early = (birth < 0.05) & (counts > 300)
    found = np.bincount(items, seconds < 50) / counts
    assert np.abs(found - expected)[early].max() < 0.1 and expected[birth > 0.6].max() == 0
    assert clock.shares().sum(axis=1) == pytest.approx(1)


@each_set
def test_items_are_born_over_the_whole_period(name, made):
    """Frequent items are seen early after their birth: in every eighth of the time some are new."""
    data = made(name)
    if name == "taobao-ad":
        item, time = data.raw_sample["adgroup_id"], data.raw_sample["time_stamp"].astype(int)
    elif name == "cikm2019":
        item, time = data.user_behavior[1], data.user_behavior[3].astype(int)
    else:
        item, time = data.train["C14"], pd.Series(pd.factorize(data.train["hour"])[0])
    seen = time.groupby(item).agg(["min", "size"])
    first = seen["min"][seen["size"] >= 30]
    eighth = (first - time.min()) * 8 // (time.max() - time.min() + 1)
    assert (eighth == 0).mean() == pytest.approx(0.55, abs=0.15)
    assert set(eighth) == set(range(8))


def test_rows_of_taobaos_days(made):
    """Days are those of UTC; the log begins at midnight in China."""
    seconds = made("taobao-ad").raw_sample["time_stamp"].astype(int)
    assert seconds.min() >= 1_493_942_400 + 16 * 3600
    assert seconds.max() < 1_493_942_400 + (8 * 24 + 16) * 3600
    found = np.bincount((seconds - 1_493_942_400) // 86_400) / len(seconds)
    assert found == pytest.approx(np.array(taobao_ad.ROWS_OF_DAYS) / 26_557_961, abs=0.006)
    local = seconds // 3600 % 24 + 8
    of_hour = np.bincount(local % 24)
    order = of_hour.argsort()
    assert set(order[-3:]) == {20, 21, 22} and set(order[:4]) == {3, 4, 5, 6}


# ------------------------------------------------------------------------------- forms
def test_forms_of_taobaos_files(made):
    data = made("taobao-ad")
    header = (data.folder / "user_profile.csv").read_text().partition("\n")[0]
    assert header == PROFILE  # a blank at its end
    assert ",".join(data.raw_sample) == "user,time_stamp,adgroup_id,pid,nonclk,clk"
    assert ",".join(data.ad_feature) == "adgroup_id,cate_id,campaign_id,customer,brand,price"
    assert (data.raw_sample["nonclk"] != data.raw_sample["clk"]).all()
    assert set(data.raw_sample["pid"]) == {"430548_1007", "430539_1007"}
    assert (data.raw_sample["adgroup_id"].astype(int).diff().dropna() >= 0).all()
    assert data.ad_feature["price"].str.fullmatch(r"\d+\.\d{1,2}").all()
    owner = data.ad_feature.groupby("campaign_id")["customer"].nunique()
    assert set(owner) == {1}
    profile = data.user_profile
    assert (profile == "").any().pipe(lambda found: list(found.index[found])) == [
        "pvalue_level", "new_user_class_level "
    ]  # fmt: skip
    assert profile["cms_group_id"].nunique() == 13 and profile["cms_segid"].nunique() == 97
    assert (profile["final_gender_code"] == "2").mean() == pytest.approx(0.644, abs=0.001)
    assert profile.groupby("cms_group_id")["age_level"].nunique().max() == 1


def test_missing_values_of_taobao(made):
    data = made("taobao-ad")
    missing = {
        "brand": (data.ad_feature["brand"] == "NULL").mean(),
        "profile": 1 - len(data.user_profile) / data.raw_sample["user"].nunique(),
        "pvalue": (data.user_profile["pvalue_level"] == "").mean(),
        "city": (data.user_profile["new_user_class_level "] == "").mean(),
    }
    known = {"brand": 0.2909, "profile": 0.0700, "pvalue": 0.5424, "city": 0.3249}
    assert missing == pytest.approx(known, abs=0.005)
    assert set(data.user_profile["userid"]) < set(data.raw_sample["user"])


def test_numbers_of_taobao(made):
    data, ads = made("taobao-ad"), 1694
    assert data.raw_sample["user"].nunique() == round(0.002 * 1_141_729)
    assert data.raw_sample["adgroup_id"].nunique() == len(data.ad_feature) == ads
    full = {"cate_id": 6_769, "campaign_id": 423_436, "customer": 255_875, "brand": 99_814}
    every = data.ad_feature.nunique() - [0, 0, 0, 0, 1, 0]  # NULL is no brand
    for name, number in full.items():
        assert every[name] == round(number * ads / 846_811), name


def test_forms_of_cikms_files(made):
    data = made("cikm2019")
    assert [data.user.shape[1], data.item.shape[1], data.user_behavior.shape[1]] == [4, 4, 4]
    assert len(data.user) == data.user_behavior[0].nunique() == 1050
    assert len(data.item) == data.user_behavior[1].nunique() == 3934
    every = [data.item[n].nunique() for n in (1, 2, 3)]
    assert every == [round(n * 3934 / 3_934_201) for n in (12_000, 900_000, 250_000)]
    shares = data.user_behavior[2].value_counts(normalize=True)
    wanted = {"pv": 0.935, "cart": 0.033, "fav": 0.017, "buy": 0.015}
    assert dict(shares) == pytest.approx(wanted, abs=0.003)
    seconds = data.user_behavior[3].astype(int)
    assert 0 <= seconds.min() < 3600 and 15 * 86_400 < seconds.max() < 16 * 86_400
    years = data.user[2].astype(int)
    assert years.min() >= 10 and years.max() <= 80
    assert set(data.user[1]) == {"0", "1", "2"} and data.user[3].nunique() == 9


def test_forms_of_avazus_file(made):
    data = made("avazu").train
    assert list(data) == avazu.Avazu.header.strip().split(",") and len(data.columns) == 24
    assert data["id"].is_unique and (data["id"].str.len() == 20).mean() > 0.4  # 64 bits
    assert data["hour"].is_monotonic_increasing and data["hour"].nunique() == 240
    assert data["hour"].iloc[[0, -1]].tolist() == ["14102100", "14103023"]
    for column in [*avazu.NO_SITE, *avazu.NO_APP, "device_id", "device_ip", "device_model"]:
        assert data[column].str.fullmatch("[0-9a-f]{8}").all(), column
    assert data["device_ip"].nunique() == 9000 and data["C14"].nunique() == 150
    assert data["device_id"].nunique() == 1 + round(9000 * 2_686_407 / 6_729_486)
    of_item = data.groupby("C14")[["C15", "C16", "C17", "C18", "C19", "C21"]].nunique()
    assert (of_item == 1).all(axis=None)
    inside = data["C14"][data["hour"] == "14102512"]
    assert (inside == inside.shift()).mean() < 0.2  # in random order


def test_shares_of_avazu_are_those_of_the_real_sample(made):
    data = made("avazu")
    frame = data.train
    is_app = frame["site_id"] == "85f751fd"
    assert (is_app == (frame["app_id"] != "ecad2386")).all()
    for column in ("site_id", "site_domain", "app_id", "app_domain", "device_model", "C20"):
        top = frame[column].value_counts(normalize=True).cumsum()
        for rank, share in avazu.VALUES[column][1].items():
            assert top.iloc[rank - 1] == pytest.approx(share, abs=0.03), (column, rank)
    assert (frame["device_id"] == "a99f214a").mean() == pytest.approx(0.8247, abs=0.0001)
    assert (frame["C20"] == "-1").mean() == pytest.approx(0.465, abs=0.01)
    assert (frame["C15"] + "x" + frame["C16"] == "320x50").mean() == pytest.approx(0.93, abs=0.03)
    assert (frame["C1"] == "1005").mean() == pytest.approx(0.919, abs=0.01)
    last = (frame["hour"].str[:6] == "141030").mean()
    assert last == pytest.approx(4_218_938 / 40_428_967, abs=0.005)
    # The difference of the logits is that of the real clicks; what else is in them pulls both a
    # little together.
    assert data.truth[is_app].mean() == pytest.approx(0.118, abs=0.015)
    assert data.truth[~is_app].mean() == pytest.approx(0.200, abs=0.015)


def test_different_codes_are_different_names():
    log = make("avazu", rows=2000, users=500, items=20)
    numbers = log._numbers("device_id", np.arange(300_000), avazu.NULL_DEVICE)
    assert len(np.unique(numbers)) == 300_000 and numbers[0] == avazu.NULL_DEVICE


# ------------------------------------------------------------------------------- the truth
@each_set
def test_clicks_come_of_the_true_chances(name, made):
    """The mean chance is the wanted share of clicks; in each tenth of the rows by chance, clicks
    are as many as the chances say, within four standard deviations."""
    data = made(name)
    p, click = data.truth.astype(float), data.click
    assert p.mean() == pytest.approx(LOGS[name].full.ctr, rel=0.01)
    assert data.manifest["clicks"] == click.sum() and data.manifest["rows"] == len(p)
    for part in np.array_split(np.argsort(p), 10):
        spread = np.sqrt((p[part] * (1 - p[part])).sum())
        assert abs(click[part].sum() - p[part].sum()) < 4 * spread


@each_set
def test_the_scores_of_the_truth_are_in_the_manifest(name, made):
    data = made(name)
    p = data.truth.astype(float)
    assert data.manifest["bayes_auc"] == pytest.approx(area(p, data.click), abs=1e-4)
    loss = -np.log(np.where(data.click, p, 1 - p)).mean()
    assert data.manifest["bayes_logloss"] == pytest.approx(loss, abs=2e-5)


@pytest.fixture(scope="module")
def rows():
    """``rows(name)``: a log, its rows drawn, and their clicks."""

    def get(name):
        log = make(name, seed=3, **SMALL[name])
        numbers = np.arange(log.shape.rows)
        drawn = log.draw(numbers)
        return log, drawn, log.clicks(numbers, log.chances(drawn))

    return get


@each_set
def test_items_alone_do_not_tell_all(name, rows):
    """The true chances are better than the mean chance of the item, and that than nothing."""
    log, drawn, click = rows(name)
    p = log.chances(drawn)
    mean = np.bincount(drawn.item, p) / np.bincount(drawn.item)
    assert area(p, click) > area(mean[drawn.item], click) + 0.03
    assert area(mean[drawn.item], click) > 0.55


@each_set
def test_features_tell_what_they_should_of_an_item(name):
    """With all of the variance from features, vectors are a function of them; with ``side`` of it,
    they are sqrt(side) times that, and something of their own: the covariance has a closed form."""
    all_of_it, most, none = (
        make(name, seed=3, side=side, **SMALL[name]).item_factors for side in (1.0, 0.6, 0.0)
    )
    n = len(most)
    spread = 4 / np.sqrt(n)
    for column in range(WIDTH + 1):
        assert most[:, column].std() == pytest.approx(1, abs=spread)
        assert np.mean(all_of_it[:, column] * most[:, column]) == pytest.approx(
            np.sqrt(0.6), abs=spread
        )
        assert abs(np.mean(all_of_it[:, column] * none[:, column])) < spread


def test_items_of_equal_features_are_equal_up_to_their_own_part():
    codes = np.arange(4000) % 10
    side = {"kind": Side(codes, 1.0)}
    whole = factors(4000, side, 1.0, seed=5)
    assert np.abs(whole - whole[codes]).max() < 1e-5
    most = factors(4000, side, 0.6, seed=5)
    means = np.stack([most[codes == kind].mean(axis=0) for kind in range(10)])
    assert ((most - means[codes]) ** 2).mean() == pytest.approx(0.4, abs=0.02)


@each_set
def test_a_method_that_reads_features_has_something_to_find(name, rows):
    """Scores that know an item's features alone, the best for an item without a row, are better
    than scores without the item, and worse than the truth."""
    log, drawn, _ = rows(name)
    truth = log.logit(drawn)
    known = make(name, seed=3, side=1.0, **SMALL[name]).item_factors
    log.item_factors = np.float32(np.sqrt(log.shape.side)) * known
    features = log.logit(drawn)
    log.item_factors = np.zeros_like(known)
    nothing = log.logit(drawn)

    def expected_area(score):
        """With each row as much of a click as its true chance says."""
        p = expit(truth)[np.argsort(score)]
        return (p * (np.cumsum(1 - p) - (1 - p) / 2)).sum() / (p.sum() * (1 - p).sum())

    areas = [expected_area(score) for score in (nothing, features, truth)]
    assert areas[0] + 0.02 < areas[1] < areas[2] - 0.01


def test_clicked_ads_and_users_are_as_many_as_in_the_real_file():
    """Before the last day the real file has 227,800 ads and 457,554 users with a click; a hundredth
    of the rows, ads and users has a hundredth of these, within 15 %."""
    log = make("taobao-ad", scale=0.01, seed=3)
    numbers = np.arange(log.shape.rows)
    drawn = log.draw(numbers)
    clicked = log.clicks(numbers, log.chances(drawn))
    clicked &= drawn.columns["time_stamp"] < 1_494_633_600
    assert len(np.unique(drawn.item[clicked])) == pytest.approx(2278, rel=0.15)
    assert len(np.unique(drawn.user[clicked])) == pytest.approx(4576, rel=0.15)
    counts = log.item_counts
    assert (counts > 2000).any() and ((counts >= 1500) & (counts <= 2000)).any()


# ------------------------------------------------------------------------------- files
@each_set
def test_bytes_follow_from_the_seed_and_not_from_the_chunk(name, tmp_path):
    keys = {"rows": 3000, "users": 300, "items": 60}
    hashes = []
    for number, (seed, chunk) in enumerate([(1, 3000), (1, 777), (2, 3000)]):
        _, manifest = generate(name, tmp_path / str(number), seed=seed, chunk=chunk, **keys)
        hashes.append({name: file["sha256"] for name, file in manifest["files"].items()})
    assert hashes[0] == hashes[1]
    assert not set(hashes[0].values()) & set(hashes[2].values())


def test_the_manifest_says_what_it_is(made):
    data = made("taobao-ad")
    assert data.folder.name == "taobao-ad-SYNTHETIC"
    written = json.loads((data.folder / "MANIFEST.json").read_text())
    assert written == json.loads(json.dumps(data.manifest))
    assert "no row, user or item of it is real" in written["SYNTHETIC"]
    assert written["seed"] == 3 and written["shape"]["side"] == 0.7 and written["assumed"]
    assert {path.name for path in data.folder.iterdir()} == {*written["files"], "MANIFEST.json"}
    counts = Counter(data.raw_sample["adgroup_id"])
    split = written["split_of_the_papers"]
    assert (split["N"], split["K"]) == (2000, 500)
    assert split["old"] == sum(n > 2000 for n in counts.values())
    assert split["new"] == sum(1500 <= n <= 2000 for n in counts.values())


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cikm2019.Cikm2019, "cells", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate("cikm2019", tmp_path / "out", rows=500, users=50, items=50)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["taobao"], "NAME OUT"),
        (["taobao-da", "{out}"], "did you mean 'taobao-ad'?"),
        (["taobao-ad", "{out}", "--scale=0"], "--scale '0' is no number from 1e-06 to 4"),
        (["taobao-ad", "{out}", "--sede=1"], "--sede=1"),
        (["taobao-ad", "{out}", "--rows=10"], "10 cannot be divided among 846,811 ads"),
        (["cikm2019", "{out}", "--rows=9", "--items=9", "--users=10"], "among 10 users"),
        (["avazu", "{out}", "--sigma_items=1"], "--sigma_items has no meaning here"),
        (["avazu", "{out}", "--rows=100", "--users=50"], "too few for 2,626 C14"),
    ],
)
def test_mistakes_are_one_sentence(words, told, tmp_path, capsys):
    assert main([word.format(out=tmp_path / "out") for word in words]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ") and complaint.count("\n") == 1 and told in complaint
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_said_before(tmp_path, capsys, monkeypatch):
    full = SimpleNamespace(free=2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: full)
    keys = ["--users=200", "--items=60", "--rows=300000000"]
    monkeypatch.setattr(
        avazu.Avazu, "__init__", lambda log, shape, seed: setattr(log, "shape", shape)
    )
    assert main(["avazu", str(tmp_path / "out"), *keys]) == 2
    assert "need about 47.5 GiB" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_needs_neither_pytest_nor_recbole(tmp_path):
    """Whoever generates data has a bare installation, or a machine without the rest."""
    code = (
        "import sys; from recbole_cold.testing.big.__main__ import main; "
        f"done = main(['cikm2019', {str(tmp_path)!r}, '--rows=500', '--users=50', '--items=50']); "
        "sys.exit(done or len({'pytest', 'recbole', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("SYNTHETIC cikm2019 in ") and "500 rows" in done.stdout


# ------------------------------------------------------------------------------- converters
@each_set
def test_converters_read_them_row_by_row(name, made, tmp_path, capsys):
    """Under a name that says what they are; labels stand in the order of the true chances."""
    if name not in known_converters():
        pytest.skip(f"there is no converter of {name}")
    data, other = made(name), f"{name}-SYNTHETIC"
    words = ["convert", name, str(data.folder), f"--name={other}", f"--data_path={tmp_path}"]
    assert command(words) == 0
    assert f"--dataset={other}" in capsys.readouterr().out
    manifest = json.loads((tmp_path / other / "manifest.json").read_text())
    assert manifest["data_set"] == other and manifest["rows"]["inter"]["kept"] == len(data.truth)
    assert manifest["users"] == data.manifest[LOGS[name].user_name]
    assert manifest["items"] == data.manifest[LOGS[name].item_name]
    frame = pd.read_csv(tmp_path / other / f"{other}.inter", sep="\t", dtype=str)
    assert (frame["label:float"].astype(float) == data.click).all()


def test_a_name_that_is_no_name(made, tmp_path, capsys):
    words = ["convert", "avazu", str(made("avazu").folder), f"--data_path={tmp_path}"]
    assert command([*words, "--name=a/b"]) == 2
    assert "--name 'a/b' names no data set" in capsys.readouterr().err
