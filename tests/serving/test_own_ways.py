"""Methods that score with more than one vector per item: kept, loaded, predicted, exported.

EmerG has a graph beside the vector, few-shot learners a state made of the item's own rows, ALDIMF
two factors of each user.
"""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from kept_here import assert_no_pickle

import recbole_cold
from recbole_cold.errors import UserError
from recbole_cold.experiment.folders import file_name
from recbole_cold.model.base import Base
from recbole_cold.model.emerg import EmerG
from recbole_cold.model.melu import MeLU

EMERG, MELU, ALDIMF = (
    "EmerG[emerg_epochs=1;pretrain_epochs=1]", "MeLU[meta_epochs=1]",
    "ALDIMF[aldimf_teacher_epochs=2]",
)  # fmt: skip
MORE = (
    "MAMO[meta_epochs=1]", "TaNP[meta_epochs=1]", "ColdNAS[meta_epochs=1]",
    "ColdNAS[meta_epochs=1;coldnas_architecture=search;coldnas_search_epochs=1]",
    "MeLU[meta_epochs=1;own_id=True]", "MeLU[meta_epochs=1;item_bias=True]",
    "EmerG[emerg_epochs=1;emerg_graph=random]", "EmerG[emerg_epochs=1;emerg_graph=shared]",
    "EmerG[emerg_epochs=1;emerg_attention=regrouped;emerg_refine=False]",
    "EmerG[emerg_epochs=1;new_item_init=mean;item_bias=True]",
    "ALDIMF[aldimf_teacher=backbone]",
)  # fmt: skip


@pytest.fixture(scope="module")
def other(tmp_path_factory, write_atomic):
    """``other(label)``: its finished run, made when first asked for; its data set is gone."""
    from kept_here import kept_run

    made = {}

    def kept(label):
        if label not in made:
            with torch.enable_grad():  # whatever the test that asks
                made[label] = kept_run([label], tmp_path_factory.mktemp("other"), write_atomic)
        return made[label]

    return kept


def place_of(other, label, phase="warm_c"):
    folder = other(label).folder / file_name(label)
    return folder / ("model" if phase == "warm_c" else f"model-{phase}")


def load(other, label, phase="warm_c", **asked):
    return recbole_cold.load(place_of(other, label, phase), **asked)


def scored(other, label, phase="warm_c"):
    return other(label).scored(file_name(label), phase)


def renamed(frame):
    """The same rows of items that nobody has seen."""
    return frame.assign(item_id="x" + frame["item_id"])


def copies(fitted, kept):
    """The new items' rows of the item file, in the order of their codes, renamed."""
    return renamed(kept.items.set_index("item_id").loc[fitted.ids("new")].reset_index())


class TestAsTheRun:
    """V1."""

    @pytest.mark.parametrize("label", [EMERG, MELU, ALDIMF])
    @pytest.mark.parametrize("phase", ["cold", "warm_c"])
    def test_scores_and_metrics(self, other, label, phase):
        fitted = load(other, label, phase)
        scores, rows = scored(other, label, phase)
        assert np.array_equal(fitted.score(rows).astype(np.float32), scores)
        assert scores.std() > 0.01
        found = fitted.evaluate(rows)
        for name, value in other(label).metrics(fitted.about["label"], phase).items():
            if name != "RelaImpr":
                assert abs(found[name] - value) <= 1e-12

    @pytest.mark.slow
    @pytest.mark.parametrize("label", MORE)
    def test_of_more_methods(self, label, tmp_path, write_atomic):
        from kept_here import kept_run

        kept = kept_run([label], tmp_path, write_atomic)
        (label,) = (path.parent.name for path in kept.folder.glob("*/config.yaml"))
        for phase in ("cold", "warm_c"):
            fitted = load(lambda _: kept, label, phase, unseen={"device": "mean"})
            scores, rows = scored(lambda _: kept, label, phase)
            assert np.array_equal(fitted.score(rows).astype(np.float32), scores)
            fitted.add("item", copies(fitted, kept))
            odd = renamed(rows).assign(user_id="nobody", device="radio")
            assert np.isfinite(fitted.score(odd)).all()

    @pytest.mark.slow
    def test_new_users(self, tmp_path, write_atomic):
        from kept_here import kept_run

        keys = {"cold_side": "user", "cold_threshold": 16, "warm_size": 2}
        for label in (EMERG, MELU):
            kept = kept_run([label], tmp_path / file_name(label), write_atomic, **keys)
            scores, rows = scored(lambda _, kept=kept: kept, label)
            fitted = load(lambda _, kept=kept: kept, label)
            assert np.array_equal(fitted.score(rows).astype(np.float32), scores)
            assert np.isfinite(fitted.score(rows.assign(user_id="nobody", item_id="none"))).all()


