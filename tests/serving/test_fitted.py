"""A fitted model scores as its run did, by outside ids; what it has never seen has one policy."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import recbole_cold
from recbole_cold.errors import UserError
from recbole_cold.registry import methods

METHODS = ("Base", "MWUF", "CVAR")
# Every other method with one vector per item, and more keys where state per item is optional.
KEPT = (
    "ItemBias", "MAP", "DropoutNet", "MetaE", "GMEP", "GMEG", "GMEA", "AVAEW",
    "AVAEW[avaew_own_id=True]", "CSDM", "GAR", "ALDI", "Base[use_count=True]",
    "MWUF[mwuf_warm=recompute]", "Base[number_scale=recbole;numerical_features=[price,income]]",
    "Base[new_item_init=zero]", "Base[unseen_tokens=draw]", "Base[numerical_features=[price]]",
)  # fmt: skip


def renamed(frame, field="item_id"):
    """The same rows of items (or users) that nobody has seen."""
    return frame.assign(**{field: "x" + frame[field]})


def by_code(fitted, kept):
    """The new items' rows of the item file, in the order of their codes."""
    return kept.items.set_index("item_id").loc[fitted.ids("new")].reset_index()


class TestAsTheRun:
    """V1: the data set is gone, and the same rows get the same scores."""

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("phase", ["cold", "warm_c"])
    def test_scores_and_metrics(self, kept, method, phase):
        fitted = recbole_cold.load(kept.folder, method, phase=phase)
        scores, rows = kept.scored(method, phase)
        assert np.array_equal(fitted.score(rows).astype(np.float32), scores)
        found = fitted.evaluate(rows)
        for name, value in kept.metrics(method, phase).items():
            if name != "RelaImpr":
                assert abs(found[name] - value) <= 1e-12

    @pytest.mark.slow
    @pytest.mark.parametrize("model", KEPT)
    def test_of_every_method(self, model, tmp_path, write_atomic):
        from kept_here import kept_run

        kept = kept_run([model], tmp_path, write_atomic)
        (name,) = (run["label"] for run in kept.document["runs"])
        for phase in ("cold", "warm_c"):
            fitted = recbole_cold.load(kept.folder, phase=phase)
            (folder,) = (path.parent for path in kept.folder.glob("*/config.yaml"))
            scores, rows = kept.scored(folder.name, phase)
            assert np.array_equal(fitted.score(rows).astype(np.float32), scores)
            assert abs(fitted.evaluate(rows)["AUC"] - kept.metrics(name, phase)["AUC"]) <= 1e-12
            unseen = by_code(fitted, kept)
            fitted.add("item", renamed(unseen))
            vectors = fitted.vectors(renamed(unseen)["item_id"])
            assert np.isfinite(vectors).all()
            frozen = phase == "cold" or model.startswith(("GME", "GAR"))
            if frozen and fitted.policies["item_id"] == "generate":
                assert np.allclose(vectors, fitted.method.cold_rows.numpy(), atol=1e-6)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "backbone",
        ["FM", "WideDeep", "DCN", "DCNV2", "PNN", "AutoInt", "xDeepFM", "FiGNN", "AFM", "NFM",
         "FwFM", "FNN", "DSSM", "EulerNet", "AFN", "LorentzFM", "FinalMLP", "FINAL", "Basic"],
    )  # fmt: skip
    def test_on_every_backbone(self, backbone, tmp_path, write_atomic):
        """And a user whom nobody has seen is the padding, or the mean, in all of its tables."""
        from kept_here import kept_run

        numbers = {"numerical_features": ["income", "price"]}  # without them DSSM does not run
        kept = kept_run("MetaE", tmp_path, write_atomic, backbone, **numbers)
        fitted = recbole_cold.load(kept.folder, phase="warm_c", unseen={"user_id": "pad"})
        scores, rows = kept.scored("MetaE", "warm_c")
        assert np.array_equal(fitted.score(rows).astype(np.float32), scores)
        padded = fitted.score(rows.assign(user_id="nobody"))
        columns = fitted.encoded(pa.Table.from_pandas(rows, preserve_index=False))
        columns["user_id"] = torch.zeros_like(columns["user_id"])
        assert np.array_equal(padded, fitted.scored(columns).numpy())
        mean = recbole_cold.load(kept.folder, phase="warm_c").score(rows.assign(user_id="nobody"))
        assert not np.allclose(mean, padded) and np.isfinite(mean).all()

    def test_the_lists_are_all(self):
        """Those above, those of test_own_ways.py, and RML, which is about sessions."""
        from test_own_ways import ALDIMF, EMERG, MELU, MORE

        names = (*METHODS, *KEPT, EMERG, MELU, ALDIMF, *MORE)
        assert {name.partition("[")[0] for name in names} | {"RML"} == {*methods()}


