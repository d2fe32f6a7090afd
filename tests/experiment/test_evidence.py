"""Row scores as files and frames, and intervals against resamples that are written out."""

import hashlib
import io
import json
import logging
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

import recbole_cold
from recbole_cold import report, seeding
from recbole_cold.cli.main import main
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.evaluation.bootstrap import cluster_weights
from recbole_cold.experiment import scores as scores_module
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.intervals import Settings, intervals
from recbole_cold.experiment.requests import Request
from recbole_cold.experiment.scores import DamagedScores, RowScores, ScoredRows, in_folder
from recbole_cold.training.callbacks import Callback

SEEDS = (4, 5)
SETTINGS = Settings(30, 4)


# ------------------------------------------------------------------------- made-up scores
def a_table(number, rows=150, items=12, users=20, levels=None, order=None):
    """Scores of one phase: labels, items and users the same for all, scores by ``number``."""
    shared, own = np.random.default_rng(1), np.random.default_rng(100 + number)
    item, user = (items * shared.random(rows) ** 2).astype(int), shared.integers(0, users, rows)
    label = (shared.random(rows) < 0.2 + 0.6 * item / items).astype(np.uint8)
    label[item == items - 1] = 1  # one item has clicks alone
    score = np.clip(0.5 * own.random(rows) + 0.3 * label + 0.1 * (item % 2), 0.01, 0.99)
    score = (score if levels is None else np.ceil(score * levels) / (levels + 1)).astype("f4")
    order = np.arange(rows) if order is None else order
    part = ScoredRows(np.arange(rows)[order], label[order], item[order], user[order])
    texts = [
        np.array([f"{side}{k:02}" for k in range(n)]) for side, n in (("i", items), ("u", users))
    ]
    return RowScores({"cold": score[order]}, {"cold": "test"}, {"test": part}, *texts)


def a_document(rows, seeds=SEEDS, **changes):
    runs = [
        {"label": row, "model": row, "variant": {}, "matched_steps": None, "config": {},
         "seeds": [{"seed": seed} for seed in seeds]}
        for row in rows
    ]  # fmt: skip
    return {"phases": ["cold"], "metrics": ["AUC"], "runs": runs, **changes}


def found_in(table):
    return lambda row, seed: table[row, seed["seed"]]


def tables(**options):
    """(row, seed) -> scores of Base, ItemBias and CVAR."""
    places = [(row, seed) for row in ("Base", "ItemBias", "CVAR") for seed in SEEDS]
    return {place: a_table(number, **options) for number, place in enumerate(places)}


def records_of(table, settings=SETTINGS, seeds=SEEDS, rows=("Base", "ItemBias", "CVAR")):
    found = intervals({"FM": a_document(rows, seeds)}, found_in(table), settings)
    assert not found.missing
    return {(r["row"], r["against"], r["metric"], r["by"]): r for r in found.records}


def naive(scores, metric, side, times):
    """A metric of rows repeated as often as their item or user is drawn; copies are ids apart."""
    rows = scores.rows["test"]
    code = rows.item if side == "item" else rows.user
    written = np.concatenate(
        [np.flatnonzero(code == k) for k, n in enumerate(times) for _ in range(n)]
    )
    label, score = rows.label[written], scores.scores["cold"][written].astype(float)
    if metric == "AUC":
        return roc_auc_score(label, score)
    if metric == "LogLoss":
        return log_loss(label, score)
    parts = [
        np.flatnonzero(code == k) for k, n in enumerate(times) for _ in range(n) if n
    ]  # WithinAUC, item by item
    used = [part for part in parts if 0 < rows.label[part].sum() < len(part)]
    each = [kernel(rows.label[part], scores.scores["cold"][part]) for part in used]
    return np.average(each, weights=[len(part) for part in used])


def kernel(label, score):
    """AUC by all pairs."""
    click, other = score[label == 1][:, None], score[label == 0][None]
    return ((click > other) + 0.5 * (click == other)).mean()