class TestWhatIsKept:
    def test_the_rows_of_a_support_and_no_others(self, other):
        """Encoded, each new item's rows together, oldest first; before any was seen none."""
        fitted = load(other, MELU)
        table = pq.read_table(place_of(other, MELU) / "rows.parquet").to_pandas()
        tokens = fitted.dataset.field2id_token
        for field in ("item_id", "user_id", "device"):
            table[field] = [tokens[field][code] for code in table[field]]
        new = fitted.ids("new")
        assert list(table["item_id"]) == list(np.repeat(new, 9))
        log = other(MELU).inter
        log = log.assign(time=log["timestamp"].astype(float))
        own = log[log["item_id"] == new[3]].sort_values("time", kind="stable")
        mine = table[table["item_id"] == new[3]]
        # Two rows may share a second.
        assert {*mine["user_id"][:7]} <= {*own["user_id"][:9]}
        columns = (mine[name] for name in ("user_id", "device", fitted.label_field))
        for user, device, label in zip(*columns, strict=True):
            (row,) = own[own["user_id"] == user].itertuples()
            assert (device, label) == (row.device, float(int(row.rating) >= 4))
        assert len(pq.read_table(place_of(other, MELU, "cold") / "rows.parquet")) == 0
        for label in (EMERG, ALDIMF):
            assert not (place_of(other, label) / "rows.parquet").exists()

    @pytest.mark.parametrize("label", [EMERG, MELU, ALDIMF])
    def test_weights_need_no_pickle(self, other, label):
        """V12."""
        assert_no_pickle(place_of(other, label) / "weights.pt")

    def test_altered_rows_are_noticed(self, other, tmp_path):
        import shutil

        shutil.copytree(place_of(other, MELU), tmp_path / "model")
        path = tmp_path / "model" / "rows.parquet"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(UserError, match=r"was altered: the SHA-256 of 'rows.parquet'"):
            recbole_cold.load(tmp_path / "model")

    def test_vectors_of_items_where_there_are_such(self, other):
        names = pq.read_schema(place_of(other, MELU) / "items.parquet").names
        assert "vector" not in names and "visible_rows" in names
        with pytest.raises(UserError, match="has no vectors of them; score rows with it"):
            load(other, MELU).vectors()
        fitted = load(other, ALDIMF)
        items = pq.read_table(place_of(other, ALDIMF) / "items.parquet").to_pandas()
        vectors, method = np.stack(items["vector"]), fitted.method
        assert np.array_equal(vectors[method.new_ids], method.new_factors.numpy())
        assert np.array_equal(vectors[method.old_ids],
                              method.item_factors()[method.old_ids].detach().numpy())  # fmt: skip

    def test_a_subclass_that_scores_in_another_way_is_not_kept(self):
        """What its parent answers says nothing of it."""
        for parent in (Base, EmerG, MeLU):
            assert object.__new__(parent).why_not_kept() is None
            for name in ("logits", "predict", "item_vectors"):
                child = type("Child", (parent,), {name: lambda self, interaction: None})
                told = object.__new__(child).why_not_kept()
                assert told == (f"it scores rows in its own way ({name}), not with one vector per "
                                "new item")  # fmt: skip
        child = type("Child", (Base,), {"network": EmerG.network})
        assert "adapts to rows that a folder" in object.__new__(child).why_not_kept()


