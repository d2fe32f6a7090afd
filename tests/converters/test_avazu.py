"""Avazu: ids of 64 bits, hours, the null device, the choice of items, samples of users."""

import json
import re
from datetime import datetime, timezone

import pytest
from avazu_lines import AVAZU, AVAZU_ROWS

from recbole_cold.converters import avazu
from recbole_cold.data._atomic import Format, read_atomic

HEAD = (
    "user_id:token item_id:token timestamp:float hour_of_day:token weekday:token C1:token "
    "banner_pos:token site_id:token site_domain:token site_category:token app_id:token "
    "app_domain:token app_category:token device_model:token device_type:token "
    "device_conn_type:token C15:token C16:token C17:token C18:token C19:token C20:token C21:token "
    "label:float"
)


def columns(rows, *numbers):
    return [tuple(row.split("\t")[n] for n in numbers) for row in rows]


def test_lines(clicks, converted, tmp_path):
    code, told, _, read = converted("avazu", clicks())
    assert code == 0 and list(read) == ["inter"]
    text = (tmp_path / "out" / "avazu.inter").read_text()
    assert text.splitlines()[0] == HEAD.replace(" ", "\t")
    assert read["inter"][1] == (
        "96809ac8_711ee120\t15704\t1413932400\t23\ttuesday\t1005\t0\t1fbe01fe\tf3845767\t28905ebd\t"
        "ecad2386\t7801e8d9\t07d7df22\t711ee120\t1\t0\t320\t50\t1722\t0\t35\t100084\t79\t1"
    )
    assert "3 users, 3 items, 50.00% clicks: as logged" in told
    assert "times: 2014-10-21 00:00:00 to 2014-10-30 23:00:00 (UTC)" in told


def test_the_same_from_every_form_of_the_download(clicks, converted):
    *_, first = converted("avazu", clicks())
    for n, source in enumerate(
        (clicks(name="train.csv"), clicks(name="train.csv").parent, clicks(name="x", end="\r\n"))
    ):
        *_, read = converted("avazu", source, out=f"out{n}")
        assert read == first


@pytest.mark.parametrize(
    ("hour", "expected"),
    [
        ("14102100", (datetime(2014, 10, 21, 0), "0", "tuesday")),
        ("14103023", (datetime(2014, 10, 30, 23), "23", "thursday")),
        ("16022905", (datetime(2016, 2, 29, 5), "5", "monday")),
    ],
)
def test_hours_are_utc(hour, expected):
    moment, *rest = expected
    seconds = moment.replace(tzinfo=timezone.utc).timestamp()
    assert avazu.moment(hour) == (f"{seconds:.0f}", *rest)


@pytest.mark.parametrize("hour", ["1410210", "14102124", "14133100", "-4102100", "2014102100", ""])
def test_what_is_no_hour(hour, clicks, converted):
    with pytest.raises(ValueError):
        avazu.moment(hour)
    path = clicks(AVAZU_ROWS[0], AVAZU_ROWS[1].replace(",14102123,", f",{hour},"))
    code, _, complaint, _ = converted("avazu", path)
    assert code == 2 and f"line 3 of '{path}' has the hour '{hour}', not YYMMDDHH" in complaint


def test_ids_of_64_bits_stay_exact(clicks, converted, tmp_path):
    """They differ in the last digit, which no float keeps, and no signed integer holds them."""
    code, told, _, read = converted("avazu", clicks(), "--item_field=id")
    assert code == 0
    items = [row.split(",")[0] for row in AVAZU_ROWS]
    assert [item for (item,) in columns(read["inter"], 1)] == items
    found = read_atomic(tmp_path / "out" / "avazu.inter", Format(), lambda field: True, {})
    assert found["item_id"].vocab.to_pylist() == items
    assert "3 users, 4 items" in told and found["C14"].vocab.to_pylist() == [
        "15706",
        "15704",
        "20345",
    ]


def test_the_null_device(clicks, converted):
    users = {
        "address": ["ddd2926e_44956a24", "96809ac8_711ee120", "ddd2926e_44956a24", "c357dbff"],
        "one": ["a99f214a", "a99f214a", "a99f214a", "c357dbff"],
        "drop": ["c357dbff"],
    }
    for value, expected in users.items():
        code, told, _, read = converted("avazu", clicks(), f"--null_device={value}")
        assert code == 0
        assert [user for (user,) in columns(read["inter"], 0)] == expected
        assert ("left out: 3 of the null device" in told) == (value == "drop")


