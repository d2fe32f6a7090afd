"""Today's run begins with yesterday's weights: rows by their tokens, the rest as it is."""

import json
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tiny_here import tiny_files

import recbole_cold
from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.comparison.campaign import Campaign
from recbole_cold.comparison.requests import CompareRequest
from recbole_cold.config import make_config
from recbole_cold.errors import UserError
from recbole_cold.experiment import parent as parents
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.experiment.fingerprint import code_of, pretraining_key
from recbole_cold.experiment.parent import KEY, built, digest_of, parent_of
from recbole_cold.experiment.requests import Request, placed
from recbole_cold.store import write_bytes
from recbole_cold.training import trainer
from recbole_cold.trials.settings import placed_keys
from recbole_cold.trials.trial import TrialSpec, run_trial

TABLE = "backbone.model.token_embedding_table.embedding.weight"
FIRST = "backbone.model.first_order_linear.token_embedding_table.embedding.weight"
KEYS = {"threshold": {"rating": 4}, "cold_threshold": 30, "warm_size": 3, "train_batch_size": 64,
        "embedding_size": 4}  # fmt: skip
RISEN = "i20"  # new yesterday, old today


def today_files():
    """Of the rows of ``tiny_files`` without ten users and two old items, and with a new user, two
    new items and 40 more rows of one that was new; in another order."""
    files, rng = tiny_files(), np.random.default_rng(3)
    gone = {f"u{n}" for n in range(10)} | {"i0", "i1"}
    more = {
        "inter": [["u90", f"i{n}", "4", "1000000", "watch"] for n in range(2, 20)]
        + [[f"u{n}", RISEN, "2", "1000001", "phone"] for n in range(10, 50)]
        + [[f"u{n}", "i90", "5", "1000002", "desk"] for n in range(10, 24)]
        + [[f"u{n}", "i91", "3", "1000002", "desk"] for n in range(10, 24)],
        "user": [["u90", "70", "M", "0.4"]],
        "item": [[item, "blue sea", "2005", "opera", "9.5"] for item in ("i90", "i91")],
    }  # fmt: skip
    for suffix, rows in files.items():
        part = [row for row in rows[1:] if not gone & {*row[:2]}] + more[suffix]
        rows[1:] = [part[n] for n in rng.permutation(len(part))]
    return files


@pytest.fixture(scope="module")
def days(tmp_path_factory, write_atomic):
    """Yesterday's run of Base and CVAR, and what today's are made with."""
    folder = tmp_path_factory.mktemp("days")
    write_atomic(folder / "data" / "tiny", "tiny", **tiny_files())
    write_atomic(folder / "data" / "today", "today", **today_files())
    keys = {**KEYS, "data_path": str(folder / "data"), "cache_dir": str(folder / "cache")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "plot_curves", lambda _, path, bands: write_bytes(path, b"-"))
        run = recbole_cold.run(
            "Base,CVAR", "tiny", "DeepFM", 1, saved_dir=str(folder / "saved"),
            config={**keys, "bootstrap_resamples": 0, "matched_row": False, "show_progress": False},
        )  # fmt: skip
    store = DataStore(most=10)

    def make(method="Base", dataset="today", backbone="DeepFM", **more):
        config = make_config(method, dataset, backbone, (), {**keys, KEY: str(run.folder), **more})
        data = store.data(config)
        made, told = built(config, data)
        return SimpleNamespace(method=made, dataset=data, told=told.get(KEY), config=config)

    def known(method="Base"):
        place = run.folder / method / "model"
        state = torch.load(place / "weights.pt", weights_only=True)
        about = json.loads((place / "model.json").read_text())
        tokens = {f["name"]: pq.read_table(place / "tokens" / f["tokens"]).to_pydict()
                  for f in about["fields"] if f["tokens"]}  # fmt: skip
        items = pq.read_table(place / "items.parquet").to_pandas().set_index("item_id")
        return SimpleNamespace(state=state, tokens=tokens, items=items, place=place)

    def fresh(**more):
        return make(**{KEY: None, **more})

    return SimpleNamespace(run=run, make=make, known=known, keys=keys, fresh=fresh)


