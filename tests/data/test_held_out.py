"""Held-out rows of old items: nobody learns from them; they tell what new items cost old ones."""

import json

import numpy as np
import pytest
import torch

from recbole_cold import report
from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.data.held_out import HELD_OUT, hold_out
from recbole_cold.data.split import frequency_split
from recbole_cold.errors import Interrupted, UserError
from recbole_cold.evaluation.metrics import auc
from recbole_cold.experiment.building import build_method
from recbole_cold.experiment.data_store import run_data
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Request
from recbole_cold.report._comparison import of_run
from recbole_cold.report._comparison_blocks import old_block
from recbole_cold.training.trainer import Trainer

IDS = np.random.default_rng(3).permutation(
    np.repeat(np.arange(1, 9), [1, 9, 12, 31, 32, 35, 40, 70])
)
TIME = np.random.default_rng(4).permutation(len(IDS)).astype(float)


@pytest.fixture(scope="module")
def split():
    return frequency_split(IDS, TIME, threshold=30, size=2)


class TestHoldOut:
    @pytest.mark.parametrize("fraction", [0.03, 0.25, 0.5, 0.99])
    def test_takes_the_whole_part_of_a_share_of_each_old_id(self, split, fraction):
        found = hold_out(split, IDS, fraction, seed=1)
        for code in split.old_ids:
            n = int((IDS[split["train"]] == code).sum())
            assert (IDS[found[HELD_OUT]] == code).sum() == int(fraction * n) < n
        both = np.sort(np.r_[found["train"], found[HELD_OUT]])
        np.testing.assert_array_equal(both, split["train"])
        assert (np.diff(IDS[found[HELD_OUT]]) >= 0).all() and (np.diff(found["train"]) > 0).all()

    def test_nothing_else_moves(self, split):
        found = hold_out(split, IDS, 0.25, seed=1)
        for name in set(split.parts) - {"train"}:
            np.testing.assert_array_equal(found[name], split[name])
        assert found.phases == split.phases and found.hash != split.hash
        np.testing.assert_array_equal(found.old_ids, split.old_ids)

    def test_follows_from_the_seed(self, split):
        one, again, other = (hold_out(split, IDS, 0.25, seed) for seed in (1, 1, 2))
        assert one == again
        assert not np.array_equal(one[HELD_OUT], other[HELD_OUT])

    def test_every_row_may_be_drawn(self, split):
        drawn = np.zeros(len(IDS))
        for seed in range(60):
            drawn[hold_out(split, IDS, 0.25, seed)[HELD_OUT]] += 1
        often = drawn[split["train"]] / 60  # standard error .056
        assert often.min() > 0.02 and often.max() < 0.5

    def test_none_is_the_split_itself(self, split):
        assert hold_out(split, IDS, 0.0, seed=1) is split


SMALL = {"embedding_size": 4, "train_batch_size": 64, "show_progress": False, "device": "cpu"}


@pytest.fixture
def document(tiny_keys, tmp_path):
    keys = {**tiny_keys, **SMALL, "cache_dir": str(tmp_path / "cache"), "old_test_fraction": 0.3}

    def go(models, **more):
        return Experiment(Request(models, "tiny", None, (), {**keys, **more}, "it")).run()

    return go


def old_of(document, label):
    run = next(run for run in document["runs"] if run["label"] == label)
    return [phase["old"] for phase in run["seeds"][0]["phases"].values()]