class TestIds:
    """V2."""

    def test_order_and_types(self, fitted, kept):
        scores, rows = kept.scored("MWUF", "warm_c")
        order = np.random.default_rng(3).permutation(len(rows))
        mixed = rows.iloc[order].astype({"item_id": "category", "user_id": "string"})
        assert np.allclose(fitted.score(mixed), scores[order], atol=1e-6)
        assert np.allclose(fitted.score(pa.Table.from_pandas(rows)), scores, atol=1e-6)

    def test_whole_numbers_are_texts(self, fitted):
        encoder = fitted.encoder
        texts = encoder.column("year", pa.array(["1990", "1995", "1990"]))
        assert np.array_equal(texts, encoder.column("year", pa.array([1990, 1995, 1990])))
        assert texts.all()

    def test_ids_that_became_fractions_are_told(self, fitted, kept):
        _, rows = kept.scored("MWUF", "warm_c")
        fitted.score(rows.assign(user_id=rows["user_id"] + ".0"))
        (note,) = fitted.report.notes
        assert "values of 'user_id' are unseen, and known with '.0' left out" in note

    def test_a_row_without_an_id(self, fitted, kept):
        _, rows = kept.scored("MWUF", "warm_c")
        rows.loc[4, "item_id"] = None
        with pytest.raises(UserError, match="1 rows have no 'item_id', the first is row 5"):
            fitted.score(rows)