def rows_of(made, state, field, tokens=None):
    """Token -> its rows in the two tables; of yesterday's by its tokens, of today's else."""
    names = list(made.method.backbone.model.token_field_names)
    every = {name: tokens[name]["token"] if tokens else made.dataset.field2id_token[name].tolist()
             for name in names}  # fmt: skip
    start = sum(len(every[name]) for name in names[: names.index(field)])
    return {token: torch.cat([state[TABLE][start + n], state[FIRST][start + n]])
            for n, token in enumerate(every[field])}  # fmt: skip


class TestBackbone:
    def test_rows_by_token_name_and_dense_layers_as_they_are(self, days):
        today, before, fresh = days.make(), days.known(), days.fresh()
        state, drawn = today.method.state_dict(), fresh.method.state_dict()
        names = list(today.method.backbone.model.token_field_names)
        assert {"user_id", "item_id", "year", "gender", "device"} <= {*names}
        for field in set(names) - {"item_id"}:
            old = rows_of(today, before.state, field, before.tokens)
            own, new = (rows_of(today, each, field) for each in (state, drawn))
            for token, row in own.items():
                assert torch.equal(row, old[token] if token in old else new[token]), token
        words = "backbone.model.token_seq_embedding_table.0.weight"
        codes = today.dataset.field2token_id["title"]
        for code, token in enumerate(before.tokens["title"]["token"]):
            assert torch.equal(state[words][codes[token]], before.state[words][code])
        assert torch.equal(state[words][codes["blue"]], drawn[words][codes["blue"]])
        dense = [name for name in state if name.startswith("backbone.model.mlp")]
        assert dense and all(torch.equal(state[name], before.state[name]) for name in dense)

    def test_items_begin_as_they_are_served(self, days):
        """Old ones with their row, one that was new with its own vector; today's new ones fresh."""
        today, before, fresh = days.make(), days.known(), days.fresh()
        state, drawn = (each.method.state_dict() for each in (today, fresh))
        own, new = (rows_of(today, each, "item_id") for each in (state, drawn))
        split, names = today.dataset.split, today.dataset.field2id_token["item_id"]
        assert RISEN in names[split.old_ids]
        for token in names[split.old_ids]:
            item = before.items.loc[token]
            served = torch.tensor([*item["vector"], item["first_order"]])
            assert torch.equal(own[token], served)
        for token in names[split.new_ids]:
            assert torch.equal(own[token], new[token])
        assert before.items.loc[RISEN, "status"] == "new"

    def test_what_was_found_is_told(self, days):
        told = days.make().told
        assert told["tokens"]["user_id"] == [50, 51] and told["tokens"]["device"] == [3, 4]
        assert told["tokens"]["item_id"] == [13, 20]  # 7 are too rare: nothing was learned of them
        assert told["new_known"] == 18 and told["name"] == "Base@2020 after warm_c"
        assert told["other_scales"] == ["price"] and not told["same_data"]
        (warned,) = parents.warnings_of({KEY: told})
        assert "numbers of 'price' are scaled by this run's own" in warned
        (warned,) = parents.warnings_of({KEY: days.make(dataset="tiny").told})
        assert (
            "was trained on these same data" in warned and "the scores then mean nothing" in warned
        )

    def test_numbers_among_the_inputs(self, days, tmp_path):
        """Their table has a row per field, and means these fields in this order."""
        keys = {"use_count": True, "numerical_features": ["price"]}
        run = recbole_cold.run(
            "Base", "tiny", "DeepFM", 1, saved_dir=str(tmp_path),
            config={**days.keys, **keys, "bootstrap_resamples": 0, "matched_row": False,
                    "show_progress": False},
        )  # fmt: skip
        today = days.make(**keys, **{KEY: str(run.folder)}).method.state_dict()
        (path,) = run.folder.glob("Base/model/weights.pt")
        before = torch.load(path, weights_only=True)
        name = "backbone.model.float_embedding_table.embedding.weight"
        assert len(today[name]) == 4 and torch.equal(today[name], before[name])
        with pytest.raises(UserError, match=r"price \(float, an input\).* price \(float\)"):
            days.make(**{**keys, "numerical_features": ["income"], KEY: str(run.folder)})

    def test_factors_are_no_rows_of_a_table(self, days, tmp_path):
        """Those of ALDIMF may have as many numbers."""
        run = recbole_cold.run(
            "ALDIMF", "tiny", "DeepFM", 1, saved_dir=str(tmp_path),
            config={**days.keys, "bootstrap_resamples": 0, "matched_row": False,
                    "show_progress": False, "pretrain_epochs": 1, "aldimf_factor_size": 4,
                    "aldimf_teacher_epochs": 1},
        )  # fmt: skip
        today, place = days.make(**{KEY: str(run.folder)}), run.folder / "ALDIMF" / "model"
        row = rows_of(today, today.method.state_dict(), "item_id")[RISEN][:4]
        items = pq.read_table(place / "items.parquet").to_pandas().set_index("item_id")
        code = items.index.get_loc(RISEN)
        table = torch.load(place / "weights.pt", weights_only=True)[TABLE]
        names = list(today.method.backbone.model.token_field_names)
        assert names.index("item_id") == 1  # behind the 60 users and their padding
        assert torch.equal(row, table[61 + code])
        assert not torch.equal(row, torch.tensor(items.loc[RISEN, "vector"]))

    def test_without_the_key_nothing_is_taken(self, days):
        fresh = days.fresh()
        plain = build_method(fresh.config, fresh.dataset)
        state = plain.state_dict()
        assert fresh.told is None
        assert all(torch.equal(each, state[name]) for name, each in
                   fresh.method.state_dict().items())  # fmt: skip


