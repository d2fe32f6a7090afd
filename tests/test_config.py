"""Layers, unknown keys and values of the configuration."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import yaml
from recbole.utils import InputType, ModelType

from recbole_cold import compat, keys
from recbole_cold import config as module
from recbole_cold.config import make_config, read_yaml
from recbole_cold.errors import UserError
from recbole_cold.registry import backbones, methods, properties_dir, yaml_of

DATA = "ml-100k"


def build(method="Base", dataset=DATA, backbone=None, files=(), **overrides):
    return make_config(method, dataset, backbone, files, overrides)


def write(path, **values):
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def plugin(tmp_path):
    """A method that extends ours, with its own yaml beside it."""
    path = tmp_path / "warmer.py"
    path.write_text(
        "from recbole_cold.model.dropoutnet import DropoutNet\n"
        "class Warmer(DropoutNet):\n    pass\n"
    )
    values = {
        "heat": 0.4,
        "embedding_size": 8,
        "width": 3,
        "datasets": {
            "ml-100k": {"heat": 0.5, "width": 4, "released": {"width": 7}},
            "ml-1m": {"heat": 0.9},
        },
        "released": {"heat": 2.0},
        "sweep_space": {"heat": [1]},
    }
    write(tmp_path / "Warmer.yaml", **values)
    return str(path)


class TestLayers:
    def test_lowest_is_recbole_then_ours(self):
        config = build()
        assert config["MAX_ITEM_LIST_LENGTH"] == 50
        assert config.sources["MAX_ITEM_LIST_LENGTH"].startswith("recbole/")
        assert config["embedding_size"] == 16  # RecBole's DeepFM has 10
        assert config.sources["embedding_size"] == "properties/overall.yaml"
        assert config["mlp_hidden_size"] == [16, 16]  # RecBole's DeepFM has 128 three times
        assert config.sources["mlp_hidden_size"] == "properties/backbone/DeepFM.yaml"

    def test_each_layer_wins_over_the_one_before(self, plugin, tmp_path):
        first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
        write(first, embedding_size=4, warm_size=4, seeds=4)
        write(second, embedding_size=5, warm_size=5)
        assert build(plugin)["embedding_size"] == 8
        config = build(plugin, files=[first, second], embedding_size="6")
        assert (config["embedding_size"], config["warm_size"], config["seeds"]) == (6, 5, 4)
        assert config.sources["embedding_size"] == "the command line"
        assert config.sources["warm_size"] == str(second)
        assert config.sources["seeds"] == str(first)

    def test_a_subclass_keeps_the_defaults_of_what_it_extends(self, plugin):
        config = build(plugin)
        assert config["heat"] == 0.5
        assert config["dropoutnet_rate"] == build("DropoutNet")["dropoutnet_rate"]
        assert config["model"] == "Warmer"

    def test_a_method_has_values_of_its_own_for_a_data_set(self, plugin):
        """Above its other values, below ``released`` and what the user says."""
        config = build(plugin)
        assert (config["heat"], config["width"]) == (0.5, 4)
        assert config.sources["width"].startswith("ml-100k in ")
        released = build(plugin, protocol="released")
        assert (released["heat"], released["width"]) == (2.0, 7)
        assert released.sources["width"].startswith("released on ml-100k in ")
        assert build(plugin, protocol="released", width=5)["width"] == 5
        assert build(plugin, width=5)["width"] == 5

    def test_blocks_are_no_keys(self, plugin):
        config = build(plugin)
        assert config["datasets"] is None
        assert config["released"] is None
        assert config["sweep_space"] is None
        assert module.sweep_space(plugin)["heat"] == [1]
        with pytest.raises(UserError, match="'sweep_space'"):
            build(plugin, sweep_space={})

    def test_what_recboles_models_and_loader_ask_for(self):
        config = build("Base", backbone="PNN")
        assert (config["model"], config["backbone"], config["dataset"]) == ("Base", "PNN", DATA)
        assert config.method_class is methods()["Base"]
        assert config.backbone_class is backbones()["PNN"]
        assert config.backbone_name == "PNN"
        assert config["MODEL_TYPE"] is ModelType.CONTEXT
        assert config["MODEL_INPUT_TYPE"] is InputType.POINTWISE
        assert config["device"] == torch.device("cpu") or torch.cuda.is_available()
        assert config["threshold"] == {"rating": 4}
        assert "embedding_size" in str(config)

    def test_model_data_set_and_backbone_may_stand_in_a_file(self, tmp_path):
        file = write(tmp_path / "run.yaml", model="DropoutNet", dataset=DATA, backbone="FM")
        config = make_config(config_files=[file])
        assert (config["model"], config["dataset"], config["backbone"]) == (
            "DropoutNet",
            DATA,
            "FM",
        )
        assert make_config("Base", config_files=[file])["model"] == "Base"

    def test_configurations_share_nothing(self):
        one, two = build(), build()
        one["metrics"].append("x")
        one["load_col"] = {}
        one.parameters["Dataset"].append("x")
        assert "x" not in two["metrics"]
        assert "x" not in build().parameters["Dataset"]


class TestReleased:
    def test_the_set_of_the_protocol(self):
        config = build(protocol="released")
        expected = {
            "metrics": ["AUC", "LogLoss", "F1"],
            "count_source": "full", "use_count": True, "use_timestamp": True,
            "new_item_init": "zero", "id_first_order": "off", "side_includes_id": True,
            "batch_norm": "moving", "backbone_dropout": True, "pooling": "sum_with_pad",
            "weight_decay": 1e-6, "embedding_init": "uniform", "share_pretrained": True,
            "number_scale": "recbole", "unseen_tokens": "draw",
            "first_order": "numbers", "mlp_batch_norm": True,
        }  # fmt: skip
        assert {key: config[key] for key in expected} == expected
        assert read_yaml(properties_dir() / "overall.yaml")["released"].keys() == expected.keys()
        assert all(build()[key] != value for key, value in expected.items())

    def test_a_method_adds_its_own_switches(self, plugin):
        assert build(plugin)["heat"] == 0.5
        config = build(plugin, protocol="released")
        assert config["heat"] == 2.0
        assert config.sources["heat"].startswith("released in ")

    def test_one_switch_can_be_set_against_the_set(self, tmp_path):
        file = write(tmp_path / "a.yaml", protocol="released", batch_norm="frozen")
        config = build(files=[file], use_count=False)
        assert config["batch_norm"] == "frozen"
        assert config["use_count"] is False
        assert config["pooling"] == "sum_with_pad"


class TestUnknownKeys:
    def test_all_at_once_where_they_stood_and_the_nearest(self, tmp_path):
        file = write(tmp_path / "mine.yaml", lerning_rate=1, seeds=2)
        with pytest.raises(UserError) as caught:
            build(files=[file], wram_steps=3, quux=4)
        text = str(caught.value)
        assert f"'lerning_rate' in {file} (did you mean 'learning_rate'?)" in text
        assert "'wram_steps' on the command line (did you mean 'warm_steps'?)" in text
        assert "'quux' on the command line" in text
        assert "seeds" not in text

    def test_a_key_of_an_earlier_version_says_what_became_of_it(self, tmp_path):
        file = write(tmp_path / "old.yaml", share_sequences=True)
        with pytest.raises(UserError, match=rf"'share_sequences' in {file} \(it is gone: "):
            build(files=[file])

    @pytest.mark.parametrize("key", ["nproc", "world_size"])
    def test_one_model_over_several_gpus_is_refused_with_what_to_do(self, key):
        """RecBole's flags of its runner."""
        with pytest.raises(UserError) as caught:
            build(**{key: 2})
        text = str(caught.value)
        assert f"'{key}' on the command line (one model is not spread over several GPUs" in text
        assert "trials side by side pay more; use compare, tune or benchmark with --gpus" in text

    def test_keys_of_another_backbone_or_method_are_unknown(self):
        build("Base", backbone="DCN", cross_layer_num=2)
        with pytest.raises(UserError, match="cross_layer_num"):
            build("Base", backbone="DeepFM", cross_layer_num=2)
        with pytest.raises(UserError, match="dropoutnet_rate"):
            build("Base", dropoutnet_rate=0.5)

    def test_keys_of_another_method_of_the_command_are_dropped(self):
        keys = module.keys_of("DropoutNet")
        assert "dropoutnet_rate" in keys
        assert "sweep_space" not in keys
        config = make_config("Base", DATA, overrides={"dropoutnet_rate": 0.5}, also_known=keys)
        assert "dropoutnet_rate" not in config
        assert "dropoutnet_rate" not in config.sources

    def test_keys_of_one_configuration_do_not_leak_into_the_next(self, plugin):
        build(plugin, heat=1.0)
        with pytest.raises(UserError, match="heat"):
            build(heat=1.0)

    def test_keys_of_recboles_runner_are_said_to_do_nothing(self):
        config = build(stopping_step=5)
        assert len(config.warnings) == 1
        assert "stopping_step" in config.warnings[0]
        assert not build().warnings

    def test_what_is_said_to_do_nothing_is_read_nowhere(self):
        folder = properties_dir().parent / "recbole_cold"
        code = "".join(p.read_text() for p in folder.rglob("*.py") if p.name != "keys.py")
        context = compat.recbole_folder() / "model" / "context_aware_recommender"
        code += "".join(path.read_text() for path in context.glob("*.py"))
        read = set(re.findall(r"""config\[["'](\w+)["']\]""", code))
        assert "learning_rate" in read
        assert not read & keys.names(role=keys.IDLE)

    def test_a_warning_is_logged_once(self, caplog):
        module._warn_once.cache_clear()
        for _ in range(3):
            build(eval_step=5)
        assert caplog.text.count("eval_step") == 1