class TestUnseen:
    """V3, V4."""

    def test_generated_as_the_methods_own_cold_vectors(self, kept):
        for method in ("MWUF", "CVAR"):
            fitted = recbole_cold.load(kept.folder, method, phase="cold")
            unseen = renamed(by_code(fitted, kept))
            fitted.add("item", unseen)
            assert fitted.policies["item_id"] == "generate"
            found = fitted.vectors(unseen["item_id"])
            assert np.allclose(found, fitted.method.cold_rows.numpy(), atol=1e-6)
            scores, rows = kept.scored(method, "cold")
            # One by one, in another order, by another object: the same.
            again = recbole_cold.load(kept.folder, method, phase="cold", items=unseen[::-1])
            assert np.allclose(again.score(renamed(rows)), scores, atol=1e-6)
            assert again.report.answers == {"generated": len(rows)}
            assert np.array_equal(again.score(rows).astype(np.float32), scores)

    def test_what_new_items_learned_does_not_reach_it(self, kept):
        """After warm phases the cold answer is that of the networks as they are now."""
        fitted = recbole_cold.load(kept.folder, "CVAR")
        unseen = renamed(by_code(fitted, kept))
        fitted.add("item", unseen)
        before = {name: each.clone() for name, each in fitted.method.state_dict().items()
                  if isinstance(each, torch.Tensor)}  # fmt: skip
        first = fitted.vectors(unseen["item_id"])
        for name, each in fitted.method.state_dict().items():
            if name in before:
                assert torch.equal(each, before[name])
        method = fitted.method
        with torch.no_grad():
            method.own_side.own_id.weight[method.new_ids] = 5.0
            method.counts[method.new_ids] = 100.0
        again = recbole_cold.load(kept.folder, "CVAR", items=unseen)
        again.method.load_state_dict(method.state_dict())
        assert np.array_equal(again.vectors(unseen["item_id"]), first)
        assert not np.allclose(first, method.new_vectors.detach().numpy(), atol=1e-3)

    def test_features_matter(self, kept):
        items = pd.DataFrame(
            {"item_id": ["a", "b", "c"], "title": ["red night", "the road", ""],
             "genre": ["war", "drama comedy", "opera"], "year": ["1993", "1993", "2099"],
             "price": [0.5, 0.5, 9e9]}
        )  # fmt: skip
        fitted = recbole_cold.load(kept.folder, "CVAR", items=items)
        a, b, c = fitted.vectors(["a", "b", "c"])
        assert not np.allclose(a, b) and not np.allclose(b, c)
        report = recbole_cold.load(kept.folder, "CVAR").new_report()
        assert report.unseen == {}
        fitted.new_report()
        fitted.add("item", items.assign(item_id=["d", "e", "f"]))
        assert fitted.report.unseen == {"genre": 1, "year": 1}
        assert fitted.report.clipped == {"price": 1}

    def test_features_that_are_added_after_a_call_are_read(self, kept):
        """What is pooled of features is kept from call to call, until there are others."""
        items = renamed(kept.items)
        rows = kept.inter.head(len(items)).assign(item_id=items["item_id"].to_numpy())
        fitted = recbole_cold.load(kept.folder, "CVAR")
        before = fitted.score(rows)
        assert np.array_equal(fitted.score(rows), before)
        fitted.add("item", items)
        afterwards = recbole_cold.load(kept.folder, "CVAR", items=items).score(rows)
        assert np.array_equal(fitted.score(rows), afterwards)
        assert not np.array_equal(before, afterwards)

    def test_an_item_of_which_nothing_is_known_is_the_mean(self, fitted, kept):
        _, rows = kept.scored("MWUF", "warm_c")
        found = fitted.vectors(["nothing"])
        method = fitted.method
        old = method.backbone.id_table()[method.old_ids].detach().numpy()
        assert np.allclose(found[0], old.mean(axis=0), atol=1e-7)
        fitted.score(rows.assign(item_id="nothing"))
        assert fitted.report.answers == {"mean": len(rows)}
        assert fitted.report.unseen == {"item_id": 1}

    @torch.no_grad()
    def test_users(self, fitted, kept):
        """The mean of the users that training had, in every table; padding where it is asked."""
        _, rows = kept.scored("MWUF", "warm_c")
        rows = rows[:5]
        found = fitted.score(rows.assign(user_id="nobody"))
        assert fitted.report.answers == {"own+user_id:mean": 5}
        pad = recbole_cold.load(kept.folder, "MWUF", unseen={"user_id": "pad"})
        padded = pad.score(rows.assign(user_id="nobody"))
        assert pad.report.answers == {"own+user_id:pad": 5}
        # A user that the run knows, whose features are missing, with the mean row as its own.
        users = fitted.dataset.field2id_token["user_id"]
        trained = fitted.dataset.trained["user_id"]
        code = 1
        for model, want in ((pad, padded), (fitted, found)):
            backbone = model.method.backbone
            tables = [backbone.table_of("user_id")]
            linear = backbone.model.first_order_linear
            at = int(linear.token_field_offsets[linear.token_field_names.index("user_id")])
            weights = linear.token_embedding_table.embedding.weight
            tables.append(weights[at : at + len(users)])
            for table in tables:
                rows_of = table[0] if model is pad else table[torch.from_numpy(trained)].mean(dim=0)
                table[code] = rows_of
            for field, column in model.method.rows.user_features.items():
                missing = model._absent(field, 1)[0]
                column = column.clone()
                column[code] = missing
                model.method.rows.user_features[field] = column
            assert np.allclose(model.score(rows.assign(user_id=users[code])), want, atol=1e-7)
        assert not np.allclose(found, padded)

    @torch.no_grad()
    def test_tokens(self, fitted, kept):
        """As missing, which the run makes of them too; or the mean of the trained ones."""
        _, rows = kept.scored("MWUF", "warm_c")
        found = fitted.score(rows.assign(device="radio"))
        assert fitted.report.unseen == {"device": len(rows)}
        assert np.array_equal(found, fitted.score(rows.assign(device=None)))
        assert fitted.report.missing == {"device": len(rows)}
        mean = recbole_cold.load(kept.folder, "MWUF", unseen={"device": "mean"})
        other = mean.score(rows.assign(device="radio"))
        table = mean.method.backbone.table_of("device")
        known = [mean.dataset.field2token_id["device"][each] for each in ("phone", "desk", "tv")]
        linear = mean.method.backbone.model.first_order_linear
        at = int(linear.token_field_offsets[linear.token_field_names.index("device")])
        weights = linear.token_embedding_table.embedding.weight[at : at + len(table)]
        for each in (table, weights):
            each[known[0]] = each[known].mean(dim=0)
        assert np.allclose(mean.score(rows.assign(device="phone")), other, atol=1e-7)
        assert not np.allclose(found, other)

    def test_strict(self, kept):
        _, rows = kept.scored("MWUF", "warm_c")
        strict = recbole_cold.load(kept.folder, "MWUF", strict_ids=True)
        assert len(strict.score(rows)) == len(rows)
        for field in ("item_id", "user_id", "device"):
            told = f"'what' in '{field}' is a value that the run has never seen .*strict_ids"
            with pytest.raises(UserError, match=told):
                strict.score(rows.assign(**{field: "what"}))
        with pytest.raises(UserError, match=r"'1e9' in 'price' .* saw nothing like"):
            strict.add("item", pd.DataFrame({"item_id": ["a"], "price": ["1e9"]}))

    @pytest.mark.parametrize(
        ("unseen", "message"),
        [
            ({"device": "generate"}, "none of its policies; use pad or mean or refuse"),
            ({"devise": "pad"}, "does not read; did you mean 'device'"),
            ({"item_id": "pad"}, "use generate or mean or refuse"),
        ],
    )
    def test_policies_that_there_are_not(self, kept, unseen, message):
        with pytest.raises(UserError, match=message):
            recbole_cold.load(kept.folder, "MWUF", unseen=unseen)

    def test_refused_and_mean_by_policy(self, kept):
        _, rows = kept.scored("MWUF", "warm_c")
        fitted = recbole_cold.load(kept.folder, "MWUF", unseen={"item_id": "refuse"})
        with pytest.raises(UserError, match="unseen: item_id: refuse takes none"):
            fitted.score(rows.assign(item_id="what"))
        fitted = recbole_cold.load(kept.folder, "MWUF", unseen={"item_id": "mean"},
                                   items=renamed(kept.items))  # fmt: skip
        fitted.score(renamed(rows))
        assert fitted.report.answers == {"mean": len(rows)}

    def test_items_too_rare_for_the_run_are_unseen_ones_with_features(self, fitted, kept):
        listed = fitted.dataset.field2id_token["item_id"][fitted.dataset.status["item"] == "listed"]
        _, rows = kept.scored("MWUF", "warm_c")
        rare = [each for each in listed if each != "[PAD]"]
        fitted.score(rows[: len(rare)].assign(item_id=rare))
        assert fitted.report.answers == {"generated": len(rare)} and len(rare) == 7

    def test_given_twice_or_known(self, fitted, kept):
        with pytest.raises(UserError, match="the item 'a' is given twice"):
            fitted.add("item", pd.DataFrame({"item_id": ["a", "a"]}))
        fitted.new_report()
        fitted.add("item", kept.items.assign(year="1"))
        assert fitted.report.known == len(kept.items) and not fitted.report.unseen