class TestOwnNetwork:
    def test_of_the_same_method(self, days):
        today, before, fresh = days.make("CVAR"), days.known("CVAR"), days.fresh(method="CVAR")
        assert today.told["own_network"] is True and today.told["name"].startswith("CVAR@2020")
        state, drawn = (each.method.state_dict() for each in (today, fresh))
        for name in ("posterior.weight", "prior.bias", "decoder.weight"):
            assert torch.equal(state[name], before.state[name])
        name, codes = "own_side.tables.field_year.weight", today.dataset.field2token_id["year"]
        for code, token in enumerate(before.tokens["year"]["token"]):
            assert torch.equal(state[name][codes[token]], before.state[name][code])
        assert torch.equal(state[name][codes["2005"]], drawn[name][codes["2005"]])

    def test_what_a_run_has_counted_begins_anew(self, days):
        today, fresh = days.make("CVAR"), days.fresh(method="CVAR")
        state, drawn = (each.method.state_dict() for each in (today, fresh))
        for name in ("counts", "count_range", "new_vectors", "cold_rows", "new_items_started"):
            assert torch.equal(state[name], drawn[name]), name
        ids = today.method.new_ids
        private = "own_side.own_id.weight"
        assert torch.equal(state[private][ids], drawn[private][ids]) and state[private].any()

    def test_of_another_method_the_backbone_alone(self, days):
        today, fresh = days.make("MetaE"), days.fresh(method="MetaE")
        assert today.told["own_network"] == "it is of Base"
        name = "generator.0.weight"
        assert torch.equal(today.method.state_dict()[name], fresh.method.state_dict()[name])

    def test_of_another_size_the_backbone_alone(self, days):
        today = days.make("CVAR", cvar_own_id=False)
        assert today.told["own_network"].startswith("of its own network 'prior.weight' does not")
        before = days.known("CVAR").state
        name = "backbone.model.mlp_layers.mlp_layers.1.weight"
        assert torch.equal(today.method.state_dict()[name], before[name])
        fresh = days.fresh(method="CVAR", cvar_own_id=False).method.state_dict()
        assert torch.equal(today.method.state_dict()["posterior.bias"], fresh["posterior.bias"])


