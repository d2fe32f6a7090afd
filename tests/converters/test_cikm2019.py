"""CIKM 2019: files without headers, behaviours as labels, times since an unknown day, rounds."""

import json
import re

import pytest
from taobao_lines import CIKM

from recbole_cold.cli.main import main


def test_lines(cikm, converted, tmp_path):
    code, told, _, read = converted("cikm2019", cikm())
    assert code == 0
    assert read["inter"] == [
        "17\t901\t86401\t0", "17\t901\t86405\t0", "17\t901\t86407\t1", "4\t902\t0\t0",
        "4\t903\t1382399\t0",
    ]  # fmt: skip
    assert read["user"] == ["17\t1\t33\t6", "4\t0\t\t2", "999\t\t25\t"]
    assert read["item"] == ["901\t7\t30001\t12", "902\t\t30002\t", "903\t7\t30001\t12",
                            "904\t8\t1\t1"]  # fmt: skip
    heads = {
        suffix: (tmp_path / "out" / f"cikm2019.{suffix}").read_text().splitlines()[0]
        for suffix in ("inter", "user", "item")
    }
    assert heads == {
        "inter": "user_id:token\titem_id:token\ttimestamp:float\tlabel:float",
        "user": "user_id:token\tgender:token\tage:token\tpurchase_power:token",
        "item": "item_id:token\tcategory:token\tshop:token\tbrand:token",
    }
    assert "2 users, 3 items, 20.00% clicks: bought; views, carts and favourites are no" in told
    assert "refused, for they tell a row's outcome: behavior, behaviour" in told


def test_times_are_relative(cikm, converted, tmp_path):
    told = converted("cikm2019", cikm())[1]
    assert "times: 0 to 1,382,399 seconds since a Friday 00:00 that is not disclosed\n" in told
    time = json.loads((tmp_path / "out" / "manifest.json").read_text())["time"]
    assert time["unit"] == "seconds since a Friday 00:00 that is not disclosed"
    assert (time["first"], time["last"]) == ("0", "1382399")


def test_the_round_is_known_by_its_counts(cikm, converted):
    told = converted("cikm2019", cikm())[1]
    assert "  5 rows; 62,428,486 in the papers' data, 80,475,452 in round 2\n" in told
    assert "  2 users; 1,050,000 in the papers' data\n" in told
    assert "  4 rows of items; 4,318,202 in round 2\n" in told


@pytest.mark.parametrize(
    "form", [{"end": "\r\n"}, {"mark": "\ufeff"}, {"pack": "gz"}, {"pack": "tar.gz"}],
    ids=["carriage returns", "byte-order mark", "gz", "tar.gz"],
)  # fmt: skip
def test_the_same_from_every_form_of_the_download(form, cikm, zipped, converted):
    *_, first = converted("cikm2019", cikm())
    *_, packed = converted("cikm2019", zipped(cikm(), "round1/"), out="packed")
    *_, other = converted("cikm2019", cikm(folder="other", **form), out="other-out")
    assert first == packed == other and len(first["inter"]) == 5


def test_a_sample_has_the_features_of_its_users_and_items_alone(cikm, converted):
    log = [f"{n % 200},{n % 100},pv,{n}" for n in range(400)]
    source = cikm(
        user_behavior=log, user=[f"{n},1,2,3" for n in range(210)],
        item=[f"{n},1,2,3" for n in range(110)],
    )  # fmt: skip
    code, _, _, read = converted("cikm2019", source, "--sample_users=0.2")
    users = {row.split("\t")[0] for row in read["inter"]}
    assert code == 0 and 20 < len(users) < 60 and len(read["inter"]) == 2 * len(users)
    found = {row.split("\t")[0] for row in read["user"]}
    assert users <= found and len(found) < 70  # drawn, though some have no row of the log
    assert {row.split("\t")[0] for row in read["item"]} == {
        row.split("\t")[1] for row in read["inter"]
    }


@pytest.mark.parametrize(
    ("file", "line", "text", "sentence"),
    [
        ("user_behavior", 0, "user,item,behavior,time",
         "line 1 of '.*user_behavior.csv' has the behaviour 'behavior', none of pv, cart, fav"),
        ("user_behavior", 1, "17,901,cart,2019-08-16", "line 2 of .* has the time '2019-08-16'"),
        ("user_behavior", 1, "17,901,cart,-5", "has the time '-5', no whole number of seconds"),
        ("user_behavior", 2, "17,901,buy", "line 3 of .* has 3 cells, not 4"),
        ("item", 1, "902", "line 2 of '.*item.csv' has 1 cells, not 4"),
        ("user", 2, "1,2,3,4,5", "line 3 of '.*user.csv' has 5 cells, not 4"),
    ],
)  # fmt: skip
def test_lines_of_another_form(file, line, text, sentence, cikm, converted, tmp_path):
    lines = list(CIKM[file])
    lines[line] = text
    code, _, complaint, _ = converted("cikm2019", cikm(**{file: lines}))
    assert code == 2 and re.search(sentence, complaint), complaint
    assert not (tmp_path / "out").exists()


def test_a_run_reads_what_was_converted(cikm, tmp_path, capsys):
    """With the settings of properties/dataset/cikm2019.yaml, but for N and K."""
    log = [
        f"{n % 60},{n % 3 if n % 3 else 3 + n % 4},{'buy' if n * 7 % 13 == 0 else 'pv'},{n}"
        for n in range(900)
    ]
    source = cikm(
        user_behavior=log, user=[f"{n},{n % 2},30,{n % 5}" for n in range(60)],
        item=[f"{n},{n % 2},{n},{n}" for n in range(8)],
    )  # fmt: skip
    assert main(["convert", "cikm2019", str(source), f"--data_path={tmp_path}"]) == 0
    words = [f"--data_path={tmp_path}", "--cold_threshold=200", "--warm_size=10"]
    assert main(["check", "--dataset=cikm2019", *words]) == 0
    told = capsys.readouterr().out
    assert "900 rows" in told and "2 old and 4 new items" in told and "order: time" in told
