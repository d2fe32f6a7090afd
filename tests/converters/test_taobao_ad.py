"""Taobao's display ads: outcomes that are columns, users without a profile, NULL, samples."""

import json
import os
import re
import tracemalloc
from pathlib import Path

import pytest
from taobao_lines import TAOBAO

from recbole_cold import converters
from recbole_cold.cli.main import main
from recbole_cold.converters import taobao_ad

LOG, PROFILES = TAOBAO["raw_sample"], TAOBAO["user_profile"]


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_lines(taobao, converted, tmp_path):
    code, told, _, read = converted("taobao-ad", taobao())
    assert code == 0
    heads = {
        suffix: (tmp_path / "out" / f"taobao-ad.{suffix}").read_text().splitlines()[0].split("\t")
        for suffix in ("inter", "user", "item")
    }
    assert heads["inter"] == [
        "user_id:token", "item_id:token", "pid:token", "timestamp:float", "label:float",
    ]  # fmt: skip
    assert heads["user"][-1] == "new_user_class_level:token" and len(heads["user"]) == 9
    assert heads["item"][-2:] == ["brand:token", "price:float"]
    assert read["inter"] == [
        "581738\t1\t430548_1007\t1494137644\t0",
        "449818\t3\t430548_1007\t1494638778\t0",
        "914836\t63133\t430539_1007\t1494650879\t1",
        "581738\t1\t430548_1007\t1494137644\t0",  # shown twice: two impressions
        "234\t4\t430539_1007\t1494000000\t1",
    ]
    assert read["user"] == [
        "234\t0\t5\t2\t5\t\t3\t0\t3",
        "581738\t0\t3\t1\t3\t2\t3\t0\t",
        "449818\t19\t3\t2\t3\t1\t3\t0\t2",
    ]
    assert read["item"] == [
        "63133\t6406\t83237\t1\t95471\t170.0",
        "1\t9025\t108570\t2\t\t99999999.0",
        "3\t6421\t\t3\t\t0.01",
        "4\t6421\t83237\t1\t95471\t12",
    ]
    assert "4 users, 4 items, 40.00% clicks: as logged (clk)" in told
    assert "times: 2017-05-05 16:00:00 to 2017-05-13 04:47:59 (UTC)" in told
    assert "missing: campaign_id 25.0%, brand 50.0%" in told


@pytest.mark.parametrize(
    "form",
    [
        {"end": "\r\n"},
        {"mark": "\ufeff"},
        {"pack": "gz"},
        {"pack": "tar.gz"},
        {"raw_sample": [LOG[0].replace("nonclk", "noclk"), *LOG[1:]]},
        {"user_profile": [PROFILES[0].strip(), *PROFILES[1:]]},
    ],
    ids=["carriage returns", "byte-order mark", "gz", "tar.gz", "noclk", "no blank"],
)
def test_the_same_from_every_form_of_the_download(form, taobao, zipped, converted):
    *_, first = converted("taobao-ad", taobao())
    *_, packed = converted("taobao-ad", zipped(taobao(), "Ali/"), out="packed")
    *_, other = converted("taobao-ad", taobao(folder="other", **form), out="other-out")
    assert first == packed == other and len(first["inter"]) == 5


def test_users_without_a_profile_are_kept_or_left_out_and_said(taobao, converted, tmp_path):
    log = [*LOG, "914836,1494650880,1,430539_1007,1,0", "77,1494650881,1,430539_1007,1,0"]
    code, told, _, read = converted("taobao-ad", taobao(raw_sample=log))
    assert code == 0 and len(read["inter"]) == 7
    assert "    among them: 3 of users without a profile (--no_profile=drop leaves them" in told
    assert "    among them: 2 users without a profile\n" in told
    counts = manifest(tmp_path / "out")["rows"]["inter"]
    assert list(counts["among"].values()) == [3, 2] and counts["left_out"] == {}
    code, told, _, read = converted("taobao-ad", taobao(raw_sample=log), "--no_profile=drop")
    users = {row.split("\t")[0] for row in read["inter"]}
    assert code == 0 and len(read["inter"]) == 4 and users == {"581738", "449818", "234"}
    assert "left out: 3 of users without a profile (--no_profile=keep keeps them)" in told
    assert "among them" not in told


def test_what_tells_the_outcome_is_no_column(taobao, converted, tmp_path):
    code, told, _, _ = converted("taobao-ad", taobao())
    assert code == 0 and "refused, for they tell a row's outcome: nonclk, noclk" in told
    assert manifest(tmp_path / "out")["refused"] == ["nonclk", "noclk"]
    assert "count" not in (tmp_path / "out" / "taobao-ad.item").read_text()


def test_the_complete_files_are_known_by_their_counts(taobao, converted):
    told = converted("taobao-ad", taobao())[1]
    assert "  5 rows; 26,557,961 in the official files\n" in told
    assert "  3 rows of users; 1,061,768 in the official files\n" in told
    assert "  4 users; 1,141,729 in the official files\n" in told
    told = converted("taobao-ad", taobao(), "--no_profile=drop")[1]
    assert "  5 rows; 26,557,961" in told and " users; 1,141,729" not in told