class TestKeys:
    @pytest.fixture
    def copied(self, days, tmp_path):
        shutil.copytree(days.run.folder / "Base" / "model", tmp_path / "model")
        return tmp_path / "model"

    def keys_of(self, made):
        split, spec = made.dataset.split, made.config["model"]
        return code_of(made.config), pretraining_key(made.method, 2020, split, spec)

    def test_the_content_counts_and_not_the_place(self, days, copied):
        one, two = days.make(), days.make(**{KEY: str(copied)})
        assert self.keys_of(one) == self.keys_of(two)
        assert not {*self.keys_of(one)} & {*self.keys_of(days.fresh())}
        about = json.loads((copied / "model.json").read_text())
        (copied / "model.json").write_text(json.dumps({**about, "note": "another model"}))
        assert not {*self.keys_of(one)} & {*self.keys_of(days.make(**{KEY: str(copied)}))}

    def test_a_run_is_known_by_its_folder_from_anywhere(self, days, monkeypatch, tmp_path):
        monkeypatch.chdir(days.run.folder.parent)
        file = tmp_path / "keys.yaml"
        file.write_text(f"{KEY}: {days.run.folder.name}\n")
        config = make_config("Base", "today", overrides=days.keys)
        for request in (
            Request("Base", "today", overrides={**days.keys, KEY: days.run.folder.name}),
            Request("Base", "today", config_files=[str(file)], overrides=days.keys),
        ):
            assert placed(request, config).overrides[KEY] == str(days.run.folder)
        assert KEY not in placed(Request("Base", overrides=days.keys), config).overrides
        config = make_config("Base", "today", overrides={**days.keys, KEY: days.run.folder.name})
        assert placed_keys(config)[KEY] == str(days.run.folder)

    def test_cells_of_a_comparison_find_it_from_anywhere(self, days, monkeypatch):
        monkeypatch.chdir(days.run.folder.parent)
        asked = CompareRequest("Base,Base[init_from=null]", "DeepFM", "today",
                               overrides={**days.keys, KEY: days.run.folder.name})  # fmt: skip
        campaign = Campaign(asked)
        found = [campaign.spec(cell).overrides.get(KEY) for cell in campaign.cells()]
        assert {str(days.run.folder), None} == {*found}

    @pytest.mark.slow
    def test_a_trial_begins_as_a_run_does(self, days):
        """Base continues what it was, CVAR takes its own network along."""
        spec = TrialSpec(
            "CVAR", "today", "DeepFM", (), {**days.keys, KEY: str(days.run.folder),
                                            "pretrain_epochs": 0, "keep_scores": False}
        )  # fmt: skip
        (run,) = run_trial(spec)["runs"]
        assert run["seeds"][0][KEY]["name"] == "CVAR@2020 after warm_c"
        assert run["seeds"][0][KEY]["own_network"] is True


class TestRefused:
    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"backbone": "FM"}, r"has backbone: DeepFM, and Base has FM; give the same"),
            ({"embedding_size": 8}, r"has embedding_size: 4, and Base has 8"),
            ({"method": "EmerG"}, r"has backbone: DeepFM, and EmerG has EmerG"),
            ({"mlp_hidden_size": [8]}, r"backbone of the model .* does not fit: 'model\..*shape"),
            ({"unload_col": {"item": ["year"]}}, r"reads the fields .*year.*in that order"),
            (
                {"numerical_features": ["price"]},
                r"reads the fields .*price \(float\).*, and this run .*price \(float, an input\)",
            ),
            ({KEY: "/nowhere/at/all"}, r"^init_from: '/nowhere/at/all' is no folder"),
        ],
    )
    def test_in_one_sentence(self, days, more, message):
        with pytest.raises(UserError, match=message) as said:
            days.make(**more)
        assert str(said.value).startswith("init_from: ")

    def test_an_altered_folder(self, days, tmp_path):
        shutil.copytree(days.run.folder / "Base" / "model", tmp_path / "model")
        path = tmp_path / "model" / "weights.pt"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(UserError, match=r"was altered: the SHA-256 of 'weights.pt'"):
            days.make(**{KEY: str(tmp_path / "model")})

    def test_several_of_one_method(self, days, tmp_path):
        for seed in (2020, 2021):
            place = tmp_path / "run" / "Base" / f"model-seed-{seed}"
            shutil.copytree(days.run.folder / "Base" / "model", place)
            about = json.loads((place / "model.json").read_text())
            (place / "model.json").write_text(json.dumps({**about, "seed": seed}))
        with pytest.raises(UserError, match=r"init_from: .*several models: Base@2020 after warm_c"):
            days.make(**{KEY: str(tmp_path / "run")})
        found = days.make(**{KEY: f"{tmp_path}/run/Base@2021"})
        assert found.told["name"] == "Base@2021 after warm_c"

    def test_by_the_check_of_leaks(self, days, capsys):
        words = [f"--{name}={value}" for name, value in days.keys.items() if name != "threshold"]
        words += ["--threshold={rating: 4}", "--dataset=tiny", "--model=Base"]
        assert main(["check", "--leaks", *words, f"--{KEY}={days.run.folder}"]) == 2
        assert "init_from: check --leaks trains from nothing" in capsys.readouterr().err


