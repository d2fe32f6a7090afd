"""Bands of curves and metrics on batches, from row scores: in resamples and batches written out."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from recbole_cold import load_results, report, seeding
from recbole_cold.cli.main import main
from recbole_cold.errors import UserError
from recbole_cold.evaluation.bootstrap import cluster_weights
from recbole_cold.experiment.bands import bands
from recbole_cold.experiment.batches import batches
from recbole_cold.experiment.intervals import Settings, levels
from recbole_cold.experiment.scores import DamagedScores, RowScores, ScoredRows
from recbole_cold.report import Bands

PHASES = ["none", "ft_a"]
SEEDS = (4, 5)
ROWS = {4: 60, 5: 50}  # each seed holds out sessions of other users
USERS = 70


def scores_of(number, seed):
    """A row per user, as sessions have; the users of a seed are drawn."""
    rng, own = np.random.default_rng(seed), np.random.default_rng(100 * number + seed)
    n = ROWS[seed]
    user = np.sort(rng.choice(USERS, n, replace=False))
    rows = ScoredRows(
        np.arange(n), rng.integers(0, 2, n).astype(np.uint8), rng.integers(0, 9, n),
        np.arange(n),
    )  # fmt: skip
    scores = {
        phase: np.clip(0.4 * own.random(n) + 0.3 * rows.label + 0.1, 0, 1).astype("f4")
        for phase in PHASES
    }
    tokens = np.array([f"i{k}" for k in range(9)]), np.array([f"u{k:02}" for k in user])
    return RowScores(scores, dict.fromkeys(PHASES, "test"), {"test": rows}, *tokens)


TABLE = {(row, seed): scores_of(k, seed) for k, row in enumerate(("Base", "RML")) for seed in SEEDS}


def find(row, seed):
    return TABLE[row, seed["seed"]]


def a_document(rows=("Base", "RML"), seeds=SEEDS, rule="sessions", resamples=25):
    runs = [
        {
            "label": row, "model": row, "backbone": "DeepFM", "variant": {}, "matched_steps": None,
            "config": {"bootstrap_resamples": resamples, "seed": 4, "show_progress": False,
                       "delong": False, "train_batch_size": 20},
            "seeds": [
                {"seed": seed, "stages": [],
                 "phases": {p: {"metrics": the_metrics(TABLE[row, seed], p), "rows": ROWS[seed],
                                "positives": 9, "warnings": []} for p in PHASES}}
                for seed in seeds
            ],
        }
        for row in rows
    ]  # fmt: skip
    return {
        "dataset": "tiny", "phases": PHASES, "metrics": ["AUC", "LogLoss", "F1"], "runs": runs,
        "split": {"rule": rule}, "eval_on": "test", "protocol": "strict", "share_pretrained": False,
    }  # fmt: skip


def told(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def the_metrics(scores, phase):
    label, score = scores.rows["test"].label, scores.scores[phase].astype(float)
    return {"AUC": roc_auc_score(label, score), "LogLoss": log_loss(label, score), "F1": 0.5}


def written_out(metric, row, seeds, resamples=25):
    """The metric in each resample of users, the mean over seeds that are drawn as well."""
    tokens = sorted({token for seed in seeds for token in TABLE[row, seed].users.tolist()})
    drawn = cluster_weights(len(tokens), resamples, seeding.derive(4, "bootstrap", "user"))
    found = []
    for seed in seeds:
        scores = TABLE[row, seed]
        places = [tokens.index(token) for token in scores.users]
        label, score = scores.rows["test"].label, scores.scores["ft_a"].astype(float)
        times = [np.repeat(np.arange(len(label)), each[places]) for each in drawn]
        found.append([metric(label[rows], score[rows]) for rows in times])
    found = np.array(found)
    if len(seeds) > 1:
        rng = np.random.default_rng(seeding.derive(4, "bootstrap", "seeds"))
        chosen = rng.integers(0, 2, (2, resamples))
        found = np.take_along_axis(found, chosen, axis=0)
    return np.percentile(found.mean(axis=0), [2.5, 97.5])


class TestLevels:
    @pytest.mark.parametrize("seeds", [SEEDS[:1], SEEDS], ids=str)
    @pytest.mark.parametrize(("name", "metric"), [("AUC", roc_auc_score), ("LogLoss", log_loss)])
    def test_equal_resamples_written_out(self, name, metric, seeds):
        found = levels({"": a_document(seeds=seeds)}, find, Settings(25, 4), "user")
        expected = written_out(metric, "RML", seeds)
        assert found.ends["", "RML", "ft_a", name] == pytest.approx(expected.tolist(), abs=1e-6)
        assert found.nested == (len(seeds) > 1) and not found.missing

    def test_users_are_drawn_or_items(self):
        users, items = (
            levels({"": a_document()}, find, Settings(25, 4), side).ends
            for side in ("user", "item")
        )
        assert users.keys() == {key for key in items if key[-1] != "WithinAUC"}
        assert all(users[key] != items[key] for key in users)


class TestBands:
    def test_sessions_have_bands_over_users_unless_asked(self):
        found = bands({"": a_document()}, find)
        assert found == bands({"": a_document()}, find, "users") is not None
        assert found.words == "band: 95 % over users and seeds"
        assert bands({"": a_document(seeds=SEEDS[:1])}, find).words == "band: 95 % over users"
        assert bands({"": a_document()}, find, "std") is None
        assert bands({"": a_document(rule="frequency")}, find) is None
        items = bands({"": a_document(rule="frequency")}, find, "items")
        assert items.words == "band: 95 % over items and seeds"
        assert items.ends == levels({"": a_document()}, find, Settings(25, 4), "item").ends

    def test_what_was_not_kept(self):
        def without(row, seed):
            if row == "RML":
                raise DamagedScores("it is gone")
            return find(row, seed)

        def nothing(row, seed):
            raise DamagedScores("it is gone")

        found = bands({"": a_document()}, without)
        assert {key[1] for key in found.ends} == {"Base"} and "(no scores of RML)" in found.words
        assert bands({"": a_document()}, nothing) is None
        with pytest.raises(UserError, match=r"--band=users needs the scores .* it is gone"):
            bands({"": a_document()}, nothing, "users")

    def test_a_run_without_resamples_has_none_unless_asked(self):
        document = a_document(resamples=0)
        assert bands({"": document}, find) is None
        assert bands({"": document}, find, "users").ends

    def test_another_word(self):
        with pytest.raises(UserError, match=r"--band=user is no band; did you mean users\?"):
            bands({"": a_document()}, find, "user")


class TestPictures:
    def test_the_band_has_these_ends(self):
        ends = {("", "Base", phase, "AUC"): (0.2, 0.9) for phase in PHASES}
        figure = report.curves_figure(a_document(), "AUC", Bands("band: of mine", ends))
        (axes,) = figure.axes
        base, rml = (each.get_paths()[0].vertices[:, 1] for each in axes.collections)
        assert {*np.round(base, 9)} == {0.2, 0.9}
        means = [roc_auc_score(TABLE["RML", s].rows["test"].label, TABLE["RML", s].scores["ft_a"])
                 for s in SEEDS]  # fmt: skip
        # A row without a band has no deviation in its place, either.
        assert len({*np.round(rml, 9)}) == 2 and np.isclose(rml, np.mean(means)).any()
        low, high = axes.get_ylim()
        assert low < 0.2 and high > 0.9
        assert "band: of mine" in told(figure)

    def test_a_metric_without_bands_is_named(self):
        found = bands({"": a_document()}, find)
        document = {**a_document(), "metrics": ["AUC", "F1"]}
        words = told(report.curves_figure(document, None, found))
        assert "over users and seeds, none of F1" in words

    def test_deviations_are_said_to_be_deviations(self):
        assert "band: ± 1 sample std" in told(report.curves_figure(a_document()))

    def test_each_backbone_of_a_comparison_has_its_own(self):
        documents = [{**a_document(), "schema": 1, "backbone_label": b} for b in ("FM", "DCN")]
        shown = report.Comparison({"schema": 1, "documents": documents, "seeds": SEEDS})
        ends = {("DCN", "RML", phase, "AUC"): (0.1, 0.9) for phase in PHASES}
        for kind in ("curves", "panels"):
            asked = report.Asked("AUC", bands=Bands("of mine", ends))
            figure = report.PLOTS[kind].draw([shown], asked)
            found = [
                {0.1, 0.9} <= {*np.round(band.get_paths()[0].vertices[:, 1], 9)}
                for axes in figure.axes
                for band in axes.collections
            ]
            assert sorted(found) == [False, False, False, True] and "of mine" in told(figure)
            assert found[-1]


class TestBatches:
    def rows(self, document):
        return [(("", run["label"]), run) for run in document["runs"]]

    def test_are_those_of_every_seed_in_their_order(self):
        found = batches(self.rows(a_document()), PHASES, "AUC", find, 16)
        assert found.sizes == (16,)
        expected = []
        for seed in SEEDS:
            scores = TABLE["RML", seed]
            for start in range(0, ROWS[seed] - 15, 16):
                part = slice(start, start + 16)
                expected.append(roc_auc_score(scores.rows["test"].label[part],
                                              scores.scores["ft_a"][part]))  # fmt: skip
        assert found.values["", "RML"][1] == pytest.approx(expected) and len(expected) == 6

    def test_of_several_backbones_each_has_a_heading(self):
        documents = [{**a_document(), "schema": 1, "backbone_label": b} for b in ("FM", "DCN")]
        shown = report.Comparison({"schema": 1, "documents": documents, "seeds": SEEDS})
        rows = {(b, row): [[0.4, 0.6]] * 2 for b in ("FM", "DCN") for row in ("Base", "RML")}
        asked = report.Asked("AUC", batches=report.Batches((16,), rows))
        first = report.PLOTS["ridgelines"].draw([shown], asked).axes[0]
        assert [text.get_text() for text in first.texts] == ["FM", "DCN"]
        assert [each.get_text() for each in first.get_yticklabels()] == ["Base", "RML"] * 2
        places = sorted([*(text.get_position()[1] for text in first.texts), *first.get_yticks()])
        assert np.diff(places).min() >= 1  # nothing stands on anything
        boxes = report.PLOTS["boxes"].draw([shown], asked).axes
        assert [axes.get_title("left") for axes in boxes] == ["FM", "DCN"]

    def test_without_a_size_they_are_those_of_training(self):
        found = batches(self.rows(a_document()), PHASES, "AUC", find)
        assert found.sizes == (20,) and len(found.values["", "Base"][0]) == 3 + 2

    def test_what_they_cannot_be_of(self):
        with pytest.raises(UserError, match="WithinAUC is not; use one of AUC, LogLoss"):
            batches(self.rows(a_document()), PHASES, "WithinAUC", find)
        with pytest.raises(UserError, match="a batch of 1 rows has one class"):
            batches(self.rows(a_document()), PHASES, "AUC", find, 1)


# ------------------------------------------------------------------------- the command
@pytest.fixture(scope="module")
def folder(tiny_path, tmp_path_factory):
    """A run of sessions with two seeds."""
    saved = tmp_path_factory.mktemp("sessions")
    words = [
        "--model=Base", "--dataset=tiny", f"--data_path={tiny_path.parent}",
        "--threshold={rating: 4}", "--split_rule=sessions", "--session_length=4",
        "--session_min=2", "--session_user_min=5", "--embedding_size=4", "--pretrain_epochs=1",
        "--seeds=2", "--reference_rows=[]", "--matched_row=False", "--bootstrap_resamples=50",
        "--show_progress=False", f"--saved_dir={saved}",
    ]  # fmt: skip
    assert main(["run", *words]) == 0
    (folder,) = saved.iterdir()
    return folder


class TestVerb:
    def test_the_runs_own_curves_are_those_of_the_verb(self, folder, tmp_path, capsys):
        first = (folder / "figures" / "curves.png").read_bytes()
        for flags, same in (([], True), (["--band=items"], False)):
            assert main(["plot", str(folder), *flags, f"--to={tmp_path / 'a.png'}"]) == 0
            assert ((tmp_path / "a.png").read_bytes() == first) == same

    def test_phases_of_sessions_have_their_bands(self, folder):
        found = load_results(folder)
        axes = found.plot(metric="AUC", band="users").axes[0]
        names = [each.get_text() for each in axes.get_xticklabels()]
        assert names == ["none", "ft_a", "ft_b", "ft_c"]
        ends = bands({"": found.document}, found.find_scores(), "users").ends
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        for phase in found.document["phases"]:
            assert np.isin(np.round(ends["", "Base", phase, "AUC"], 12), np.round(band, 12)).all()

    def test_boxes_and_ridgelines(self, folder, capsys):
        for kind in report.OF_BATCHES:
            assert main(["plot", str(folder), f"--kind={kind}", "--batch=4"]) == 0
            assert (folder / "figures" / f"{kind}.png").stat().st_size > 1000
        figure = load_results(folder).plot(kind="ridgelines", batch=4)
        assert [axes.get_title("left") for axes in figure.axes] == ["none", "ft_a", "ft_b", "ft_c"]
        assert "batches of 4 scored rows, all seeds" in told(figure)
        assert "one class" in told(figure) and "tiny, DeepFM: AUC on batches" in told(figure)

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--band=itemz"], "--band=itemz is no band; did you mean items?"),
            (["--kind=boxes", "--band=users"], "--band belongs to --kind=curves and panels"),
            (["--batch=8"], "--batch belongs to --kind=boxes and ridgelines"),
            (["--kind=boxes", "--batch=x"], "--batch=x is no number of rows"),
            (["--kind=boxes", "--batch=1"], "a batch of 1 rows has one class"),
            (["--kind=ridgelines"], "no phase has a whole batch of 2,048 rows of one seed"),
            (["--kind=boxes", "--metric=GAUC"], "which GAUC is not; use one of AUC"),
        ],
    )
    def test_mistakes_are_one_sentence(self, folder, words, sentence, capsys):
        assert main(["plot", str(folder), *words]) == 2
        err = capsys.readouterr().err
        assert sentence in err and err.count("\n") == 1


def test_a_mean_is_nan_where_no_resample_has_both_classes():
    one = {seed: TABLE["Base", seed].rows["test"] for seed in SEEDS}
    clicked = {
        seed: RowScores(
            TABLE["Base", seed].scores, dict.fromkeys(PHASES, "test"),
            {"test": rows._replace(label=np.ones_like(rows.label))},
            TABLE["Base", seed].items, TABLE["Base", seed].users,
        )
        for seed, rows in one.items()
    }  # fmt: skip
    found = levels(
        {"": a_document(["Base"])}, lambda row, seed: clicked[seed["seed"]], Settings(20, 4), "user"
    )
    assert {metric for *_, metric in found.ends} == {"LogLoss"}
    assert all(math.isfinite(end) for ends in found.ends.values() for end in ends)
