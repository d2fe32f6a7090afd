"""The exported scorer: as files that answer what the method answers, without RecBole and us."""

import ast
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_cold.config import make_config
from recbole_cold.errors import UserError
from recbole_cold.experiment.data_store import run_data
from recbole_cold.serving import graph_files
from recbole_cold.serving.graph import (
    BIAS,
    VECTOR,
    KeepsBatch,
    Scorer,
    Served,
    feed_of,
    known_or_last,
    known_tokens,
    scorer_of,
    served_values,
    with_mean_row,
)
from recbole_cold.serving.graph_files import FORMATS, check_formats, loaded, parity, write_scorer

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    "FM", "DeepFM", "WideDeep", "DCN", "DCNV2", "PNN", "AutoInt", "xDeepFM", "FiGNN", "AFM", "NFM",
    "FwFM", "FNN", "DSSM", "EulerNet", "AFN", "LorentzFM", "FinalMLP", "FINAL", "Basic",
]  # fmt: skip
SMALL = {
    "threshold": {"rating": 4}, "cold_threshold": 30, "warm_size": 3, "embedding_size": 4,
    "train_batch_size": 64, "show_progress": False, "device": "cpu", "seed": 7,
    "numerical_features": ["income", "price", "emb"],
}  # fmt: skip
# AFN's own 1500 neurons are no network for a test; gates and ensembles have second tables. DCNV2's
# weights are drawn as large as 1: more layers of them leave float32 no digits to compare.
EXTRA = {
    "DCNV2": {"cross_layer_num": 1},
    "AFN": {
        "log_neurons": 20,
        "mlp_hidden_size": [16],
        "ensemble_dnn": True,
        # The logarithm of what is nearly zero: the method differs from itself by 5e-6 with the rows
        # one at a time.
        "log_form": "log1p",
    },
    "FinalMLP": {"fs1_context": "item"},
}
# AFN's parameters are exponents: moved as far as the others', its logits would be in the hundreds.
MOVED = {"AFN": 0.01}
SIZES = (1, 2, 1000)


@pytest.fixture(scope="module")
def made(vectors_path):
    """``made("FM")``: a method on data with every kind of field, as if it had been trained, and its
    data set; tests leave both as they are."""
    kept = {}

    def make(backbone, method="Base", **keys):
        key = (backbone, method, *sorted(keys.items()))
        if key not in kept:
            values = {**SMALL, **EXTRA.get(backbone, {}), "data_path": str(vectors_path.parent)}
            config = make_config(method, "vec", backbone, overrides={**values, **keys})
            dataset = run_data(config)
            kept[key] = (
                as_if_trained(config.method_class(config, dataset), MOVED.get(backbone, 0.1)),
                dataset,
            )
        return kept[key]

    return make


@torch.no_grad()
def as_if_trained(method, size):
    """Every parameter and statistic moved, so that nothing is a zero or a one by chance."""
    generator = torch.Generator().manual_seed(5)
    for name, value in [*method.named_parameters(), *method.named_buffers()]:
        if name.endswith("running_var"):
            value.mul_(0.5 + torch.rand(value.shape, generator=generator))
        elif isinstance(value, torch.nn.Parameter) or name.endswith(("running_mean", "new_shift")):
            value.add_(size * torch.randn(value.shape, generator=generator))
    method.set_mode("evaluate")
    return method


def asked(method, scorer, n=1000):
    """Inputs of the first rows, and the method's own probabilities."""
    index = torch.arange(n)
    with torch.no_grad():
        return feed_of(method, scorer, index), method.predict(method.rows.batch(index))


@torch.no_grad()
def answers(scorer, feed, **other):
    """Of the network itself, with some inputs exchanged."""
    return scorer(*({**feed, **other}[each.name] for each in scorer.inputs))


def baked(method, dataset):
    """The scorer with the vectors of all items inside; of an unknown one the mean of the old."""
    given = served_values(method, torch.arange(method.n_ids))
    weight = given.get("first_order")
    bias = None if BIAS not in given else torch.cat([given[BIAS], torch.zeros(1)])
    served = Served(
        with_mean_row(given[VECTOR], method.old_ids),
        None if weight is None else with_mean_row(weight, method.old_ids),
        bias,
    )
    return scorer_of(method, dataset, served=served)


def need_onnx():
    for name in graph_files.ONNX_PACKAGES:
        pytest.importorskip(name, reason="ONNX is an extra: pip install 'recbole-cold[onnx]'")


# ------------------------------------------------------------------------------- the files
def agrees(method, dataset, folder, formats):
    scorer = scorer_of(method, dataset)
    feed, expected = asked(method, scorer)
    assert expected.std() > 0.01  # else any file would do
    told = write_scorer(scorer, folder, formats, feed, expected)
    for name in formats:
        assert 0 <= told["files"][name]["largest_difference"] <= FORMATS[name].limit
        answer = loaded(name, folder, scorer)
        for n in SIZES:
            some = {field: value[:n] for field, value in feed.items()}
            assert parity(answer, some, expected[:n]) <= FORMATS[name].limit
    return told