class TestTopk:
    """V10."""

    @pytest.mark.parametrize("candidates", ["all", "new"])
    def test_brute_force(self, fitted, kept, candidates):
        users = pd.DataFrame({"user_id": ["u3", "u1", "nobody"], "device": ["tv", "desk", "tv"]})
        seen = kept.inter[kept.inter["user_id"] == "u1"]
        found = fitted.topk(users, 4, candidates, seen=seen)
        items = sorted(fitted.ids(candidates))
        for user, device in users.itertuples(index=False):
            rows = pd.DataFrame({"user_id": user, "item_id": items, "device": device})
            rows["score"] = fitted.score(rows)
            if user == "u1":
                rows = rows[~rows["item_id"].isin(seen["item_id"])]
            best = rows.sort_values("score", ascending=False, kind="stable")[:4]
            mine = found[found["user_id"] == user]
            assert list(mine["item_id"]) == list(best["item_id"])
            assert list(mine["rank"]) == [1, 2, 3, 4]
            assert np.allclose(mine["score"], best["score"], atol=1e-6)
        assert fitted.topk(users, 1000, candidates).groupby("user_id").size().max() == len(items)

    def test_ties_by_item(self, fitted):
        items = ["zz", "b", "aa", "c"]  # nothing is known of any: equal scores
        found = fitted.topk(pd.DataFrame({"user_id": ["u1"], "device": ["tv"]}), 3, items)
        assert list(found["item_id"]) == ["aa", "b", "c"] and found["score"].nunique() == 1

    def test_fields_of_a_row_must_be_given(self, fitted):
        with pytest.raises(UserError, match="reads 'device' of each row"):
            fitted.topk(["u1"], 3)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [((0,), "topk 0"), ((3, "old"), "candidates are 'old'"), ((3, []), "no candidates")],
    )
    def test_refused(self, fitted, arguments, message):
        with pytest.raises(UserError, match=message):
            fitted.topk(pd.DataFrame({"user_id": ["u1"], "device": ["tv"]}), *arguments)


class TestFrames:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda rows: rows.rename(columns={"device": "devices"}),
             "the rows have no field 'device', which the model reads; is it the column 'devices'"),
            (lambda rows: rows[["item_id", "device"]], "no field 'user_id'.*there are item_id"),
            (lambda rows: rows.assign(device=[["tv"]] * len(rows)), "its column has lists"),
            (lambda rows: list(rows), "a pandas frame or an arrow table, not a list"),
        ],
    )  # fmt: skip
    def test_refused(self, fitted, kept, change, message):
        _, rows = kept.scored("MWUF", "warm_c")
        with pytest.raises(UserError, match=message):
            fitted.score(change(rows))

    def test_labels(self, fitted, kept):
        _, rows = kept.scored("MWUF", "warm_c")
        with pytest.raises(UserError, match="the rows have no field 'rating'"):
            fitted.evaluate(rows.drop(columns="rating"))
        with pytest.raises(UserError, match="'rating' is a field of numbers"):
            fitted.evaluate(rows.assign(rating="good"))
        fitted.about["label_rule"]["least"] = None
        with pytest.raises(UserError, match="the label 'rating' has the value"):
            fitted.evaluate(rows)

    def test_no_rows(self, fitted, kept):
        assert len(fitted.score(kept.inter[:0])) == 0