def test_a_sample_has_the_features_of_its_users_and_ads_alone(taobao, converted):
    log = [LOG[0], *(f"{n % 200},{1494000000 + n},{n % 100},p,1,0" for n in range(400))]
    ads = [TAOBAO["ad_feature"][0], *(f"{n},1,1,1,NULL,2.0" for n in range(110))]
    profiles = [PROFILES[0], *(f"{n},0,5,2,5,,3,0,3" for n in range(199))]
    source = taobao(raw_sample=log, ad_feature=ads, user_profile=profiles)
    code, told, _, read = converted("taobao-ad", source, "--sample_users=0.2")
    ids = {each: {row.split("\t")[0] for row in read[each]} for each in ("inter", "user", "item")}
    assert code == 0 and 20 < len(ids["inter"]) < 60 and len(read["inter"]) == 2 * len(ids["inter"])
    assert ids["user"] == ids["inter"] - {"199"}
    assert ids["item"] == {row.split("\t")[1] for row in read["inter"]}
    assert re.search(r"left out: \d+ of users who are not drawn", told)
    assert re.search(r"left out: \d+ of items without an interaction of a user who is drawn", told)
    *_, read = converted("taobao-ad", source)
    assert len(read["item"]) == 110 and len(read["user"]) == 199


@pytest.mark.parametrize(
    ("file", "line", "change", "sentence"),
    [
        ("raw_sample", 0, ("nonclk,clk", "nonclk,clk,count"),
         "line 1 of '.*raw_sample.csv' is not as it must be .its header has count, which the"),
        ("raw_sample", 0, (",clk", ""), "its header has no clk"),
        ("raw_sample", 2, ("1,0", "1,1"),
         "line 3 of .* has nonclk '1' and clk '1', not 0 and 1 or 1 and 0; unpack it anew"),
        ("raw_sample", 1, ("1,0", ",0"), "line 2 of .* has nonclk '' and clk '0'"),
        ("raw_sample", 1, ("1494137644", "2017-05-07"), "has the time '2017-05-07', no seconds"),
        ("raw_sample", 5, (",0,1", ",1"), "line 6 of .* has 5 cells, not 6"),
        ("ad_feature", 1, ("170.0", "cheap"), "line 2 of .*ad_feature.csv' has the price 'cheap'"),
        ("ad_feature", 1, ("170.0", "nan"), "has the price 'nan', no number"),
        ("user_profile", 0, ("new_user_class_level ", "city"), "has no new_user_class_level"),
    ],
)  # fmt: skip
def test_lines_of_another_form(file, line, change, sentence, taobao, converted, tmp_path):
    lines = list(TAOBAO[file])
    lines[line] = lines[line].replace(*change)
    assert lines != TAOBAO[file]
    code, _, complaint, _ = converted("taobao-ad", taobao(**{file: lines}))
    assert code == 2 and re.search(sentence, complaint), complaint
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_named(taobao, converted):
    source = taobao()
    (source / "user_profile.csv").unlink()
    code, _, complaint, _ = converted("taobao-ad", source)
    assert code == 2 and f"cannot read '{source / 'user_profile.csv'}' (No such file" in complaint


def test_memory_does_not_grow_with_the_rows(taobao, tmp_path):
    """Sixteen times as many rows of the same users and ads."""
    peaks = []
    for rows in (2_000, 32_000):
        log = [LOG[0], *(f"234,{1494000000 + n},{n % 3},p,1,0" for n in range(rows))]
        source = taobao(folder=f"of {rows}", raw_sample=log)
        del log
        converter = converters.find_converter("taobao-ad")
        tracemalloc.start()
        converters.convert(converter, source, tmp_path / f"out{rows}", {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 200_000


def test_a_run_reads_what_was_converted(taobao, tmp_path, capsys):
    """With the settings of properties/dataset/taobao-ad.yaml, but for N and K."""
    log = [LOG[0]]
    for n in range(900):
        click = int(n * 7 % 13 == 0)
        ad = n % 3 if n % 3 else 3 + n % 4
        log.append(f"{n % 60},{1494000000 + n},{ad},430548_1007,{1 - click},{click}")
    ads = [TAOBAO["ad_feature"][0], *(f"{n},1,1,{n % 2},NULL,{10**n}" for n in range(8))]
    profiles = [PROFILES[0], *(f"{n},0,5,2,5,,3,0,3" for n in range(50))]
    source = taobao(raw_sample=log, ad_feature=ads, user_profile=profiles)
    assert main(["convert", "taobao-ad", str(source), f"--data_path={tmp_path}"]) == 0
    told = capsys.readouterr().out
    assert told.endswith(f"recbole-cold check --dataset=taobao-ad --data_path={tmp_path}\n")
    words = [f"--data_path={tmp_path}", "--cold_threshold=200", "--warm_size=10"]
    assert main(["check", "--dataset=taobao-ad", *words]) == 0
    told = capsys.readouterr().out
    assert "900 rows" in told and "2 old and 4 new items" in told and "order: time" in told


@pytest.mark.data
def test_the_published_split_of_the_official_files(tmp_path, capsys):
    """Rows of every part, as the notebooks of CVAR and EmerG print them."""
    raw = os.environ.get("RECBOLE_COLD_TAOBAO_RAW")
    if not raw or not Path(raw).is_dir():
        pytest.skip("RECBOLE_COLD_TAOBAO_RAW names no folder with raw_sample.csv and its like")
    assert main(["convert", "taobao-ad", raw, f"--data_path={tmp_path}"]) == 0
    told = capsys.readouterr().out
    for what, number in taobao_ad.CONVERTER.official[0].counts.items():
        assert f"  {number:,} {what}, as in the official files\n" in told
    assert main(["check", "--dataset=taobao-ad", f"--data_path={tmp_path}"]) == 0
    told = capsys.readouterr().out
    assert "541 new items" in told
    for part, rows in {"train": 3_592_047, "warm_a": 270_500, "warm_b": 270_500,
                       "warm_c": 270_500, "test": 109_712}.items():  # fmt: skip
        assert re.search(rf"\b{part}\W+{rows:,}\b", told), told