class TestValues:
    @pytest.mark.parametrize(
        ("key", "value", "sentence"),
        [
            ("protocol", "relesed", "none of strict, released; did you mean 'released'?"),
            ("eval_on", "tset", "none of test, next; did you mean 'test'?"),
            ("cold_side", "movie", "none of item, user"),
            ("id_first_order", True, "none of mean, zero, off"),
            ("metrics", "[AUC, F2]", "metric 'F2' (on the command line) is none of AUC,"),
            ("metrics", "[]", "metrics must be a metric or a list of metrics, but it is '[]'"),
            ("valid_metric", "MRR@10", "metric 'MRR@10'"),
            ("warm_size", "0", "whole number of at least 1, but it is '0' on the command line"),
            ("warm_size", "2.5", "whole number of at least 1"),
            ("common_phases", "-1", "whole number of at least 0"),
            ("warm_steps", "-1", "whole number of at least 0"),
            ("embedding_size", "abc", "must be a whole number of at least 1, but it is 'abc'"),
            ("learning_rate", "0", "must be a number above 0"),
            ("learning_rate", "nan", "must be a number"),
            ("weight_decay", "-1e-6", "must be a number from 0 to 1,000,000"),
            ("valid_fraction", "1", "must be a number between 0 and 1"),
            ("f1_threshold", "median", "must be 'mean' or a number"),
            ("use_count", "maybe", "must be true or false"),
            ("use_count", "1", "must be true or false"),
            ("mlp_hidden_size", "16", "must be a list"),
            ("seed", "x", "must be a whole number of at least 0"),
        ],
    )
    def test_one_sentence_each(self, key, value, sentence):
        with pytest.raises(UserError) as caught:
            build(**{key: value})
        assert sentence in str(caught.value)
        assert key.rstrip("s") in str(caught.value) or "metric" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_bad_value_in_a_file_names_the_file(self, tmp_path):
        file = write(tmp_path / "mine.yaml", seeds=0)
        with pytest.raises(UserError, match=re.escape(f"in {file}")):
            build(files=[file])

    def test_a_bare_off_is_off(self):
        assert build(id_first_order="off")["id_first_order"] == "off"

    def test_metrics_in_any_capitals_and_alone(self):
        assert build(metrics="auc")["metrics"] == ["AUC"]
        both = ["F1", "LogLoss"]
        assert build(metrics="[f1, logloss]")["metrics"] == both
        # Made of AUC values, it brings them.
        assert build(metrics="[f1, logloss, RELAIMPR]")["metrics"] == ["AUC", *both, "RelaImpr"]

    def test_epochs_is_another_name_of_pretrain_epochs(self, tmp_path):
        file = write(tmp_path / "a.yaml", epochs=7)
        config = build(files=[file])
        assert config["pretrain_epochs"] == config["epochs"] == 7
        assert config.sources["pretrain_epochs"] == str(file)
        assert build(files=[file], pretrain_epochs=2)["epochs"] == 2
        assert build(files=[file], pretrain_epochs=2, epochs=4)["pretrain_epochs"] == 2
        assert build()["epochs"] == build()["pretrain_epochs"]

    def test_common_size_is_warm_size_when_left_open(self):
        assert build(warm_size=7)["common_size"] == 7
        assert build(warm_size=7, common_size=3)["common_size"] == 3

    def test_intervals_stay_texts(self):
        assert build(user_inter_num_interval="[5,10]")["user_inter_num_interval"] == "[5,10]"


