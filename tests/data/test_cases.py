"""Data as tools and people write it: what is mended is told, what cannot be is one sentence."""

from pathlib import Path

import numpy as np
import pytest

from recbole_cold.cli.main import main
from recbole_cold.config import make_config
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.errors import UserError
from recbole_cold.evaluation.metrics import WORSE_THAN_CONSTANT, score_warnings
from recbole_cold.experiment.data_store import run_data

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"

INTER = ["user_id:token", "item_id:token", "label:float", "timestamp:float"]
ITEM = ["item_id:token", "color:token", "price:float", "tags:token_seq"]


def rows(n_items=6, per_item=10):
    """Interactions and items of a small data set, headers first; later rows have later times."""
    inter = [
        [f"u{number % 7}", f"i{number % n_items}", str(number // n_items % 2), str(1000 + number)]
        for number in range(n_items * per_item)
    ]
    items = [[f"i{n}", "red" if n % 2 else "blue", f"{n}.5", "a b" if n % 3 else "c"]
             for n in range(n_items)]  # fmt: skip
    return {"inter": [INTER, *inter], "item": [ITEM, *items]}


@pytest.fixture
def load(tmp_path):
    """Writes tables, or texts, as the data set ``odd`` and loads it with more keys."""

    def write_and_load(tables, **keys) -> ColdStartDataset:
        folder = tmp_path / "odd"
        folder.mkdir(exist_ok=True)
        for suffix, table in tables.items():
            text = table if isinstance(table, str) else "".join("\t".join(r) + "\n" for r in table)
            (folder / f"odd.{suffix}").write_bytes(text.encode(keys.get("encoding", "utf-8")))
        keys = {"data_path": str(tmp_path), "cache_dir": str(tmp_path / "cache"), **keys}
        return ColdStartDataset(make_config("Base", "odd", "FM", overrides=keys))

    return write_and_load


def noted(dataset, words):
    return any(words in note for note in dataset.notes)


def same(one, other):
    """Equal columns, and no gap where the other has a value."""
    for name in ("inter", "item_table"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.keys() == theirs.keys()
        for field in mine:
            np.testing.assert_array_equal(mine[field], theirs[field], err_msg=field)


def test_quoted_fields_are_read(load):
    tables = rows()
    quoted = {
        suffix: "".join(",".join(f'"{cell}"' for cell in row) + "\r\n" for row in table)
        for suffix, table in tables.items()
    }
    plain = load(tables)
    same(load(quoted, field_separator=","), plain)
    with pytest.raises(UserError, match="separated by ',': set field_separator to that"):
        load(quoted)
    with pytest.raises(UserError, match="check the first line"):
        load({**tables, "inter": "user_id;item_id\n"})


@pytest.mark.parametrize("kind", ["float", "token"])
def test_truth_values_are_labels_however_they_are_declared(load, kind):
    tables = rows()
    plain = load(tables)
    tables["inter"][0] = [*INTER[:2], f"label:{kind}", INTER[3]]
    for row in tables["inter"][1:]:
        row[2] = "True" if row[2] == "1" else "False"
    odd = load(tables)
    same(odd, plain)
    assert noted(odd, "'label' of 'odd.inter' is read as truth values")


@pytest.mark.parametrize("kind", ["float", "token"])
@pytest.mark.parametrize("form", ["2020-01-02 03:04:{:02d}", "2020-01-02T03:04:{:02d}Z"])
def test_iso_dates_are_times(load, kind, form):
    tables = rows()
    tables["inter"][0] = [*INTER[:3], f"timestamp:{kind}"]
    for number, row in enumerate(tables["inter"][1:]):
        row[3] = form.format(number)
    odd = load(tables)
    np.testing.assert_array_equal(odd.time, 1577934240 + np.arange(60.0))
    assert noted(odd, "is read as dates (seconds since 1970)")


def test_a_column_of_mixed_kinds_is_refused_with_its_line(load):
    tables = rows()
    tables["inter"][3][2] = "True"
    with pytest.raises(UserError, match=r"line 4 of .* has 'True' in the float field 'label'"):
        load(tables)


def test_whole_ids_that_a_frame_wrote_as_floats_are_read_alike(load):
    tables = rows()
    for table, column in ((tables["inter"], 1), (tables["item"], 0)):
        for row in table[1:]:
            row[column] = row[column][1:]
    plain = load(tables)
    for row in tables["item"][1:]:
        row[0] += ".0"
    odd = load(tables)
    same(odd, plain)
    assert noted(odd, "'.0' behind them")
    assert list(odd.field2id_token["item_id"]) == list(plain.field2id_token["item_id"])


@pytest.mark.parametrize("suffix", ["item", "inter"])
def test_spaces_around_ids_of_one_file_are_dropped(load, suffix):
    tables = rows()
    plain = load(tables)
    for row in tables[suffix][1::2]:
        row[0 if suffix == "item" else 1] += " "
    odd = load(tables)
    same(odd, plain)
    assert noted(odd, "spaces around them")


def test_ids_that_agree_stay_as_they_are(load):
    """With and without a space are two items, and so are 1 and 1.0, as long as both are listed."""
    tables = rows()
    names = ["i0", "i0 ", "1", "1.0", "i4", "i5"]
    for row in tables["inter"][1:]:
        row[1] = names[int(row[1][1:])]
    for row in tables["item"][1:]:
        row[0] = names[int(row[0][1:])]
    assert load(tables).item_num == 7


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda text: f"00{text[1:]}", "zeros in front"),
        (str.upper, "capitals"),
        (lambda text: f"x{text}", "look like"),
    ],
)
def test_ids_that_differ_otherwise_are_said_with_the_cause(load, change, cause):
    tables = rows()
    if cause == "zeros in front":
        for row in tables["inter"][1:]:
            row[1] = row[1][1:]
    for row in tables["item"][1:]:
        row[0] = change(row[0])
    with pytest.raises(UserError, match=f"no item of '.inter' has a row in '.item'.*{cause}"):
        load(tables)