class TestRuns:
    @pytest.fixture(autouse=True)
    def no_pictures(self, monkeypatch):
        monkeypatch.setattr(report, "plot_curves", lambda _, path, bands: write_bytes(path, b"-"))

    @pytest.fixture
    def go(self, days, tmp_path):
        """A run from a copy of yesterday's model, with a cache of its own."""
        copy = tmp_path / "parent"
        shutil.copytree(days.run.folder, copy)

        def run(name, *words):
            keys = {**days.keys, "cache_dir": str(tmp_path / f"cache-{name}"), KEY: str(copy)}
            flags = [f"--{key}={json.dumps(each)}" for key, each in keys.items()]
            code = main([*flags, "--dataset=today", "--model=CVAR[cvar_iters=2]",
                         "--bootstrap_resamples=0", "--matched_row=False", "--show_progress=False",
                         f"--saved_dir={tmp_path / name}", *words])  # fmt: skip
            (folder,) = (tmp_path / name).iterdir()
            return code, folder

        run.copy = copy
        return run

    def stop_in(self, monkeypatch, stage):
        checkpoint = trainer.Trainer._checkpoint

        def counted(self, now, *args):
            if now == stage:
                os.kill(os.getpid(), signal.SIGINT)
            checkpoint(self, now, *args)

        patch = monkeypatch.context()
        patch.__enter__().setattr(trainer.Trainer, "_checkpoint", counted)
        return patch

    @pytest.mark.slow
    def test_a_resumed_one_equals_an_unbroken_one(self, go, numbers, monkeypatch):
        code, whole = go("whole")
        assert code == 0
        patch = self.stop_in(monkeypatch, "pretrain")
        code, cut = go("cut")
        patch.__exit__(None, None, None)
        assert code == 130 and main([f"--resume={cut}"]) == 0
        assert numbers(report.load(cut)) == numbers(report.load(whole))
        (run,) = report.load(cut)["runs"]
        assert run["seeds"][0][KEY] == report.load(whole)["runs"][0]["seeds"][0][KEY]
        about = json.loads(next(cut.glob("*/model/model.json")).read_text())
        assert about[KEY]["sha256"] == run["seeds"][0][KEY]["sha256"]

    def test_one_whose_parent_changed_is_not_continued(self, go, monkeypatch, capsys):
        patch = self.stop_in(monkeypatch, "pretrain")
        _, cut = go("cut")
        patch.__exit__(None, None, None)
        path = go.copy / "CVAR" / "model" / "model.json"
        about = json.loads(path.read_text())
        path.write_text(json.dumps({**about, "note": "another model"}))
        assert main([f"--resume={cut}"]) == 2
        assert "init_from changed since the run in" in capsys.readouterr().err


def test_a_digest_is_that_of_model_json(days):
    config = days.make().config
    assert parent_of(config).digest == digest_of(config) and len(digest_of(config)) == 64