def test_the_item_is_no_feature_beside(clicks, converted, tmp_path):
    code, _, _, read = converted("avazu", clicks(), "--item_field=site_id")
    assert code == 0
    head = (tmp_path / "out" / "avazu.inter").read_text().splitlines()[0].split("\t")
    assert "site_id:token" not in head and "C14:token" in head
    assert columns(read["inter"], 1)[:3] == [("1fbe01fe",), ("1fbe01fe",), ("85f751fd",)]


def test_columns_of_items(clicks, converted, tmp_path):
    code, _, _, read = converted("avazu", clicks(), "--item_columns=C17,C21")
    assert code == 0
    assert read["item"] == ["15706\t1722\t79", "15704\t1722\t79", "20345\t2331\t23"]
    head = (tmp_path / "out" / "avazu.inter").read_text().splitlines()[0].split("\t")
    assert {"C17:token", "C21:token"} & {*head} == set() and "C15:token" in head


def test_columns_that_differ_on_an_items_rows_are_refused(clicks, converted, tmp_path):
    path = clicks()
    code, _, complaint, _ = converted("avazu", path, "--item_columns=C17,C1")
    assert code == 2 and not (tmp_path / "out").exists()
    assert f"line 4 of '{path}' has item '15706' with C1 '1002', and '1005' before" in complaint


def test_a_sample_has_whole_users_and_its_share_of_them(clicks, converted):
    rows = [
        AVAZU_ROWS[3]
        .replace("c357dbff", f"{n % 400:08x}")
        .replace("14103023", f"141021{n % 24:02}")
        for n in range(1600)
    ]
    path = clicks(*rows)
    draws = {}
    for share, seed in ((0.25, 2020), (0.5, 2020), (0.25, 7)):
        words = (f"--sample_users={share}", f"--seed={seed}")
        code, told, _, read = converted("avazu", path, *words)
        users = [user for (user,) in columns(read["inter"], 0)]
        assert code == 0 and len(users) == 4 * len(set(users))  # all rows of a user
        assert abs(len(set(users)) / 400 - share) < 0.1
        assert f"left out: {1600 - len(users):,} of users who are not drawn" in told
        draws[share, seed] = set(users)
    assert draws[0.25, 2020] < draws[0.5, 2020]
    assert draws[0.25, 2020] != draws[0.25, 7]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((",1,14102123", ",2,14102123"), "line 3 of .* has the click '2', not 0 or 1"),
        ((",100084,79", ",100084"), "line 3 of .* has 23 cells, not 24"),
        (("1005", '"1005'), "line .* of .* (has|is not)"),
    ],
)
def test_lines_of_another_form(change, sentence, clicks, converted, tmp_path):
    row = AVAZU_ROWS[1].replace(*change)
    assert row != AVAZU_ROWS[1]
    code, _, complaint, _ = converted("avazu", clicks(AVAZU_ROWS[0], row, *AVAZU_ROWS[2:]))
    assert code == 2 and re.search(sentence, complaint)
    assert not (tmp_path / "out").exists()


def test_the_test_file_has_no_labels(clicks, converted):
    code, _, complaint, _ = converted("avazu", clicks(header=AVAZU.replace(",click", "")))
    assert code == 2 and "(its header has no click)" in complaint


def test_a_run_reads_what_was_converted(clicks, tmp_path, capsys):
    """With the settings of properties/dataset/avazu.yaml, and N and K of the report."""
    from recbole_cold.cli.main import main

    rows = []
    for n in range(600):
        item = 15700 + (n % 7 if n % 2 else n % 3)
        row = AVAZU_ROWS[n % 4].replace(",15706,", f",{item},").replace(",15704,", f",{item},")
        rows.append(row.replace(",20345,", f",{item},").replace("c357dbff", f"{n % 50:08x}"))
    assert main(["convert", "avazu", str(clicks(*rows)), f"--data_path={tmp_path}"]) == 0
    shares = json.loads((tmp_path / "avazu" / "manifest.json").read_text())["rows_per_item"]
    told = capsys.readouterr().out
    assert f"40 % {shares['40']}, 60 % {shares['60']}, 80 % {shares['80']}" in told
    words = [f"--data_path={tmp_path}", f"--cold_threshold={shares['80'] - 1}", "--warm_size=10"]
    assert main(["check", "--dataset=avazu", *words]) == 0
    told = capsys.readouterr().out
    assert "600 rows" in told and "7 items" in told