@pytest.mark.parametrize("value", ["inf", "-inf", "1e39"])
def test_numbers_that_no_model_can_read_are_named_with_their_line(load, value):
    tables = rows()
    tables["item"][4][2] = value
    with pytest.raises(UserError, match=r"line 5 of .*odd\.item' has .* in the field 'price'"):
        load(tables)


def test_an_infinite_element_of_a_sequence_is_named_with_its_line(load):
    tables = rows()
    tables["item"] = [[*row, "emb:float_seq" if n == 0 else "1 2"]
                      for n, row in enumerate(tables["item"])]  # fmt: skip
    tables["item"][3][4] = "1 inf"
    with pytest.raises(UserError, match=r"line 4 of .* has inf in the field 'emb'"):
        load(tables)


def test_columns_of_parts_in_another_order_are_matched_by_name(load):
    tables = rows()
    train, test = tables["inter"][:41], [INTER, *tables["inter"][41:]]
    parts = {"item": tables["item"], "train.inter": train, "test.inter": test}
    keys = {"benchmark_filename": ["train", "test"]}
    with pytest.raises(UserError, match=r"there are the parts test, train: name them in the order"):
        load(parts)
    plain = load(parts, **keys)
    assert not noted(plain, "filters of rows")
    assert noted(load(parts, **keys, rm_dup_inter="first"), "filters of rows do not apply")
    turned = [[row[1], row[0], row[3], row[2]] for row in test]
    same(load({**parts, "test.inter": turned}, **keys), plain)
    turned[0][0] = "thing:token"
    with pytest.raises(UserError, match=r"differ from those of .* in 'item_id'"):
        load({**parts, "test.inter": turned}, **keys)


def test_lists_under_another_separator_are_hinted_at(load):
    tables = rows()
    assert not noted(load(tables), "seq_separator")
    for row in tables["item"][1:]:
        row[3] = row[3].replace(" ", "|")
    tables["item"][1][3] = "a|c"
    assert noted(load(tables), "set seq_separator to it")
    assert not noted(load(tables, seq_separator="|"), "seq_separator")


def test_a_sequence_that_is_empty_throughout_is_padding(load):
    tables = rows()
    for row in tables["item"][1:]:
        row[3] = ""
    assert load(tables).item_table["tags"].tolist() == [[0]] * 7


def test_a_sequence_without_end_is_refused_with_the_key_that_cuts_it(load):
    tables = rows()
    tables["item"][1][3] = " ".join(f"t{n}" for n in range(30_000))
    with pytest.raises(UserError, match=r"30,000 elements.*--seq_len=..tags: "):
        load(tables)
    assert load(tables, seq_len={"tags": 3}).item_table["tags"].shape == (7, 3)


def test_equal_times_are_the_order_of_the_file(load):
    tables = rows()
    for row in tables["inter"][1:31]:
        row[1] = "i0"
    for row in tables["inter"][1:]:
        row[3] = "5"
    folder = Path(load(tables).dataset_path).parent
    keys = {"data_path": str(folder), "cold_threshold": 20, "warm_size": 1}
    split = run_data(make_config("Base", "odd", "FM", overrides=keys)).split
    assert split.manifest["order"] == "file"


def test_a_threshold_that_replaces_the_label_says_so(load):
    tables = rows()
    assert noted(load(tables, threshold={"timestamp": 1030}), "the column 'label' of the files")
    assert not noted(load(tables), "the column 'label'")


def test_an_encoding_is_asked_for_as_it_can_be_given(load, tmp_path):
    tables = rows()
    tables["item"][1][1] = "rosé"
    read = load(tables, encoding="latin-1")
    assert "rosé" in read.field2id_token["color"]
    with pytest.raises(UserError, match="--encoding=latin-1"):
        ColdStartDataset(make_config("Base", "odd", "FM", overrides={"data_path": str(tmp_path)}))


@pytest.mark.parametrize("encoding", ["utf-16", "nope", "ascii"])
def test_an_encoding_that_the_file_is_not_in_is_said(load, tmp_path, encoding):
    tables = rows()
    tables["inter"][5][0] = "é"
    load(tables)
    keys = {"data_path": str(tmp_path), "encoding": encoding}
    with pytest.raises(UserError, match=r"encoding|is not written in"):
        ColdStartDataset(make_config("Base", "odd", "FM", overrides=keys))


def test_scores_that_say_less_than_the_click_rate_are_warned_of():
    labels = [0, 0, 0, 1]
    assert WORSE_THAN_CONSTANT in score_warnings([0.9, 0.8, 0.9, 0.99], labels, {"LogLoss": 1.6})
    assert score_warnings([0.2, 0.1, 0.2, 0.7], labels, {"LogLoss": 0.2}) == []


@pytest.mark.parametrize("name", ["csvq", "emptyseq", "floatids", "trailsp", "labbool", "pipes",
                                  "bmkorder", "bigfloat", "inf", "ratingonly"])  # fmt: skip
def test_the_collected_cases_behave(name, capsys):
    if not CASES.is_dir():
        pytest.skip(f"no folder '{CASES}'")
    more = {
        "csvq": ["--field_separator=,"],
        "bmkorder": ["--benchmark_filename=[train,warm_a,warm_b,warm_c,test]"],
    }.get(name, [])
    words = [f"--data_path={CASES}", "--cold_threshold=40", "--warm_size=5", *more]
    code = main(["check", f"--dataset={name}", *words])
    assert code == (2 if name in ("inf", "ratingonly") else 0), capsys.readouterr().err
