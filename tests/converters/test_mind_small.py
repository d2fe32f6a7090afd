"""MIND-small: pages become rows, two folders that number alike, noon and midnight, entities."""

import re
import shutil
import zipfile
from datetime import datetime, timezone

import pytest

from recbole_cold.converters import mind_small

PAGES = {
    "train": (
        "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782\tN55689-1 N35729-0\n"
        "2\tU91836\t11/12/2019 12:00:00 AM\t\tN20678-0 N39317-0 N58114-1\n"
    ),
    "dev": "1\tU91836\t11/15/2019 12:22:45 PM\tN55189\tN55689-0\n",
}
ENTITY = '{"Label": "%s", "Type": "P", "WikidataId": "%s", "OccurrenceOffsets": [48]}'
NEWS = {
    "train": (
        'N55689\tsports\tfootball_nfl\t"It\'s Time": Charles\u2019 3-point play\tAn "abstract"\t'
        f"https://assets.msn.com/labs/mind/a.html\t[{ENTITY % ('A', 'Q80976')}]\t"
        f"[{ENTITY % ('B', 'Q43274')}, {ENTITY % ('A', 'Q80976')}]\n"
        "N35729\tnews\tnewsus\tPorsche launches into second story\t\thttps://a\t[]\t\n"
    ),
    "dev": (
        "N20678\thealth\tweightloss\tÉté\tText\thttps://b\t[]\t[]\n"
        "N35729\tnews\tnewsus\tPorsche launches into second story\t\thttps://a\t[]\t\n"
    ),
}


@pytest.fixture
def mind(tmp_path):
    """A folder with both folders, as the archives unpack."""
    folder = tmp_path / "mind"
    for part in ("train", "dev"):
        here = folder / f"MINDsmall_{part}"
        here.mkdir(parents=True)
        (here / "behaviors.tsv").write_text(PAGES[part], encoding="utf-8")
        (here / "news.tsv").write_text(NEWS[part], encoding="utf-8")
        (here / "entity_embedding.vec").write_text("Q41\t-0.06\n")
    return folder


def test_lines(mind, converted, tmp_path):
    code, told, _, read = converted("mind-small", mind)
    assert code == 0 and list(read) == ["inter", "item"]
    assert read["inter"] == [
        "U13740\tN55689\t1573463158\ttrain-1\t1",
        "U13740\tN35729\t1573463158\ttrain-1\t0",
        "U91836\tN20678\t1573516800\ttrain-2\t0",
        "U91836\tN39317\t1573516800\ttrain-2\t0",
        "U91836\tN58114\t1573516800\ttrain-2\t1",
        "U91836\tN55689\t1573820565\tdev-1\t0",
    ]
    assert read["item"] == [
        "N55689\tsports\tfootball_nfl\tit's time charles 3 point play\tQ80976 Q43274",
        "N35729\tnews\tnewsus\tporsche launches into second story\t",
        "N20678\thealth\tweightloss\tété\t",
    ]
    assert "2 users, 5 items, 33.33% clicks" in told
    assert "times: 2019-11-11 09:05:58 to 2019-11-15 12:22:45 (UTC)" in told
    assert "left out: 1 of an id that came before: its first row counts" in told
    assert "6 rows; 8,584,442 in MINDsmall_train and MINDsmall_dev" in told
    assert "MINDsmall_train/behaviors.tsv (" in told and "MINDsmall_dev/behaviors.tsv (" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("11/9/2019 12:00:01 AM", datetime(2019, 11, 9, 0, 0, 1)),
        ("11/9/2019 12:59:59 PM", datetime(2019, 11, 9, 12, 59, 59)),
        ("11/9/2019 1:00:00 PM", datetime(2019, 11, 9, 13)),
    ],
)
def test_times_are_utc(text, expected):
    assert mind_small.moment(text) == f"{expected.replace(tzinfo=timezone.utc).timestamp():.0f}"


@pytest.mark.parametrize(
    "text",
    ["11/9/2019 13:00:00 PM", "13/9/2019 1:00:00 PM", "2019-11-09 01:00:00", "11/9/2019", ""],
)
def test_what_is_no_time(text, mind, converted):
    with pytest.raises(ValueError):
        mind_small.moment(text)
    file = mind / "MINDsmall_dev" / "behaviors.tsv"
    file.write_text(PAGES["dev"].replace("11/15/2019 12:22:45 PM", text))
    code, _, complaint, _ = converted("mind-small", mind)
    assert code == 2 and f"line 1 of '{file}' has the time '{text}', not as 11/11" in complaint


