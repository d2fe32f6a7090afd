"""KuaiRand-Pure: refused outcomes, exposure at random, times, tags with commas, gaps."""

import json
import re

import pytest

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,"
    "long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,"
    "tab"
)
ROWS = {
    "log_standard_4_08_to_4_21_pure.csv": [
        "3,1071,20220408,1600,1649408076860,1,0,0,0,0,0,1,175045,87433,0,0,0,0,1",
        "0,20,20220416,400,1650111976017,0,0,0,0,0,0,0,0,65400,0,0,0,0,0",
    ],
    "log_standard_4_22_to_5_08_pure.csv": [
        "0,1071,20220422,0,1650556800001,0,1,1,1,1,1,0,1385,87433,9,9,1,0,14",
    ],
    "log_random_4_22_to_5_08_pure.csv": [
        "3,20,20220508,2300,1652021999999,1,0,0,0,0,0,0,7100,65400,0,0,0,1,1",
    ],
}
USERS = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,"
    "friend_user_num_range,register_days,register_days_range,onehot_feat0,onehot_feat1,"
    "onehot_feat2,onehot_feat3,onehot_feat4,onehot_feat5,onehot_feat6,onehot_feat7,onehot_feat8,"
    "onehot_feat9,onehot_feat10,onehot_feat11,onehot_feat12,onehot_feat13,onehot_feat14,"
    "onehot_feat15,onehot_feat16,onehot_feat17\n"
    '0,full_active,0,0,1,5,"(0,10]",312,"[100,1k)",0,0,3624,730+,1,2,2,1153,3.0,0,0,31,354,3,3,2,'
    "1.0,0.0,0.0,0.0,0.0,0.0\n"
    "3,UNKNOWN,0,-124,0,0,0,0,0,0,0,107,91-180,0,1,17,638,,5,0,7,18,6,2,0,,,,,,\n"
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,"
    "server_height,music_id,music_type,tag\n"
    "1071,123,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9155697141,9.0,39\n"
    '20,456,AD,2021-01-03,ShortImport,1.0,,720.0,1280.0,6355810746,,"12,65"\n'
    "30,789,NORMAL,,Kmovie,0.0,0.0,720.0,1280.0,6618412736,4.0,\n"
)


@pytest.fixture
def kuairand(tmp_path):
    """A folder as ``KuaiRand-Pure.tar.gz`` unpacks to."""
    folder = tmp_path / "KuaiRand-Pure" / "data"
    folder.mkdir(parents=True)
    for name, rows in ROWS.items():
        (folder / name).write_text("\n".join([LOG, *rows, ""]))
    (folder / "user_features_pure.csv").write_text(USERS)
    (folder / "video_features_basic_pure.csv").write_text(VIDEOS)
    (folder / "video_features_statistic_pure.csv").write_text("video_id,counts,show_cnt\n")
    return folder.parent


def test_lines(kuairand, converted, tmp_path):
    code, told, _, read = converted("kuairand-pure", kuairand)
    assert code == 0
    assert read["inter"] == [
        "3\t1071\t1649408076.860\t1\t16\t0\t1",
        "0\t20\t1650111976.017\t0\t4\t0\t0",
        "0\t1071\t1650556800.001\t14\t0\t0\t0",
        "3\t20\t1652021999.999\t1\t23\t1\t1",
    ]
    assert read["user"] == [
        "0\tfull_active\t0\t0\t1\t(0,10]\t[100,1k)\t0\t730+\t1\t2\t2\t1153\t3\t0\t0\t31\t354\t3\t3"
        "\t2\t1\t0\t0\t0\t0\t0",
        "3\tUNKNOWN\t0\t-124\t0\t0\t0\t0\t91-180\t0\t1\t17\t638\t\t5\t0\t7\t18\t6\t2\t0"
        "\t\t\t\t\t\t",
    ]
    assert read["item"] == [
        "1071\t123\tNORMAL\tLongImport\t2022-14\t9155697141\t9\t39\t87.433",
        "20\t456\tAD\tShortImport\t2020-53\t6355810746\t\t12 65\t",
        "30\t789\tNORMAL\tKmovie\t\t6618412736\t4\t\t",
    ]
    heads = {
        suffix: (tmp_path / "out" / f"kuairand-pure.{suffix}").read_text().splitlines()[0]
        for suffix in ("inter", "item")
    }
    assert heads["inter"].split("\t") == [
        "user_id:token", "item_id:token", "timestamp:float", "tab:token", "hour:token",
        "is_rand:token", "label:float",
    ]  # fmt: skip
    assert "tag:token_seq\tduration:float" in heads["item"]
    assert "times: 2022-04-08 08:54:36 to 2022-05-08 14:59:59 (UTC)" in told
    assert (
        "  4 rows; 2,622,668 in all three logs, 1,436,609 in the standard logs, 1,186,059 in"
        in told
    )


def test_outcomes_of_a_row_are_refused(kuairand, converted, tmp_path):
    told = converted("kuairand-pure", kuairand)[1]
    refused = (
        "is_like, is_follow, is_comment, is_forward, is_hate, long_view, play_time_ms, "
        "profile_stay_time, comment_stay_time, is_profile_enter"
    )
    assert f"refused, for they tell a row's outcome: {refused}\n" in told
    out = tmp_path / "out"
    assert json.loads((out / "manifest.json").read_text())["refused"] == refused.split(", ")
    head = (out / "kuairand-pure.inter").read_text().splitlines()[0]
    assert not any(column in head for column in [*refused.split(", "), "is_click"])


