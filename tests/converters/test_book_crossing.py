"""Book-Crossing: quotes, tabs, entities, spellings of a book, odd years and ages, zeros."""

import json
import re

import pytest


def test_book_crossing(dump, converted):
    code, _, _, read = converted("book-crossing", dump)
    assert code == 0
    assert read["inter"] == ["8\t000B2X\t7", "9\t000A1X\t10"]
    assert read["user"] == ["8\tcanada\tontario\t", "9\t\t\t30", "10\tgermany\tbayern\t"]
    assert read["item"] == [
        '000A1X\tmark p. o. morford\t2002\tOxford\tA "Title"; with tab & more',
        '000B2X\tböll\t\t\t"""Zwei"" und eins"',
    ]


def test_rows_without_a_rating_are_no_clicks_and_left_out_unless_asked_for(
    dump, converted, tmp_path
):
    code, told, _, read = converted("book-crossing", dump, "--rows=all", "--positive=1")
    assert code == 0
    assert read["inter"] == ["8\t000A1X\t0", "8\t000B2X\t7", "9\t000A1X\t10"]
    assert "66.67% clicks: a rating of 1 to 10; all rows, those without a rating are no" in told
    code, told, _, _ = converted("book-crossing", dump)
    assert "50.00% clicks: a rating of 8 to 10; rated rows only" in told
    assert "left out: 1 without a rating (--rows=all keeps them)" in told
    assert "left out: 1 of a book that the user has rated before" in told
    assert "left out: 1 of an id that came before: its first row counts" in told
    found = json.loads((tmp_path / "out" / "manifest.json").read_text())
    counts = found["rows"]["inter"]
    assert (counts["read"], counts["kept"], sum(counts["left_out"].values())) == (4, 2, 2)
    assert found["options"] == {"rows": "rated", "positive": 8}
    assert found["rows"]["user"]["missing"] == {"country": 1, "region": 1, "age_group": 2}


def test_another_label_rule_is_in_the_next_command(dump, converted):
    words = ("--positive=7",)
    told = converted("book-crossing", dump, *words, out="book-crossing")[1]
    assert "'--threshold={rating: 7}'" in told.rpartition("next:")[2]
    told = converted("book-crossing", dump, out="book-crossing")[1]
    assert "threshold" not in told.rpartition("next:")[2]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("BX-Book-Ratings.csv", b'"User-ID";"ISBN"\n', "line 1 of .* has no Book-Rating"),
        ("BX-Book-Ratings.csv", b'"User-ID";"ISBN";"Book-Rating"\n"8";"a";"11"\n',
         "line 2 of .*BX-Book-Ratings.csv' has the rating '11'"),
        ("BX-Users.csv", b'"User-ID";"Location";"Age"\n"8";"canada"\n',
         "line 2 of .* has 2 cells, not 3"),
        ("BX-Books.csv", None, "cannot read .*BX-Books.csv"),
    ],
)  # fmt: skip
def test_faults_of_book_crossing_leave_nothing(file, content, sentence, dump, converted, tmp_path):
    if content is None:
        (dump / file).unlink()
    else:
        (dump / file).write_bytes(content)
    code, _, complaint, _ = converted("book-crossing", dump)
    assert code == 2 and re.search(sentence, complaint), complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.data
def test_book_crossing_counts(ml1m_path, converted, tmp_path):
    """The part that is at hand: as many rows as its page says."""
    raw = ml1m_path.parent / "book-crossing"
    if not (raw / "BX-Books.csv").is_file():
        pytest.skip(f"no raw files of Book-Crossing in '{raw}'")
    code, told, _, read = converted("book-crossing", raw)
    assert code == 0
    assert len(read["inter"]) == 230_936
    assert sum(int(row.rsplit("\t", 1)[1]) >= 8 for row in read["inter"]) == 139_358
    found = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert found["positive_share"] == 139_358 / 230_936
    assert "51,759 users, 27,108 items" in told
