"""A kept model takes in new items and their first clicks, in a new folder; old ones do not move."""

import json
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from kept_here import assert_no_pickle

import recbole_cold
from recbole_cold.cli.main import main
from recbole_cold.errors import UserError
from recbole_cold.registry import methods
from recbole_cold.serving import _warming
from recbole_cold.serving import grow as module
from recbole_cold.serving.drift import of_counts, psi, warnings_of
from recbole_cold.serving.grow import grow

EVERY = (
    "Base", "Base[new_item_init=zero]", "ItemBias", "MetaE", "MetaE[item_bias=True]", "CVAR",
    "MAP", "CSDM", "AVAEW", "ALDI", "DropoutNet", "CVAR[warm=map]", "MWUF[use_count=True]",
    "MWUF[mwuf_warm=init_only]", "MetaE[warm_steps=4]", "GMEP", "GMEG", "GMEA", "GAR",
)  # fmt: skip
# Their items are more or something else than one vector.
REFUSED = {"EmerG", "MeLU", "MAMO", "TaNP", "ColdNAS", "ALDIMF", "RML"}


class Phases:
    """The rows of the new items of a run, in the order of its file, by phase."""

    def __init__(self, kept, new, size=3):
        self.items = kept.items.set_index("item_id").loc[new].reset_index()
        time = kept.inter["timestamp"].astype(float)
        rank = kept.inter.assign(time=time).sort_values("time", kind="stable")
        rank = rank.groupby("item_id").cumcount()
        inter = kept.inter[kept.inter["item_id"].isin(new)]
        self.rows = [inter[rank[inter.index] // size == number] for number in range(3)]


@pytest.fixture(scope="module")
def cold(kept):
    return recbole_cold.load(kept.folder, "MWUF", phase="cold")


@pytest.fixture(scope="module")
def phases(kept, cold):
    return Phases(kept, cold.ids("new"))


@pytest.fixture(scope="module")
def cold_folder(kept):
    return kept.folder / "MWUF" / "model-cold"


@pytest.fixture(scope="module")
def grown(phases, cold_folder, tmp_path_factory):
    """Folder of MWUF that has forgotten its new items and knows them anew, by their features."""
    out = tmp_path_factory.mktemp("grown") / "one"
    ids = phases.items["item_id"].tolist()
    told = grow(cold_folder, items=phases.items, drop=ids, out=out)
    assert told["items"]["added"] == told["items"]["dropped"] == len(ids)
    return out


@pytest.fixture(scope="module")
def warmed(grown, phases):
    """And which has learned from the rows of the first phase."""
    out = grown.parent / "two"
    told = grow(grown, rows=phases.rows[0], out=out)
    assert (told["phase"], told["rows"]) == ("warm_a", 54)
    return out


def tables(folder):
    return {
        side: pq.read_table(folder / f"{side}.parquet").to_pandas() for side in ("items", "users")
    }


class TestAsTheRun:
    """V5: forgotten, grown from features, warmed by phases: the ordinary run to the last bit."""

    def test_mwuf(self, kept, phases, cold, warmed, grown):
        ids = phases.items["item_id"]
        assert np.array_equal(recbole_cold.load(grown).vectors(ids), cold.vectors(ids))
        folder = warmed
        for number in (1, 2):
            told = grow(folder, rows=phases.rows[number], out=warmed.parent / f"{number + 2}")
            folder = told["folder"]
        assert told["phase"] == "warm_c"
        found, ran = recbole_cold.load(folder), recbole_cold.load(kept.folder, "MWUF")
        assert np.array_equal(found.vectors(ids), ran.vectors(ids))
        scores, rows = kept.scored("MWUF", "warm_c")
        assert np.array_equal(found.score(rows).astype(np.float32), scores)
        here, there = (tables(fitted.kept.folder)["items"].set_index("item_id").loc[ids]
                       for fitted in (found, ran))  # fmt: skip
        for column in ("visible_rows", "clicks", "year", "price"):
            assert here[column].tolist() == there[column].tolist()
        assert set(here["status"]) == {"grown"} and set(here["phase"]) == {"warm"}

    @pytest.mark.slow
    @pytest.mark.parametrize("method", EVERY)
    def test_of_every_method(self, method, tmp_path, write_atomic, monkeypatch):
        """Rows of ``rows_seen`` are in the order of time; the file of this run is, too.

        Vectors have 16 numbers: where a table's numbers do not fill the registers of the processor,
        Adam rounds the last few of them in another way, and these are others in a longer table.
        """
        import kept_here

        files = kept_here.tiny_files()
        head, *rows = files["inter"]
        rows.sort(key=lambda row: float(row[3]))
        rows = [[*row[:3], str(1_000_000 + at), *row[4:]] for at, row in enumerate(rows)]
        monkeypatch.setattr(kept_here, "tiny_files", lambda: {**files, "inter": [head, *rows]})
        keys = {"embedding_size": 16, "train_batch_size": 16}
        kept = kept_here.kept_run([method], tmp_path, write_atomic, **keys)
        ran, cold = (recbole_cold.load(kept.folder, phase=name) for name in ("warm_c", "cold"))
        phases, ids = Phases(kept, cold.ids("new")), cold.ids("new")
        folder = grow(kept.folder, phase="cold", items=phases.items, drop=ids, out=tmp_path / "0")[
            "folder"
        ]
        assert np.array_equal(recbole_cold.load(folder).vectors(ids), cold.vectors(ids))
        for number, part in enumerate(phases.rows):
            # The order of a file is that of an item's rows only where there is no time.
            mixed = part.sample(frac=1.0, random_state=number)
            folder = grow(folder, rows=mixed, out=tmp_path / f"{number + 1}")["folder"]
        found = recbole_cold.load(folder)
        assert np.array_equal(found.vectors(ids), ran.vectors(ids))
        (name,) = (path.parent.name for path in kept.folder.glob("*/config.yaml"))
        scores, rows = kept.scored(name, "warm_c")
        assert np.array_equal(found.score(rows).astype(np.float32), scores)

    def test_the_list_is_whole(self):
        assert {name.partition("[")[0] for name in EVERY} | REFUSED == {*methods()}

    @pytest.mark.slow
    def test_of_users(self, tmp_path, write_atomic):
        """Where users are what can be new, they grow, out of --items as well."""
        from kept_here import kept_run

        keys = {"cold_side": "user", "cold_threshold": 16, "warm_size": 2}
        kept = kept_run("MWUF", tmp_path, write_atomic, **keys)
        cold, ran = (recbole_cold.load(kept.folder, phase=name) for name in ("cold", "warm_c"))
        ids = cold.ids("new")
        users = kept.users.set_index("user_id").loc[ids].reset_index()
        told = grow(kept.folder, phase="cold", items=users, drop=ids, out=tmp_path / "0")
        assert told["users"]["added"] == told["users"]["generated"] == len(ids)
        inter = kept.inter.assign(time=kept.inter["timestamp"].astype(float))
        rank = inter.sort_values("time", kind="stable").groupby("user_id").cumcount() // 2
        for number in range(3):
            rows = kept.inter[kept.inter["user_id"].isin(ids) & (rank == number)]
            told = grow(told["folder"], rows=rows, out=tmp_path / f"{number + 1}")
        found = recbole_cold.load(told["folder"])
        assert np.array_equal(found.vectors(ids), ran.vectors(ids))
        scores, rows = kept.scored("MWUF", "warm_c")
        assert np.array_equal(found.score(rows).astype(np.float32), scores)


class TestWhatMoves:
    """V6."""

    def test_old_ones_are_bit_identical(self, kept, cold_folder, grown, warmed):
        before = recbole_cold.load(cold_folder)
        for folder in (grown, warmed):
            after = recbole_cold.load(folder)
            state = before.method.backbone.state_dict()
            n = before.dataset.num("item_id")
            for name, value in after.method.backbone.state_dict().items():
                if value.shape == state[name].shape:
                    assert torch.equal(value, state[name])
            for field in ("user_id", "gender", "year", "device"):  # in the table that got longer
                assert torch.equal(after.method.backbone.table_of(field),
                                   before.method.backbone.table_of(field))  # fmt: skip
            for code in before.method.old_ids.tolist():
                assert torch.equal(after.method.backbone.id_table()[code],
                                   before.method.backbone.id_table()[code])  # fmt: skip
            assert after.dataset.num("item_id") == n + 18
            old = before.method.old_ids.tolist()
            one, other = tables(cold_folder)["items"], tables(folder)["items"]
            for column in ("item_id", "visible_rows", "clicks", "status", "year", "first_order"):
                assert one[column][old].tolist() == other[column][old].tolist()
            assert np.array_equal(np.stack(one["vector"][old]), np.stack(other["vector"][old]))

    @pytest.mark.parametrize("method", ["MWUF", pytest.param("CVAR", marks=pytest.mark.slow)])
    def test_items_without_a_row_stay(self, kept, phases, method, tmp_path):
        """MWUF and CVAR make all vectors anew when a phase ends; in grow only those with rows."""
        some = phases.items["item_id"].tolist()[:5]
        rows = phases.rows[0][phases.rows[0]["item_id"].isin(some)]
        other = rows.assign(rating=np.where(rows["rating"].astype(int) >= 4, "1", "5"))
        folder = kept.folder / method / "model-cold"
        before = recbole_cold.load(folder)
        found = [recbole_cold.load(grow(folder, rows=each, out=tmp_path / name)["folder"])
                 for name, each in (("a", rows), ("b", other))]  # fmt: skip
        ids = before.ids("new")
        is_one = np.isin(ids, some)
        start, one, two = (fitted.vectors(ids) for fitted in (before, *found))
        assert np.array_equal(one[~is_one], start[~is_one]) and np.array_equal(
            two[~is_one], start[~is_one]
        )
        assert (one[is_one] != start[is_one]).any(axis=1).all()
        assert (one[is_one] != two[is_one]).any(axis=1).all()

    def test_unknown_users_and_tokens(self, warmed, phases, tmp_path):
        """They are read as predict reads them, and counted."""
        rows = phases.rows[1].reset_index(drop=True)
        rows.loc[:8, "user_id"] = "nobody"
        rows.loc[:2, "device"] = "watch"
        told = grow(warmed, rows=rows, out=tmp_path / "a")
        assert told["drift"]["unseen"] == {"user_id": 9 / len(rows), "device": 3 / len(rows)}
        assert np.isfinite(recbole_cold.load(tmp_path / "a").vectors(phases.items["item_id"])).all()


class TestCatalogue:
    def test_new_items_and_their_answer(self, warmed, phases, tmp_path):
        """As predict answers them; a dropped one is unknown, and its code is taken for good."""
        items = phases.items.head(3).assign(item_id=["x1", "x2", "x3"])
        asked = recbole_cold.load(warmed, items=items)
        told = grow(warmed, items=items, out=tmp_path / "a")
        assert told["items"]["added"] == 3 and told["phase"] is None
        found = recbole_cold.load(tmp_path / "a")
        assert np.allclose(
            found.vectors(["x1", "x2", "x3"]), asked.vectors(["x1", "x2", "x3"]), atol=1e-6
        )
        rows = phases.rows[2].head(2).assign(item_id=["x2", "i0"])
        found.score(rows)
        assert found.report.answers == {"own": 2}
        grow(tmp_path / "a", drop=["x2"], out=tmp_path / "b")
        left = recbole_cold.load(tmp_path / "b")
        left.score(rows)
        assert left.report.answers == {"own": 1, "mean": 1}
        n = left.dataset.num("item_id")
        assert n == found.dataset.num("item_id") and "x2" not in left.ids()
        grow(tmp_path / "b", items=items.iloc[[1]], out=tmp_path / "c")
        again = recbole_cold.load(tmp_path / "c")
        assert again.dataset.num("item_id") == n + 1
        assert np.allclose(again.vectors(["x2"]), found.vectors(["x2"]), atol=1e-6)
        assert np.array_equal(again.vectors(["x1"]), found.vectors(["x1"]))

    def test_items_of_the_file_without_rows_are_grown_in_place(self, kept, cold_folder, tmp_path):
        """The model has their features; what is given of them is not read."""
        before = recbole_cold.load(cold_folder)
        codes = np.flatnonzero(before.dataset.status["item"] == "listed")[1:]  # padding is first
        listed = before.dataset.field2id_token["item_id"][codes].tolist()
        rows = kept.inter[kept.inter["item_id"].isin(listed[:2])]
        told = grow(cold_folder, items=pd.DataFrame({"item_id": listed[1:3]}), rows=rows,
                    out=tmp_path / "a")  # fmt: skip
        assert told["items"]["of features that it had"] == 3 and told["items"]["added"] == 0
        assert told["items"]["warming"] + told["items"]["warm"] == 2
        after = recbole_cold.load(tmp_path / "a")
        assert after.dataset.num("item_id") == before.dataset.num("item_id")
        assert {*listed[:3]} <= {*after.ids("new")} and not {*listed[3:]} & {*after.ids()}
        assert np.array_equal(after.vectors([listed[2]]), before.vectors([listed[2]]))

    @pytest.mark.slow
    def test_an_old_item_is_forgotten(self, warmed, tmp_path):
        """Its row of the table, and its part in the mean; others stay as they are."""
        before = recbole_cold.load(warmed)
        code, *others = before.method.old_ids.tolist()
        token = before.dataset.field2id_token["item_id"][code]
        back = pd.DataFrame({"item_id": [token]})  # and comes back, as another one
        grow(warmed, drop=[token], items=back, out=tmp_path / "a")
        after = recbole_cold.load(tmp_path / "a")
        one, other = (fitted.method.backbone.id_table() for fitted in (before, after))
        assert len(other) == len(one) + 1 and not torch.equal(one[code], other[-1])
        assert not torch.equal(one[code], other[code]) and torch.equal(one[others], other[others])
        assert after.method.old_ids.tolist() == others
        row = tables(tmp_path / "a")["items"].loc[code]
        assert row["status"] == "dropped" and row["visible_rows"] == 0
        assert row[["item_id", "year", "price"]].isna().all()

    def test_rows_of_a_dropped_item_are_forgotten(self, tmp_path, write_atomic):
        """A method that fits all rows of new items anew goes on with those of the others."""
        from kept_here import kept_run

        kept = kept_run(["ItemBias"], tmp_path, write_atomic)
        gone, *others = recbole_cold.load(kept.folder).ids("new")
        rows = kept.inter[kept.inter["item_id"].isin(others)].groupby("item_id").head(2)
        grow(kept.folder, drop=[gone], out=tmp_path / "a")
        held = [len(pq.read_table(folder / "rows.parquet"))
                for folder in (kept.folder / "ItemBias" / "model", tmp_path / "a")]  # fmt: skip
        assert held == [9 * (len(others) + 1), 9 * len(others)]
        grow(tmp_path / "a", rows=rows, out=tmp_path / "b")
        grow(kept.folder, drop=[gone], rows=rows, out=tmp_path / "c")
        one, other = (recbole_cold.load(tmp_path / name) for name in ("b", "c"))
        assert np.array_equal(one.score(kept.inter), other.score(kept.inter))

    def test_a_feature_may_be_called_as_a_column_of_grown_models(
        self, tmp_path, write_atomic, monkeypatch
    ):
        """It is read as any other; such a model is only not grown."""
        import kept_here

        files = kept_here.tiny_files()
        files["item"][0][-1] = "phase:float"
        monkeypatch.setattr(kept_here, "tiny_files", lambda: files)
        kept = kept_here.kept_run(["Base"], tmp_path, write_atomic)
        assert np.isfinite(recbole_cold.load(kept.folder).score(kept.inter.head(3))).all()
        with pytest.raises(UserError, match="a feature is called 'phase'"):
            grow(kept.folder, items=pd.DataFrame({"item_id": ["x"]}), out=tmp_path / "a")

    @pytest.mark.slow
    def test_promotion(self, kept, phases, tmp_path):
        """Warm items take part in the mean that later ones start at; others do not."""
        folder = kept.folder / "Base" / "model-cold"
        ids = phases.items["item_id"].tolist()
        rows = phases.rows[0]
        first = rows[rows["item_id"].isin(ids[:4])]
        item = pd.DataFrame({"item_id": ["y"]})
        grow(folder, rows=first, promote_after=3, out=tmp_path / "a")
        before = recbole_cold.load(folder)
        tokens = before.dataset.field2id_token["item_id"]
        mean = before.vectors(tokens[before.method.old_ids].tolist())
        same = grow(folder, items=item, out=tmp_path / "same")["folder"]
        assert np.allclose(recbole_cold.load(same).vectors(["y"])[0], mean.mean(axis=0), atol=1e-6)
        told = grow(tmp_path / "a", items=item, out=tmp_path / "b")
        assert (told["promote_after"], told["items"]["warm"]) == (3, 4)
        after = recbole_cold.load(tmp_path / "b")
        warm = np.concatenate([mean, after.vectors(ids[:4])])
        assert np.allclose(after.vectors(["y"])[0], warm.mean(axis=0), atol=1e-6)
        assert not np.allclose(after.vectors(["y"])[0], mean.mean(axis=0), atol=1e-6)

    @pytest.mark.slow
    def test_it_is_exported(self, warmed, phases, tmp_path):
        """Dropped items, which have a row without an id, are nobody's."""
        ids = phases.items["item_id"].tolist()
        grow(warmed, drop=ids[:1], out=tmp_path / "a")
        recbole_cold.export(tmp_path / "a", tmp_path / "out", formats=["vectors"])
        table = pq.read_table(tmp_path / "out" / "items.parquet")
        vectors = dict(zip(table["item_id"].to_pylist(), table["vector"].to_pylist(), strict=True))
        assert ids[0] not in vectors
        assert np.allclose(vectors[ids[1]], recbole_cold.load(warmed).vectors(ids[1:2])[0])
        assert vectors[None] == table["vector"].to_pylist()[-1]


class TestRows:
    def test_the_same_rows_again(self, warmed, phases, tmp_path):
        """In another order and another file, where numbers may be written in another way."""
        rows = phases.rows[0].sample(frac=1.0, random_state=1)
        rows.to_parquet(tmp_path / "again.parquet")
        rows = rows.astype({"rating": float, "timestamp": float})
        rows.to_csv(tmp_path / "again.csv", index=False)  # 5.0
        for name in ("again.parquet", "again.csv"):
            with pytest.raises(UserError, match="has learned from these rows already; give it oth"):
                grow(warmed, rows=str(tmp_path / name), out=tmp_path / "a")
        assert not (tmp_path / "a").exists()

    @pytest.mark.slow
    def test_rows_of_old_items_are_left_out(self, kept, cold_folder, phases, tmp_path):
        told = grow(cold_folder, rows=pd.concat([kept.inter.head(200), phases.rows[0]]),
                    out=tmp_path / "a")  # fmt: skip
        old = recbole_cold.load(cold_folder).ids()
        new = recbole_cold.load(cold_folder).ids("new")
        assert told["left_out"] == kept.inter.head(200)["item_id"].isin({*old} - {*new}).sum()
        with pytest.raises(UserError, match="of the 5 rows is of a new item: old ones do not move"):
            rows = kept.inter[kept.inter["item_id"].isin({*old} - {*new})].head(5)
            grow(cold_folder, rows=rows, out=tmp_path / "b")

    def test_names_of_phases(self):
        about = {"phases": [["cold", None, "test"], ["warm_a", "warm_a", "test"]]}
        assert _warming.next_phase({**about, "phase": "cold"}) == "warm_a"
        assert _warming.next_phase({**about, "phase": "warm_a"}) == "warm_b"
        alone = {"phases": about["phases"][:1], "phase": "cold"}
        assert _warming.next_phase(alone) == "warm_a"
        names = [_warming.warm_name(number) for number in (0, 25, 26, 701, 702)]
        assert names == ["warm_a", "warm_z", "warm_aa", "warm_zz", "warm_aaa"]

    @pytest.mark.slow
    @pytest.mark.parametrize("warm_sets", [0, 3])
    def test_rows_of_earlier_calls_are_kept_where_they_are_fitted_anew(
        self, warm_sets, tmp_path, write_atomic
    ):
        """Of a run without warm phases, and of the last phase of one: ItemBias fits all rows."""
        from kept_here import kept_run

        keys = {"warm_sets": 0, "keep_phases": "last"} if not warm_sets else {}
        kept = kept_run("ItemBias", tmp_path, write_atomic, **keys)
        fitted = recbole_cold.load(kept.folder, phase=None if not warm_sets else "warm_c")
        ids = fitted.ids("new")
        assert (fitted.kept.folder / "rows.parquet").is_file() == bool(warm_sets)
        rows = kept.inter[kept.inter["item_id"].isin(ids)]
        rank = rows.groupby("item_id").cumcount()
        # Rows that the run has not seen: those are the earliest.
        late = [rows[(rank >= 9) & (rank % 2 == part)] for part in range(2)]
        folder = fitted.kept.folder
        for number, part in enumerate(late):
            folder = grow(folder, rows=part, out=tmp_path / f"{number}")["folder"]
        both = grow(fitted.kept.folder, rows=pd.concat(late), out=tmp_path / "both")["folder"]
        held = pq.read_table(folder / "rows.parquet")
        assert len(held) == len(fitted.method.rows_seen.index) + sum(map(len, late))
        one, other = (recbole_cold.load(each).method.new_shift for each in (folder, both))
        # ``item_bias_variance: auto`` is read off rows before they are learned: in other parts.
        assert torch.allclose(one, other, atol=0.2) and not torch.equal(
            one, fitted.method.new_shift
        )


class TestFolder:
    def test_it_names_where_it_comes_from(self, cold_folder, grown, warmed):
        from recbole_cold.paths import sha256

        about = json.loads((warmed / "model.json").read_text())
        assert about["parent"] == sha256(grown / "model.json")
        assert [step["parent"] for step in about["lineage"]] == [
            sha256(cold_folder / "model.json"), about["parent"]
        ]  # fmt: skip
        assert about["learned"] == [about["lineage"][1]["rows"]] and about["format"] == 2
        assert about["grown"]["drift"]["clicks"]["observed"] > 0
        assert_no_pickle(warmed / "weights.pt")  # V12

    @pytest.mark.slow
    def test_without_out_it_lies_beside_the_run(self, kept, cold_folder, grown, phases, tmp_path):
        run = tmp_path / "saved" / "run"
        shutil.copytree(cold_folder, run / "MWUF" / "model")
        (run / "request.json").write_text("{}")
        item = phases.items.head(1).assign(item_id="z")
        first = grow(run, items=item)["folder"]
        assert first == tmp_path / "saved" / "run-MWUF-grown-1"
        assert grow(first, items=item.assign(item_id="zz"))["folder"].name == "run-MWUF-grown-2"

    def test_a_kill_leaves_the_parent_and_no_folder(self, warmed, phases, tmp_path):
        """V7: killed while it writes; what is left beside it is hidden, and removed by the next."""
        before = {path: path.read_bytes() for path in warmed.rglob("*") if path.is_file()}
        item = phases.items.head(1).assign(item_id="k")
        pid = os.fork()
        if pid == 0:
            module.seal = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            grow(warmed, items=item, out=tmp_path / "a")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(".a.") and (left / "weights.pt").is_file()
        assert before == {path: path.read_bytes() for path in warmed.rglob("*") if path.is_file()}
        grow(warmed, items=item, out=tmp_path / "a")
        assert [path.name for path in tmp_path.iterdir()] == ["a"]

    def test_a_parent_that_changes_meanwhile(self, warmed, phases, tmp_path, monkeypatch):
        copy = tmp_path / "copy"
        shutil.copytree(warmed, copy)
        take = module._Growth.take

        def changed(self, *given):
            take(self, *given)
            (copy / "model.json").write_text("{}")

        monkeypatch.setattr(module._Growth, "take", changed)
        with pytest.raises(UserError, match="was changed while it was read; grow it again"):
            grow(copy, items=phases.items.head(1).assign(item_id="k"), out=tmp_path / "a")
        assert not (tmp_path / "a").exists()


class TestDrift:
    def test_psi(self):
        assert psi(np.array([1, 1]), np.array([5, 5])) == 0
        found = psi(np.array([0.9, 0.1]), np.array([0.6, 0.4]))
        assert abs(found - (-0.3 * np.log(0.6 / 0.9) + 0.3 * np.log(4))) < 1e-12
        assert np.isfinite(psi(np.array([1.0, 0.0]), np.array([0.0, 1.0])))

    def test_counts(self):
        found = of_counts(np.array([0.0, 1, 5, 9, 10, 11, 40]), (0.0, 10.0))
        assert found["histogram"] == [1, 1, 0, 0, 0, 1, 0, 0, 0, 2]
        assert found["clipped"] == pytest.approx(2 / 7)
        assert of_counts(np.array([0.0, 1, 5, 9, 11]), (4.0, 10.0))["clipped"] == 1 / 5

    def test_a_shift_is_told(self, warmed, phases, tmp_path):
        rows = phases.rows[1]
        told = grow(warmed, rows=rows.assign(rating=1), out=tmp_path / "a")
        (note,) = told["notes"]
        assert "the share of clicks has shifted" in note and "0.0% observed" in note
        assert warnings_of({"clicks": {"predicted": 0.5, "observed": 0.5, "psi": 0.2}}) == []


class TestErrors:
    """Of SERVING 3.6: one sentence, exit code 2, and nothing is written."""

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ([], "grow is given nothing; give new items"),
            (["--items=twice.csv"], "the item 'a' is given twice"),
            (["--items=no-id.csv"], "the items have no field 'item_id'"),
            (["--items=bare.csv"], "is it the column 'itemid'? Call it so"),
            (["--rows=nobody.csv"], "1 rows are of items that nobody knows, 'nobody' the first"),
            (["--rows=label.csv"], "the label 'rating' has the value 7"),
            (["--rows=no-label.csv"], "the rows have no field 'rating'"),
            (["--rows=no-user.csv"], "the rows have no field 'user_id'"),
            (["--rows=no-time.csv"], "1 rows have no 'timestamp'; fill it"),
            (["--rows=empty.csv"], "there is no row to learn from"),
            (["--rows=gone.csv"], "cannot read 'gone.csv'"),
            (["--drop=nobody.csv"], "'nobody' is to be dropped and is not known"),
            (["--drop=all-new.csv"], "no item would be new any more"),
            (["--drop=all-old.csv"], "no item would be old any more"),
            (["--items=a.csv", "--out=there"], "'there' is there already"),
            (["--items=a.csv", "--promote_after=0"], "--promote_after=0 is no number of rows"),
            (["--items=a.csv", "--phase=warm_x"], "has no such model"),
            (["--item=a.csv"], "grow has no --item; did you mean --items?"),
        ],
    )  # fmt: skip
    def test_one_sentence(
        self, cold, cold_folder, phases, flags, message, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        row, item = phases.rows[0].head(1), phases.items.head(1).assign(item_id="a")
        tokens = cold.dataset.field2id_token["item_id"]
        old, new = ([tokens[int(code)] for code in codes]
                    for codes in (cold.method.old_ids, cold.method.new_ids))  # fmt: skip
        about = json.loads((cold_folder / "model.json").read_text())
        rule = about["label_rule"]
        for name, frame in {
            "a": item, "twice": pd.concat([item, item]), "no-id": item.drop(columns="item_id"),
            "bare": item.rename(columns={"item_id": "itemid"}),
            "nobody": row.assign(item_id="nobody"), "label": row.assign(rating=7),
            "no-label": row.drop(columns="rating"), "no-user": row.drop(columns="user_id"),
            "no-time": pd.concat([row, row.assign(timestamp=None)]), "empty": row.head(0),
            "all-new": pd.DataFrame({"item_id": new}), "all-old": pd.DataFrame({"item_id": old}),
        }.items():  # fmt: skip
            frame.to_csv(f"{name}.csv", index=False)
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "file").touch()
        run = cold_folder
        if "label.csv" in str(flags) and "no-" not in str(flags):  # a run without a threshold
            run = tmp_path / "plain"
            shutil.copytree(cold_folder, run)
            (run / "model.json").write_text(
                json.dumps({**about, "label_rule": {**rule, "least": None}})
            )
        before = {path.name for path in tmp_path.iterdir()}
        out = [] if any("--out" in flag for flag in flags) else ["--out=new"]
        assert main(["grow", str(run), *out, *flags]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and message in err
        assert {path.name for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize("flag", ["items", "rows", "drop", "promote_after", "phase", "out"])
    def test_hostile(self, cold_folder, flag, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.csv").write_text("item_id\na\n")
        (tmp_path / "folder.csv").mkdir()
        (tmp_path / "empty.csv").touch()
        (tmp_path / "ids.parquet").write_text("item_id\na\n")
        values = ["", "~", "nope", "-1", "1e14", "9" * 5000, ".nan", "[nope]", "'", "a.csv/b.csv",
                  "folder.csv", "empty.csv", "ids.parquet"]  # fmt: skip
        own = [] if flag in ("items", "rows", "drop") else ["--items=a.csv"]
        before = {path.name for path in tmp_path.iterdir()}
        for value in values:
            if flag == "out" and value not in ("", "9" * 5000, "a.csv", "a.csv/b.csv"):
                continue  # a name like any other
            assert main(["grow", str(cold_folder), *own, f"--{flag}={value}"]) == 2, value
            err = capsys.readouterr().err
            assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
        assert {path.name for path in tmp_path.iterdir()} == before

    def test_a_method_that_cannot(self, cold_folder, monkeypatch, tmp_path, phases):
        monkeypatch.setattr(
            "recbole_cold.model.mwuf.MWUF.logits", lambda self, batch: None, raising=False
        )
        with pytest.raises(UserError, match="does not serve items by one vector each"):
            grow(cold_folder, items=phases.items.head(1).assign(item_id="k"), out=tmp_path / "a")

    def test_a_table_of_which_nothing_is_told(self, cold_folder, monkeypatch, tmp_path, phases):
        from recbole_cold.model._method import ColdStartRecommender

        monkeypatch.setattr(
            "recbole_cold.model.mwuf.MWUF.token_rows", ColdStartRecommender.token_rows
        )
        with pytest.raises(
            UserError, match=r"cannot grow: its tensor '.*' is not carried, because"
        ):
            grow(cold_folder, items=phases.items.head(1).assign(item_id="k"), out=tmp_path / "a")

    def test_rows_that_an_earlier_version_did_not_keep(self, warmed, tmp_path, monkeypatch, phases):
        monkeypatch.setattr(module, "ROWS", "nowhere")
        from recbole_cold.model._phase_end import SeenRows

        monkeypatch.setattr(
            SeenRows, "set_extra_state", lambda self, _: setattr(self, "index", torch.arange(2))
        )
        with pytest.raises(UserError, match=r"fits all rows of new items anew, and '.*', which"):
            grow(warmed, rows=phases.rows[1], out=tmp_path / "a")

    def test_the_command(self, warmed, phases, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        phases.items.head(2).assign(item_id=["c1", "c2"], genre=["opera", "war"]).to_csv("i.csv")
        rows = phases.rows[1].head(6).assign(item_id=["c1"] * 6)
        rows.to_csv("r.csv")
        assert main(["grow", str(warmed), "--items=i.csv", "--rows=r.csv", "--out=new"]) == 0
        out = capsys.readouterr().out.splitlines()
        assert out[0].startswith("items: 2 added, ")
        assert "rows: 6 learned as warm_b" in out and out[-1] == f"grown {tmp_path / 'new'}"
        assert "unseen: 50.0% of 'genre'" in out
        assert any(line.startswith("note: one item has 6 rows") for line in out)
        assert main(["grow", "new", "--rows=r.csv"]) == 2
        assert "has learned from these rows already" in capsys.readouterr().err