class TestScores:
    def test_methods_that_leave_old_items_alone_change_no_bit(self, document):
        found = document("Base,MetaE,CVAR,ItemBias", matched_row=False)
        for label in ("Base", "MetaE", "CVAR", "ItemBias"):
            for phase in old_of(found, label):
                assert phase["AUC"] == phase["before"] and phase["rows"] > 100

    def test_methods_that_learn_the_backbone_again_are_told(self, document):
        found = document("Base,DropoutNet,GAR", matched_row=False)
        plain, gar = old_of(found, "Base")[0], old_of(found, "GAR")[0]
        assert gar["before"] == plain["before"] != gar["AUC"]
        assert old_of(found, "DropoutNet")[0]["before"] != plain["before"]  # its pre-training

    def test_a_network_of_its_own_has_no_before(self, document):
        for phase in old_of(document("EmerG", matched_row=False), "EmerG"):
            assert np.isnan(phase["before"]) and 0 < phase["AUC"] < 1

    def test_the_number_is_the_auc_of_rows_that_were_not_learned(self, tiny_keys):
        keys = {**tiny_keys, **SMALL, "old_test_fraction": 0.3}
        config = make_config("Base", "tiny", None, overrides=keys)
        data = run_data(config)
        rows = data.split[HELD_OUT]
        assert not set(rows) & set(data.split["train"])
        trainer = Trainer(build_method(config, data), 1, held_out=rows)
        trainer.pretrain()
        trainer.learn()
        told = trainer.evaluate("cold", data.split["test"])["old"]
        with torch.no_grad():
            batch = trainer.method.rows.batch(trainer.method.rows.index(rows))
            scores = trainer.method.predict(batch)
        labels = torch.as_tensor(np.array(data.inter[data.label_field][rows]))
        assert told == {
            "rows": len(rows),
            "before": auc(scores, labels),
            "AUC": auc(scores, labels),
        }

    def test_a_stopped_run_remembers_what_was_before(self, tiny_keys, tmp_path):
        keys = {**tiny_keys, **SMALL, "old_test_fraction": 0.3, "checkpoint_seconds": 0}
        config = make_config("GAR", "tiny", None, overrides=keys)

        def trainer(stop=lambda: False):
            data = run_data(config)
            path, rows = tmp_path / "state.pt", data.split[HELD_OUT]
            return Trainer(build_method(config, data), 1, path, stop=stop, held_out=rows)

        first = trainer()
        first.pretrain()
        batches = iter(range(3))
        first.stop = lambda: next(batches, None) is None
        with pytest.raises(Interrupted):
            first.learn()
        assert 0 < first.journal["old_before"] < 1
        second = trainer()
        assert second.resume()
        second.learn()
        assert second.journal["old_before"] == first.journal["old_before"]

    def test_none_is_held_out_by_default(self, document):
        found = document("Base", matched_row=False, old_test_fraction=0.0)
        assert all("old" not in phase for phase in found["runs"][0]["seeds"][0]["phases"].values())
        assert old_block(of_run(found)) == []
        assert "old items" not in report.table(found) + report.markdown(found)


class TestTold:
    def test_in_the_tables(self, document):
        found = document("Base,DropoutNet,EmerG", matched_row=False)
        (block,) = old_block(of_run(found))
        assert block.title == "AUC, old items" and block.columns[:2] == ["before", "cold"]
        lines = dict(block.groups[0][1])
        phases = old_of(found, "DropoutNet")
        assert lines["DropoutNet"] == [
            f"{value:.4f}" for value in [phases[0]["before"], *(each["AUC"] for each in phases)]
        ]
        assert lines["EmerG"][0] == "-"
        legend = f"old items: {phases[0]['rows']:,} of their rows, from which nobody learned"
        for text in (report.table(found), report.markdown(found)):
            assert "AUC, old items" in text and legend in " ".join(text.split())

    def test_in_a_file_that_is_read_back(self, document, tmp_path):
        found = document("EmerG", matched_row=False)
        report.write_json(tmp_path / "results.json", found)
        for phase in old_of(report.load(tmp_path / "results.json"), "EmerG"):
            assert np.isnan(phase["before"])
        broken = json.loads((tmp_path / "results.json").read_text())
        broken["runs"][0]["seeds"][0]["phases"]["cold"]["old"] = {"rows": 3, "before": 0.5}
        with pytest.raises(UserError, match=r"phases\.cold\.old\.AUC is missing"):
            report.validate(broken)

    def test_ready_files_have_no_such_part(self, tiny_flags, tmp_path, capsys):
        asked = ["check", *tiny_flags, "--old_test_fraction=0.1", f"--write={tmp_path / 'ready'}"]
        assert main(asked) == 2
        assert "old_test_fraction's is none of them" in capsys.readouterr().err

    def test_check_counts_them(self, tiny_flags, capsys):
        assert main(["check", *tiny_flags, "--old_test_fraction=0.1"]) == 0
        assert HELD_OUT in capsys.readouterr().out
