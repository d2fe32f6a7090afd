"""MovieLens-25M and 32M: half stars, CRLF, quoted titles, years and their absence, counts."""

import json
import re

import pytest

RATINGS = (
    b"userId,movieId,rating,timestamp\r\n1,296,5.0,1147880044\r\n1,306,3.5,1147868817\r\n"
    b"2,296,0.5,1141415820\r\n162541,50872,4.0,1240953372\r\n"
)
MOVIES = (
    "movieId,title,genres\r\n"
    "1,Toy Story (1995),Adventure|Animation|Children\r\n"
    '11,"American President, The (1995)",Comedy|Drama|Romance\r\n'
    "171011,Planet Earth II (2016),(no genres listed)\r\n"
    "147250,The Adventures of Sherlock Holmes and Doctor Watson: ,Crime\r\n"
    '79702,"""Great Performances"" Cats (1998) ",Musical\r\n'
    '296,"Amélie (Fabuleux destin d\'Amélie Poulain, Le) (2001)",Comedy\r\n'
    '7789,"11\'09""01 - September 11 (2002)",Drama\r\n'
    "140956,Ready Player One,Action|Sci-Fi|Thriller\r\n"
    "171631,Maria Bamford: Old Baby (2017–2019),Comedy\r\n"
    "171749,Death Note: Desu nôto (2006– ),Crime\r\n"
).encode()


@pytest.fixture
def ml25m(tmp_path):
    """A folder as ``ml-25m.zip`` unpacks to, as far as it is read."""
    folder = tmp_path / "ml-25m"
    folder.mkdir()
    (folder / "ratings.csv").write_bytes(RATINGS)
    (folder / "movies.csv").write_bytes(MOVIES)
    (folder / "tags.csv").write_bytes(b"userId,movieId,tag,timestamp\r\n")
    return folder


def test_lines(ml25m, converted, tmp_path):
    code, told, _, read = converted("ml-25m", ml25m)
    assert code == 0 and list(read) == ["inter", "item"]
    assert read["inter"] == [
        "1\t296\t5.0\t1147880044",
        "1\t306\t3.5\t1147868817",
        "2\t296\t0.5\t1141415820",
        "162541\t50872\t4.0\t1240953372",
    ]
    assert read["item"] == [
        "1\tToy Story\t1995\tAdventure Animation Children",
        "11\tAmerican President, The\t1995\tComedy Drama Romance",
        "171011\tPlanet Earth II\t2016\t",
        "147250\tThe Adventures of Sherlock Holmes and Doctor Watson:\t\tCrime",
        '79702\t"""Great Performances"" Cats"\t1998\tMusical',
        "296\tAmélie (Fabuleux destin d'Amélie Poulain, Le)\t2001\tComedy",
        "7789\t11'09\"01 - September 11\t2002\tDrama",
        "140956\tReady Player One\t\tAction Sci-Fi Thriller",
        "171631\tMaria Bamford: Old Baby\t2017\tComedy",
        "171749\tDeath Note: Desu nôto\t2006\tCrime",
    ]
    head = (tmp_path / "out" / "ml-25m.item").read_text(encoding="utf-8").splitlines()[0]
    assert head == "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq"
    # Three and a half stars are no click.
    assert "3 users, 3 items, 50.00% clicks: a rating of 4 to 5" in told
    assert "  4 rows; 25,000,095 in MovieLens-25M\n" in told
    assert "times: 2006-03-03 19:57:00 to 2009-04-28 21:16:12 (UTC)" in told


def test_the_archive_and_the_other_version(ml25m, zipped, converted, tmp_path):
    *_, plain = converted("ml-25m", ml25m)
    code, told, _, read = converted("ml-32m", zipped(ml25m, "ml-32m/"), out="other")
    assert code == 0 and read == plain
    assert "4 rows; 32,000,204 in MovieLens-32M" in told
    assert "10 rows of items; 87,585 in MovieLens-32M" in told
    found = json.loads((tmp_path / "other" / "manifest.json").read_text())
    assert found["data_set"] == "ml-32m" and "ml-32m.inter" in found["files"]


def test_a_sample_of_the_users(ml25m, converted):
    rows = [f"{n % 200},{n},3.0,{10**9 + n}\r\n".encode() for n in range(600)]
    (ml25m / "ratings.csv").write_bytes(b"userId,movieId,rating,timestamp\r\n" + b"".join(rows))
    code, told, _, read = converted("ml-25m", ml25m, "--sample_users=0.25")
    users = [row.split("\t")[0] for row in read["inter"]]
    assert code == 0 and len(users) == 3 * len(set(users)) and 25 < len(set(users)) < 75
    assert f"left out: {600 - len(users)} of users who are not drawn" in told
    listed = {line.split(b",")[0].decode() for line in MOVIES.splitlines()[1:]}
    rated = {row.split("\t")[1] for row in read["inter"]} & listed
    assert {row.split("\t")[0] for row in read["item"]} == rated != listed


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("ratings.csv", (b"0.5,", b"0,"), "line 4 of .*ratings.csv' has the rating '0', not 0.5"),
        ("ratings.csv", (b"3.5,", b"3.4,"), "line 3 of .* has the rating '3.4'"),
        ("ratings.csv", (b"1147868817", b"2006-05-17"), "line 3 of .* has the time '2006-05-17'"),
        ("ratings.csv", (b"userId,", b"user,"), "line 1 of .* has no userId"),
        ("movies.csv", (b'"American President, The (1995)"', b"American President, The"),
         "line 3 of .*movies.csv' has 4 cells, not 3; unpack the archive anew"),
        ("movies.csv", None, "cannot read .*movies.csv"),
    ],
)  # fmt: skip
def test_faults_leave_nothing(file, change, sentence, ml25m, converted, tmp_path):
    if change is None:
        (ml25m / file).unlink()
    else:
        text = (ml25m / file).read_bytes()
        assert change[0] in text
        (ml25m / file).write_bytes(text.replace(*change))
    code, _, complaint, _ = converted("ml-25m", ml25m)
    assert code == 2 and re.search(sentence, complaint), complaint
    assert not (tmp_path / "out").exists()