def test_which_logs(kuairand, converted):
    times = {
        "standard": ["1649408076.860", "1650111976.017", "1650556800.001"],
        "random": ["1652021999.999"],
    }
    for logs, expected in times.items():
        code, _, _, read = converted("kuairand-pure", kuairand / "data", f"--logs={logs}", out=logs)
        assert code == 0 and [row.split("\t")[2] for row in read["inter"]] == expected
    code, _, complaint, _ = converted("kuairand-pure", kuairand, "--logs=both", out="none")
    assert code == 2 and "--logs 'both' is none of all, standard, random" in complaint


def test_a_sample_of_the_users(kuairand, converted):
    rows = [ROWS["log_random_4_22_to_5_08_pure.csv"][0].replace("3,20", f"{n % 200},20", 1)
            for n in range(600)]  # fmt: skip
    (kuairand / "data" / "log_random_4_22_to_5_08_pure.csv").write_text("\n".join([LOG, *rows]))
    words = ("--logs=random", "--sample_users=0.25")
    code, told, _, read = converted("kuairand-pure", kuairand, *words)
    users = [row.split("\t")[0] for row in read["inter"]]
    assert code == 0 and len(users) == 3 * len(set(users)) and 25 < len(set(users)) < 75
    assert f"left out: {600 - len(users)} of users who are not drawn" in told
    # Features of the users and videos in these rows alone.
    assert {row.split("\t")[0] for row in read["user"]} == {"0", "3"} & set(users)
    assert [row.split("\t")[0] for row in read["item"]] == ["20"]


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("log_standard_4_08_to_4_21_pure.csv", (",1649408076860,1,", ",1649408076860,2,"),
         "line 2 of .* has the is_click '2', not 0 or 1"),
        ("log_standard_4_08_to_4_21_pure.csv", ("1649408076860", "20220408 16:00"),
         "line 2 of .* has the time_ms '20220408 16:00'"),
        ("log_standard_4_08_to_4_21_pure.csv", (",1600,", ",16:00,"), "has the hourmin '16:00'"),
        ("log_random_4_22_to_5_08_pure.csv", (",is_rand", ""), "line 1 of .* has no is_rand"),
        ("user_features_pure.csv", ("onehot_feat17", "onehot_feat18"), "has no onehot_feat17"),
        ("video_features_basic_pure.csv", ("2022-04-10", "10.4.2022"),
         "line 2 of .* has the upload_dt '10.4.2022', no date"),
        ("video_features_basic_pure.csv", ("87433.0", "87s"),
         "line 2 of .* has the video_duration '87s', no milliseconds"),
        ("video_features_basic_pure.csv", ("87433.0", "-1"), "has the video_duration '-1'"),
        ("log_random_4_22_to_5_08_pure.csv", None, "cannot read .*log_random_4_22_to_5_08_pure"),
    ],
)  # fmt: skip
def test_faults_leave_nothing(file, change, sentence, kuairand, converted, tmp_path):
    path = kuairand / "data" / file
    if change is None:
        path.unlink()
    else:
        text = path.read_text()
        assert change[0] in text
        path.write_text(text.replace(*change))
    code, _, complaint, _ = converted("kuairand-pure", kuairand)
    assert code == 2 and re.search(sentence, complaint), complaint
    assert not (tmp_path / "out").exists()


def test_a_run_reads_all_but_how_a_row_came_about(kuairand, tmp_path, capsys):
    """With properties/dataset/kuairand-pure.yaml, which names every column there is."""
    from recbole_cold.cli.main import main
    from recbole_cold.config import make_config
    from recbole_cold.experiment.data_store import run_data

    row = ROWS["log_standard_4_08_to_4_21_pure.csv"][0]
    rows = [row.replace("3,1071", f"{n % 2 * 3},{(20, 30, 1071)[n % 3]}", 1) for n in range(140)]
    rows += [row.replace("3,1071", "3,30", 1)] * 30
    (kuairand / "data" / "log_random_4_22_to_5_08_pure.csv").write_text("\n".join([LOG, *rows]))
    words = [str(kuairand), f"--data_path={tmp_path}"]
    assert main(["convert", "kuairand-pure", *words]) == 0
    keys = {"data_path": str(tmp_path), "cold_threshold": 60, "warm_size": 10, "device": "cpu",
            "cache_dir": str(tmp_path / "cache")}  # fmt: skip
    capsys.readouterr()
    data = run_data(make_config("Base", "kuairand-pure", "FM", overrides=keys))
    written = {
        column.partition(":")[0]
        for suffix in ("inter", "user", "item")
        for column in (tmp_path / "kuairand-pure" / f"kuairand-pure.{suffix}")
        .read_text().splitlines()[0].split("\t")
    }  # fmt: skip
    assert written - {*data.field2type} == {"is_rand"}
    assert {*data.field2token_id["tag"]} == {"[PAD]", "39", "12", "65"}
    assert "duration" in data.raw["item"]