class TestFiles:
    def test_missing(self):
        with pytest.raises(UserError, match=r"configuration file /no/where.yaml does not exist"):
            build(files=["/no/where.yaml"])

    @pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "1: 2\n"])
    def test_not_a_mapping(self, tmp_path, text):
        file = tmp_path / "list.yaml"
        file.write_text(text)
        with pytest.raises(UserError, match=r"list\.yaml must be a mapping"):
            build(files=[file])

    def test_not_yaml(self, tmp_path):
        file = tmp_path / "broken.yaml"
        file.write_text("a: [1\nb: }")
        with pytest.raises(UserError, match=r"broken\.yaml is not valid yaml") as caught:
            build(files=[file])
        assert "\n" not in str(caught.value)

    def test_not_text_and_not_a_file(self, tmp_path):
        (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
        for path in (tmp_path / "binary.yaml", tmp_path):
            with pytest.raises(UserError, match="cannot be read"):
                build(files=[path])

    def test_empty(self, tmp_path):
        (tmp_path / "empty.yaml").write_text("# nothing yet\n")
        assert build(files=[tmp_path / "empty.yaml"]).as_dict() == build().as_dict()

    def test_what_a_reader_changes_no_other_reader_sees(self, tmp_path):
        """A text is parsed once; every reader has a copy, down to the lists within."""
        file = write(tmp_path / "a.yaml", metrics=["AUC"])
        read_yaml(file)["metrics"].append("LogLoss")
        assert read_yaml(file) == {"metrics": ["AUC"]}

    def test_a_changed_file_is_read_anew(self, tmp_path):
        file = write(tmp_path / "a.yaml", seed=1)
        assert read_yaml(file) == {"seed": 1}
        write(file, seed=2)
        assert read_yaml(file) == {"seed": 2}

    def test_nothing_given(self):
        with pytest.raises(UserError, match="no model is given"):
            make_config(None, DATA)
        with pytest.raises(UserError, match="no data set is given"):
            make_config("Base")


class TestData:
    def atomic(self, folder):
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.inter").write_text("user_id:token\titem_id:token\n")
        return folder

    def test_ml_100k_comes_with_recbole(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = build()["data_path"]
        assert os.path.isabs(path)
        assert os.path.isfile(os.path.join(path, "ml-100k.inter"))

    def test_a_prepared_ml_100k_wins(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        folder = self.atomic(tmp_path / "dataset_atomic" / "ml-100k")
        assert build()["data_path"] == str(folder)

    def test_relative_to_the_working_directory(self, tmp_path, monkeypatch):
        folder = self.atomic(tmp_path / "here" / "mine")
        monkeypatch.chdir(tmp_path)
        assert build(dataset="mine", data_path="here")["data_path"] == str(folder)
        assert build(dataset="mine", data_path=str(folder))["data_path"] == str(folder)

    def test_absent(self, tmp_path):
        self.atomic(tmp_path / "movies")
        with pytest.raises(UserError, match=r"has no \.inter file in .*did you mean 'movies'"):
            build(dataset="movie", data_path=str(tmp_path))
        config = make_config("Base", "movie", overrides={"data_path": tmp_path}, check_data=False)
        assert config["data_path"] == str(tmp_path / "movie")

    def test_files_one_folder_too_high(self, tmp_path):
        (tmp_path / "mine.inter").write_text("")
        with pytest.raises(UserError, match=r"its files lie in .* itself; move them to"):
            build(dataset="mine", data_path=str(tmp_path))


class TestAsDict:
    @pytest.mark.parametrize("protocol", ["strict", "released"])
    def test_written_and_read_back_gives_equal_values(self, tmp_path, protocol):
        config = build("DropoutNet", backbone="DCN", protocol=protocol, seeds=3, device="cpu")
        values = config.as_dict()
        assert json.loads(json.dumps(values)) == values
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(values))
        again = make_config(config_files=[file])
        assert again.as_dict() == values
        assert not again.warnings

    def test_is_a_copy(self):
        config = build()
        config.as_dict()["metrics"].append("x")
        assert "x" not in config["metrics"]


class TestSurroundings:
    def test_neither_argv_nor_cuda_visible_devices(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["worker", "--embedding_size=3", "--node-ip=1=2", "x"])
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        assert build()["embedding_size"] == 16
        assert "CUDA_VISIBLE_DEVICES" not in os.environ

    def test_pyyaml_is_left_alone(self):
        build()
        assert yaml.safe_load("1e-3") == "1e-3"

    def test_importing_brings_neither_ray_nor_unneeded_models(self):
        """One fresh process for all that must not be imported: each start takes seconds."""
        code = (
            "import sys; from recbole_cold.registry import find_method; find_method('Base');"
            "print('recbole_cold.model.mwuf' in sys.modules);"
            "import recbole_cold.cli.main, recbole_cold.experiment.experiment;"
            "from recbole_cold.config import make_config; make_config('Base', 'ml-100k');"
            "print([m for m in sys.modules if m in ('ray', 'recbole.quick_start', 'kmeans_pytorch')"
            " or m.startswith(('recbole.model.general', 'recbole.model.seq'))])"
        )
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd=properties_dir().parent)
        assert done.stdout.split() == ["False", "[]"], done.stderr

    def test_gpu_asked_for_and_absent(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UserError, match="'cuda' was asked for"):
            build(device="cuda")
        assert len(build(gpu_id=1).warnings) == 1

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_the_default_uses_the_card(self):
        assert build()["device"] == torch.device("cuda:0")


class TestOurYaml:
    """Tests of the files themselves."""

    def test_every_backbone_yaml_names_a_backbone_and_its_keys(self):
        known = backbones()
        for path in sorted((properties_dir() / "backbone").glob("*.yaml")):
            assert path.stem in known, path
            recbole = dict(module._recbole_layers(known[path.stem], DATA))
            if known[path.stem].__module__.startswith("recbole."):
                theirs = recbole[f"recbole/model/{path.stem}.yaml"]
                ours = read_yaml(path)
                # A released form may set keys that every backbone has.
                shared = read_yaml(properties_dir() / "overall.yaml").keys()
                assert ours.pop("released", {}).keys() <= theirs.keys() | shared, path
                assert ours.keys() <= theirs.keys(), path

    def test_every_backbone_of_ours_has_a_yaml_whose_released_set_has_defaults(self):
        overall = read_yaml(properties_dir() / "overall.yaml").keys()
        for name, cls in backbones().items():
            if cls.__module__.startswith("recbole_cold."):
                values = read_yaml(yaml_of(cls))
                assert values.keys() - {"released"}, name
                assert (values.get("released") or {}).keys() <= values.keys() | overall, name

    def test_every_method_has_its_yaml_and_every_yaml_its_method(self):
        files = {path.stem for path in (properties_dir() / "model").glob("*.yaml")}
        ours = {n for n, cls in methods().items() if cls.__module__.startswith("recbole_cold.")}
        # What several methods share stands in the yaml of the class that they extend.
        extended = {base.__name__ for name in ours for base in methods()[name].__mro__}
        assert ours <= files <= extended
        assert all(yaml_of(methods()[name]) is not None for name in ours)

    def test_switches_of_released_are_keys_with_a_default(self):
        for path in [properties_dir() / "overall.yaml", *properties_dir().glob("model/*.yaml")]:
            values = read_yaml(path)
            assert (values.get("released") or {}).keys() <= values.keys(), path
            assert (values.get("sweep_space") or {}).keys() <= {
                *values, *read_yaml(properties_dir() / "overall.yaml")
            }, path  # fmt: skip

    def test_every_key_says_its_type_and_meaning(self):
        for path in properties_dir().glob("*.yaml"):
            for line in path.read_text().splitlines():
                if re.match(r"\w+:", line) and line != "released:":
                    assert re.search(r"# \((\w| )+\) [A-Z].*\.$|# \(str\) \w", line), line

    def test_every_backbone_can_be_configured(self):
        for name in backbones():
            assert build(backbone=name, protocol="released")["embedding_size"] == 16