def test_pt2_agrees(made, tmp_path):
    """All kinds of fields, heads that are split by the batch, and any number of rows."""
    agrees(*made("FinalMLP", fs=False), tmp_path, ["pt2"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_backbone_agrees(made, tmp_path, name):
    need_onnx()
    told = agrees(*made(name), tmp_path, list(FORMATS))
    assert told["files"]["onnx"]["opset"] >= 18


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ItemBias", "MWUF", "CVAR", "CSDM", "EmerG"])
def test_methods_agree(made, tmp_path, method):
    need_onnx()
    agrees(*made("DeepFM", method), tmp_path, list(FORMATS))


@pytest.mark.slow
def test_baked_files_agree(made, tmp_path):
    need_onnx()
    method, dataset = made("DeepFM", "ItemBias")
    scorer = baked(method, dataset)
    feed, expected = asked(method, scorer)
    told = write_scorer(scorer, tmp_path, list(FORMATS), feed, expected)
    assert told["bake"] == "on" and told["inputs"][-1]["name"] == "item_id"


@pytest.mark.slow
def test_new_users_agree(made, tmp_path):
    keys = {"cold_side": "user", "cold_threshold": 16, "warm_size": 2}
    told = agrees(*made("DeepFM", **keys), tmp_path, ["pt2"])
    assert "user_id" not in {each["name"] for each in told["inputs"]}


# ------------------------------------------------------------------------------- without us
BLOCKED = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Refused())
import runpy
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def read_alone(folder, reader, blocked, feed, expected, told):
    (folder / "export.json").write_text(json.dumps(told))
    rows = folder / "rows.npz"
    np.savez(rows, **{name: value[:5].numpy() for name, value in feed.items()})
    code = BLOCKED.format(names=blocked, argv=[str(folder / f"{reader}.py"), str(rows)])
    run = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = np.array([float(line) for line in done.stdout.split()])
    assert np.abs(found - expected[:5].numpy()).max() < 1e-6


@pytest.mark.slow
def test_pt2_is_read_where_recbole_is_not(made, tmp_path):
    """A process in which neither can be imported; and no folder of this machine is in the file."""
    method, dataset = made("FM")
    scorer = scorer_of(method, dataset)
    feed, expected = asked(method, scorer)
    told = write_scorer(scorer, tmp_path, ["pt2"], feed, expected)
    read_alone(tmp_path, "score_pt2", ["recbole", "recbole_cold"], feed, expected, told)
    with zipfile.ZipFile(tmp_path / "scorer.pt2") as archive:
        whole = b"".join(archive.read(each) for each in archive.namelist())
    assert b"site-packages" not in whole and str(ROOT).encode() not in whole


@pytest.mark.slow
def test_onnx_is_read_where_torch_is_not(made, tmp_path):
    need_onnx()
    method, dataset = made("DCN")
    scorer = scorer_of(method, dataset)
    feed, expected = asked(method, scorer)
    told = write_scorer(scorer, tmp_path, ["onnx"], feed, expected)
    blocked = ["recbole", "recbole_cold", "torch", "onnx", "onnxscript"]
    read_alone(tmp_path, "score_onnx", blocked, feed, expected, told)
    whole = (tmp_path / "scorer.onnx").read_bytes()
    assert b"site-packages" not in whole and str(ROOT).encode() not in whole


# ------------------------------------------------------------------------------- unknown values
def test_the_row_for_the_unknown_is_the_mean_of_used_rows():
    table = np.random.default_rng(3).normal(size=(6, 2))
    found = with_mean_row(torch.from_numpy(table), [1, 4, 5]).numpy()
    assert np.array_equal(found[:6], table)
    assert np.allclose(found[6], (table[1] + table[4] + table[5]) / 3, rtol=1e-15)
    assert not with_mean_row(torch.from_numpy(table), []).numpy()[6].any()


def test_codes_that_are_not_known_mean_the_last_row():
    assert known_or_last(torch.tensor([0, 4, 5, 6, 99, -1]), 5).tolist() == [0, 4, 5, 5, 5, 5]


def test_unknown_tokens_are_left_out_unless_there_is_no_other():
    given = [[1, 9, 2], [9, 9, 0], [0, -3, 7], [0, 0, 0], [4, 0, 0], [0, 9, 4]]
    right = [[1, 0, 2], [5, 0, 0], [5, 0, 0], [0, 0, 0], [4, 0, 0], [0, 0, 4]]
    assert known_tokens(torch.tensor(given), 5).tolist() == right


@pytest.mark.parametrize("field", ["user_id", "device", "title"])
def test_an_unknown_code_is_answered_by_the_mean_row(made, field):
    """The answer of the method with a known code's row in every table made the mean."""
    method, dataset = made("DeepFM")
    scorer = scorer_of(method, dataset)
    feed, _ = asked(method, scorer, 50)
    parts = {"user_id": "inter", "device": "inter", "title": "item"}
    column = np.asarray(
        getattr(dataset, {"inter": "inter", "item": "item_table"}[parts[field]])[field]
    )
    seen = dataset.split["train"] if parts[field] == "inter" else dataset.split.old_ids
    used = np.setdiff1d(np.unique(column[seen]), [0])
    code = int(used[0])
    # The same network with the code's own rows exchanged, as numbers and not through the graph.
    other = Scorer(method.backbone, {name: [] for name in dataset.field2type})
    with torch.no_grad():
        for module in other.seam.model.modules():
            if field in getattr(module, "token_field_names", ()):
                at = module.token_field_names.index(field)
                begin = int(module.token_field_offsets[at])
                weight = module.token_embedding_table.embedding.weight
                weight[begin + code] = weight[begin + torch.from_numpy(used)].mean(dim=0)
            if field in getattr(module, "token_seq_field_names", ()):
                at = module.token_seq_field_names.index(field)
                weight = module.token_seq_embedding_table[at].weight
                weight[code] = weight[torch.from_numpy(used)].mean(dim=0)
    known, unknown = torch.full_like(feed[field], code), torch.full_like(feed[field], 10**6)
    if field == "title":  # one token alone
        known[:, 1:] = 0
    right = answers(other, feed, **{field: known})
    assert torch.allclose(answers(scorer, feed, **{field: unknown}), right, atol=1e-7)
    assert not torch.allclose(answers(scorer, feed, **{field: known}), right, atol=1e-4)


def test_vectors_that_no_data_set_has_are_scaled_as_its_own(made):
    """The vector itself is an input; one of zeros is a missing one; a longer one is shortened."""
    method, dataset = made("FM")
    scorer = scorer_of(method, dataset)
    feed, expected = asked(method, scorer, 60)
    assert torch.allclose(answers(scorer, feed), expected, atol=1e-6)
    scaled = method.rows.scaled_vectors(dataset)["emb"]
    far = scaled.mean + 1e3 * (feed["emb"] - scaled.mean)
    farther = scaled.mean + 1e4 * (feed["emb"] - scaled.mean)
    there = (feed["emb"] != 0).any(dim=1)
    found, other = answers(scorer, feed, emb=far), answers(scorer, feed, emb=farther)
    assert torch.allclose(found[there], other[there], atol=1e-5)
    assert not torch.allclose(found[there], expected[there], atol=1e-3)
    assert there.any() and not there.all()


def test_baked_vectors_are_the_served_ones(made):
    """And an unknown item is answered by the mean of the old ones, without a number of its own."""
    method, dataset = made("DeepFM", "ItemBias")
    inside, free = baked(method, dataset), scorer_of(method, dataset)
    feed, expected = asked(method, inside, 60)
    assert torch.allclose(answers(inside, feed), expected, atol=1e-6)
    old = served_values(method, method.old_ids)
    given, _ = asked(method, free, 60)
    mean = {name: old[name].mean(dim=0).expand_as(given[name]) for name in (VECTOR, "first_order")}
    right = answers(free, given, **mean, **{BIAS: torch.zeros(60, dtype=torch.float64)})
    found = answers(inside, feed, item_id=torch.full((60,), method.n_ids + 3))
    assert torch.allclose(found, right, atol=1e-7)


def test_the_number_of_an_item_is_added_to_the_logit(made):
    method, dataset = made("DeepFM", "ItemBias")
    scorer = scorer_of(method, dataset)
    feed, expected = asked(method, scorer)
    assert feed[BIAS].any()
    assert torch.allclose(answers(scorer, feed), expected, atol=1e-6)
    without = torch.logit(expected) - feed[BIAS]
    zero = torch.zeros_like(feed[BIAS])
    assert torch.allclose(torch.logit(answers(scorer, feed, item_bias=zero)), without, atol=1e-5)


# ------------------------------------------------------------------------------- the rest
def test_the_backbone_stays_as_it_is(made):
    method, dataset = made("FinalMLP")
    index = torch.arange(50)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.no_grad():
        score = method.predict(method.rows.batch(index))
        scorer = scorer_of(method, dataset)
        for value in scorer.parameters():
            value.zero_()
        assert torch.equal(method.predict(method.rows.batch(index)), score)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_the_description_names_every_input(made):
    method, dataset = made("DeepFM")
    scorer = scorer_of(method, dataset)
    told = json.loads(json.dumps(graph_files.description(scorer, {})))
    feed, _ = asked(method, scorer, 7)
    assert [each["name"] for each in told["inputs"]] == list(feed)
    assert {"torch", "recbole", "python"} <= set(told["versions"])
    for each in told["inputs"]:
        value = feed[each["name"]].numpy()
        assert value.dtype == each["dtype"] and len(value.shape) == len(each["shape"])
        assert [n for n in each["shape"] if isinstance(n, int)] in ([], list(value.shape[1:]))
        if each["kind"] in ("token", "token_seq"):
            assert each["size"] == dataset.num(each["name"]) and each["unseen"]


def test_a_file_that_answers_something_else_is_not_kept(made, tmp_path, monkeypatch):
    """One probability is wrong; the format is a made-up one, whose files are as good as any."""
    method, dataset = made("FM")
    scorer = scorer_of(method, dataset)
    feed, expected = asked(method, scorer, 9)
    wrong = expected.clone()
    wrong[4] += 0.01
    made_up = FORMATS["pt2"]._replace(
        write=lambda scorer, program, path: path.write_bytes(b"x") and {},
        load=lambda path, inputs: lambda feed: answers(scorer, feed),
    )
    monkeypatch.setitem(FORMATS, "pt2", made_up)
    monkeypatch.setattr(graph_files, "traced", lambda scorer: None)
    with pytest.raises(UserError, match=r"scorer.pt2 gives probabilities that differ by 1.0e-02"):
        write_scorer(scorer, tmp_path, ["pt2"], feed, wrong)
    assert list(tmp_path.iterdir()) == []
    told = write_scorer(scorer, tmp_path, ["pt2"], feed, expected)
    assert {path.name for path in tmp_path.iterdir()} == {"scorer.pt2", "score_pt2.py"}
    assert told["files"]["pt2"]["rows_checked"] == 9


def test_nothing_and_nan_do_not_agree():
    right = torch.tensor([0.2, 0.4])
    assert parity(lambda feed: torch.tensor([0.2, 0.5]), {}, right) == pytest.approx(0.1)
    assert parity(lambda feed: torch.tensor([0.2, float("nan")]), {}, right) == float("inf")
    assert parity(lambda feed: torch.tensor([[0.2], [0.4]]), {}, right) == float("inf")


def test_what_cannot_be_exported_is_refused(made, monkeypatch):
    method, dataset = made("DIN", mlp_hidden_size=(8,), attention_hidden_size=(4,))
    with pytest.raises(UserError, match="'DIN' reads histories"):
        scorer_of(method, dataset)
    method, dataset = made("DeepFM", "MeLU")
    with pytest.raises(UserError, match="MeLU has no scorer to export"):
        scorer_of(method, dataset)
    with pytest.raises(UserError, match="a network of its own that no item vector goes into"):
        Scorer(method.backbone, {})
    with pytest.raises(UserError, match="'pickle' is unknown; it is one of pt2, onnx"):
        check_formats(["pickle"])
    find_spec = graph_files.importlib.util.find_spec
    gone = {"onnxscript"}
    monkeypatch.setattr(
        graph_files.importlib.util,
        "find_spec",
        lambda name: None if name in gone else find_spec(name),
    )
    with pytest.raises(UserError, match=r"onnxscript can.* `pip install 'recbole-cold\[onnx\]'`"):
        check_formats(["onnx"])


def test_recboles_dssm_takes_the_batch_of_one_row_away(made):
    """When it does not any more, nothing has to keep that axis."""
    method, _ = made("DSSM")
    one = method.rows.batch(torch.arange(1))
    with torch.no_grad():
        assert method.backbone.model(one).shape == ()
        with KeepsBatch():
            assert method.backbone.model(one).shape == (1,)
            assert torch.zeros(2, 1).squeeze(-1).shape == (2,)


def test_a_field_with_the_name_of_an_input_is_refused(made):
    with pytest.raises(UserError, match="the field 'first_order' has the name of an input"):
        method, dataset = made("FM")
        names = method.backbone.model.token_field_names
        try:
            names[names.index("device")] = "first_order"
            scorer_of(method, dataset)
        finally:
            names[names.index("first_order")] = "device"


def test_forward_passes_keep_the_batch_size_free():
    """``len`` of a tensor, ``item`` and a bare ``squeeze`` make a constant of what is traced."""
    found = []
    for path in sorted((ROOT / "recbole_cold" / "backbone").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            text = ast.unparse(node)
            # Tensors have their axes as suffix; b is the batch.
            length = re.fullmatch(r"len\(\w+_b[a-z0-9]{0,3}\)", text)
            if length or text.endswith((".item()", ".squeeze()")):
                found.append(f"{path.name}: {text}")
    assert found == []