def is_same(one, other):
    numbers = ("difference", "low", "high", "error")
    assert {k: v for k, v in one.items() if k not in numbers} == {
        k: v for k, v in other.items() if k not in numbers
    }
    for name in numbers:
        assert one[name] == pytest.approx(other[name], rel=1e-9, abs=1e-12)


class TestIntervals:
    @pytest.mark.parametrize("seeds", [SEEDS[:1], SEEDS])
    @pytest.mark.parametrize(
        ("metric", "side"),
        [("AUC", "item"), ("AUC", "user"), ("WithinAUC", "item"), ("LogLoss", "item"),
         ("LogLoss", "user")],
    )  # fmt: skip
    def test_equal_resamples_written_out(self, metric, side, seeds):
        table = tables(levels=9)
        record = records_of(table, seeds=seeds)["CVAR", "Base", metric, side]
        k = 12 if side == "item" else 20
        drawn = cluster_weights(k, 30, seeding.derive(4, "bootstrap", side))
        gaps = np.array([
            [naive(table["CVAR", seed], metric, side, times)
             - naive(table["Base", seed], metric, side, times)
             for times in [np.ones(k, int), *drawn]]
            for seed in seeds
        ])  # fmt: skip
        means = gaps[:, 1:].mean(axis=0)
        if len(seeds) > 1:
            rng = np.random.default_rng(seeding.derive(4, "bootstrap", "seeds"))
            chosen = rng.integers(0, 2, (2, 30))
            means = (gaps[chosen[0], np.arange(1, 31)] + gaps[chosen[1], np.arange(1, 31)]) / 2
        assert record["difference"] == pytest.approx(gaps[:, 0].mean(), abs=1e-7)
        bounds = np.percentile(means, [2.5, 97.5])
        assert [record["low"], record["high"]] == pytest.approx(bounds.tolist(), abs=1e-7)
        assert record["error"] == pytest.approx(means.std(ddof=1), abs=1e-7)
        assert (record["seeds"], record["nested"]) == (len(seeds), len(seeds) > 1)
        assert (record["backbone"], record["resamples"]) == ("FM", 30)

    def test_every_row_against_every_reference_row(self):
        pairs = {key[:2] for key in records_of(tables())}
        assert pairs == {("ItemBias", "Base"), ("CVAR", "Base"), ("Base", "ItemBias"),
                         ("CVAR", "ItemBias")}  # fmt: skip

    def test_both_directions_mirror_each_other(self):
        found = records_of(tables())
        one, other = (found[(*pair, "AUC", "item")] for pair in
                      (("Base", "ItemBias"), ("ItemBias", "Base")))  # fmt: skip
        assert one["difference"] == -other["difference"]
        assert [one["low"], one["high"]] == pytest.approx([-other["high"], -other["low"]])

    def test_order_of_rows_does_not_matter(self):
        order = np.random.default_rng(0).permutation(150)
        one, other = records_of(tables()), records_of(tables(order=order))
        for key, record in one.items():
            is_same(other[key], record)

    def test_ids_are_known_by_their_tokens(self):
        """Another seed's file may number items otherwise; resamples are of the same items."""
        table = tables()
        for row in ("Base", "ItemBias", "CVAR"):
            old, place = table[row, 5], np.random.default_rng(3).permutation(12)
            rows = old.rows["test"]
            table[row, 5] = replace(
                old,
                items=old.items[place],
                rows={"test": rows._replace(item=np.argsort(place)[rows.item])},
            )
        found = records_of(table)
        for key, record in records_of(tables()).items():
            is_same(found[key], record)

    def test_other_rows_are_not_compared(self):
        table = tables()
        for seed in SEEDS:
            rows = table["CVAR", seed].rows["test"]
            other = {"test": rows._replace(number=rows.number + 1)}
            table["CVAR", seed] = replace(table["CVAR", seed], rows=other)
        assert {key[:2] for key in records_of(table)} == {("Base", "ItemBias"),
                                                          ("ItemBias", "Base")}  # fmt: skip

    def test_a_seed_without_scores_is_left_out_and_named(self):
        table = tables()

        def find(row, seed):
            if (row, seed["seed"]) == ("CVAR", 5):
                raise DamagedScores("it is gone")
            return table[row, seed["seed"]]

        found = intervals({"FM": a_document(["Base", "ItemBias", "CVAR"])}, find, SETTINGS)
        assert found.missing == ["no intervals for CVAR on FM (seeds 5): it is gone"]
        seeds = {(r["row"], r["against"]): (r["seeds"], r["nested"]) for r in found.records}
        assert seeds["CVAR", "Base"] == (1, False) and seeds["ItemBias", "Base"] == (2, True)

    def test_logits_have_no_log_loss(self):
        table = {place: replace(each, scores={"cold": 3 * each.scores["cold"]})
                 for place, each in tables().items()}  # fmt: skip
        assert {key[2] for key in records_of(table)} == {"AUC", "WithinAUC"}

    def test_nothing_is_asked_for_or_there_is_one_row(self):
        def find(row, seed):
            raise AssertionError("read")

        assert intervals({"FM": a_document(["Base", "CVAR"])}, find, Settings(0, 4)) == ([], [])
        assert intervals({"FM": a_document(["Base"])}, find, SETTINGS) == ([], [])

    def test_resamples_may_come_in_blocks(self, monkeypatch):
        """With a million users all weights at once would fill the memory."""
        whole = records_of(tables())
        monkeypatch.setattr("recbole_cold.experiment.intervals._MOST_WEIGHTS", 7 * 20)
        blocks = records_of(tables())
        assert whole.keys() == blocks.keys()
        for key, record in whole.items():
            is_same(blocks[key], record)

    def test_scores_of_phases_are_their_own(self):
        """Two phases of the same rows, and only in the second does a method differ."""
        table = {}
        for (row, seed), each in tables().items():
            plain = a_table(0).scores["cold"]
            scores = {"cold": plain, "warm_a": each.scores["cold"] if row == "CVAR" else plain}
            table[row, seed] = replace(each, scores=scores, parts=dict.fromkeys(scores, "test"))
        document = {**a_document(["Base", "CVAR"]), "phases": ["cold", "warm_a"]}
        found = intervals({"FM": document}, found_in(table), SETTINGS).records
        wide = {(r["phase"], r["by"]): r["error"] > 0 for r in found if r["metric"] == "AUC"}
        assert wide == {("cold", "item"): False, ("cold", "user"): False,
                        ("warm_a", "item"): True, ("warm_a", "user"): True}  # fmt: skip

    def test_new_users_have_their_own_auc(self):
        table = {place: replace(each, cold_side="user") for place, each in tables().items()}
        sides = {key[3] for key in records_of(table) if key[2] == "WithinAUC"}
        assert sides == {"user"}

    def test_stops_when_asked(self):
        with pytest.raises(Interrupted):
            intervals({"FM": a_document(["Base", "CVAR"])}, found_in(tables()), SETTINGS,
                      lambda: True)  # fmt: skip

    def test_delong_stands_beside(self):
        from recbole_cold.evaluation.bootstrap import delong

        table = tables()
        found = records_of(table, SETTINGS._replace(delong=True))
        record = found["CVAR", "Base", "AUC", "delong"]
        label = table["CVAR", 4].rows["test"].label
        each = [delong(table["CVAR", s].scores["cold"], table["Base", s].scores["cold"], label)
                for s in SEEDS]  # fmt: skip
        assert record["error"] == pytest.approx(np.mean([one.error for one in each]))
        assert record["difference"] == pytest.approx(found["CVAR", "Base", "AUC", "item"]
                                                     ["difference"])  # fmt: skip
        assert not any(key[3] == "delong" for key in records_of(table))