class TestUnseen:
    @pytest.mark.parametrize("label", [MELU, ALDIMF])
    def test_items_as_new_ones_without_rows(self, other, label):
        """V4: of both, nothing of the network moves in a warm phase."""
        scores, rows = scored(other, label, "cold")
        for phase in ("cold", "warm_c"):
            fitted = load(other, label, phase)
            fitted.add("item", copies(fitted, other(label))[::-1])
            assert np.allclose(fitted.score(renamed(rows)), scores, atol=1e-6)
            assert fitted.report.answers == {"generated": len(rows)}
            assert np.array_equal(
                fitted.score(rows).astype(np.float32), scored(other, label, phase)[0]
            )

    def test_few_shot_learners_have_no_mean_of_items(self, other):
        _, rows = scored(other, MELU)
        with pytest.raises(UserError, match="none of its policies; use generate or refuse"):
            load(other, MELU, unseen={"item_id": "mean"})
        fitted = load(other, MELU)
        assert np.isfinite(fitted.score(rows.assign(item_id="nothing"))).all()
        assert fitted.report.answers == {"generated": len(rows)}
        assert fitted.report.unseen == {"item_id": 1}

    @torch.no_grad()
    def test_graphs_follow_from_features_and_vectors_from_ids(self, other):
        """V4 for EmerG: the hypernetwork's graph of these features, whoever else is unseen."""
        fitted = load(other, EMERG)
        method, unseen = fitted.method, copies(fitted, other(EMERG))
        fitted.add("item", unseen)
        vectors = fitted.vectors(unseen["item_id"])
        assert np.abs(vectors).max() <= 0.01 and len(np.unique(vectors)) == vectors.size
        given = torch.from_numpy(vectors)
        place = fitted.tensor(fitted.places("item", fitted._further["item"]))
        graphs = fitted.more_at(place, given)["item_graph"]
        side = method.side_fields_of(method.new_ids)
        raw = method.raw_graphs(method.new_ids, given, side)
        assert torch.allclose(graphs, method.net.first_order(raw), atol=1e-6)
        assert not torch.allclose(graphs, method.net.first_order(method.new_graphs), atol=1e-3)
        alone = load(other, EMERG, "cold", items=unseen[4:5])
        assert np.array_equal(alone.vectors([unseen["item_id"][4]])[0], vectors[4])

    @torch.no_grad()
    def test_an_item_of_which_nothing_is_known(self, other):
        """The mean vector, and a graph of it and of missing features."""
        fitted = load(other, EMERG)
        method, place = fitted.method, torch.tensor([fitted.dataset.num("item_id")])
        vector, _, _ = fitted.served_at(place)
        assert torch.equal(vector[0], method.old_mean())
        raw = method.raw_graphs(method.old_ids[:1], vector, method.side_fields_of(place))
        found = fitted.more_at(place, vector)["item_graph"]
        assert torch.allclose(found, method.net.first_order(raw), atol=1e-6)
        # And so has an item that is answered by the mean, whatever its features.
        fitted = load(other, EMERG, unseen={"item_id": "mean"})
        fitted.add("item", copies(fitted, other(EMERG)))
        place = fitted.tensor(fitted.places("item", fitted._further["item"]))
        graphs = fitted.more_at(place, vector.expand(len(place), -1))["item_graph"]
        assert torch.allclose(graphs, found.expand_as(graphs), atol=1e-6)

    @torch.no_grad()
    @pytest.mark.parametrize("label", [EMERG, MELU, ALDIMF])
    @pytest.mark.parametrize("policy", ["mean", "pad"])
    def test_users(self, other, label, policy):
        """As a known user whose row is the mean, or the padding, and whose features are missing.

        In the cold phase: the row is in no support.
        """
        _, rows = scored(other, label)
        fitted = load(other, label, "cold", unseen={"user_id": policy})
        found = fitted.score(rows.assign(user_id="nobody"))
        assert fitted.report.answers == {f"own+user_id:{policy}": len(rows)}
        method = fitted.method
        table = method.user_factors() if label == ALDIMF else method.backbone.table_of("user_id")
        trained = torch.from_numpy(fitted.dataset.trained["user_id"])
        code = int(torch.nonzero(trained)[0])
        table[code] = table[trained].mean(dim=0) if policy == "mean" else table[0]
        for field, column in method.rows.user_features.items():
            column = column.clone()
            column[code] = fitted._absent(field, 1)[0]
            method.rows.user_features[field] = column
        known = fitted.dataset.field2id_token["user_id"][code]
        assert np.allclose(fitted.score(rows.assign(user_id=known)), found, atol=1e-7)

    @torch.no_grad()
    @pytest.mark.parametrize("label", [EMERG, MELU])
    def test_tokens(self, other, label):
        _, rows = scored(other, label)
        fitted = load(other, label, "cold", unseen={"device": "mean"})
        found = fitted.score(rows.assign(device="radio"))
        table = fitted.method.backbone.table_of("device")
        trained = torch.from_numpy(fitted.dataset.trained["device"])
        code = fitted.dataset.field2token_id["device"]["desk"]
        table[code] = table[trained].mean(dim=0)
        again = load(other, label, "cold", unseen={"device": "mean"})
        again.method.load_state_dict(fitted.method.state_dict())
        again.method.restored()
        assert np.allclose(again.score(rows.assign(device="desk")), found, atol=1e-7)
        assert not np.allclose(found, fitted.score(rows.assign(device=None)), atol=1e-4)