def test_archives_are_read_as_folders(mind, converted, tmp_path):
    """Both as they are downloaded, and one archive with both folders, as copies of it are."""
    *_, plain = converted("mind-small", mind)
    packed, whole = tmp_path / "packed", tmp_path / "whole.zip"
    packed.mkdir()
    with zipfile.ZipFile(whole, "w") as both:
        for part in ("MINDsmall_train", "MINDsmall_dev"):
            with zipfile.ZipFile(packed / f"{part}.zip", "w") as archive:
                for file in sorted((mind / part).iterdir()):
                    archive.write(file, file.name)
                    both.write(file, f"{part}/{file.name}")
    for n, source in enumerate((packed, whole)):
        code, _, _, read = converted("mind-small", source, out=f"out{n}")
        assert code == 0 and read == plain


def test_a_copy_of_the_training_part_is_refused(mind, converted, tmp_path):
    folders = [mind / f"MINDsmall_{part}" for part in ("train", "dev")]
    shutil.copy(folders[0] / "behaviors.tsv", folders[1] / "behaviors.tsv")
    code, _, complaint, _ = converted("mind-small", mind)
    assert code == 2 and "so it is a copy of it; get MINDsmall_dev from another place" in complaint
    assert not (tmp_path / "out").exists()


def test_a_sample_has_whole_users(mind, converted):
    lines = [f"{n}\tU{n % 200}\t11/11/2019 9:05:58 AM\t\tN1-1 N2-0\n" for n in range(400)]
    (mind / "MINDsmall_train" / "behaviors.tsv").write_text("".join(lines))
    code, told, _, read = converted("mind-small", mind, "--sample_users=0.25")
    users, news = zip(*(row.split("\t")[:2] for row in read["inter"]), strict=True)
    assert {row.split("\t")[0] for row in read["item"]} == {"N55689"} & set(news)
    users = [user for user in users if user != "U91836"]
    assert code == 0 and len(users) == 4 * len(set(users)) and 25 < len(set(users)) < 75
    assert f"left out: {801 - len(read['inter'])} of users who are not drawn" in told


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("behaviors.tsv", ("N55689-1 N35729-0", "N55689 N35729"),
         "line 1 of .* has 'N55689', not news-0 or news-1; the files of the test have no clicks"),
        ("behaviors.tsv", ("2\tU91836", "2\t\tU91836"), "line 2 of .* has 6 cells, not 5"),
        ("news.tsv", ('[{"Label"', '[{"Label'), "line 1 of .* has entities that are no list"),
        ("news.tsv", ("WikidataId", "Id"), "line 1 of .* has entities that are no list"),
        ("news.tsv", None, "cannot read .*MINDsmall_train/news.tsv"),
    ],
)  # fmt: skip
def test_faults_leave_nothing(file, change, sentence, mind, converted, tmp_path):
    path = mind / "MINDsmall_train" / file
    if change is None:
        path.unlink()
    else:
        text = path.read_text(encoding="utf-8")
        assert change[0] in text
        path.write_text(text.replace(*change), encoding="utf-8")
    code, _, complaint, _ = converted("mind-small", mind)
    assert code == 2 and re.search(sentence, complaint), complaint
    assert not (tmp_path / "out").exists()


def test_one_of_the_folders_is_not_enough(mind, converted):
    shutil.rmtree(mind / "MINDsmall_dev")
    code, _, complaint, _ = converted("mind-small", mind)
    assert code == 2 and re.search("cannot read .*MINDsmall_dev' .*give a folder with", complaint)
    code, _, complaint, _ = converted("mind-small", mind / "MINDsmall_train")
    assert code == 2 and re.search("cannot read .*MINDsmall_train' .*give a folder", complaint)


def test_a_run_reads_all_but_the_page(mind, tmp_path, capsys):
    """With properties/dataset/mind-small.yaml, which names every column there is."""
    from recbole_cold.cli.main import main
    from recbole_cold.config import make_config
    from recbole_cold.experiment.data_store import run_data

    lines = [f"{n}\tU{n % 9}\t11/{9 + n % 5}/2019 9:05:58 AM\t\tN55689-{n % 2} N35729-0\n"
             for n in range(40)]  # fmt: skip
    lines += [f"{n}\tU{n % 9}\t11/14/2019 1:05:58 AM\t\tN35729-1\n" for n in range(40, 80)]
    (mind / "MINDsmall_train" / "behaviors.tsv").write_text("".join(lines))
    assert main(["convert", "mind-small", str(mind), f"--data_path={tmp_path}"]) == 0
    keys = {"data_path": str(tmp_path), "cold_threshold": 50, "warm_size": 10, "device": "cpu",
            "cache_dir": str(tmp_path / "cache")}  # fmt: skip
    capsys.readouterr()
    data = run_data(make_config("Base", "mind-small", "FM", overrides=keys))
    fields = {"user_id", "item_id", "timestamp", "label", "category", "subcategory", "title"}
    assert {*data.field2type} == {*fields, "entity"}
    assert "porsche" in data.field2token_id["title"]