class TestFile:
    def test_what_was_written_is_read(self):
        made = a_table(0)
        back = RowScores.read(made.content())
        assert back.content() == made.content()
        assert (back.scores["cold"] == made.scores["cold"]).all()
        assert back.scores["cold"].dtype == np.float32 and back.digests == made.digests

    def test_a_file_of_version_1_is_read(self):
        """It had tokens as texts of one width; they are the same rows, and are compared."""
        made = a_table(0)
        with np.load(io.BytesIO(made.content())) as stored:
            arrays = {name: stored[name] for name in stored.files}
        for name in ("items.letters", "items.lengths", "users.letters", "users.lengths"):
            del arrays[name]
        about = {**json.loads(str(arrays["about"])), "version": 1}
        arrays |= {"about": np.array(json.dumps(about)), "items": np.asarray(made.items),
                   "users": np.asarray(made.users)}  # fmt: skip
        assert arrays["items"].dtype.kind == "U"
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        back = RowScores.read(file.getvalue())
        assert back.digests == made.digests and back.content() == made.content()

    def test_digests_are_those_of_whole_columns(self, monkeypatch):
        """Stored documents and files of earlier versions have them."""
        monkeypatch.setattr(scores_module, "_CHUNK", 64)
        made = a_table(0)
        rows = made.rows["test"]
        said = [rows.number.astype("<i8").tobytes(), rows.label.tobytes(),
                "\0".join(f"i{k:02}" for k in rows.item).encode(),
                "\0".join(f"u{k:02}" for k in rows.user).encode()]  # fmt: skip
        assert made.digests["cold"] == hashlib.sha256(b"".join(said)).hexdigest()

    @pytest.mark.parametrize("texts", [["", "é", "日本", "x" * 30], [""], []], ids=str)
    def test_any_tokens_come_back(self, texts):
        made = replace(a_table(0), scores={}, parts={}, rows={}, items=texts, users=texts[::-1])
        back = RowScores.read(made.content())
        assert back.items.tolist() == texts and back.users.tolist() == texts[::-1]
        assert back.content() == made.content()

    def test_one_long_token_costs_its_own_length(self):
        n = 20_000
        users = np.array(["x" * 5_000, *map(str, range(n - 1))], dtype=object)
        rows = ScoredRows(np.arange(n), np.zeros(n, "u1"), np.zeros(n, int), np.arange(n))
        tracemalloc.start()
        made = RowScores({"cold": np.zeros(n, "f4")}, {"cold": "test"}, {"test": rows},
                         np.array(["i"]), users)  # fmt: skip
        back = RowScores.read(made.content())
        assert back.digests == made.digests
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000  # as one array of numpy 400 MB

    @pytest.mark.parametrize("harm", ["letters", "lengths", "code"])
    def test_tokens_that_do_not_fit_are_told(self, harm):
        made = a_table(0)
        with np.load(io.BytesIO(made.content())) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if harm == "code":
            arrays["item.test"] = arrays["item.test"] + len(made.items)
        elif harm == "lengths":
            arrays["users.lengths"] = arrays["users.lengths"][1:]
        else:
            arrays["items.letters"] = np.full_like(arrays["items.letters"], 0xFF)  # no UTF-8
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        with pytest.raises(DamagedScores, match="is damaged"):
            RowScores.read(file.getvalue())

    def test_rows_differ_by_number_label_item_and_user(self):
        made, digests = a_table(0), set()
        rows = made.rows["test"]
        for name in (None, *ScoredRows._fields):
            other = rows if name is None else rows._replace(**{name: getattr(rows, name)[::-1]})
            digests.add(replace(made, rows={"test": other}).digests["cold"])
        assert len(digests) == 5

    @pytest.mark.parametrize(
        "spoil",
        [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no"],
        ids=["cut", "empty", "other"],
    )
    def test_damaged(self, spoil):
        with pytest.raises(DamagedScores, match="is damaged"):
            RowScores.read(spoil(a_table(0).content()))

    def test_not_of_these_results(self, tmp_path):
        (tmp_path / "a.npz").write_bytes(a_table(0).content())
        label = a_table(0).rows["test"].label
        seed = {"seed": 1, "scores": "a.npz",
                "phases": {"cold": {"rows": 150, "positives": int(label.sum())}}}  # fmt: skip
        assert in_folder(tmp_path)("Base", seed).items[0] == "i00"
        seed["phases"]["cold"]["positives"] -= 1
        with pytest.raises(DamagedScores, match="is not of these results"):
            in_folder(tmp_path)("Base", seed)


# ------------------------------------------------------------------------- runs
@pytest.fixture(scope="module")
def keys(tiny_path):
    return {
        "dataset": "tiny", "data_path": str(tiny_path.parent), "threshold": {"rating": 4},
        "cold_threshold": 30, "warm_size": 3, "train_batch_size": 64, "embedding_size": 4,
        "show_progress": False, "backbone": "FM", "matched_row": False,
    }  # fmt: skip


@pytest.fixture
def no_picture(monkeypatch):
    monkeypatch.setattr(report, "plot_curves", lambda *_, **__: None)


@pytest.fixture(scope="module")
def made(keys, tmp_path_factory):
    """A run of two methods on two seeds, with its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "plot_curves", lambda *_, **__: None)
        saved = tmp_path_factory.mktemp("saved")
        return recbole_cold.run("Base,ItemBias", seeds=2, saved_dir=saved, **keys)


class TestRuns:
    def test_scores_give_the_metrics(self, made):
        frame = recbole_cold.load_results(made.folder).scores()
        assert list(frame) == ["method", "backbone", "seed", "phase", "item", "user", "label",
                               "score"]  # fmt: skip
        assert set(frame["backbone"]) == {"FM"}
        for run in made.document["runs"]:
            for seed in run["seeds"]:
                for phase, scored in seed["phases"].items():
                    rows = frame[(frame["method"] == run["label"]) & (frame["phase"] == phase)
                                 & (frame["seed"] == seed["seed"])]  # fmt: skip
                    assert len(rows) == scored["rows"]
                    auc = roc_auc_score(rows["label"], rows["score"])
                    assert auc == pytest.approx(scored["metrics"]["AUC"], abs=1e-6)

    def test_items_and_users_are_the_data_sets(self, made, tiny_path):
        """Labels of the frame are those of the file's rows with these tokens."""
        data = pd.read_csv(tiny_path / "tiny.inter", sep="\t")
        data.columns = [name.partition(":")[0] for name in data]
        wanted = {(row.item_id, row.user_id): row.rating >= 4 for row in data.itertuples()}
        frame = made.scores()
        for row in frame[(frame["phase"] == "cold") & (frame["seed"] == 2020)].itertuples():
            assert wanted[row.item, row.user] == row.label

    def test_intervals_stand_in_the_document(self, made):
        records = made.document["intervals"]
        auc = {(r["phase"], r["by"]): r for r in records if (r["row"], r["metric"]) ==
               ("ItemBias", "AUC")}  # fmt: skip
        assert set(auc) == {(phase, by) for phase in made.document["phases"] for by in
                            ("item", "user")}  # fmt: skip
        means = {r.label: r.mean for r in report.summary(made.document, ["AUC"])
                 if r.phase == "warm_c"}  # fmt: skip
        found = auc["warm_c", "item"]
        expected = means["ItemBias"] - means["Base"]
        assert found["difference"] == pytest.approx(expected, abs=1e-6)
        assert found["low"] <= found["difference"] <= found["high"] and found["seeds"] == 2
        assert auc["cold", "item"]["error"] == 0  # ItemBias leaves the cold model alone
        assert recbole_cold.load_results(made.folder).document["intervals"] == records

    def test_a_resumed_run_keeps_the_same_scores(self, keys, tmp_path, no_picture):
        """Stopped between two phases: the first one's scores come out of the resume point."""
        folders = []
        for name in ("unbroken", "stopped"):
            folder = tmp_path / name
            folder.mkdir()
            overrides = {**keys, "saved_dir": str(tmp_path)}
            request = Request("MWUF", overrides.pop("dataset"), overrides.pop("backbone"), (),
                              overrides)  # fmt: skip
            stop = Scored()
            asked = {"stop": lambda stop=stop: stop.warm} if name == "stopped" else {}
            first = Experiment(request, folder, callbacks=[stop], **asked)
            if name == "stopped":
                with pytest.raises(Interrupted):
                    first.run()
                assert not list(folder.glob("*/scores*"))
                Experiment(request, folder).run()
            else:
                first.run()
            folders.append(folder)
        one, other = ([*folder.glob("MWUF/scores-seed-2020.npz")] for folder in folders)
        assert one[0].read_bytes() == other[0].read_bytes()
        assert set(RowScores.read(one[0].read_bytes()).scores) == {"cold", "warm_a", "warm_b",
                                                                   "warm_c"}  # fmt: skip

    def test_without_scores(self, keys, tmp_path, no_picture, caplog):
        with caplog.at_level(logging.INFO, "recbole_cold"):
            done = recbole_cold.run("Base,ItemBias", keep_scores=False, saved_dir=tmp_path, **keys)
        assert done.document["intervals"] == [] and not list(done.folder.glob("*/*.npz"))
        told = [line for line in caplog.messages if "no row scores were kept" in line]
        assert told == [
            "no intervals for Base on FM, ItemBias on FM (seeds 2020): no row scores were kept (an "
            "older version, or keep_scores: False)"
        ]
        with pytest.raises(UserError, match="Base, seed 2020: no row scores were kept"):
            done.scores()

    def test_without_a_folder(self, keys, made):
        done = recbole_cold.run("Base,ItemBias", seeds=2, saved_dir=None, **keys)
        assert done.document["intervals"] == made.document["intervals"]
        pd.testing.assert_frame_equal(done.scores(), made.scores())


class Scored(Callback):
    """Whether a warm phase began after the cold one was scored."""

    warm = False

    def phase_scored(self, phase, metrics):
        self.warm = True


class TestReferenceRows:
    def test_a_table_names_those_that_it_lacks(self, made):
        document = json.loads(json.dumps(made.document))
        alone = {**document, "runs": document["runs"][:1]}
        assert report.missing_references(document) == report.missing_references(alone) == []
        document["runs"][1]["label"] = document["runs"][1]["model"] = "CVAR"
        assert report.missing_references(document) == ["ItemBias"]
        assert "reference rows missing: ItemBias" in report.table(document)
        assert "reference rows missing" not in report.table(made.document)

    def test_held_against(self, made):
        document = json.loads(json.dumps(made.document))
        plain, bias = document["runs"]
        matched = [{**plain, "label": f"Base ({n} steps)", "matched_steps": n} for n in (5, 9)]
        other = {**plain, "label": "Base[warm_epochs=2]"}
        document["runs"] = [bias, other, plain, *matched]
        assert report.references_in(document) == ["ItemBias", "Base", "Base (9 steps)"]
        document["reference_rows"].append("Base[warm_epochs=2]")
        assert report.references_in(document)[1] == "Base[warm_epochs=2]"

    @pytest.mark.parametrize(
        ("value", "told"),
        [("[Bose]", "reference_rows: model 'Bose' is unknown"), ("[Base,Base]", "more than once"),
         ("[Base[x]", "reference_rows has 'Base[x'"), ("3", "reference_rows must be")],
    )  # fmt: skip
    def test_unknown_ones_are_refused(self, tiny_flags, capsys, value, told):
        assert main([*tiny_flags, "--model=Base", f"--reference_rows={value}"]) == 2
        err = capsys.readouterr().err
        assert told in err and len(err.splitlines()) == 1


def test_records_are_checked_when_read(made, tmp_path):
    document = json.loads(json.dumps(made.document))
    document["intervals"][0]["low"] = math.nan
    report.write_json(tmp_path / "results.json", document)
    assert math.isnan(report.load(tmp_path)["intervals"][0]["low"])
    del document["intervals"][0]["by"]
    with pytest.raises(UserError, match=r"intervals\[0\].by is missing"):
        report.validate(document)