class TestGrow:
    @pytest.mark.parametrize("label", [EMERG, MELU, ALDIMF])
    @pytest.mark.parametrize("given", ["items", "rows"])
    def test_what_has_more_than_vectors_is_refused(self, other, tmp_path, label, given):
        """In one sentence, before anything is written."""
        fitted = load(other, label)
        rows = other(label).inter
        frames = {"items": copies(fitted, other(label)).head(2),
                  "rows": rows[rows["item_id"].isin(fitted.ids("new"))].head(5)}  # fmt: skip
        asked = {given: frames[given], "out": tmp_path / "out"}
        with pytest.raises(UserError) as said:
            recbole_cold.grow(place_of(other, label), **asked)
        assert str(said.value) == (
            f"{fitted.about['label']} does not serve items by one vector each, so new ones cannot "
            "be added to it; train it anew"
        )
        assert list(tmp_path.iterdir()) == []


class TestExport:
    def test_graphs_stand_beside_vectors(self, other, tmp_path):
        out = tmp_path / "out"
        recbole_cold.export(place_of(other, EMERG), out, formats=["vectors"])
        items = pq.read_table(out / "items.parquet").to_pandas()
        fitted = load(other, EMERG)
        place = torch.arange(len(items))
        vector, _, _ = fitted.served_at(place)
        assert np.array_equal(np.stack(items["vector"]), vector.detach().numpy())
        f = len(fitted.method.net.graph_fields)
        graphs = np.stack(items["item_graph"]).reshape(-1, f, f)
        assert np.array_equal(graphs, fitted.more_at(place, vector)["item_graph"].numpy())
        assert np.array_equal(graphs, graphs.transpose(0, 2, 1))
        new = np.stack(items["vector"][items["status"] == "new"])
        assert np.array_equal(new, fitted.method.new_vectors.detach().numpy())
        own = fitted.method.net.first_order(fitted.method.new_graphs).detach().numpy()
        assert np.allclose(graphs[items["status"] == "new"], own, atol=1e-6)

    @pytest.mark.parametrize(
        ("label", "message"),
        [(MELU, "MeLU has no scorer to export: its network makes a state of each item's own rows"),
         (ALDIMF, "ALDIMF has no scorer to export: it has two factors of each user")],
    )  # fmt: skip
    def test_what_has_no_scorer_points_to_predict(self, other, tmp_path, label, message):
        for formats in (["pt2"], ["vectors"]):
            with pytest.raises(UserError, match=f"{message}.*score with `recbole-cold predict`"):
                recbole_cold.export(place_of(other, label), tmp_path / "out", formats=formats)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    @pytest.mark.parametrize("bake", [False, True])
    @pytest.mark.parametrize("kind", ["pt2", "onnx"])
    def test_emerg_agrees(self, other, tmp_path, kind, bake):
        """V8: drawn rows and every kind of unseen value."""
        if kind == "onnx":
            for name in ("onnx", "onnxruntime", "onnxscript"):
                pytest.importorskip(name)
        out = tmp_path / "out"
        told = recbole_cold.export(place_of(other, EMERG), out, formats=[kind], bake=bake)
        limit = {"pt2": 1e-6, "onnx": 1e-5}[kind]
        assert 0 <= told["files"][kind]["largest_difference"] <= limit
        shapes = {each["name"]: each["shape"] for each in told["inputs"]}
        assert ("item_graph" in shapes) != bake
        if not bake:
            assert shapes["item_graph"] == ("batch", 8, 8) and shapes["item_vector"][1] == 4
        assert json.loads((out / "export.json").read_text())["backbone"] == "EmerGNet"
